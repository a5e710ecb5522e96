"""Make an index, or bring an older one to what this version reads."""

from pathlib import Path

from facesim_index.config import CATALOG_NAME, SEGMENTS_NAME
from facesim_index.errors import IndexDamagedError, IndexNotFoundError, StorageError
from facesim_index.records import EngineIdentity
from facesim_index.store.folder.lock import HOLDER_NAME, LOCK_NAME, WriterLock
from facesim_index.store.snapshot_list import advice
from facesim_index.store.sqlite.connection import create_catalog, upgrade_catalog
from facesim_index.store.sqlite.wal import check_log, log_path
from facesim_index.utils.permissions import make_folder


def create_index(folder: Path, identity: EngineIdentity, model: str) -> None:
    """Make an empty index; nothing happens when another process has just made it."""
    refuse_headless(folder)
    new = CATALOG_NAME + ".new"
    ours = {LOCK_NAME, HOLDER_NAME, SEGMENTS_NAME, new}
    ours |= {new + suffix for suffix in ("-journal", "-wal", "-shm")}
    if folder.exists() and (
        not folder.is_dir() or any(entry.name not in ours for entry in folder.iterdir())
    ):
        raise IndexNotFoundError(
            f"{folder} exists and is not a facesim index; give another folder with --index"
        )
    try:
        make_folder(folder.resolve())  # a link as the address is its user's own
        make_folder(folder / SEGMENTS_NAME)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror or error}") from error
    except RuntimeError as error:
        raise StorageError(f"cannot make {folder}: it leads in a circle of links") from error
    lock = WriterLock(folder)
    try:
        if not (folder / CATALOG_NAME).exists():
            create_catalog(folder / CATALOG_NAME, identity, model)
    finally:
        lock.release()


def refuse_headless(folder: Path) -> None:
    """Refuse a folder with embeddings whose catalog is gone: it is damaged, not empty.

    A new catalog in it would not name them, and the next writer would remove them.
    """
    if not (folder / CATALOG_NAME).exists() and any((folder / SEGMENTS_NAME).glob("*.faiss")):
        raise IndexDamagedError(f"{folder / CATALOG_NAME} is missing; {advice(folder)}")


def require_whole_log(catalog: Path) -> None:
    """Refuse a damaged write-ahead log before SQLite takes what is left of it for all."""
    try:
        damage = check_log(catalog)
    except OSError as error:
        raise StorageError(f"cannot read {log_path(catalog)}: {error.strerror or error}") from error
    if damage is not None:
        raise IndexDamagedError(
            f"{log_path(catalog)} {damage.message}; {advice(catalog.parent)}; or "
            "`facesim verify --repair` goes on from the last commit that is whole"
        )


def upgrade_index(folder: Path, held: WriterLock | None) -> None:
    """Upgrade an older catalog, under the writer's lock `held`, or one of its own."""
    lock = held or WriterLock(folder)
    try:
        upgrade_catalog(folder / CATALOG_NAME)
    finally:
        if held is None:
            lock.release()
