"""What does the browser show?  Pages from templates, with numbers turned into words."""
