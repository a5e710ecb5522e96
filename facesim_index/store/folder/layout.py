"""What lies in the folder of an index, and which of it is ours.

An index may come from somebody else, and its folder may hold files of its user.  So nothing at
one of our names is used or changed unless it is the plain file or folder that we make there: no
link leads out of an index.  And nothing is removed unless its name is exactly one of ours.
"""

import os
import re
import sqlite3
import stat
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from facesim_index.config import CATALOG_NAME, SEGMENTS_NAME
from facesim_index.errors import IndexDamagedError, StorageError
from facesim_index.store.folder.lock import HOLDER_NAME, LOCK_NAME
from facesim_index.store.folder.segment_folder import is_segment_file
from facesim_index.store.segments.coarse import COARSE_MAGICS, coarse_path
from facesim_index.store.segments.segment import SEGMENT_MAGIC
from facesim_index.store.snapshot_list import LIST_NAME, MANIFEST_NAME, advice
from facesim_index.store.sqlite.descriptors import connect
from facesim_index.store.sqlite.wal import aside_path, log_path, shared_path
from facesim_index.utils.files import kind_of, open_regular

_FILES = (
    CATALOG_NAME,
    *(side(Path(CATALOG_NAME)).name for side in (log_path, aside_path, shared_path)),
    *(LOCK_NAME, HOLDER_NAME, LIST_NAME, MANIFEST_NAME),
)
_JOURNAL_NAME = CATALOG_NAME + "-journal"
#: What a process that was killed may have left beside them.
_LEFT_FILES = (
    _JOURNAL_NAME,
    *(CATALOG_NAME + ".new" + suffix for suffix in ("", "-journal", "-wal", "-shm")),
)
OURS = (*_FILES, SEGMENTS_NAME)

# Files on their way to their names (`utils.files.atomic_output`), left by a killed process.
_HALF_FILE = re.compile(rf"\.({LIST_NAME}|{MANIFEST_NAME})\.[a-z0-9_]{{8}}")
_MAGICS = (SEGMENT_MAGIC, *COARSE_MAGICS)


@dataclass(frozen=True, slots=True)
class FolderContents:
    """What lies in the folder of an index.

    Attributes
    ----------
    ours : tuple of Path
        Files of the index, those in ``segments`` first and the catalog last.
    unnamed : tuple of Path
        Those of them that are segments, or their coarse codes, which no catalog names.
    foreign : tuple of Path
        What is none of the index's: files of other names, links, folders.
    """

    ours: tuple[Path, ...]
    unnamed: tuple[Path, ...]
    foreign: tuple[Path, ...]


def require_plain(folder: Path) -> None:
    """Refuse an index in which something else than our own plain files is at one of our names.

    Parameters
    ----------
    folder : Path
        It may be a link itself, and need not exist.

    Raises
    ------
    IndexDamagedError
        Names what is there.
    StorageError
        The system does not let us look.
    """
    for name in (*OURS, _JOURNAL_NAME):
        path = os.path.join(folder, name)  # noqa: PTH118 - asked at every opening
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise StorageError(f"cannot look at {path}: {error.strerror or error}") from error
        if not (stat.S_ISDIR(mode) if name == SEGMENTS_NAME else stat.S_ISREG(mode)):
            raise IndexDamagedError(
                f"{path} is {kind_of(mode)}, which no index has there; nothing of the index is "
                "used or changed. Remove it yourself if you know what it is, then "
                f"{advice(folder)}"
            )


def foreign_files(folder: Path) -> list[Path]:
    """Return what is in the folder of an index and is none of its files, nor left by a kill."""
    found = contents(folder)
    left = (path for path in found.ours if path.parent == folder and path.name not in OURS)
    return sorted((*found.foreign, *left))


def contents(folder: Path) -> FolderContents:
    """Return what is in the folder of an index, by whether it is the index's.

    A file in ``segments`` is ours if it has a name of ours and either the catalog names it or
    it begins like what we write; a catalog that cannot be read names none.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    FolderContents

    Raises
    ------
    OSError
        The system refused.
    """
    known = {name for name in segment_names(folder / CATALOG_NAME) if is_segment_file(name)}
    known |= {coarse_path(Path(name)).name for name in known}
    ours: list[Path] = []
    unnamed: list[Path] = []
    foreign: list[Path] = []
    for path in sorted(folder.iterdir()):
        kind = _kind(path)
        if path.name == SEGMENTS_NAME and kind == stat.S_IFDIR:
            for inner in sorted(path.iterdir()):
                if not is_segment_file(inner.name) or _kind(inner) != stat.S_IFREG:
                    foreign.append(inner)
                elif inner.name in known:
                    ours.append(inner)
                else:
                    (unnamed if begins_like_ours(inner) else foreign).append(inner)
        elif kind == stat.S_IFREG and (
            path.name in (*_FILES, *_LEFT_FILES) or _HALF_FILE.fullmatch(path.name)
        ):
            ours.append(path)
        elif kind:  # else it is gone: SQLite's side files come and go
            foreign.append(path)
    ours.sort(key=lambda path: (path.parent == folder, path.name == CATALOG_NAME))
    return FolderContents((*unnamed, *ours), tuple(unnamed), tuple(foreign))


def _kind(path: Path) -> int:
    """Return which kind of file something is; 0 when it is gone."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except FileNotFoundError:
        return 0


def segment_names(catalog: Path) -> list[str]:
    """Return the names of the segments of a catalog; none where it cannot be read."""
    try:
        if not stat.S_ISREG(os.lstat(catalog).st_mode):
            return []
        with closing(connect(catalog, "mode=ro")) as connection:
            return [name for name in named_segments(connection) if isinstance(name, str)]
    except (OSError, sqlite3.Error):
        return []


def named_segments(connection: sqlite3.Connection) -> list[object]:
    """Return what the table of segments has for names, whatever that is.

    Raises
    ------
    sqlite3.Error
        It cannot be read, or is no table: a view might never end.
    """
    kind = connection.execute("SELECT type FROM sqlite_master WHERE name = 'segment'").fetchall()
    if kind != [("table",)]:
        raise sqlite3.DatabaseError("there is no table of segments")
    return [name for (name,) in connection.execute("SELECT name FROM segment ORDER BY id")]


def begins_like_ours(path: Path) -> bool:
    """Tell whether a file begins as a segment or as coarse codes do, as far as it goes."""
    try:
        with open_regular(path) as handle:
            start = handle.read(max(map(len, _MAGICS)))
    except OSError:
        return False
    return any(start[: len(magic)] == magic[: len(start)] for magic in _MAGICS)
