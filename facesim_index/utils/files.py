"""Write files so that they are whole or not there; read and rename without following a link."""

import contextlib
import errno
import functools
import io
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from facesim_index.errors import StorageError

#: A link as the last part of a path is not followed.  0 where the system knows no such thing.
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # for somebody at the other end of a FIFO
_BINARY = getattr(os, "O_BINARY", 0)
_AT_HERE = -100  # AT_FDCWD: paths are those of the process
_NO_REPLACE, _EXCHANGE = 1, 2  # flags of renameat2
#: How a system, a file system or a sandbox says that it cannot do what a flag asks for.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk, where the system can.

    Parameters
    ----------
    folder : Path
        Must exist.
    """
    if os.name == "nt":  # Windows cannot open a folder; its renames are journalled.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def total_bytes(paths: Iterable[Path]) -> int:
    """Return how many bytes some files have together.

    Parameters
    ----------
    paths : iterable of Path
        What is no file, or is not there any more when it is looked at, counts nothing: others may
        be writing in that folder.
    """
    total = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found = path.lstat()
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def short_name(name: str) -> str:
    """Return as much of a name as leaves room for more, whatever bytes its letters take.

    Parameters
    ----------
    name : str
    """
    return os.fsencode(name)[:_SHORT_BYTES].decode("utf-8", "ignore")


_SHORT_BYTES = 100


def kind_of(mode: int) -> str:
    """Return in words what a file's mode says it is.

    Parameters
    ----------
    mode : int
        As `os.lstat` gives it.
    """
    return next((words for kind, words in _KINDS.items() if stat.S_IFMT(mode) == kind), "a device")


_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; no link is followed, and nothing is waited for.

    Parameters
    ----------
    path : Path

    Returns
    -------
    BufferedReader

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    OSError
        It is something else than a regular file, or the system refused.
    """
    mode = os.lstat(path).st_mode  # opening a device may already do something
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"is {kind_of(mode)} instead of a file", str(path))
    descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW | _NO_WAITING | _BINARY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most_bytes: int = -1) -> bytes:
    """Return what is in a regular file; no link is followed, and nothing is waited for.

    Parameters
    ----------
    path : Path
    most_bytes : int, default=-1
        Read no more than that; -1 for all.

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        As for `open_regular`.
    """
    with open_regular(path) as handle:
        return handle.read(most_bytes)


def exchange(left: Path, right: Path) -> bool:
    """Let two things of one file system take each other's place in one step.

    Parameters
    ----------
    left, right : Path
        Both exist.

    Returns
    -------
    bool
        False, and nothing is done, where the system or the file system cannot do that.

    Raises
    ------
    OSError
        The system refused.
    """
    return _renamed(left, right, _EXCHANGE)


def rename_to_free(source: Path, target: Path) -> None:
    """Rename such that nothing is ever replaced, not even an empty folder.

    Where the system cannot do that in one step, it is looked first.

    Parameters
    ----------
    source, target : Path

    Raises
    ------
    FileExistsError
        There is something at `target`.
    OSError
        The system refused.
    """
    if not _renamed(source, target, _NO_REPLACE):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        os.rename(source, target)  # noqa: PTH104 - the twin of the call above


def _renamed(source: Path, target: Path, flags: int) -> bool:
    rename = _renameat2()
    if rename is None:
        return False
    reason = rename(_AT_HERE, os.fsencode(source), _AT_HERE, os.fsencode(target), flags)
    if reason in _CANNOT:
        return False
    if reason:
        raise OSError(reason, os.strerror(reason), str(source), None, str(target))
    return True


@functools.cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """Return the system's call, which gives an error's number or 0; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # not needed by most commands

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return None
    call.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )

    def rename(old_at: int, old: bytes, new_at: int, new: bytes, flags: int) -> int:
        return ctypes.get_errno() if call(old_at, old, new_at, new, flags) else 0

    return rename


@contextlib.contextmanager
def atomic_output(
    path: Path, *, private: bool = False, like: Path | None = None
) -> Iterator[BinaryIO]:
    """Open a file for writing so that it appears whole, or not at all.

    The bytes go to a hidden temporary file beside it.  When the block ends, that file is flushed
    to the disk and renamed; when the block raises, it is removed.

    Parameters
    ----------
    path : Path
        An existing file is replaced; the folder must exist.
    private : bool, default=False
        Let only the owner read the file, whatever the umask says.
    like : Path, optional
        Let nobody read or write the file who may not do so with this one.

    Yields
    ------
    BinaryIO
        Writable, buffered.

    Raises
    ------
    StorageError
        The system refused to create, write or rename the file.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(
            prefix=f".{short_name(path.name)}.", dir=path.parent
        )
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        if private:
            with contextlib.suppress(PermissionError):  # of a disk that knows no such rights
                os.chmod(temporary, 0o600)  # noqa: PTH101 - whatever the umask made of it
        else:
            _give_usual_mode(temporary, 0o666 if like is None else like.stat().st_mode & 0o666)
        os.replace(temporary, path)  # noqa: PTH105 - one call that replaces on every system
        sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - the twin of mkstemp
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def _give_usual_mode(temporary: str, widest: int) -> None:
    """Give a file of mkstemp the mode that a plain `open` would have given it, but none wider."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, widest & ~mask)  # noqa: PTH101 - the twin of mkstemp
