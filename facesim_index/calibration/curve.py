"""Evidence, its interval and its bound, and false match rates, from scores by a calibration.

A score is what the head of the calibration gives: the cosine, unless another head was learned.
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

    It is the base-10 logarithm of the likelihood ratio [1]_: 2 says that such a score is 100 times
    as frequent among pairs of one person as among pairs of two, -2 says the opposite, and 0 says
    nothing.  It does not depend on a prior, and it is bounded by the evidence that the curve was
    fitted on.

    Parameters
    ----------
    score : ndarray of any shape, float32 or float64
        Scores of unit-norm embeddings by the head of the calibration, in [-1, 1].
    calibration : Calibration
        Fitted for the same engine identity as the embeddings.

    Returns
    -------
    ndarray of the same shape, float64

    Raises
    ------
    CalibrationError
        A score is outside [-1, 1] by more than 1e-3, or not finite.

    References
    ----------
    .. [1] N. Brümmer and J. du Preez, "Application-independent evaluation of
       speaker detection", Computer Speech & Language, 2006.

    Examples
    --------
    A curve from -2 at cosine 0 to 4 at cosine 0.4, and level outside:

    >>> from facesim_index.calibration.record import Evidence
    >>> evidence = Evidence("made up", 9, 99, 999, "2026-01-01")
    >>> calibration = Calibration("mine", "engine", "by hand", ((0.0, -2.0), (0.4, 4.0)), evidence)
    >>> log10_lr(np.array([-0.1, 0.2, 0.6]), calibration)
    array([-2.,  1.,  4.])
    """
    return _interpolated(score, calibration.knots)


def log10_lr_interval(
    score: Float32Array | Float64Array, calibration: Calibration
) -> tuple[Float64Array, Float64Array]:
    """Return the 95 % interval of the log10 likelihood ratio of each score.

    It says how much the curve depends on which people happened to be in the data it was fitted
    on, and comes from drawing those people anew.  `log10_lr` is always within it.  It says nothing
    about pictures and people of another kind than those in the data.

    Parameters
    ----------
    score : ndarray of any shape, float32 or float64
    calibration : Calibration
        As for `log10_lr`.

    Returns
    -------
    low, high : ndarray of the same shape, float64
        NaN when the calibration has no `band`.  Functions that return degrees refuse NaN.

    Raises
    ------
    CalibrationError
        As `log10_lr`.

    Examples
    --------
    >>> from facesim_index.calibration.record import Evidence
    >>> knots, band = ((0.0, -2.0), (0.4, 4.0)), ((-2.5, -1.0), (3.5, 5.0))
    >>> evidence = Evidence("made up", 9, 99, 999, "2026-01-01")
    >>> calibration = Calibration("mine", "engine", "by hand", knots, evidence, band=band)
    >>> log10_lr_interval(np.array([0.2]), calibration)
    (array([0.5]), array([2.]))
    """
    # Both are empty without a band.
    knots_and_band = tuple(zip(calibration.knots, calibration.band, strict=False))
    low = tuple((knot[0], ends[0]) for knot, ends in knots_and_band)
    high = tuple((knot[0], ends[1]) for knot, ends in knots_and_band)
    return _interpolated(score, low), _interpolated(score, high)


def bound_reached(score: Float32Array | Float64Array, calibration: Calibration) -> Int8Array:
    """Return whether each log10 likelihood ratio is the strongest claim of the calibration.

    There the true likelihood ratio may be stronger by any factor: the curve says no more than its
    data can show.

    Parameters
    ----------
    score : ndarray of any shape, float32 or float64
    calibration : Calibration
        As for `log10_lr`.

    Returns
    -------
    ndarray of the same shape, int8
        1 where the curve has its highest value (at its last knot and above), -1 where it has
        its lowest (at its first knot and below), otherwise 0.

    Raises
    ------
    CalibrationError
        As `log10_lr`.

    Examples
    --------
    >>> from facesim_index.calibration.record import Evidence
    >>> evidence = Evidence("made up", 9, 99, 999, "2026-01-01")
    >>> calibration = Calibration("mine", "engine", "by hand", ((0.0, -2.0), (0.4, 4.0)), evidence)
    >>> bound_reached(np.array([-0.1, 0.2, 0.6]), calibration)
    array([-1,  0,  1], dtype=int8)
    """
    value = log10_lr(score, calibration)
    highest, lowest = calibration.knots[-1][1], calibration.knots[0][1]
    return (value >= highest).astype(np.int8) - ((value <= lowest) & (value < highest))


def false_match_rate(score: Float32Array | Float64Array, calibration: Calibration) -> Float64Array:
    """Return how often two different people have at least each score.

    Times the number of faces in an index, it is the number of faces of other people to expect with
    at least the score of a match.

    Parameters
    ----------
    score : ndarray of any shape, float32 or float64
    calibration : Calibration
        As for `log10_lr`.

    Returns
    -------
    ndarray of the same shape, float64
        In (0, 1], never below what the number of impostor pairs can show.  NaN when the
        calibration has no `false_matches`.

    Raises
    ------
    CalibrationError
        As `log10_lr`.

    Examples
    --------
    >>> from facesim_index.calibration.record import Evidence
    >>> knots, rates = ((0.0, -2.0), (0.4, 4.0)), ((0.0, -1.0), (0.4, -3.0))
    >>> evidence = Evidence("made up", 9, 99, 999, "2026-01-01")
    >>> calibration = Calibration("mine", "engine", "by hand", knots, evidence, (), rates)
    >>> false_match_rate(np.array([0.2]), calibration)
    array([0.01])
    """
    return np.asarray(10.0 ** _interpolated(score, calibration.false_matches), dtype=np.float64)


def _interpolated(
    score: Float32Array | Float64Array, knots: tuple[tuple[float, float], ...]
) -> Float64Array:
    """Return the value at each score of the curve through some knots, NaN without knots."""
    limit = 1.0 + _SCORE_SLACK
    # NaN passes through min and max, and fails both comparisons.
    if score.size and not (score.min() >= -limit and score.max() <= limit):
        raise CalibrationError(
            "a score is not finite or not in [-1, 1]; are the embeddings of unit norm?"
        )
    if not knots:
        return np.full(score.shape, np.nan)
    at, value = np.array(knots, dtype=np.float64).T
    return np.asarray(np.interp(score, at, value), dtype=np.float64)
