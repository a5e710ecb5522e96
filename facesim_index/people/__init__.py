"""Who is who in an index?  Grouping faces, and what a human says of the groups."""
