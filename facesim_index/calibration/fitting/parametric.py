"""Curves from cosine to likelihood ratio with few parameters: logistic and beta calibration.

With little data they vary less than a curve that may bend anywhere.  Both are fitted by maximum
likelihood with classes of equal weight, and bounded by the evidence like every curve.
"""

import math
from collections.abc import Callable

import numpy as np

from facesim_index.calibration.fitting.monotone import KNOT_GAP, SLOPE_COST, Bounds, Histogram
from facesim_index.errors import CalibrationError
from facesim_index.metrics.odds import LN_10, logistic
from facesim_index.records import Float64Array

_MAX_NEWTON_STEPS = 100


def logistic_curve(histogram: Histogram, bounds: Bounds) -> tuple[Float64Array, Float64Array]:
    """Fit log LR = a cosine + c: logistic regression with classes of equal weight [1]_.

    Parameters
    ----------
    histogram : Histogram
        Pairs of both classes.
    bounds : Bounds
        Of the histogram; the curve stays within them.

    Returns
    -------
    cosine, log10_lr : ndarray of shape (n_knots,), float64
        Knots of the curve, ascending.

    Raises
    ------
    CalibrationError
        Higher cosines would be evidence against one person.

    References
    ----------
    .. [1] N. Brümmer and J. du Preez, "Application-independent evaluation of
       speaker detection", Computer Speech & Language, 2006.

    Examples
    --------
    >>> histogram = Histogram(
    ...     np.array([0.0, 0.2, 0.4]), np.array([10.0, 30.0, 60.0]), np.array([60.0, 30.0, 10.0])
    ... )
    >>> cosine, log10_lr = logistic_curve(histogram, Bounds(-2.0, 2.0, 0.0, 0.4))
    >>> round(float(np.interp(0.4, cosine, log10_lr)), 2)  # log10(60 / 10)
    0.78
    """
    coefficients = weighted_regression(
        _line(histogram.cosine), histogram.genuine_share, histogram.impostor_share
    )
    if coefficients[0] <= 0.0:
        raise _falling()
    return _sampled(lambda cosine: _line(cosine) @ coefficients, bounds)


def beta_curve(histogram: Histogram, bounds: Bounds) -> tuple[Float64Array, Float64Array]:
    """Fit log LR = a ln s - b ln(1 - s) + c, where s = (1 + cosine) / 2 and a, b >= 0 [1]_.

    Parameters
    ----------
    histogram : Histogram
    bounds : Bounds

    Returns
    -------
    cosine, log10_lr : ndarray of shape (n_knots,), float64
        All as for `logistic_curve`.

    Raises
    ------
    CalibrationError
        As `logistic_curve`.

    References
    ----------
    .. [1] M. Kull, T. Silva Filho and P. Flach, "Beta calibration", AISTATS 2017.

    Examples
    --------
    >>> histogram = Histogram(
    ...     np.array([0.0, 0.2, 0.4]), np.array([10.0, 30.0, 60.0]), np.array([60.0, 30.0, 10.0])
    ... )
    >>> cosine, log10_lr = beta_curve(histogram, Bounds(-2.0, 2.0, 0.0, 0.4))
    >>> round(float(np.interp(0.4, cosine, log10_lr)), 2)
    0.78
    """
    features = _logarithms(histogram.cosine)
    shares = histogram.genuine_share, histogram.impostor_share
    coefficients = weighted_regression(features, *shares)
    # As its authors do: a feature with a negative coefficient is left out.
    negative = np.flatnonzero(coefficients[:2] < 0.0)
    if negative.size:
        kept = np.setdiff1d([0, 1, 2], negative[:1])
        fewer = weighted_regression(features[:, kept], *shares)
        coefficients = np.zeros(3)
        coefficients[kept] = fewer
    if coefficients[:2].min() < 0.0 or coefficients[:2].max() <= 0.0:
        raise _falling()
    return _sampled(lambda cosine: _logarithms(cosine) @ coefficients, bounds)


def weighted_regression(
    features: Float64Array, genuine_weight: Float64Array, impostor_weight: Float64Array
) -> Float64Array:
    """Return the coefficients of a logistic regression on weighted pairs, by Newton's method.

    Parameters
    ----------
    features : ndarray of shape (n_values, n_features), float64
        The last feature is the constant 1, whose coefficient has no penalty.  The others have the
        penalty `SLOPE_COST`.
    genuine_weight, impostor_weight : ndarray of shape (n_values,), float64
        Weights of the pairs with these features.

    Returns
    -------
    ndarray of shape (n_features,), float64
        Coefficients of the log odds, in nats.

    Examples
    --------
    >>> constant = np.ones((1, 1))
    >>> weighted_regression(constant, np.array([3.0]), np.array([1.0])).round(4)  # ln(3 / 1)
    array([1.0986])
    """
    price = np.full(features.shape[1], SLOPE_COST)
    price[-1] = 0.0

    def cost_of(coefficients: Float64Array) -> float:
        log_odds = features @ coefficients
        missed = genuine_weight @ np.logaddexp(0.0, -log_odds)
        return float(missed + impostor_weight @ np.logaddexp(0.0, log_odds)) + float(
            price @ coefficients**2
        )

    coefficients = np.zeros(features.shape[1])
    cost = cost_of(coefficients)
    for _ in range(_MAX_NEWTON_STEPS):
        probability = logistic(features @ coefficients)
        error = impostor_weight * probability - genuine_weight * (1.0 - probability)
        weight = (genuine_weight + impostor_weight) * probability * (1.0 - probability)
        slope = error @ features + 2.0 * price * coefficients
        curvature = (features.T * weight) @ features + 2.0 * np.diag(price)
        direction = -np.linalg.solve(curvature, slope)
        scale = 1.0
        while cost_of(coefficients + scale * direction) > cost and scale > 1e-12:
            scale /= 2.0
        new_cost = cost_of(coefficients + scale * direction)
        if new_cost >= cost:
            break
        coefficients, cost = coefficients + scale * direction, new_cost
    return coefficients


def _line(cosine: Float64Array) -> Float64Array:
    return np.stack((cosine, np.ones_like(cosine)), axis=1)


def _logarithms(cosine: Float64Array) -> Float64Array:
    share = np.clip((1.0 + cosine) / 2.0, 1e-6, 1.0 - 1e-6)
    return np.stack((np.log(share), -np.log1p(-share), np.ones_like(share)), axis=1)


def _falling() -> CalibrationError:
    return CalibrationError(
        "genuine pairs do not have higher cosines than impostor pairs; check the labels"
    )


def _sampled(
    log_lr: Callable[[Float64Array], Float64Array], bounds: Bounds
) -> tuple[Float64Array, Float64Array]:
    """Return knots of an increasing curve, from where it leaves one bound to the other bound."""

    def log10_lr(cosine: Float64Array) -> Float64Array:
        return np.clip(log_lr(cosine) / LN_10, bounds.lowest, bounds.highest)

    fine = np.linspace(-1.0, 1.0, 20_001)
    value = log10_lr(fine)
    first = max(int(np.searchsorted(value, bounds.lowest, side="right")) - 1, 0)
    last = min(int(np.searchsorted(value, bounds.highest, side="left")), fine.size - 1)
    n_knots = max(2, math.ceil((fine[last] - fine[first]) / KNOT_GAP) + 1)
    knots = np.linspace(fine[first], fine[last], n_knots)
    return knots, log10_lr(knots)
