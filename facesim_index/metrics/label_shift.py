"""The share of genuine pairs among unlabelled ones, from their likelihood ratios alone.

Each pair is genuine with an unknown probability, the share.  Its likelihood ratio says how much
more likely its score is for a genuine pair than for an impostor pair.  At the share that makes all
scores most likely, the mean posterior probability of a genuine pair equals the share itself.  The
EM algorithm for label shift finds this fixed point [1]_; here it is found by bisection.

What was known before is expressed as a few pairs that are added to those observed.  They keep the
share away from 0 and 1, and no longer matter once there are many pairs.

References
----------
.. [1] M. Saerens, P. Latinne and C. Decaestecker, "Adjusting the outputs of a classifier to
   new a priori probabilities", Neural Computation, 2002.
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.errors import CalibrationError
from facesim_index.metrics.odds import LN_10, logistic
from facesim_index.records import Float64Array

_LOG_ODDS_RANGE = (-50.0, 30.0)
_BISECTIONS = 50
_GRID = 401
_GRID_PASSES = 3
_NEGLIGIBLE = 25.0  # in nats below the highest posterior


@dataclass(frozen=True, slots=True)
class KnownBefore:
    """What was known of the share before looking: a Beta distribution.

    Attributes
    ----------
    genuine, impostor : float, default=0.5
        The parameters of the distribution, as numbers of pairs; positive.

    Raises
    ------
    CalibrationError
        A number is not positive.
    """

    genuine: float = 0.5
    impostor: float = 0.5

    def __post_init__(self) -> None:
        if not (self.genuine > 0.0 and self.impostor > 0.0):
            raise CalibrationError("what is known before is worth a positive number of pairs")


def most_likely_shares(
    log10_lr: Float64Array, counts: Float64Array, before: KnownBefore
) -> Float64Array:
    """Return, for each row of counts, the share of genuine pairs that makes it most likely.

    At that share as many genuine pairs are expected after looking as before.  At a lower share
    there are more, at a higher one fewer.  So bisection finds it, however slowly the steps of EM
    would get there.  Nothing is checked.

    Parameters
    ----------
    log10_lr : ndarray of shape (n,), float64
        Base-10 logarithms of likelihood ratios, finite.
    counts : ndarray of shape (n_rows, n), float64
        How many pairs have each of them, at least 0; each row is a sample of its own.
    before : KnownBefore
        What was known of the share of every row.

    Returns
    -------
    shares : ndarray of shape (n_rows,), float64
        In (0, 1).

    Examples
    --------
    One pair in ten has evidence beyond doubt, then one in five:

    >>> log10_lr, counts = np.array([6.0, -6.0]), np.array([[1000.0, 9000.0], [200.0, 800.0]])
    >>> most_likely_shares(log10_lr, counts, KnownBefore()).round(3)
    array([0.1, 0.2])
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
    """Return the credible interval of the share of genuine pairs, the pairs being independent.

    The posterior density is computed on a grid of log odds, which is made finer around where the
    density is not negligible.

    Parameters
    ----------
    log10_lr : ndarray of shape (n,), float64
        Base-10 logarithms of likelihood ratios, finite.
    counts : ndarray of shape (n,), float64
        How many pairs have each of them, at least 0.
    before : KnownBefore
        What was known of the share before looking.
    confidence : float, default=0.95
        Probability between the bounds, in (0, 1).  Half of the rest is below them, half above.

    Returns
    -------
    low, high : float
        In (0, 1).

    Examples
    --------
    Ten of a hundred pairs have evidence beyond doubt:

    >>> low, high = credible_interval(
    ...     np.array([6.0, -6.0]), np.array([10.0, 90.0]), KnownBefore()
    ... )
    >>> round(low, 2), round(high, 2)
    (0.05, 0.17)
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
