"""A calibration's head gives one pair of faces one degree, wherever the pair is met."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.degree import calibrated_degree
from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.heads import COSINE, LEARNED, Head
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.calibration.scorer import Scorer
from facesim_index.degrees.calibration_check import check_index
from facesim_index.degrees.gallery import BINS, estimate_gallery_prior, gallery_prior, sample_scores
from facesim_index.degrees.impostors import across_pairs, same_image_pairs
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.engine.local_reader import OnePictureReader
from facesim_index.errors import CalibrationError
from facesim_index.evaluation.identification import evaluate_people, search_people
from facesim_index.evaluation.verification import evaluate_pairs, score_pairs
from facesim_index.export import matrix
from facesim_index.export.matches import write_matches
from facesim_index.export.matrix import matrix_frame, write_long, write_wide
from facesim_index.export.matrix_options import MatrixOptions
from facesim_index.labels.pair_lists import LabelledPair, PairList
from facesim_index.labels.sources import face_pairs_data
from facesim_index.records import FaceId, Float32Array, Float64Array, Int64Array
from facesim_index.search import one_picture, queries
from facesim_index.search.comparison import compare_pictures
from facesim_index.search.queries import QueryOptions
from facesim_index.store.folder.store import FolderStore
from tests import asking
from tests.asking import calibration_of, query_face, query_picture
from tests.builders import FAKE, commit_pictures, ingest, new_store, picture, unit_vectors
from tests.calibration.test_heads import a_head
from tests.example_pictures import fake_photo
from tests.labels.test_sources import VECTORS, Embedded, folder_of

N_PEOPLE, N_PICTURES = 12, 5
HEADS = [COSINE, *(a_head(kind, dimension=FAKE_IDENTITY.dimension) for kind in LEARNED)]
every_head = pytest.mark.parametrize("head", HEADS, ids=lambda head: head.kind)


class Stored(Embedded):
    """Embeddings as an index keeps them."""

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        return VECTORS[face_ids].astype(np.float16).astype(np.float32)


def curve_of(head: Head) -> Calibration:
    """A curve without level stretches, so that other scores are other degrees."""
    return Calibration(
        name="own",
        engine_key=FAKE_IDENTITY.key,
        method="by hand",
        knots=((-1.0, -4.0), (1.0, 5.0)),
        evidence=Evidence("made up", 2, 3, 4, "2026-01-01"),
        false_matches=((-1.0, 0.0), (1.0, -6.0)),
        head=head,
    )


def embeddings() -> Float32Array:
    own = np.repeat(unit_vectors(N_PEOPLE, 1), N_PICTURES, axis=0)
    vectors = own + 0.8 * unit_vectors(len(own), 2)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 30 pictures with two faces each, of neighbouring people now and then."""
    folder = tmp_path_factory.mktemp("heads") / "i.facesim"
    vectors = embeddings()
    with new_store(folder) as store:
        commit_pictures(
            store,
            {f"/p/{n}.jpg": picture(str(n), vectors[[n, n + 30]]) for n in range(30)},
        )
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[FolderStore]:
    with FolderStore(folder) as opened:
        yield opened


def face_ids(store: FolderStore) -> list[int]:
    with store.view() as view:
        return sorted(np.concatenate([part.face_ids for part in view.segments]).tolist())


def by_pairs(store: FolderStore, head: Head) -> tuple[list[int], Float64Array]:
    """The score of every pair, one pair at a time."""
    ids = face_ids(store)
    with store.view() as view:
        rows = [head.transform(view.embeddings(np.array([number]))) for number in ids]
    scores = [[float(head.listed_scores(a, b)[0]) for b in rows] for a in rows]
    return ids, np.clip(scores, -1.0, 1.0)


def in_force(monkeypatch: pytest.MonkeyPatch, calibration: Calibration) -> None:
    monkeypatch.setattr("facesim_index.degrees.in_force.shipped_calibration", lambda _: calibration)


