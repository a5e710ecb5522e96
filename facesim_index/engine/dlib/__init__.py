"""How does dlib's network embed faces?  Without dlib, and such that cosines can be compared."""
