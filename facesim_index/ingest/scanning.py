"""Scan: compare what is on disk with what the index knows of it.  Nothing is written.

The walk that counts before an ingest, and the one that feeds it, see files the same way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facesim_index.ingest.folders import Folders, FoldersHere
from facesim_index.ingest.targets import IngestOptions, Targets
from facesim_index.pictures.folder_walk import FoundFolder, UnreadableFolder, WalkOptions
from facesim_index.records import FileStamp, ImageStatus
from facesim_index.store.catalog import picture_rows
from facesim_index.store.protocols import IndexStore
from facesim_index.store.records import KnownFile
from facesim_index.utils.progress import Progress, ProgressUpdate, ignore

#: No option makes an unchanged file of such content worth another look.
_DONE = (ImageStatus.OK, ImageStatus.NO_FACE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that must be looked into: new, changed, to be tried again or to be compared.

    Attributes
    ----------
    folder, name : str
        Absolute folder, and name in it.
    stamp : FileStamp
    known_hash : bytes or None
        For an unchanged file whose content is only to be compared: the hash it had when it was
        read.
    """

    folder: str
    name: str
    stamp: FileStamp
    known_hash: bytes | None = None

    @property
    def path(self) -> Path:
        """The path of the file."""
        return Path(self.folder, self.name)


@dataclass(slots=True)
class Scan:
    """What is on disk, compared with what the index knows.

    Attributes
    ----------
    files_seen, files_new, files_changed, files_unchanged : int
        Files that were found: all, those that are new, those with another size or time than
        before, and the others.
    to_read : int
        How many files an ingest would look into.
    gone : list of int
        Ids of files of the index that are no longer on disk.
    returned : list of int
        Ids of files that were gone at the last ingest, and are there again unchanged.
    warnings : list of str
        For people: folders that could not be listed, and the like.

    Examples
    --------
    >>> (photos / "carla.png").unlink()
    >>> found = index.scan(photos)
    >>> found.files_seen, found.files_unchanged, len(found.gone)
    (6, 6, 1)
    """

    files_seen: int = 0
    files_new: int = 0
    files_changed: int = 0
    files_unchanged: int = 0
    to_read: int = 0
    gone: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def scan(
    store: IndexStore | None,
    targets: Targets,
    options: IngestOptions,
    *,
    folders: Folders | None = None,
    progress: Progress = ignore,
    should_stop: Callable[[], bool] = lambda: False,
) -> Scan:
    """Walk the targets once: count the files, and notice which are gone.  Nothing is written.

    Parameters
    ----------
    store : IndexStore or None
        None when there is no index yet.
    targets : Targets
    options : IngestOptions
    folders : Folders, optional
        How the file system is asked; by default in this process.
    progress : callable, optional
        Called after each folder with a `ProgressUpdate`.
    should_stop : callable, optional
        Called before each folder, and once a second while there is no answer; once it returns True,
        the scan ends.

    Returns
    -------
    Scan

    Raises
    ------
    IndexDamagedError
        What the index knows of a file that is not simply unchanged is damaged.
    """
    found = Scan()
    if store is not None:
        with store.read() as view:
            picture_rows.require_sound_scan(view.transaction)
    folders = folders or FoldersHere()
    for root in (*targets.folders, *targets.files):
        walked: set[str] = set()
        seen_before = found.files_seen
        absent: list[tuple[int, Path]] = []
        for step in _walk_known(store, root, options, folders, found.warnings):
            if should_stop():
                return found
            if step is None:
                continue
            folder, known = step
            walked.add(str(folder.path))
            unsettled = [
                known.get(file.name)
                for file in folder.files
                if not _count(found, file.stamp, known.get(file.name), options)
            ]
            if root in targets.folders:
                names = {file.name for file in folder.files}
                unsettled += [known[name] for name in known.keys() - names]
                absent += _absent_files(folder.path, known, names)
            if store is not None and known and unsettled:
                _require_sound(store, folder, unsettled)
            progress(ProgressUpdate("finding pictures", found.files_seen))
        if root in targets.folders and store is not None:
            absent += _files_of_absent_folders(store, root, walked)
            gone = folders.gone(absent, should_stop) if absent else []
            if gone and found.files_seen == seen_before and options.prune:
                found.warnings.append(
                    f"{root} has no pictures any more: is a disk missing? Nothing of it was "
                    f"pruned; `facesim forget {root}` drops it on purpose"
                )
                gone = []
            found.gone += gone
    return found


