"""Our figures against independent implementations: scikit-learn and lir.

lir is the Netherlands Forensic Institute's package for likelihood ratios.  Where a definition
differs from ours, the test says how, and compares what both define.
"""

import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lir.algorithms.bayeserror import elub
from lir.algorithms.isotonic_regression import IsotonicCalibrator
from lir.algorithms.logistic_regression import LogitCalibrator
from lir.data.models import LLRData
from lir.metrics import cllr as lir_cllr
from lir.metrics import cllr_min as lir_cllr_min
from numpy.testing import assert_allclose
from sklearn.calibration import calibration_curve
from sklearn.exceptions import ConvergenceWarning
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, det_curve, roc_auc_score, roc_curve

from facesim_index.calibration.fitting.fit import count_cosines
from facesim_index.calibration.fitting.monotone import SLOPE_COST, Bounds, bounds_of, histogram_of
from facesim_index.calibration.fitting.parametric import (
    beta_curve,
    logistic_curve,
    weighted_regression,
)
from facesim_index.calibration.fitting.resampling import bins_of
from facesim_index.metrics import scoring, verification
from facesim_index.metrics.verification import ScoredPairs
from facesim_index.records import Float64Array, Int64Array
from tools.elub_bounds import elub_of_counts, line, staircase

LN_10 = math.log(10.0)

# Few different values make many ties; steps of 1/64 are exact, so that nobody's rounding merges
# or parts two of them.
tied_scores = st.lists(st.integers(-20, 20).map(lambda n: n / 64.0), min_size=1, max_size=40)
free_scores = st.lists(st.integers(-(2**30), 2**30).map(lambda n: n / 2.0**30), min_size=1)
classes = st.one_of(st.tuples(tied_scores, tied_scores), st.tuples(free_scores, free_scores))


def seeded_classes() -> list[tuple[list[float], list[float]]]:
    rng = np.random.default_rng(20)

    def drawn(mean: float, n_pairs: int, decimals: int = 12) -> list[float]:
        return [float(x) for x in rng.normal(mean, 0.1, n_pairs).clip(-1, 1).round(decimals)]

    return [
        (drawn(0.4, 300), drawn(0.0, 300)),
        (drawn(0.3, 20), drawn(0.0, 5_000)),  # unbalanced
        (drawn(0.3, 5_000), drawn(0.0, 20)),
        (drawn(0.2, 400, 2), drawn(0.0, 900, 2)),  # ties within and between the classes
        ([0.6, 0.7, 0.8], [0.1, 0.2]),  # separable
        ([0.1, 0.2], [0.6, 0.7, 0.8]),  # the wrong way round
        ([0.5], [0.1]),  # single pairs
        ([0.1], [0.5]),
        ([0.25], [0.25]),
    ]


def each_seeded(number: int) -> tuple[Float64Array, Float64Array]:
    genuine, impostor = seeded_classes()[number]
    return np.array(genuine), np.array(impostor)


seeded = pytest.mark.parametrize("number", range(len(seeded_classes())))


def labelled(genuine: Float64Array, impostor: Float64Array) -> tuple[Float64Array, Int64Array]:
    """Scores of both classes, and 1 for the genuine ones: how the other packages want them."""
    same = np.repeat(np.array([1, 0], dtype=np.int64), [genuine.size, impostor.size])
    return np.concatenate((genuine, impostor)), same


def as_pairs(genuine: Float64Array, impostor: Float64Array) -> ScoredPairs:
    cosine, same = labelled(genuine, impostor)
    number = np.arange(same.size)
    return ScoredPairs(cosine, same == 1, np.stack((number, number + 1 - same), axis=1))


def balanced(same: Int64Array) -> Float64Array:
    """Weights that give both classes half of everything: the class weights of all our figures."""
    share = np.where(same == 1, 0.5 / same.sum(), 0.5 / (1 - same).sum())
    return np.asarray(share, dtype=np.float64)


