from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.degrees import gallery
from facesim_index.degrees.gallery import (
    METHOD_EM,
    METHOD_RULE,
    GalleryPrior,
    estimate_gallery_prior,
    gallery_prior,
    refresh_gallery_prior,
    sample_scores,
)
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.records import FaceId, Float32Array
from facesim_index.store.catalog import index_state
from facesim_index.store.folder.store import FolderStore
from tests.builders import commit_pictures, new_store, picture, unit_vectors


def curve(name: str = "test", top: float = 6.0) -> Calibration:
    """A curve for `people`: their genuine cosines are around 0.6, strangers' around 0."""
    evidence = Evidence("made up", 10, 100, 1000, "2026-01-01")
    return Calibration(name, FAKE_IDENTITY.key, "by hand", ((0.15, -4.0), (0.45, top)), evidence)


CURVE = curve()


def people(pictures_of_each: list[int], seed: int = 1) -> Float32Array:
    """Embeddings of people with so many pictures, person by person."""
    base = unit_vectors(len(pictures_of_each), seed)
    own = np.repeat(base, pictures_of_each, axis=0)
    vectors = own + 0.8 * unit_vectors(len(own), seed + 1)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def true_share(pictures_of_each: list[int]) -> float:
    pictures = np.array(pictures_of_each)
    n = pictures.sum()
    return float((pictures * (pictures - 1)).sum() / (n * (n - 1)))


def commit_faces(store: FolderStore, vectors: Float32Array, first: int = 0) -> None:
    """Commit one picture with one face for each vector."""
    commit_pictures(
        store,
        {
            f"/p/{first + n}.jpg": picture(str(first + n), vectors[n : n + 1])
            for n in range(len(vectors))
        },
    )


def estimated(store: FolderStore, *, n_pairs: int = gallery.PAIRS) -> GalleryPrior:
    with store.view() as view:
        return estimate_gallery_prior(view, CURVE, n_pairs=n_pairs)


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facesim_index.degrees.in_force.shipped_calibration", lambda _: CURVE)


