"""From evidence and prior to degree and words, and back to the cosine."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.calibration.degree import (
    calibrated_degree,
    cosine_at_degree,
    degree_from_log10_lr,
    support_phrase,
)
from facesim_index.calibration.record import Calibration
from facesim_index.errors import CalibrationError
from tests.calibration.made_up_curves import CURVE, curves, priors


@pytest.mark.parametrize(
    ("likelihood_ratio", "phrase"),
    [
        (1.0, "no support either way"),
        (1.99, "no support either way"),
        (2.0, "weak support"),
        (9.99, "weak support"),
        (10, "moderate support"),
        (99.9, "moderate support"),
        (100, "moderately strong support"),
        (1_000, "strong support"),
        (9_999, "strong support"),
        (10_000, "very strong support"),
        (999_999, "very strong support"),
        (1_000_000, "extremely strong support"),
        (math.inf, "extremely strong support"),
    ],
)
def test_support_in_words(likelihood_ratio: float, phrase: str) -> None:
    evidence = math.log10(likelihood_ratio)
    assert support_phrase(evidence) == phrase
    against = phrase if phrase.startswith("no ") else f"{phrase} against"
    assert support_phrase(-evidence) == against


def test_words_for_what_is_no_number_are_refused() -> None:
    with pytest.raises(CalibrationError, match="not a number"):
        support_phrase(math.nan)


# Bayes' rule


@pytest.mark.parametrize(
    ("likelihood_ratio", "prior", "expected"),
    [(9, 0.5, 0.9), (99, 0.01, 0.5), (2, 0.2, 1 / 3), (1, 0.03, 0.03), (0.25, 0.8, 0.5)],
)
def test_bayes_by_hand(likelihood_ratio: float, prior: float, expected: float) -> None:
    degree = degree_from_log10_lr(np.log10([likelihood_ratio]), prior=prior)
    assert degree[0] == pytest.approx(expected, rel=1e-12)


@given(evidence=st.floats(-12.0, 12.0), prior=priors)
def test_bayes_in_decimal_arithmetic(evidence: float, prior: float) -> None:
    genuine = Decimal(prior) * Decimal(10) ** Decimal(evidence)
    expected = float(genuine / (genuine + 1 - Decimal(prior)))
    degree = degree_from_log10_lr(np.array([evidence]), prior=prior)[0]
    assert degree == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.floats(-7.0, 7.0), min_size=1))
def test_at_even_prior_the_odds_are_the_likelihood_ratio(evidence: list[float]) -> None:
    degree = degree_from_log10_lr(np.array(evidence), prior=0.5)
    np.testing.assert_allclose(np.log10(degree / (1.0 - degree)), evidence, atol=1e-8)


@given(st.lists(st.floats(-300.0, 300.0), min_size=1), priors)
def test_evidence_against_is_evidence_for_the_opposite(evidence: list[float], prior: float) -> None:
    degree = degree_from_log10_lr(np.array(evidence), prior=prior)
    opposite = degree_from_log10_lr(-np.array(evidence), prior=1.0 - prior)
    np.testing.assert_allclose(degree, 1.0 - opposite, atol=1e-9)


def test_extreme_evidence_stays_inside_and_in_order() -> None:
    evidence = np.array([-np.inf, -1e6, -300.0, -20.0, 0.0, 10.0, 20.0, 300.0, 1e6, np.inf])
    for prior in (1e-300, 1e-6, 0.5, 1 - 1e-12):
        degree = degree_from_log10_lr(evidence, prior=prior)
        assert (degree > 0.0).all()
        assert (degree < 1.0).all()
        assert (np.diff(degree) >= 0.0).all()
    assert degree_from_log10_lr(np.array([-300.0]))[0] == pytest.approx(1e-300, rel=1e-9)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 1.1, math.nan, math.inf])
def test_what_is_no_prior_is_refused(prior: float) -> None:
    with pytest.raises(CalibrationError, match="prior"):
        degree_from_log10_lr(np.array([0.0]), prior=prior)


def test_evidence_that_is_no_number_is_refused() -> None:
    with pytest.raises(CalibrationError, match="not a number"):
        degree_from_log10_lr(np.array([0.0, math.nan, 1.0]))


@given(calibration=curves(), prior=priors, cosines=st.lists(st.floats(-1.0, 1.0), min_size=2))
def test_a_higher_cosine_never_has_a_lower_degree(
    calibration: Calibration, prior: float, cosines: list[float]
) -> None:
    degree = calibrated_degree(np.sort(cosines), calibration, prior=prior)
    assert ((degree > 0.0) & (degree < 1.0)).all()
    # Interpolation may be wrong in the last place where two stretches meet.
    assert (degree[1:] >= degree[:-1] * (1.0 - 1e-9)).all()


# The inverse


def test_cosine_at_degree_by_hand() -> None:
    assert cosine_at_degree(0.5, CURVE) == pytest.approx(0.25, abs=1e-11)
    # LR 10 and one pair in eleven before: even odds where log10 LR is 1, at 0.3.
    assert cosine_at_degree(0.5, CURVE, prior=1 / 11) == pytest.approx(0.3, abs=1e-11)
    assert cosine_at_degree(0.0099, CURVE) == -math.inf  # LR 1/100 is already 1/101
    assert cosine_at_degree(0.00991, CURVE) > 0.0
    assert cosine_at_degree(0.0, CURVE) == -math.inf
    assert cosine_at_degree(0.9995, CURVE) == math.inf
    assert cosine_at_degree(1.0, CURVE) == math.inf


@given(
    calibration=curves(),
    degree=st.floats(0.0, 1.0),
    prior=priors,
    cosines=st.lists(st.floats(-1.0, 1.0), min_size=1),
)
def test_cosine_at_degree_selects_what_the_degree_selects(
    calibration: Calibration, degree: float, prior: float, cosines: list[float]
) -> None:
    lowest = cosine_at_degree(degree, calibration, prior=prior)
    for cosine in (*cosines, *(cosine for cosine, _ in calibration.knots)):
        found = calibrated_degree(np.array([cosine]), calibration, prior=prior)[0]
        if cosine >= lowest:
            assert found >= degree * (1.0 - 1e-9)
        elif cosine < lowest - 1e-12:
            assert found <= degree * (1.0 + 1e-9)
    if math.isfinite(lowest):
        assert calibrated_degree(np.array([lowest]), calibration, prior=prior)[0] >= degree


@pytest.mark.parametrize("degree", [-0.1, 1.1, math.nan])
def test_what_is_no_degree_is_refused(degree: float) -> None:
    with pytest.raises(CalibrationError, match="degree"):
        cosine_at_degree(degree, CURVE)
