"""How far evidence reaches beyond the highest scores of strangers: the tail of the impostor pairs.

Among millions of impostor pairs the highest few scores say little by themselves, but how the
number of pairs falls towards them is known well.  Excesses over a high threshold follow a
generalised Pareto distribution (peaks over threshold [1]_); its exponential case is used here,
which falls slower than the tails of cosines that were seen, so that it claims less.  Beyond the
score that `JOINED_AT` impostor pairs reach, the likelihood ratio grows only as that tail falls: the
density of genuine pairs is taken to be level there, although it still grows up to its middle, where
the curve ends at the latest.

The tail is followed to a false match rate of ``1 / (REACH * n_pairs)`` and no further: beyond it
relatives and wrong labels are what matters, and of these the data say nothing.

References
----------
.. [1] S. Coles, "An Introduction to Statistical Modeling of Extreme Values", Springer, 2001,
   chapter 4.
"""

import math
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.fitting.monotone import BINS
from facesim_index.records import Float64Array, Int64Array

LEAST_PAIRS = 1_000_000
"""With fewer impostor pairs no tail is followed."""

EXCESSES = 300
"""So many impostor pairs are above the threshold of the tail."""

JOINED_AT = 10
REACH = 100.0

_STEP = 0.02


@dataclass(frozen=True, slots=True)
class ImpostorTail:
    """The tail of the scores of impostor pairs.

    Attributes
    ----------
    start : float
        The score where it is joined.
    log10_rate : float
        Base-10 logarithm of the false match rate there.
    decades : float
        By how many powers of ten the rate falls for each unit of the score.
    end : float
        The score where it ends.
    """

    start: float
    log10_rate: float
    decades: float
    end: float

    @property
    def scores(self) -> Float64Array:
        """Evenly spaced scores from after its start to its end, none where it has no length."""
        if self.end <= self.start:
            return np.empty(0)
        n_steps = max(1, math.ceil((self.end - self.start) / _STEP))
        return np.linspace(self.start, self.end, n_steps + 1)[1:]


def impostor_tail(
    genuine_counts: Int64Array | Float64Array, impostor_counts: Int64Array | Float64Array
) -> ImpostorTail | None:
    """Return the tail of the scores of impostor pairs; None where there are too few.

    Parameters
    ----------
    genuine_counts, impostor_counts : ndarray of shape (BINS,)
        Pairs in each of `BINS` equal bins of the score over [-1, 1].

    Returns
    -------
    ImpostorTail or None
    """
    total = float(impostor_counts.sum())
    if total < LEAST_PAIRS:
        return None
    edge = np.arange(BINS) * (2.0 / BINS) - 1.0
    at_least = impostor_counts[::-1].cumsum()[::-1]
    threshold = int(np.flatnonzero(at_least >= EXCESSES)[-1])
    joined = int(np.flatnonzero(at_least >= JOINED_AT)[-1])
    above = impostor_counts[threshold:].astype(np.float64)
    excess = (np.arange(len(above)) + 0.5) * (2.0 / BINS)
    decades = math.log10(math.e) * above.sum() / (above @ excess)
    log10_rate = math.log10(at_least[joined] / total)
    of_genuine = genuine_counts.cumsum()
    middle = float(edge[np.searchsorted(of_genuine, of_genuine[-1] / 2.0)])
    end = edge[joined] + (log10_rate + math.log10(REACH * total)) / decades
    return ImpostorTail(float(edge[joined]), log10_rate, float(decades), min(float(end), middle))


def with_tail(
    curve: tuple[Float64Array, Float64Array], tail: ImpostorTail | None
) -> tuple[Float64Array, Float64Array]:
    """Return a curve that follows a tail beyond where that starts.

    Parameters
    ----------
    curve : tuple of ndarray
        Scores, ascending, and log10 likelihood ratios, non-decreasing.
    tail : ImpostorTail or None

    Returns
    -------
    scores, log10_lr : ndarray
        As `curve`, longer; the same without a tail.
    """
    if tail is None or not len(tail.scores):
        return curve
    score, value = curve
    at_start = float(np.interp(tail.start, score, value))
    before = score < tail.start
    beyond = at_start + tail.decades * (tail.scores - tail.start)
    return (
        np.concatenate([score[before], [tail.start], tail.scores]),
        np.concatenate([value[before], [at_start], beyond]),
    )
