"""Small tools that know nothing of faces: files, permissions, threads, text."""
