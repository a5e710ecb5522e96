"""What does SQLite do in its own way?  Connections, checksums of rows, its log, its counters."""
