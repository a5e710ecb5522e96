"""Which pictures are new, and how do they become a part of an index?"""
