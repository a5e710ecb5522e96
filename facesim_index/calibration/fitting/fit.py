"""Fitting a score-to-likelihood-ratio curve to labelled pairs: cosines in, knots out.

`fit_scores` is for labelled pairs with their people, and gives the curve, how sure it is, and
how often impostor pairs score so high.  `fit_monotone` and `fit_counts` give the curve alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from facesim_index.calibration.fitting.folds import N_FOLDS, FoldCounts, usable_folds
from facesim_index.calibration.fitting.monotone import (
    BINS,
    Bounds,
    Histogram,
    bounds_of,
    histogram_of,
    smooth_curve,
)
from facesim_index.calibration.fitting.parametric import beta_curve, logistic_curve
from facesim_index.calibration.fitting.resampling import LabelledScores, PeopleResampler, bins_of
from facesim_index.errors import CalibrationError
from facesim_index.metrics.odds import LN_2, LN_10
from facesim_index.records import Float32Array, Float64Array, Int64Array
from facesim_index.utils.threads import one_blas_thread

__all__ = [
    "BINS",
    "METHODS",
    "Fit",
    "LabelledScores",
    "Method",
    "choose_method",
    "count_cosines",
    "cross_validated_cllr",
    "false_match_knots",
    "fit_counts",
    "fit_monotone",
    "fit_scores",
]

Method = Literal["logistic", "isotonic", "beta"]
Knots = tuple[tuple[float, float], ...]
_Curve = tuple[Float64Array, Float64Array]

METHODS: dict[Method, Callable[[Histogram, Bounds], _Curve]] = {
    "logistic": logistic_curve,
    "isotonic": smooth_curve,
    "beta": beta_curve,
}
"""Logistic and beta calibration have two and three parameters; isotonic is the smooth monotone
curve.  All are bounded by the outermost blocks of PAV."""

MIN_PEOPLE = 5
"""People with two pictures or more, without whom nothing is fitted."""

MIN_GENUINE = 10
MIN_IMPOSTOR = 20

MIN_PEOPLE_TO_CHOOSE = 20
"""Below so many people with two pictures, folds are too small to prefer a method to logistic."""

DRAWN_SHARE = 0.95
"""Share of the drawn curves within the 95 % interval."""

_PARTITIONS = 3
_FALSE_MATCH_STEP = 20  # bins between two knots: 0.02


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted curve, for the fields of `Calibration` with the same names.

    Attributes
    ----------
    knots : tuple of (float, float)
        Cosine (ascending, 4 decimals) and log10 likelihood ratio (non-decreasing, 3 decimals).
    band : tuple of (float, float)
        Low and high end of the 95 % interval of each knot's value; empty when not asked for.
    false_matches : tuple of (float, float)
        Cosine and log10 of the rate of false matches there.
    """

    knots: Knots
    band: Knots
    false_matches: Knots


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
    return np.bincount(bins_of(cosine.ravel()), minlength=BINS).astype(np.int64)


def fit_monotone(
    genuine_cosine: Float32Array | Float64Array, impostor_cosine: Float32Array | Float64Array
) -> Knots:
    """Fit a smooth non-decreasing curve from cosine to log10 likelihood ratio.

    Parameters
    ----------
    genuine_cosine, impostor_cosine : ndarray of shape (n_pairs,)
        Cosines of pairs that show one person, and two.  Every pair of the labelled people,
        not a selection: the high cosines among very many impostor pairs are what a search
        meets.

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


def fit_counts(genuine_counts: Int64Array, impostor_counts: Int64Array) -> Knots:
    """Fit a smooth non-decreasing curve from cosine to log10 likelihood ratio, from counts.

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
    with one_blas_thread():
        return _rounded(_fitted(genuine_counts, impostor_counts, "isotonic"))


