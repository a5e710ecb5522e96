"""Damage is found, named and mended; `tests.reliability.damage` runs longer campaigns."""

import dataclasses
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from facesim_index.calibration.document import to_json
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.errors import DamagedSegmentError, IndexDamagedError
from facesim_index.index import FaceIndex
from facesim_index.people.edits import confirm_faces, move_faces, undo
from facesim_index.people.grouping import PeopleOptions, cluster_people
from facesim_index.records import FaceId
from facesim_index.store.catalog import calibration_rows, face_rows, index_state, people_rows
from facesim_index.store.folder.mending import mend_log
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.segments.row_checksums import row_sums
from facesim_index.store.sqlite import row_checks
from facesim_index.store.sqlite.row_checks import Value, row_check
from facesim_index.store.sqlite.row_repair import former_values
from facesim_index.store.sqlite.wal import check_log
from facesim_index.upkeep.forgetting import forget
from facesim_index.upkeep.repairs import repair
from tests.asking import list_people, person_faces, verify
from tests.builders import (
    FAKE,
    commit_pictures,
    ingest,
    new_store,
    picture,
    read_here,
    unit_vectors,
)
from tests.example_pictures import fake_photo
from tests.reliability.damage import (
    ASKED,
    Case,
    Grounds,
    flips,
    small_coarse_codes,
    whole_file_cases,
)
from tests.reliability.scenarios import CURVE

N_FLIPS = 100


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    """A closed index and one whose writer was killed."""
    logging.getLogger("facesim_index").addHandler(logging.NullHandler())
    with small_coarse_codes():
        yield Grounds(tmp_path_factory.mktemp("grounds"))


def test_the_indexes_that_are_damaged_have_every_kind_of_file_and_row(grounds: Grounds) -> None:
    closed, killed = grounds.files("closed"), grounds.files("killed")
    assert {"catalog.sqlite3", "segments/000002.faiss", "segments/000001.coarse"} <= set(closed)
    assert {"catalog.sqlite3-wal", "catalog.sqlite3-shm", "LOCK", "LOCK.holder"} <= set(killed)
    for known in grounds.known.values():
        assert {table for table, rows in known.dump.items() if not rows} == set()
        assert all(len(answer) == 5 for answer in known.answers.values())


def test_every_file_damaged_in_every_way_is_found_or_harmless(grounds: Grounds) -> None:
    cases = whole_file_cases(grounds)
    outcomes = {case: grounds.run(case, mend=True) for case in cases}
    bad = {case: outcome for case, outcome in outcomes.items() if outcome and not outcome.is_good}
    assert not bad
    harmless = {
        case.file
        for case, outcome in outcomes.items()
        if outcome is not None and outcome.verified == "harmless"
    }
    # Nothing is read of these that a missing or shorter file would change.
    assert harmless <= {"LOCK", "LOCK.holder", "SNAPSHOTS", "catalog.sqlite3-shm"}
    found = [case for case, outcome in outcomes.items() if outcome and outcome.verified == "found"]
    assert {case.file for case in found} >= {
        name
        for name in {*grounds.files("closed"), *grounds.files("killed")}
        if name not in harmless
    }


def test_changed_bytes_are_found_or_harmless(grounds: Grounds) -> None:
    told = []
    n_found = 0
    for number, case in enumerate(flips(grounds, 20_260_704, N_FLIPS)):
        outcome = grounds.run(case, mend=number % 4 == 0)
        if outcome is not None:
            n_found += outcome.verified == "found"
            if not outcome.is_good:
                told.append((case, outcome))
    assert not told
    assert n_found > N_FLIPS // 3


def test_a_number_of_rows_that_asks_for_all_memory_is_damage(grounds: Grounds) -> None:
    """Once, that was a MemoryError."""
    outcome = grounds.run(Case("closed", "segments/000002.faiss", "flipped", 106, 3), mend=True)
    assert outcome is not None
    assert (outcome.verified, outcome.mended) == ("found", "as before")
    assert outcome.asked in ("partial", "refused")


def test_people_of_whom_an_index_of_the_catalog_lost_faces_are_not_told(grounds: Grounds) -> None:
    """Once, the degree for a person was made of the faces that were left."""
    catalog = grounds.known["closed"].folder / "catalog.sqlite3"
    with closing(sqlite3.connect(catalog)) as database:
        [page] = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_face_person_person_id'"
        ).fetchone()
    cells = (page - 1) * 4096 + 8  # of a leaf: where each entry begins, two bytes each
    outcomes = [
        grounds.run(Case("closed", "catalog.sqlite3", "zeroed", cells + 2 * first), mend=True)
        for first in (0, 8)
    ]
    assert [outcome.asked for outcome in outcomes if outcome] == ["refused"] * 2
    assert [outcome.mended for outcome in outcomes if outcome] == ["as before"] * 2


