"""Snapshots: a whole index as it was at one moment, in a folder of its own, and back again.

A snapshot is itself an index, with a manifest beside the catalog.  The catalog is copied by
SQLite's own backup, which gives one moment whatever a writer does.  Segments never change, so
they are hard-linked where the file system allows it and copied where not; those that a writer has
merged away between the two steps are why the two are then done again.  Everything is verified
before a folder gets its name, in both directions: a snapshot is whole, or it is not there.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from facesim_index.config import CATALOG_NAME, SEGMENTS_NAME
from facesim_index.errors import IndexDamagedError, IndexNotFoundError, StorageError, UsageError
from facesim_index.store.catalog import face_rows, index_state
from facesim_index.store.catalog.transaction import now
from facesim_index.store.folder.lock import HOLDER_NAME, LOCK_NAME, WriterLock
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import Snapshot
from facesim_index.store.segments.coarse import coarse_path
from facesim_index.store.snapshot_list import (
    LIST_NAME,
    MANIFEST_NAME,
    KnownSnapshot,
    remember_snapshot,
)
from facesim_index.store.sqlite.wal import log_path, shared_path
from facesim_index.utils.files import atomic_output, sync_folder

MAX_TRIES = 100

# What an index's folder may hold besides; anything else is somebody's, and is not replaced.
_OURS = (CATALOG_NAME, SEGMENTS_NAME, LOCK_NAME, HOLDER_NAME, LIST_NAME, MANIFEST_NAME)


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
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists; name a folder that does not exist for the snapshot")
    FolderStore(folder).close()  # an older schema is upgraded, and what is no index is refused
    with _new_folder(out) as temporary:
        linked = _copy_index(folder, temporary, copy=copy)
        made = _verified(temporary, linked)
        _write_manifest(temporary, made, folder)
        _put(temporary, out)
    taken = _at(made, out)
    remember_snapshot(folder, KnownSnapshot(taken.path, taken.created_at, taken.generation))
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
        Let it take the place of an index that is there.  That one is kept aside until the new
        one is in place.
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
        `folder` holds something that is no index.
    IndexLockedError
        Somebody is writing there.
    IndexDamagedError
        The snapshot is damaged; `folder` is as it was.
    """
    if not (snapshot / MANIFEST_NAME).is_file():
        raise UsageError(f"{snapshot} is not a snapshot; `facesim snapshot` makes one")
    if folder.exists() and snapshot.resolve() == folder.resolve():
        raise UsageError(f"{snapshot} cannot be restored into itself")
    folder = folder.resolve()
    _check_place(folder, force=force)
    with _locked(folder), _new_folder(folder) as temporary:
        linked = _copy_index(snapshot, temporary, copy=copy)
        made = _verified(temporary, linked)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(folder / LIST_NAME, temporary / LIST_NAME)
        _replace(temporary, folder)
    return _at(made, folder)


def _check_place(folder: Path, *, force: bool) -> None:
    if not folder.exists():
        return
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else [folder.name]
    strange = [name for name in names if not name.startswith(_OURS)]
    if strange:
        raise IndexNotFoundError(
            f"{folder} holds something else than an index ({strange[0]}); it is not replaced"
        )
    if names and not force:
        raise UsageError(f"{folder} is not empty; --force puts the snapshot in its place")


def _copy_index(source: Path, target: Path, *, copy: bool) -> int:
    """Copy the catalog at one moment, and the segments that it names; return how many links."""
    (target / SEGMENTS_NAME).mkdir(mode=0o700)
    linked: set[str] = set()
    for _ in range(MAX_TRIES):
        (target / CATALOG_NAME).unlink(missing_ok=True)
        _backup(source / CATALOG_NAME, target / CATALOG_NAME)
        named = _segment_names(target / CATALOG_NAME)
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
    with contextlib.suppress(FileNotFoundError):
        _link_or_copy(coarse_path(source), coarse_path(target), copy=copy)
    return is_linked


