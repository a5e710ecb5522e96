"""Fitting a score-to-likelihood-ratio curve to labelled pairs: cosines in, knots out.

Three steps, all on the counts of pairs in narrow bins of cosine, each class with equal weight
so that the prior of the data drops out:

1. PAV finds the best non-decreasing likelihood ratio, a staircase.  Before, one genuine pair
   is added at the lowest cosine and one impostor pair at the highest (rule of succession), so
   that no number of pairs supports an infinite claim.
2. Stairs too narrow to matter are joined, and so are the outermost ones until a few pairs of
   either class carry them: their likelihood ratios bound the curve.
3. A knot is put at the centre of each stair, and more of them where the centres are far
   apart.  The knots' values are fitted once more by maximum likelihood, still non-decreasing,
   because a line through the middles of stairs is biased where the stairs are long.
"""

import math
from dataclasses import dataclass

import numpy as np

from facesim_index.errors import CalibrationError
from facesim_index.records import Float32Array, Float64Array, Int64Array
from facesim_index.scoring import pool_adjacent_violators

BINS = 2000
"""Bins of cosine over [-1, 1]: 0.001 wide, over which the ratio changes by about 3 %."""

_MIN_WIDTH = 0.01
_MAX_KNOT_GAP = 0.03
_MIN_END_PAIRS = 3
_SEARCH = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-14, "gtol": 1e-10}
_LN_10 = float(np.log(10.0))


