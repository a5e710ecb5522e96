"""Finding the pictures below a folder, without opening a single one.

The walk reports every folder that it could list, also the empty ones, and every folder that it
could not.  So an index can tell files that are gone from files that could not be looked for.
"""

import fnmatch
import operator
import os
import re
import stat
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from facesim_index.config import CATALOG_NAME, INDEX_SUFFIX, SEGMENTS_NAME
from facesim_index.errors import UsageError
from facesim_index.records import FileStamp

PICTURE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib"),
        *("tif", "tiff", "gif", "heic", "heif", "hif", "avif"),
    )
)


@dataclass(frozen=True, slots=True)
class WalkOptions:
    """What to leave out of a walk, and whether to follow links.

    Attributes
    ----------
    exclude : tuple of str, default=()
        Shell patterns (case counts, ``*`` also matches ``/``), compared with the name and with
        the path below the root, written with ``/``.  A pattern that ends in ``/`` is for
        folders alone.  An excluded folder is not entered.
    follow_symlinks : bool, default=False
        Follow links to files and folders below the root; the root itself may always be one.
    """

    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False


class FoundFile(NamedTuple):
    """A regular file, by its name in its folder; a tuple, because there are very many.

    Attributes
    ----------
    name : str
        Bytes that cannot be decoded are surrogate escapes, as everywhere in `os`.
    stamp : FileStamp
        Size and time of the file, or of the file that a followed link leads to.
    """

    name: str
    stamp: FileStamp

    def path_in(self, folder: Path) -> Path:
        """Return the file's path, given the folder it was found in.

        Parameters
        ----------
        folder : Path
            The `FoundFolder.path` of the folder that it was found in.

        Returns
        -------
        path : Path

        Examples
        --------
        >>> FoundFile("me.jpg", FileStamp(1000, 0)).path_in(Path("holiday")).as_posix()
        'holiday/me.jpg'
        """
        return folder / self.name


@dataclass(frozen=True, slots=True)
class FoundFolder:
    """A folder and all the pictures directly in it.

    Attributes
    ----------
    path : Path
        Absolute.
    files : tuple of FoundFile
        In the order of the names' bytes; empty when the folder holds no picture.
    """

    path: Path
    files: tuple[FoundFile, ...]

    def __reduce__(self) -> tuple[Callable[..., "FoundFolder"], tuple[str, str, bytes, bytes]]:
        """Be sent to another process in a fifth of the time that the files one by one would take.

        Returns
        -------
        tuple
            A function and what it makes the folder of: no name of a file holds a NUL.
        """
        names = "\0".join(file.name for file in self.files)
        sizes = array("q", (file.stamp.size_bytes for file in self.files))
        times = array("q", (file.stamp.mtime_ns for file in self.files))
        return _folder_of, (str(self.path), names, sizes.tobytes(), times.tobytes())


def _folder_of(path: str, names: str, sizes: bytes, times: bytes) -> FoundFolder:
    if not names:
        return FoundFolder(Path(path), ())
    stamps = map(FileStamp, array("q", sizes), array("q", times))
    return FoundFolder(Path(path), tuple(map(FoundFile, names.split("\0"), stamps)))


@dataclass(frozen=True, slots=True)
class UnreadableFolder:
    """A folder that could not be listed: nothing is known of what is in or below it.

    Attributes
    ----------
    path : Path
        Absolute.
    message : str
        Why it could not be listed, without the path.
    """

    path: Path
    message: str


def walk(root: Path, options: WalkOptions) -> Iterator[FoundFolder | UnreadableFolder]:
    """List the pictures in `root` and in the folders below it.

    The files of a folder come first, then its subfolders, depth first, both in the order of the
    bytes of their names.  Followed links to folders come after everything else, so that a folder
    below the root is always listed under its own path, and every folder only once.  Hidden files
    and folders, indexes of faces and whatever is not a regular file are left out.

    Parameters
    ----------
    root : Path
        Listed even if it is hidden, excluded or an index.
    options : WalkOptions

    Yields
    ------
    FoundFolder or UnreadableFolder
        One for each folder that was entered.  A folder that vanishes during the walk is
        unreadable.
    """
    is_excluded = _Exclusion(options.exclude)
    pending = [_Folder(os.fspath(absolute(root)), "", is_link=False)]
    links: deque[_Folder] = deque()
    visited: set[tuple[int, int]] = set()
    while pending or links:
        folder = pending.pop() if pending else links.popleft()
        try:
            if options.follow_symlinks and not _first_visit(folder.path, visited):
                continue
            listing = _list(folder, is_excluded, options.follow_symlinks)
        except OSError as error:
            yield UnreadableFolder(Path(folder.path), error.strerror or str(error))
            continue
        if listing is None:
            continue
        yield FoundFolder(Path(folder.path), listing.files)
        links.extend(child for child in listing.folders if child.is_link)
        pending.extend(child for child in reversed(listing.folders) if not child.is_link)


