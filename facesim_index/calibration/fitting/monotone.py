"""The smooth, non-decreasing curve from cosine to likelihood ratio that fits labelled pairs best.

There are three steps.  All use the numbers of pairs in narrow bins of cosine, and both classes have
equal weight, so that the share of genuine pairs in the data has no effect:

1. PAV finds the best non-decreasing likelihood ratio, a staircase.  Before that, one genuine pair
   is added at the lowest cosine and one impostor pair at the highest (rule of succession), so
   that no number of pairs supports an infinite likelihood ratio.
2. The outermost blocks of the staircase are joined until each has a few pairs of both classes.
   Their likelihood ratios are the bounds of every curve, of whatever method.
3. A curve that is linear between evenly spaced knots is fitted between those bounds by penalised
   maximum likelihood.  A staircase follows every gap between two pairs that is there by chance.
   The penalty on the second derivative of the curve (`ROUGHNESS_COST`) removes these steps and
   keeps the trend.
"""

import math
from dataclasses import dataclass

import numpy as np

from facesim_index.errors import CalibrationError
from facesim_index.metrics.odds import LN_10, logistic
from facesim_index.metrics.scoring import pool_adjacent_violators
from facesim_index.records import Float64Array, Int64Array

BINS = 2000
"""Number of bins of cosine over [-1, 1], each 0.001 wide; within one the ratio changes by 3 %."""

KNOT_GAP = 0.02
"""Approximate distance between two knots, in cosine."""

ROUGHNESS_COST = 1e-7
"""Penalty in nats for a second derivative of 1 (log10 LR per cosine squared) over a unit of cosine.

It was chosen with curves that were fitted on one half of the development people of LFW and judged
on the other half.  The mean Cllr was 0.0278 at 1e-8, 0.0274 at 1e-7 and at 1e-6, 0.0288 at 1e-5.
Cllr gives both classes the same weight, so the few impostor pairs at high cosines hardly count.
There a stiffer curve falls short of the evidence: at 1e-6 it claims a seventh as much at
cosine 0.4.
"""

SLOPE_COST = 1e-9
"""Penalty in nats for a slope of 1 nat of LR per cosine over a unit of cosine.

Without it the slope would be infinite where the classes do not overlap.  At the slopes of real
faces, about 30 nats for a cosine of 1, it changes the slope by less than 1 %.
"""

_MIN_END_PAIRS = 3
_MAX_NEWTON_STEPS = 60


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers of pairs of both classes at ascending cosines.

    Attributes
    ----------
    cosine : ndarray of shape (n_values,), float64
        Ascending; there is a pair at every cosine.
    genuine, impostor : ndarray of shape (n_values,), float64
        Numbers of pairs, or their weights.
    """

    cosine: Float64Array
    genuine: Float64Array
    impostor: Float64Array

    @property
    def genuine_share(self) -> Float64Array:
        """Share of the genuine pairs at each cosine."""
        return np.asarray(self.genuine / self.genuine.sum(), dtype=np.float64)

    @property
    def impostor_share(self) -> Float64Array:
        """Share of the impostor pairs at each cosine."""
        return np.asarray(self.impostor / self.impostor.sum(), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The strongest claims that the evidence supports.

    Attributes
    ----------
    lowest, highest : float
        Log10 likelihood ratios of the outermost blocks of PAV; below and above 0.
    low_cosine, high_cosine : float
        The blocks' centres, the two classes having equal weight.
    """

    lowest: float
    highest: float
    low_cosine: float
    high_cosine: float


@dataclass(frozen=True, slots=True)
class _Block:
    """An interval of cosines in which the likelihood ratio is constant."""

    genuine: float
    impostor: float
    genuine_share: float
    impostor_share: float
    share_times_cosine: float

    @property
    def centre(self) -> float:
        return self.share_times_cosine / (self.genuine_share + self.impostor_share)

    @property
    def log10_ratio(self) -> float:
        return math.log10(self.genuine_share / self.impostor_share)

    def joined(self, other: "_Block") -> "_Block":
        return _Block(
            self.genuine + other.genuine,
            self.impostor + other.impostor,
            self.genuine_share + other.genuine_share,
            self.impostor_share + other.impostor_share,
            self.share_times_cosine + other.share_times_cosine,
        )