def fit_scores(
    scores: LabelledScores, method: Method, *, n_bootstrap: int = 200, seed: int = 0
) -> Fit:
    """Fit a curve, its 95 % interval and the rate of false matches.

    The interval is the middle (`DRAWN_SHARE`) of the curves fitted in the same way on people
    drawn anew with replacement and moved a little (`PeopleResampler`), widened where needed to
    hold the curve itself: at its ends, where few pairs bound it, the drawn curves may all be on
    one side.

    Parameters
    ----------
    scores : LabelledScores
    method : {"logistic", "isotonic", "beta"}
    n_bootstrap : int, default=200
        How often people are drawn anew; 0 for no interval.
    seed : int, default=0

    Returns
    -------
    Fit

    Raises
    ------
    CalibrationError
        There are too few people or pairs (the message says which and how many are needed), or
        genuine pairs are not more similar than impostor pairs.
    """
    _require_enough(scores)
    genuine, impostor = count_cosines(scores.genuine), count_cosines(scores.impostor)
    with one_blas_thread():
        knots = _rounded(_fitted(genuine, impostor, method))
        band = _band(scores, method, knots, n_bootstrap, seed) if n_bootstrap else ()
    return Fit(knots=knots, band=band, false_matches=false_match_knots(impostor))


def cross_validated_cllr(
    scores: LabelledScores, method: Method, *, n_folds: int = N_FOLDS, seed: int = 0
) -> float:
    """Return the Cllr on people who were left out of the fit.

    People are parted into folds.  Each fold is judged by the curve of all pairs with nobody of
    it; a pair of two people from different folds is judged by none.

    Parameters
    ----------
    scores : LabelledScores
    method : {"logistic", "isotonic", "beta"}
    n_folds : int, default=5
        Fewer when there are not two people with two pictures for each.
    seed : int, default=0

    Returns
    -------
    float
        In bits, over the pairs of all folds, both classes weighing the same.

    Raises
    ------
    CalibrationError
        As `fit_scores`, of all pairs or of those without a fold.
    """
    _require_enough(scores)
    n_folds = usable_folds(np.unique(scores.genuine_person).size, n_folds)
    folds = FoldCounts.of(scores, n_folds, np.random.default_rng(seed))
    with one_blas_thread():
        return _cllr_of_folds(folds, method)


def choose_method(scores: LabelledScores, *, seed: int = 0) -> tuple[Method, dict[Method, float]]:
    """Return the method with the least cross-validated Cllr.

    The mean of a few partitions of the people: one alone decides between good methods by luck.

    Parameters
    ----------
    scores : LabelledScores
    seed : int, default=0

    Returns
    -------
    method : {"logistic", "isotonic", "beta"}
        Logistic, untested, where there are fewer than `MIN_PEOPLE_TO_CHOOSE` people with two
        pictures.
    cllr : dict of method to float
        Of each method that was tested; empty when none was.

    Raises
    ------
    CalibrationError
        As `fit_scores`.
    """
    _require_enough(scores)
    n_paired = np.unique(scores.genuine_person).size
    if n_paired < MIN_PEOPLE_TO_CHOOSE:
        return "logistic", {}
    cllrs = dict.fromkeys(METHODS, 0.0)
    for partition in range(_PARTITIONS):
        folds = FoldCounts.of(
            scores, usable_folds(n_paired), np.random.default_rng(seed + partition)
        )
        with one_blas_thread():
            for method in METHODS:
                cllrs[method] += _cllr_of_folds(folds, method) / _PARTITIONS
    return min(cllrs, key=lambda method: cllrs[method]), cllrs


