"""Open, make and upgrade the catalog's SQLite file."""

import contextlib
import functools
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, create_engine, event, exc, insert, text
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from facesim_index.errors import (
    FacesimError,
    IndexDamagedError,
    IndexNotFoundError,
    IndexVersionError,
    StorageError,
)
from facesim_index.records import EngineIdentity
from facesim_index.store.catalog.schema import EngineRow, IndexState
from facesim_index.store.catalog.transaction import DIALECT_OPTION, Transaction, now
from facesim_index.store.snapshot_list import LIST_NAME, advice
from facesim_index.store.sqlite import descriptors, row_checks, row_triggers
from facesim_index.store.sqlite.dialect import SqliteDialect
from facesim_index.store.sqlite.read_only import ReadOnlyEngine
from facesim_index.store.sqlite.wal import log_path, shared_path
from facesim_index.utils.files import sync_folder
from facesim_index.utils.permissions import make_file

if TYPE_CHECKING:
    from alembic.config import Config

SCHEMA_REVISION = "0010"
APPLICATION_ID = 0x46534958  # "FSIX", so that `file` and we can tell our catalogs
BUSY_TIMEOUT_MS = 30_000

_SIGNS_OF_DAMAGE = ("malformed", "not a database", "decode", "user-defined function", "no such")


logger = logging.getLogger(__name__)


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
    StorageError
        The disk refused.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self.writable = writable
        self._read_only: ReadOnlyEngine | None = None
        if writable:
            self._flush(log_path(path))  # what a killed writer may have left to the system
        elif not os.access(path.parent, os.W_OK):
            self._read_only = ReadOnlyEngine(path, functools.partial(_make_engine, path))
        self._engine = _make_engine(path, "mode=rw" if writable else "mode=ro")

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()
        if self._read_only is not None:
            self._read_only.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """Hold one consistent view of the catalog for the length of the block."""
        with _explained(self.path), self._begun() as connection:
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
            with self._begun() as connection:
                if connection.exec_driver_sql("PRAGMA application_id").scalar() != APPLICATION_ID:
                    raise _no_catalog(self.path, "or its header is damaged")
                revision = str(
                    connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
                )
                if revision != SCHEMA_REVISION and row_checks.are_kept(connection):
                    SqliteDialect().require_whole(connection, "alembic_version")
                return revision
        except exc.OperationalError as error:
            if "no such table" not in str(error):
                raise _explain(self.path, str(error.orig)) from error
            raise _no_catalog(self.path, f"or is damaged ({error.orig})") from error
        except (exc.DatabaseError, sqlite3.Error, exc.NoResultFound, UnicodeDecodeError) as error:
            reason = getattr(error, "orig", error)
            raise _no_catalog(self.path, f"or is damaged ({reason})") from error

    def shrink(self) -> None:
        """Give space back to the disk, so that removed rows are not even there as leftovers."""
        with _explained(self.path), self._engine.connect() as connection:
            connection.exec_driver_sql("VACUUM")
            # Whoever closes the catalog last does this anyway: no waiting for readers.
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
            self._cut_log(connection)
            connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")

    def empty_log(self) -> bool:
        """Move all of the write-ahead log into the catalog and cut it to nothing.

        Waits a while for readers; returns False when one still needs what is in the log.
        """
        with _explained(self.path), self._engine.connect() as connection:
            return self._cut_log(connection)

    def check_integrity(self) -> list[str]:
        """Return what SQLite finds wrong with the file; empty when it is whole."""
        found = self.check_structure()
        with self.read() as connection:
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        return found + [
            f"{self.path}: row {row[1]} of table {row[0]} refers to nothing" for row in broken
        ]

    def check_structure(self) -> list[str]:
        """Return what is wrong with the file, its tables and indexes, whatever rows refer to."""
        with self.read() as connection:
            rows = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
            schema = row_checks.schema_is_whole(connection)
        found = [f"{self.path}: {row}" for row in rows if row != "ok"]
        if not schema:
            found.append(f"{self.path}: its tables or triggers are not as they were made")
        return found

    @contextlib.contextmanager
    def _begun(self) -> Iterator[Transaction]:
        """Hold one consistent view of the catalog; errors are SQLite's own."""
        if self._read_only is not None:
            with self._read_only.transaction() as connection:
                yield connection
            return
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection

    def _cut_log(self, connection: Transaction) -> bool:
        """Move the log into the catalog, then cut it to nothing; False when a reader is in the way.

        The count of what is in the catalog reaches the disk first.  Otherwise a power cut could
        leave an empty log beside an older count, as if the log had been lost.
        """
        for mode in ("FULL", "TRUNCATE"):
            busy, _, _ = connection.exec_driver_sql(f"PRAGMA wal_checkpoint({mode})").one()
            if busy:
                return False
            self._flush(shared_path(self.path))
        return True

    def _flush(self, file: Path) -> None:
        with _written(file), contextlib.suppress(FileNotFoundError):
            descriptors.flush_file(self.path, file.name)