@every_head
def test_search_and_matrix_say_the_same_of_a_pair(
    store: FolderStore, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = curve_of(head)
    in_force(monkeypatch, calibration)
    ids, scores = by_pairs(store, head)
    _, cosines = by_pairs(store, COSINE)
    expected = calibrated_degree(scores, calibration, prior=0.1)
    with store.view() as view:
        frame = matrix_frame(np.array(ids), view, MatrixOptions(prior=0.1), calibration)
    apart = ~np.eye(len(ids), dtype=bool)
    assert np.array_equal(frame.to_numpy()[apart], expected[apart])
    assert np.array_equal(frame.to_numpy(), frame.to_numpy().T)
    for row in (0, 17, 59):
        answer = query_face(store, FaceId(ids[row]), QueryOptions(top=9, prior=0.1))
        matches = answer.faces[0].matches
        order = [n for n in np.lexsort((ids, -scores[row])) if n != row][:9]
        assert [match.face_id for match in matches] == [ids[n] for n in order]
        assert [match.degree for match in matches] == expected[row, order].tolist()
        assert [match.cosine for match in matches] == cosines[row, order].tolist()


@pytest.fixture(params=[-2.0, 2.0], ids=["one by one", "all at once"])
def few_pairs_from(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which chosen pairs are found."""
    monkeypatch.setattr(matrix, "_FEW_PAIRS_FROM", request.param)


@pytest.mark.usefixtures("few_pairs_from")
@every_head
def test_files_of_pairs_say_the_same_in_both_layouts(store: FolderStore, head: Head) -> None:
    calibration = curve_of(head)
    ids, scores = by_pairs(store, head)
    degree = calibrated_degree(scores, calibration, prior=0.2)
    least = float(np.quantile(degree, 0.9))
    options = MatrixOptions(prior=0.2, min_degree=least, decimals=6)
    wide, long = io.BytesIO(), io.BytesIO()
    with store.view() as view:
        write_wide(wide, np.array(ids), view, replace(options, min_degree=None), calibration)
        write_long(long, np.array(ids), view, options, calibration)
    rows = list(csv.reader(io.StringIO(wide.getvalue().decode())))
    cells = {
        (int(row[0]), int(b)): text
        for row in rows[1:]
        for b, text in zip(rows[0][1:], row[1:], strict=True)
    }
    listed = {
        (int(row["face_a"]), int(row["face_b"])): row["value"]
        for row in csv.DictReader(io.StringIO(long.getvalue().decode()))
    }
    wanted = {
        (a, b)
        for n, a in enumerate(ids)
        for m, b in enumerate(ids)
        if n < m and degree[n, m] >= least
    }
    assert set(listed) == wanted
    assert 0 < len(wanted) < len(ids) ** 2 / 4
    for (a, b), text in listed.items():
        assert text == cells[a, b] == cells[b, a] == f"{degree[ids.index(a), ids.index(b)]:.6f}"


@pytest.mark.usefixtures("few_pairs_from")
@every_head
def test_an_exported_cosine_is_the_plain_one(store: FolderStore, head: Head) -> None:
    calibration = curve_of(head)
    ids, scores = by_pairs(store, head)
    _, cosines = by_pairs(store, COSINE)
    degree = calibrated_degree(scores, calibration, prior=0.2)
    least = float(np.quantile(degree, 0.9))
    out, plain = io.BytesIO(), io.BytesIO()
    with store.view() as view:
        options = MatrixOptions(value="cosine", prior=0.2, min_degree=least)
        write_long(out, np.array(ids), view, options, calibration)
        write_long(plain, np.array(ids), view, MatrixOptions(value="cosine"), calibration)
    listed = [line.split(",") for line in out.getvalue().decode().splitlines()[1:]]
    for a, b, text in listed:
        assert text == f"{cosines[ids.index(int(a)), ids.index(int(b))]:.5f}"
        assert degree[ids.index(int(a)), ids.index(int(b))] >= least
    above = np.triu(degree >= least, 1).sum()
    assert len(listed) == above
    assert {tuple(line) for line in listed} < {
        tuple(line.split(",")) for line in plain.getvalue().decode().splitlines()
    }


@every_head
def test_matches_are_chosen_by_score_and_say_the_plain_cosine(
    store: FolderStore, head: Head
) -> None:
    calibration = curve_of(head)
    ids, scores = by_pairs(store, head)
    _, cosines = by_pairs(store, COSINE)
    degree = calibrated_degree(scores, calibration, prior=0.2)
    least = float(np.quantile(degree, 0.9))
    out = io.BytesIO()
    with store.view() as view:
        write_matches(
            out,
            np.array(ids),
            view,
            lambda some: {int(one): f"/{one}" for one in some},
            calibration,
            min_degree=least,
            prior=0.2,
        )
    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    place = [(ids.index(int(row["face_a"])), ids.index(int(row["face_b"]))) for row in rows]
    assert set(place) == set(map(tuple, np.argwhere(np.triu(degree >= least, 1)).tolist()))
    for row, pair in zip(rows, place, strict=True):
        assert row["degree"] == f"{degree[pair]:.9g}"
        assert row["cosine"] == f"{cosines[pair]:.6f}"


@every_head
def test_pictures_are_queried_and_compared_alike(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = curve_of(head)
    in_force(monkeypatch, calibration)
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    a.write_bytes(fake_photo([(200, 20, 20)]))
    b.write_bytes(fake_photo([(203, 22, 25)]))
    engine = FAKE.load()
    with new_store(tmp_path / "i.facesim") as store:
        ingest(store, b)
        [match] = query_picture(store, engine, a, QueryOptions(prior=0.3)).faces[0].matches
    reader = OnePictureReader(FAKE)
    one, other = (
        compare_pictures(reader, *both, calibration, prior=0.3) for both in ((a, b), (b, a))
    )
    assert one.degree == other.degree
    assert one.cosine == other.cosine
    # The index keeps embeddings in half precision.
    assert match.log10_lr == pytest.approx(one.log10_lr, abs=5e-3)
    assert match.cosine == pytest.approx(one.cosine, abs=1e-3)
    [left], [right] = (
        head.transform(
            np.stack([face.embedding for face in one_picture.read_faces(reader, path).faces])
        )
        for path in (a, b)
    )
    score = np.clip(head.listed_scores(left[None], right[None]), -1.0, 1.0)
    assert one.degree == calibrated_degree(score, calibration, prior=0.3)[0]


def test_a_learned_head_orders_more_faces_than_are_wanted(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = a_head("contrastive", dimension=FAKE_IDENTITY.dimension)
    in_force(monkeypatch, curve_of(head))
    ids, scores = by_pairs(store, head)
    _, cosines = by_pairs(store, COSINE)
    monkeypatch.setattr(queries, "MIN_CANDIDATES", 1)
    for row in range(0, 60, 7):
        near = [n for n in np.lexsort((ids, -cosines[row])) if n != row][:20]
        best = sorted(near, key=lambda n: (-scores[row, n], ids[n]))[:2]
        answer = query_face(store, FaceId(ids[row]), QueryOptions(top=2, prior=0.5))
        assert [match.face_id for match in answer.faces[0].matches] == [ids[n] for n in best]


@every_head
def test_the_prior_of_a_gallery_counts_scores(store: FolderStore, head: Head) -> None:
    ids, scores = by_pairs(store, head)
    of_image = np.array(ids)
    with store.view() as view:
        sample = sample_scores(view, np.random.default_rng(0), scorer=Scorer(head))
        prior = estimate_gallery_prior(view, curve_of(head))
        plain = estimate_gallery_prior(view, curve_of(COSINE))
        image = {face: n for n, face in enumerate(of_image)}
        mates = {frozenset((pair.face_a, pair.face_b)) for pair in same_image_pairs(view).highest}
    counts = sample.counts.sum(axis=0)
    assert counts.sum() == 60 * 59 - 60  # Two faces of one picture are no pair.
    assert all(len(pair) == 2 and pair <= set(image) for pair in mates)
    centre = (np.arange(BINS) + 0.5) * 2.0 / BINS - 1.0
    strangers = scores[~np.eye(60, dtype=bool)]
    # The few pairs that are left out hardly move the mean.
    assert counts @ centre / counts.sum() == pytest.approx(strangers.mean(), abs=0.02)
    assert (prior.share == plain.share) == (not head.learned)


def test_a_stored_prior_is_not_that_of_another_head(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (curve_of(a_head("product", dimension=512, seed=seed)) for seed in (1, 2))
    with store.view() as view:
        assert gallery_prior(view, one) == estimate_gallery_prior(view, one)
        assert gallery_prior(view, other) == estimate_gallery_prior(view, other)


@every_head
def test_pairs_of_strangers_have_the_scores_of_the_head(store: FolderStore, head: Head) -> None:
    ids, scores = by_pairs(store, head)
    _, cosines = by_pairs(store, COSINE)
    place = {face: n for n, face in enumerate(ids)}
    with store.view() as view:
        found = same_image_pairs(view, Scorer(head))
        across = across_pairs(view, Scorer(head))
        report = check_index(view, curve_of(head))
    for pair in found.highest:
        assert pair.cosine == cosines[place[pair.face_a], place[pair.face_b]]
    assert set(np.round(found.score, 9)) <= set(np.round(scores, 9).ravel())
    assert across.score.min() == pytest.approx(scores.min(), abs=1e-5)
    apart = np.abs(across.score[:, None] - scores.ravel()).min(axis=1)
    assert apart.max() < 1e-5
    assert across.score.size + across.n_left_out == 60 * 59 // 2 - 30
    assert across.n_left_out > 0  # a person's pictures stand out, and are no strangers
    assert report.head == head.kind
    assert ("reach cosine" in report.sentence) <= (head is COSINE)


@every_head
def test_labelled_faces_of_the_index_have_the_scores_of_the_head(
    store: FolderStore, head: Head, tmp_path: Path
) -> None:
    ids, scores = by_pairs(store, head)
    lines = [(0, 1, 1), (0, 2, 1), (0, 5, 0), (7, 2, 0)]
    file = tmp_path / "faces.csv"
    file.write_text(
        "face_a,face_b,same\n" + "".join(f"{ids[a]},{ids[b]},{same}\n" for a, b, same in lines)
    )
    with store.view() as view:
        data = face_pairs_data(view, file)
    found = data.scores_by(head)
    assert sorted(found.genuine) == sorted(scores[a, b] for a, b, same in lines if same)
    assert sorted(found.impostor) == sorted(scores[a, b] for a, b, same in lines if not same)
    with pytest.raises(CalibrationError, match="has cosines only"):
        replace(data, faces=None).scores_by(HEADS[1])


@every_head
def test_evaluations_judge_the_scores_of_the_head(tmp_path: Path, head: Head) -> None:
    paths = folder_of(tmp_path / "party", {"ann": 3, "bob": 2, "cyd": 2})
    index = Stored({path: n for n, path in enumerate(paths)})
    made = head.transform(index.embeddings(np.arange(7)))
    expected = head.pair_scores(made.astype(np.float64), made.astype(np.float64))
    rows = [(0, 1), (0, 2), (3, 4), (0, 3), (1, 5), (4, 6)]
    pairs = PairList(
        tuple(LabelledPair(paths[a], paths[b], a // 3 == b // 3, None) for a, b in rows), None
    )
    labelled = score_pairs(index, pairs, "list", head)
    assert labelled.pairs.cosine.tolist() == [expected[a, b] for a, b in rows]
    result = evaluate_pairs(labelled, curve_of(head), FAKE_IDENTITY, n_bootstrap=0)
    assert result.head == head.kind
    searches = search_people(index, tmp_path / "party", head)
    figures = evaluate_people(searches, "party", FAKE_IDENTITY, n_bootstrap=0)
    assert figures.head == head.kind
    assert np.sort(searches.mate) == pytest.approx(
        np.sort([expected[0, 1], expected[0, 2], expected[3, 4], expected[5, 6]]), abs=1e-6
    )


@every_head
def test_calibrations_are_kept_handed_on_and_chosen_with_their_head(
    tmp_path: Path, head: Head
) -> None:
    with new_store(tmp_path / "i"):
        pass
    calibration = curve_of(head)
    asking.keep(tmp_path / "i", calibration, use=True)
    with FolderStore(tmp_path / "i") as store:
        assert calibration_of(store) == calibration
        assert from_json(to_json(asking.named(store, "own"))) == calibration
        [entry] = asking.listed(store)
    assert (entry.calibration.head, entry.active) == (head, True)
    assert asking.drop(tmp_path / "i", "own") is None


def test_a_head_for_another_dimension_is_refused_by_the_index(tmp_path: Path) -> None:
    with new_store(tmp_path / "i"):
        pass
    wrong = curve_of(a_head("product", dimension=8))
    with pytest.raises(CalibrationError, match="8 dimensions, and these have 512"):
        asking.keep(tmp_path / "i", wrong, use=True)
    with FolderStore(tmp_path / "i") as store:
        assert asking.listed(store) == ()