def false_match_knots(impostor_counts: Int64Array) -> Knots:
    """Return how often two different people score at least a cosine, at knots.

    The rate is (pairs at least this high + 1) / (all pairs + 1), so that it is never below what
    so many pairs can show.

    Parameters
    ----------
    impostor_counts : ndarray of shape (BINS,), int64
        From `count_cosines`.

    Returns
    -------
    tuple of (float, float)
        Cosine (ascending) and log10 of the rate (non-increasing, 3 decimals).
    """
    occupied = np.flatnonzero(impostor_counts)
    first = occupied[0] // _FALSE_MATCH_STEP * _FALSE_MATCH_STEP
    last = min(-(-(occupied[-1] + 1) // _FALSE_MATCH_STEP) * _FALSE_MATCH_STEP, BINS)
    edges = np.arange(first, last + 1, _FALSE_MATCH_STEP)
    at_least = np.append(impostor_counts[::-1].cumsum()[::-1], 0)[edges]
    log10_rate = np.log10((at_least + 1.0) / (impostor_counts.sum() + 1.0))
    knots = [
        (round(float(edge) * 2.0 / BINS - 1.0, 4), round(float(rate), 3) + 0.0)
        for edge, rate in zip(edges, log10_rate, strict=True)
    ]
    return tuple(_without_idle_knots(knots))


def _fitted(
    genuine_counts: Int64Array | Float64Array,
    impostor_counts: Int64Array | Float64Array,
    method: Method,
) -> _Curve:
    histogram = histogram_of(genuine_counts, impostor_counts)
    return METHODS[method](histogram, bounds_of(histogram))


def _band(
    scores: LabelledScores, method: Method, knots: Knots, n_bootstrap: int, seed: int
) -> Knots:
    resampler = PeopleResampler(scores, np.random.default_rng(seed))
    cosine, value = np.array(knots).T
    curves: list[Float64Array] = []
    for _ in range(2 * n_bootstrap):
        try:
            curve = _fitted(*resampler.draw(), method)
        except CalibrationError:  # Of few people it happens that nobody with two is drawn.
            continue
        curves.append(np.interp(cosine, *curve))
        if len(curves) == n_bootstrap:
            break
    else:
        raise CalibrationError(
            "there are too few people to say how sure the curve is: when people are drawn anew, "
            "half of the draws tell genuine from impostor pairs no better than chance"
        )
    tail = (1.0 - DRAWN_SHARE) / 2.0
    low, high = np.quantile(curves, (tail, 1.0 - tail), axis=0)
    # Rounded outwards, so that the curve stays inside.
    low = np.floor(np.minimum(low, value) * 1000.0 + 1e-6) / 1000.0
    high = np.ceil(np.maximum(high, value) * 1000.0 - 1e-6) / 1000.0
    return tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))


def _cllr_of_folds(folds: FoldCounts, method: Method) -> float:
    centre = (np.arange(BINS) + 0.5) * (2.0 / BINS) - 1.0
    nats, pairs = np.zeros(2), np.zeros(2)
    for fold in range(len(folds.genuine)):
        curve = _fitted(*folds.without(fold), method)
        log_lr = np.interp(centre, *curve) * LN_10
        of_class = folds.within(fold)
        nats += [of_class[0] @ np.logaddexp(0.0, -log_lr), of_class[1] @ np.logaddexp(0.0, log_lr)]
        pairs += [of_class[0].sum(), of_class[1].sum()]
    return float((nats / pairs).mean()) / LN_2


def _require_enough(scores: LabelledScores) -> None:
    found = (
        (np.unique(scores.genuine_person).size, MIN_PEOPLE, "people with two pictures or more"),
        (scores.genuine.size, MIN_GENUINE, "pairs of one person"),
        (scores.impostor.size, MIN_IMPOSTOR, "pairs of two people"),
    )
    missing = [
        f"{count} {what} (at least {least})" for count, least, what in found if count < least
    ]
    if missing:
        raise CalibrationError(
            f"too little to fit a curve on: {', '.join(missing)}; label more pictures"
        )


def _rounded(curve: _Curve) -> Knots:
    """Round the knots, and drop those that say nothing: where the curve is level."""
    knots = [(round(float(c), 4), round(float(v), 3) + 0.0) for c, v in zip(*curve, strict=True)]
    knots = _without_idle_knots(knots)
    while len(knots) > 2 and knots[0][1] == knots[1][1]:
        del knots[0]
    while len(knots) > 2 and knots[-1][1] == knots[-2][1]:
        del knots[-1]
    return tuple(knots)


def _without_idle_knots(knots: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Drop the knots within level stretches: the curve is the same without them."""
    inner = [
        knot
        for before, knot, after in zip(knots, knots[1:], knots[2:], strict=False)
        if not before[1] == knot[1] == after[1]
    ]
    return [knots[0], *inner, knots[-1]]
