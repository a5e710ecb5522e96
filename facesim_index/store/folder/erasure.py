"""Leaving no trace of what was forgotten in any file of an index.

1. The rows went in one transaction, with an unfinished line in the audit.  From here on an
   interrupted run is finished by whoever writes next.
2. Every segment that holds a removed vector is rewritten without it, and its coarse codes;
   the old files are unlinked.  A reader that has one mapped keeps it until it ends.
3. The catalog is vacuumed into fresh pages and the write-ahead log cut to nothing; a copy of a
   damaged log that a repair kept is removed.
4. The line is finished.

What the disk, its snapshots, and snapshots or copies of the index keep is out of reach.
"""

import logging
from pathlib import Path

from facesim_index.errors import IndexDamagedError, StorageError
from facesim_index.store.catalog import audit_log
from facesim_index.store.folder.compaction import compact
from facesim_index.store.folder.layout import foreign_files
from facesim_index.store.folder.segment_folder import SegmentFolder
from facesim_index.store.snapshot_list import known_snapshots
from facesim_index.store.sqlite.connection import Catalog
from facesim_index.store.sqlite.wal import aside_path

logger = logging.getLogger(__name__)


def erase(catalog: Catalog, segments: SegmentFolder) -> None:
    """Leave no trace of what was removed from an index.

    Parameters
    ----------
    catalog : Catalog
        Writable.
    segments : SegmentFolder
        Of that index.

    Raises
    ------
    IndexDamagedError
        A segment that holds some of it cannot be read, so it cannot be rewritten.
    StorageError
        A reader still needs the index as it was, or the disk refused.
    """
    folder = catalog.path.parent
    with catalog.write() as transaction:
        audit_log.clear_histories(transaction)
    compact(catalog, segments)
    segments.remove_leftovers(strict=True)
    _remove_aside_log(catalog.path)
    for known in known_snapshots(folder):
        logger.warning(
            "the snapshot %s still holds what was forgotten since it was made", known.path
        )
    for path in foreign_files(folder):
        logger.warning(
            "%s is no part of the index, and may hold what was forgotten: look at it yourself",
            path,
        )
    _empty_log(catalog)
    with catalog.write() as transaction:
        audit_log.finish(transaction)
    _empty_log(catalog)


def finish_erasing(catalog: Catalog, segments: SegmentFolder) -> None:
    """Finish what an interrupted secure forget left, if there is such a thing.

    Parameters
    ----------
    catalog : Catalog
        Writable.
    segments : SegmentFolder
        Of that index.
    """
    with catalog.read() as transaction:
        if not audit_log.unfinished(transaction):
            return
    try:
        erase(catalog, segments)
    except (IndexDamagedError, StorageError) as error:
        # Whoever opened the index may be about to mend just that.
        logger.warning("traces of what was forgotten are left: %s", error)
    else:
        logger.warning("erased what an interrupted `facesim forget --secure` had left")


def _remove_aside_log(catalog: Path) -> None:
    """Remove the copy of a damaged write-ahead log that a repair kept."""
    path = aside_path(catalog)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror or error}") from error


def _empty_log(catalog: Catalog) -> None:
    if not catalog.empty_log():
        raise StorageError(
            f"a reader still uses {catalog.path.parent} as it was: what was forgotten is out of "
            "every answer, but traces of it are left until that is done; then run "
            "`facesim compact`"
        )
