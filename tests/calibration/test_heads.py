import base64
import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.heads import COSINE, LEARNED, Head, HeadKind
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.errors import CalibrationError
from facesim_index.records import Float32Array

DIMENSION = 24
PLAIN = Calibration(
    "test", "engine", "by hand", ((0.0, -1.0), (0.5, 3.0)), Evidence("a", 2, 3, 4, "2026-01-01")
)


def a_head(kind: HeadKind, *, dimension: int = DIMENSION, seed: int = 1) -> Head:
    random = np.random.default_rng(seed)
    weights = random.uniform(0.0, 1.0, dimension)
    if kind == "cosine":
        return COSINE
    if kind == "product":
        return Head(kind, weights / weights.max())
    if kind == "weighted-l1":
        return Head(kind, weights / np.linalg.norm(weights))
    projection = random.normal(size=(max(1, dimension // 2), dimension))
    return Head(kind, projection / np.linalg.norm(projection, 2))


def faces(n: int, *, dimension: int = DIMENSION, seed: int = 2) -> Float32Array:
    vectors = np.random.default_rng(seed).normal(size=(n, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


HEADS = [COSINE, *(a_head(kind) for kind in LEARNED)]
every_head = pytest.mark.parametrize("head", HEADS, ids=lambda head: head.kind)


# Scores


def by_the_formula(head: Head, left: Float32Array, right: Float32Array) -> float:
    a, b, w = (part.astype(np.float64) for part in (left, right, head.weights))
    if head.kind == "cosine":
        return float(a @ b)
    if head.kind == "product":
        return float((w * a * b).sum())
    if head.kind == "weighted-l1":
        return float(1.0 - (w * np.abs(a - b)).sum())
    a, b = w @ a, w @ b
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@every_head
def test_a_score_is_what_its_formula_says(head: Head) -> None:
    vectors = faces(12)
    made = head.transform(vectors)
    expected = [[by_the_formula(head, a, b) for b in vectors] for a in vectors]
    assert head.pair_scores(made, made) == pytest.approx(np.array(expected), abs=2e-6)
    assert head.pair_scores(made, made).dtype == (
        np.float64 if head.kind == "weighted-l1" else np.float32
    )


@every_head
def test_a_score_is_the_same_in_every_block_and_both_ways(head: Head) -> None:
    vectors = faces(40, seed=3)
    made = head.transform(vectors)
    double = made.astype(np.float64)
    whole = head.pair_scores(double, double)
    assert np.array_equal(whole, whole.T)
    for row in (0, 7, 39):
        # One face at a time: another block for the transform, another for the scores.
        alone = head.transform(vectors[row : row + 1])
        assert np.array_equal(alone[0], made[row])
        assert np.array_equal(head.listed_scores(alone, made), whole[row])
        assert np.array_equal(head.pair_scores(alone.astype(np.float64), double)[0], whole[row])


@every_head
def test_what_is_kept_of_a_face_is_a_multiple_of_the_grid(head: Head) -> None:
    made = head.transform(faces(5))
    assert made.dtype == np.float32
    assert (made.astype(np.float64) * 2**24 % 1.0 == 0.0).all()
    if head.kind != "weighted-l1":
        a, b = made[0].tolist(), made[1].tolist()
        exact = sum((Fraction(x) * Fraction(y) for x, y in zip(a, b, strict=True)), Fraction(0))
        assert Fraction(float(head.listed_scores(made[:1], made[1:2])[0])) == exact


@given(seed=st.integers(0, 10_000), dimension=st.integers(1, 40))
def test_scores_are_between_minus_one_and_one(seed: int, dimension: int) -> None:
    vectors = faces(6, dimension=dimension, seed=seed)
    vectors = np.concatenate((vectors, -vectors))
    for kind in LEARNED:
        head = a_head(kind, dimension=dimension, seed=seed)
        scores = head.pair_scores(*[head.transform(vectors)] * 2)
        assert np.abs(scores).max() <= 1.001
        if kind != "product":
            # A face is as like itself as can be, a product alone weighs where its strength is.
            assert scores.diagonal() == pytest.approx(1.0, abs=1e-4)


def test_equal_weights_are_the_cosine() -> None:
    vectors = faces(9)
    head = Head("product", np.ones(DIMENSION, dtype=np.float32))
    assert np.array_equal(head.transform(vectors), vectors)
    turned = Head("contrastive", np.linalg.qr(np.random.default_rng(0).normal(size=(24, 24)))[0])
    assert turned.pair_scores(*[turned.transform(vectors)] * 2) == pytest.approx(
        COSINE.pair_scores(vectors, vectors), abs=1e-3
    )


def test_no_face_is_no_trouble() -> None:
    for head in HEADS:
        assert len(head.transform(np.empty((0, DIMENSION), dtype=np.float32))) == 0
        assert np.isfinite(head.transform(np.zeros((2, DIMENSION), dtype=np.float32))).all()


# What is no head


@pytest.mark.parametrize("kind", LEARNED)
def test_embeddings_of_another_dimension_are_refused(kind: HeadKind) -> None:
    with pytest.raises(CalibrationError, match=f"{kind} head was learned .* 24 dim.* these have 8"):
        a_head(kind).transform(faces(2, dimension=8))


@pytest.mark.parametrize(
    ("kind", "weights", "message"),
    [
        ("siamese", [1.0], "no head 'siamese'"),
        ("cosine", [1.0], "no weights"),
        ("product", [], "one weight"),
        ("product", [[1.0]], "one weight"),
        ("product", [1.0, -0.1], "negative"),
        ("product", [0.5, 0.9], "largest is 1"),
        ("weighted-l1", [1.0, 1.0], "norm is 1"),
        ("weighted-l1", [math.nan, 1.0], "not finite"),
        ("contrastive", [1.0], "matrix"),
        ("contrastive", [[2.0, 0.0]], "spectral norm 1"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    kind: HeadKind, weights: list[float], message: str
) -> None:
    with pytest.raises(CalibrationError, match=message):
        Head(kind, np.array(weights, dtype=np.float32))


def test_heads_are_equal_by_what_they_do() -> None:
    assert a_head("product") == a_head("product")
    assert len({a_head("product"), a_head("product"), a_head("product", seed=9)}) == 2
    assert Head("cosine") == COSINE != a_head("product")
    with pytest.raises(ValueError, match="read-only"):
        a_head("product").weights[0] = 0.0


# JSON


@every_head
def test_a_calibration_with_its_head_survives_its_json(head: Head) -> None:
    calibration = replace(PLAIN, head=head)
    text = to_json(calibration)
    assert from_json(text) == calibration
    assert to_json(from_json(text)) == text
    assert json.loads(text)["version"] == 4


def test_a_file_of_the_version_before_heads_is_of_cosines() -> None:
    content = json.loads(to_json(PLAIN))
    for version, key in ((3, "normalisation"), (2, "head")):
        content["version"] = version
        with pytest.raises(CalibrationError, match="exactly the keys"):
            from_json(json.dumps(content))
        del content[key]
        assert from_json(json.dumps(content)) == PLAIN
    content["version"] = 3
    with pytest.raises(CalibrationError, match="exactly the keys"):
        from_json(json.dumps(content))


def encoded(*values: float) -> str:
    return base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()


GOOD = {"kind": "product", "shape": [2], "float32": encoded(0.5, 1.0)}


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (None, "key kind"),
        ([], "key kind"),
        ({"kind": "siamese"}, "one of cosine, weighted-l1"),
        ({"kind": ["product"]}, "one of cosine, weighted-l1"),
        ({"kind": "cosine", "shape": [0]}, "no other key"),
        ({"kind": "product"}, "exactly the keys"),
        ({**GOOD, "more": 1}, "exactly the keys"),
        ({**GOOD, "shape": 2}, "head.shape"),
        ({**GOOD, "shape": [2.0]}, "head.shape"),
        ({**GOOD, "shape": [True]}, "head.shape"),
        ({**GOOD, "shape": [1, 1, 2]}, "head.shape"),
        ({**GOOD, "shape": [10**30]}, "as long as"),
        ({**GOOD, "shape": [3]}, "as long as"),
        ({**GOOD, "float32": 7}, "head.float32 must be a text"),
        ({**GOOD, "float32": "?"}, "not base64"),
        ({**GOOD, "float32": encoded(0.5, 0.7)}, "largest is 1"),
        ({**GOOD, "float32": encoded(math.nan, 1.0)}, "not finite"),
    ],
)
def test_what_is_no_head_is_refused_in_json(head: object, message: str) -> None:
    content = json.loads(to_json(PLAIN))
    content["head"] = GOOD
    assert from_json(json.dumps(content)).head == Head("product", np.array([0.5, 1.0]))
    content["head"] = head
    with pytest.raises(CalibrationError, match=message):
        from_json(json.dumps(content))