def test_the_share_of_a_small_index_comes_from_every_pair(tmp_path: Path) -> None:
    pictures = [4] * 20 + [1] * 60
    with new_store(tmp_path / "i") as store:
        commit_faces(store, people(pictures))
        prior = estimated(store)
    assert prior.share == pytest.approx(true_share(pictures), rel=0.02)
    assert prior.low < true_share(pictures) < prior.high < 2 * prior.low
    assert (prior.n_faces, prior.n_rows_sampled, prior.n_pairs) == (140, 140, 140 * 139 // 2)
    assert prior.method == METHOD_EM


def test_a_large_index_is_sampled_the_same_way_each_time(tmp_path: Path) -> None:
    pictures = [6] * 100
    with new_store(tmp_path / "i") as store:
        commit_faces(store, people(pictures))
        prior = estimated(store, n_pairs=1)
        assert prior == estimated(store, n_pairs=1)
        with store.view() as view:
            other = estimate_gallery_prior(view, CURVE, n_pairs=1, seed=5)
    assert prior.share == pytest.approx(true_share(pictures), rel=0.1)  # all have five mates
    assert prior != other
    # Half of the faces with the other half: hardly more faces than are drawn at least.
    assert (prior.n_rows_sampled, prior.n_pairs) == (300, 300 * 300)


def test_the_counts_are_those_of_all_pairs_of_living_faces_of_two_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(gallery, "_COLUMNS_AT_ONCE", 5)
    monkeypatch.setattr(gallery, "_GROUPS", 4)
    vectors = people([3] * 10)
    image = np.arange(30) // 2  # two faces a picture
    with new_store(tmp_path / "i") as store:
        for start in range(0, 15, 5):  # three segments
            commit_pictures(
                store,
                {
                    f"/p/{n}.jpg": picture(str(n), vectors[image == n])
                    for n in range(start, start + 5)
                },
            )
        store.remove([], face_ids=[FaceId(4), FaceId(5), FaceId(30)])
        with store.view() as view:
            assert len(view.segments) == 3
            sample = sample_scores(view, np.random.default_rng(0))
    living = np.setdiff1d(np.arange(30), [3, 4, 29])
    stored = vectors[living].astype(np.float16).astype(np.float64)
    apart = image[living][:, None] != image[living][None, :]
    cosine = (stored @ stored.T)[apart]
    expected = np.histogram(cosine, bins=gallery.BINS, range=(-1, 1))[0]
    assert sample.counts.shape == (4, gallery.BINS)
    assert (sample.n_faces, sample.n_rows) == (27, 27)
    assert sample.counts.sum() == apart.sum()
    # fp32 may put a cosine on the other side of a bin's edge.
    assert np.abs(np.cumsum(sample.counts.sum(axis=0)) - np.cumsum(expected)).max() <= 1
    rows_of_groups = sample.counts.sum(axis=1) / apart.sum(axis=1).mean()
    assert rows_of_groups == pytest.approx([7, 7, 7, 6], abs=0.3)


@pytest.mark.parametrize("compacted", [False, True])
def test_removed_faces_do_not_count(tmp_path: Path, compacted: bool) -> None:
    pictures = [4] * 10 + [1] * 60
    with new_store(tmp_path / "i") as store:
        commit_faces(store, people(pictures))
        store.remove([], face_ids=[FaceId(n) for n in range(21, 101)])  # five whole people stay
        if compacted:
            store.compact()
        prior = estimated(store)
    assert (prior.n_faces, prior.n_pairs) == (20, 190)
    assert prior.share == pytest.approx(true_share([4] * 5), rel=0.1)


def test_two_faces_of_one_picture_are_no_pair(tmp_path: Path) -> None:
    alike = people([40])
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/group.jpg": picture("group", alike)})
        prior = estimated(store)
        assert (prior.n_faces, prior.n_pairs, prior.method) == (40, 0, METHOD_RULE)
        assert prior.share == pytest.approx(1 / 41)
        assert prior.low < 0.001
        assert 0.04 < prior.high < 0.2
        commit_pictures(store, {"/p/other.jpg": picture("other", unit_vectors(10, 9))})
        prior = estimated(store)
        assert prior.n_pairs == pytest.approx(400, abs=2)
        assert prior.share < 0.01


def test_a_tiny_index_is_ruled_by_the_rule_of_thumb_until_it_speaks(tmp_path: Path) -> None:
    strangers, friends = unit_vectors(5, 3), people([5])
    shares = {}
    for name, vectors in (("strangers", strangers), ("friends", friends)):
        with new_store(tmp_path / name) as store:
            assert estimated(store).share == pytest.approx(0.5)
            for n in range(5):
                commit_faces(store, vectors[n : n + 1], first=n)
                prior = estimated(store)
                assert 0.0 < prior.low < prior.share < prior.high < 1.0
                shares[name, n + 1] = prior.share
    assert shares["strangers", 1] == shares["friends", 1] == pytest.approx(1 / 2)
    # By hand: half a pair added to none, or to all ten, of ten pairs and three more.
    assert shares["strangers", 5] == pytest.approx(0.5 / 13, rel=0.01)
    assert shares["friends", 5] == pytest.approx(10.5 / 13, rel=0.01)


def test_the_interval_knows_how_little_was_seen(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_faces(store, unit_vectors(100, 4))
        prior = estimated(store)
    assert prior.share == pytest.approx(0.5 / 5000, rel=0.05)
    assert prior.low < 1e-6
    assert 3e-4 < prior.high < 1e-3  # about three in 4,950 cannot be excluded


def test_where_a_weak_curve_cannot_tell_the_rule_of_thumb_decides(tmp_path: Path) -> None:
    pictures = [2] * 30 + [1] * 440
    weak, strong = curve(top=2.5), curve()
    with new_store(tmp_path / "i") as store:
        commit_faces(store, people(pictures))
        with store.view() as view:
            told = estimate_gallery_prior(view, strong)
            untold = estimate_gallery_prior(view, weak)
    # One pair in 4,158 is genuine; one stranger in 316 would look like it, says the weak curve.
    assert told.method == METHOD_EM
    assert told.share == pytest.approx(true_share(pictures), rel=0.05)
    assert untold.method == METHOD_RULE
    assert untold.share == pytest.approx(1 / 501)
    assert untold.low < true_share(pictures) < untold.high


@pytest.mark.usefixtures("calibrated")
def test_what_a_writer_stored_serves_its_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_store(tmp_path / "i") as store:
        commit_faces(store, people([3] * 10))
        with store.view() as view:
            before = view.generation
        prior = refresh_gallery_prior(store)
        assert prior == estimated(store)
        with store.view() as view:
            assert view.generation == before
    monkeypatch.setattr(gallery, "estimate_gallery_prior", lambda *_: pytest.fail("estimated"))
    with FolderStore(tmp_path / "i") as store, store.view() as view:
        assert gallery_prior(view, CURVE) == prior
    with FolderStore(tmp_path / "i", writable=True) as store:
        assert refresh_gallery_prior(store) == prior


@pytest.mark.usefixtures("calibrated")
def test_what_was_stored_for_another_moment_or_curve_is_not_used(tmp_path: Path) -> None:
    other = curve("other", top=5.0)
    same_name = curve(top=5.0)
    with new_store(tmp_path / "i") as store:
        commit_faces(store, people([3] * 10))
        stored = refresh_gallery_prior(store)
        assert stored is not None
        with store.view() as view:
            for another in (other, same_name):
                found = gallery_prior(view, another)
                assert found == estimate_gallery_prior(view, another)
                assert found.share != stored.share
            assert gallery_prior(view, CURVE) == stored
        commit_faces(store, unit_vectors(50, 8), first=100)
        with store.view() as view:
            fresh = gallery_prior(view, CURVE)
        assert fresh.n_faces == 80
        assert fresh.share < stored.share / 3
        assert refresh_gallery_prior(store) == fresh
        with store.catalog.read() as transaction:
            row = index_state.prior_estimate(transaction)
            assert row is not None
            assert (row.generation, row.n_faces) == (index_state.state(transaction).generation, 80)
            rows = transaction.exec_driver_sql("SELECT count(*) FROM prior_estimate").scalar()
            assert rows == 1


def test_a_reader_estimates_once_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_store(tmp_path / "i") as store:
        commit_faces(store, people([3] * 10))
    before = {path: path.read_bytes() for path in (tmp_path / "i").rglob("*") if path.is_file()}
    calls = []

    def counted(*arguments: object) -> GalleryPrior:
        calls.append(arguments)
        return estimate_gallery_prior(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gallery, "estimate_gallery_prior", counted)
    with FolderStore(tmp_path / "i") as store:
        for _ in range(3):
            with store.view() as view:
                prior = gallery_prior(view, CURVE)
                assert index_state.prior_estimate(view.transaction) is None
    assert len(calls) == 1
    assert prior.share == pytest.approx(true_share([3] * 10), rel=0.1)
    after = {path: path.read_bytes() for path in (tmp_path / "i").rglob("*") if path.is_file()}
    assert {p: b for p, b in after.items() if p in before and "-shm" not in p.name} == before


def test_without_a_calibration_nothing_is_stored(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_faces(store, people([2]))
        assert refresh_gallery_prior(store) is None


@pytest.mark.usefixtures("calibrated")
def test_one_face_is_no_gallery(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_faces(store, people([1]))
        assert refresh_gallery_prior(store) is None


@pytest.mark.usefixtures("calibrated")
def test_damage_is_no_reason_to_fail_a_writer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with new_store(tmp_path / "i") as store:
        commit_faces(store, people([2]))
    next((tmp_path / "i" / "segments").iterdir()).write_bytes(b"not a segment")
    with FolderStore(tmp_path / "i", writable=True) as store:
        assert refresh_gallery_prior(store) is None
    assert "was not estimated" in caplog.text
