import os
import shutil
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import event

from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.errors import (
    IndexDamagedError,
    IndexLockedError,
    IndexNotFoundError,
    IndexVersionError,
    StorageError,
)
from facesim_index.records import FaceId, Failure, FailureCode, FileStamp
from facesim_index.store.catalog import face_rows, index_state, picture_rows, writing
from facesim_index.store.catalog.schema import Base
from facesim_index.store.folder.lock import WriterLock
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import FileLink
from facesim_index.store.sqlite import row_checks
from facesim_index.store.sqlite.connection import (
    SCHEMA_REVISION,
    Catalog,
    create_catalog,
    needs_upgrade,
    open_catalog,
)
from tests.builders import commit_pictures, new_store, picture, unit_vectors
from tests.property_tests import examples
from tests.reliability.old_indexes import old_schema


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    create_catalog(tmp_path / "catalog.sqlite3", FAKE_IDENTITY, "fake")
    opened = open_catalog(tmp_path / "catalog.sqlite3", writable=True)
    yield opened
    opened.close()


def test_migrations_make_exactly_the_tables_of_the_schema(catalog: Catalog) -> None:
    with catalog.read() as transaction:
        assert compare_metadata(MigrationContext.configure(transaction), Base.metadata) == []
    scripts = Config()
    scripts.set_main_option("script_location", str(files("facesim_index.migrations")))
    scripts.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(scripts).get_current_head() == SCHEMA_REVISION
    assert catalog.schema_revision() == SCHEMA_REVISION
    assert not needs_upgrade(catalog.path)
    assert catalog.check_integrity() == []


def test_a_reader_sees_one_moment_while_a_writer_commits(catalog: Catalog) -> None:
    reader = open_catalog(catalog.path, writable=False)
    with reader.read() as view:
        before = index_state.state(view).generation
        with catalog.write() as transaction:
            writing.advance(transaction)
        assert index_state.state(view).generation == before
    with reader.read() as view:
        assert index_state.state(view).generation == before + 1
    reader.close()


@pytest.mark.parametrize("block", ["read", "write"])
def test_an_interrupt_inside_a_statement_stays_an_interrupt(catalog: Catalog, block: str) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    def interrupted() -> None:
        with getattr(catalog, block)() as transaction:
            if block == "write":
                writing.put_root(transaction, "/somewhere")
            event.listen(transaction.engine.dialect, "do_execute", interrupt)
            try:
                index_state.state(transaction)
            finally:
                event.remove(transaction.engine.dialect, "do_execute", interrupt)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with catalog.write() as transaction:  # nothing of it holds a lock, nothing of it was written
        assert index_state.roots(transaction) == []


def test_an_exception_in_a_write_undoes_all_of_it(catalog: Catalog) -> None:
    def fail_halfway() -> None:
        with catalog.write() as transaction:
            writing.put_root(transaction, "/somewhere")
            raise LookupError

    with pytest.raises(LookupError):
        fail_halfway()
    with catalog.read() as transaction:
        assert index_state.roots(transaction) == []