@dataclass(frozen=True, slots=True)
class _Histogram:
    """Pairs of both classes at ascending cosines; no cosine without a pair."""

    cosine: Float64Array
    genuine: Int64Array
    impostor: Int64Array

    @property
    def genuine_share(self) -> Float64Array:
        return np.asarray(self.genuine / self.genuine.sum(), dtype=np.float64)

    @property
    def impostor_share(self) -> Float64Array:
        return np.asarray(self.impostor / self.impostor.sum(), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Block:
    """A stretch of cosines in which the likelihood ratio is taken as one number."""

    low: float
    high: float
    genuine: float
    impostor: float
    mass_times_cosine: float

    def joined(self, following: "_Block") -> "_Block":
        return _Block(
            low=self.low,
            high=following.high,
            genuine=self.genuine + following.genuine,
            impostor=self.impostor + following.impostor,
            mass_times_cosine=self.mass_times_cosine + following.mass_times_cosine,
        )


def count_cosines(cosine: Float32Array | Float64Array) -> Int64Array:
    """Count pairs by cosine; counts of blocks of pairs may be added.

    Parameters
    ----------
    cosine : ndarray of any shape
        Of unit-norm embeddings; values a little outside [-1, 1] count as the nearest end.

    Returns
    -------
    counts : ndarray of shape (BINS,), int64
        Pairs in each of `BINS` equal bins over [-1, 1].
    """
    place = ((cosine.ravel() + 1.0) * (BINS / 2)).astype(np.int64)
    return np.bincount(np.clip(place, 0, BINS - 1), minlength=BINS).astype(np.int64)


def fit_monotone(
    genuine_cosine: Float32Array | Float64Array, impostor_cosine: Float32Array | Float64Array
) -> tuple[tuple[float, float], ...]:
    """Fit a non-decreasing curve from cosine to log10 likelihood ratio.

    Parameters
    ----------
    genuine_cosine, impostor_cosine : ndarray of shape (n_pairs,)
        Cosines of pairs that show one person, and two.  Every pair of the labelled people,
        not a selection: the high cosines among very many strangers are what a search meets.

    Returns
    -------
    knots : tuple of (float, float)
        Cosine and log10 likelihood ratio, for `Calibration.knots`.

    Raises
    ------
    CalibrationError
        A class has no pair, or genuine pairs are not more similar than impostor pairs.

    See Also
    --------
    fit_counts : The same from counts, for more pairs than fit in memory.
    """
    return fit_counts(count_cosines(genuine_cosine), count_cosines(impostor_cosine))


def fit_counts(
    genuine_counts: Int64Array, impostor_counts: Int64Array
) -> tuple[tuple[float, float], ...]:
    """Fit a non-decreasing curve from cosine to log10 likelihood ratio, from counts.

    Parameters
    ----------
    genuine_counts, impostor_counts : ndarray of shape (BINS,), int64
        From `count_cosines`.

    Returns
    -------
    knots : tuple of (float, float)
        Cosine (ascending, 4 decimals) and log10 likelihood ratio (non-decreasing, 3 decimals).

    Raises
    ------
    CalibrationError
        A class has no pair, or genuine pairs are not more similar than impostor pairs.
    """
    if genuine_counts.sum() == 0 or impostor_counts.sum() == 0:
        raise CalibrationError(
            f"{genuine_counts.sum()} genuine and {impostor_counts.sum()} impostor pairs: "
            "a curve needs pairs of both classes"
        )
    histogram = _with_succession(genuine_counts, impostor_counts)
    blocks = _joined_where_narrow(_joined_at_ends(_pav_blocks(histogram)))
    if len(blocks) < 2:
        raise CalibrationError(
            "genuine pairs do not have higher cosines than impostor pairs; check the labels"
        )
    centre = np.array([_centre(block, histogram) for block in blocks])
    ratio = np.array([_log10_ratio(block, histogram) for block in blocks])
    cosine = _without_wide_gaps(centre)
    value = _most_likely_values(histogram, cosine, np.interp(cosine, centre, ratio))
    knots = [(round(float(c), 4), round(float(v), 3)) for c, v in zip(cosine, value, strict=True)]
    return tuple(_without_idle_knots(knots))


def _with_succession(genuine_counts: Int64Array, impostor_counts: Int64Array) -> _Histogram:
    occupied = np.flatnonzero(genuine_counts + impostor_counts)
    genuine, impostor = genuine_counts[occupied], impostor_counts[occupied]
    genuine[0] += 1
    impostor[-1] += 1
    centre = np.asarray((occupied + 0.5) * (2.0 / BINS) - 1.0, dtype=np.float64)
    return _Histogram(centre, genuine, impostor)


def _pav_blocks(histogram: _Histogram) -> list[_Block]:
    starts = pool_adjacent_violators(histogram.genuine, histogram.impostor)
    ends = np.append(starts[1:], histogram.cosine.size) - 1
    mass = histogram.genuine_share + histogram.impostor_share
    columns = (
        histogram.cosine[starts],
        histogram.cosine[ends],
        np.add.reduceat(histogram.genuine, starts),
        np.add.reduceat(histogram.impostor, starts),
        np.add.reduceat(mass * histogram.cosine, starts),
    )
    return [_Block(*(float(value) for value in row)) for row in zip(*columns, strict=True)]


def _joined_at_ends(blocks: list[_Block]) -> list[_Block]:
    """Join the outermost blocks until enough pairs of either class carry their claim."""
    joined = list(blocks)
    while len(joined) > 2 and min(joined[0].genuine, joined[0].impostor) < _MIN_END_PAIRS:
        joined[:2] = [joined[0].joined(joined[1])]
    while len(joined) > 2 and min(joined[-1].genuine, joined[-1].impostor) < _MIN_END_PAIRS:
        joined[-2:] = [joined[-2].joined(joined[-1])]
    return joined


def _joined_where_narrow(blocks: list[_Block]) -> list[_Block]:
    """Join each narrow block with those that follow; the outermost blocks stay themselves."""
    joined = blocks[:1]
    open_block: _Block | None = None
    for block in blocks[1:-1]:
        open_block = block if open_block is None else open_block.joined(block)
        if open_block.high - open_block.low >= _MIN_WIDTH:
            joined.append(open_block)
            open_block = None
    if open_block is not None:
        joined.append(open_block)
    return joined + blocks[1:][-1:]


def _centre(block: _Block, histogram: _Histogram) -> float:
    """Return the mean cosine of the block's pairs, the two classes having equal weight."""
    mass = block.genuine / histogram.genuine.sum() + block.impostor / histogram.impostor.sum()
    return block.mass_times_cosine / float(mass)


def _log10_ratio(block: _Block, histogram: _Histogram) -> float:
    genuine_share = block.genuine / float(histogram.genuine.sum())
    impostor_share = block.impostor / float(histogram.impostor.sum())
    return math.log10(genuine_share / impostor_share)


def _without_wide_gaps(cosine: Float64Array) -> Float64Array:
    """Put more knots, evenly, between those that are far apart."""
    parts = np.ceil(np.diff(cosine) / _MAX_KNOT_GAP).astype(np.int64)
    pieces = [
        np.linspace(start, stop, n_parts, endpoint=False)
        for start, stop, n_parts in zip(cosine[:-1], cosine[1:], parts, strict=True)
    ]
    return np.concatenate((*pieces, cosine[-1:]))


def _most_likely_values(
    histogram: _Histogram, knot_cosine: Float64Array, first_guess: Float64Array
) -> Float64Array:
    """Return the knots' non-decreasing values that make the labels most likely.

    The objective is the `cllr` of the interpolated curve on the histogram, in nats.  The
    curve is the first value plus non-negative steps, and linear in them, so that the
    objective is convex; it is bounded by the ends of the first guess.
    """
    from scipy.optimize import minimize

    lowest, highest = first_guess[0], first_guess[-1]
    hats = np.array(
        [np.interp(histogram.cosine, knot_cosine, unit) for unit in np.eye(knot_cosine.size)]
    )
    per_step = np.cumsum(hats[::-1], axis=0)[::-1].T * _LN_10
    genuine, impostor = histogram.genuine_share, histogram.impostor_share

    def cost_and_slope(steps: Float64Array) -> tuple[float, Float64Array]:
        log_lr = per_step @ steps
        cost = genuine * np.logaddexp(0.0, -log_lr) + impostor * np.logaddexp(0.0, log_lr)
        slope = impostor * _logistic(log_lr) - genuine * _logistic(-log_lr)
        return float(cost.sum()), slope @ per_step

    bounds = [(lowest, highest), *[(0.0, None)] * (first_guess.size - 1)]
    start = np.diff(first_guess, prepend=0.0)
    found = minimize(
        cost_and_slope, start, jac=True, bounds=bounds, method="L-BFGS-B", options=_SEARCH
    )
    return np.asarray(np.clip(np.cumsum(found.x), lowest, highest), dtype=np.float64)


def _without_idle_knots(knots: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Drop the knots within level stretches: the curve is the same without them."""
    inner = [
        knot
        for before, knot, after in zip(knots, knots[1:], knots[2:], strict=False)
        if not before[1] == knot[1] == after[1]
    ]
    return [knots[0], *inner, knots[-1]]


def _logistic(log_odds: Float64Array) -> Float64Array:
    odds_against = np.exp(-np.clip(log_odds, -500.0, 500.0))
    return np.asarray(1.0 / (1.0 + odds_against), dtype=np.float64)
