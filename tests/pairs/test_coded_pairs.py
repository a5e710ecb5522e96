"""Pairs found by codes of one byte a number, beside the matrix of all exact scores."""

import io
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.calibration.heads import Head
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.calibration.scorer import Scorer
from facesim_index.engine.runtimes import integer_products as products_module
from facesim_index.engine.runtimes.integer_products import integer_products
from facesim_index.export.matches import write_matches
from facesim_index.pairs import close
from facesim_index.pairs.blocks import Faces, listed_scores, single
from facesim_index.pairs.byte_codes import ByteCodes, left_codes
from facesim_index.pairs.close import ClosePairs, close_pairs
from facesim_index.pairs.links import nearest_links
from facesim_index.records import Float32Array, Int64Array
from tests.builders import DIMENSION, unit_vectors
from tests.property_tests import examples

CURVE = Calibration(
    "test",
    "engine",
    "by hand",
    ((-0.2, -4.0), (0.2, -1.0), (0.4, 3.0), (0.6, 4.0)),
    Evidence("a test", 50, 200, 9000, "2024-02-29"),
)


def some_faces(n_faces: int, seed: int, head: Head | None = None) -> Faces:
    """Return faces of people with six faces each, near them and far from each other."""
    who = np.random.default_rng(seed).integers(0, n_faces // 6, n_faces)
    vectors = unit_vectors(n_faces // 6, seed)[who] + 0.9 * unit_vectors(n_faces, seed + 1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    half = vectors.astype(np.float16)
    if head is None:
        return Faces(np.arange(n_faces), half)
    return Faces(np.arange(n_faces), head.transform(half.astype(np.float32)), Scorer(head))


def some_head(kind: str) -> Head | None:
    rng = np.random.default_rng(8)
    if kind == "product":
        weights = rng.uniform(0.1, 1.0, DIMENSION).astype(np.float32)
        return Head("product", weights / weights.max())
    return None


def all_of(found: list[ClosePairs]) -> tuple[Int64Array, Int64Array, list[float]]:
    return (
        np.concatenate([pairs.a for pairs in found]),
        np.concatenate([pairs.b for pairs in found]),
        [score for pairs in found for score in pairs.scores.tolist()],
    )


def forbidden(*_: object) -> None:
    pytest.fail("a block was multiplied in single precision")


@pytest.mark.parametrize(("kind", "least"), [("cosine", 0.35), ("product", 0.2)])
@pytest.mark.parametrize("columns", [64, 4096])
def test_of_very_many_faces_the_same_pairs_are_found_without_single_precision(
    kind: str, least: float, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = some_faces(900, 1, some_head(kind))
    expected = all_of(list(close_pairs(faces, least)))
    links = nearest_links(faces, least, n_new=300)
    assert len(expected[0]) > 1000
    monkeypatch.setattr(close, "_COLUMNS_AT_ONCE", columns)
    monkeypatch.setattr(close, "_ROWS_AT_ONCE", 100)
    monkeypatch.setattr(close, "_CODED_PAIRS", 0, raising=False)
    monkeypatch.setattr(close, "_MOST_LET_THROUGH", 1.0, raising=False)
    monkeypatch.setattr(Head, "pair_scores", forbidden)
    found = all_of(list(close_pairs(faces, least)))
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    coded = nearest_links(faces, least, n_new=300)
    np.testing.assert_array_equal(coded.a, links.a)
    np.testing.assert_array_equal(coded.b, links.b)
    np.testing.assert_array_equal(coded.scores, links.scores)


@examples(60)
@given(st.integers(0, 10_000), st.floats(-0.2, 1.0), st.sampled_from([0.0, 1.0, 20.0]))
def test_no_pair_with_the_score_is_missed(seed: int, least: float, tail: float) -> None:
    products = integer_products()
    assert products is not None
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((60, 32)) + tail * rng.standard_t(1.5, (60, 32))
    vectors[30:] += 2.0 * vectors[:30]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = 0.0
    faces = Faces(np.arange(60), vectors.astype(np.float16))
    a, b = (part.ravel() for part in np.indices((60, 60)))
    scores = listed_scores(faces, a, b)
    for border in (least, float(scores[rng.integers(0, len(scores))])):
        codes = ByteCodes(faces, 60, products)
        row, other = codes.near(left_codes(single(faces.vectors)), 0, border)
        assert set(np.flatnonzero(scores >= border)) <= set((60 * row + other).tolist())


def test_codes_let_few_strangers_through() -> None:
    products = integer_products()
    assert products is not None
    faces = some_faces(1200, 5)
    a, b = ByteCodes(faces, 1200, products).near(left_codes(single(faces.vectors)), 0, 0.35)
    true = int((listed_scores(faces, a, b) >= 0.35).sum())
    assert true <= len(a) <= 1.05 * true


def test_where_codes_let_too_many_through_single_precision_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faces = some_faces(300, 3)
    expected = all_of(list(close_pairs(faces, -1.0)))
    assert len(expected[0]) == 300 * 299 // 2
    monkeypatch.setattr(close, "_CODED_PAIRS", 0)
    for got, wanted in zip(all_of(list(close_pairs(faces, -1.0))), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_without_products_that_are_right_pairs_are_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = integer_products()
    assert right is not None
    monkeypatch.setattr(products_module, "_products", lambda: lambda *both: right(*both) - 1)
    assert integer_products.__wrapped__() is None
    monkeypatch.undo()
    monkeypatch.setattr(products_module, "open_session", lambda *_, **__: 1 // 0)
    assert integer_products.__wrapped__() is None
    faces = some_faces(300, 4)
    expected = all_of(list(close_pairs(faces, 0.4)))
    monkeypatch.setattr(close, "_CODED_PAIRS", 0)
    monkeypatch.setattr(close, "integer_products", lambda: None)
    for got, wanted in zip(all_of(list(close_pairs(faces, 0.4))), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_the_path_of_a_face_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = some_faces(600, 6)
    monkeypatch.setattr(close, "_ROWS_AT_ONCE", 20)
    asked: list[int] = []

    class Stored:
        def embeddings(self, face_ids: Int64Array) -> Float32Array:
            return faces.vectors[face_ids].astype(np.float32)

    def paths_of(face_ids: Int64Array) -> Mapping[int, str]:
        asked.extend(face_ids.tolist())
        return {face_id: f"{face_id}.jpg" for face_id in face_ids.tolist()}

    out = io.BytesIO()
    n = write_matches(out, faces.ids, Stored(), paths_of, CURVE, min_degree=0.5, prior=0.01)
    assert n > 600
    assert len(asked) == len(set(asked))
    for line in out.getvalue().decode().splitlines()[1:]:
        one, other = line.split(",")[:2]
        assert line.endswith(f",{one}.jpg,{other}.jpg,")  # and no caution
