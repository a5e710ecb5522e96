"""A checksum of every row, so that a changed byte is found wherever it lies.

SQLite finds what breaks the structure of its file, but not a byte that changes inside a value: a
box's coordinate, a letter of a path.  So the table ``row_check`` keeps eight bytes for each row of
each other table.  Triggers keep them, so that no statement can forget to; they call a function
that `register` gives to every connection.

A row that was damaged stays known as such: when it is changed, its checksum follows only where it
was right before.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from facesim_index.errors import IndexDamagedError

TABLE = "row_check"
FUNCTION = "facesim_row_check"
SMALL_TABLES = ("index_state", "engine", "segment", "tombstone", "prior_estimate", "calibration")
"""What every view of an index depends on."""

_LONG_BYTES = 256
_ROWS_AT_ONCE = 1024
_SCHEMA = "sqlite_master"  # the name under which the checksum of the tables' own text is kept

Value = int | float | str | bytes | None


@dataclass(frozen=True, slots=True)
class WrongRow:
    """A row that is not as it was written.

    Attributes
    ----------
    table : str
    row_id : int
    lost : bool
        There is a checksum, and no row any more.
    values : tuple
        What the row holds now, in the order of the table's columns; empty when it is lost.
    check : bytes or None
        What was kept of the row as it was written; None for a row that no facesim wrote.
    """

    table: str
    row_id: int
    lost: bool
    values: tuple[Value, ...]
    check: bytes | None

    def __str__(self) -> str:
        if self.lost:
            return f"row {self.row_id} of table {self.table} is lost"
        if self.check is None:
            return f"row {self.row_id} of table {self.table} has no checksum"
        return f"row {self.row_id} of table {self.table} is not as it was written"


def row_check(*values: Value) -> bytes:
    """Return the checksum of a row's values: eight bytes.

    Parameters
    ----------
    *values : int, float, str, bytes or None
        In the order of the table's columns.
    """
    short = [
        hashlib.sha256(value).digest()
        if isinstance(value, bytes) and len(value) > _LONG_BYTES
        else value
        for value in values
    ]
    # ASCII, for what `repr` escapes depends on the version of Unicode that a Python knows.
    return hashlib.blake2b(ascii(short).encode("ascii"), digest_size=8).digest()


def register(connection: sqlite3.Connection) -> None:
    """Give a connection the function that the triggers call."""
    connection.execute("PRAGMA trusted_schema=ON")
    connection.create_function(FUNCTION, -1, row_check, deterministic=True)


def install(connection: Connection) -> None:
    """Make the triggers of every table anew, and the checksums that are lacking.

    To be called after the migrations, in their transaction.
    """
    for table in _tables(connection):
        columns = _columns(connection, table)
        for statement in _triggers(table, columns):
            connection.exec_driver_sql(statement)
        listed = ", ".join(f'"{column}"' for column in columns)
        connection.exec_driver_sql(
            f"INSERT OR IGNORE INTO {TABLE} (table_name, row_id, value) "
            f"SELECT '{table}', rowid, {FUNCTION}({listed}) FROM \"{table}\""
        )

    schema = "INSERT OR REPLACE INTO row_check (table_name, row_id, value) VALUES (?, 0, ?)"
    connection.exec_driver_sql(schema, (_SCHEMA, _schema_check(connection)))


def are_kept(connection: Connection) -> bool:
    """Tell whether the catalog has checksums: those of older facesims have none."""
    rows = connection.exec_driver_sql(f"SELECT 1 FROM sqlite_master WHERE name = '{TABLE}'")
    return rows.first() is not None


def schema_is_whole(connection: Connection) -> bool:
    """Tell whether the tables, indexes and triggers are those that were made."""
    rows = connection.exec_driver_sql(
        f"SELECT value FROM {TABLE} WHERE table_name = ?", (_SCHEMA,)
    ).scalars()
    return list(rows) == [_schema_check(connection)]


def wrong_rows(
    connection: Connection, table: str, row_ids: Iterable[int] | None = None
) -> Iterator[WrongRow]:
    """Yield the rows of a table that are not as they were written, those that are lost last.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    table : str
    row_ids : iterable of int, optional
        Look at these only, and for no lost ones.
    """
    chosen, among = "", []
    if row_ids is not None:
        chosen = "WHERE t.rowid IN (SELECT value FROM json_each(?))"
        among = [json.dumps([int(row_id) for row_id in row_ids])]
    rows = _raw_rows(
        connection,
        f'SELECT t.rowid, c.value, t.* FROM "{table}" AS t LEFT JOIN {TABLE} AS c '
        f"ON c.table_name = '{table}' AND c.row_id = t.rowid {chosen}",
        among,
    )
    for row_id, check, *values in rows:
        if check != row_check(*values):
            yield _wrong(table, row_id, values, check)
    if row_ids is None:
        lost = _raw_rows(
            connection,
            f"SELECT c.row_id, c.value FROM {TABLE} AS c WHERE c.table_name = '{table}' "
            f'AND NOT EXISTS (SELECT 1 FROM "{table}" AS t WHERE t.rowid = c.row_id)',
            [],
        )
        for row_id, check in lost:
            yield _wrong(table, row_id, None, check)


def all_wrong_rows(connection: Connection) -> Iterator[WrongRow]:
    """Yield every row of the catalog that is not as it was written, and checksums of no table."""
    tables = _tables(connection)
    for table in tables:
        yield from wrong_rows(connection, table)
    names = ", ".join(f"'{table}'" for table in (*tables, _SCHEMA))
    strange = _raw_rows(
        connection,
        f"SELECT table_name, row_id, value FROM {TABLE} WHERE table_name NOT IN ({names})",
        [],
    )
    for name, row_id, check in strange:
        yield _wrong(ascii(name), row_id, None, check)


def require_whole(connection: Connection, table: str, row_ids: Iterable[int] | None = None) -> None:
    """Refuse rows that are not as they were written.

    Raises
    ------
    IndexDamagedError
        Names the first of them.
    """
    for wrong in wrong_rows(connection, table, row_ids):
        raise IndexDamagedError(f"the catalog is damaged: {wrong}; run `facesim verify --repair`")


def accept(connection: Connection, table: str, row_id: int) -> None:
    """Let the checksum of a row be that of what it holds now."""
    listed = ", ".join(f'"{column}"' for column in _columns(connection, table))
    connection.exec_driver_sql(
        f"DELETE FROM {TABLE} WHERE table_name = ? AND row_id = ?", (table, row_id)
    )
    connection.exec_driver_sql(
        f"INSERT INTO {TABLE} (table_name, row_id, value) "
        f'SELECT ?, rowid, {FUNCTION}({listed}) FROM "{table}" WHERE rowid = ?',
        (table, row_id),
    )


def put_back(connection: Connection, wrong: WrongRow, values: Iterable[Value]) -> None:
    """Give a row the values that it was written with."""
    columns = _columns(connection, wrong.table)
    assigned = ", ".join(f'"{column}" = ?' for column in columns)
    connection.exec_driver_sql(
        f'UPDATE "{wrong.table}" SET {assigned} WHERE rowid = ?', (*values, wrong.row_id)
    )


def columns_of(connection: Connection, table: str) -> list[str]:
    """Return the names of a table's columns, in its order."""
    return _columns(connection, table)


