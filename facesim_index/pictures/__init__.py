"""What is in a picture's file?  Finding files, reading their bytes, decoding their pixels."""
