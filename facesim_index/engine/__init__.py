"""Which faces are in a picture, and what are their embeddings?

`base` says what an engine is, `loading` makes one, `reading` takes a file the whole way.
"""
