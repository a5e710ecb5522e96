"""Every step by which the index changes on disk, as points where a test may strike.

Python's own file operations and SQLite's statements are wrapped, in a forked child only, so
that the package itself carries no code for it.  What happens inside SQLite between two
statements is not among the points; kills at random moments reach that.
"""

import io
import mmap
import os
import re
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facesim_index.store.sqlite import descriptors

#: The steps of the commit protocol.  A campaign must reach each of them.
PROTOCOL = frozenset(
    {
        "mkdir index",
        "mkdir segments",
        "create lock",
        "create segment",
        "write segment",
        "half-written segment",
        "fsync segment",
        "rename segment",
        "fsync segments",
        "create coarse codes",
        "write coarse codes",
        "half-written coarse codes",
        "fsync coarse codes",
        "rename coarse codes",
        "remove segment",
        "remove coarse codes",
        "remove holder",
        "rename new catalog",
        "fsync index",
        "sql BEGIN IMMEDIATE",
        "sql COMMIT",
        "sql VACUUM",
        "sql PRAGMA wal_checkpoint",
        "sql PRAGMA journal_mode",
        "sql PRAGMA application_id",
        "sql CREATE TABLE",
        "sql ALTER TABLE",
        "sql INSERT INTO segment",
        "sql INSERT INTO image",
        "sql INSERT INTO face",
        "sql INSERT INTO file",
        "sql INSERT INTO tombstone",
        "sql INSERT INTO calibration",
        "sql INSERT INTO prior_estimate",
        "sql INSERT INTO calibration_verdict",
        "sql INSERT INTO ingest_run",
        "sql INSERT INTO person",
        "sql INSERT INTO face_person",
        "sql INSERT INTO people_change",
        "sql INSERT INTO people_change_face",
        "sql INSERT INTO people_change_person",
        "sql UPDATE person",
        "sql UPDATE index_state",
        "sql UPDATE calibration",
        "sql UPDATE alembic_version",
        "sql DELETE FROM segment",
        "sql DELETE FROM tombstone",
        "sql DELETE FROM face",
        "sql DELETE FROM image",
        "sql DELETE FROM file",
        "sql DELETE FROM person",
        "sql DELETE FROM face_person",
        "sql DELETE FROM people_change",
    }
)

_STATEMENT = re.compile(
    r"\s*(BEGIN IMMEDIATE|COMMIT|VACUUM|PRAGMA (?:wal_checkpoint|journal_mode|application_id)|"
    r"(?:CREATE TABLE|ALTER TABLE|INSERT INTO|UPDATE|DELETE FROM)(?: (?:OR \w+ )?\"?\w+)?)",
    re.IGNORECASE,
)


class Reached:
    """How many points a child has passed; the parent sees it even after a kill."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    @property
    def count(self) -> int:
        """The number of points passed."""
        return int(struct.unpack("q", self._shared[:8])[0])

    @count.setter
    def count(self, value: int) -> None:
        self._shared[:8] = struct.pack("q", value)


Strike = Callable[[int, str, Path], None]
"""Called with a point's number, its name and the file concerned; may raise, or not return."""


def arm(index: Path, reached: Reached, strike: Strike) -> None:
    """Wrap the operations of this process, which must be a child made for it."""
    busy = False

    def point(verb: str, path: Path) -> None:
        nonlocal busy
        if busy or not (path == index or path.is_relative_to(index)):
            return
        name = verb if verb.startswith("sql") else f"{verb} {_kind(path, index)}"
        number = reached.count
        reached.count = number + 1
        busy = True
        try:
            strike(number, name, path)
        finally:
            busy = False

    _wrap_files(point)
    _wrap_sqlite(point, index)


def _kind(path: Path, index: Path) -> str:
    name = path.name
    if path == index:
        return "index"
    for part, kind in {
        ".faiss": "segment",
        ".coarse": "coarse codes",
        "catalog.sqlite3.new": "new catalog",
        "catalog.sqlite3": "catalog",
        "LOCK.holder": "holder",
        "LOCK": "lock",
    }.items():
        if part in name:
            return kind
    return name


def _wrap_files(point: Callable[[str, Path], None]) -> None:
    real_open, real_fsync, real_fdopen = os.open, os.fsync, os.fdopen

    def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            point("create", Path(os.fsdecode(path)))
        return real_open(path, flags, *rest, **named)

    def fsync(descriptor: int) -> None:
        point("fsync", Path(f"/proc/self/fd/{descriptor}").readlink())
        real_fsync(descriptor)

    def fdopen(descriptor: int, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if mode == "wb":
            return _HalvingWriter(descriptor, point)
        return real_fdopen(descriptor, mode, *rest, **named)

    os.open, os.fsync, os.fdopen = open_, fsync, fdopen  # type: ignore[assignment]
    for name, verb in {
        "replace": "rename",
        "rename": "rename",
        "unlink": "remove",
        "mkdir": "mkdir",
    }.items():
        setattr(os, name, _wrapped(getattr(os, name), verb, point))


def _wrapped(real: Callable[..., None], verb: str, point: Callable[[str, Path], None]) -> Any:
    def wrapper(path: Any, *rest: Any, **named: Any) -> None:
        point(verb, Path(path))
        real(path, *rest, **named)

    return wrapper


class _HalvingWriter(io.BufferedWriter):
    """Writes each piece in two halves, with points before and between."""

    def __init__(self, descriptor: int, point: Callable[[str, Path], None]) -> None:
        self._path = Path(f"/proc/self/fd/{descriptor}").readlink()
        self._point = point
        super().__init__(io.FileIO(descriptor, "wb"))

    def write(self, data: Any) -> int:
        half = len(data) // 2
        self._point("write", self._path)
        super().write(data[:half])
        self.flush()
        self._point("half-written", self._path)
        return half + super().write(data[half:])


def _wrap_sqlite(point: Callable[[str, Path], None], index: Path) -> None:
    real_connect = sqlite3.connect

    def announce(statement: str) -> None:
        found = _STATEMENT.match(statement)
        if found:
            words = found[1].replace('"', "").split()
            point(
                "sql " + " ".join(words[:2] if words[0] in ("CREATE", "ALTER") else words),
                index / "sql",
            )

    class Cursor(sqlite3.Cursor):
        def execute(self, statement: str, *rest: Any) -> Any:
            announce(statement)
            return super().execute(statement, *rest)

        def executemany(self, statement: str, *rest: Any) -> Any:
            announce(statement)
            return super().executemany(statement, *rest)

    class Watched(descriptors.Connection):
        def cursor(self, *_: Any, **__: Any) -> Any:
            return super().cursor(Cursor)

    class Sqlite:
        """Stands for the module `sqlite3` where the catalog opens its connections."""

        Connection = sqlite3.Connection

        @staticmethod
        def connect(*rest: Any, **named: Any) -> sqlite3.Connection:
            watched: sqlite3.Connection = real_connect(*rest, **{**named, "factory": Watched})
            return watched

    setattr(descriptors, "sqlite3", Sqlite)  # noqa: B010 - no module, but enough of one
