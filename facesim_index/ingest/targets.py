"""What an ingest is given: folders, single pictures and options."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facesim_index.errors import UsageError


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """What to ingest and how.

    Attributes
    ----------
    exclude : tuple of str, default=()
        Shell patterns of names and relative paths to leave out.  Case counts, ``*`` also matches
        ``/``, and a pattern that ends in ``/`` is for folders alone.
    follow_symlinks : bool, default=False
        Follow links to files and folders below the paths given; those paths themselves may always
        be links.
    retry_errors : bool, default=False
        Read again what failed before, although its file is unchanged.
    prune : bool, default=False
        Drop files from the index that are no longer on disk; otherwise they are only counted.
    checksum : bool, default=False
        Compare the content of unchanged files too, and read those again whose content is not what
        it was.  Otherwise size and time of change are trusted.

    Examples
    --------
    >>> from facesim_index import IngestOptions
    >>> (photos / "carla.png").unlink()
    >>> index.ingest(photos, IngestOptions(exclude=("*.jpg",), prune=True)).files_removed
    1
    """

    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    retry_errors: bool = False
    prune: bool = False
    checksum: bool = False


@dataclass(frozen=True, slots=True)
class Targets:
    """The paths given to ingest, made absolute, each tree once.

    Attributes
    ----------
    folders : tuple of Path
        No folder lies inside another.
    files : tuple of Path
        No file lies inside one of the folders.
    """

    folders: tuple[Path, ...]
    files: tuple[Path, ...]


def resolve_targets(paths: Sequence[str | os.PathLike[str]]) -> Targets:
    """Return the folders and files that paths mean.

    Links are followed, and folders are compared by what they are.  So a folder that is given by two
    names (a link, a second mount, other capitals where they do not count) is one folder, by the
    name that was given first.

    Parameters
    ----------
    paths : sequence of path-like
        Folders and pictures, at least one; ``~`` is the home folder.

    Returns
    -------
    Targets

    Raises
    ------
    UsageError
        No path was given, or one does not exist.
    """
    if not paths:
        raise UsageError("name at least one folder or picture to ingest")
    folders: set[Path] = set()
    files: set[Path] = set()
    identities: set[tuple[int, int]] = set()
    for path in map(Path, paths):
        try:
            whole = path.expanduser().resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(f"{path} cannot be ingested: {_reason(error)}") from error
        if not whole.is_dir():
            files.add(whole)
        elif _is_another(whole, identities):
            folders.add(whole)
    outer = {folder for folder in folders if not any(p in folders for p in folder.parents)}
    single = {file for file in files if not any(p in outer for p in file.parents)}
    return Targets(tuple(sorted(outer)), tuple(sorted(single)))


def _is_another(folder: Path, identities: set[tuple[int, int]]) -> bool:
    """Tell whether a folder was not seen before, and remember it."""
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in identities:
        return False
    if status.st_ino:  # some file systems number nothing
        identities.add(identity)
    return True


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