def _link_or_copy(source: Path, target: Path, *, copy: bool) -> bool:
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
    with source.open("rb") as old, atomic_output(target, private=True) as new:
        shutil.copyfileobj(old, new, 1 << 20)
    return False


def _backup(source: Path, target: Path) -> None:
    """Copy a catalog as it is at one moment, and flush it."""
    uri = f"file:{quote(os.fsencode(source.absolute()))}?mode=ro"
    target.touch(mode=0o600)
    try:
        with (
            closing(sqlite3.connect(uri, uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.execute("PRAGMA busy_timeout=30000")
            old.backup(new)
    except sqlite3.Error as error:
        raise IndexDamagedError(f"{source} cannot be copied ({error})") from error
    with target.open("rb+") as handle:
        os.fsync(handle.fileno())


def _segment_names(catalog: Path) -> list[str]:
    with closing(sqlite3.connect(catalog)) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM segment ORDER BY id")]


def _verified(folder: Path, linked: int) -> Snapshot:
    """Verify a copy and say what it holds.

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
                f"what was to be copied is damaged ({len(problems)} problems; {problems[0].what}: "
                f"{problems[0].message}); nothing was made"
            )
        with store.read() as rows:
            generation = index_state.state(rows.transaction).generation
            faces = face_rows.n_faces(rows.transaction)
            segments = len(index_state.segment_infos(rows.transaction))
    files = [path for path in folder.rglob("*") if path.is_file()]
    return Snapshot(
        str(folder),
        now(),
        generation,
        faces,
        segments,
        linked,
        sum(path.stat().st_size for path in files),
    )


def _write_manifest(folder: Path, made: Snapshot, source: Path) -> None:
    document = {**asdict(made), "index": os.fsencode(source.absolute()).decode("utf-8", "replace")}
    del document["path"]
    with atomic_output(folder / MANIFEST_NAME) as out:
        out.write(json.dumps(document, indent=2).encode("ascii") + b"\n")


@contextlib.contextmanager
def _new_folder(beside: Path) -> Iterator[Path]:
    """Make a folder beside a path; it is removed when the block raises."""
    parent = beside.absolute().parent
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{beside.name[:100]}.", dir=parent))
    except OSError as error:
        raise StorageError(f"cannot write to {parent}: {error.strerror or error}") from error
    try:
        yield temporary
    except OSError as error:
        raise StorageError(f"cannot write {beside}: {error.strerror or error}") from error
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep writers out of an index that is to be replaced, where there is one."""
    lock = WriterLock(folder) if folder.is_dir() else None
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _put(temporary: Path, target: Path) -> None:
    """Give a finished folder its name, which nothing may have."""
    log = log_path(temporary / CATALOG_NAME)
    if log.exists() and not log.stat().st_size:  # what a reader leaves behind
        log.unlink()
        shared_path(temporary / CATALOG_NAME).unlink(missing_ok=True)
    for name in (LOCK_NAME, HOLDER_NAME):
        (temporary / name).unlink(missing_ok=True)
    sync_folder(temporary)
    if target.exists():
        raise UsageError(f"{target} exists; name a folder that does not exist")
    temporary.rename(target)
    sync_folder(target.absolute().parent)


def _replace(temporary: Path, folder: Path) -> None:
    """Let a finished folder take the place of another, which is kept aside until then."""
    if not folder.exists():
        _put(temporary, folder)
        return
    aside = Path(
        tempfile.mkdtemp(prefix=f".{folder.name[:100]}.old.", dir=folder.absolute().parent)
    )
    folder.rename(aside / folder.name)
    try:
        _put(temporary, folder)
    except BaseException:
        (aside / folder.name).rename(folder)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _at(made: Snapshot, path: Path) -> Snapshot:
    fields = asdict(made)
    fields["path"] = str(path.absolute())
    return Snapshot(**fields)
