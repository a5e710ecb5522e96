"""Who may ask, how much, and how is a refusal told?"""
