"""Reading and hashing the bytes of a picture's file, never while they change."""

import contextlib
import hashlib
import io
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from facesim_index.errors import PictureError
from facesim_index.records import Failure, FailureCode, FileStamp

HASH_THREADS = 2  # in a worker that hashes: one may wait for the disk while the other computes

MAX_FILE_BYTES = 1 << 30
"""A file with more bytes than this is not read."""


_HASH_BLOCK_BYTES = 1 << 20


_READ_PAUSES_S = (0.0, 0.05, 0.25)  # before each attempt at a file that somebody is writing


def read_bytes(path: Path) -> tuple[bytes, FileStamp]:
    """Read a whole file such that the bytes and the stamp belong together.

    Parameters
    ----------
    path : Path
        A link is followed.  Anything but a regular file is refused at once; opening a FIFO, for
        example, does not wait for a writer.

    Returns
    -------
    data : bytes
    stamp : FileStamp
        Size and time of the file, which were the same before and after reading.

    Raises
    ------
    PictureError
        UNREADABLE, TOO_LARGE (more than `MAX_FILE_BYTES`), OUT_OF_MEMORY, or CHANGING when
        the file changed during each of three attempts.
    """
    for pause_s in _READ_PAUSES_S:
        if pause_s:  # even a sleep of no time at all gives the core to others
            time.sleep(pause_s)
        with _opened(path) as handle:
            before = _stamp(handle)
            _check_size(before.size_bytes)
            data = handle.read(before.size_bytes + 1)
            if _stamp(handle) == before and len(data) == before.size_bytes:
                return data, before
    raise PictureError(FailureCode.CHANGING, "the file changed each time it was read")


def read_small(path: Path, most_bytes: int) -> tuple[bytes, FileStamp] | None:
    """Read a whole file as `read_bytes` does, unless it is large.

    Parameters
    ----------
    path : Path
    most_bytes : int
        A file that has more bytes is not read.

    Returns
    -------
    data : bytes
    stamp : FileStamp
        Or None in the place of both, for a large file.

    Raises
    ------
    PictureError
        As for `read_bytes`.
    """
    with _opened(path) as handle:
        if _stamp(handle).size_bytes > most_bytes:
            return None
    return read_bytes(path)


def content_hash(data: bytes) -> bytes:
    """Return the SHA-256 digest under which a picture's content is known.

    Parameters
    ----------
    data : bytes
        The whole content of the file.

    Returns
    -------
    digest : bytes
        32 bytes.

    Examples
    --------
    >>> content_hash(b"").hex()[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(data).digest()


def hash_file(path: Path) -> bytes:
    """Return the `content_hash` of a file, without holding the file in memory.

    Parameters
    ----------
    path : Path
        As for `read_bytes`.

    Returns
    -------
    digest : bytes
        32 bytes.

    Raises
    ------
    PictureError
        UNREADABLE, TOO_LARGE or OUT_OF_MEMORY.  The limit of `MAX_FILE_BYTES` matters here too: a
        sparse file of a petabyte takes no room on the disk, but reading it would take days.
    """
    with _opened(path) as handle:
        _check_size(_stamp(handle).size_bytes)
        digest = hashlib.sha256()
        while block := handle.read(_HASH_BLOCK_BYTES):
            digest.update(block)
            if handle.tell() > MAX_FILE_BYTES:  # it grows as fast as it is read
                _check_size(handle.tell())
        return digest.digest()


def make_hasher(_: None) -> Callable[[Sequence[Path]], list[bytes | Failure]]:
    """Return what hashes files in a worker process.

    Parameters
    ----------
    _ : None
        There is nothing to set.

    Returns
    -------
    callable
        From the paths of files to their hashes, or why there is none.
    """
    threads = ThreadPoolExecutor(HASH_THREADS)

    def hash_some(paths: Sequence[Path]) -> list[bytes | Failure]:
        return [hash_or_failure(path) for path in paths]

    def hash_files(paths: Sequence[Path]) -> list[bytes | Failure]:
        hashes: list[bytes | Failure] = [b""] * len(paths)
        parts = [slice(first, None, HASH_THREADS) for first in range(HASH_THREADS)]
        for part, hashed in zip(
            parts, threads.map(hash_some, [paths[p] for p in parts]), strict=True
        ):
            hashes[part] = hashed
        return hashes

    return hash_files


def hash_or_failure(path: Path) -> bytes | Failure:
    """Return the `content_hash` of a file, or why there is none.

    Parameters
    ----------
    path : Path
        As for `read_bytes`.

    Returns
    -------
    bytes or Failure
    """
    try:
        return hash_file(path)
    except PictureError as error:
        return Failure(error.code, error.message)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading; whatever goes wrong until it is closed is UNREADABLE."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as handle:
            if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
                raise PictureError(FailureCode.UNREADABLE, "not a regular file")
            yield handle
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or error}"
        raise PictureError(FailureCode.UNREADABLE, message) from error
    except ValueError as error:  # a NUL in the name
        raise PictureError(FailureCode.UNREADABLE, str(error)) from error
    except MemoryError as error:
        message = "not enough memory to read the file"
        raise PictureError(FailureCode.OUT_OF_MEMORY, message) from error


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_FILE_BYTES:
        raise PictureError(
            FailureCode.TOO_LARGE,
            f"{size_bytes:,} bytes, more than the limit of {MAX_FILE_BYTES:,}",
        )


def _open_without_waiting(path: str, flags: int) -> int:
    """Open as usual, but do not wait for the writer of a FIFO."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _stamp(handle: io.BufferedReader) -> FileStamp:
    return FileStamp.of(os.fstat(handle.fileno()))
