"""A transaction as the questions and changes take it, and what its database does in its own way.

Every question and change of the catalog takes a connection inside a transaction.  Nearly all of
them are statements that every database understands; the few things that each database does in
its own way are the methods of its `Dialect`, which the connection carries with it.
"""

import datetime
from collections.abc import Iterable
from typing import Protocol

from sqlalchemy import Connection, Insert

from facesim_index.store.catalog.schema import Base

Transaction = Connection
"""A connection inside a transaction, as `Catalog.read` and `Catalog.write` give it."""

DIALECT_OPTION = "facesim_dialect"
"""The execution option under which a database engine carries its `Dialect`."""


class Dialect(Protocol):
    """What one kind of database does in its own way.

    Beside it, each kind registers how it compiles `statements.IdsOfList`.
    """

    def upsert(
        self,
        table: type[Base],
        keys: tuple[str, ...],
        values: tuple[str, ...],
        *,
        returning: str | None = None,
    ) -> Insert:
        """Return the statement that inserts a row, or changes the row that has its keys.

        Parameters
        ----------
        table : type of Base
        keys : tuple of str
            The columns of a unique constraint.
        values : tuple of str
            The columns that are replaced in a row that is there already; when there are none,
            such a row stays as it is.
        returning : str, optional
            The column whose value the statement returns.
        """
        ...

    def require_whole(
        self, connection: Connection, table: str, row_ids: Iterable[int] | None = None
    ) -> None:
        """Refuse rows that are not as they were written; by default any row of the table.

        A database that checks its own pages has nothing to do here.

        Raises
        ------
        IndexDamagedError
            Names the first such row.
        """
        ...

    def require_whole_where(
        self, connection: Connection, table: str, column: str, value: int
    ) -> None:
        """Refuse rows with this value in a column that are not as they were written.

        Raises
        ------
        IndexDamagedError
            Names the first such row.
        """
        ...

    def next_id(self, connection: Connection, table: str) -> int:
        """Return the id that the next row of a table will get; no id is ever given twice."""
        ...


def dialect_of(connection: Connection) -> Dialect:
    """Return the dialect of the database that a connection is to.

    Parameters
    ----------
    connection : Connection

    Returns
    -------
    Dialect
    """
    dialect: Dialect = connection.get_execution_options()[DIALECT_OPTION]
    return dialect


def require_whole(connection: Connection, table: str, row_ids: Iterable[int] | None = None) -> None:
    """Refuse rows that are not as they were written; by default any row of the table.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    table : str
    row_ids : iterable of int, optional

    Raises
    ------
    IndexDamagedError
        Names the first such row.
    """
    dialect_of(connection).require_whole(connection, table, row_ids)


def now() -> str:
    """Return the present time as stored: ISO 8601, UTC, whole seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
