"""Change one value of one row of a catalog behind the back of its checksums.

An *edit* is what another program does that knows nothing of the checksums: an UPDATE, which the
catalog's indexes follow.  A *byte* is what a disk or a memory does: one byte of the row changes
where the file keeps it, and no index follows.
"""

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Value = int | float | str | bytes | None

_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # of what a serial type stands for, up to the two constants
_LEAF_TABLE, _INNER_TABLE, _LEAF_INDEX, _INNER_INDEX = 13, 5, 10, 2


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to which value.

    Attributes
    ----------
    table, column : str
    row : int
        Number of the row in the order of the table, from 0.
    kind : {"edit", "byte"}
    at : int
        Which byte of the value, counted round and round.
    flip : int
        What the byte is combined with by exclusive or, from 1 to 255.
    """

    table: str
    column: str
    row: int
    kind: Literal["edit", "byte"]
    at: int = 0
    flip: int = 1

    def apply(self, catalog: Path) -> bool:
        """Damage a closed catalog; tell whether that changed anything."""
        if self.kind == "edit":
            return _edit(catalog, self)
        return _patch(catalog, self)


def columns_of(catalog: Path) -> dict[str, list[str]]:
    """Return the columns of each table that facesim made."""
    with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as database:
        tables = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return {
            table: [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
            for (table,) in sorted(tables)
        }


def n_rows(catalog: Path, table: str) -> int:
    """Return how many rows a table has."""
    with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _edit(catalog: Path, damage: Damage) -> bool:
    with closing(sqlite3.connect(catalog, isolation_level=None)) as database:
        database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        database.execute("PRAGMA ignore_check_constraints=ON")
        triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        made = triggers.fetchall()
        database.execute("BEGIN")
        for name, _ in made:
            database.execute(f"DROP TRIGGER {name}")
        done = _edit_value(database, damage)
        for _, text in made:
            database.execute(text)
        database.execute("COMMIT")
    return done


def _edit_value(database: sqlite3.Connection, damage: Damage) -> bool:
    table, column = damage.table, damage.column
    keys = [name for _, name, *_, key in database.execute(f"PRAGMA table_info({table})") if key]
    listed = ", ".join(keys)
    where = " AND ".join(f"{key} IS ?" for key in keys)
    row = database.execute(
        f"SELECT {column}, {listed} FROM {table} ORDER BY {listed} LIMIT 1 OFFSET ?", (damage.row,)
    ).fetchone()
    for value in _other_values(row[0], damage):
        new = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        cast = "CAST(? AS TEXT)" if isinstance(value, str) else "?"
        try:
            database.execute(f"UPDATE {table} SET {column} = {cast} WHERE {where}", (new, *row[1:]))
        except (sqlite3.IntegrityError, OverflowError):
            continue  # another row has that value, or none may be missing
        return True
    return False


def _other_values(value: Value, damage: Damage) -> Iterator[Value]:
    """Yield what a value may be once one byte of it has changed, the wanted change first."""
    flips = [damage.flip, *(1 << bit for bit in range(7))]
    if value is None or value == "":
        yield from (1, "x")
    for flip in flips:
        if isinstance(value, int):
            yield value ^ (flip << 8 * (damage.at % max(1, (value.bit_length() + 7) // 8)))
        elif isinstance(value, float):
            yield struct.unpack(">d", _flipped(struct.pack(">d", value), damage.at, flip))[0]
        elif isinstance(value, str) and value:
            data = _flipped(value.encode("utf-8", "surrogateescape"), damage.at, flip)
            yield data.decode("utf-8", "surrogateescape")
        elif isinstance(value, bytes) and value:
            yield _flipped(value, damage.at, flip)


def _flipped(data: bytes, at: int, flip: int) -> bytes:
    changed = bytearray(data)
    changed[at % len(data)] ^= flip
    return bytes(changed)


def _patch(catalog: Path, damage: Damage) -> bool:
    data = bytearray(catalog.read_bytes())
    with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as database:
        [root] = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = ?", (damage.table,)
        ).fetchone()
        found = database.execute(f"PRAGMA table_info({damage.table})").fetchall()
    stored = _stored_order([(name, type_, key) for _, name, type_, _, _, key in found], data, root)
    place = stored.index(damage.column)
    cell = next(
        (cell for number, cell in enumerate(_cells(data, root)) if number == damage.row), None
    )
    if cell is None:
        return False
    changed = _patch_value(data, cell, place, damage)
    catalog.write_bytes(data)
    return changed


@dataclass(frozen=True, slots=True)
class _Cell:
    """A row in its page.

    Attributes
    ----------
    number_at : int or None
        Where the last byte of its rowid is; None in an index.
    record_at, record_end : int
        Where its values begin, and where what lies in this page ends.
    """

    number_at: int | None
    record_at: int
    record_end: int


def _stored_order(columns: Sequence[tuple[str, str, int]], data: bytearray, root: int) -> list[str]:
    """Return the columns as a row has them: the key first in a table without row ids."""
    if data[_page_at(data, root)] in (_LEAF_TABLE, _INNER_TABLE):
        return [name for name, _, _ in columns]
    keys = sorted((key, name) for name, _, key in columns if key)
    return [name for _, name in keys] + [name for name, _, key in columns if not key]


def _page_at(data: bytearray, page: int) -> int:
    return (page - 1) * _page_size(data) + (100 if page == 1 else 0)


def _page_size(data: bytearray) -> int:
    size = int.from_bytes(data[16:18], "big")
    return 65536 if size == 1 else size


def _cells(data: bytearray, page: int) -> Iterator[_Cell]:
    """Yield the rows of a tree in order."""
    size, start = _page_size(data), (page - 1) * _page_size(data)
    header = _page_at(data, page)
    kind, n_cells = data[header], int.from_bytes(data[header + 3 : header + 5], "big")
    is_leaf = kind in (_LEAF_TABLE, _LEAF_INDEX)
    pointers = header + (8 if is_leaf else 12)
    for number in range(n_cells):
        at = start + int.from_bytes(data[pointers + 2 * number : pointers + 2 * number + 2], "big")
        if not is_leaf:
            yield from _cells(data, int.from_bytes(data[at : at + 4], "big"))
            at += 4
        if kind != _INNER_TABLE:
            yield _cell(data, at, size, in_table=kind == _LEAF_TABLE)
    if not is_leaf:
        yield from _cells(data, int.from_bytes(data[header + 8 : header + 12], "big"))


def _cell(data: bytearray, at: int, size: int, *, in_table: bool) -> _Cell:
    length, at = _varint(data, at)
    number_at = None
    if in_table:
        _, at = _varint(data, at)
        number_at = at - 1
    most = size - 35 if in_table else (size - 12) * 64 // 255 - 23
    least = (size - 12) * 32 // 255 - 23
    here = length
    if length > most:
        here = least + (length - least) % (size - 4)
        here = here if here <= most else least
    return _Cell(number_at, at, at + here)


def _patch_value(data: bytearray, cell: _Cell, place: int, damage: Damage) -> bool:
    header_end, at = _varint(data, cell.record_at)
    header_end += cell.record_at
    value_at = header_end
    for _ in range(place):
        serial, at = _varint(data, at)
        value_at += _size(serial)
    serial, after = _varint(data, at)
    size = _size(serial)
    if size:
        byte = value_at + damage.at % size
        if byte >= cell.record_end:
            return False
        data[byte] ^= damage.flip
    elif serial in (8, 9):
        data[after - 1] ^= 1  # false and true, or zero and one, are written as their type alone
    elif place == 0 and cell.number_at is not None:
        data[cell.number_at] ^= damage.flip & 0x7F or 1  # the number of the row itself
    elif serial == 0:
        data[after - 1] = 8
    else:
        return False
    return True


def _size(serial: int) -> int:
    return _SIZES[serial] if serial < 10 else (serial - 12) // 2


def _varint(data: bytearray, at: int) -> tuple[int, int]:
    """Return a number, and where what follows it begins."""
    value = 0
    for length in range(8):
        byte = data[at + length]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + length + 1
    return value << 8 | data[at + 8], at + 9
