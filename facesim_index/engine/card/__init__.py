"""How do many worker processes share one card?  A process a card computes for them, in batches."""
