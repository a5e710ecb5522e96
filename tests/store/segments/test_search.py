"""The fast search beside brute force, over segments with coarse codes."""

import logging
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from facesim_index.errors import DamagedSegmentError, IndexDamagedError, StorageError
from facesim_index.records import FaceId, Float32Array, Float64Array, Int64Array
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import Neighbours, SegmentId
from facesim_index.store.segments import coarse
from facesim_index.store.segments import search as vectors_search
from facesim_index.store.segments.coarse import CoarseCodes, coarse_path, read_coarse, write_coarse
from facesim_index.store.segments.search import search_segments
from facesim_index.store.segments.segment import Segment
from facesim_index.store.segments.writer import write_segment
from facesim_index.upkeep.repairs import repair
from facesim_index.utils.half_precision import widened
from tests.asking import verify
from tests.builders import DIMENSION, commit_pictures, new_store, picture, read_here, unit_vectors

NOBODY = np.empty(0, dtype=np.int64)
COARSE_MIN_ROWS = 64


@pytest.fixture(autouse=True)
def small_coarse_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse, "COARSE_MIN_ROWS", COARSE_MIN_ROWS)


def people(n_faces: int, n_people: int, seed: int, *, spread: float = 0.8) -> Float32Array:
    """Return faces around the centres of people."""
    centres = unit_vectors(n_people, seed)
    who = np.random.default_rng(seed).integers(0, n_people, n_faces)
    vectors = centres[who] + spread * unit_vectors(n_faces, seed + 1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def segments_of(folder: Path, vectors: Float32Array, sizes: list[int]) -> list[Segment]:
    """Write segments with coarse codes; the face in row n is 3 n."""
    segments = []
    for number, (start, stop) in enumerate(pairwise(np.cumsum([0, *sizes]).tolist()), start=1):
        info = write_segment(
            folder,
            SegmentId(number),
            3 * np.arange(start, stop),
            [vectors[start:stop]],
            dimension=DIMENSION,
        )
        segment = Segment(folder / info.name, info.sha256)
        if info.n_rows >= COARSE_MIN_ROWS:
            write_coarse(folder / info.name, info.sha256, segment.face_ids, segment.vectors)
        segments.append(segment)
    return segments


def brute_force(
    stored: Float64Array, query: Float32Array, k: int, excluded: Int64Array
) -> tuple[Int64Array, Float64Array]:
    ids = 3 * np.arange(len(stored))
    cosines = stored @ query.astype(np.float64)
    living = ~np.isin(ids, excluded)
    order = np.lexsort((ids[living], -cosines[living]))[:k]
    return ids[living][order], np.clip(cosines[living][order], -1.0, 1.0)


def assert_is_brute_force(
    found: list[Neighbours],
    vectors: Float32Array,
    queries: Float32Array,
    k: int,
    excluded: Int64Array = NOBODY,
) -> None:
    stored = vectors.astype(np.float16).astype(np.float64)
    for query, neighbours in zip(queries, found, strict=True):
        ids, cosines = brute_force(stored, query, k, excluded)
        assert_array_equal(neighbours.face_ids, ids)
        np.testing.assert_allclose(neighbours.cosines, cosines, rtol=0.0, atol=1e-12)


class Watched:
    """Counts how often coarse codes were asked, and how deep."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.depths: list[int] = []
        search = CoarseCodes.search

        def watch(
            codes: CoarseCodes, queries: Float32Array, k: int
        ) -> tuple[Float32Array, Int64Array]:
            self.depths.append(k)
            return search(codes, queries, k)

        monkeypatch.setattr(CoarseCodes, "search", watch)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("n_queries", [1, 7, 70])
def test_coarse_search_is_brute_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_threads: int, n_queries: int
) -> None:
    vectors = people(6000, 700, 1)
    segments = segments_of(tmp_path, vectors, [3000, 40, 2000, 960])
    queries = people(n_queries, 700, 1, spread=0.9)
    watched = Watched(monkeypatch)
    monkeypatch.setattr(faiss, "omp_get_max_threads", lambda: n_threads)

    found = search_segments(segments, queries, 10, NOBODY)

    assert watched.depths
    assert_is_brute_force(found, vectors, queries, 10)
    exact = search_segments(segments, queries, 10, NOBODY, exact=True)
    assert_is_brute_force(exact, vectors, queries, 10)


@pytest.mark.parametrize("exact", [False, True])
def test_a_large_index_reads_candidates_from_the_files_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, exact: bool
) -> None:
    vectors = people(4000, 500, 21)
    segments = segments_of(tmp_path, vectors, [2500, 40, 1460])
    queries = people(9, 500, 21, spread=0.9)
    mapped = search_segments(segments, queries, 10, NOBODY, exact=exact)
    monkeypatch.setattr(vectors_search, "_MAPPED_BYTES", 0)
    for path in tmp_path.iterdir():  # as after a merge
        path.unlink()

    found = search_segments(segments, queries, 10, NOBODY, exact=exact)

    assert_is_brute_force(found, vectors, queries, 10)
    for one, other in zip(found, mapped, strict=True):
        assert_array_equal(one.cosines, other.cosines)


def test_a_file_that_was_cut_short_is_damaged_however_it_is_read(tmp_path: Path) -> None:
    vectors = people(300, 40, 22)
    [segment] = segments_of(tmp_path, vectors, [300])
    rows = np.array([0, 7, 299])
    assert_array_equal(segment.checked(rows, mapped=False), segment.checked(rows))
    os.truncate(tmp_path / segment.name, 4096)
    with pytest.raises(DamagedSegmentError, match="cut short"):
        segment.checked(rows, mapped=False)


def test_exact_search_asks_no_coarse_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = people(2000, 300, 2)
    segments = segments_of(tmp_path, vectors, [2000])
    watched = Watched(monkeypatch)
    found = search_segments(segments, vectors[:5], 10, NOBODY, exact=True)
    assert watched.depths == []
    assert_is_brute_force(found, vectors, vectors[:5], 10)


@pytest.mark.parametrize("share", [0.1, 0.9, 0.999, 1.0])
def test_removed_faces_are_made_up_for(tmp_path: Path, share: float) -> None:
    vectors = people(3000, 40, 3)
    segments = segments_of(tmp_path, vectors, [1800, 1200])
    removed = 3 * np.flatnonzero(np.random.default_rng(4).random(3000) < share)
    found = search_segments(segments, vectors[:6], 10, removed)
    assert_is_brute_force(found, vectors, vectors[:6], 10, removed)


@pytest.mark.parametrize("k", [1, 200, 2999, 5000])
def test_any_number_of_neighbours(tmp_path: Path, k: int) -> None:
    vectors = people(3000, 200, 5)
    segments = segments_of(tmp_path, vectors, [1500, 1500])
    found = search_segments(segments, vectors[:3], k, NOBODY)
    assert_is_brute_force(found, vectors, vectors[:3], k)


def test_too_few_candidates_are_noticed_and_more_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = people(4000, 600, 6)
    segments = segments_of(tmp_path, vectors, [4000])
    monkeypatch.setattr(vectors_search, "_COARSE_MIN_DEPTH", 1)
    monkeypatch.setattr(vectors_search, "_CANDIDATES_OF_A_MILLION", 0)
    watched = Watched(monkeypatch)
    queries = people(20, 600, 6, spread=0.9)
    found = search_segments(segments, queries, 10, NOBODY)
    assert set(watched.depths) >= {20, 160}
    assert_is_brute_force(found, vectors, queries, 10)


def test_near_duplicates_are_all_found(tmp_path: Path) -> None:
    # Bursts: coarse estimates of high cosines must not be lower than their margin says.
    bursts = people(1000, 20, 7, spread=0.15)
    vectors = np.concatenate([people(3000, 1500, 8), bursts, bursts[:100]])
    segments = segments_of(tmp_path, vectors, [2000, 2100])
    queries = bursts[::50]
    found = search_segments(segments, queries, 60, NOBODY)
    assert_is_brute_force(found, vectors, queries, 60)
    assert found[0].cosines[1] == found[0].cosines[0]
    assert found[0].face_ids[0] < found[0].face_ids[1]


def test_many_equal_faces_come_by_face_id(tmp_path: Path) -> None:
    vectors = np.repeat(unit_vectors(1, 9), 400, axis=0)
    vectors = np.concatenate([unit_vectors(200, 10), vectors])
    segments = segments_of(tmp_path, vectors, [300, 300])
    for exact in (False, True):
        [found] = search_segments(segments, vectors[-1:], 25, NOBODY, exact=exact)
        assert found.face_ids.tolist() == (3 * np.arange(200, 225)).tolist()


def test_widening_keeps_every_half_precision_number() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    assert_array_equal(widened(halves), halves.astype(np.float32))
    assert_array_equal(np.signbit(widened(halves)), np.signbit(halves))


# The file


def flip(at: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)

    return damage


def overwrite(content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(content)

    return damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "magic": flip(0),
    "owner": flip(9),
    "error": flip(60),
    "codes": flip(5000),
    "hash": flip(-1),
    "cut": cut,
    "empty": overwrite(b""),
    "text": overwrite(b"no codes"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_codes_cost_time_only(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    vectors = people(1500, 200, 11)
    segments = segments_of(tmp_path, vectors, [1500])
    damage(tmp_path / "000001.coarse")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = search_segments(segments, vectors[:4], 10, NOBODY)
            assert_is_brute_force(found, vectors, vectors[:4], 10)
    [record] = caplog.records
    assert "000001.coarse" in record.message
    assert "`facesim compact`" in record.message


def test_codes_of_another_segment_are_refused(tmp_path: Path) -> None:
    vectors = people(300, 50, 12)
    write_coarse(
        tmp_path / "000001.faiss", "a" * 64, np.arange(len(vectors)), vectors.astype(np.float16)
    )
    codes = read_coarse(tmp_path / "000001.faiss", "a" * 64)
    assert codes.n_rows == 300
    assert 0.8 < codes.shrinkage < 1.0
    with pytest.raises(IndexDamagedError, match="does not belong to its segment"):
        read_coarse(tmp_path / "000001.faiss", "b" * 64)


def test_estimates_are_unbiased_and_as_good_as_they_say(tmp_path: Path) -> None:
    vectors = people(4000, 30, 13, spread=0.4)
    write_coarse(tmp_path / "1.faiss", "a" * 64, np.arange(3000), vectors[:3000].astype(np.float16))
    codes = read_coarse(tmp_path / "1.faiss", "a" * 64)
    queries = vectors[3000:3050]
    estimates, rows = codes.search(queries, 3000)
    true = np.take_along_axis(queries @ vectors[:3000].T, rows, axis=1)
    wrong = estimates - true
    assert np.sqrt(np.mean(wrong**2)) < 1.1 * codes.error
    assert np.mean(wrong < -codes.margin(0.0)) < 3e-4
    alike = true > 0.7
    assert alike.sum() > 1000
    assert abs(wrong[alike].mean()) < 2 * codes.error
    assert (wrong[alike] > -codes.margin(0.7)).all()


# In an index


def big_store(folder: Path) -> tuple[FolderStore, Float32Array]:
    """Return an index of 150 faces in one segment, with coarse codes."""
    vectors = people(150, 30, 14)
    store = new_store(folder)
    for start in range(0, 150, 30):
        commit_pictures(
            store,
            {f"/p/{n}.jpg": picture(str(n), vectors[n : n + 1]) for n in range(start, start + 30)},
        )
    store.compact()
    return store, vectors


def file_names(store: FolderStore) -> list[str]:
    return sorted(path.name for path in (store.folder / "segments").iterdir())


def test_compact_makes_codes_and_a_start_keeps_them(tmp_path: Path) -> None:
    store, vectors = big_store(tmp_path / "i")
    with store:
        [codes] = [name for name in file_names(store) if name.endswith(".coarse")]
        assert len(file_names(store)) == 2
        assert not verify(store).problems
    with FolderStore(tmp_path / "i", writable=True) as store:
        assert codes in file_names(store)
        store.remove([], face_ids=[FaceId(1)])
        store.compact()
        assert len(file_names(store)) == 2
        assert codes not in file_names(store)
        with store.view() as view:
            [found] = view.search(vectors[:1], 5)
        assert 1 not in found.face_ids


def test_merging_makes_codes(tmp_path: Path) -> None:
    vectors = people(160, 20, 15)
    with new_store(tmp_path / "i") as store:
        for start in range(0, 160, 20):
            rows = range(start, start + 20)
            commit_pictures(store, {f"{n}.jpg": picture(str(n), vectors[n : n + 1]) for n in rows})
        assert [name.partition(".")[2] for name in file_names(store)] == ["coarse", "faiss"]
        with store.view() as view:
            [found] = view.search(vectors[:1], 10)
            [exact] = view.search(vectors[:1], 10, exact=True)
        assert_array_equal(found.face_ids, exact.face_ids)


@pytest.mark.parametrize("mend", ["repair", "compact"])
@pytest.mark.parametrize("damage", ["missing", "codes"])
def test_codes_that_are_gone_are_told_and_made_anew(
    tmp_path: Path, mend: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, vectors = big_store(tmp_path / "i")
    with store:
        [segment] = (tmp_path / "i" / "segments").glob("*.faiss")
        codes, content = coarse_path(segment), coarse_path(segment).read_bytes()
        codes.unlink() if damage == "missing" else DAMAGES[damage](codes)
        with FolderStore(tmp_path / "i") as reader, reader.view() as view:
            [found] = view.search(vectors[:1], 3)
            assert "coarse" in caplog.text
            verdict = verify(store)
            assert [problem.what for problem in verdict.problems] == [codes.name]
            assert not verdict.damaged
            if mend == "repair":
                assert repair(store, verdict, read_here).faces_mended == 0
            else:
                store.compact()
            assert codes.read_bytes() == content
            assert not verify(store).problems
            # A reader that went without takes them up.
            assert view.segments[0].coarse() is not None
            [again] = view.search(vectors[:1], 3)
        assert_array_equal(found.face_ids, again.face_ids)


def test_leftover_codes_are_removed(tmp_path: Path) -> None:
    big_store(tmp_path / "i")[0].close()
    stray = tmp_path / "i" / "segments" / "000099.coarse"
    stray.write_bytes(b"codes of nobody")
    with FolderStore(tmp_path / "i", writable=True) as store:
        assert not stray.exists()
        assert len(file_names(store)) == 2


def test_a_full_disk_leaves_an_index_without_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> Path:
        raise StorageError("cannot write it: no space left on device")

    monkeypatch.setattr("facesim_index.store.folder.segment_folder.write_coarse", refuse)
    store, vectors = big_store(tmp_path / "i")
    with store:
        assert "were not written: cannot write it" in caplog.text
        with store.view() as view:
            [found] = view.search(vectors[:1], 1)
        assert found.face_ids.tolist() == [1]
