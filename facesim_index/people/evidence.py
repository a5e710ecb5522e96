"""The evidence of many pairs of faces together that a face or a group shows one person.

Pairs between two groups are far from independent: they share faces, cameras and days.  So the
evidence of n pairs is that of one pair at their mean score, times n to the power of
`PAIRS_EXPONENT`: 100 pairs count 1.58 times as much as one, not 100 times.
"""

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.scorer import Scorer
from facesim_index.errors import CalibrationError
from facesim_index.pairs.blocks import EmbeddingSource
from facesim_index.records import Float32Array, Float64Array, Int64Array

PAIRS_EXPONENT = 0.1
"""Chosen on the people of LFW's pairsDevTrain; 0 ignores the number of pairs, 1 trusts it."""

MIN_DETECTION, MIN_SIZE_PX = 0.6, 24.0
"""Faces below either are not grouped: half a face at an edge, or one of a few pixels."""

_AT_ONCE = 8192


def person_log10_lr(
    mean_score: Float32Array | Float64Array, n_pairs: Float64Array, calibration: Calibration
) -> Float64Array:
    """Return the evidence that all faces of two groups show one person.

    Parameters
    ----------
    mean_score : ndarray of shape (n,), float32 or float64
        Over all pairs of a face of one group and a face of the other, in [-1, 1].
    n_pairs : ndarray of shape (n,), float64
        How many pairs that were, at least 1.
    calibration : Calibration

    Returns
    -------
    log10_lr : ndarray of shape (n,), float64
        Base-10 logarithm of the likelihood ratio; for a single pair it is the calibration's.
    """
    scores = np.clip(np.asarray(mean_score, dtype=np.float64), -1.0, 1.0)
    return np.asarray(log10_lr(scores, calibration) * n_pairs**PAIRS_EXPONENT)


def person_degree(
    mean_score: Float32Array | Float64Array,
    n_pairs: Float64Array,
    calibration: Calibration,
    *,
    prior: float,
) -> Float64Array:
    """Return the probability that all faces of two groups show one person.

    Parameters
    ----------
    mean_score : ndarray of shape (n,), float32 or float64
        Over all pairs of a face of one group and a face of the other, in [-1, 1].
    n_pairs : ndarray of shape (n,), float64
        How many pairs that were, at least 1.
    calibration : Calibration
    prior : float
        Probability, in (0, 1), of one person before looking.

    Returns
    -------
    degree : ndarray of shape (n,), float64
        In (0, 1).

    Raises
    ------
    CalibrationError
        The prior is not in (0, 1).
    """
    return degree_from_log10_lr(person_log10_lr(mean_score, n_pairs, calibration), prior=prior)


def usable_curve(calibration: Calibration | None) -> Calibration:
    """Return the calibration if people can be told apart by it.

    Parameters
    ----------
    calibration : Calibration or None
        The one in force.

    Returns
    -------
    Calibration
        The same one.

    Raises
    ------
    CalibrationError
        There is none, or the scores of its head are not inner products.
    """
    if calibration is None:
        raise CalibrationError(
            "people are told apart by degrees, which need a calibration for the index's engine, "
            "and there is none; make one with `facesim calibrate`"
        )
    if calibration.head.kind == "weighted-l1":
        raise CalibrationError(
            f"the calibration {calibration.name} has a weighted-l1 head, by which groups of faces "
            "cannot be compared; choose another with `facesim calibrate use`"
        )
    return calibration


def summed(face_ids: Int64Array, source: EmbeddingSource, scorer: Scorer) -> Float64Array:
    """Return the sum of the summable vectors of some faces, which stands for all of them.

    The inner product of its opposite with the vector of another face, divided by the number of
    faces, is the mean score of that face with them.

    Parameters
    ----------
    face_ids : ndarray of shape (n,), int64
        At least one.
    source : EmbeddingSource
    scorer : Scorer
        Of a calibration that `usable_curve` accepts.

    Returns
    -------
    ndarray of shape (m,), float64
        See `Scorer.summable`.
    """
    total: NDArray[np.float64] = np.zeros(0)
    for start in range(0, len(face_ids), _AT_ONCE):
        part = summables(face_ids[start : start + _AT_ONCE], source, scorer).sum(axis=0)
        total = part if start == 0 else total + part
    return total


def summables(face_ids: Int64Array, source: EmbeddingSource, scorer: Scorer) -> Float64Array:
    """Return the summable vectors of faces of an index.

    Parameters
    ----------
    face_ids : ndarray of shape (n,), int64
    source : EmbeddingSource
    scorer : Scorer

    Returns
    -------
    ndarray of shape (n, m), float64
        See `Scorer.summable`.
    """
    return scorer.summable(scorer.vectors(source.embeddings(face_ids), face_ids))
