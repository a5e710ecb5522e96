"""What lies in the folder of an index."""

from pathlib import Path

from facesim_index.config import CATALOG_NAME, SEGMENTS_NAME
from facesim_index.store.folder.lock import HOLDER_NAME, LOCK_NAME
from facesim_index.store.snapshot_list import LIST_NAME, MANIFEST_NAME
from facesim_index.store.sqlite.wal import aside_path, log_path, shared_path

OURS = (
    CATALOG_NAME,
    *(side(Path(CATALOG_NAME)).name for side in (log_path, aside_path, shared_path)),
    *(SEGMENTS_NAME, LOCK_NAME, HOLDER_NAME, LIST_NAME, MANIFEST_NAME),
)


def foreign_files(folder: Path) -> list[Path]:
    """Return what is in the folder of an index and is none of its files."""
    return sorted(set(folder.iterdir()) - {folder / name for name in OURS})
