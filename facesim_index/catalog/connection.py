"""Open, make and upgrade the catalog's SQLite file."""

import contextlib
import datetime
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, exc, insert, text
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from facesim_index.catalog.schema import EngineRow, IndexState
from facesim_index.errors import (
    FacesimError,
    IndexDamagedError,
    IndexNotFoundError,
    IndexVersionError,
    StorageError,
)
from facesim_index.files import sync_folder
from facesim_index.records import EngineIdentity

if TYPE_CHECKING:
    from alembic.config import Config

CATALOG_NAME = "catalog.sqlite3"
SCHEMA_REVISION = "0003"
APPLICATION_ID = 0x46534958  # "FSIX", so that `file` and we can tell our catalogs
BUSY_TIMEOUT_MS = 30_000

Transaction = Connection
"""A connection inside a transaction, as `Catalog.read` and `Catalog.write` give it."""

logger = logging.getLogger(__name__)


def now() -> str:
    """Return the present time as stored: ISO 8601, UTC, whole seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Catalog:
    """One open catalog.

    Parameters
    ----------
    path : Path
        The SQLite file; it must exist.
    writable : bool
        False opens it such that nothing can be changed.

    Raises
    ------
    IndexNotFoundError
        The file is no facesim catalog.
    IndexVersionError
        A newer facesim wrote it.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self.writable = writable
        self._engine = _connect(path, "rw" if writable else "ro")

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """Hold one consistent view of the catalog for the length of the block."""
        with _explained(self.path), self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """Make all changes of the block, or none of them."""
        with _explained(self.path), self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.exec_driver_sql("COMMIT")

    def schema_revision(self) -> str:
        """Return the catalog's revision, ``SCHEMA_REVISION`` when it is up to date."""
        try:
            with self._engine.connect() as connection:
                if connection.exec_driver_sql("PRAGMA application_id").scalar() != APPLICATION_ID:
                    raise IndexNotFoundError(f"{self.path} is not a facesim catalog")
                return str(
                    connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
                )
        except exc.OperationalError as error:
            if "no such table" not in str(error):
                raise _explain(self.path, error) from error
            raise IndexNotFoundError(f"{self.path} is not a facesim catalog") from error
        except exc.DatabaseError as error:
            raise IndexNotFoundError(
                f"{self.path} is not a facesim catalog, or is damaged ({error.orig})"
            ) from error

    def shrink(self) -> None:
        """Give space back to the disk, so that removed rows are not even there as leftovers."""
        with _explained(self.path), self._engine.connect() as connection:
            connection.exec_driver_sql("VACUUM")
            # Whoever closes the catalog last does this anyway: no waiting for readers.
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")

    def check_integrity(self) -> list[str]:
        """Return what SQLite finds wrong with the file; empty when it is whole."""
        with self.read() as connection:
            rows = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        found = [f"{self.path}: {row}" for row in rows if row != "ok"]
        return found + [
            f"{self.path}: row {row[1]} of table {row[0]} refers to nothing" for row in broken
        ]


def open_catalog(path: Path, *, writable: bool) -> Catalog:
    """Open an existing catalog of this schema.

    Raises
    ------
    IndexNotFoundError
        The file is no facesim catalog.
    IndexVersionError
        A newer facesim wrote it, or an older one did and it must be upgraded first
        (`needs_upgrade` tells).
    """
    catalog = Catalog(path, writable=writable)
    try:
        revision = catalog.schema_revision()
        if revision != SCHEMA_REVISION:
            raise _newer(path, revision)
    except BaseException:
        catalog.close()
        raise
    return catalog


def needs_upgrade(path: Path) -> bool:
    """Tell whether an older facesim wrote this catalog.

    Raises
    ------
    IndexNotFoundError, IndexVersionError
    StorageError
        It did, and the catalog cannot be upgraded where it is.
    """
    catalog = Catalog(path, writable=False)
    try:
        revision = catalog.schema_revision()
    finally:
        catalog.close()
    if revision == SCHEMA_REVISION:
        return False
    if revision not in _known_revisions():
        raise _newer(path, revision)
    if not (os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)):
        raise StorageError(
            f"{path.parent} was written by an older facesim (schema {revision}, this one needs "
            f"{SCHEMA_REVISION}) and is read-only; copy it to where it can be written, and use "
            "the copy"
        )
    return True