def found_file(path: Path) -> FoundFolder:
    """Return one explicitly named file as the walk would, whatever its suffix.

    Parameters
    ----------
    path : Path
        A link is followed, but keeps its own name.

    Returns
    -------
    folder : FoundFolder
        The file's folder, with this file alone.

    Raises
    ------
    UsageError
        There is no such file, or it is not a regular one.
    """
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read {shown}: {reason}; check the path") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise UsageError(f"{shown} is {kind}; name a picture file")
    whole = absolute(path)
    stamp = FileStamp.of(status)
    return FoundFolder(whole.parent, (FoundFile(whole.name, stamp),))


def absolute(path: Path) -> Path:
    """Return `path` as an absolute path that keeps the names of links.

    Parameters
    ----------
    path : Path
        One with ``..`` is resolved instead, because ``link/..`` is not the link's parent.

    Returns
    -------
    path : Path

    Examples
    --------
    >>> absolute(Path("me.jpg")) == Path.cwd() / "me.jpg"
    True
    """
    return path.resolve() if ".." in path.parts else path.absolute()


class _Folder(NamedTuple):
    path: str
    below_root: str  # "" for the root, else with a trailing slash
    is_link: bool


class _Listing(NamedTuple):
    files: tuple[FoundFile, ...]
    folders: list[_Folder]


class _Exclusion:
    """The patterns, compiled once: a shell pattern for each file would dominate the walk."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._any = _alternatives([p for p in patterns if not p.endswith("/")])
        self._folder = _alternatives([p.rstrip("/") for p in patterns])
        self.nothing = not patterns

    def __call__(self, name: str, below_root: str, *, is_folder: bool) -> bool:
        pattern = self._folder if is_folder else self._any
        if pattern is None:
            return False
        return bool(pattern.match(name) or (below_root and pattern.match(below_root + name)))


def _alternatives(patterns: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else None


def _first_visit(path: str, visited: set[tuple[int, int]]) -> bool:
    status = os.stat(path)  # noqa: PTH116 - a Path here would cost more than the call
    key = (status.st_dev, status.st_ino)
    if key in visited:
        return False
    visited.add(key)
    return True


def _list(folder: _Folder, is_excluded: _Exclusion, follow: bool) -> _Listing | None:
    """List one folder; None when it is an index of ours.

    An error on one entry, other than that it vanished, is an error of the whole folder: to
    leave the file out would say that it is not there.
    """
    files: list[FoundFile] = []
    folders: list[_Folder] = []
    index_marks = 0
    with os.scandir(folder.path) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            is_file = entry.is_file(follow_symlinks=False)
            if not is_file and entry.is_symlink() and not (follow and _leads_somewhere(entry)):
                continue
            if not is_file and entry.is_dir():
                index_marks += name == SEGMENTS_NAME
                if not name.endswith(INDEX_SUFFIX) and not is_excluded(
                    name, folder.below_root, is_folder=True
                ):
                    below_root = f"{folder.below_root}{name}/"
                    folders.append(_Folder(entry.path, below_root, entry.is_symlink()))
            elif name == CATALOG_NAME:
                index_marks += 1
            elif name[name.rfind(".") :].lower() in PICTURE_SUFFIXES:
                if not is_excluded.nothing and is_excluded(
                    name, folder.below_root, is_folder=False
                ):
                    continue
                # A link, or what is no regular file, costs one more question.
                if is_file or entry.is_file():
                    found = _look_at(entry)
                    if found is not None:
                        files.append(found)
    if index_marks == 2 and folder.below_root:
        return None
    files.sort(key=_in_order_of_bytes(file.name for file in files))
    folders.sort(key=lambda child: os.fsencode(child.path))
    return _Listing(tuple(files), folders)


def _look_at(entry: os.DirEntry[str]) -> FoundFile | None:
    """Return the file when it is still there."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    return FoundFile(entry.name, FileStamp.of(status))


def _in_order_of_bytes(names: Iterable[str]) -> Callable[[FoundFile], str | bytes]:
    """Return a key that sorts files by the bytes of their names; ASCII sorts so by itself."""
    if all(map(str.isascii, names)):
        return operator.attrgetter("name")
    return lambda file: os.fsencode(file.name)


def _leads_somewhere(link: os.DirEntry[str]) -> bool:
    """Tell whether a link can be followed: one that dangles or runs in a circle cannot."""
    try:
        link.stat()
    except OSError:
        return False
    return True
