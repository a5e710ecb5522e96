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
from typing import TYPE_CHECKING

from facesim_index.errors import IndexDamagedError, StorageError
from facesim_index.store.catalog import audit_log
from facesim_index.store.snapshot_list import known_snapshots

if TYPE_CHECKING:
    from facesim_index.store.folder.store import FolderStore

logger = logging.getLogger(__name__)


def erase(store: "FolderStore") -> None:
    """Leave no trace of what was removed from an index.

    Parameters
    ----------
    store : FolderStore
        Writable.

    Raises
    ------
    IndexDamagedError
        A segment that holds some of it cannot be read, so it cannot be rewritten.
    StorageError
        A reader still needs the index as it was, or the disk refused.
    """
    with store.catalog.write() as transaction:
        audit_log.clear_histories(transaction)
    store.compact()
    store.remove_leftovers(strict=True)
    store.remove_aside_log()
    for known in known_snapshots(store.folder):
        logger.warning(
            "the snapshot %s still holds what was forgotten since it was made", known.path
        )
    for stranger in store.strangers():
        logger.warning(
            "%s is no part of the index, and may hold what was forgotten: look at it yourself",
            stranger,
        )
    _empty_log(store)
    with store.catalog.write() as transaction:
        audit_log.finish(transaction)
    _empty_log(store)


def finish_erasing(store: "FolderStore") -> None:
    """Finish what an interrupted secure forget left, if there is such a thing.

    Parameters
    ----------
    store : FolderStore
        Writable.
    """
    with store.catalog.read() as transaction:
        if not audit_log.unfinished(transaction):
            return
    try:
        erase(store)
    except (IndexDamagedError, StorageError) as error:
        # Whoever opened the index may be about to mend just that.
        logger.warning("traces of what was forgotten are left: %s", error)
    else:
        logger.warning("erased what an interrupted `facesim forget --secure` had left")


def _empty_log(store: "FolderStore") -> None:
    if not store.catalog.empty_log():
        raise StorageError(
            f"a reader still uses {store.folder} as it was: what was forgotten is out of every "
            "answer, but traces of it are left until that is done; then run `facesim compact`"
        )
