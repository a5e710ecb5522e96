"""The one place that knows which store an address means: a folder, today."""

import os
from pathlib import Path

from facesim_index.config import CATALOG_NAME
from facesim_index.records import EngineIdentity
from facesim_index.store.folder import mending, snapshots
from facesim_index.store.folder.replacement import enter
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.protocols import IndexStore
from facesim_index.store.records import Snapshot
from facesim_index.store.segments.search import one_thread as one_thread  # of searches


def open_store(address: Path, *, writable: bool = False) -> IndexStore:
    """Open an index.

    Parameters
    ----------
    address : Path
        The folder of the index.
    writable : bool, default=False
        Take the writer's lease, and finish what a writer that was interrupted has left.

    Returns
    -------
    IndexStore

    Raises
    ------
    IndexNotFoundError, IndexVersionError, IndexDamagedError, IndexLockedError, StorageError
    """
    return FolderStore(address, writable=writable)


def open_or_create_store(address: Path, identity: EngineIdentity, model: str) -> IndexStore:
    """Open an index for writing; make it first if there is none.

    Parameters
    ----------
    address : Path
        The folder of the index.
    identity : EngineIdentity
        The engine that is about to write.
    model : str
        Pack name or folder that `models.resolution.resolve` finds its weights by.

    Returns
    -------
    IndexStore

    Raises
    ------
    EngineMismatchError
        The index was built with another engine.
    IndexNotFoundError
        The folder exists and holds something else.
    IndexVersionError, IndexDamagedError, IndexLockedError, StorageError
    """
    return FolderStore.open_or_create(address, identity, model)


def take_snapshot(address: Path, out: Path, *, copy: bool = False) -> Snapshot:
    """Keep an index as it is at this moment in a folder of its own, while others write.

    Parameters
    ----------
    address : Path
        The folder of the index.
    out : Path
        Must not exist; its parent must.
    copy : bool, default=False
        Copy the embeddings even where they could be shared with the index.

    Returns
    -------
    Snapshot

    Raises
    ------
    UsageError, IndexNotFoundError, IndexDamagedError, StorageError
    """
    return snapshots.take_snapshot(address, out, copy=copy)


def restore_snapshot(
    snapshot: Path, address: Path, *, force: bool = False, copy: bool = False
) -> Snapshot:
    """Make an index of a snapshot, which stays as it is.

    Parameters
    ----------
    snapshot : Path
    address : Path
        The folder where the index shall be.
    force : bool, default=False
        Let it take the place of an index that is there.
    copy : bool, default=False
        As for `take_snapshot`.

    Returns
    -------
    Snapshot
        As it is in place now.

    Raises
    ------
    UsageError, IndexNotFoundError, IndexLockedError, IndexDamagedError, StorageError
    """
    return snapshots.restore_snapshot(snapshot, address, force=force, copy=copy)


def mend_to_open(address: Path) -> str | None:
    """Mend what keeps an index from being opened at all.

    Parameters
    ----------
    address : Path
        The folder of the index.

    Returns
    -------
    str or None
        What was wrong and is mended at the price of the newest commits; None when nothing was.

    Raises
    ------
    IndexLockedError
        Somebody is writing.
    StorageError, IndexDamagedError
        It cannot be mended.
    """
    enter(address)
    lost = mending.mend_log(address)
    mending.mend_engine(address)
    return lost


def index_stamp(address: Path) -> tuple[int, int] | None:
    """Return what tells an index from another that takes its place; None when there is none.

    Parameters
    ----------
    address : Path
        The folder of the index.
    """
    try:
        found = os.stat(address / CATALOG_NAME)  # noqa: PTH116 - asked at every request
    except OSError:
        return None
    return found.st_dev, found.st_ino
