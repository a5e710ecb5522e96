"""Figures of the scores of labelled pairs: error rates, Cllr, calibration error, and PAV.

Genuine pairs show one person, impostor pairs two.  The two classes have equal weight, however many
pairs each has, so that no figure depends on how many pairs of either class happened to be in the
data.
"""

import numpy as np

from facesim_index.errors import CalibrationError
from facesim_index.metrics.odds import LN_2, LN_10
from facesim_index.records import Float32Array, Float64Array, Int64Array

ECE_BINS = 15
"""Bins of equal mass of the expected calibration error and of the reliability diagram."""


def cllr(genuine_log10_lr: Float64Array, impostor_log10_lr: Float64Array) -> float:
    """Return the log-likelihood-ratio cost: that of wrong decisions, averaged over all priors [1]_.

    It is 0 for perfect likelihood ratios and 1 for ratios that are always 1, which say nothing.
    Above 1 it would be better not to use the ratios.

    Parameters
    ----------
    genuine_log10_lr, impostor_log10_lr : ndarray of shape (n_pairs,), float64
        Base-10 logarithms of the likelihood ratios that were claimed.

    Returns
    -------
    float
        In bits, at least 0.

    Raises
    ------
    CalibrationError
        A class has no pair.

    References
    ----------
    .. [1] N. Brümmer and J. du Preez, "Application-independent evaluation of
       speaker detection", Computer Speech & Language, 2006.

    Examples
    --------
    >>> cllr(np.zeros(3), np.zeros(5))
    1.0
    >>> round(cllr(np.array([3.0, 2.0]), np.array([-2.0, -3.0])), 4)
    0.0079
    """
    _require_pairs(genuine_log10_lr, impostor_log10_lr)
    missed = np.logaddexp(0.0, -LN_10 * genuine_log10_lr).mean()
    false = np.logaddexp(0.0, LN_10 * impostor_log10_lr).mean()
    return float(missed + false) / (2.0 * LN_2)


def min_cllr(genuine: Float32Array | Float64Array, impostor: Float32Array | Float64Array) -> float:
    """Return the lowest `cllr` that any non-decreasing function of the scores can reach [1]_.

    The best function is found on these very pairs by `pool_adjacent_violators`, so this figure only
    depends on the order of the scores.  `cllr` minus this figure is the cost of the calibration.

    Parameters
    ----------
    genuine, impostor : ndarray of shape (n_pairs,)
        Scores, higher for more similar: cosines or log-likelihood ratios.  NaN is a pair without
        a score: it is no evidence and costs one bit.

    Returns
    -------
    float
        In bits, in [0, 1].

    Raises
    ------
    CalibrationError
        A class has no pair.

    References
    ----------
    .. [1] N. Brümmer and J. du Preez, "Application-independent evaluation of
       speaker detection", Computer Speech & Language, 2006.

    Examples
    --------
    >>> min_cllr(np.array([0.6, 0.7]), np.array([0.1, 0.2]))
    0.0
    >>> min_cllr(np.array([0.6, np.nan]), np.array([0.1]))
    0.25
    """
    _require_pairs(genuine, impostor)
    of_genuine, of_impostor = 1.0 / genuine.size, 1.0 / impostor.size
    without_score = float(np.isnan(genuine).mean() + np.isnan(impostor).mean()) / 2.0
    genuine, impostor = genuine[~np.isnan(genuine)], impostor[~np.isnan(impostor)]
    if not genuine.size or not impostor.size:  # To have a score tells all.
        return without_score
    values, place = np.unique(np.concatenate((genuine, impostor)), return_inverse=True)
    genuine_mass = _mass_at(place[: genuine.size], of_genuine, values.size)
    impostor_mass = _mass_at(place[genuine.size :], of_impostor, values.size)
    starts = pool_adjacent_violators(genuine_mass, impostor_mass)
    of_block = [np.add.reduceat(mass, starts) for mass in (genuine_mass, impostor_mass)]
    return _bits(of_block[0], of_block[1]) / 2.0 + without_score


