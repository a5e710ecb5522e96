"""Write a file so that it is either whole or not there."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from facesim_index.errors import StorageError


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
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
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
