"""A checksum of every row.

SQLite finds what breaks the structure of its file, but not a byte that changes inside a value: a
box's coordinate, a letter of a path.  So the table ``row_check`` keeps eight bytes for each row of
each other table.  `row_triggers` keeps them up to date, and `row_groups` tells of rows that are not
even found.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

TABLE, GROUP_TABLE = "row_check", "row_group"
FUNCTION = "facesim_row_check"
SMALL_TABLES = ("index_state", "engine", "segment", "tombstone", "prior_estimate", "calibration")
"""What every view of an index depends on."""

_LONG_BYTES = 256
_ROWS_AT_ONCE = 1024
SCHEMA = "sqlite_master"  # the name under which the checksum of the tables' own text is kept

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
        if type(value) is bytes and len(value) > _LONG_BYTES
        else value
        for value in values
    ]
    # ASCII, for what `repr` escapes depends on the version of Unicode that a Python knows.
    return hashlib.blake2b(ascii(short).encode("ascii"), digest_size=8).digest()


def register(connection: sqlite3.Connection) -> None:
    """Give a connection the function that the triggers call."""
    connection.execute("PRAGMA trusted_schema=ON")
    connection.create_function(FUNCTION, -1, row_check, deterministic=True)


def are_kept(connection: Connection, table: str = TABLE) -> bool:
    """Tell whether the catalog has checksums, or sums: those of older facesims have none."""
    rows = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = ?", (table,))
    return rows.first() is not None


def schema_is_whole(connection: Connection) -> bool:
    """Tell whether the tables, indexes and triggers are those that were made."""
    rows = connection.exec_driver_sql(
        f"SELECT value FROM {TABLE} WHERE table_name = ?", (SCHEMA,)
    ).scalars()
    return list(rows) == [schema_check(connection)]


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
        Look for these only.
    """
    if row_ids is not None:
        yield from _wrong_of(connection, table, row_ids)
        return
    rows = raw_rows(
        connection,
        f'SELECT t.rowid, c.value, t.* FROM "{table}" AS t LEFT JOIN {TABLE} AS c '
        f"ON c.table_name = '{table}' AND c.row_id = t.rowid",
        [],
    )
    for row_id, check, *values in rows:
        if check != row_check(*values):
            yield _wrong(table, row_id, values, check)
    lost = raw_rows(
        connection,
        f"SELECT c.row_id, c.value FROM {TABLE} AS c WHERE c.table_name = '{table}' "
        f'AND NOT EXISTS (SELECT 1 FROM "{table}" AS t WHERE t.rowid = c.row_id)',
        [],
    )
    for row_id, check in lost:
        yield _wrong(table, row_id, None, check)


def all_wrong_rows(connection: Connection) -> Iterator[WrongRow]:
    """Yield every row of the catalog that is not as it was written, and checksums of no table."""
    tables = tables_of(connection)
    for table in tables:
        yield from wrong_rows(connection, table)
    names = ", ".join(f"'{table}'" for table in (*tables, SCHEMA))
    strange = raw_rows(
        connection,
        f"SELECT table_name, row_id, value FROM {TABLE} WHERE table_name NOT IN ({names})",
        [],
    )
    for name, row_id, check in strange:
        yield _wrong(ascii(name), row_id, None, check)


def all_whole(connection: Connection, table: str) -> bool:
    """Tell whether every row of a table is as it was written, sooner than `wrong_rows`."""
    rows = (
        f'SELECT 1 FROM "{table}" AS t LEFT JOIN {TABLE} AS c '
        f"ON c.table_name = '{table}' AND c.row_id = t.rowid "
        f"WHERE c.value IS NOT {check_of(connection, table, 't.')}"
    )
    lost = (
        f"SELECT 1 FROM {TABLE} AS c WHERE c.table_name = '{table}' "
        f'AND NOT EXISTS (SELECT 1 FROM "{table}" AS t WHERE t.rowid = c.row_id)'
    )
    return not any(holds(connection, f"SELECT EXISTS ({wrong})") for wrong in (rows, lost))


def raw_connection(connection: Connection) -> sqlite3.Connection:
    """Return what SQLAlchemy's connection stands on."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def columns_of(connection: Connection, table: str) -> list[str]:
    """Return the names of a table's columns, in its order."""
    rows = connection.exec_driver_sql(f'SELECT name FROM pragma_table_info("{table}")')
    return [row[0] for row in rows]


def _wrong_of(connection: Connection, table: str, row_ids: Iterable[int]) -> Iterator[WrongRow]:
    rows = raw_rows(
        connection,
        f"SELECT k.value, t.rowid, c.value, t.* FROM json_each(?) AS k "
        f'LEFT JOIN "{table}" AS t ON t.rowid = k.value '
        f"LEFT JOIN {TABLE} AS c ON c.table_name = '{table}' AND c.row_id = k.value",
        [json.dumps([int(row_id) for row_id in row_ids])],
    )
    for row_id, found, check, *values in rows:
        if found is None and check is not None:
            yield _wrong(table, row_id, None, check)
        elif found is not None and check != row_check(*values):
            yield _wrong(table, row_id, values, check)


def _wrong(table: str, row_id: Value, values: list[Value] | None, check: Value) -> WrongRow:
    """Return what is known of a row; where even the ids have become something else, nothing."""
    return WrongRow(
        table,
        row_id if isinstance(row_id, int) else 0,
        values is None,
        tuple(values or ()),
        check if isinstance(check, bytes) else None,
    )


def holds(connection: Connection, statement: str) -> bool:
    """Tell whether a statement finds something to be so, or cannot even be executed."""
    try:
        return bool(raw_connection(connection).execute(statement).fetchone()[0])
    except sqlite3.DatabaseError:
        return True


def tables_of(connection: Connection) -> list[str]:
    """Return the tables whose rows have checksums."""
    rows = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
        f"AND name NOT IN ('{TABLE}', '{GROUP_TABLE}') ORDER BY name"
    )
    return [row[0] for row in rows]


def schema_check(connection: Connection) -> bytes:
    """Return the checksum of the text of the tables, indexes and triggers."""
    rows = raw_rows(
        connection, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name", []
    )
    return row_check(*(value for row in rows for value in row))


def check_of(connection: Connection, table: str, row: str = "") -> str:
    """Return the checksum of a row in SQL."""
    columns = columns_of(connection, table)
    return f"{FUNCTION}({', '.join(f'{row}{column}' for column in columns)})"


def raw_rows(
    connection: Connection, statement: str, parameters: Sequence[Value]
) -> Iterator[tuple[Value, ...]]:
    """Yield rows as they are, even where a text is none any more."""
    raw = raw_connection(connection)
    before = raw.text_factory
    cursor = raw.cursor()
    try:
        raw.text_factory = raw_text
        rows = cursor.execute(statement, parameters).fetchmany(_ROWS_AT_ONCE)
        while rows:
            raw.text_factory = before
            yield from rows
            raw.text_factory = raw_text
            rows = cursor.fetchmany(_ROWS_AT_ONCE)
    finally:
        raw.text_factory = before
        cursor.close()


def raw_text(data: bytes) -> str:
    """Return a text as it is, even where it is none any more."""
    return data.decode("utf-8", "surrogateescape")
