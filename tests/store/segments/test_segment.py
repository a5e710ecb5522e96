import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from facesim_index.errors import IndexDamagedError, StorageError
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.records import SegmentId
from facesim_index.store.segments import segment as vectors
from facesim_index.store.segments.neighbours import exact_cosines
from facesim_index.store.segments.search import search_segments
from facesim_index.store.segments.segment import Segment, file_sha256, gather
from facesim_index.store.segments.writer import check_embeddings, merged_rows, write_segment
from tests.builders import DIMENSION, unit_vectors
from tests.property_tests import examples

NOBODY = np.empty(0, dtype=np.int64)


def write(folder: Path, number: int, ids: Int64Array, vectors: Float32Array) -> Segment:
    info = write_segment(folder, SegmentId(number), ids, [vectors], dimension=DIMENSION)
    return Segment(folder / info.name)


def test_a_segment_gives_back_its_ids_and_its_fp16_vectors(tmp_path: Path) -> None:
    vectors, ids = unit_vectors(50, 1), np.arange(3, 103, 2)

    info = write_segment(tmp_path, SegmentId(7), ids, [vectors[:20], vectors[20:]], dimension=512)

    path = tmp_path / "000007.faiss"
    assert (info.name, info.n_rows, info.first_face_id, info.last_face_id) == (
        path.name,
        50,
        3,
        101,
    )
    assert info.size_bytes == path.stat().st_size
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == file_sha256(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    segment = Segment(path)
    assert_array_equal(segment.face_ids, ids)
    assert_array_equal(segment.vectors, vectors.astype(np.float16))
    with pytest.raises(ValueError, match="read-only"):
        segment.vectors[0, 0] = 1.0


def test_a_segment_can_be_read_after_its_file_was_removed(tmp_path: Path) -> None:
    vectors = unit_vectors(10, 2)
    segment = write(tmp_path, 1, np.arange(10), vectors)
    (tmp_path / "000001.faiss").unlink()
    assert_array_equal(gather([segment], np.array([9, 0])), vectors[[9, 0]].astype(np.float16))


@examples(25)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    k=st.integers(1, 30),
    share_removed=st.sampled_from([0.0, 0.3, 0.9]),
    seed=st.integers(0, 1000),
)
def test_search_equals_brute_force_over_the_same_vectors(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    k: int,
    share_removed: float,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("segments")
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    vectors = unit_vectors(n, seed)
    vectors[rng.integers(n)] = vectors[rng.integers(n)]  # a tie
    ids = np.sort(rng.choice(10 * n, n, replace=False)).astype(np.int64)
    removed = ids[rng.random(n) < share_removed]
    starts = np.cumsum([0, *sizes])
    segments = [
        write(folder, number, ids[start:stop], vectors[start:stop])
        for number, (start, stop) in enumerate(pairwise(starts))
    ]
    queries = unit_vectors(3, seed + 1)

    found = search_segments(segments, queries, k, removed)

    stored = vectors.astype(np.float16).astype(np.float64)
    alive = ~np.isin(ids, removed)
    for query, neighbours in zip(queries, found, strict=True):
        cosines = stored[alive] @ query.astype(np.float64)
        expected = np.sort(cosines)[::-1][:k]
        np.testing.assert_allclose(neighbours.cosines, expected, atol=1e-7)
        by_id = dict(zip(ids[alive].tolist(), cosines.tolist(), strict=True))
        assert len(set(neighbours.face_ids.tolist())) == len(expected)
        for face_id, cosine in zip(neighbours.face_ids, neighbours.cosines, strict=True):
            assert by_id[int(face_id)] == pytest.approx(cosine, abs=1e-12)


def test_ties_come_in_the_order_of_face_ids(tmp_path: Path) -> None:
    same = np.repeat(unit_vectors(1, 3), 6, axis=0)
    segments = [
        write(tmp_path, 1, np.arange(3), same[:3]),
        write(tmp_path, 2, np.arange(5, 8), same[:3]),
    ]
    [found] = search_segments(segments, same[:1], 6, NOBODY)
    assert found.face_ids.tolist() == [0, 1, 2, 5, 6, 7]


@given(seed=st.integers(0, 2**32 - 1))
def test_a_cosine_is_the_same_whichever_face_asks(seed: int) -> None:
    stored = unit_vectors(12, seed).astype(np.float16)
    there = [exact_cosines(stored, one.astype(np.float32)) for one in stored]
    assert_array_equal(np.array(there), np.array(there).T)


def test_no_segment_gives_no_neighbour() -> None:
    [found] = search_segments([], unit_vectors(1, 4), 5, NOBODY)
    assert len(found.face_ids) == len(found.cosines) == 0


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_merging_leaves_out_removed_faces_and_changes_no_bit(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesim_index.store.segments.writer._MERGED_AT_ONCE", at_once)
    vectors = unit_vectors(30, 5)
    parts = [
        write(tmp_path, 1, np.arange(10), vectors[:10]),
        write(tmp_path, 2, np.arange(10, 30), vectors[10:]),
    ]
    ids, blocks = merged_rows(parts, np.array([0, 9, 15]))
    info = write_segment(tmp_path, SegmentId(3), ids, blocks, dimension=DIMENSION)
    merged = Segment(tmp_path / info.name)
    kept = np.setdiff1d(np.arange(30), [0, 9, 15])
    assert_array_equal(merged.face_ids, kept)
    assert_array_equal(merged.vectors, vectors[kept].astype(np.float16))


def test_gathering_a_face_that_is_nowhere_is_damage(tmp_path: Path) -> None:
    segment = write(tmp_path, 1, np.array([1, 5]), unit_vectors(2, 6))
    for missing in (0, 3, 9):
        with pytest.raises(IndexDamagedError, match=f"face {missing}"):
            gather([segment], np.array([1, missing]))


@pytest.mark.parametrize("keep", [0, 10, 60, 5_000])
def test_a_cut_off_segment_is_damage(tmp_path: Path, keep: int) -> None:
    write(tmp_path, 1, np.arange(20), unit_vectors(20, 7))
    path = tmp_path / "000001.faiss"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IndexDamagedError, match=r"000001\.faiss"):
        Segment(path)


def test_a_missing_segment_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Segment(tmp_path / "000009.faiss")


def test_a_segment_that_is_merged_away_while_it_is_opened_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reader looks at a newer snapshot then; damage would be told to people."""
    path = tmp_path / "000001.faiss"
    write(tmp_path, 1, np.array([1]), unit_vectors(1, 1))

    def too_late(path: Path) -> None:
        path.unlink()
        raise RuntimeError("could not open")

    monkeypatch.setattr(vectors, "_mapped_index", too_late)
    with pytest.raises(FileNotFoundError):
        Segment(path)


def test_a_segment_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        write_segment(
            tmp_path / "none", SegmentId(1), np.arange(2), [unit_vectors(2, 8)], dimension=DIMENSION
        )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda v: v.astype(np.float64),
        lambda v: v[:, :100],
        lambda v: v * 1.01,
        lambda v: np.where(np.arange(v.size).reshape(v.shape) == 5, np.nan, v).astype(np.float32),
        lambda v: v * 0,
    ],
)
def test_what_is_not_a_unit_embedding_is_refused(spoil) -> None:  # type: ignore[no-untyped-def]
    check_embeddings(unit_vectors(3, 9), DIMENSION)
    with pytest.raises(ValueError, match="embeddings must be"):
        check_embeddings(spoil(unit_vectors(3, 9)), DIMENSION)
