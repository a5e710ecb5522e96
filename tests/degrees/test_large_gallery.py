"""The prior of galleries too large to look at every pair."""

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.degrees import gallery
from facesim_index.degrees.gallery import estimate_gallery_prior, sample_scores
from facesim_index.errors import DamagedSegmentError
from facesim_index.records import FaceId, Float32Array, Int64Array
from facesim_index.store.catalog import face_rows
from facesim_index.store.protocols import IndexView
from facesim_index.store.records import SegmentId
from facesim_index.store.segments.coarse import COARSE_MIN_ROWS, coarse_path, write_coarse
from facesim_index.store.segments.segment import Segment, file_sha256, gather
from facesim_index.store.segments.writer import write_segment
from tests.builders import commit_pictures, new_store, picture, unit_vectors

CURVE = Calibration(
    "made up",
    "engine",
    "by hand",
    ((0.2, -6.0), (0.5, 6.0)),
    Evidence("made up", 2, 10, 10, "2026-01-01"),
)
PER_PERSON = 5


class ManyFaces:
    """A view of people with five faces each, which counts what is asked of it."""

    generation = 1
    transaction = None

    def __init__(self, n_faces: int, dimension: int) -> None:
        rng = np.random.default_rng(n_faces)
        people = rng.standard_normal((n_faces // PER_PERSON, dimension))
        vectors = np.repeat(people, PER_PERSON, axis=0)
        vectors += 0.5 * rng.standard_normal(vectors.shape)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors = vectors.astype(np.float16)
        self.asked = 0

    def living_faces(self) -> Int64Array:
        return np.arange(len(self.vectors))

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        self.asked += len(face_ids)
        return self.vectors[face_ids].astype(np.float32)

    def blocks(self, n_rows: int) -> Iterator[tuple[Int64Array, Float32Array]]:
        for start in range(0, len(self.vectors), n_rows):
            ids = np.arange(start, min(start + n_rows, len(self.vectors)))
            yield ids, self.embeddings(ids)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every face is the only one of its picture."""

    def only_itself(_: object, ids: Int64Array) -> tuple[Int64Array, Int64Array]:
        return np.sort(ids), np.sort(ids)

    monkeypatch.setattr(face_rows, "faces_of_same_images", only_itself)


def a_view(faces: ManyFaces) -> IndexView:
    return faces  # type: ignore[return-value]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("n_faces", [20_000, 80_000])
def test_what_is_read_does_not_grow_with_the_gallery(n_faces: int) -> None:
    faces = ManyFaces(n_faces, 64)
    tracemalloc.start()
    try:
        prior = estimate_gallery_prior(a_view(faces), CURVE, n_pairs=2 * 1000**2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert faces.asked == 2000
    assert (prior.n_faces, prior.n_rows_sampled, prior.n_pairs) == (n_faces, 1000, 1_000_000)
    assert peak < 15_000_000


@pytest.mark.usefixtures("alone")
def test_two_sets_tell_the_share_within_their_noise() -> None:
    faces = ManyFaces(4000, 256)
    truth = (PER_PERSON - 1) / (len(faces.vectors) - 1)
    whole = estimate_gallery_prior(a_view(faces), CURVE)
    assert (whole.n_rows_sampled, whole.n_pairs) == (4000, 4000 * 3999 // 2)
    assert whole.share == pytest.approx(truth, rel=0.02)
    drawn = [
        estimate_gallery_prior(a_view(faces), CURVE, n_pairs=2 * 900**2, seed=seed)
        for seed in range(20)
    ]
    assert {prior.n_rows_sampled for prior in drawn} == {900}
    shares = np.array([prior.share for prior in drawn])
    # 810 genuine pairs, so 3.5 %.
    assert shares.mean() == pytest.approx(truth, rel=0.03)
    assert shares.std() / truth < 0.06
    held = sum(prior.low <= truth <= prior.high for prior in drawn)
    assert held >= 17
    assert all(prior.high < 1.4 * prior.low for prior in drawn)
    again = estimate_gallery_prior(a_view(faces), CURVE, n_pairs=2 * 900**2, seed=3)
    assert again == drawn[3]


def test_faces_of_one_picture_do_not_count_across_two_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MIN_ROWS", 5)
    monkeypatch.setattr(gallery, "_GROUPS_OF_SETS", 4, raising=False)
    vectors = unit_vectors(60, 4)
    image = np.arange(60) // 3
    with new_store(tmp_path / "i") as store:
        photos = {f"/p/{n}.jpg": picture(str(n), vectors[image == n]) for n in range(20)}
        commit_pictures(store, photos)
        store.remove([], face_ids=[FaceId(4), FaceId(60)])
        with store.view() as view:
            sample = sample_scores(view, np.random.default_rng(7), n_pairs=2 * 18**2)
            living = view.living_faces()
    drawn = np.random.default_rng(7).choice(living, 36, replace=False) - 1
    rows, columns = drawn[:18], drawn[18:]
    apart = image[rows][:, None] != image[columns][None]
    assert 0 < np.count_nonzero(~apart) < 40
    stored = vectors.astype(np.float16).astype(np.float64)
    expected = np.histogram(
        (stored[rows] @ stored[columns].T)[apart], bins=gallery.BINS, range=(-1, 1)
    )[0]
    assert (sample.n_faces, sample.n_rows, sample.pair_weight) == (58, 18, 1.0)
    assert sample.by_column is not None
    for counts in (sample.counts, sample.by_column):
        assert counts.shape == (4, gallery.BINS)
        # fp32 may put a cosine on the other side of a bin's edge.
        assert np.abs(np.cumsum(counts.sum(axis=0)) - np.cumsum(expected)).max() <= 1
    n_rows = [18 * n // 4 for n in range(5)]
    for group, (start, stop) in enumerate(itertools.pairwise(n_rows)):
        assert sample.counts[group].sum() == apart[start:stop].sum()
        assert sample.by_column[group].sum() == apart[:, start:stop].sum()


def test_few_embeddings_are_read_without_mapping_what_is_around_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit_vectors(400, 9).astype(np.float16)
    info = write_segment(
        tmp_path, SegmentId(1), np.arange(400) * 2, [vectors], dimension=vectors.shape[1]
    )
    segment = Segment(tmp_path / info.name)
    asked: list[bool] = []
    whole = Segment.at

    def noted(part: Segment, rows: Int64Array, *, mapped: bool = True) -> Float32Array:
        asked.append(mapped)
        return np.asarray(whole(part, rows, mapped=mapped))

    monkeypatch.setattr(Segment, "at", noted)
    for step, mapped in ((100, False), (2, True), (400, True)):
        rows = np.arange(0, 400, step)[::-1]
        np.testing.assert_array_equal(gather([segment], rows * 2), vectors[rows])
        assert asked.pop() is mapped


def test_few_embeddings_of_a_large_segment_are_checked_without_reading_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.tile(unit_vectors(64, 9).astype(np.float16), (COARSE_MIN_ROWS // 64, 1))
    vectors[5000] = unit_vectors(1, 10)[0]
    ids = np.arange(len(vectors))
    info = write_segment(tmp_path, SegmentId(1), ids, [vectors], dimension=vectors.shape[1])
    path = tmp_path / info.name
    sha256 = file_sha256(path)
    if not coarse_path(path).exists():
        write_coarse(path, sha256, ids, vectors)
    rows = np.arange(0, len(ids), 1000)
    with monkeypatch.context() as patch:
        patch.setattr(Segment, "require_whole", lambda _: pytest.fail("all of it was read"))
        np.testing.assert_array_equal(gather([Segment(path, sha256)], rows), vectors[rows])
    data = bytearray(path.read_bytes())
    data[data.index(vectors[5000].tobytes()) + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedSegmentError, match="other embeddings"):
        gather([Segment(path, sha256)], rows)
