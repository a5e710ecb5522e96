"""The one place that knows which store an address means: a folder, today."""

import os
from pathlib import Path

from facesim_index.records import EngineIdentity
from facesim_index.store.folder import mending
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.protocols import IndexStore
from facesim_index.store.segments.search import one_thread as one_thread  # of searches
from facesim_index.store.sqlite.connection import CATALOG_NAME


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