# Cllr and PAV


@given(
    genuine=st.lists(st.floats(-12.0, 12.0), min_size=1),
    impostor=st.lists(st.floats(-12.0, 12.0), min_size=1),
)
def test_cllr(genuine: list[float], impostor: list[float]) -> None:
    log10_lr, same = labelled(np.array(genuine), np.array(impostor))
    expected = lir_cllr(LLRData(features=log10_lr, labels=same))
    found = scoring.cllr(np.array(genuine), np.array(impostor))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def check_min_cllr(genuine: Float64Array, impostor: Float64Array) -> None:
    score, same = labelled(genuine, impostor)
    expected = lir_cllr_min(LLRData(features=score, labels=same))
    assert scoring.min_cllr(genuine, impostor) == pytest.approx(expected, abs=1e-9)


@given(classes)
def test_min_cllr(both: tuple[list[float], list[float]]) -> None:
    check_min_cllr(np.array(both[0]), np.array(both[1]))


@seeded
def test_min_cllr_of_seeded_scores(number: int) -> None:
    check_min_cllr(*each_seeded(number))


def our_pav(genuine: Float64Array, impostor: Float64Array) -> tuple[Float64Array, Float64Array]:
    """The different scores, and the share of genuine pairs in the block of each."""
    values, place = np.unique(np.concatenate((genuine, impostor)), return_inverse=True)
    of_genuine = np.bincount(place[: genuine.size], minlength=values.size)
    of_impostor = np.bincount(place[genuine.size :], minlength=values.size)
    starts = scoring.pool_adjacent_violators(of_genuine, of_impostor)
    share = np.add.reduceat(of_genuine, starts) / genuine.size
    other = np.add.reduceat(of_impostor, starts) / impostor.size
    sizes = np.diff(np.append(starts, values.size))
    assert (np.diff(share / (share + other)) > -1e-12).all()
    return values, np.repeat(share / (share + other), sizes)


def check_pav(genuine: Float64Array, impostor: Float64Array) -> None:
    score, same = labelled(genuine, impostor)
    values, share = our_pav(genuine, impostor)
    fitted = IsotonicRegression(out_of_bounds="clip").fit(score, same, balanced(same))
    assert_allclose(share, fitted.predict(values), atol=1e-9)
    # lir gives log10 of the likelihood ratio, infinite at the ends; its shares are the same.
    log10_lr = IsotonicCalibrator().fit(score, same).transform(values)
    assert_allclose(share, 1.0 / (1.0 + 10.0**-log10_lr), atol=1e-9)


@given(classes)
def test_pav(both: tuple[list[float], list[float]]) -> None:
    check_pav(np.array(both[0]), np.array(both[1]))


@seeded
def test_pav_of_seeded_scores(number: int) -> None:
    check_pav(*each_seeded(number))


# Logistic and beta calibration


def reference_coefficients(features: Float64Array, same: Int64Array) -> Float64Array:
    """The slopes, then the constant, by scikit-learn.

    With balanced weights it minimises n/2 times our loss, times C, plus half of the squared
    slopes; ours adds `SLOPE_COST` times the squared slopes to the loss: the same at
    C = 1 / (n SLOPE_COST).
    """
    model = LogisticRegression(
        C=1.0 / (same.size * SLOPE_COST),
        class_weight="balanced",
        solver="newton-cholesky",
        tol=1e-13,
        max_iter=1_000,
    )
    with warnings.catch_warnings():
        # Where it begins at the minimum there is no step down; the costs tell whether it is there.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, same)
    return np.append(model.coef_[0], model.intercept_)


def our_coefficients(features: Float64Array, same: Int64Array) -> Float64Array:
    with_constant = np.column_stack((features, np.ones(same.size)))
    of_class = same / same.sum(), (1 - same) / (1 - same).sum()
    return weighted_regression(with_constant, *of_class)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5])
