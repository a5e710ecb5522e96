"""An index of each released schema opens and answers the same; a failed upgrade changes nothing."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from facesim_index.engine.fake import FakeEngineSettings
from facesim_index.index import FaceIndex
from facesim_index.people.edits import confirm_faces, undo
from facesim_index.records import FaceId
from facesim_index.store.catalog import face_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.sqlite.connection import SCHEMA_REVISION, needs_upgrade, upgrade_catalog
from facesim_index.upkeep.forgetting import forget
from tests.asking import list_people, verify
from tests.builders import commit_pictures, picture, unit_vectors
from tests.reliability.old_indexes import ASKED, EXPECTED_NAME, FOLDER, RELEASED, make

CATALOG = "catalog.sqlite3"
REVISED = (b"alembic_version", b"sqlite_master")  # of which an upgrade makes other rows


@pytest.fixture(params=RELEASED)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of an index of an old schema."""
    shutil.copytree(FOLDER / f"{request.param}", tmp_path / "old")
    return tmp_path / "old"


def rows(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of the catalog, by table."""
    with closing(sqlite3.connect(folder / CATALOG)) as database:
        database.text_factory = bytes
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name.decode(): sorted(database.execute(f"SELECT * FROM {name.decode()}"), key=repr)
            for (name,) in tables
        }


def segment_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "segments").iterdir()}


def check_answers(folder: Path) -> None:
    """See that an index holds and answers what it did when it was made."""
    expected = json.loads((folder / EXPECTED_NAME).read_text(encoding="ascii"))
    with FaceIndex.open(folder, engine=FakeEngineSettings()) as index:
        assert index.face_ids().tolist() == expected["faces"]
        for face_id in ASKED:
            [face] = index.query(face_id=face_id, top=20, prior=0.5).faces
            wanted = expected["answers"][str(face_id)]
            assert [match.face_id for match in face.matches] == [other for _, other in wanted]
            assert [match.cosine for match in face.matches] == pytest.approx(
                [cosine for cosine, _ in wanted], abs=1e-12
            )
        assert index.query(face_id=2, top=1).faces[0].matches[0].face_id == 9
        assert [error.path for error in index.errors()] == ["/photos/ü\udcff.jpg"]
        assert not index.verify().problems


def test_an_index_of_each_released_schema_opens_and_answers_the_same(old: Path) -> None:
    before, files = rows(old), segment_bytes(old)
    assert before["alembic_version"] == [(old_revision(old).encode(),)]
    check_answers(old)
    after = rows(old)
    for table, found in before.items():
        if table == "engine":
            assert [row[: len(found[0])] for row in after[table]] == found
        elif table == "row_check":
            assert set(found) - set(after[table]) == {row for row in found if row[0] in REVISED}
        elif table != "alembic_version":
            assert after[table] == found
    assert segment_bytes(old) == files
    with FolderStore(old, writable=True) as store:
        commit_pictures(store, {"/new.jpg": picture("new", unit_vectors(2, 5))})
        assert not verify(store).problems
        with store.catalog.read() as transaction:
            assert face_rows.n_faces(transaction) == 13


def test_the_old_indexes_are_what_their_script_makes(old: Path, tmp_path: Path) -> None:
    make(tmp_path / "again", old_revision(old))
    made, kept = rows(tmp_path / "again"), rows(old)
    assert made.keys() == kept.keys()
    for table in ("image", "face", "file", "folder", "engine", "alembic_version"):
        assert made[table] == kept[table]
    assert segment_bytes(tmp_path / "again") == segment_bytes(old)
    assert (tmp_path / "again" / EXPECTED_NAME).read_bytes() == (old / EXPECTED_NAME).read_bytes()


def test_an_upgraded_index_can_be_grouped_into_people(old: Path) -> None:
    with FolderStore(old, writable=True) as store:
        assert list_people(store) == []
        confirm_faces(store, {"Ann": [2, 9], "Bo": [5]})
        assert [(row.name, row.n_faces) for row in list_people(store)] == [("Ann", 2), ("Bo", 1)]
        assert not verify(store).problems
        forget(store, [], [FaceId(2), FaceId(9)])
        assert [row.name for row in list_people(store)] == ["Bo"]
        assert undo(store) == "ingest --people"
        assert list_people(store) == []
        assert not verify(store).problems


def old_revision(folder: Path) -> str:
    return str(json.loads((folder / EXPECTED_NAME).read_text(encoding="ascii"))["schema"])


class Stop:
    """Raises at one of the statements that upgrades execute."""

    def __init__(self) -> None:
        self.at = -1
        self.seen = 0

    def __call__(self, *_arguments: object) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise LookupError


@pytest.fixture
def stop() -> Iterator[Stop]:
    stop = Stop()
    event.listen(Engine, "before_cursor_execute", stop)
    yield stop
    event.remove(Engine, "before_cursor_execute", stop)


@pytest.mark.slow
def test_an_upgrade_that_fails_at_any_statement_changes_nothing(old: Path, stop: Stop) -> None:
    twin = old.with_name("twin")
    shutil.copytree(old, twin)
    upgrade_catalog(twin / CATALOG)
    n_statements = stop.seen
    assert n_statements > 50
    before = rows(old)
    for number in range(1, n_statements + 1):
        stop.at, stop.seen = number, 0
        with pytest.raises(LookupError):
            upgrade_catalog(old / CATALOG)
        assert stop.seen == number
        assert rows(old) == before
    stop.at = -1
    assert needs_upgrade(old / CATALOG)
    check_answers(old)
    assert not needs_upgrade(old / CATALOG)


KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from facesim_index.store.sqlite.connection import upgrade_catalog
seen = 0
def kill(*_arguments):
    global seen
    seen += 1
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
event.listen(Engine, "before_cursor_execute", kill)
upgrade_catalog(Path(sys.argv[1]))
print(seen)
"""


def upgrade_and_die(folder: Path, at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(folder / CATALOG), str(at)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_an_upgrade_that_is_killed_changes_nothing(tmp_path: Path) -> None:
    for name in ("old", "twin"):
        shutil.copytree(FOLDER / "0001", tmp_path / name)
    old = tmp_path / "old"
    n_statements = int(upgrade_and_die(tmp_path / "twin", 0).stdout)
    before = rows(old)
    for number in (2, n_statements // 2, n_statements - 1, n_statements):
        assert upgrade_and_die(old, number).returncode == -signal.SIGKILL
        assert rows(old) == before
        assert needs_upgrade(old / CATALOG)
    check_answers(old)


def test_a_damaged_old_index_is_not_upgraded(old: Path) -> None:
    data = bytearray((old / CATALOG).read_bytes())
    with closing(sqlite3.connect(old / CATALOG)) as database:
        [page] = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_image_status'"
        ).fetchone()
    data[(page - 1) * 4096 + 3 : (page - 1) * 4096 + 5] = b"\0\0"  # its number of entries
    (old / CATALOG).write_bytes(data)
    from facesim_index.errors import IndexDamagedError

    with pytest.raises(IndexDamagedError, match="is not upgraded"):
        FolderStore(old)
    assert (old / CATALOG).read_bytes() == data
    assert SCHEMA_REVISION not in str(rows(old)["alembic_version"])
