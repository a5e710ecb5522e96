"""How is an answer shown to a person?  Crops, contact sheets, and what a notebook draws."""
