"""Parts of statements that several questions share."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Text,
    bindparam,
    cast,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.orm import InstrumentedAttribute


def joined(folder: str, name: str) -> str:
    """Return the path of a file in a folder."""
    return f"{folder.rstrip(os.sep)}{os.sep}{name}"


def among(
    column: InstrumentedAttribute[int] | InstrumentedAttribute[int | None], ids: Iterable[int]
) -> ColumnElement[bool]:
    """Say "the column is one of these ids" with one bound value, however many there are."""
    values = literal(json.dumps([int(value) for value in ids]), Text)
    return column.in_(select(text("value")).select_from(func.json_each(values)))


def among_listed(
    column: InstrumentedAttribute[int] | InstrumentedAttribute[int | None],
) -> ColumnElement[bool]:
    """Say the same in a statement that is made once; `listed` gives its ids."""
    values = bindparam("listed", type_=Text)
    return column.in_(select(text("value")).select_from(func.json_each(values)))


def listed(ids: Iterable[int]) -> dict[str, str]:
    """Return the parameter of a statement with `among_listed`."""
    return {"listed": json.dumps([int(value) for value in ids])}


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
