"""What computes the networks?  One module for each library, and the probe that chooses."""
