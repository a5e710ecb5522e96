import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lir.plotting.expected_calibration_error import calculate_ece
from numpy.testing import assert_allclose
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression

from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.evaluation.identification import thresholds_at_fpir
from facesim_index.metrics import scoring
from facesim_index.metrics.curves import (
    best_curve,
    best_evidence,
    cosine_edges,
    empirical_cross_entropy,
    equal_error_point,
    error_band,
    histogram,
    reliability,
    tippett,
)
from facesim_index.metrics.identification import identification_errors, match_characteristic
from facesim_index.metrics.verification import ScoredPairs, error_rates
from facesim_index.records import BoolArray, Float64Array

NAN = math.nan


def drawn(n_genuine: int, n_impostor: int, seed: int = 0) -> tuple[Float64Array, BoolArray]:
    """Log10 likelihood ratios that are what they claim, of two normal classes."""
    rng = np.random.default_rng(seed)
    same = np.arange(n_genuine + n_impostor) < n_genuine
    score = rng.normal(np.where(same, 1.0, -1.0), math.sqrt(2.0))
    return score / math.log(10.0), same


def scored(genuine: list[float], impostor: list[float]) -> ScoredPairs:
    cosine = np.array([*genuine, *impostor])
    same = np.arange(cosine.size) < len(genuine)
    people = np.stack([np.arange(cosine.size), np.where(same, np.arange(cosine.size), 99)], axis=1)
    return ScoredPairs(cosine, same, people)


def test_bins_of_equal_mass_are_those_of_scikit_learn() -> None:
    evidence, same = drawn(150, 150)
    degree = degree_from_log10_lr(evidence)
    found = reliability(degree, same, bins=15)
    observed, claimed = calibration_curve(same, degree, n_bins=15, strategy="quantile")
    assert (found.genuine + found.impostor).tolist() == [20] * 15
    assert_allclose(found.claimed, claimed)
    assert_allclose(found.observed, observed)


def test_intervals_of_bins_are_exact_binomial_ones() -> None:
    evidence, same = drawn(120, 120, seed=1)
    found = reliability(degree_from_log10_lr(evidence), same, bins=8)
    for number in range(8):
        hits, others = int(found.genuine[number]), int(found.impostor[number])
        exact = binomtest(hits, hits + others).proportion_ci(method="exact")
        assert_allclose((found.low[number], found.high[number]), tuple(exact), atol=1e-12)


def test_both_classes_weigh_the_same_in_a_bin() -> None:
    # One genuine pair of two, three impostor pairs of six: half of each class.
    degree = np.array([0.5, 0.9, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1])
    same = np.array([True, True] + [False] * 6)
    found = reliability(degree, same, bins=4)
    assert_allclose(found.claimed, [0.1, 0.5, 0.9])
    assert_allclose(found.observed, [0.0, 0.5, 1.0])
    assert (found.genuine.tolist(), found.impostor.tolist()) == ([0, 1, 1], [3, 3, 0])
    # Of four pairs one is genuine: the exact interval, with odds three times as high.
    exact = binomtest(1, 4).proportion_ci(method="exact")
    odds = [3.0 * end / (1.0 - end) for end in (exact.low, exact.high)]
    assert_allclose((found.low[1], found.high[1]), [each / (1.0 + each) for each in odds])
    assert (found.low[0], found.high[2]) == (0.0, 1.0)


def test_a_full_bin_is_not_followed_by_a_nearly_empty_one() -> None:
    # Nine of ten impostor pairs are at the lower bound; one is just above, beside the genuine.
    degree = np.array([0.01] * 9 + [0.02] + [0.98] * 10)
    same = np.arange(20) >= 10
    found = reliability(degree, same, bins=5)
    assert found.impostor.tolist() == [9, 1]
    assert found.genuine.tolist() == [0, 10]


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=30),
    st.lists(st.integers(0, 4), min_size=1, max_size=30),
)
def test_every_pair_is_in_one_bin_and_equal_degrees_are_together(
    genuine: list[int], impostor: list[int]
) -> None:
    degree = np.array([*genuine, *impostor]) / 4.0
    same = np.arange(degree.size) < len(genuine)
    found = reliability(degree, same)
    assert (found.genuine.sum(), found.impostor.sum()) == (len(genuine), len(impostor))
    assert found.claimed.size <= np.unique(degree).size
    assert (np.diff(found.claimed) > 0).all()
    assert (found.low <= found.observed + 1e-12).all()
    assert (found.observed <= found.high + 1e-12).all()


def test_the_best_curve_is_isotonic_regression() -> None:
    evidence, same = drawn(60, 90, seed=2)
    found = best_curve(evidence, same)
    weight = np.where(same, 1.0 / 60, 1.0 / 90)
    expected = IsotonicRegression().fit(evidence, same, weight).predict(evidence)
    of_pair = found.log10_lr[np.searchsorted(found.end, evidence)]
    assert_allclose(1.0 / (1.0 + 10.0**-of_pair), expected, atol=1e-9)
    assert (found.start <= found.end).all()
    assert (found.end[:-1] < found.start[1:]).all()


