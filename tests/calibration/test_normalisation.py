"""The statistics of a face among others, and scores that are made with them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.heads import Head
from facesim_index.calibration.normalisation import (
    COHORT_SIZE,
    SLACK,
    TOP_QUANTILE,
    Cohort,
    Normalisation,
    cohort_of,
    expectation,
    quantiles,
)
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.calibration.scorer import Scorer, normalised, scorer_without_gallery
from facesim_index.errors import CalibrationError
from facesim_index.records import Float32Array

DIMENSION = 128
REFERENCE = Normalisation(0.0, 0.18, 0.4, np.zeros((DIMENSION, 2), np.float32))


def faces(n: int, seed: int, *, alike: float = 0.0) -> Float32Array:
    """Return faces of n people who share a direction, so that their cosines are `alike`."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, DIMENSION)) / np.sqrt(DIMENSION) * np.sqrt(1.0 - alike)
    vectors[:, 0] += np.sqrt(alike)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded: Float32Array = vectors.astype(np.float16).astype(np.float32)
    return rounded


def rate(embeddings: Float32Array, scorer: Scorer, level: float) -> float:
    made = scorer.vectors(embeddings)
    scores = scorer.pair_scores(made, made)[np.triu_indices(len(embeddings), 1)]
    return float((scores >= level).mean())


def test_people_who_are_all_alike_score_like_others_among_themselves() -> None:
    adults, children = faces(800, 1), faces(800, 2, alike=0.3)
    reference = np.mean([q.mean() for q in quantiles(adults @ adults.T, 0.4)[:2]][1:])
    normalisation = replace(REFERENCE, top=float(reference))
    scorers = {
        name: Scorer(source=cohort_of(group, normalisation))
        for name, group in (("adults", adults), ("children", children))
    }
    level = 0.25
    among_adults = rate(adults, scorers["adults"], level)
    plain = rate(children, Scorer(), level)
    assert plain > 100 * among_adults
    assert rate(children, scorers["children"], level) < 5 * among_adults


def test_the_own_pictures_of_a_face_do_not_count() -> None:
    """A person with many pictures is no reason to believe less of what speaks for that person."""
    strangers = faces(900, 3)
    rng = np.random.default_rng(4)
    person = strangers[:1] + rng.standard_normal((100, DIMENSION)) * 0.6 / np.sqrt(DIMENSION)
    person /= np.linalg.norm(person, axis=1, keepdims=True)
    some = person.astype(np.float32)
    alone = Cohort(REFERENCE, strangers[1:]).statistics(some)
    crowded = Cohort(REFERENCE, np.concatenate([strangers[1:], some])).statistics(some)
    assert (some @ some.T).mean() > 0.6
    np.testing.assert_allclose(crowded, alone, atol=0.01)


def test_quantiles_are_those_of_strangers() -> None:
    rng = np.random.default_rng(5)
    cosines = rng.normal(0.0, 0.06, (3, 2000)).astype(np.float32)
    middle, top, counts = quantiles(cosines.copy(), 0.4)
    np.testing.assert_allclose(middle, np.median(cosines, axis=1), atol=1e-3)
    # The highest of 2,000 are beyond the cut, which one stranger in a thousand is.
    np.testing.assert_allclose(top, np.quantile(cosines, TOP_QUANTILE, axis=1), atol=5e-3)
    assert (counts > 1960).all()


def test_few_faces_say_little_and_none_leave_what_is_expected() -> None:
    some = faces(5, 6, alike=0.5)
    alone = expectation(REFERENCE).statistics(some)
    np.testing.assert_allclose(alone, np.tile([0.0, 0.18], (5, 1)), atol=1e-6)
    few = Cohort(REFERENCE, some).statistics(some)
    assert np.abs(few - alone).max() < 0.05


def test_an_expectation_is_all_there_is_of_a_face_in_no_index() -> None:
    weights = np.zeros((DIMENSION, 2), np.float32)
    weights[0, 1] = 1.0
    told = Normalisation(0.0, 0.18, 0.4, weights)
    child, adult = np.eye(DIMENSION, dtype=np.float32)[:2]
    statistics = expectation(told).statistics(np.stack([child, adult]))
    np.testing.assert_allclose(statistics[:, 1], [0.18 * np.e, 0.18], atol=1e-6)
    # Among adults the top of a child is hardly lower than that, that of an adult is theirs.
    adults = faces(1000, 7)[:, ::-1].copy()
    among = Cohort(told, adults).statistics(np.stack([child, adults[0]]))
    assert 0.18 * (np.e - SLACK) - 1e-6 <= among[0, 1] < 0.18 * np.e
    assert among[1, 1] == pytest.approx(0.145, abs=0.03)