def pool_adjacent_violators(
    genuine_count: Int64Array | Float64Array, impostor_count: Int64Array | Float64Array
) -> Int64Array:
    """Return where the blocks of the best non-decreasing likelihood ratio begin (PAV) [1]_.

    The likelihood ratio of a block is its share of all genuine pairs, divided by its share of all
    impostor pairs.  It increases from block to block.  Of all non-decreasing functions of the
    score this one has the lowest `cllr`, and the lowest Brier score.

    Parameters
    ----------
    genuine_count, impostor_count : ndarray of shape (n_values,), int64 or float64
        Pairs, or their weights, at each value of the score, in ascending order of the score.
        There must be a pair at every value.

    Returns
    -------
    starts : ndarray of shape (n_blocks,), int64
        Index of the first value of each block; the first index is 0.

    References
    ----------
    .. [1] N. Brümmer and J. du Preez, "The PAV algorithm optimizes binary proper scoring rules",
       2009.

    Examples
    --------
    The shares of genuine pairs decrease from the second value to the third:

    >>> pool_adjacent_violators(np.array([0, 2, 1, 3]), np.array([3, 1, 1, 0]))
    array([0, 1, 3])
    """
    from scipy.optimize import isotonic_regression

    genuine_weight = genuine_count / genuine_count.sum()
    weight = genuine_weight + impostor_count / impostor_count.sum()
    fitted = isotonic_regression(genuine_weight / weight, weights=weight)
    return np.asarray(fitted.blocks[:-1], dtype=np.int64)


def expected_calibration_error(
    genuine_degree: Float64Array,
    impostor_degree: Float64Array,
    *,
    prior: float = 0.5,
    bins: int = ECE_BINS,
) -> float:
    """Return by how much degrees differ from the shares of genuine pairs, on average [1]_.

    The degrees are sorted and cut into bins of equal mass, which estimate the error with less
    bias than bins of equal width [2]_.  In each bin the mean degree is compared with the share of
    genuine pairs, and the absolute differences are averaged over the bins.  The mass of a pair is
    `prior` over the number of genuine pairs, or ``1 - prior`` over the number of impostor pairs.
    Where the end of a bin falls among pairs of one degree, each side gets its part of both classes
    of them, so that the order of the pairs does not matter.

    Parameters
    ----------
    genuine_degree, impostor_degree : ndarray of shape (n_pairs,), float64
        Claimed probabilities of one person, in [0, 1].
    prior : float, default=0.5
        Mass of the genuine pairs, in (0, 1).  Give the prior of the degrees; or the share of
        genuine pairs among all, so that every pair counts once.
    bins : int, default=15
        At least 1.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    CalibrationError
        A class has no pair.

    References
    ----------
    .. [1] M. P. Naeini, G. F. Cooper and M. Hauskrecht, "Obtaining well calibrated probabilities
       using Bayesian binning", AAAI, 2015.
    .. [2] R. Roelofs, N. Cain, J. Shlens and M. C. Mozer, "Mitigating bias in calibration error
       estimation", AISTATS, 2022.

    Examples
    --------
    Of the pairs with degree 0.2 one in five is genuine; those with degree 0.6 all are:

    >>> genuine, impostor = np.array([0.2, 0.6, 0.6, 0.6, 0.6]), np.array([0.2, 0.2, 0.2, 0.2])
    >>> round(expected_calibration_error(genuine, impostor, prior=5 / 9, bins=9), 4)
    0.1778
    """
    _require_pairs(genuine_degree, impostor_degree)
    values, place = np.unique(
        np.concatenate((genuine_degree, impostor_degree)), return_inverse=True
    )
    n_genuine, n_impostor = genuine_degree.size, impostor_degree.size
    genuine = _mass_at(place[:n_genuine], prior / n_genuine, values.size)
    mass = genuine + _mass_at(place[n_genuine:], (1.0 - prior) / n_impostor, values.size)
    mass_below = _sums_below(mass)
    ends = np.linspace(0.0, 1.0, bins + 1)
    claimed, observed = (
        np.diff(np.interp(ends, mass_below / mass_below[-1], _sums_below(part)))
        for part in (mass * values, genuine)
    )
    return float(np.abs(claimed - observed).sum())


