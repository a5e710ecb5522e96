"""The cohort of an index and the statistics of its faces: what is stored of them, and what goes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index.errors import IndexDamagedError
from facesim_index.records import FaceId, Float32Array, Int64Array
from facesim_index.store.catalog import cohort_rows, face_rows, index_state
from facesim_index.store.catalog.cohort_rows import CHUNK_FACES, StoredCohort
from facesim_index.store.folder.snapshots import take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.upkeep.forgetting import forget
from facesim_index.upkeep.repairs import repair
from tests.asking import verify
from tests.builders import (
    FunctionReader,
    Outcome,
    commit_pictures,
    new_store,
    picture,
    unit_vectors,
)
from tests.kept_folder import KeptFolder
from tests.reliability.old_indexes import old_schema
from tests.reliability.spoiling import spoil
from tests.reliability.traces import traces

N_FACES = 2 * CHUNK_FACES + 100  # of ids 1 to 2148, in three rows
VECTORS = unit_vectors(12, 4)
CHUNK_COLUMN = "SELECT chunk FROM face_statistics ORDER BY chunk"


def ids(*numbers: int) -> Int64Array:
    return np.array(numbers, dtype=np.int64)


def made_up(face_ids: Int64Array) -> Float32Array:
    """Return numbers of which each is found nowhere else."""
    numbers = [np.random.default_rng(face_id).normal(size=2) for face_id in face_ids.tolist()]
    return np.array(numbers, dtype=np.float32).reshape(-1, 2)


def cohort(store: FolderStore) -> StoredCohort | None:
    with store.read() as rows:
        return cohort_rows.cohort(rows.transaction)


def members(store: FolderStore) -> list[int]:
    kept = cohort(store)
    assert kept is not None
    return [int(face_id) for face_id in kept.face_ids]


def statistics(store: FolderStore, face_ids: Int64Array) -> Float32Array:
    with store.read() as rows:
        return cohort_rows.statistics(rows.transaction, face_ids)


def known(store: FolderStore) -> list[int]:
    """Return the faces whose statistics are known, and see that they are those of the face."""
    face_ids = np.arange(1, 13)
    numbers = statistics(store, face_ids)
    is_known = ~np.isnan(numbers).any(axis=1)
    np.testing.assert_array_equal(numbers[is_known], made_up(face_ids[is_known]))
    return [int(face_id) for face_id in face_ids[is_known]]


def fill(store: FolderStore, face_ids: Int64Array, cohort_ids: Int64Array) -> None:
    with store.write() as transaction:
        cohort_rows.put_cohort(transaction, StoredCohort("m", len(face_ids), cohort_ids))
        cohort_rows.put_statistics(transaction, face_ids, made_up(face_ids))


def make_filled(folder: Path) -> None:
    with new_store(folder / "i.facesim") as store:
        for number, name in enumerate("abcd"):
            vectors = VECTORS[3 * number : 3 * number + 3]
            commit_pictures(store, {f"/p/{name}.jpg": picture(name, vectors)})
        fill(store, np.arange(1, 13), ids(2, 5, 11))


@pytest.fixture(scope="module")
def kept_index(tmp_path_factory: pytest.TempPathFactory) -> KeptFolder:
    """`make_filled`, done once."""
    return KeptFolder(tmp_path_factory.mktemp("kept"), make_filled)


@pytest.fixture
def filled(kept_index: KeptFolder) -> Iterator[FolderStore]:
    """An index of twelve faces on four pictures, with statistics; 2, 5 and 11 are the cohort."""
    with FolderStore(kept_index.restored() / "i.facesim", writable=True) as store:
        yield store


def test_what_is_put_is_what_is_read_in_any_order(tmp_path: Path) -> None:
    with new_store(tmp_path / "i.facesim") as store:
        assert cohort(store) is None
        assert np.isnan(statistics(store, ids(1, 2))).all()
        commit_pictures(store, {"/p/a.jpg": picture("a", np.repeat(VECTORS[:1], N_FACES, axis=0))})
        shuffled = np.random.default_rng(1).permutation(np.arange(1, N_FACES + 1))
        fill(store, shuffled, shuffled[:200])
        assert members(store) == sorted(shuffled[:200].tolist())
        asked = np.concatenate([shuffled[::7], shuffled[:3], shuffled[:3]])
        np.testing.assert_array_equal(statistics(store, asked), made_up(asked))
        assert statistics(store, ids(1)).dtype == np.float32
        assert np.isnan(statistics(store, ids(0, -5, N_FACES + 1, 2**62))).all()
        assert statistics(store, ids()).shape == (0, 2)
        with store.read() as rows:
            chunks = rows.transaction.exec_driver_sql(CHUNK_COLUMN).scalars().all()
        assert chunks == [0, 1, 2]
        assert not verify(store).problems


def test_some_statistics_can_be_put_later_and_others_stay(filled: FolderStore) -> None:
    with filled.write() as transaction:
        numbers = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
        cohort_rows.put_statistics(transaction, ids(12, 99, 1), numbers)
        with pytest.raises(ValueError, match="2 statistics of each face"):
            cohort_rows.put_statistics(transaction, ids(1, 2), numbers)
    assert statistics(filled, ids(1, 12)).tolist() == [[5, 6], [1, 2]]
    np.testing.assert_array_equal(statistics(filled, ids(2, 11)), made_up(ids(2, 11)))
    assert np.isnan(statistics(filled, ids(99))).all(), "there is no such face"


def test_another_cohort_drops_all_statistics(filled: FolderStore) -> None:
    before = cohort(filled)
    assert before is not None
    assert before.is_same_as(cohort(filled))
    with filled.write() as transaction:
        cohort_rows.put_cohort(transaction, StoredCohort("other", 12, ids(9, 3)))
    after = cohort(filled)
    assert after is not None
    assert (after.method, after.n_faces, after.face_ids.tolist()) == ("other", 12, [3, 9])
    assert not after.is_same_as(before)
    assert known(filled) == []


def test_statistics_are_derived_and_do_not_advance_the_generation(filled: FolderStore) -> None:
    with filled.view() as view:
        before = view.generation
    fill(filled, np.arange(1, 9), ids(1))
    with filled.view() as view:
        assert view.generation == before


@pytest.mark.parametrize("secure", [False, True])
def test_nothing_stays_of_a_face_that_is_forgotten(filled: FolderStore, secure: bool) -> None:
    needles = {str(n): made_up(ids(n)).tobytes() for n in (1, 3, 4)}
    filled.compact()
    assert set(traces(filled.folder, needles)) == {"1", "3", "4"}, "all can be found before"
    forget(filled, [], [FaceId(1), FaceId(3)], secure=secure)
    assert known(filled) == [2, *range(4, 13)]
    assert members(filled) == [2, 5, 11]
    filled.compact()
    assert set(traces(filled.folder, needles)) == {"4"}
    assert not verify(filled).problems


@pytest.mark.parametrize("secure", [False, True])
def test_a_face_of_the_cohort_takes_all_statistics_along(filled: FolderStore, secure: bool) -> None:
    """Its embedding can be computed from the means of others whose embeddings are there."""
    needles = {str(n): made_up(ids(n)).tobytes() for n in range(1, 13)}
    forget(filled, [], [FaceId(5)], secure=secure)
    assert known(filled) == []
    assert members(filled) == [2, 11]
    filled.compact()
    assert traces(filled.folder, needles) == {}
    assert not verify(filled).problems
    with filled.write() as transaction:
        cohort_rows.put_statistics(transaction, ids(5, 6), made_up(ids(5, 6)))
    assert known(filled) == [6], "what was computed before it went does not come back"


def test_faces_of_a_picture_that_goes_leave_no_statistics(filled: FolderStore) -> None:
    forget(filled, [Path("/p/a.jpg")], [])
    assert (known(filled), members(filled)) == ([], [5, 11])
    fill(filled, np.arange(4, 13), ids(5, 11))
    commit_pictures(filled, {"/p/c.jpg": picture("other", VECTORS[:1])})
    assert (known(filled), members(filled)) == ([4, 5, 6, 10, 11, 12], [5, 11])
    filled.remove([], [FaceId(number) for number in range(4, 14)])
    assert members(filled) == []
    with filled.read() as rows:
        assert rows.transaction.exec_driver_sql(CHUNK_COLUMN).all() == []
    assert not verify(filled).problems


def test_embeddings_that_are_made_again_or_lost_leave_no_statistics(filled: FolderStore) -> None:
    with filled.read() as rows:
        [segment] = index_state.segment_infos(rows.transaction)[-1:]
        lost = face_rows.faces(rows.transaction, ids(10))
    (filled.folder / "segments" / segment.name).unlink()
    filled.put_back(filled.check(), {12: VECTORS[11]}, lost)
    assert (known(filled), members(filled)) == ([*range(1, 10), 11], [2, 5, 11])
    filled.put_back(filled.check(), {11: VECTORS[10]}, [])
    assert (known(filled), members(filled)) == ([], [2, 5, 11])


@pytest.mark.parametrize(
    ("statement", "is_known", "is_drawn"),
    [
        ("UPDATE face_statistics SET numbers = zeroblob(8192)", [], True),
        ("UPDATE face_statistics SET numbers = x'00'", [], True),
        ("UPDATE face_statistics SET chunk = 7", [*range(1, 13)], True),
        ("DELETE FROM face_statistics", [], True),
        ("UPDATE cohort SET method = 'quite another one'", [], False),
        ("UPDATE cohort SET face_ids = zeroblob(3)", [], False),
        ("DELETE FROM cohort", [], False),
    ],
)
def test_a_damaged_row_is_told_and_a_repair_drops_it(
    filled: FolderStore, statement: str, is_known: list[int], is_drawn: bool
) -> None:
    def nothing(_: Path) -> Outcome:
        raise AssertionError("no picture has to be read")

    spoil(filled, statement)
    [problem] = {problem.what for problem in verify(filled).problems}
    assert problem == "rows"
    with pytest.raises(IndexDamagedError, match="verify --repair"):
        (known if is_drawn else cohort)(filled)
    with pytest.raises(IndexDamagedError, match="verify --repair"):
        fill(filled, np.arange(1, 13), ids(1))
    with pytest.raises(IndexDamagedError, match="verify --repair"):
        forget(filled, [], [FaceId(1)])
    with filled.view() as view:
        assert len(view.living_faces()) == 12, "a search needs none of these rows"
    done = repair(filled, verify(filled), FunctionReader(lambda paths: iter(map(nothing, paths))))
    assert not done.lost_paths
    assert not verify(filled).problems
    assert known(filled) == is_known
    assert (cohort(filled) is not None) == is_drawn
    fill(filled, np.arange(1, 13), ids(1))
    assert known(filled) == [*range(1, 13)]


@pytest.mark.parametrize(
    ("statement", "drawn"),
    [
        ("UPDATE face SET x = 1.5, y = 2.5, ordinal = 7 WHERE id = 3", [5, 11]),
        ("DELETE FROM face WHERE id = 5", [2, 11]),
        ("UPDATE file SET name = 'another name.png' WHERE id = 3", [2, 5, 11]),
    ],
)
def test_a_face_whose_row_is_beyond_mending_leaves_no_statistics(
    filled: FolderStore, statement: str, drawn: list[int]
) -> None:
    spoil(filled, statement)
    filled.mend_catalog()
    with filled.read() as rows:
        living = face_rows.face_ids(rows.transaction).tolist()
    assert len(living) == 9, "the other faces of the picture go too"
    assert known(filled) == (living if drawn == [2, 5, 11] else [])
    assert members(filled) == drawn


def test_a_snapshot_has_them_too(filled: FolderStore, tmp_path: Path) -> None:
    take_snapshot(filled.folder, tmp_path / "copy")
    with FolderStore(tmp_path / "copy") as copy:
        assert (known(copy), members(copy)) == ([*range(1, 13)], [2, 5, 11])


def test_an_index_of_the_schema_before_has_none_until_they_are_put(tmp_path: Path) -> None:
    folder = tmp_path / "i.facesim"
    with new_store(folder) as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", VECTORS)})
    old_schema(folder, "0008")
    shutil.copytree(folder, tmp_path / "reader")
    with FolderStore(tmp_path / "reader") as reader:
        assert cohort(reader) is None
        assert known(reader) == []
    with FolderStore(folder, writable=True) as store:
        assert not verify(store).problems
        fill(store, np.arange(1, 13), ids(1))
        assert known(store) == [*range(1, 13)]
        assert not verify(store).problems