def upgrade_catalog(path: Path) -> None:
    """Bring an older catalog to this schema; the caller holds the writer's lock."""
    with _explained(path):
        _migrate(path)
    logger.warning("upgraded %s to schema %s", path, SCHEMA_REVISION)


def create_catalog(path: Path, identity: EngineIdentity, model: str) -> None:
    """Make a new catalog, whole or not at all; the caller holds the writer's lock.

    Parameters
    ----------
    path : Path
        Must not exist.
    identity : EngineIdentity
        The engine this index is for, for good.
    model : str
        Pack name or folder that `models.resolve` finds that engine's weights by.
    """
    temporary = path.with_name(path.name + ".new")
    with _explained(temporary), _written(temporary):
        for suffix in ("-journal", "-wal", "-shm", ""):
            temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
        _migrate(temporary, create=True)
        engine = _connect(temporary, "rw")
        try:
            with engine.begin() as connection:
                connection.execute(
                    insert(IndexState).values(
                        id=1, generation=0, next_face_id=1, next_segment_id=1, created_at=now()
                    )
                )
                connection.execute(
                    insert(EngineRow).values(
                        id=1,
                        name=identity.name,
                        model=model,
                        detector_sha256=identity.detector_sha256,
                        recogniser_sha256=identity.recogniser_sha256,
                        preprocessing=identity.preprocessing,
                        dimension=identity.dimension,
                        augment=identity.augment,
                    )
                )
            with engine.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        finally:
            engine.dispose()
        temporary.rename(path)
        sync_folder(path.parent)


def _connect(path: Path, mode: str) -> Engine:
    """Return an engine whose transactions are exactly those that we begin.

    Closing a connection rolls back what was not committed.  Nobody says ROLLBACK: after a
    Ctrl-C inside a statement there is no connection any more that would take it.
    """
    options = f"mode={mode}"
    if mode == "ro" and _is_frozen(path):
        options = "mode=ro&immutable=1"
    uri = f"file:{quote(os.fsencode(path.absolute()))}?{options}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys=ON")
        if mode != "ro":
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=ON")

    return engine


def _is_frozen(path: Path) -> bool:
    """Tell whether SQLite cannot make its side files here, as on a read-only medium.

    Such a catalog can be read all the same when no write-ahead log is waiting.
    """
    if os.access(path.parent, os.W_OK):
        return False
    log = path.with_name(path.name + "-wal")
    return not log.exists() or log.stat().st_size == 0


def _migrate(path: Path, *, create: bool = False) -> None:
    """Run the migrations that this catalog lacks, all or none."""
    from alembic import command

    engine = _connect(path, "rwc" if create else "rw")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config = _alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, SCHEMA_REVISION)
            connection.exec_driver_sql("COMMIT")
    finally:
        engine.dispose()


def _alembic_config() -> "Config":
    from importlib.resources import files

    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(files("facesim_index.migrations")).replace("%", "%%")
    )
    config.set_main_option("path_separator", "os")
    return config


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {
        script.revision
        for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions()
    }


def _newer(path: Path, revision: str) -> IndexVersionError:
    return IndexVersionError(
        f"{path.parent} was written by a newer facesim (schema {revision}, this one knows "
        f"{SCHEMA_REVISION}); install that version to use it"
    )


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, with the file's name and what to do."""
    try:
        yield
    except exc.DBAPIError as error:
        raise _explain(path, error) from error


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write a file into ours."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def _explain(path: Path, error: exc.DBAPIError) -> FacesimError:
    reason = str(error.orig)
    if "malformed" in reason or "not a database" in reason:
        return IndexDamagedError(f"{path} is damaged ({reason}); restore it from a copy")
    if "readonly" in reason:
        return StorageError(f"cannot change {path}: it is read-only")
    if "full" in reason:
        return StorageError(f"cannot write {path}: the disk is full; what was committed is whole")
    return StorageError(f"{path}: {reason}")
