"""How alike are all these faces to one another?  Exact scores of many pairs, in bounded memory."""
