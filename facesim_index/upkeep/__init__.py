"""Is the index whole, and what shall leave it?  Its status, repair and forgetting."""
