"""Figures of 1:N identification: arrays in, arrays out.

A search is *mated* when the person who is searched for is enrolled; the enrolled picture of that
person is the mate.
"""

import numpy as np

from facesim_index.metrics.verification import ErrorRates
from facesim_index.records import Float64Array, Int64Array


def match_characteristic(rank: Int64Array, most: int) -> Float64Array:
    """Return the share of searches whose mate is among the first 1, 2, ... answers [1]_.

    Parameters
    ----------
    rank : ndarray of shape (n_searches,), int64
        Rank of the mate in each search, from 1.
    most : int
        The last rank that is wanted.

    Returns
    -------
    ndarray of shape (most,), float64
        The cumulative match characteristic (CMC).

    References
    ----------
    .. [1] ISO/IEC 19795-1:2021, "Biometric performance testing and reporting".

    Examples
    --------
    >>> match_characteristic(np.array([1, 1, 3, 2, 90]), most=4)
    array([0.4, 0.6, 0.8, 0.8])
    """
    found = np.bincount(rank[rank <= most], minlength=most + 1)[1:]
    return np.asarray(np.cumsum(found) / rank.size, dtype=np.float64)


def identification_errors(mate: Float64Array, non_mated: Float64Array) -> ErrorRates:
    """Return both error rates of an open-set search at every threshold [1]_.

    Parameters
    ----------
    mate : ndarray of shape (n_mated,), float64
        Score of each mated search with its mate.
    non_mated : ndarray of shape (n_non_mated,), float64
        The highest score of each search for someone who is not enrolled.

    Returns
    -------
    ErrorRates
        `false_match` is FPIR, the share of non-mated searches with an answer; `false_non_match`
        is FNIR, the share of mated searches whose mate stays below the threshold.

    References
    ----------
    .. [1] ISO/IEC 19795-1:2021, "Biometric performance testing and reporting".

    Examples
    --------
    >>> rates = identification_errors(np.array([0.3, 0.8]), np.array([0.4]))
    >>> rates.threshold, rates.false_match, rates.false_non_match
    (array([0.3, 0.4, 0.8, inf]), array([1., 1., 0., 0.]), array([0. , 0.5, 0.5, 1. ]))
    """
    thresholds = np.append(np.unique(np.concatenate((mate, non_mated))), np.inf)
    answered = non_mated.size - np.searchsorted(np.sort(non_mated), thresholds)
    missed = np.searchsorted(np.sort(mate), thresholds)
    return ErrorRates(thresholds, answered / non_mated.size, missed / mate.size)
