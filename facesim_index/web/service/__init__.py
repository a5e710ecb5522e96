"""What do both the API and the pages ask of an index?  One object, its uploads, crops and jobs."""