def histogram_of(
    genuine_counts: Int64Array | Float64Array, impostor_counts: Int64Array | Float64Array
) -> Histogram:
    """Return the numbers of pairs of the bins that are not empty.

    Parameters
    ----------
    genuine_counts, impostor_counts : ndarray of shape (BINS,), int64 or float64
        Numbers of pairs, or their weights, in equal bins over [-1, 1].

    Returns
    -------
    Histogram

    Raises
    ------
    CalibrationError
        A class has no pair.

    Examples
    --------
    >>> genuine, impostor = np.zeros(BINS), np.zeros(BINS)
    >>> genuine[1500], impostor[1000] = 3, 7
    >>> histogram = histogram_of(genuine, impostor)
    >>> histogram.cosine.round(4).tolist(), histogram.genuine.tolist()
    ([0.0005, 0.5005], [0.0, 3.0])
    """
    if genuine_counts.sum() == 0 or impostor_counts.sum() == 0:
        raise CalibrationError(
            f"{genuine_counts.sum():.0f} genuine and {impostor_counts.sum():.0f} impostor pairs: "
            "a curve needs pairs of both classes"
        )
    occupied = np.flatnonzero(genuine_counts + impostor_counts)
    return Histogram(
        np.asarray((occupied + 0.5) * (2.0 / BINS) - 1.0, dtype=np.float64),
        genuine_counts[occupied].astype(np.float64),
        impostor_counts[occupied].astype(np.float64),
    )


def bounds_of(histogram: Histogram) -> Bounds:
    """Return the strongest likelihood ratios that a few pairs of both classes support.

    One genuine pair is added at the lowest cosine and one impostor pair at the highest (rule of
    succession), so that no number of pairs supports an infinite likelihood ratio.

    Parameters
    ----------
    histogram : Histogram

    Returns
    -------
    Bounds

    Raises
    ------
    CalibrationError
        Genuine pairs are not more similar than impostor pairs.

    Examples
    --------
    >>> histogram = Histogram(np.array([0.0, 0.5]), np.array([0.0, 99.0]), np.array([999.0, 0.0]))
    >>> bounds = bounds_of(histogram)
    >>> round(bounds.lowest, 2), round(bounds.highest, 2)
    (-2.0, 3.0)
    """
    blocks = _joined_at_ends(_pav_blocks(_with_succession(histogram)))
    if len(blocks) < 2:
        raise CalibrationError(
            "genuine pairs do not have higher cosines than impostor pairs; check the labels"
        )
    first, last = blocks[0], blocks[-1]
    return Bounds(first.log10_ratio, last.log10_ratio, first.centre, last.centre)