@pytest.fixture
def old_index(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An index of an older schema, by default 0001, with two faces, one of them removed."""
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", unit_vectors(2, 7))})
        store.remove([], face_ids=[FaceId(1)])
    old_schema(tmp_path / "i", getattr(request, "param", "0001"))
    return tmp_path / "i"


@pytest.mark.parametrize("old_index", ["0001", "0002", "0003", "0008"], indirect=True)
@pytest.mark.parametrize("writable", [False, True])
def test_an_older_index_is_upgraded_when_it_is_opened(
    old_index: Path, writable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = old_index / "catalog.sqlite3"
    assert needs_upgrade(path)
    with pytest.raises(IndexVersionError):
        open_catalog(path, writable=False)
    with FolderStore(old_index, writable=writable) as store:
        assert f"upgraded {path} to schema {SCHEMA_REVISION}" in caplog.text
        assert store.catalog.schema_revision() == SCHEMA_REVISION
        assert store.catalog.check_integrity() == []
        assert store.identity == FAKE_IDENTITY
        assert (store.identity.augment, store.identity.numerics) == ("none", "fp32")
        with store.view() as view:
            assert (
                compare_metadata(MigrationContext.configure(view.transaction), Base.metadata) == []
            )
            [found] = view.search(unit_vectors(2, 7)[1:], 5)
            [face] = face_rows.faces(view.transaction, found.face_ids)
            assert (face.face_id, face.path, view.removed.tolist()) == (2, "/p/a.jpg", [1])
            assert index_state.prior_estimate(view.transaction) is None
    assert not needs_upgrade(path)
    with FolderStore(old_index, writable=True) as store:  # the lock was let go
        commit_pictures(store, {"/p/b.jpg": picture("b", unit_vectors(1, 8))})


def test_an_older_index_waits_for_its_writer(old_index: Path) -> None:
    lock = WriterLock(old_index)
    with pytest.raises(IndexLockedError, match="is being written by process"):
        FolderStore(old_index)
    lock.release()
    assert needs_upgrade(old_index / "catalog.sqlite3")


def test_an_older_index_that_cannot_be_changed_is_told(
    old_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "facesim_index.store.sqlite.connection.os.access", lambda _, mode: mode != os.W_OK
    )
    for writable in (False, True):
        with pytest.raises(StorageError, match=r"older facesim \(schema 0001.*read-only; copy it"):
            FolderStore(old_index, writable=writable)
    monkeypatch.undo()
    assert needs_upgrade(old_index / "catalog.sqlite3")


def test_a_newer_schema_is_refused(catalog: Catalog) -> None:
    catalog.close()
    with sqlite3.connect(catalog.path) as connection:
        row_checks.register(connection)
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for look in (needs_upgrade, lambda path: open_catalog(path, writable=False)):
        with pytest.raises(IndexVersionError, match="written by a newer facesim"):
            look(catalog.path)


def test_other_files_are_no_catalog(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite3"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    text = tmp_path / "text"
    text.write_text("not a database at all, but long enough to have a header" * 10)
    for path in (other, text):
        with pytest.raises(IndexNotFoundError, match="not a facesim catalog"):
            open_catalog(path, writable=False)


def test_a_damaged_catalog_is_told(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_pictures(
            store, {f"/p/{n}.jpg": picture(str(n), unit_vectors(1, n)) for n in range(300)}
        )
    path = tmp_path / "i" / "catalog.sqlite3"
    data = bytearray(path.read_bytes())
    data[8192:40960] = os.urandom(32768)
    path.write_bytes(data)
    with (
        pytest.raises((IndexDamagedError, IndexNotFoundError), match=r"damaged"),
        FolderStore(tmp_path / "i") as store,
    ):
        store.catalog.check_integrity()


names = st.one_of(
    st.text(min_size=1, max_size=20).filter(lambda name: "/" not in name and "\0" not in name),
    st.binary(min_size=1, max_size=20)
    .filter(lambda name: b"/" not in name and b"\0" not in name)
    .map(os.fsdecode),
).filter(lambda name: name not in (".", ".."))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog to copy: to make one takes longer than the test does with it."""
    path = tmp_path_factory.mktemp("empty") / "catalog.sqlite3"
    create_catalog(path, FAKE_IDENTITY, "fake")
    return path


@examples(60)
@given(folder=names, name=names)
def test_any_file_name_survives_the_round_trip(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, folder: str, name: str
) -> None:
    where = f"/photos/{folder}"
    assume(_can_be_a_name(where + name))
    root = tmp_path_factory.mktemp("c")
    shutil.copyfile(empty, root / "catalog.sqlite3")
    catalog = open_catalog(root / "catalog.sqlite3", writable=True)
    failure = Failure(FailureCode.UNREADABLE, f"cannot read {name}")
    with catalog.write() as transaction:
        for _ in range(2):
            writing.link_files(transaction, [FileLink(where, name, FileStamp(1, 2), None, failure)])
    with catalog.read() as transaction:
        assert list(picture_rows.folder_files(transaction, where)) == [name]
        assert picture_rows.folders_under(transaction, Path("/photos")) == [where]
        assert len(picture_rows.files_under(transaction, Path(where))) == 1
        [listed] = picture_rows.failed_files(transaction)
        assert listed.path == f"{where}/{name}"
    catalog.close()


def _can_be_a_name(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def test_below_a_folder_means_below_that_very_folder(catalog: Catalog) -> None:
    failure = Failure(FailureCode.UNREADABLE, "no")
    folders = ["/p/a", "/p/a/b", "/p/ab", "/p/A", "/p/a%", "/p/a b"]
    with catalog.write() as transaction:
        writing.link_files(
            transaction, [FileLink(f, "x.jpg", FileStamp(1, 1), None, failure) for f in folders]
        )
        assert sorted(picture_rows.folders_under(transaction, Path("/p/a"))) == ["/p/a", "/p/a/b"]
        assert len(picture_rows.files_under(transaction, Path("/p/a/x.jpg"))) == 1
        assert len(picture_rows.folders_under(transaction, Path("/"))) == len(folders)
