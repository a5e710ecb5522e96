"""A row that a question does not find any more, because the value it is found by has changed."""

import json
import logging
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from facesim_index.config import CATALOG_NAME
from facesim_index.errors import IndexDamagedError
from facesim_index.index import FaceIndex
from facesim_index.people.edits import confirm_faces
from facesim_index.records import FaceId, ImageId
from facesim_index.store.catalog import (
    audit_log,
    browsing,
    face_rows,
    people_rows,
    picture_rows,
    writing,
)
from facesim_index.store.catalog.transaction import Transaction
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.sqlite import row_groups
from facesim_index.upkeep.forgetting import forget
from facesim_index.upkeep.repairs import repair
from tests.asking import verify
from tests.builders import FAKE, ingest, read_here
from tests.coloured_people import facesim
from tests.reliability.old_indexes import old_schema
from tests.reliability.row_damage import Damage
from tests.reliability.spoiling import paths_and_vectors, spoil

Ask = Callable[[Transaction, Path], object]

MENDS = "verify --repair"


def ids(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, dtype=np.int64)


@pytest.mark.parametrize(
    ("statement", "ask"),
    [
        ("UPDATE file SET image_id = 99 WHERE id = 1", lambda t, _: face_rows.faces(t, ids(1))),
        ("UPDATE file SET image_id = 2 WHERE id = 1", lambda t, _: face_rows.faces(t, ids(1))),
        ("UPDATE file SET folder_id = 9 WHERE id = 1", lambda t, _: face_rows.faces(t, ids(1))),
        ("UPDATE folder SET id = 9", lambda t, _: face_rows.faces(t, ids(1))),
        ("UPDATE folder SET path = '/elsewhere'", lambda t, _: face_rows.faces(t, ids(1))),
        ("UPDATE face SET id = 99 WHERE id = 1", lambda t, _: face_rows.faces(t, ids(1))),
        ("UPDATE face SET id = 99 WHERE id = 1", lambda t, _: face_rows.face_ids(t)),
        ("DELETE FROM face WHERE id = 1", lambda t, _: face_rows.n_faces(t)),
        (
            "UPDATE face SET image_id = 9 WHERE id = 1",
            lambda t, _: face_rows.faces_of_images(t, [ImageId(1)]),
        ),
        (
            "UPDATE face SET image_id = 9 WHERE id = 1",
            lambda t, _: face_rows.faces_of_same_images(t, ids(2)),
        ),
        (
            "UPDATE folder SET path = '/elsewhere'",
            lambda t, photos: face_rows.face_ids(t, under=photos),
        ),
        (
            "UPDATE file SET name = 'other.png' WHERE id = 1",
            lambda t, photos: face_rows.face_ids(t, under=photos / "0.png"),
        ),
        (
            "UPDATE file SET folder_id = 9 WHERE id = 1",
            lambda t, photos: face_rows.face_ids(t, under=photos),
        ),
        (
            "UPDATE file SET name = 'other.png' WHERE id = 1",
            lambda t, photos: face_rows.picture_faces(t, photos / "0.png"),
        ),
        (
            "UPDATE image SET content_hash = zeroblob(32) WHERE id = 1",
            lambda t, photos: picture_rows.image_by_hash(t, hash_of(photos / "0.png")),
        ),
        (
            "UPDATE image SET id = 99 WHERE id = 1",
            lambda t, _: picture_rows.content_hashes(t, [ImageId(1)]),
        ),
        ("UPDATE image SET id = 99 WHERE id = 1", lambda t, _: browsing.picture(t, ImageId(1))),
        (
            "UPDATE file SET folder_id = 9 WHERE id = 1",
            lambda t, photos: picture_rows.files_under(t, photos),
        ),
        (
            "UPDATE folder SET path = '/elsewhere'",
            lambda t, photos: picture_rows.folders_under(t, photos),
        ),
        ("UPDATE audit SET files = 7", lambda t, _: audit_log.lines(t)),
    ],
)
def test_a_row_that_is_not_found_is_missed(
    store: FolderStore, photos: Path, statement: str, ask: Ask
) -> None:
    forget(store, [], [FaceId(12)])  # for the audit
    spoil(store, statement)
    with store.read() as rows, pytest.raises(IndexDamagedError, match=MENDS):
        ask(rows.transaction, photos)


def hash_of(path: Path) -> bytes:
    from facesim_index.pictures.files import hash_file

    return hash_file(path)


def test_one_of_two_files_of_a_picture_is_missed(store: FolderStore, photos: Path) -> None:
    shutil.copyfile(photos / "0.png", photos / "copy.png")
    ingest(store, photos)
    spoil(store, "UPDATE file SET image_id = 2 WHERE name = 'copy.png'")
    with store.read() as rows, pytest.raises(IndexDamagedError, match=MENDS):
        face_rows.faces(rows.transaction, ids(1))


