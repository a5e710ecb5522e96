"""Normalised scores give one pair of faces one degree, wherever the pair is met."""

import csv
import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.degree import calibrated_degree
from facesim_index.calibration.heads import COSINE
from facesim_index.calibration.normalisation import Normalisation, cohort_of
from facesim_index.calibration.record import Calibration
from facesim_index.degrees.gallery import BINS, sample_scores
from facesim_index.degrees.gallery_scores import GalleryStatistics, cohort_faces, scorer_of
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.index import FaceIndex
from facesim_index.people.evidence import person_degree
from facesim_index.records import FaceId, Float64Array
from facesim_index.search.queries import QueryOptions
from facesim_index.store.folder.store import FolderStore
from tests.asking import query_face
from tests.builders import FAKE, commit_pictures, new_store, picture, unit_vectors
from tests.calibration.test_heads_everywhere import curve_of, embeddings, face_ids
from tests.example_pictures import fake_photo
from tests.reliability.spoiling import flip

CURVE = replace(
    curve_of(COSINE),
    normalisation=Normalisation(
        0.0,
        0.15,
        0.6,
        np.random.default_rng(3).normal(0.0, 0.15, (FAKE_IDENTITY.dimension, 2)).astype(np.float32),
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("normalised") / "i.facesim"
    vectors = embeddings()
    with new_store(folder) as store:
        commit_pictures(
            store, {f"/p/{n}.jpg": picture(str(n), vectors[[n, n + 30]]) for n in range(30)}
        )
    return folder


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderStore]:
    monkeypatch.setattr("facesim_index.degrees.in_force.shipped_calibration", lambda _: CURVE)
    with FolderStore(folder) as opened:
        yield opened


def every_score(store: FolderStore) -> tuple[list[int], Float64Array]:
    """The normalised score of every pair, one pair at a time, by the definition."""
    ids = face_ids(store)
    normalisation = CURVE.normalisation
    assert normalisation is not None
    with store.view() as view:
        cosines = np.array([view.cosines(np.array(ids), e) for e in view.embeddings(np.array(ids))])
        statistics = cohort_of(view.embeddings(np.array(ids)), normalisation).statistics(
            view.embeddings(np.array(ids))
        )
    middle, top = statistics.astype(np.float64).T
    own = (cosines - middle[:, None]) / (top - middle)[:, None]
    scores = normalisation.middle + normalisation.spread * 0.5 * (own + own.T)
    return ids, np.clip(scores, -1.0, 1.0)


def test_search_matrix_and_matches_say_the_same_of_a_pair(store: FolderStore, folder: Path) -> None:
    ids, scores = every_score(store)
    expected = calibrated_degree(scores, CURVE, prior=0.1)
    assert (
        np.abs(expected - calibrated_degree(cosines_of(store, ids), CURVE, prior=0.1)).max() > 0.1
    )
    place = {face: n for n, face in enumerate(ids)}
    for row in (0, 17, 59):
        matches = (
            query_face(store, FaceId(ids[row]), QueryOptions(top=4, prior=0.1)).faces[0].matches
        )
        order = [n for n in np.argsort(-scores[row], kind="stable") if n != row][:4]
        assert [match.face_id for match in matches] == [ids[n] for n in order]
        told = [match.degree or 0.0 for match in matches]
        np.testing.assert_allclose(told, expected[row, order], rtol=1e-6)
    with FaceIndex.open(folder, engine=FAKE) as index:
        frame = index.matrix(ids)
        prior = index.prior()
        out = io.BytesIO()
        index.write_matches(out, min_degree=0.5)
    of_gallery = calibrated_degree(scores, CURVE, prior=prior)
    apart = ~np.eye(len(ids), dtype=bool)
    np.testing.assert_allclose(frame.to_numpy()[apart], of_gallery[apart], rtol=1e-6)
    lines = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    found = {(place[int(line["face_a"])], place[int(line["face_b"])]) for line in lines}
    assert found == {
        (a, b) for a, b in zip(*np.nonzero(np.triu(of_gallery >= 0.5, 1)), strict=True)
    }
    for line in lines:
        pair = place[int(line["face_a"])], place[int(line["face_b"])]
        assert float(line["degree"]) == pytest.approx(of_gallery[pair], rel=1e-6)


def cosines_of(store: FolderStore, ids: list[int]) -> Float64Array:
    with store.view() as view:
        return np.array([view.cosines(np.array(ids), e) for e in view.embeddings(np.array(ids))])


def test_the_prior_counts_normalised_scores(store: FolderStore) -> None:
    _, scores = every_score(store)
    with store.view() as view:
        sample = sample_scores(view, np.random.default_rng(0), scorer=scorer_of(view, CURVE))
    counts = sample.counts.sum(axis=0)
    centre = (np.arange(BINS) + 0.5) * 2.0 / BINS - 1.0
    strangers = scores[~np.eye(60, dtype=bool)]
    assert counts @ centre / counts.sum() == pytest.approx(strangers.mean(), abs=0.02)


def test_a_person_is_judged_by_mean_normalised_scores(folder: Path) -> None:
    """Of a copy of the index, because it is changed."""
    copy = folder.with_name("people.facesim")
    shutil.copytree(folder, copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facesim_index.degrees.in_force.shipped_calibration", lambda _: CURVE)
        with FolderStore(copy) as store:
            ids, scores = every_score(store)
        with FaceIndex.open(copy, engine=FAKE, create=True) as index:
            index.people.cluster()
            prior = index.prior()
            person = max(index.people.everyone(), key=lambda one: one.n_faces)
            own = [found.face.face_id for found in index.people.show(person.person_id)[1]]
            answer = index.query(person=person.person_id, top=30)
    place = {face: n for n, face in enumerate(ids)}
    rows = [place[face] for face in own]
    assert len(rows) >= 2
    for match in answer.faces[0].matches:
        row = place[match.face_id]
        others = [n for n in rows if n != row]
        expected = person_degree(
            np.array([scores[row, others].mean()]),
            np.array([float(len(others))]),
            CURVE,
            prior=prior,
        )
        assert match.degree == pytest.approx(expected[0], rel=1e-5)


def test_a_picture_is_looked_for_in_an_index_without_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, its statistics were computed from an empty cohort of no dimension."""
    monkeypatch.setattr("facesim_index.degrees.in_force.shipped_calibration", lambda _: CURVE)
    asked = tmp_path / "asked.png"
    asked.write_bytes(fake_photo([(200, 40, 40)]))
    with new_store(tmp_path / "i.facesim"):
        pass
    with FaceIndex.open(tmp_path / "i.facesim", engine=FAKE) as index:
        assert index.query(asked).faces[0].matches == ()


def test_a_query_leaves_out_a_damaged_segment_of_the_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, it failed, because the cohort is read before the segments are searched."""
    monkeypatch.setattr("facesim_index.degrees.in_force.shipped_calibration", lambda _: CURVE)
    asked = tmp_path / "asked.png"
    asked.write_bytes(fake_photo([(200, 40, 40)]))
    vectors = unit_vectors(12, 11)
    vectors[8] = vectors[1] + 0.05 * vectors[8]  # one person, in both segments
    vectors[8] /= np.linalg.norm(vectors[8])
    with new_store(tmp_path / "i.facesim") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", vectors[:6])})
        commit_pictures(store, {"/p/b.jpg": picture("b", vectors[6:])})
    with FaceIndex.open(tmp_path / "i.facesim", engine=FAKE, create=True) as index:
        index.people.cluster()
        whole = index.query(asked, top=50).faces[0].matches
        assert len(whole) == 12
        person_of = {int(match.face_id): match.person_id for match in whole}
        assert person_of[2] is not None
        assert person_of[2] == person_of[9]
    flip(tmp_path / "i.facesim" / "segments" / "000002.faiss")
    with FaceIndex.open(tmp_path / "i.facesim", engine=FAKE) as index:
        answer = index.query(asked, top=50)
    assert (answer.n_left_out, answer.n_faces) == (6, 6)
    matches = answer.faces[0].matches
    assert sorted(match.face_id for match in matches) == [1, 2, 3, 4, 5, 6]
    assert all(match.person_degree for match in matches if match.person_id == person_of[2])


def test_a_cohort_changes_only_when_the_index_has_grown() -> None:
    ids = np.arange(1, 10_001)
    drawn = cohort_faces(ids)
    assert len(drawn) == 2000
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(cohort_faces(np.arange(1, 10_101)), drawn)
    assert not np.array_equal(cohort_faces(np.arange(1, 20_001)), drawn)
    np.testing.assert_array_equal(cohort_faces(ids[:1500]), ids[:1500])
    assert drawn.mean() == pytest.approx(ids[: drawn.max()].mean(), rel=0.05)


def test_without_a_normalisation_scores_are_those_of_the_head(store: FolderStore) -> None:
    plain: Calibration = replace(CURVE, normalisation=None)
    with store.view() as view:
        assert scorer_of(view, plain).plain
        assert scorer_of(view, None).plain
        source = scorer_of(view, CURVE).source
    assert isinstance(source, GalleryStatistics)
