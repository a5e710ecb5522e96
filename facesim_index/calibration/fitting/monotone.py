"""The smooth, non-decreasing curve that makes labelled pairs most likely: counts in, knots out.

Three steps, all on the pairs in narrow bins of cosine, each class with equal weight so that the
prior of the data drops out:

1. PAV finds the best non-decreasing likelihood ratio, a staircase.  Before, one genuine pair
   is added at the lowest cosine and one impostor pair at the highest (rule of succession), so
   that no number of pairs supports an infinite claim.
2. The outermost stairs are joined until a few pairs of either class carry them: their
   likelihood ratios bound every curve, of whatever method.
3. A curve that is linear between evenly spaced knots is fitted between those bounds by penalised
   maximum likelihood.  A staircase follows every chance gap between two pairs; the penalty on
   the curve's second derivative (`ROUGHNESS_COST`) takes the chance out and leaves the trend.
"""

import math
from dataclasses import dataclass

import numpy as np

from facesim_index.errors import CalibrationError
from facesim_index.metrics.odds import LN_10, logistic
from facesim_index.metrics.scoring import pool_adjacent_violators
from facesim_index.records import Float64Array, Int64Array

BINS = 2000
"""Bins of cosine over [-1, 1]: 0.001 wide, over which the ratio changes by about 3 %."""

KNOT_GAP = 0.02
"""Distance between two knots, about."""

ROUGHNESS_COST = 1e-7
"""Price in nats of one (log10 LR per cosine squared) squared, over a unit of cosine.

Chosen with each half of LFW's development people judging a curve fitted on the other.  Mean
Cllr: 0.0278 at 1e-8, 0.0274 at 1e-7 and at 1e-6, 0.0288 at 1e-5.  Cllr gives both classes
the same weight, so the few impostor pairs at high cosines hardly count.  There a stiffer curve
falls short of the evidence: at 1e-6 it claims a seventh as much at cosine 0.4.
"""

SLOPE_COST = 1e-9
"""Price in nats of one (nat of LR per cosine) squared, over a unit of cosine.

People whose pairs never mix would give an infinite slope.  At the slopes of real faces, about
30 nats for a cosine of 1, it changes the slope by less than 1 %.
"""

_MIN_END_PAIRS = 3
_MAX_NEWTON_STEPS = 60


@dataclass(frozen=True, slots=True)
class Histogram:
    """Pairs of both classes at ascending cosines; no cosine without a pair.

    Attributes
    ----------
    cosine : ndarray of shape (n_values,), float64
    genuine, impostor : ndarray of shape (n_values,), float64
        Pairs, or their weights.
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
    """What the evidence can show at most.

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
    """A stretch of cosines in which the likelihood ratio is taken as one number."""

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
    """Return the pairs of the occupied bins.

    Parameters
    ----------
    genuine_counts, impostor_counts : ndarray of shape (BINS,), int64 or float64
        Pairs, or their weights, in equal bins over [-1, 1].

    Returns
    -------
    Histogram

    Raises
    ------
    CalibrationError
        A class has no pair.
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
    """Return the strongest claims that a few pairs of either class carry.

    One genuine pair is added at the lowest cosine and one impostor pair at the highest (rule of
    succession), so that no number of pairs supports an infinite claim.

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
    integral of the squared second derivative.

    Parameters
    ----------
    histogram : Histogram
    bounds : Bounds
        Of the histogram; the curve stays within them.

    Returns
    -------
    cosine, log10_lr : ndarray of shape (n_knots,), float64
        Evenly spaced between the bounds' cosines, linear in between.
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
    """Convex: the curve is `floor` plus steps >= 0, and its cost is convex in the steps."""

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
        """Newton's method; each step solves the quadratic model with all steps >= 0."""
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
        # Far from all pairs nothing is curved: a grain of it keeps the root real.
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
    """Join the outermost blocks until enough pairs of either class carry their claim."""
    joined = list(blocks)
    while len(joined) > 2 and min(joined[0].genuine, joined[0].impostor) < _MIN_END_PAIRS:
        joined[:2] = [joined[0].joined(joined[1])]
    while len(joined) > 2 and min(joined[-1].genuine, joined[-1].impostor) < _MIN_END_PAIRS:
        joined[-2:] = [joined[-2].joined(joined[-1])]
    return joined
