"""The share of genuine pairs among unlabelled ones, from their likelihood ratios alone.

Each pair is genuine with an unknown probability, the share, and its likelihood ratio says how
much more its score fits a genuine pair than an impostor pair.  The share that makes all scores
most likely is the fixed point of "the mean posterior at this share is this share": EM for
label shift [1]_.  Arrays in, numbers out.

A few pairs may be added to those observed, as many as what was known before is worth.  They
keep the share off 0 and 1, and are forgotten as soon as there are many pairs.

References
----------
.. [1] M. Saerens, P. Latinne and C. Decaestecker, "Adjusting the outputs of a classifier to
   new a priori probabilities", Neural Computation, 2002.
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.errors import CalibrationError
from facesim_index.metrics.odds import LN_10, logistic
from facesim_index.records import Float64Array, Int64Array

_LOG_ODDS_RANGE = (-50.0, 30.0)
_BISECTIONS = 50
_GRID = 401
_GRID_PASSES = 3
_NEGLIGIBLE = 25.0  # in nats below the highest posterior


@dataclass(frozen=True, slots=True)
class KnownBefore:
    """What was known of the share before looking, in pairs; a Beta distribution.

    Attributes
    ----------
    genuine, impostor : float
        Positive.

    Raises
    ------
    CalibrationError
        One is not positive.
    """

    genuine: float = 0.5
    impostor: float = 0.5

    def __post_init__(self) -> None:
        if not (self.genuine > 0.0 and self.impostor > 0.0):
            raise CalibrationError("what is known before is worth a positive number of pairs")


def estimate_share(
    log10_lr: Float64Array,
    counts: Float64Array | Int64Array | None = None,
    *,
    before: KnownBefore | None = None,
) -> float:
    """Return the share of genuine pairs that makes the evidence of many pairs most likely.

    Parameters
    ----------
    log10_lr : ndarray of shape (n,), float64
        Base-10 logarithms of likelihood ratios.
    counts : ndarray of shape (n,), optional
        How many pairs have each of them; one by default.
    before : KnownBefore, optional
        Half a pair of either kind by default.

    Returns
    -------
    share : float
        In (0, 1).

    Raises
    ------
    CalibrationError
        A likelihood ratio is not finite, or a count is negative or missing.

    Examples
    --------
    One pair in ten has evidence beyond doubt:

    >>> round(estimate_share(np.array([6.0, -6.0]), np.array([1000, 9000])), 3)
    0.1
    """
    log10_lr = np.asarray(log10_lr, dtype=np.float64)
    weights = np.ones_like(log10_lr) if counts is None else np.asarray(counts, dtype=np.float64)
    if weights.shape != log10_lr.shape or not np.isfinite(log10_lr).all():
        raise CalibrationError("a share needs finite likelihood ratios, and a count for each")
    if not (weights >= 0.0).all():
        raise CalibrationError("counts of pairs must not be negative")
    return float(most_likely_shares(log10_lr, weights[None, :], before or KnownBefore())[0])


def most_likely_shares(
    log10_lr: Float64Array, counts: Float64Array, before: KnownBefore
) -> Float64Array:
    """Return the share of `estimate_share` for each row of counts; nothing is checked.

    At the share in question as many genuine pairs are expected after looking as before.
    Below it there are more, above it fewer, so that bisection finds it however slowly EM's
    own steps would get there.

    Parameters
    ----------
    log10_lr : ndarray of shape (n,), float64
    counts : ndarray of shape (n_rows, n), float64
    before : KnownBefore

    Returns
    -------
    shares : ndarray of shape (n_rows,), float64
        In (0, 1).
    """
    log_lr = log10_lr * LN_10
    n_pairs = counts.sum(axis=1) + before.genuine + before.impostor
    low, high = (np.full(len(counts), limit) for limit in _LOG_ODDS_RANGE)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        posterior = logistic(middle[:, None] + log_lr)
        found = np.einsum("ij,ij->i", counts, posterior) + before.genuine
        too_low = found > n_pairs * logistic(middle)
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    return logistic((low + high) / 2.0)


def credible_interval(
    log10_lr: Float64Array,
    counts: Float64Array,
    before: KnownBefore,
    *,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the bounds between which the share lies after looking, pairs being independent.

    Parameters
    ----------
    log10_lr, counts : ndarray of shape (n,), float64
    before : KnownBefore
    confidence : float, default=0.95
        Probability between the bounds; what is left is shared by both sides.

    Returns
    -------
    low, high : float
        In (0, 1).
    """
    log_lr = log10_lr[:, None] * LN_10
    n_before = before.genuine + before.impostor
    low, high = _LOG_ODDS_RANGE
    for _ in range(_GRID_PASSES):  # ever closer to where there is anything
        log_odds = np.linspace(low, high, _GRID)
        gain = np.logaddexp(0.0, log_odds + log_lr) - np.logaddexp(0.0, log_odds)
        posterior = before.genuine * log_odds - n_before * np.logaddexp(0.0, log_odds)
        posterior += counts @ gain
        likely = np.flatnonzero(posterior > posterior.max() - _NEGLIGIBLE)
        low = float(log_odds[max(0, likely[0] - 1)])
        high = float(log_odds[min(_GRID - 1, likely[-1] + 1)])
    mass = np.exp(posterior - posterior.max())
    below = (np.cumsum(mass) - mass / 2.0) / mass.sum()
    tail = (1.0 - confidence) / 2.0
    bounds = np.interp([tail, 1.0 - tail], below, log_odds)
    return float(logistic(bounds[0])), float(logistic(bounds[1]))
