"""What can a program do with an index that it has open?  The methods of `FaceIndex`, by theme."""
