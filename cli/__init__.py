"""The command line: options, output and exit codes over `facesim_index`."""
