"""Whom does this face resemble?  Queries by a picture, a face or a person, and comparisons."""
