"""What is an index?  Rows and embeddings, committed as one, seen at one moment.

Outside this package only `opening`, `protocols`, `records`, `memory` and the questions and changes
in `catalog` are known; `folder` (with `sqlite` and `segments`) is one implementation.
"""