def places_of(data: bytes, wanted: bytes) -> list[int]:
    places, at = [], data.find(wanted)
    while at >= 0:
        places.append(at)
        at = data.find(wanted, at + 1)
    return places


@pytest.mark.parametrize(
    "value", ["path", "content hash", "landmark", "calibration", "segment", "person", "former name"]
)
def test_a_byte_inside_a_value_is_found_and_put_back(grounds: Grounds, value: str) -> None:
    known = grounds.known["closed"]
    wanted = {
        "path": b"07.png",
        "content hash": next(row[2] for row in known.dump["image"]),
        "landmark": next(row[8] for row in known.dump["face"]),
        "calibration": b"a test",
        "segment": b"000002.faiss",
        "person": b"Bertha Benz",
        "former name": b"Ada Lovelace",
    }[value]
    assert isinstance(wanted, bytes)
    places = places_of((known.folder / "catalog.sqlite3").read_bytes(), wanted)[:4]
    assert places
    outcomes = [
        grounds.run(Case("closed", "catalog.sqlite3", "flipped", at + 2, 0x10), mend=True)
        for at in places
    ]
    assert [outcome.verified for outcome in outcomes if outcome] == ["found"] * len(places)
    assert {outcome.mended for outcome in outcomes if outcome} == {"as before"}


@pytest.mark.parametrize(
    "values",
    [
        (7, "/photos/ü.jpg", 2.5, b"\x00\x01", None),
        (1, "a", -3.0, b"", None),
        (300, "\udcff", 1e-9, b"abc", 2**40),
    ],
)
def test_a_row_with_one_wrong_byte_is_told_by_its_checksum(values: tuple[Value, ...]) -> None:
    check = row_check(*values)
    number, text, real, blob, last = values
    assert isinstance(number, int)
    assert isinstance(text, str)
    assert isinstance(real, float)
    for damaged in (
        (number ^ 4, text, real, blob, last),
        (number, "#" + text[1:], real, blob, last),
        (number, text, real * 2.0, blob, last),
    ):
        assert row_check(*damaged) != check
        assert former_values(damaged, check) == list(values)
    assert former_values((number ^ 4, "#" + text[1:], real, blob, last), check) is None


def test_a_checksum_is_the_same_everywhere() -> None:
    assert row_check(1, "é", 0.5, b"x", None).hex() == "422251ee7ff0286b"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(6):
        (folder / f"{n}.png").write_bytes(fake_photo([(30 * n + 8, 40, 8), (8, 40, 30 * n + 8)]))
    return folder


@pytest.fixture
def store(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderStore]:
    """Twelve faces in three segments."""
    monkeypatch.setattr("facesim_index.ingest.run.COMMIT_PICTURES", 2)
    with new_store(tmp_path / "i.facesim") as opened:
        ingest(opened, photos)
        yield opened


def spoil(store: FolderStore, statement: str) -> None:
    """Change the catalog behind the back of its checksums."""
    store.catalog.close()
    with closing(sqlite3.connect(store.folder / "catalog.sqlite3")) as database:
        triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        made = triggers.fetchall()
        for name, _ in made:
            database.execute(f"DROP TRIGGER {name}")
        database.execute(statement)
        for _, text in made:
            database.execute(text)
        database.commit()


