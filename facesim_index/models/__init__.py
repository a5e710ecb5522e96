"""Which weights are there, where are they, and are they the right bytes?"""