def _wrong(table: str, row_id: Value, values: list[Value] | None, check: Value) -> WrongRow:
    """Return what is known of a row; where even the ids have become something else, nothing."""
    return WrongRow(
        table,
        row_id if isinstance(row_id, int) else 0,
        values is None,
        tuple(values or ()),
        check if isinstance(check, bytes) else None,
    )


def _tables(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
        f"AND name <> '{TABLE}' ORDER BY name"
    )
    return [row[0] for row in rows]


def _schema_check(connection: Connection) -> bytes:
    rows = _raw_rows(
        connection, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name", []
    )
    return row_check(*(value for row in rows for value in row))


def _columns(connection: Connection, table: str) -> list[str]:
    rows = connection.exec_driver_sql(f'SELECT name FROM pragma_table_info("{table}")')
    return [row[0] for row in rows]


def _triggers(table: str, columns: list[str]) -> list[str]:
    """Return the statements that make a table's triggers, in the place of older ones."""
    new, old = (
        f"{FUNCTION}({', '.join(f'{which}.{column}' for column in columns)})"
        for which in ("NEW", "OLD")
    )
    here = f"table_name = '{table}' AND row_id = OLD.rowid"
    bodies = {
        "insert": f"INSERT OR REPLACE INTO {TABLE} (table_name, row_id, value) "
        f"VALUES ('{table}', NEW.rowid, {new})",
        "update": f"UPDATE {TABLE} SET row_id = NEW.rowid, value = {new} "
        f"WHERE {here} AND value = {old}",
        "delete": f"DELETE FROM {TABLE} WHERE {here}",
    }
    return [
        statement
        for event, body in bodies.items()
        for statement in (
            f"DROP TRIGGER IF EXISTS check_{table}_{event}",
            f'CREATE TRIGGER check_{table}_{event} AFTER {event.upper()} ON "{table}" '
            f"BEGIN {body}; END",
        )
    ]


def _raw_rows(
    connection: Connection, statement: str, parameters: list[str]
) -> Iterator[tuple[Value, ...]]:
    """Yield rows as they are, even where a text is none any more."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    before = raw.text_factory
    cursor = raw.cursor()
    try:
        raw.text_factory = _text
        rows = cursor.execute(statement, parameters).fetchmany(_ROWS_AT_ONCE)
        while rows:
            raw.text_factory = before
            yield from rows
            raw.text_factory = _text
            rows = cursor.fetchmany(_ROWS_AT_ONCE)
    except sqlite3.DatabaseError as error:
        raise IndexDamagedError(
            f"the catalog is damaged ({error}); restore it from a snapshot"
        ) from error
    finally:
        raw.text_factory = before
        cursor.close()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