def flip(path: Path, at: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 0x40
    path.write_bytes(data)


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


def paths_and_vectors(store: FolderStore) -> set[tuple[str, bytes]]:
    with store.view() as view:
        ids = face_rows.face_ids(view.transaction)
        records = face_rows.faces(view.transaction, ids)
        vectors = view.embeddings(ids)
    return {
        (record.path, vector.tobytes()) for record, vector in zip(records, vectors, strict=True)
    }


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


def test_a_query_does_not_answer_from_changed_embeddings(store: FolderStore) -> None:
    """Once, a flipped byte of an embedding was searched like any other."""
    flip(store.folder / "segments" / "000002.faiss")
    with FolderStore(store.folder) as reader:
        with reader.view() as view, pytest.raises(DamagedSegmentError, match=r"000002\.faiss"):
            view.search(unit_vectors(1, 1), 3)
        with reader.view() as view, pytest.raises(DamagedSegmentError, match=r"000002\.faiss"):
            view.embeddings(np.array([5]))


def test_a_query_leaves_out_a_damaged_segment_and_says_so(store: FolderStore, photos: Path) -> None:
    flip(store.folder / "segments" / "000002.faiss")
    for output in ("json", "table"):
        result = CliRunner().invoke(
            main,
            [
                *("--quiet", "--index", str(store.folder)),
                *("query", str(photos / "0.png"), "--format", output),
            ],
            obj=State(engine=FAKE),
        )
        assert result.exit_code == 0
        warning = "Warning: the index is damaged: 4 faces were left out (000002.faiss)"
        assert warning in result.stderr
    with FaceIndex.open(store.folder, engine=FAKE) as index:
        answer = index.query(photos / "0.png", top=50)
    assert (answer.n_left_out, answer.n_faces) == (4, 8)
    assert sorted(match.face_id for match in answer.faces[0].matches) == [1, 2, 3, 4, 9, 10, 11, 12]
    shown = CliRunner().invoke(
        main,
        ["--index", str(store.folder), "query", str(photos / "0.png"), "--format", "json"],
        obj=State(engine=FAKE),
    )
    document = json.loads(shown.stdout)
    assert document["faces_left_out"] == 4
    assert document["damaged_segments"] == ["000002.faiss"]


def test_a_row_of_a_large_segment_is_checked_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesim_index.store.segments.coarse.COARSE_MIN_ROWS", 64)
    monkeypatch.setattr("facesim_index.store.segments.search._COARSE_MIN_DEPTH", 4)
    monkeypatch.setattr("facesim_index.store.segments.search._CANDIDATES_OF_A_MILLION", 0)
    vectors = unit_vectors(600, 4)
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", vectors)})
        store.segments.write_missing_coarse()
        [segment] = (tmp_path / "i" / "segments").glob("*.faiss")
    data = bytearray(segment.read_bytes())
    at = data.find(vectors[41].astype(np.float16).tobytes())
    data[at + 7] ^= 1
    segment.write_bytes(data)
    with FolderStore(tmp_path / "i") as reader, reader.view() as view:
        [found] = view.search(vectors[300:301], 1)
        assert found.face_ids.tolist() == [301], "other rows are not touched by it"
        with pytest.raises(DamagedSegmentError, match="other embeddings than were written"):
            view.search(vectors[41:42], 1)
        with pytest.raises(DamagedSegmentError):
            view.embeddings(np.array([42]))
    with (
        FolderStore(tmp_path / "i") as reader,
        reader.view() as view,
        pytest.raises(DamagedSegmentError, match="SHA-256"),
    ):
        view.search(vectors[300:301], 1, exact=True)


def test_sums_of_rows_see_every_bit() -> None:
    ids = np.arange(5, dtype=np.int64) + 7
    vectors = unit_vectors(5, 1).astype(np.float16)
    before = row_sums(ids, vectors)
    assert len(np.unique(before)) == 5
    for bit in range(0, 8 * vectors[0].nbytes, 61):
        changed = vectors.copy()
        changed[2:3].view(np.uint8)[0, bit // 8] ^= 1 << bit % 8
        assert (row_sums(ids, changed) != before).tolist() == [False, False, True, False, False]
    assert (row_sums(ids + 1, vectors) != before).all()
    np.testing.assert_array_equal(row_sums(ids[3:], vectors[3:]), before[3:])


def test_an_ingest_does_not_bury_an_index_whose_catalog_is_gone(
    store: FolderStore, photos: Path
) -> None:
    """Once, a new catalog was made in the folder, and the segments were removed as leftovers."""
    store.close()
    before = sorted(path.name for path in (store.folder / "segments").iterdir())
    (store.folder / "catalog.sqlite3").unlink()
    for open_it in (new_store, FolderStore):
        with pytest.raises(IndexDamagedError, match=r"catalog\.sqlite3 is missing"):
            open_it(store.folder)
    assert sorted(path.name for path in (store.folder / "segments").iterdir()) == before


def test_segments_are_not_removed_while_their_names_are_damaged(store: FolderStore) -> None:
    """Once, a changed letter in a segment's row made the next writer remove its file."""
    spoil(store, "UPDATE segment SET name = '000009.faiss' WHERE id = 2")
    FolderStore(store.folder).close()
    store.close()
    with FolderStore(store.folder, writable=True) as writer:
        assert (store.folder / "segments" / "000002.faiss").exists()
        done = repair(writer, verify(writer), read_here)
        assert (done.rows_mended, done.faces_lost) == (1, 0)
        assert not verify(writer).problems


def kill_writer(folder: Path, n_commits: int) -> None:
    """Make an index whose log holds all its commits: its writer dies."""
    pid = os.fork()
    if not pid:
        store = new_store(folder)
        for n in range(n_commits):
            commit_pictures(store, {f"/p/{n}.jpg": picture(str(n), unit_vectors(2, n))})
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("shared", [True, False])
def test_every_changed_byte_of_the_log_is_found(tmp_path: Path, shared: bool) -> None:
    kill_writer(tmp_path / "i", 3)
    catalog = tmp_path / "i" / "catalog.sqlite3"
    log = catalog.with_name(catalog.name + "-wal")
    if not shared:
        catalog.with_name(catalog.name + "-shm").unlink()
    data = log.read_bytes()
    assert check_log(catalog) is None
    for at in [*range(0, 60), *range(60, len(data), 997), len(data) - 1]:
        changed = bytearray(data)
        changed[at] ^= 0x20
        log.write_bytes(changed)
        assert check_log(catalog) is not None, at


def test_a_log_that_a_crash_cut_short_is_no_damage(tmp_path: Path) -> None:
    kill_writer(tmp_path / "i", 3)
    catalog = tmp_path / "i" / "catalog.sqlite3"
    log = catalog.with_name(catalog.name + "-wal")
    with log.open("ab") as out:  # the beginning of a commit that did not come to its end
        out.write(log.read_bytes()[32:56] + b"half a page")
    assert check_log(catalog) is None
    with FolderStore(tmp_path / "i", writable=True) as store:
        assert not verify(store).problems
        with store.catalog.read() as transaction:
            assert face_rows.n_faces(transaction) == 6


def test_a_damaged_log_is_refused_and_goes_on_from_the_last_whole_commit(tmp_path: Path) -> None:
    """Once, SQLite took what was before the damage for all, and nobody was told."""
    kill_writer(tmp_path / "i", 3)
    log = tmp_path / "i" / "catalog.sqlite3-wal"
    data = bytearray(log.read_bytes())
    data[-2000] ^= 1
    log.write_bytes(data)
    for writable in (False, True):
        with pytest.raises(IndexDamagedError, match=r"-wal is damaged at page .*verify --repair"):
            FolderStore(tmp_path / "i", writable=writable)
    assert log.read_bytes() == data, "the evidence is kept"
    result = CliRunner().invoke(
        main, ["--index", str(tmp_path / "i"), "verify", "--repair"], obj=State(engine=FAKE)
    )
    assert result.exit_code == 0, result.output
    assert "goes on from the last commit that is whole" in result.stdout
    with FolderStore(tmp_path / "i") as store:
        assert not verify(store).problems
        with store.catalog.read() as transaction:
            assert face_rows.n_faces(transaction) == 4
    assert mend_log(tmp_path / "i") is None
    assert (tmp_path / "i" / "catalog.sqlite3-wal.damaged").read_bytes() == data


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:3000]),
        lambda path: flip(path, 3),
        lambda path: path.unlink(),
    ],
)
def test_a_catalog_that_cannot_be_read_leads_to_the_last_snapshot(
    store: FolderStore, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    store.close()
    with FaceIndex.open(store.folder, engine=FAKE) as index:
        before = index.query(face_id=1, top=3).faces[0].matches[0].cosine
        for name in ("first", "second"):
            index.snapshot(tmp_path / name)
    damage(store.folder / "catalog.sqlite3")
    for arguments in (["verify"], ["query", "--face-id", "1"], ["status"], ["verify", "--repair"]):
        result = CliRunner().invoke(
            main, ["--index", str(store.folder), *arguments], obj=State(engine=FAKE)
        )
        assert result.exit_code == 1
        assert f"its newest snapshot is {tmp_path / 'second'}" in result.stderr
    words = result.stderr.split("`")[1].split()
    assert words[0] == "facesim"
    done = CliRunner().invoke(main, words[1:], obj=State(engine=FAKE))
    assert done.exit_code == 0, done.output
    with FaceIndex.open(store.folder, engine=FAKE) as index:
        assert not index.verify().problems
        assert index.query(face_id=1, top=3).faces[0].matches[0].cosine == before


def test_an_older_index_without_sums_of_rows_is_checked_whole(grounds: Grounds) -> None:
    assert set(ASKED) <= set(grounds.known["closed"].content)
    folder = grounds.folder / "without sums"
    shutil.copytree(grounds.known["closed"].folder, folder)
    with FolderStore(folder) as store, store.catalog.read() as transaction:
        first = index_state.segment_infos(transaction)[0]
    from facesim_index.store.segments.coarse import coarse_path, read_coarse

    path = folder / "segments" / first.name
    assert read_coarse(path, first.sha256).sums is not None
    _make_first_version(coarse_path(path), first.n_rows)
    assert read_coarse(path, first.sha256).sums is None
    with FaceIndex.open(folder, engine=FAKE) as index:
        assert not index.verify().problems
        assert [match.face_id for match in index.query(face_id=1, top=5).faces[0].matches] == [
            row[0] for row in grounds.known["closed"].answers[1]
        ]
        index.compact()
    with FolderStore(folder) as store, store.catalog.read() as transaction:
        first = index_state.segment_infos(transaction)[0]
    assert read_coarse(folder / "segments" / first.name, first.sha256).sums is not None


def _make_first_version(path: Path, n_rows: int) -> None:
    """Put a file of coarse codes back to how it was before it had sums."""
    import hashlib

    body = b"FSIXCRS1" + path.read_bytes()[8 : -32 - 8 * n_rows]
    path.write_bytes(body + hashlib.sha256(body).digest())