@contextlib.contextmanager
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold one consistent view of a catalog of any schema, for SQLite's own backup.

    Parameters
    ----------
    path : Path

    Yields
    ------
    sqlite3.Connection

    Raises
    ------
    IndexDamagedError, StorageError
        It cannot be read.
    """
    with contextlib.closing(Catalog(path, writable=False)) as catalog, catalog.read() as view:
        connection = view.connection.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        yield connection


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
    """Bring an older catalog to this schema; the caller holds the writer's lock.

    Raises
    ------
    IndexDamagedError
        SQLite finds it damaged; it is left as it is.
    """
    with _explained(path):
        _refuse_damaged(path)
        _migrate(path)
    logger.warning("upgraded %s to schema %s", path, SCHEMA_REVISION)


def open_upgraded(path: Path, *, writable: bool, upgrade: Callable[[], None]) -> Catalog:
    """Open an existing catalog; one that an older facesim wrote is brought to this schema first.

    Parameters
    ----------
    path : Path
    writable : bool
    upgrade : callable
        Does `upgrade_catalog`, under the writer's lock; is called only where it is needed.

    Raises
    ------
    IndexNotFoundError, IndexVersionError, IndexDamagedError, StorageError
        See `needs_upgrade` and `upgrade_catalog`.
    """
    catalog = Catalog(path, writable=writable)  # nearly always of this schema: no second look
    try:
        if catalog.schema_revision() == SCHEMA_REVISION:
            return catalog
    except BaseException:
        catalog.close()
        raise
    catalog.close()
    if needs_upgrade(path):
        upgrade()
    return open_catalog(path, writable=writable)


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
        make_file(temporary)
        _migrate(temporary, create=True)
        engine = _make_engine(temporary, "mode=rw")
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
                        numerics=identity.numerics,
                    )
                )
            with engine.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        finally:
            engine.dispose()
        temporary.rename(path)
        sync_folder(path.parent)


def _make_engine(path: Path, options: str) -> Engine:
    """Return an engine whose transactions are exactly those that we begin.

    Closing a connection rolls back what was not committed.  Nobody says ROLLBACK: after a
    Ctrl-C inside a statement there is no connection any more that would take it.
    """
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=lambda: descriptors.connect(path, options),
        poolclass=QueuePool,
        execution_options={DIALECT_OPTION: SqliteDialect()},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys=ON")
        row_checks.register(connection)
        if not options.startswith("mode=ro"):
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=ON")

    return engine


def _refuse_damaged(path: Path) -> None:
    """Refuse to upgrade what is not whole: new checksums would cover the damage."""
    engine = _make_engine(path, "mode=ro")
    try:
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalars().all()
    finally:
        engine.dispose()
    if rows != ["ok"]:
        raise IndexDamagedError(
            f"{path} is damaged and is not upgraded ({rows[0]}); {advice(path.parent)}"
        )


def _migrate(path: Path, *, create: bool = False) -> None:
    """Run the migrations that this catalog lacks, all or none."""
    from alembic import command

    engine = _make_engine(path, "mode=rwc" if create else "mode=rw")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config = _alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, SCHEMA_REVISION)
            row_triggers.install(connection)
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


def _no_catalog(path: Path, why: str) -> FacesimError:
    """Return the error of a file that is no catalog, though there may be an index around it."""
    if any(path.parent.glob("segments/*.faiss")) or (path.parent / LIST_NAME).exists():
        return IndexDamagedError(f"{path} is not a facesim catalog, {why}; {advice(path.parent)}")
    return IndexNotFoundError(f"{path} is not a facesim catalog, {why}")


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
        raise _explain(path, str(error.orig)) from error
    except sqlite3.Error as error:  # of rows that are read as they are
        raise _explain(path, str(error)) from error
    except UnicodeDecodeError as error:
        raise IndexDamagedError(
            f"{path} is damaged (a text is none any more); run `facesim verify --repair`"
        ) from error


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write a file into ours."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def _explain(path: Path, reason: str) -> FacesimError:
    if any(sign in reason for sign in _SIGNS_OF_DAMAGE):
        return IndexDamagedError(f"{path} is damaged ({reason}); {advice(path.parent)}")
    if "readonly" in reason:
        return StorageError(f"cannot change {path}: it is read-only")
    if "full" in reason:
        return StorageError(f"cannot write {path}: the disk is full; what was committed is whole")
    return StorageError(f"{path}: {reason}")
