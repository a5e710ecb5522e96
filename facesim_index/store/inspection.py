"""What can be told of an index without opening it, and without changing anything in it."""

from contextlib import closing
from pathlib import Path

from facesim_index.config import CATALOG_NAME
from facesim_index.records import EngineIdentity
from facesim_index.store.catalog import index_state
from facesim_index.store.catalog.transaction import require_whole
from facesim_index.store.folder.layout import require_plain
from facesim_index.store.sqlite.connection import needs_upgrade, open_catalog


def engine_of_index(address: Path) -> EngineIdentity | None:
    """Return the engine that an index was built with.

    Parameters
    ----------
    address : Path
        The folder of an index.

    Returns
    -------
    EngineIdentity or None
        None when an older facesim wrote the index: it would have to be upgraded first.

    Raises
    ------
    IndexNotFoundError, IndexVersionError, IndexDamagedError, StorageError
    """
    require_plain(address)
    path = address / CATALOG_NAME
    if needs_upgrade(path):
        return None
    with closing(open_catalog(path, writable=False)) as catalog, catalog.read() as transaction:
        require_whole(transaction, "engine")
        identity, _ = index_state.stored_engine(transaction)
    return identity
