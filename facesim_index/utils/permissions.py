"""Files and folders that only their owner may use, whatever the umask says.

Embeddings of faces are biometric data, and paths tell where they come from.  So everything in
an index is made for its owner alone.  What an earlier version or a copy left open to others is
closed by the next writer.  Where the system knows no such rights, as on a FAT disk, the index is
made all the same and a warning is logged.  On Windows nothing is done.
"""

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700

logger = logging.getLogger(__name__)


def make_folder(path: Path) -> None:
    """Make a folder for its owner alone, or close one that is there to others.

    Folders above it that do not exist are made in the usual manner.

    Parameters
    ----------
    path : Path
        May exist.

    Raises
    ------
    OSError
        The system refused, or there is something else: a link is not followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)
    if path.is_symlink():
        raise OSError(errno.ENOTDIR, "is a symbolic link instead of a folder", str(path))
    _set_mode(path, FOLDER_MODE)


def make_file(path: Path) -> None:
    """Make an empty file for its owner alone.

    SQLite gives its side files the mode of the database, so making that one first is enough.

    Parameters
    ----------
    path : Path
        Must not exist.

    Raises
    ------
    OSError
        The system refused.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE)
    try:
        _set_mode(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


def open_to_others(folder: Path) -> list[Path]:
    """Return what in a folder, itself included, others may read, write or enter.

    Parameters
    ----------
    folder : Path
        Searched at any depth; links are not followed.

    Returns
    -------
    list of Path
        Empty on Windows.
    """
    if os.name == "nt":
        return []
    return [path for path in _everything(folder) if _mode(path) & 0o077]


def close_to_others(folder: Path) -> None:
    """Take every right to a folder and its content from all but the owner, and log a warning.

    Parameters
    ----------
    folder : Path
        Searched at any depth; links are not followed.
    """
    found = open_to_others(folder)
    refused = [path for path in found if not _close(path)]
    if len(found) > len(refused):
        logger.warning(
            "%s could be read by others; now only its owner can (%d files and folders)",
            folder,
            len(found) - len(refused),
        )
    if refused:
        logger.warning(
            "%s can be read by others, and the system does not let that be changed; "
            "let its owner do so: chmod -R go= FOLDER",
            refused[0],
        )


def _set_mode(target: Path | int, mode: int) -> None:
    """Set a mode against the umask, where the system can; `close_to_others` logs what it did."""
    if os.name != "nt" and stat.S_IMODE(os.stat(target).st_mode) != mode:  # noqa: PTH116 - or a number
        with contextlib.suppress(OSError):
            os.chmod(target, mode)  # noqa: PTH101


def _everything(folder: Path) -> Iterator[Path]:
    """Yield a folder, or the one that a link at its path leads to, and all in it; no more links."""
    folder = folder.resolve() if folder.is_symlink() else folder
    yield folder
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))


def _mode(path: Path) -> int:
    """Return the mode; 0 for links, which have none of their own, and for files that are gone."""
    try:
        found = path.lstat().st_mode
    except OSError:  # SQLite's side files come and go
        return 0
    return 0 if stat.S_ISLNK(found) else stat.S_IMODE(found)


def _close(path: Path) -> bool:
    try:
        path.chmod(_mode(path) & 0o700)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return not _mode(path) & 0o077
