"""What does an index know of its pictures, faces and people?  Statements for any database.

Every question and change takes a connection whose transaction the caller holds.
"""
