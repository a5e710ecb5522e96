"""dlib's face recognition network, run without dlib."""
