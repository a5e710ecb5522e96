"""Reading SQLite's files without taking away the locks that SQLite holds on them.

POSIX drops every `fcntl` lock that a process holds on a file as soon as the process closes any
descriptor of that file, whoever opened it.  The locks on ``catalog.sqlite3`` and on its ``-shm``
file are of that kind, and SQLite is not told when they are gone.  Other processes then overwrite
pages of the log that a transaction here still reads, or cut the ``-shm`` file that is mapped here.

So a descriptor that is opened here stays open as long as this process has a connection to that
catalog, in whatever thread.  The descriptor is closed together with the last connection.
"""

import contextlib
import os
import sqlite3
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

_File = tuple[int, int]  # device and inode: a file may have several names, and a name several files

_lock = threading.RLock()  # also taken where the garbage collector closes a connection
_users: Counter[_File | None] = Counter()  # connections, and reads that are going on
_kept: defaultdict[_File | None, list[int]] = defaultdict(list)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


class Connection(sqlite3.Connection):
    """A connection that counts as a user of its catalog until it is closed."""

    file: _File | None = None
    is_counted = False

    def close(self) -> None:
        """Close the connection, and what was kept open for its sake."""
        super().close()
        if self.is_counted:
            self.is_counted = False
            _leave(self.file)

    def __del__(self) -> None:
        """Close what nobody has closed: SQLite's locks end here, too."""
        if self.is_counted:
            self.close()


def connect(path: Path, options: str) -> sqlite3.Connection:
    """Connect to a catalog; every connection to one must be made here.

    Parameters
    ----------
    path : Path
    options : str
        Parameters of SQLite's URI, such as ``mode=ro``.

    Returns
    -------
    sqlite3.Connection
        For any thread; transactions begin and end when a statement says so.
    """
    uri = f"file:{quote(os.fsencode(path.absolute()))}?{options}"
    while True:
        file = _identity(path)
        _enter(file)
        try:
            connection = sqlite3.connect(
                uri, uri=True, check_same_thread=False, isolation_level=None, factory=Connection
            )
        except BaseException:
            _leave(file)
            raise
        connection.file, connection.is_counted = file, True
        if _identity(path) == file:
            return connection
        connection.close()  # another file has taken the name meanwhile


def read_file(catalog: Path, name: str, n_bytes: int | None = None) -> bytes:
    """Read a file that SQLite keeps beside a catalog.

    Parameters
    ----------
    catalog : Path
    name : str
        Of the file, in the folder of the catalog.
    n_bytes : int, optional
        How much to read of it; by default all.

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        It cannot be read.  `FileNotFoundError` when it is not there.
    """
    if os.name == "nt":  # where locks belong to a handle, and an open file cannot be removed
        return (catalog.parent / name).read_bytes()[:n_bytes]
    with _opened(catalog, name) as descriptor:
        return _read(descriptor, n_bytes)


def flush_file(catalog: Path, name: str) -> None:
    """Wait until everything that was written to a file beside a catalog is on the disk.

    Parameters
    ----------
    catalog : Path
    name : str
        Of the file, in the folder of the catalog.

    Raises
    ------
    OSError
        The system refused.  `FileNotFoundError` when the file is not there.
    """
    if os.name == "nt":  # which flushes only what was opened for writing
        return
    with _opened(catalog, name) as descriptor:
        os.fsync(descriptor)


@contextlib.contextmanager
def exclusively(catalog: Path) -> Iterator[bool]:
    """Keep every connection away from a catalog for the length of the block.

    Connections that another process wants to make wait meanwhile, as long as they wait for locks.

    Parameters
    ----------
    catalog : Path

    Yields
    ------
    bool
        False when there is a connection already, here or in another process: the block is not
        alone.
    """
    if os.name == "nt":  # no file that is in use can be replaced or removed
        yield True
        return
    import fcntl

    with _lock, _opened(catalog, catalog.name, os.O_RDWR) as descriptor:
        is_alone = _users[_identity(catalog)] == 1
        if is_alone:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _N_SHARED, _FIRST_SHARED)
            except BlockingIOError:
                is_alone = False
        yield is_alone


# Of these bytes of a database each connection in WAL mode holds a shared lock all the time.
_FIRST_SHARED, _N_SHARED = 0x40000002, 510


def _identity(path: Path | str, folder: int | None = None) -> _File | None:
    try:
        found = os.stat(path, dir_fd=folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _enter(file: _File | None) -> None:
    with _lock:
        _users[file] += 1


def _leave(file: _File | None) -> None:
    """Count one user less; the last closes what was kept open."""
    with _lock:
        _users[file] -= 1
        if not _users[file]:
            del _users[file]
            for descriptor in _kept.pop(file, ()):
                os.close(descriptor)


@contextlib.contextmanager
def _opened(catalog: Path, name: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Give a descriptor that stays open as long as the catalog has users here."""
    # The folder may be replaced at any time: this way both names are of the same one.
    folder = os.open(catalog.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        file = _identity(catalog.name, folder)
        _enter(file)
        try:
            yield _descriptor(file, name, folder, flags)
        finally:
            _leave(file)
    finally:
        os.close(folder)


def _descriptor(file: _File | None, name: str, folder: int, flags: int) -> int:
    with _lock:
        if flags == os.O_RDONLY:
            there = os.stat(name, dir_fd=folder)
            for descriptor in _kept[file]:
                if os.path.samestat(os.fstat(descriptor), there):
                    return descriptor
        descriptor = os.open(name, flags, dir_fd=folder)
        _kept[file].append(descriptor)
        return descriptor


def _read(descriptor: int, n_bytes: int | None) -> bytes:
    """Read from the beginning, whatever other threads read at the same time."""
    wanted = os.fstat(descriptor).st_size if n_bytes is None else n_bytes
    parts: list[bytes] = []
    at = 0
    while at < wanted:
        part = os.pread(descriptor, wanted - at, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return b"".join(parts)
