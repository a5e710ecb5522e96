"""Snapshots: a whole index as it was at one moment, in a folder of its own, and back again.

A snapshot is itself an index, with a manifest beside the catalog.  The catalog is copied by
SQLite's own backup, which gives one moment whatever a writer does.  Segments never change, so
they are hard-linked where the file system allows it and copied where not; those that a writer has
merged away between the two steps are why the two are then done again.  Everything is verified
before a folder gets its name, in both directions: a snapshot is whole, or it is not there.  How
it gets its name, and takes an index's place, is in `replacement`.

Either side may come from somebody else: no link in it is followed, and no name leads out of it.
"""

import contextlib
import json
import logging
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from facesim_index.config import CATALOG_NAME, SEGMENTS_NAME
from facesim_index.errors import IndexDamagedError, IndexNotFoundError, StorageError, UsageError
from facesim_index.store.catalog import face_rows, index_state
from facesim_index.store.catalog.transaction import now
from facesim_index.store.folder.creation import require_whole_log
from facesim_index.store.folder.layout import contents, named_segments
from facesim_index.store.folder.lock import HOLDER_NAME, LOCK_NAME, WriterLock
from facesim_index.store.folder.replacement import WorkFolder, enter, remove_left
from facesim_index.store.folder.segment_folder import is_segment_file
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import Snapshot
from facesim_index.store.segments.coarse import coarse_path
from facesim_index.store.snapshot_list import (
    LIST_NAME,
    MANIFEST_NAME,
    KnownSnapshot,
    advice,
    remember_snapshot,
)
from facesim_index.store.sqlite import descriptors
from facesim_index.store.sqlite.connection import held
from facesim_index.store.sqlite.wal import log_path, shared_path
from facesim_index.utils.files import (
    atomic_output,
    kind_of,
    open_regular,
    read_regular,
    sync_folder,
    total_bytes,
)

MAX_TRIES = 100
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

logger = logging.getLogger(__name__)


def take_snapshot(folder: Path, out: Path, *, copy: bool = False) -> Snapshot:
    """Make a snapshot of an index, also while it is being written.

    Parameters
    ----------
    folder : Path
        The index.
    out : Path
        Must not exist; its parent must.
    copy : bool, default=False
        Copy the segments even where hard links can be made, so that damage of the index's own
        files does not reach the snapshot.

    Returns
    -------
    Snapshot

    Raises
    ------
    IndexNotFoundError, StorageError
    UsageError
        `out` exists.
    IndexDamagedError
        The index is damaged; nothing was made.
    """
    FolderStore(folder).close()  # an older schema is upgraded, and what is no index is refused
    for place in (out, _resolved(folder)):
        remove_left(place)
    if os.path.lexists(out):
        raise UsageError(f"{out} exists; name a folder that does not exist for the snapshot")
    with _work_folder(out) as work:
        linked = _copy_index(folder, work.new, copy=copy)
        made = _verified(work.new, linked, folder)
        _write_manifest(work.new, made, folder)
        _tidy(work.new)
        work.put(out)
    taken = _at(made, out)
    try:
        remember_snapshot(folder, KnownSnapshot(taken.path, taken.created_at, taken.generation))
    except StorageError as error:
        logger.warning("%s is whole, but the index does not know of it: %s", out, error)
    return taken


