"""Rows that are not as they were written: what is true of them is kept, the rest taken out."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.document import to_json
from facesim_index.errors import IndexDamagedError
from facesim_index.people.edits import confirm_faces, move_faces, undo
from facesim_index.people.grouping import PeopleOptions, cluster_people
from facesim_index.records import FaceId
from facesim_index.store.catalog import calibration_rows, people_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.sqlite import row_checks
from facesim_index.upkeep.forgetting import forget
from facesim_index.upkeep.repairs import repair
from tests.asking import list_people, person_faces, verify
from tests.builders import commit_pictures, ingest, picture, read_here, unit_vectors
from tests.reliability.scenarios import CURVE
from tests.reliability.spoiling import flip, paths_and_vectors, spoil


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE file SET name = 'another name.png' WHERE id = 2",
        "UPDATE folder SET path = '/nowhere at all'",
        "UPDATE image SET content_hash = zeroblob(32), width_px = 9 WHERE id = 2",
        "UPDATE face SET x = 1.5, y = 2.5, ordinal = 7 WHERE id = 3",
        "DELETE FROM face WHERE id = 3",
        "DELETE FROM file WHERE id = 2",
        "UPDATE segment SET sha256 = 'x', n_rows = 9 WHERE id = 2",
        "DELETE FROM segment WHERE id = 2",
        "INSERT INTO tombstone VALUES (4, 'never')",
        "UPDATE index_state SET generation = 1, next_face_id = 2, next_segment_id = 2",
        "DELETE FROM root",
    ],
)
def test_rows_beyond_mending_are_taken_out_and_come_back(
    store: FolderStore, photos: Path, statement: str
) -> None:
    before = paths_and_vectors(store)
    spoil(store, statement)
    assert any(problem.what == "rows" for problem in verify(store).problems)
    done = repair(store, verify(store), read_here)
    assert not verify(store).problems
    assert done.rows_taken_out or done.rows_mended
    ingest(store, photos)
    assert not verify(store).problems
    after = paths_and_vectors(store)
    assert after == before
    commit_pictures(store, {"/p/new.jpg": picture("new", unit_vectors(2, 3))})
    assert not verify(store).problems


# People


@dataclasses.dataclass(frozen=True)
class People:
    """Who is in an index: names, faces that a human placed, and those that the machine did."""

    names: dict[int, str | None]
    said: dict[int, set[int]]
    found: dict[int, set[int]]
    apart: list[tuple[int, int]]


def people_of(store: FolderStore) -> People:
    with store.catalog.read() as transaction:
        found = people_rows.assignments(transaction)
        names = {row.person_id: row.name for row in people_rows.persons(transaction)}
        apart = people_rows.faces_apart(transaction)
    by_source: dict[bool, dict[int, set[int]]] = {True: {}, False: {}}
    for face, who, said in zip(
        found.face_ids.tolist(), found.person_ids.tolist(), found.confirmed.tolist(), strict=True
    ):
        by_source[said].setdefault(who, set()).add(face)
    return People(names, by_source[True], by_source[False], apart)


@pytest.fixture
def grouped(store: FolderStore) -> FolderStore:
    """Ann (1) and Bo (2) by a human; a face of Ann's and a person without a name by the machine."""
    with store.catalog.write() as transaction:
        calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
        calibration_rows.activate(transaction, CURVE.name)
    confirm_faces(store, {"Ann": [1, 2, 3], "Bo": [4, 5]})
    with store.catalog.write() as transaction:
        change = people_rows.Change(transaction, "test")
        nameless = change.new_person()
        change.assign(np.array([6, 7, 8]), np.array([1, nameless, nameless]), people_rows.MACHINE)
        change.set_apart(1, 4)
    return store