def test_people_of_whom_faces_are_not_found_are_not_told(store: FolderStore) -> None:
    confirm_faces(store, {"Ann": [1, 2, 3], "Bo": [4, 5]})
    spoil(store, "UPDATE face_person SET person_id = 2 WHERE face_id = 1")
    with store.read() as rows:
        for ask in (
            lambda t: people_rows.assignments_of(t, [1]),
            lambda t: people_rows.persons(t, [1]),
            people_rows.persons,
            lambda t: browsing.covers(t, [1]),
            lambda t: browsing.people_after(t, browsing.PeopleWanted(), None, 9),
        ):
            with pytest.raises(IndexDamagedError, match=MENDS):
                ask(rows.transaction)


def test_a_face_that_is_not_found_among_those_of_people_is_not_said_to_be_nobodys(
    store: FolderStore,
) -> None:
    confirm_faces(store, {"Ann": [1, 2, 3]})
    spoil(store, "UPDATE face_person SET face_id = 9 WHERE face_id = 1")
    with store.read() as rows:
        for ask in (people_rows.whose, people_rows.assignments_among):
            with pytest.raises(IndexDamagedError, match=MENDS):
                ask(rows.transaction, [1])


# Nothing is removed because of a damaged row


def test_a_picture_is_not_removed_because_its_file_is_not_found(
    store: FolderStore, photos: Path
) -> None:
    """Its faces would go with it, and come back under other ids at the best."""
    shutil.copyfile(photos / "0.png", photos / "copy.png")
    ingest(store, photos)
    spoil(store, "UPDATE file SET image_id = 2 WHERE name = 'copy.png'")
    with pytest.raises(IndexDamagedError, match=MENDS):
        forget(store, [photos / "0.png"], [])
    repair(store, verify(store), read_here)
    assert forget(store, [photos / "0.png"], []).faces == 0
    assert not verify(store).problems


def test_a_person_is_not_dropped_because_a_face_is_not_found(store: FolderStore) -> None:
    confirm_faces(store, {"Ann": [1], "Bo": [4, 5]})
    spoil(store, "UPDATE face_person SET person_id = 2 WHERE face_id = 1")
    with pytest.raises(IndexDamagedError, match=MENDS):
        forget(store, [], [FaceId(9), FaceId(4)])
    with pytest.raises(IndexDamagedError, match=MENDS):
        confirm_faces(store, {"Bo": [1]})
    repair(store, verify(store), read_here)
    with store.read() as rows:
        assert [row.name for row in people_rows.persons(rows.transaction)] == ["Bo", "Ann"]


def test_no_embedding_of_a_living_face_goes_by_a_damaged_tombstone(store: FolderStore) -> None:
    forget(store, [], [FaceId(2)])
    spoil(store, "UPDATE tombstone SET face_id = 3")
    with pytest.raises(IndexDamagedError, match=MENDS):
        store.compact()
    repair(store, verify(store), read_here)
    store.compact()
    with store.view() as view:
        assert view.living_faces().tolist() == [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_no_ingest_is_numbered_after_a_damaged_one(store: FolderStore, photos: Path) -> None:
    spoil(store, "UPDATE ingest_run SET id = 64 + id WHERE id = 1")
    with pytest.raises(IndexDamagedError, match="ingest_run"):
        ingest(store, photos)
    repair(store, verify(store), read_here)
    ingest(store, photos)
    with store.read() as rows:
        ids = rows.transaction.exec_driver_sql("SELECT id FROM ingest_run").scalars().all()
    assert ids == [1, 2]


def test_a_secure_forget_does_not_promise_anything_while_a_row_is_damaged(
    store: FolderStore, photos: Path
) -> None:
    spoil(store, "UPDATE root SET path = '/elsewhere'")
    with pytest.raises(IndexDamagedError, match=MENDS):
        forget(store, [photos / "0.png"], [], secure=True)
    repair(store, verify(store), read_here)
    forget(store, [photos / "0.png"], [], secure=True)
    assert not verify(store).problems


def test_a_generation_is_not_healed_by_advancing_it(store: FolderStore) -> None:
    """Once, a number that was one too low became the one that its checksum is of."""
    spoil(store, "UPDATE index_state SET generation = generation - 1")
    with pytest.raises(IndexDamagedError, match="index_state"), store.write() as transaction:
        writing.advance(transaction)


# What can be shown is shown


@pytest.fixture
def failing(store: FolderStore, photos: Path) -> FolderStore:
    """An index with two files that could not be used."""
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (photos / "empty.jpg").write_bytes(b"")
    ingest(store, photos)
    return store


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("UPDATE file SET image_id = 1 WHERE name = 'broken.jpg'", ["empty.jpg"]),
        ("UPDATE image SET failure_message = 'x' WHERE failure_code = 'empty'", ["broken.jpg"]),
        ("UPDATE image SET failure_code = 'emptz' WHERE failure_code = 'empty'", ["broken.jpg"]),
        ("UPDATE file SET folder_id = 9 WHERE name = 'empty.jpg'", ["broken.jpg"]),
        ("UPDATE folder SET path = CAST(x'2fff' AS TEXT)", []),
        ("UPDATE file SET name = CAST(x'ff' AS TEXT) WHERE name = 'empty.jpg'", ["broken.jpg"]),
    ],
)
def test_errors_shows_what_it_can_and_tells_of_damage(
    failing: FolderStore, statement: str, left: list[str]
) -> None:
    spoil(failing, statement)
    result = facesim(failing.folder, "-q", "errors", "--format", "json")
    assert result.exit_code == 0
    assert [Path(entry["path"]).name for entry in json.loads(result.stdout)] == left
    assert "ERROR: files may be left out: the catalog is damaged" in result.stderr
    assert MENDS in result.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE root SET last_ingest_at = '2001'",
        "UPDATE root SET path = CAST(x'2fff' AS TEXT)",
        "UPDATE index_state SET created_at = '2001'",
        "UPDATE index_state SET created_at = CAST(x'ff' AS TEXT)",
        "UPDATE image SET status = 'nk' WHERE id = 1",
        "UPDATE image SET status = 'error' WHERE id = 1",
        "UPDATE file SET missing_since = 'now' WHERE id = 1",
        "UPDATE ingest_run SET finished_at = NULL",
        "DELETE FROM face WHERE id = 1",
    ],
)
def test_status_shows_what_it_can_and_tells_of_damage(store: FolderStore, statement: str) -> None:
    spoil(store, statement)
    result = facesim(store.folder, "-q", "status")
    assert result.exit_code == 0
    assert "segments     3" in result.stdout
    assert "Warning: what follows may be wrong: the catalog is damaged" in result.stderr
    assert MENDS in result.stderr
    [told] = json.loads(facesim(store.folder, "status", "--json").stdout)["damage"]
    assert told.startswith("the catalog is damaged: ")


