"""Which routes has the API, what do they take, and which documents do they answer?"""
