"""What a damaged row held, found by its checksum.

A checksum of eight bytes is proof enough: of the few ten thousand rows that differ from a damaged
one in a single byte, the one with the right checksum is what was written.
"""

import struct
from collections.abc import Iterable, Iterator

from sqlalchemy import Connection

from facesim_index.store.sqlite import row_checks
from facesim_index.store.sqlite.row_checks import Value, WrongRow, row_check

MAX_ROW_BYTES = 4096
"""No search in longer rows: it takes time with the square of the length."""

_INT_BYTES = (1, 2, 3, 4, 6, 8)  # the widths in which SQLite stores whole numbers


def mend_rows(connection: Connection) -> tuple[list[WrongRow], list[WrongRow]]:
    """Put back every row whose former values can be told.

    Parameters
    ----------
    connection : Connection
        Inside a transaction of `Catalog.write`.

    Returns
    -------
    mended, left : list of WrongRow
        Which were, and which could not be.
    """
    mended: list[WrongRow] = []
    left: list[WrongRow] = []
    wrong = list(row_checks.all_wrong_rows(connection))
    for row in wrong:
        if not row.lost and row.check is not None:
            (mended if _mend(connection, row, row.check) else left).append(row)
    unknown = [row for row in wrong if not row.lost and row.check is None]
    lost = [row for row in wrong if row.lost]
    for row in unknown:
        twin = next((other for other in lost if _is_twin(row, other)), None)
        if twin is None:
            left.append(row)
            continue
        _bring_together(connection, row, twin)
        lost.remove(twin)
        mended += [row, twin]
    return mended, left + lost


def _mend(connection: Connection, row: WrongRow, check: bytes) -> bool:
    """Put back one row; return whether its former values were found."""
    now = row_check(*row.values)
    if sum(a != b for a, b in zip(now, check, strict=False)) == 1 and len(check) == len(now):
        accept(connection, row.table, row.row_id)  # the checksum itself was hit
        return True
    values = former_values(row.values, check)
    if values is None:
        return False
    _put_back(connection, row, values)
    return True


def accept(connection: Connection, table: str, row_id: int) -> None:
    """Let the checksum of a row be that of what it holds now."""
    connection.exec_driver_sql(
        f"DELETE FROM {row_checks.TABLE} WHERE table_name = ? AND row_id = ?", (table, row_id)
    )
    connection.exec_driver_sql(
        f"INSERT INTO {row_checks.TABLE} (table_name, row_id, value) "
        f'SELECT ?, rowid, {row_checks.check_of(connection, table)} FROM "{table}" '
        "WHERE rowid = ?",
        (table, row_id),
    )


def _put_back(connection: Connection, wrong: WrongRow, values: Iterable[Value]) -> None:
    """Give a row the values that it was written with."""
    columns = row_checks.columns_of(connection, wrong.table)
    assigned = ", ".join(f'"{column}" = ?' for column in columns)
    connection.exec_driver_sql(
        f'UPDATE "{wrong.table}" SET {assigned} WHERE rowid = ?', (*values, wrong.row_id)
    )


def _is_twin(row: WrongRow, lost: WrongRow) -> bool:
    """Tell whether a row without a checksum is the one that a lone checksum is of."""
    if row_check(*row.values) == lost.check:
        return True  # the key of the checksum was hit
    return row.table == lost.table and row_check(lost.row_id, *row.values[1:]) == lost.check


def _bring_together(connection: Connection, row: WrongRow, lost: WrongRow) -> None:
    """Give a row the id that its checksum is of, and a checksum of its own."""
    connection.exec_driver_sql(
        f"DELETE FROM {row_checks.TABLE} WHERE row_id = ? AND value = ?", (lost.row_id, lost.check)
    )
    if row_check(*row.values) != lost.check:
        first = row_checks.columns_of(connection, row.table)[0]
        connection.exec_driver_sql(
            f'UPDATE "{row.table}" SET "{first}" = ? WHERE rowid = ?', (lost.row_id, row.row_id)
        )
        accept(connection, row.table, lost.row_id)
    else:
        accept(connection, row.table, row.row_id)


def former_values(values: tuple[Value, ...], check: bytes) -> list[Value] | None:
    """Return the values that differ from these in one stored byte and have a checksum.

    Parameters
    ----------
    values : tuple of int, float, str, bytes or None
    check : bytes

    Returns
    -------
    list or None
        None when there are no such values, or the row is too long to look for them.
    """
    if sum(len(value) for value in values if isinstance(value, str | bytes)) > MAX_ROW_BYTES:
        return None
    for place, value in enumerate(values):
        changed = list(values)
        for other in _one_byte_off(value):
            changed[place] = other
            if row_check(*changed) == check:
                return changed
    return None


def _one_byte_off(value: Value) -> Iterator[Value]:
    """Yield what a value may have been before one byte of it in the file changed."""
    if isinstance(value, str):
        for data in _bytes_off(value.encode("utf-8", "surrogateescape")):
            yield data.decode("utf-8", "surrogateescape")
    elif isinstance(value, bytes):
        yield from _bytes_off(value)
    elif isinstance(value, int):
        yield from _numbers_off(value)
    elif isinstance(value, float):
        for data in _bytes_off(struct.pack(">d", value)):
            yield struct.unpack(">d", data)[0]
        if value.is_integer() and abs(value) < 2**47:  # stored as a whole number
            yield from map(float, _numbers_off(int(value)))


def _numbers_off(value: int) -> Iterator[int]:
    yield from (0, 1)  # these two are stored without any bytes
    for width in _INT_BYTES:
        if -(1 << (8 * width - 1)) <= value < 1 << (8 * width - 1):
            for data in _bytes_off(value.to_bytes(width, "big", signed=True)):
                yield int.from_bytes(data, "big", signed=True)


def _bytes_off(data: bytes) -> Iterator[bytes]:
    changed = bytearray(data)
    for place, byte in enumerate(data):
        for other in range(256):
            if other != byte:
                changed[place] = other
                yield bytes(changed)
        changed[place] = byte
