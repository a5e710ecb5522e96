"""The file operations of Python below a folder, as steps at which a test may strike.

They are wrapped in a forked child only, so that the package carries no code for it.
"""

import builtins
import io
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facesim_index.store.folder import snapshots
from facesim_index.utils import files

Strike = Callable[[int, str, Path], None]
"""Called with a step's number, its kind and the path; may raise, or not return."""

_CHANGES = {
    "link": "link",
    "mkdir": "mkdir",
    "rename": "rename",
    "replace": "rename",
    "rmdir": "rmdir",
    "unlink": "remove",
    "chmod": "chmod",
    "truncate": "truncate",
}


def arm(root: Path, strike: Strike) -> None:
    """Wrap the operations of this process, which must be a child made for it."""
    passed = 0
    busy = False

    def step(kind: str, path: Any) -> None:
        nonlocal passed, busy
        if busy or isinstance(path, int):
            return
        whole = Path(os.fsdecode(path))
        if not whole.is_relative_to(root):
            return
        number, passed, busy = passed, passed + 1, True
        try:
            strike(number, kind, whole)
        finally:
            busy = False

    for name, kind in _CHANGES.items():
        setattr(os, name, _before(getattr(os, name), kind, step))
    _wrap_opening(step)
    real_renamed = files._renamed

    def renamed(source: Path, target: Path, flags: int) -> bool:
        step("exchange" if flags == files._EXCHANGE else "rename", target)
        return real_renamed(source, target, flags)

    files._renamed = renamed
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        step("fsync", Path(f"/proc/self/fd/{descriptor}").readlink())
        real_fsync(descriptor)

    os.fsync = fsync  # type: ignore[assignment]
    _wrap_sqlite(step)


def _before(real: Callable[..., Any], kind: str, step: Callable[[str, Any], None]) -> Any:
    def wrapper(path: Any, *rest: Any, **named: Any) -> Any:
        step(kind, path)
        return real(path, *rest, **named)

    return wrapper


def _wrap_opening(step: Callable[[str, Any], None]) -> None:
    real_open, real_fdopen, real_file = os.open, os.fdopen, io.open

    def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        step("create" if flags & os.O_CREAT else "open", path)
        return real_open(path, flags, *rest, **named)

    def fdopen(descriptor: int, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if mode == "wb":
            return _HalvingWriter(descriptor, step)
        return real_fdopen(descriptor, mode, *rest, **named)

    def file(path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        step("write" if set(mode) & set("wax+") else "open", path)
        return real_file(path, mode, *rest, **named)

    os.open, os.fdopen = open_, fdopen  # type: ignore[assignment]
    io.open = builtins.open = file  # type: ignore[assignment]


class _HalvingWriter(io.BufferedWriter):
    """Writes each piece in two halves, with steps before and between."""

    def __init__(self, descriptor: int, step: Callable[[str, Any], None]) -> None:
        self._path = Path(f"/proc/self/fd/{descriptor}").readlink()
        self._step = step
        super().__init__(io.FileIO(descriptor, "wb"))

    def write(self, data: Any) -> int:
        half = len(data) // 2
        self._step("write", self._path)
        super().write(data[:half])
        self.flush()
        self._step("half-written", self._path)
        return half + super().write(data[half:])


def _wrap_sqlite(step: Callable[[str, Any], None]) -> None:
    real = sqlite3.connect

    class Watched(sqlite3.Connection):
        def __init__(self, path: Any, *rest: Any, **named: Any) -> None:
            self._path = Path(str(path).removeprefix("file:").partition("?")[0])
            super().__init__(path, *rest, **named)

        def execute(self, *rest: Any) -> Any:
            step("sql execute", self._path)
            return super().execute(*rest)

        def backup(self, *rest: Any, **named: Any) -> None:
            step("sql backup", self._path)
            super().backup(*rest, **named)

    class Sqlite:
        """Stands for the module `sqlite3` where a catalog is copied."""

        def __getattr__(self, name: str) -> Any:
            return getattr(sqlite3, name)

        @staticmethod
        def connect(path: Any, *rest: Any, **named: Any) -> sqlite3.Connection:
            return real(path, *rest, factory=Watched, **named)

    setattr(snapshots, "sqlite3", Sqlite())  # noqa: B010 - no module, but enough of one