def candidates(
    store: IndexStore, targets: Targets, options: IngestOptions, folders: Folders
) -> Iterator[Candidate | None]:
    """Walk the targets and yield the files that must be looked into.

    Parameters
    ----------
    store : IndexStore
    targets : Targets
    options : IngestOptions
    folders : Folders

    Yields
    ------
    Candidate or None
        In the order of the walk.  None once a second while the file system does not answer.
    """
    unheard: list[str] = []  # the scan has told the warnings
    for root in (*targets.folders, *targets.files):
        for step in _walk_known(store, root, options, folders, unheard):
            if step is None:
                yield None
                continue
            folder, known = step
            hashes = _known_hashes(store, folder) if options.checksum else {}
            for file in folder.files:
                before = known.get(file.name)
                if _worth_a_look(file.stamp, before, options):
                    yield Candidate(str(folder.path), file.name, file.stamp)
                elif before is not None and file.name in hashes:
                    yield Candidate(str(folder.path), file.name, file.stamp, hashes[file.name])


def _known_hashes(store: IndexStore, folder: FoundFolder) -> dict[str, bytes]:
    with store.read() as view:
        return picture_rows.folder_hashes(view.transaction, str(folder.path))


def _walk_known(
    store: IndexStore | None,
    root: Path,
    options: IngestOptions,
    folders: Folders,
    warnings: list[str],
) -> Iterator[tuple[FoundFolder, dict[str, KnownFile]] | None]:
    """Walk one target; yield each folder with what the index knows of its files.

    None is yielded once a second while the file system does not answer.
    """
    for folder in folders.walk(root, WalkOptions(options.exclude, options.follow_symlinks)):
        if folder is None:
            yield None
            continue
        if isinstance(folder, UnreadableFolder):
            warnings.append(f"cannot look into {folder.path}: {folder.message}")
            continue
        known: dict[str, KnownFile] = {}
        if store is not None:
            with store.read() as view:
                known = picture_rows.folder_files(view.transaction, str(folder.path))
        yield folder, known


def _require_sound(
    store: IndexStore, folder: FoundFolder, unsettled: Sequence[KnownFile | None]
) -> None:
    """Refuse damaged rows of files that are not simply there, unchanged and used before."""
    with store.read() as view:
        if None in unsettled:  # new, or known by the name of another
            picture_rows.require_sound_folder(view.transaction, str(folder.path))
        else:
            ids = [known.file_id for known in unsettled if known is not None]
            picture_rows.require_sound_files(view.transaction, ids)


def _count(found: Scan, stamp: FileStamp, known: KnownFile | None, options: IngestOptions) -> bool:
    """Count a file; tell whether the disk settles it: there, unchanged, and used before."""
    found.files_seen += 1
    if known is None:
        found.files_new += 1
    elif known.stamp != stamp:
        found.files_changed += 1
    else:
        found.files_unchanged += 1
        found.to_read += options.checksum and known.status is not None
        if known.status in _DONE and not known.missing:  # as almost all files are
            return True
    if _worth_a_look(stamp, known, options):
        found.to_read += 1
    elif known is not None and known.missing:
        found.returned.append(known.file_id)
    return False


def _worth_a_look(stamp: FileStamp, known: KnownFile | None, options: IngestOptions) -> bool:
    if known is None or known.stamp != stamp or known.retry_always:
        return True
    return options.retry_errors and known.status in (ImageStatus.ERROR, None)


def _absent_files(
    folder: Path, known: dict[str, KnownFile], names: set[str]
) -> Iterator[tuple[int, Path]]:
    """Yield the known files of a folder that were not found, which need not mean they are gone."""
    for name, file in known.items():
        if name not in names:
            yield file.file_id, folder / name


def _files_of_absent_folders(
    store: IndexStore, root: Path, walked: set[str]
) -> list[tuple[int, Path]]:
    """Return the known files in folders below a root that were not walked."""
    absent: list[tuple[int, Path]] = []
    with store.read() as view:
        for folder in picture_rows.folders_under(view.transaction, root):
            if folder not in walked:
                known = picture_rows.folder_files(view.transaction, folder)
                absent += _absent_files(Path(folder), known, set())
        picture_rows.require_sound_files(view.transaction, [file_id for file_id, _ in absent])
    return absent