WHOLE = People(
    {1: "Ann", 2: "Bo", 3: None}, {1: {1, 2, 3}, 2: {4, 5}}, {1: {6}, 3: {7, 8}}, [(1, 4)]
)


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        (
            "UPDATE person SET name = 'Eve', ignored = 1 WHERE id = 1",
            dataclasses.replace(WHOLE, names={1: None, 2: "Bo", 3: None}, found={3: {7, 8}}),
        ),
        (
            "DELETE FROM person WHERE id = 1",
            dataclasses.replace(WHOLE, names={1: None, 2: "Bo", 3: None}, found={3: {7, 8}}),
        ),
        (
            "DELETE FROM person WHERE id = 3",
            dataclasses.replace(WHOLE, names={1: "Ann", 2: "Bo"}, found={1: {6}}),
        ),
        (
            "UPDATE face_person SET person_id = 2, source = 'nobody' WHERE face_id = 1",
            dataclasses.replace(WHOLE, said={1: {2, 3}, 2: {4, 5}}),
        ),
        (
            "DELETE FROM face_person WHERE face_id IN (1, 7)",
            dataclasses.replace(WHOLE, said={1: {2, 3}, 2: {4, 5}}, found={1: {6}, 3: {8}}),
        ),
        ("DELETE FROM faces_apart", dataclasses.replace(WHOLE, apart=[])),
        ("UPDATE faces_apart SET face_b = 9", WHOLE),
        ("UPDATE people_change_face SET person_id = 77, source = 'x' WHERE face_id = 6", WHOLE),
        ("DELETE FROM people_change_face WHERE face_id = 6", WHOLE),
        ("DELETE FROM people_change WHERE id = 1", WHOLE),
        ("UPDATE people_change_person SET created_at = 'then', name = 'Eve'", WHOLE),
        ("UPDATE sqlite_sequence SET seq = 1 WHERE name IN ('person', 'people_change')", WHOLE),
        (
            "DELETE FROM face WHERE id = 1",
            dataclasses.replace(WHOLE, said={1: {3}, 2: {4, 5}}, apart=[]),
        ),
    ],
)
def test_people_keep_what_a_human_said_where_it_is_sound(
    grouped: FolderStore, photos: Path, statement: str, left: People
) -> None:
    assert people_of(grouped) == WHOLE
    spoil(grouped, statement)
    told = [problem.message for problem in verify(grouped).problems if problem.what == "rows"]
    table = statement.split()[2 if statement.startswith("DELETE") else 1]
    assert any(f"table {name}" in " ".join(told) for name in (table, "person")), told
    repair(grouped, verify(grouped), read_here)
    assert not verify(grouped).problems
    assert people_of(grouped) == left
    while undo(grouped):
        pass
    cluster_people(grouped, PeopleOptions(prior=0.01))
    ingest(grouped, photos)
    confirm_faces(grouped, {"Cleo": [9]})
    assert not verify(grouped).problems


@pytest.mark.parametrize(
    ("statement", "ask"),
    [
        ("UPDATE person SET name = 'Ana' WHERE id = 1", list_people),
        ("UPDATE person SET name = 'Ana' WHERE id = 1", lambda store: person_faces(store, 1)),
        ("UPDATE face_person SET person_id = 2 WHERE face_id = 1", cluster_people),
        (
            "UPDATE face_person SET person_id = 2 WHERE face_id = 1",
            lambda store: person_faces(store, 2),
        ),
        ("UPDATE faces_apart SET face_b = 9", cluster_people),
        ("UPDATE people_change SET action = 'tesT' WHERE id = 2", undo),
        ("UPDATE people_change_apart SET were_apart = 1", undo),
    ],
)
def test_nothing_is_told_or_done_by_damaged_rows_of_people(
    grouped: FolderStore, statement: str, ask: Callable[[FolderStore], object]
) -> None:
    spoil(grouped, statement)
    before = rows_of_people(grouped)
    with pytest.raises(IndexDamagedError, match=r"verify --repair"):
        ask(grouped)
    assert rows_of_people(grouped) == before
    done = repair(grouped, verify(grouped), read_here)
    assert (done.rows_mended, done.rows_taken_out) == (1, ()), "a byte is put back"
    assert people_of(grouped) == WHOLE


def rows_of_people(store: FolderStore) -> list[tuple[object, ...]]:
    with store.catalog.read() as transaction:
        return [
            tuple(row)
            for table in ("person", "face_person", "faces_apart", "people_change")
            for row in transaction.exec_driver_sql(f"SELECT '{table}', * FROM {table}")
        ]


def test_a_vacuum_keeps_the_rows_that_checksums_are_of(grouped: FolderStore) -> None:
    """SQLite promises that only of tables whose rows have numbers of their own."""
    forget(grouped, [], [FaceId(2)])
    move_faces(grouped, [6], 2)
    numbers = "SELECT rowid, * FROM people_change_face"
    with grouped.catalog.read() as transaction:
        before = transaction.exec_driver_sql(numbers).all()
    assert [row[0] for row in before] != list(range(1, len(before) + 1)), "there are gaps"
    grouped.catalog.shrink()
    with grouped.catalog.read() as transaction:
        assert transaction.exec_driver_sql(numbers).all() == before
    assert not verify(grouped).problems


def test_a_changed_row_stays_damaged_whatever_is_written_to_it(store: FolderStore) -> None:
    spoil(store, "UPDATE file SET size_bytes = size_bytes + 1 WHERE id = 1")
    with store.catalog.write() as transaction:
        transaction.exec_driver_sql("UPDATE file SET missing_since = 'now' WHERE id = 1")
        transaction.exec_driver_sql("UPDATE file SET missing_since = 'now' WHERE id = 2")
        wrong = list(row_checks.all_wrong_rows(transaction))
    assert [(row.table, row.row_id) for row in wrong] == [("file", 1)]


def test_a_merge_does_not_give_damage_a_hash_of_its_own(store: FolderStore) -> None:
    """Once, compacting read a segment without looking at its hash, and `verify` found nothing."""
    flip(store.folder / "segments" / "000002.faiss")
    with pytest.raises(IndexDamagedError, match=r"000002.faiss has other content"):
        store.compact()
    assert [info.name for info in verify(store).damaged] == ["000002.faiss"]
    repair(store, verify(store), read_here)
    store.compact()
    assert not verify(store).problems
