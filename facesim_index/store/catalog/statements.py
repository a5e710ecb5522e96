"""Parts of statements that several questions share."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import ColumnElement, LargeBinary, Text, bindparam, cast, literal, or_
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.functions import FunctionElement

IdColumn = InstrumentedAttribute[int] | InstrumentedAttribute[int | None]


class IdsOfList(FunctionElement[int]):
    """The whole numbers of a JSON list, as a subquery of one column.

    One bound value serves a list of any length.  Each kind of database registers how it compiles
    this, with `sqlalchemy.ext.compiler.compiles`.
    """

    name = "ids_of_list"
    inherit_cache = True


def joined(folder: str, name: str) -> str:
    """Return the path of a file in a folder.

    Examples
    --------
    >>> joined("/photos", "a.jpg")
    '/photos/a.jpg'
    """
    return f"{folder.rstrip(os.sep)}{os.sep}{name}"


def among(column: IdColumn, ids: Iterable[int]) -> ColumnElement[bool]:
    """Say "the column is one of these ids" with one bound value, however many there are."""
    return column.bool_op("IN")(IdsOfList(literal(_as_list(ids), Text)))


def among_listed(column: IdColumn) -> ColumnElement[bool]:
    """Say the same in a statement that is made once; `listed` gives its ids."""
    return column.bool_op("IN")(IdsOfList(bindparam("listed", type_=Text)))


def listed(ids: Iterable[int]) -> dict[str, str]:
    """Return the parameter of a statement with `among_listed`."""
    return {"listed": _as_list(ids)}


def at_or_below(column: InstrumentedAttribute[str], path: Path) -> ColumnElement[bool]:
    """Say "the column's path is `path` or lies below it".

    Compared as bytes, by range: unlike LIKE that needs no escapes, tells capitals apart, and
    serves names that are not UTF-8 too.
    """
    base = os.fsencode(path)
    start = base if base.endswith(os.fsencode(os.sep)) else base + os.fsencode(os.sep)
    end = start[:-1] + bytes([start[-1] + 1])
    raw = cast(column, LargeBinary)
    return or_(raw == base, (raw >= start) & (raw < end))


def _as_list(ids: Iterable[int]) -> str:
    return json.dumps([int(value) for value in ids])