def restore_snapshot(
    snapshot: Path, folder: Path, *, force: bool = False, copy: bool = False
) -> Snapshot:
    """Make an index of a snapshot, which stays as it is.

    Parameters
    ----------
    snapshot : Path
    folder : Path
        Where the index shall be.
    force : bool, default=False
        Let it take the place of an index that is there.  That one is removed once the new one is
        in place; a file in its folder that is none of an index's keeps it from being replaced.
    copy : bool, default=False
        As for `take_snapshot`.

    Returns
    -------
    Snapshot
        As it is in place now.

    Raises
    ------
    UsageError
        `snapshot` is none, or `folder` holds an index and `force` is False.
    IndexNotFoundError
        `folder` holds something that is no index, or no part of one.
    IndexLockedError
        Somebody is writing there.
    IndexDamagedError
        The snapshot is damaged; `folder` is as it was.
    """
    if not _is_file(snapshot / MANIFEST_NAME):
        raise UsageError(f"{snapshot} is not a snapshot; `facesim snapshot` makes one")
    folder = _resolved(folder)
    if _resolved(snapshot) == folder:
        raise UsageError(f"{snapshot} cannot be restored into itself")
    enter(snapshot)
    require_whole_log(snapshot / CATALOG_NAME)
    enter(folder)
    _check_place(folder, force=force)
    with _locked(folder) as held, _work_folder(folder) as work:
        linked = _copy_index(snapshot, work.new, copy=copy)
        made = _verified(work.new, linked, snapshot)
        _copy_list(folder, work.new)
        _tidy(work.new)
        if held:
            _check_place(folder, force=True)  # all this took time
            work.replace(folder)
        else:
            work.put(folder)
    return _at(made, folder)


def _check_place(folder: Path, *, force: bool) -> None:
    """Refuse to replace what holds anything that is not exactly an index's."""
    if not os.path.lexists(folder):
        return
    try:
        if not folder.is_dir():
            raise IndexNotFoundError(f"{folder} is no folder; it is not replaced")
        found = contents(folder)
    except OSError as error:
        raise StorageError(f"cannot look at {folder}: {error.strerror or error}") from error
    if found.foreign:
        raise IndexNotFoundError(
            f"{found.foreign[0]} is no part of an index, so {folder} is not replaced; move it "
            "elsewhere if it is yours, then restore again"
        )
    if found.ours and not force:
        raise UsageError(f"{folder} is not empty; --force puts the snapshot in its place")


def _copy_index(source: Path, target: Path, *, copy: bool) -> int:
    """Copy the catalog at one moment, and the segments that it names; return how many links."""
    (target / SEGMENTS_NAME).mkdir(mode=0o700)
    linked: set[str] = set()
    for _ in range(MAX_TRIES):
        (target / CATALOG_NAME).unlink(missing_ok=True)
        named = _backup(source / CATALOG_NAME, target / CATALOG_NAME)
        try:
            for name in named:
                if _take(source / SEGMENTS_NAME / name, target / SEGMENTS_NAME / name, copy):
                    linked.add(name)
        except FileNotFoundError as error:
            missing = error.filename
            continue  # merged away since the catalog was copied: look again
        for path in (target / SEGMENTS_NAME).iterdir():
            if path.with_suffix(".faiss").name not in named:
                path.unlink()
        sync_folder(target / SEGMENTS_NAME)
        sync_folder(target)
        return len(linked & set(named))
    raise IndexDamagedError(f"{missing} is missing; run `facesim verify --repair`")


def _take(source: Path, target: Path, copy: bool) -> bool:
    """Link or copy a segment and its coarse codes; tell whether it was linked."""
    is_linked = _link_or_copy(source, target, copy=copy)
    try:
        _link_or_copy(coarse_path(source), coarse_path(target), copy=copy)
    except FileNotFoundError:
        pass
    except IndexDamagedError as error:
        logger.warning("%s; it is left out, and searches are only slower without it", error)
    return is_linked


def _link_or_copy(source: Path, target: Path, *, copy: bool) -> bool:
    mode = os.lstat(source).st_mode
    if not stat.S_ISREG(mode):
        raise IndexDamagedError(f"{source} is {kind_of(mode)} instead of a file; it is not copied")
    if target.exists():
        return not copy and target.samefile(source)
    if not copy:
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:
            pass  # another file system, or one without links
        else:
            return True
    with open_regular(source) as old, atomic_output(target, private=True) as new:
        shutil.copyfileobj(old, new, 1 << 20)
    return False