def smooth_curve(histogram: Histogram, bounds: Bounds) -> tuple[Float64Array, Float64Array]:
    """Fit a smooth non-decreasing curve from cosine to log10 likelihood ratio.

    Its cost is the `scoring.cllr` of the histogram, in nats, plus `ROUGHNESS_COST` times the
    integral of the squared second derivative [1]_.

    Parameters
    ----------
    histogram : Histogram
    bounds : Bounds
        Of the histogram; the curve stays within them.

    Returns
    -------
    cosine : ndarray of shape (n_knots,), float64
        Evenly spaced between the cosines of the bounds.
    log10_lr : ndarray of shape (n_knots,), float64
        The curve is linear between these values.

    References
    ----------
    .. [1] P. J. Green and B. W. Silverman, "Nonparametric regression and generalized linear
       models: a roughness penalty approach", Chapman and Hall, 1994.

    Examples
    --------
    >>> cosine = np.linspace(-0.2, 0.6, 81)
    >>> density = [np.exp(-0.5 * ((cosine - mean) / 0.1) ** 2) for mean in (0.4, 0.0)]
    >>> histogram = Histogram(cosine, 1000 * density[0], 1000 * density[1])
    >>> knots, log10_lr = smooth_curve(histogram, bounds_of(histogram))
    >>> round(float(np.interp(0.25, knots, log10_lr)), 2)  # 20 (0.25 - 0.2) / 0.5 / ln 10
    0.87
    """
    span = bounds.high_cosine - bounds.low_cosine
    n_knots = max(2, round(span / KNOT_GAP) + 1)
    knots = np.linspace(bounds.low_cosine, bounds.high_cosine, n_knots)
    problem = _Problem.of(histogram, knots, bounds)
    # A straight line between the bounds: no step is 0, so none is stuck at its limit.
    start = np.full(n_knots, (bounds.highest - bounds.lowest) / (n_knots - 1))
    start[0] = 0.0
    value = bounds.lowest + np.cumsum(problem.least(start))
    return knots, np.asarray(np.minimum(value, bounds.highest), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Problem:
    """The fit as a convex problem: the curve is `floor` plus steps that are at least 0."""

    floor: float
    per_step: Float64Array  # (n_values, n_knots): nats of log LR at each cosine per step
    roughness: Float64Array  # (n_knots, n_knots)
    genuine: Float64Array
    impostor: Float64Array

    @classmethod
    def of(cls, histogram: Histogram, knots: Float64Array, bounds: Bounds) -> "_Problem":
        hats = np.array([np.interp(histogram.cosine, knots, unit) for unit in np.eye(knots.size)])
        per_step = np.cumsum(hats[::-1], axis=0)[::-1].T * LN_10
        gap = knots[1] - knots[0]
        # The integral of the second derivative, whose value at a knot is a difference of steps.
        slope_price = np.full(knots.size, SLOPE_COST * LN_10**2 / gap)
        slope_price[0] = 0.0
        bend = np.diff(np.eye(knots.size)[1:], axis=0) * gap**-1.5
        return cls(
            bounds.lowest * LN_10,
            per_step,
            ROUGHNESS_COST * bend.T @ bend + np.diag(slope_price),
            histogram.genuine_share,
            histogram.impostor_share,
        )

    def cost(self, steps: Float64Array) -> float:
        log_lr = self.floor + self.per_step @ steps
        missed = self.genuine @ np.logaddexp(0.0, -log_lr)
        false = self.impostor @ np.logaddexp(0.0, log_lr)
        return float(missed + false + steps @ self.roughness @ steps)

    def least(self, steps: Float64Array) -> Float64Array:
        """Return the best steps, by Newton's method with all steps at least 0."""
        cost = self.cost(steps)
        for _ in range(_MAX_NEWTON_STEPS):
            direction = self._model_minimum(steps) - steps
            scale, new_cost = 1.0, self.cost(steps + direction)
            while new_cost > cost and scale > 1e-6:
                scale /= 2.0
                new_cost = self.cost(steps + scale * direction)
            if new_cost > cost - 1e-13:
                break
            steps, cost = steps + scale * direction, new_cost
        return steps

    def _model_minimum(self, steps: Float64Array) -> Float64Array:
        from scipy.linalg import cholesky, solve_triangular
        from scipy.optimize import nnls

        probability = logistic(self.floor + self.per_step @ steps)
        error = self.impostor * probability - self.genuine * (1.0 - probability)
        weight = (self.genuine + self.impostor) * probability * (1.0 - probability)
        slope = error @ self.per_step + 2.0 * self.roughness @ steps
        curvature = (self.per_step.T * weight) @ self.per_step + 2.0 * self.roughness
        # Far from all pairs the curvature is 0: a little is added so that the matrix has a root.
        curvature[np.diag_indices_from(curvature)] += 1e-11 * np.trace(curvature)
        root = cholesky(curvature)
        target = solve_triangular(root, curvature @ steps - slope, trans="T")
        return np.asarray(nnls(root, target)[0], dtype=np.float64)


def _with_succession(histogram: Histogram) -> Histogram:
    genuine, impostor = histogram.genuine.copy(), histogram.impostor.copy()
    genuine[0] += 1.0
    impostor[-1] += 1.0
    return Histogram(histogram.cosine, genuine, impostor)


def _pav_blocks(histogram: Histogram) -> list[_Block]:
    starts = pool_adjacent_violators(histogram.genuine, histogram.impostor)
    genuine, impostor = histogram.genuine_share, histogram.impostor_share
    columns = (
        histogram.genuine, histogram.impostor,
        genuine, impostor, (genuine + impostor) * histogram.cosine,
    )  # fmt: skip
    sums = [np.add.reduceat(column, starts).tolist() for column in columns]
    return [_Block(*row) for row in zip(*sums, strict=True)]


def _joined_at_ends(blocks: list[_Block]) -> list[_Block]:
    """Join the outermost blocks until each of them has a few pairs of both classes."""
    joined = list(blocks)
    while len(joined) > 2 and min(joined[0].genuine, joined[0].impostor) < _MIN_END_PAIRS:
        joined[:2] = [joined[0].joined(joined[1])]
    while len(joined) > 2 and min(joined[-1].genuine, joined[-1].impostor) < _MIN_END_PAIRS:
        joined[-2:] = [joined[-2].joined(joined[-1])]
    return joined
