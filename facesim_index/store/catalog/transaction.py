"""A transaction as the questions and changes take it, and the time as rows keep it."""

import datetime

from sqlalchemy import Connection

Transaction = Connection
"""A connection inside a transaction, as `Catalog.read` and `Catalog.write` give it."""


def now() -> str:
    """Return the present time as stored: ISO 8601, UTC, whole seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