def _backup(source: Path, target: Path) -> list[str]:
    """Copy a catalog as it is at one moment, and flush it; return the segments that it names.

    Raises
    ------
    IndexDamagedError
        It cannot be copied, or names a file that cannot be a segment of the index.
    StorageError
        The disk refused.
    """
    target.touch(mode=0o600)
    try:
        with (
            held(source) as old,
            closing(descriptors.connect(target, "mode=rw")) as new,
        ):
            old.backup(new)
            names = named_segments(new)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _DAMAGED:
            raise IndexDamagedError(
                f"{source} cannot be copied ({error}); {advice(source.parent)}"
            ) from error
        raise StorageError(f"cannot copy {source} to {target}: {error}") from error
    with target.open("rb+") as handle:
        os.fsync(handle.fileno())
    for name in names:
        if not isinstance(name, str) or not is_segment_file(name) or name.startswith("."):
            raise IndexDamagedError(
                f"{source} names the segment {name!r}, which is no name of a segment and may lie "
                "outside the index; nothing was made"
            )
    return [str(name) for name in names]


def _verified(folder: Path, linked: int, source: Path) -> Snapshot:
    """Verify a copy of something and say what it holds.

    Raises
    ------
    IndexDamagedError
    """
    with FolderStore(folder) as store:
        problems = [
            problem
            for problem in store.check().problems
            if not problem.what.endswith(".coarse")  # they follow from the segments
        ]
        if problems:
            raise IndexDamagedError(
                f"{source} is damaged or could not be copied ({len(problems)} problems; "
                f"{problems[0].what}: {problems[0].message}); nothing was made"
            )
        with store.read() as rows:
            generation = index_state.state(rows.transaction).generation
            faces = face_rows.n_faces(rows.transaction)
            segments = len(index_state.segment_infos(rows.transaction))
    return Snapshot(
        str(folder),
        now(),
        generation,
        faces,
        segments,
        linked,
        total_bytes(folder.rglob("*")),
    )


def _write_manifest(folder: Path, made: Snapshot, source: Path) -> None:
    document = {**asdict(made), "index": os.fsencode(source.absolute()).decode("utf-8", "replace")}
    del document["path"]
    with atomic_output(folder / MANIFEST_NAME) as out:
        out.write(json.dumps(document, indent=2).encode("ascii") + b"\n")


def _copy_list(folder: Path, new: Path) -> None:
    """Let a restored index know the snapshots that the one before knew."""
    with contextlib.suppress(FileNotFoundError):
        known = read_regular(folder / LIST_NAME)
        with atomic_output(new / LIST_NAME, private=True) as out:
            out.write(known)


def _tidy(folder: Path) -> None:
    """Leave in a finished folder what belongs to it only."""
    log = log_path(folder / CATALOG_NAME)
    if log.exists() and not log.stat().st_size:  # what a reader leaves behind
        log.unlink()
        shared_path(folder / CATALOG_NAME).unlink(missing_ok=True)
    for name in (LOCK_NAME, HOLDER_NAME):
        (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _work_folder(place: Path) -> Iterator[WorkFolder]:
    """Make a folder beside a place, and remove it in the end with what it then holds."""
    remove_left(place)
    try:
        work = WorkFolder.make(place)
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"cannot write to {place.absolute().parent}: {reason}") from error
    try:
        yield work
    except OSError as error:
        work.give_up()
        where = f" ({error.filename})" if error.filename else ""
        raise StorageError(f"cannot write {place}: {error.strerror or error}{where}") from error
    except sqlite3.Error as error:
        work.give_up()
        raise StorageError(f"cannot write {place}: {error}") from error
    except BaseException:
        work.give_up()
        raise
    work.remove()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Keep writers out of an index that is to be replaced; tell whether there is one."""
    try:
        lock = WriterLock(folder) if folder.is_dir() else None
    except OSError as error:
        raise StorageError(f"cannot look at {folder}: {error.strerror or error}") from error
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def _resolved(path: Path) -> Path:
    """Return where a path leads: a link to an index is its user's own.

    Raises
    ------
    StorageError
        It leads nowhere, in a circle.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise StorageError(f"{path} leads nowhere: {error}") from error


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _at(made: Snapshot, path: Path) -> Snapshot:
    fields = asdict(made)
    fields["path"] = str(path.absolute())
    return Snapshot(**fields)
