"""The local page and the HTTP API of an index: the only part that knows the web framework.

Nothing is imported here: worker processes import what they need from this package, and do
without the framework.
"""
