"""Odds as natural logarithms, and the probabilities that they stand for."""

import math

import numpy as np

from facesim_index.records import Float64Array

LN_2 = math.log(2.0)
LN_10 = math.log(10.0)
"""Nats in one unit of a base-10 logarithm."""

_LIMIT = 307.0 * LN_10  # The exponential of more than this is not a finite number.


def logistic(log_odds: Float64Array, *, out: Float64Array | None = None) -> Float64Array:
    """Return the probabilities that odds stand for: the logistic function.

    Parameters
    ----------
    log_odds : ndarray of any shape, float64
        Natural logarithms of odds; infinities are allowed.
    out : ndarray of the same shape, float64, optional
        Where to write the probabilities, possibly `log_odds` itself; a new array by default.

    Returns
    -------
    ndarray of the same shape, float64
        In (0, 1], at least 1e-307.

    Examples
    --------
    >>> logistic(np.array([-np.log(3.0), 0.0, np.log(3.0)])).round(6)
    array([0.25, 0.5 , 0.75])
    """
    # One buffer all along: a block may have millions of cells.
    buffer = np.asarray(np.clip(log_odds, -_LIMIT, _LIMIT, out=out), dtype=np.float64)
    np.negative(buffer, out=buffer)
    np.exp(buffer, out=buffer)
    np.add(buffer, 1.0, out=buffer)
    return np.reciprocal(buffer, out=buffer)