def test_the_best_evidence_costs_the_least_cllr() -> None:
    pairs = scored([0.9, 0.4, 0.6, NAN], [0.1, 0.5, NAN, 0.3, 0.2])
    evidence = best_evidence(pairs)
    assert evidence[3] == evidence[6] == 0.0
    found = scoring.cllr(evidence[pairs.same], evidence[~pairs.same])
    assert found == pytest.approx(scoring.min_cllr(*pairs.by_class(pairs.cosine)))
    one_kind = scored([0.9, NAN], [NAN])
    evidence = best_evidence(one_kind)
    assert evidence.tolist() == [math.inf, 0.0, 0.0]
    found = scoring.cllr(evidence[one_kind.same], evidence[~one_kind.same])
    assert found == pytest.approx(scoring.min_cllr(*one_kind.by_class(one_kind.cosine)))


def test_tippett_curves_by_hand() -> None:
    evidence = np.array([-1.0, 2.0, 2.0, 3.0, -2.0, -1.0, 0.0, 2.0])
    same = np.arange(8) < 4
    found = tippett(evidence, same)
    assert found.log10_lr.tolist() == [-2.0, -1.0, 0.0, 2.0, 3.0]
    assert found.genuine.tolist() == [1.0, 1.0, 0.75, 0.75, 0.25]
    assert found.impostor.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert (found.misleading_genuine, found.misleading_impostor) == (0.25, 0.25)


def test_cross_entropy_is_that_of_lir_and_cllr_at_even_odds() -> None:
    evidence, same = drawn(70, 110, seed=3)
    log10_odds = np.linspace(-3.0, 3.0, 13)
    found = empirical_cross_entropy(evidence, same, log10_odds)
    prior = 10.0**log10_odds / (1.0 + 10.0**log10_odds)
    assert_allclose(found, calculate_ece(10.0**evidence, same.astype(int), prior))
    assert found[6] == pytest.approx(scoring.cllr(evidence[same], evidence[~same]))
    nothing = empirical_cross_entropy(np.zeros(180), same, log10_odds)
    entropy = -prior * np.log2(prior) - (1 - prior) * np.log2(1 - prior)
    assert_allclose(nothing, entropy)


def test_the_equal_error_point_is_on_the_curve() -> None:
    found = equal_error_point(error_rates(scored([0.9, 0.8, 0.7, 0.3], [0.1, 0.2, 0.25, 0.75])))
    assert (found.threshold, found.false_match, found.false_non_match) == (0.7, 0.25, 0.25)


def test_the_band_is_of_people_drawn_anew() -> None:
    evidence, same = drawn(80, 100, seed=4)
    people = np.random.default_rng(0).integers(0, 40, (180, 2))
    people[:, 1] = np.where(same, people[:, 0], (people[:, 0] + 1) % 40)
    pairs = ScoredPairs(evidence / 4.0, same, people)
    band = error_band(pairs, n_rates=3, n_bootstrap=50, seed=7)
    assert_allclose(band.false_match, [0.01, 0.1, 1.0])
    rng = np.random.default_rng(7)
    missed = []
    for _ in range(50):
        drawn_people = rng.integers(0, 40, 40)
        times = np.bincount(drawn_people, minlength=40)
        count = np.where(same, times[people[:, 0]], times[people[:, 0]] * times[people[:, 1]])
        genuine, impostor = (np.repeat(pairs.cosine[part], count[part]) for part in (same, ~same))
        missed.append(1.0 - scoring.true_match_rate(genuine, impostor, fmr=0.1))
    assert_allclose((band.low[1], band.high[1]), np.percentile(missed, (2.5, 97.5)))
    assert (band.low <= band.high).all()


def test_there_is_no_band_of_too_few_people() -> None:
    pairs = ScoredPairs(np.array([0.9, 0.1]), np.array([True, False]), np.array([[0, 0], [1, 2]]))
    assert error_band(pairs).false_match.size == 0


def test_histograms_count_a_missing_cosine_in_the_class() -> None:
    edges = np.array([0.0, 0.5, 1.0])
    assert histogram(np.array([0.1, 0.6, 0.7, NAN]), edges).tolist() == [0.25, 0.5]
    assert histogram(np.array([]), edges).tolist() == [0.0, 0.0]
    assert cosine_edges(np.array([NAN])).size == 2
    assert_allclose(cosine_edges(np.array([0.01, 0.05, NAN])), [0.0, 0.02, 0.04, 0.06])


@given(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=5))
def test_no_cosine_is_outside_the_bars(cosine: list[float]) -> None:
    values = np.array([*cosine, np.nextafter(0.58, 1.0)])
    assert histogram(values, cosine_edges(values)).sum() == pytest.approx(1.0)


def test_match_characteristic_by_hand() -> None:
    rank = np.array([1, 1, 3, 2, 90])
    assert_allclose(match_characteristic(rank, 4), [0.4, 0.6, 0.8, 0.8])


def test_identification_errors_agree_with_the_figures() -> None:
    rng = np.random.default_rng(5)
    mate, other = rng.normal(0.6, 0.15, 300), rng.normal(0.2, 0.1, 500)
    found = identification_errors(mate, other)
    threshold = thresholds_at_fpir(other)["0.01"]
    at = int(np.searchsorted(found.threshold, threshold))
    assert found.false_match[at] == pytest.approx((other >= threshold).mean())
    assert found.false_non_match[at] == pytest.approx((mate < threshold).mean())
    assert found.false_match[at] <= 0.01 < found.false_match[at - 1]
    assert (found.false_match[-1], found.false_non_match[-1]) == (0.0, 1.0)