def equal_error_rate(
    genuine: Float32Array | Float64Array, impostor: Float32Array | Float64Array
) -> float:
    """Return the error rate at the threshold where both classes have the same error rate.

    Parameters
    ----------
    genuine, impostor : ndarray of shape (n_pairs,)
        Scores, higher for more similar.

    Returns
    -------
    float
        Mean of the two rates at the threshold where they differ least, in [0, 1].

    Raises
    ------
    CalibrationError
        A class has no pair.

    Examples
    --------
    >>> equal_error_rate(np.array([0.9, 0.8, 0.4, 0.7]), np.array([0.5, 0.2, 0.1, 0.3]))
    0.25
    """
    _require_pairs(genuine, impostor)
    thresholds = np.append(np.unique(np.concatenate((genuine, impostor))), np.inf)
    false_non_match = np.searchsorted(np.sort(genuine), thresholds) / genuine.size
    false_match = 1.0 - np.searchsorted(np.sort(impostor), thresholds) / impostor.size
    crossing = int(np.argmin(np.abs(false_non_match - false_match)))
    return float(false_non_match[crossing] + false_match[crossing]) / 2.0


def true_match_rate(
    genuine: Float32Array | Float64Array, impostor: Float32Array | Float64Array, *, fmr: float
) -> float:
    """Return the share of genuine pairs that are accepted at a false match rate.

    The threshold is the lowest one at which no more impostor pairs are accepted.

    Parameters
    ----------
    genuine, impostor : ndarray of shape (n_pairs,)
        Scores, higher for more similar.
    fmr : float
        Highest share of impostor pairs that may be accepted, in [0, 1).

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    CalibrationError
        A class has no pair.

    Examples
    --------
    >>> true_match_rate(np.array([0.9, 0.3]), np.array([0.5, 0.2, 0.1, 0.0]), fmr=0.25)
    1.0
    >>> true_match_rate(np.array([0.9, 0.3]), np.array([0.5, 0.2, 0.1, 0.0]), fmr=0.0)
    0.5
    """
    _require_pairs(genuine, impostor)
    n_allowed = int(np.floor(fmr * impostor.size))
    last_refused = impostor.size - 1 - n_allowed
    threshold = np.partition(impostor, last_refused)[last_refused]
    return float((genuine > threshold).mean())


def _mass_at(place: Int64Array, of_each: float, n_values: int) -> Float64Array:
    """Return the mass of the pairs at each value, every pair having the same."""
    return np.asarray(np.bincount(place, np.full(place.size, of_each), n_values), dtype=np.float64)


def _sums_below(values: Float64Array) -> Float64Array:
    """Return the sum of the values before each place, and at the end that of all."""
    return np.concatenate(([0.0], np.cumsum(values)))


def _bits(genuine: Float64Array, impostor: Float64Array) -> float:
    """Return the sum of both classes' costs in bits, from their masses in each block of PAV."""
    bits = 0.0
    for mass in (genuine, impostor):
        some = mass > 0.0
        bits += float((mass[some] * np.log2((genuine + impostor)[some] / mass[some])).sum())
    return bits


def _require_pairs(
    genuine: Float32Array | Float64Array, impostor: Float32Array | Float64Array
) -> None:
    if genuine.size == 0 or impostor.size == 0:
        raise CalibrationError(
            f"{genuine.size} genuine and {impostor.size} impostor pairs: "
            "at least one pair of each class is needed"
        )
