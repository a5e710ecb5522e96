"""Kills inside SQLite, at its system calls: what Python's functions cannot reach.

A small library, compiled here and loaded into the process by LD_PRELOAD, wraps the calls that
change a file of the catalog.  The package itself carries no code for it.
"""

import contextlib
import ctypes
import mmap
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from facesim_index.store.sqlite import descriptors

SOURCE = Path(__file__).with_suffix(".c")
_LIBRARY = "facesim-system-calls.so"


def can_compile() -> bool:
    """Tell whether the library can be made here."""
    return sys.platform == "linux" and shutil.which("cc") is not None


def is_loaded() -> bool:
    """Tell whether this process was started with the library."""
    return _LIBRARY in os.environ.get("LD_PRELOAD", "")


def load(folder: Path) -> int:
    """Run this program again, with the library loaded; return how it ended.

    Parameters
    ----------
    folder : Path
        Where the library is put.
    """
    library = folder / _LIBRARY
    subprocess.run(
        ["cc", "-O1", "-fPIC", "-shared", "-o", str(library), str(SOURCE), "-ldl"], check=True
    )
    again = subprocess.run(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, "LD_PRELOAD": str(library)},
        check=False,
    )
    return again.returncode


@contextlib.contextmanager
def busy_log() -> Iterator[None]:
    """Let SQLite write its log over an older one, and before a transaction ends, all the time.

    It does so in large indexes only: when 1,000 pages are in the log, and when its cache is full.
    """
    real = descriptors.connect

    def connect(path: Path, options: str) -> sqlite3.Connection:
        connection = real(path, options)
        connection.execute("PRAGMA wal_autocheckpoint=5")
        connection.execute("PRAGMA cache_size=16")
        return connection

    with mock.patch.object(descriptors, "connect", connect):
        yield


class Calls:
    """How many calls a child has made; the parent sees it even after a kill."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, ctypes.sizeof(ctypes.c_longlong))
        self._counter = ctypes.c_longlong.from_buffer(self._shared)

    @property
    def count(self) -> int:
        """The number of calls."""
        return int(self._counter.value)

    def arm(self, index: Path, *, kill_at: int = -1, half: bool = False) -> None:
        """Count the calls on the catalog of an index from now on, and kill this process at one.

        Parameters
        ----------
        index : Path
        kill_at : int, default=-1
            The number of that call; by default none.
        half : bool, default=False
            A write is done up to the middle before.
        """
        self._counter.value = 0
        arm = ctypes.CDLL(None).arm_calls
        arm.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_longlong, ctypes.c_int]
        arm.restype = None
        arm(os.fsencode(index), ctypes.addressof(self._counter), kill_at, half)
