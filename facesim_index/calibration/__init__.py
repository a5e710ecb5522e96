"""What does a score mean?  From scores of embeddings to likelihood ratios and degrees.

Arrays in, arrays out: nothing here knows where a calibration or an embedding is kept.
"""