def test_logistic_coefficients(number: int) -> None:
    score, same = labelled(*each_seeded(number))
    expected = reference_coefficients(score[:, None], same)
    assert_allclose(our_coefficients(score[:, None], same), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("number", [4, 6, 7])
def test_logistic_coefficients_of_classes_that_never_mix(number: int) -> None:
    """Only the price on the slope bounds it: both optimisers stop at slightly different places."""
    score, same = labelled(*each_seeded(number))
    expected = reference_coefficients(score[:, None], same)
    assert_allclose(our_coefficients(score[:, None], same), expected, rtol=1e-4)


@given(
    genuine=st.lists(st.integers(-20, 40).map(lambda n: n / 64.0), min_size=5, max_size=40),
    impostor=st.lists(st.integers(-40, 20).map(lambda n: n / 64.0), min_size=5, max_size=40),
)
@example(genuine=[0.0] * 5, impostor=[0.0] * 4 + [1 / 64, -1 / 64])
@example(genuine=[0.0] * 5, impostor=[0.0] * 6)
def test_logistic_loss(genuine: list[float], impostor: list[float]) -> None:
    """Whatever the data, the two minima cost the same."""
    score, same = labelled(np.array(genuine), np.array(impostor))

    def cost(coefficients: Float64Array) -> float:
        log_odds = score * coefficients[0] + coefficients[1]
        missed = np.logaddexp(0.0, -log_odds)[same == 1].mean()
        false = np.logaddexp(0.0, log_odds)[same == 0].mean()
        return float(missed + false + SLOPE_COST * coefficients[0] ** 2)

    expected = cost(reference_coefficients(score[:, None], same))
    assert cost(our_coefficients(score[:, None], same)) == pytest.approx(expected, abs=1e-9)


def on_bin_centres(genuine_mean: float) -> tuple[Float64Array, Float64Array]:
    """Cosines where putting them into bins changes nothing."""
    rng = np.random.default_rng(21)
    genuine, impostor = rng.normal(genuine_mean, 0.12, 400), rng.normal(0.0, 0.1, 9_000)
    both = [np.floor(cosine.clip(-0.999, 0.999) * 1000.0) for cosine in (genuine, impostor)]
    return (both[0] + 0.5) / 1000.0, (both[1] + 0.5) / 1000.0


def counted(cosine: Float64Array) -> Int64Array:
    return np.histogram(cosine, 2000, (-1.0, 1.0))[0].astype(np.int64)


WIDE = Bounds(-3.0, 3.0, -0.5, 0.5)


def test_logistic_calibration() -> None:
    genuine, impostor = on_bin_centres(0.4)
    cosine, log10_lr = logistic_curve(histogram_of(counted(genuine), counted(impostor)), WIDE)
    score, same = labelled(genuine, impostor)
    reference = LogitCalibrator(
        C=1.0 / (same.size * SLOPE_COST), solver="newton-cholesky", tol=1e-13, max_iter=1_000
    ).fit(score, same)
    assert cosine.size > 5
    expected = np.clip(reference.transform(cosine), WIDE.lowest, WIDE.highest)
    assert_allclose(log10_lr, expected, atol=1e-7)


def test_beta_calibration() -> None:
    """As its authors fit it: logistic regression on ln s and -ln(1 - s), s = (1 + cosine) / 2."""
    genuine, impostor = on_bin_centres(0.4)
    cosine, log10_lr = beta_curve(histogram_of(counted(genuine), counted(impostor)), WIDE)

    def features(cosine: Float64Array) -> Float64Array:
        share = (1.0 + cosine) / 2.0
        return np.stack((np.log(share), -np.log(1.0 - share)), axis=1)

    score, same = labelled(genuine, impostor)
    coefficients = reference_coefficients(features(score), same)
    assert coefficients[:2].min() > 0.0  # Neither is left out.
    expected = (features(cosine) @ coefficients[:2] + coefficients[2]) / LN_10
    assert cosine.size > 5
    assert_allclose(log10_lr, np.clip(expected, WIDE.lowest, WIDE.highest), atol=1e-6)


# Error rates


def check_roc(genuine: Float64Array, impostor: Float64Array) -> None:
    score, same = labelled(genuine, impostor)
    pairs = as_pairs(genuine, impostor)
    assert verification.area_under_roc(pairs) == pytest.approx(roc_auc_score(same, score), abs=1e-9)
    # scikit-learn's thresholds descend, ours ascend; both begin and end with all and nothing.
    false, true, thresholds = roc_curve(same, score, drop_intermediate=False)
    rates = verification.error_rates(pairs)
    assert_allclose(rates.threshold, thresholds[::-1], atol=0.0)
    assert_allclose(rates.false_match, false[::-1], atol=1e-12)
    assert_allclose(1.0 - rates.false_non_match, true[::-1], atol=1e-12)


@given(classes)
def test_roc(both: tuple[list[float], list[float]]) -> None:
    check_roc(np.array(both[0]), np.array(both[1]))


@seeded
def test_roc_of_seeded_scores(number: int) -> None:
    check_roc(*each_seeded(number))


@given(classes, st.sampled_from([0.5, 0.1, 0.05]))
def test_true_match_rate(both: tuple[list[float], list[float]], fmr: float) -> None:
    """scikit-learn has no such figure: it is the highest point of its ROC left of the rate."""
    genuine, impostor = np.array(both[0]), np.array(both[1])
    score, same = labelled(genuine, impostor)
    false, true, _ = roc_curve(same, score, drop_intermediate=False)
    allowed = false * impostor.size <= math.floor(fmr * impostor.size) + 1e-6
    found = scoring.true_match_rate(genuine, impostor, fmr=fmr)
    assert found == pytest.approx(true[allowed].max(), abs=1e-12)


@given(classes)
def test_equal_error_rate(both: tuple[list[float], list[float]]) -> None:
    """Ours is the mean of the two rates where they differ least.

    Definitions abound where no threshold makes the rates equal: others interpolate.  Of several
    thresholds where they differ as little any may be meant.
    """
    genuine, impostor = np.array(both[0]), np.array(both[1])
    score, same = labelled(genuine, impostor)
    false, true, _ = roc_curve(same, score, drop_intermediate=False)
    apart = np.abs(false - (1.0 - true))
    means = ((false + 1.0 - true) / 2.0)[apart <= apart.min() + 1e-12]
    found = scoring.equal_error_rate(genuine, impostor)
    assert np.abs(means - found).min() < 1e-9


@pytest.mark.parametrize("number", [0, 3])
def test_equal_error_rate_of_many_pairs(number: int) -> None:
    """With so many pairs every definition says the same, but for half a step of the rates."""
    genuine, impostor = each_seeded(number)
    false, missed, _ = det_curve(labelled(genuine, impostor)[1], labelled(genuine, impostor)[0])
    crossing = np.flatnonzero(false <= missed)[0]
    found = scoring.equal_error_rate(genuine, impostor)
    assert min(false[crossing], missed[crossing - 1]) - 1e-12 <= found
    assert found <= max(false[crossing - 1], missed[crossing]) + 1e-12


@given(classes, st.integers(-40, 40).map(lambda n: n / 64.0))
def test_accuracy(both: tuple[list[float], list[float]], threshold: float) -> None:
    pairs = as_pairs(np.array(both[0]), np.array(both[1]))
    expected = accuracy_score(pairs.same, pairs.cosine >= threshold)
    assert verification.accuracy(pairs, threshold) == pytest.approx(expected, abs=1e-12)
    best = verification.accuracy(pairs, verification.best_threshold(pairs))
    _, _, thresholds = roc_curve(pairs.same, pairs.cosine, drop_intermediate=False)
    every = [accuracy_score(pairs.same, pairs.cosine >= each) for each in thresholds]
    assert best == pytest.approx(max(every), abs=1e-12)


# Degrees


@given(
    genuine=st.lists(st.floats(0.0, 1.0), min_size=1),
    impostor=st.lists(st.floats(0.0, 1.0), min_size=1),
)
def test_brier(genuine: list[float], impostor: list[float]) -> None:
    """scikit-learn's with balanced weights: ours gives both classes the same weight."""
    degree, same = labelled(np.array(genuine), np.array(impostor))
    expected = brier_score_loss(same, degree, sample_weight=balanced(same))
    assert verification.brier(degree, same == 1) == pytest.approx(expected, abs=1e-9)


@given(seed=st.integers(0, 2**32 - 1), per_bin=st.integers(1, 20))
def test_expected_calibration_error(seed: int, per_bin: int) -> None:
    """From scikit-learn's reliability diagram in quantiles, which knows no weights.

    So both classes have equally many pairs here, as many as fill the bins.
    """
    rng = np.random.default_rng(seed)
    n_pairs = 15 * per_bin
    degree, same = labelled(rng.beta(4.0, 2.0, n_pairs), rng.beta(2.0, 4.0, n_pairs))
    observed, claimed = calibration_curve(same, degree, n_bins=15, strategy="quantile")
    expected = np.abs(observed - claimed).mean()
    found = scoring.expected_calibration_error(degree[same == 1], degree[same == 0])
    assert found == pytest.approx(expected, abs=1e-9)


# Bounds


STEP = 0.01  # of lir's search for the bounds


def test_bounds_of_classes_that_never_mix_are_those_of_elub() -> None:
    """ELUB adds one misleading pair to each class, as we do: without others it decides alone."""
    genuine, impostor = np.linspace(0.6, 0.8, 100), np.linspace(-0.1, 0.1, 1000)
    bounds = bounds_of(histogram_of(counted(genuine), counted(impostor)))
    score, same = labelled(genuine, impostor)
    lower, upper = elub(40.0 * (score - 0.35), same)
    assert bounds.lowest == pytest.approx(lower, abs=2 * STEP)
    assert bounds.highest == pytest.approx(upper, abs=2 * STEP)


@pytest.mark.parametrize("seed", range(4))
def test_bounds_are_no_wider_than_those_of_elub(seed: int) -> None:
    """Of the claims of the best curve, which are true of these very pairs.

    ELUB ends where claims do worse than none in a decision at their own ratio.  It looks at all
    pairs beyond, ours at those of the last block, three of each class at least.
    """
    rng = np.random.default_rng(seed)
    genuine, impostor = rng.normal(0.4, 0.1, 300), rng.normal(0.0, 0.1, 6_000)
    values, share = our_pav(genuine, impostor)
    with np.errstate(divide="ignore"):
        staircase = np.log10(share / (1.0 - share))
    score, same = labelled(genuine, impostor)
    claims = staircase[np.searchsorted(values, score)]
    lower, upper = elub(claims, same)
    bounds = bounds_of(histogram_of(counted(genuine), counted(impostor)))
    assert lower - 2 * STEP <= bounds.lowest < -1.0
    assert 2.0 < bounds.highest <= upper + 2 * STEP


@seeded
def test_elub_of_counts_is_elub(number: int) -> None:
    """tools/elub_bounds.py, which compares the bounds where there are millions of pairs."""
    genuine, impostor = each_seeded(number)
    score, same = labelled(genuine, impostor)
    histogram = histogram_of(count_cosines(genuine), count_cosines(impostor))
    _, place = np.unique(bins_of(score), return_inverse=True)
    for claims in (line(histogram), staircase(histogram)):
        expected = elub(claims[place], same)
        assert_allclose(elub_of_counts(claims, histogram), expected, atol=1e-9)
