"""How is an index asked over HTTP?  The local page and the API: all that knows the web framework.

Nothing is imported here: worker processes import what they need from this package, and do
without the framework.
"""
