"""Reading a catalog in a folder that this process may not write to.

SQLite reads a catalog through its log and through the ``-shm`` file, and makes both where they
are not there.  It cannot do so in such a folder, which may lie on a read-only medium, or be one
that somebody else writes to by another mount or as another user.

- Both files are there: somebody has the catalog open, or was killed.  SQLite uses them as they
  are, and sees every commit.
- There is no log, or an empty one without a ``-shm`` file: everything is in the catalog, and
  SQLite is told that it does not change (``immutable=1``).  That is a promise that we cannot make
  for others.  So each transaction looks at the file before and after: if it has changed, what was
  read may be of two moments, and is refused.
- There is a log that is not empty, and no ``-shm`` file: what it holds cannot be read here.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, exc

from facesim_index.errors import FacesimError, StorageError
from facesim_index.store.sqlite.wal import log_path, shared_path

_TRIES = 20
_PAUSE_S = 0.02
_WAY_OUT = (
    "give this user the right to write to the folder, or read a copy, which `facesim snapshot` "
    "makes where the index is written"
)


@dataclass(frozen=True, slots=True)
class _Found:
    """How the files of a catalog are at one moment.

    Attributes
    ----------
    inode : int
        Of the catalog's file.
    stamp : tuple of int or None
        What changes whenever the catalog's file does; None when SQLite is to look for changes.
    """

    inode: int
    stamp: tuple[int, ...] | None


class ReadOnlyEngine:
    """What reads a catalog where SQLite cannot make files, as the files are at each moment.

    Parameters
    ----------
    path : Path
        The catalog.
    make_engine : callable
        Makes a database engine, given the parameters of SQLite's URI.
    """

    def __init__(self, path: Path, make_engine: Callable[[str], Engine]) -> None:
        self._path = path
        self._make_engine = make_engine
        self._lock = threading.Lock()
        self._found: _Found | None = None
        self._engine: Engine | None = None

    def dispose(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Hold one consistent view of the catalog for the length of the block.

        Raises
        ------
        StorageError
            The catalog cannot be read here, or it was changed meanwhile.
        """
        found, connection = self._begin()
        with connection:
            try:
                yield connection
            except (FacesimError, exc.DBAPIError, UnicodeDecodeError) as error:
                self._require_unchanged(found, error)
                raise
            self._require_unchanged(found)

    def _begin(self) -> tuple[_Found, Connection]:
        """Begin to read.  Whoever writes may make or remove the log just now: look again."""
        for _ in range(_TRIES):
            found, engine = self._fitting_engine()
            connection = engine.connect()
            try:
                connection.exec_driver_sql("BEGIN")
                connection.exec_driver_sql("PRAGMA schema_version")  # begins to read
            except exc.OperationalError as error:
                connection.close()
                if "unable to open" not in str(error.orig) and "readonly" not in str(error.orig):
                    raise
                refused = error
                time.sleep(_PAUSE_S)
            except BaseException:
                connection.close()
                raise
            else:
                return found, connection
        raise StorageError(
            f"cannot read {self._path}: its folder is read-only here, and its write-ahead log "
            f"cannot be used without a -shm file beside it; {_WAY_OUT}"
        ) from refused

    def _fitting_engine(self) -> tuple[_Found, Engine]:
        """Return an engine for the files as they are; what it remembers of them is still so."""
        with self._lock:
            found = _look(self._path)
            if self._found is not None and found.inode != self._found.inode:
                raise StorageError(f"{self._path} was replaced; open the index again")
            if found != self._found or self._engine is None:
                if self._engine is not None:
                    self._engine.dispose()
                options = "mode=ro" if found.stamp is None else "mode=ro&immutable=1"
                self._engine, self._found = self._make_engine(options), found
            return found, self._engine

    def _require_unchanged(self, found: _Found, error: Exception | None = None) -> None:
        if found.stamp is not None and found.stamp != _stamp(self._path.stat()):
            raise StorageError(
                f"{self._path} was changed while it was read, and in this folder, which is "
                f"read-only here, nothing kept that apart; ask again, or {_WAY_OUT}"
            ) from error


def _look(path: Path) -> _Found:
    there = path.stat()
    is_shared = shared_path(path).exists()
    try:
        log_bytes = log_path(path).stat().st_size
    except FileNotFoundError:
        log_bytes = -1
    everything_in_catalog = log_bytes < 0 or (log_bytes == 0 and not is_shared)
    return _Found(there.st_ino, _stamp(there) if everything_in_catalog else None)


def _stamp(there: os.stat_result) -> tuple[int, ...]:
    return there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns
