"""The catalog: what exists in an index, in SQLite.

`connection` opens, makes and upgrades it; `schema` has the tables; `reading` and
`writing` are the questions asked of it and the changes made to it, each on a
connection whose transaction the caller holds.
"""
