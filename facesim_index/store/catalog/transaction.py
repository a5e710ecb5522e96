"""A transaction as the questions and changes take it, and what its database does in its own way.

Every question and change of the catalog takes a connection inside a transaction.  Nearly all of
them are statements that every database understands; the few things that each database does in
its own way are the methods of its `Dialect`, which the connection carries with it.
"""

import datetime
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sqlalchemy import Connection, Insert, select, update

from facesim_index.errors import IndexDamagedError
from facesim_index.store.catalog.schema import (
    Base,
    CalibrationVerdictRow,
    IndexState,
    PriorEstimateRow,
)

Key = int | str | bytes
"""A value by which rows are asked for."""

ANY = 1
"""The value that all rows have by a name like ``face.id``, and by one like ``file.missing`` those
of which it is true."""

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
        """Refuse rows that are not as they were written, or are lost; by default any of the table.

        A database that checks its own pages has nothing to do here, nor in the next three.

        Raises
        ------
        IndexDamagedError
            Names the first such row.
        """
        ...

    def require_complete(
        self,
        connection: Connection,
        name: str,
        values: Collection[Key] | None = None,
        row_ids: Collection[int] = (),
    ) -> None:
        """Refuse to go on when not all rows were found that have some values; see the function.

        Raises
        ------
        IndexDamagedError
        """
        ...

    def require_whole_groups(
        self, connection: Connection, name: str, values: Iterable[int]
    ) -> None:
        """Refuse damaged rows among those of some values, and that some are not found by them.

        Raises
        ------
        IndexDamagedError
        """
        ...

    def require_count(self, connection: Connection, name: str, value: Key, n_rows: int) -> None:
        """Refuse to go on when not as many rows were counted as have a value.

        Raises
        ------
        IndexDamagedError
        """
        ...

    def wrong_rows(
        self, connection: Connection, table: str, row_ids: Iterable[int] | None = None
    ) -> dict[int, str]:
        """Return the rows that `require_whole` refuses, each with what is wrong with it."""
        ...

    def raw_texts(self, connection: Connection) -> AbstractContextManager[None]:
        """Let texts be read as they are for the length of the block, damaged ones too."""
        ...

    def unchecked(self) -> "Dialect":
        """Return the same dialect, but one that refuses nothing."""
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
    """Refuse rows that are not as they were written, or are lost; by default any of the table.

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


def require_complete(
    connection: Connection,
    name: str,
    values: Collection[Key] | None = None,
    row_ids: Collection[int] = (),
) -> None:
    """Refuse to go on when not all rows were found that have some values.

    A row of which that very value was damaged is not found by it, so its checksum is never asked.
    Of the rows that were found it is: here they are only counted and their ids added up.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    name : str
        By what rows were looked for, such as ``file.image_id``.
    values : collection of int, str or bytes, optional
        That were asked for.  By default every row of the table is looked at.
    row_ids : collection of int, optional
        The ids of the rows that were found.

    Raises
    ------
    IndexDamagedError
    """
    dialect_of(connection).require_complete(connection, name, values, row_ids)


def require_whole_groups(connection: Connection, name: str, values: Iterable[int]) -> None:
    """Refuse damaged rows among those of some values, and that some are not found by them.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    name : str
        By what the rows are looked for, such as ``people_change_face.change_id``.
    values : iterable of int

    Raises
    ------
    IndexDamagedError
    """
    dialect_of(connection).require_whole_groups(connection, name, values)


def require_count(connection: Connection, name: str, value: Key, n_rows: int) -> None:
    """Refuse to go on when not as many rows were counted as have a value.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    name : str
        What the rows were counted by, such as ``image.status``.
    value : int, str or bytes
    n_rows : int
        How many were counted.

    Raises
    ------
    IndexDamagedError
    """
    dialect_of(connection).require_count(connection, name, value, n_rows)


@contextmanager
def unchecked(connection: Connection) -> Iterator[None]:
    """Refuse nothing for the length of the block: for who tells of damage himself, or mends it.

    Parameters
    ----------
    connection : Connection
    """
    dialect = dialect_of(connection)
    connection.execution_options(**{DIALECT_OPTION: dialect.unchecked()})
    try:
        yield
    finally:
        connection.execution_options(**{DIALECT_OPTION: dialect})


def told(checks: Iterable[Callable[[], None]]) -> tuple[str, ...]:
    """Return what is wrong instead of refusing, for who can show the rest all the same.

    Parameters
    ----------
    checks : iterable of callable
        Each raises an `IndexDamagedError` when something is.

    Examples
    --------
    >>> def check() -> None:
    ...     raise IndexDamagedError("row 7 of table root is lost")
    >>> told([check, check, lambda: None])
    ('row 7 of table root is lost',)
    """
    messages = []
    for check in checks:
        try:
            check()
        except IndexDamagedError as error:
            messages.append(str(error))
    return tuple(dict.fromkeys(messages))  # one row may be what several checks find


def advance(
    connection: Connection,
    *,
    next_face_id: int | None = None,
    next_segment_id: int | None = None,
    same_faces: bool = False,
) -> None:
    """Start a new generation, and take ids that were handed out.

    Every change closes with it after which an answer may be another one.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that writes.
    next_face_id, next_segment_id : int, optional
    same_faces : bool, default=False
        No face has come or gone, as when one is given a name: what was estimated of the faces is
        true of the new generation too.

    Raises
    ------
    IndexDamagedError
        The generation itself is damaged.
    """
    require_whole(connection, "index_state")
    before = connection.execute(select(IndexState.generation)).scalar_one()
    if same_faces:
        for row in (PriorEstimateRow, CalibrationVerdictRow):
            require_whole(connection, row.__tablename__)
            estimate = update(row).where(row.generation == before)
            connection.execute(estimate.values(generation=before + 1))
    ids = {"next_face_id": next_face_id, "next_segment_id": next_segment_id}
    taken = {name: value for name, value in ids.items() if value is not None}
    connection.execute(update(IndexState).values(generation=before + 1, **taken))


def now() -> str:
    """Return the present time as stored: ISO 8601, UTC, whole seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
