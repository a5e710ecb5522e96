"""The evidence of many pairs of faces at once, for a face or a group being one person's.

Pairs between two groups are far from independent: they share faces, cameras and days.  So the
evidence of n pairs is that of one pair at their mean score, times n to the power of
`PAIRS_EXPONENT`: 100 pairs count 1.58 times as much as one, not 100 times.
"""

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.record import Calibration
from facesim_index.errors import CalibrationError
from facesim_index.pairs.blocks import EmbeddingSource
from facesim_index.records import Float32Array, Float64Array, Int64Array

PAIRS_EXPONENT = 0.1
"""Chosen on the people of LFW's pairsDevTrain; 0 ignores the number of pairs, 1 trusts it."""

MIN_DETECTION, MIN_SIZE_PX = 0.6, 24.0
"""Faces below wait outside of people: half-seen ones at an edge, and faces of a few pixels."""

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
        Base-10 logarithm of the likelihood ratio; of a single pair that of the calibration.
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
    mean_score, n_pairs, curve
        As of `person_log10_lr`.
    prior : float
        Probability of a genuine pair before looking, in (0, 1).

    Returns
    -------
    degree : ndarray of shape (n,), float64
    """
    return degree_from_log10_lr(person_log10_lr(mean_score, n_pairs, calibration), prior=prior)


def usable_curve(calibration: Calibration | None) -> Calibration:
    """Return a calibration that people can be told apart by.

    Raises
    ------
    CalibrationError
        There is none, or its head is no inner product.
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


def summed(face_ids: Int64Array, source: EmbeddingSource, calibration: Calibration) -> Float64Array:
    """Return the sum of what the calibration's head makes of some faces.

    Its inner product with another face, divided by the number of faces, is the mean score.
    """
    total: NDArray[np.float64] = np.zeros(0)
    for start in range(0, len(face_ids), _AT_ONCE):
        vectors = calibration.head.transform(source.embeddings(face_ids[start : start + _AT_ONCE]))
        part = vectors.sum(axis=0, dtype=np.float64)
        total = part if start == 0 else total + part
    return total