def test_a_file_is_not_told_to_have_failed_because_of_a_damaged_byte(failing: FolderStore) -> None:
    """The index of the catalog does not follow, so the file is not among those of the picture."""
    catalog = failing.folder / CATALOG_NAME
    with closing(sqlite3.connect(catalog)) as database:
        [error] = database.execute("SELECT min(id) FROM image WHERE status = 'error'").fetchone()
    failing.close()
    assert Damage("file", "image_id", 2, "byte", flip=3 ^ error).apply(catalog)
    with FolderStore(failing.folder) as damaged, damaged.read() as rows:
        with pytest.raises(IndexDamagedError, match="row 3 of table file"):
            picture_rows.failed_files(rows.transaction)
        with pytest.raises(IndexDamagedError, match="row 3 of table file"):
            browsing.failed_files_after(rows.transaction, None, 9)


def test_a_whole_index_has_no_damage_to_tell(failing: FolderStore) -> None:
    for words in (("status",), ("errors",)):
        assert facesim(failing.folder, "-q", *words).stderr == ""
    with FaceIndex.open(failing.folder, engine=FAKE) as index:
        assert index.status().damage == ()


def test_damage_is_logged_for_programs(
    failing: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(failing, "UPDATE file SET image_id = 1 WHERE name = 'broken.jpg'")
    logging.getLogger("facesim_index").handlers[:] = []
    with FaceIndex.open(failing.folder, engine=FAKE) as index:
        assert len(list(index.errors())) == 1
    assert "files may be left out: the catalog is damaged" in caplog.text


# The sums themselves


def test_sums_that_are_damaged_are_named_and_made_anew(store: FolderStore) -> None:
    before = paths_and_vectors(store)
    spoil(store, "UPDATE row_group SET row_ids = row_ids + 1 WHERE name = 'file.image_id'")
    [problem] = verify(store).problems
    assert problem.message == "not all rows of table file are found by `image_id`"
    with store.read() as rows, pytest.raises(IndexDamagedError, match=MENDS):
        face_rows.faces(rows.transaction, ids(1))
    done = repair(store, verify(store), read_here)
    assert (done.rows_taken_out, done.faces_lost) == ((), 0)
    assert not verify(store).problems
    assert paths_and_vectors(store) == before


def test_a_row_that_another_database_moved_is_put_back_with_its_sums(store: FolderStore) -> None:
    spoil(store, "UPDATE file SET image_id = 2 WHERE id = 1")
    done = repair(store, verify(store), read_here)
    assert (done.rows_mended, done.rows_taken_out) == (1, ())
    assert not verify(store).problems
    with store.read() as rows:
        assert list(row_groups.wrong_groups(rows.transaction)) == []


def test_an_upgrade_does_not_cover_damage_with_sums(store: FolderStore, photos: Path) -> None:
    """Nobody knew the sums when the row changed: its table is looked through until it is mended."""
    store.close()
    old_schema(store.folder, "0007")
    spoil(store, "UPDATE file SET image_id = 2 WHERE id = 1")
    with FolderStore(store.folder, writable=True) as upgraded:
        with upgraded.read() as rows:
            assert face_rows.face_ids(rows.transaction).tolist() == list(range(1, 13))
            for face_id in (1, 11):
                with pytest.raises(IndexDamagedError, match="row 1 of table file"):
                    face_rows.faces(rows.transaction, ids(face_id))
        done = repair(upgraded, verify(upgraded), read_here)
        assert (done.rows_mended, done.rows_taken_out) == (1, ())
        assert not verify(upgraded).problems
        assert ingest(upgraded, photos).files_unchanged == 6
