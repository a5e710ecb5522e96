"""What a calibration says of scores: the evidence, its interval and bound, false match rates.

A score is what the calibration's head gives: the cosine, unless another head was learned.
"""

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.record import Calibration
from facesim_index.errors import CalibrationError
from facesim_index.records import Float32Array, Float64Array

Int8Array = NDArray[np.int8]

_SCORE_SLACK = 1e-3


def log10_lr(score: Float32Array | Float64Array, calibration: Calibration) -> Float64Array:
    """Return the strength of the evidence that each pair of faces shows one person.

    The base-10 logarithm of the likelihood ratio: 2 says that such a score is 100 times as
    frequent among pairs of one person as among pairs of two; -2 the opposite; 0 says nothing.
    It is free of any prior, and bounded by the evidence that the curve was fitted on.

    Parameters
    ----------
    score : ndarray of any shape, float32 or float64
        Of unit-norm embeddings, in [-1, 1].
    calibration : Calibration
        Fitted for the same engine identity as the embeddings.

    Returns
    -------
    log10_lr : ndarray of the same shape, float64

    Raises
    ------
    CalibrationError
        A score is outside [-1, 1] by more than 1e-3, or not finite.
    """
    _require_scores(score)
    return _interpolated(score, calibration.knots)


def log10_lr_interval(
    score: Float32Array | Float64Array, calibration: Calibration
) -> tuple[Float64Array, Float64Array]:
    """Return the 95 % interval of the log10 likelihood ratio of each score.

    How much the curve depends on who happened to be in the data it was fitted on, from drawing
    those people anew.  It always holds `log10_lr`.  It knows nothing of other pictures and
    other people than those were a sample of.

    Parameters
    ----------
    score : ndarray of any shape, float32 or float64
        Of unit-norm embeddings, in [-1, 1].
    calibration : Calibration

    Returns
    -------
    low, high : ndarray of the same shape, float64
        NaN when the calibration has no `band`; test for it before asking for degrees, which
        refuse NaN.

    Raises
    ------
    CalibrationError
        A score is outside [-1, 1] by more than 1e-3, or not finite.
    """
    _require_scores(score)
    if not calibration.band:
        return np.full(score.shape, np.nan), np.full(score.shape, np.nan)
    knot_score = [knot[0] for knot in calibration.knots]
    low, high = (
        _interpolated(score, tuple(zip(knot_score, ends, strict=True)))
        for ends in zip(*calibration.band, strict=True)
    )
    return low, high


def bound_reached(score: Float32Array | Float64Array, calibration: Calibration) -> Int8Array:
    """Return whether each log10 likelihood ratio is the strongest claim of the evidence.

    There the true ratio may be stronger by any factor: the curve says no more than its data
    can show.

    Parameters
    ----------
    score : ndarray of any shape, float32 or float64
        Of unit-norm embeddings, in [-1, 1].
    calibration : Calibration

    Returns
    -------
    ndarray of the same shape, int8
        1 where the curve has its highest value (at its last knot and above), -1 where it has
        its lowest (at its first knot and below), otherwise 0.

    Raises
    ------
    CalibrationError
        A score is outside [-1, 1] by more than 1e-3, or not finite.
    """
    value = log10_lr(score, calibration)
    highest, lowest = calibration.knots[-1][1], calibration.knots[0][1]
    return (value >= highest).astype(np.int8) - ((value <= lowest) & (value < highest))


def false_match_rate(score: Float32Array | Float64Array, calibration: Calibration) -> Float64Array:
    """Return how often two different people score at least each score.

    Times the number of faces in an index, it is the number of strangers to expect at or above
    a match.

    Parameters
    ----------
    score : ndarray of any shape, float32 or float64
        Of unit-norm embeddings, in [-1, 1].
    calibration : Calibration

    Returns
    -------
    ndarray of the same shape, float64
        In (0, 1], never below what the number of impostor pairs can show; NaN when the
        calibration has no `false_matches`.

    Raises
    ------
    CalibrationError
        A score is outside [-1, 1] by more than 1e-3, or not finite.
    """
    _require_scores(score)
    if not calibration.false_matches:
        return np.full(score.shape, np.nan)
    return np.asarray(10.0 ** _interpolated(score, calibration.false_matches), dtype=np.float64)


def _require_scores(score: Float32Array | Float64Array) -> None:
    limit = 1.0 + _SCORE_SLACK
    # NaN passes through min and max, and fails both comparisons.
    if score.size and not (score.min() >= -limit and score.max() <= limit):
        raise CalibrationError(
            "a score is not finite or not in [-1, 1]; are the embeddings of unit norm?"
        )


def _interpolated(
    score: Float32Array | Float64Array, knots: tuple[tuple[float, float], ...]
) -> Float64Array:
    at, value = np.array(knots, dtype=np.float64).T
    return np.asarray(np.interp(score, at, value), dtype=np.float64)
