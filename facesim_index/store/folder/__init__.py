"""How is an index kept in one folder?  SQLite for the rows, files for the segments, one writer."""
