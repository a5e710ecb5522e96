"""The oracle is the objective written out once more, and a general-purpose minimiser."""

import numpy as np
import pytest
from scipy.optimize import minimize

from facesim_index.calibration.fitting import monotone
from facesim_index.calibration.fitting.monotone import (
    BINS,
    Histogram,
    bounds_of,
    histogram_of,
    smooth_curve,
)
from facesim_index.errors import CalibrationError
from facesim_index.records import Float64Array


def counts(cosine: Float64Array) -> Float64Array:
    return np.histogram(cosine, BINS, (-1.0, 1.0))[0].astype(np.float64)


def random_histogram(seed: int, n_genuine: int = 400, n_impostor: int = 20_000) -> Histogram:
    rng = np.random.default_rng(seed)
    return histogram_of(
        counts(rng.normal(0.45, 0.13, n_genuine)), counts(rng.normal(0.0, 0.1, n_impostor))
    )


def cost(histogram: Histogram, knots: Float64Array, value: Float64Array) -> float:
    """Class-weighted log loss, and the second derivative squared, from their definitions."""
    log_lr = np.interp(histogram.cosine, knots, value) * np.log(10.0)
    genuine = histogram.genuine / histogram.genuine.sum()
    impostor = histogram.impostor / histogram.impostor.sum()
    loss = (genuine * np.log1p(np.exp(-log_lr))).sum() + (impostor * np.log1p(np.exp(log_lr))).sum()
    gap = knots[1] - knots[0]
    second = (value[2:] - 2.0 * value[1:-1] + value[:-2]) / gap**2
    first = np.diff(value) * np.log(10.0) / gap
    return float(
        loss
        + monotone.ROUGHNESS_COST * (second**2).sum() * gap
        + monotone.SLOPE_COST * (first**2).sum() * gap
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_other_curve_costs_less(seed: int) -> None:
    histogram = random_histogram(seed)
    bounds = bounds_of(histogram)
    knots, value = smooth_curve(histogram, bounds)
    inside = value < bounds.highest - 1e-9
    if not inside.all():  # Cut off at the bound: no longer a minimum, but still within it.
        assert (value[~inside] == bounds.highest).all()
        return
    ours = cost(histogram, knots, value)

    def of_steps(steps: Float64Array) -> float:
        return cost(histogram, knots, np.cumsum(steps))

    start = np.diff(value, prepend=0.0) + 0.01
    limits = [(bounds.lowest, None), *[(0.0, None)] * (knots.size - 1)]
    found = minimize(of_steps, start, bounds=limits, method="L-BFGS-B", options={"maxfun": 20_000})
    assert ours <= found.fun + 1e-9


def test_the_curve_is_monotone_within_its_bounds_and_evenly_spaced() -> None:
    for seed in range(4, 10):
        histogram = random_histogram(seed, n_genuine=40, n_impostor=300)
        bounds = bounds_of(histogram)
        knots, value = smooth_curve(histogram, bounds)
        assert np.ptp(np.diff(knots)) < 1e-12
        assert 0.5 * monotone.KNOT_GAP < knots[1] - knots[0] < 1.5 * monotone.KNOT_GAP
        assert (np.diff(value) >= 0.0).all()
        assert bounds.lowest <= value[0] < 0.0 < value[-1] <= bounds.highest


def test_a_curve_has_no_stairs() -> None:
    """Where a staircase is level for a stretch, this one rises."""
    knots, value = smooth_curve(histogram := random_histogram(11), bounds_of(histogram))
    middle = (knots > 0.1) & (knots < 0.35)
    slope = np.diff(value[middle]) / np.diff(knots[middle])
    # The true curve has slopes from 6 to 22 there.
    assert slope.min() > 3.0
    assert slope.max() < 30.0


def test_doubling_every_pair_changes_only_the_bounds() -> None:
    histogram = random_histogram(12)
    twice = Histogram(histogram.cosine, 2.0 * histogram.genuine, 2.0 * histogram.impostor)
    bounds = bounds_of(histogram)
    np.testing.assert_allclose(
        smooth_curve(histogram, bounds), smooth_curve(twice, bounds), atol=1e-9
    )
    assert bounds_of(twice).highest >= bounds.highest


@pytest.mark.parametrize("seed", [14, 15, 16])
def test_exchanged_labels_and_negated_cosines_mirror_the_curve(seed: int) -> None:
    """But near the bounds: the lower one is a floor of the fit, the upper one cuts it off."""
    rng = np.random.default_rng(seed)
    genuine, impostor = counts(rng.normal(0.3, 0.13, 3_000)), counts(rng.normal(0.0, 0.1, 3_000))
    histogram = histogram_of(genuine, impostor)
    mirrored = histogram_of(impostor[::-1], genuine[::-1])
    bounds, against = bounds_of(histogram), bounds_of(mirrored)
    assert against.lowest == pytest.approx(-bounds.highest)
    assert against.high_cosine == pytest.approx(-bounds.low_cosine)
    cosine, value = smooth_curve(histogram, bounds)
    there = np.interp(-cosine, *smooth_curve(mirrored, against))
    middle = np.abs(value) < 1.0
    assert middle.sum() > 3
    np.testing.assert_allclose(there[middle], -value[middle], atol=0.05)


def test_weights_need_not_be_whole_numbers() -> None:
    histogram = random_histogram(13)
    bounds = bounds_of(histogram)
    scaled = Histogram(histogram.cosine, 0.3 * histogram.genuine, 7.1 * histogram.impostor)
    np.testing.assert_allclose(
        smooth_curve(histogram, bounds), smooth_curve(scaled, bounds), atol=1e-7
    )


def test_the_bound_is_carried_by_three_pairs_of_each_class() -> None:
    # Two strangers above all others among the genuine pairs, and the one that is added.
    genuine = np.concatenate((np.linspace(0.5, 0.9, 50), [-0.3] * 3))
    impostor = np.concatenate((np.linspace(-0.4, 0.2, 500), [0.6, 0.9]))
    bounds = bounds_of(histogram_of(counts(genuine), counts(impostor)))
    assert bounds.highest == pytest.approx(np.log10((50 / 54) / (3 / 503)), abs=1e-9)


@pytest.mark.parametrize("reverse", [True, False])
def test_a_class_without_pairs_or_labels_the_wrong_way_round_are_refused(reverse: bool) -> None:
    some, none = counts(np.array([0.5])), np.zeros(BINS)
    with pytest.raises(CalibrationError, match="pairs of both classes"):
        histogram_of(*((some, none) if reverse else (none, some)))
    low, high = counts(np.linspace(-0.5, 0.0, 50)), counts(np.linspace(0.4, 0.8, 50))
    with pytest.raises(CalibrationError, match="check the labels"):
        bounds_of(histogram_of(low, high))