def test_statistics_do_not_depend_on_the_company() -> None:
    cohort = cohort_of(faces(300, 8), REFERENCE)
    some = faces(1500, 9)
    together = cohort.statistics(some)
    for part in (slice(0, 1), slice(700, 703), slice(1400, 1500)):
        np.testing.assert_array_equal(cohort.statistics(some[part]), together[part])


def test_a_score_is_the_same_for_both_orders_and_in_every_block() -> None:
    embeddings = faces(70, 10, alike=0.2)
    scorer = Scorer(source=cohort_of(embeddings, REFERENCE))
    made = scorer.vectors(embeddings).double()
    scores = scorer.pair_scores(made, made)
    np.testing.assert_array_equal(scores, scores.T)
    some = scorer.vectors(embeddings)
    a, b = np.triu_indices(70, 1)
    np.testing.assert_array_equal(scorer.listed_scores(some[a], some[b]), scores[a, b])


def test_sums_of_faces_give_mean_scores() -> None:
    embeddings = faces(40, 11, alike=0.2)
    scorer = Scorer(source=cohort_of(embeddings, REFERENCE))
    vectors = scorer.vectors(embeddings)
    summable = scorer.summable(vectors)
    left, right = summable[:15].sum(axis=0), summable[15:].sum(axis=0)
    scores = scorer.pair_scores(vectors[:15].double(), vectors[15:].double())
    assert left @ scorer.opposite(right) == pytest.approx(scores.sum(), rel=1e-9)
    plain = Scorer()
    assert plain.opposite(left) is left


def test_a_cohort_is_bounded() -> None:
    many = faces(COHORT_SIZE + 50, 12)
    assert len(cohort_of(many, REFERENCE).embeddings) == COHORT_SIZE
    assert len(cohort_of(many[:30], REFERENCE).embeddings) == 30


def test_scores_are_clipped() -> None:
    factors = np.array([[3.0, 0.0]])
    assert normalised(np.array([0.9]), factors, factors)[0] == 1.0
    assert normalised(np.array([-0.9]), factors, factors)[0] == -1.0


KNOTS = ((0.0, -2.0), (0.4, 4.0))
EVIDENCE = Evidence("made up", 9, 99, 999, "2026-01-01")


def test_a_normalisation_survives_its_json() -> None:
    weights = np.random.default_rng(13).standard_normal((3, 2)).astype(np.float32)
    calibration = Calibration(
        "mine",
        "engine",
        "by hand",
        KNOTS,
        EVIDENCE,
        normalisation=Normalisation(0.01, 0.2, 0.4, weights),
    )
    again = from_json(to_json(calibration))
    assert again == calibration
    assert again.score_kind == "normalised cosine"
    assert scorer_without_gallery(again).source is not None
    document = json.loads(to_json(calibration))
    for key, value in (
        ("middle", "x"),
        ("top", True),
        ("top", 5),
        ("cut", None),
        ("shape", [6]),
        ("float32", "?"),
    ):
        broken = {**document, "normalisation": {**document["normalisation"], key: value}}
        with pytest.raises(CalibrationError, match="normalisation"):
            from_json(json.dumps(broken))


def test_what_cannot_be_is_refused() -> None:
    zeros = np.zeros((3, 2), np.float32)
    for numbers in ((0.2, 0.1, 0.4), (0.0, 0.5, 0.4)):
        with pytest.raises(CalibrationError, match="ascend"):
            Normalisation(*numbers, zeros)
    with pytest.raises(CalibrationError, match="two weights"):
        Normalisation(0.0, 0.2, 0.4, zeros[:, :1])
    with pytest.raises(CalibrationError, match="not finite"):
        Normalisation(0.0, 0.2, 0.4, zeros + np.float32(np.nan))
    with pytest.raises(CalibrationError, match="dimensions"):
        Scorer(source=expectation(REFERENCE)).vectors(faces(2, 14)[:, :7])
    head = Head("product", np.array([1.0, 0.5], np.float32))
    with pytest.raises(CalibrationError, match="learned head"):
        Calibration(
            "mine",
            "e",
            "m",
            KNOTS,
            EVIDENCE,
            head=head,
            normalisation=Normalisation(0.0, 0.2, 0.4, zeros),
        )
