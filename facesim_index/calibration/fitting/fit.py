"""Fitting a curve from score to likelihood ratio to labelled pairs.

`fit_scores` takes labelled pairs with their people.  It returns the curve with its interval and the
false match rates.  `fit_monotone` and `fit_counts` return the curve alone.
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
from facesim_index.calibration.fitting.tail import impostor_tail, with_tail
from facesim_index.errors import CalibrationError
from facesim_index.metrics.odds import LN_2, LN_10
from facesim_index.records import Float32Array, Float64Array, Int64Array
from facesim_index.utils.threads import one_blas_thread

Method = Literal["logistic", "isotonic", "beta"]
Knots = tuple[tuple[float, float], ...]
_Curve = tuple[Float64Array, Float64Array]

METHODS: dict[Method, Callable[[Histogram, Bounds], _Curve]] = {
    "logistic": logistic_curve,
    "isotonic": smooth_curve,
    "beta": beta_curve,
}
"""How to fit each kind of curve.

Logistic calibration has two parameters, beta calibration three; isotonic is the smooth monotone
curve.  All are bounded by the outermost blocks of PAV.
"""

MIN_PEOPLE = 5
"""The least number of people with two pictures or more: below it nothing is fitted."""

MIN_GENUINE = 10
MIN_IMPOSTOR = 20

MIN_PEOPLE_TO_CHOOSE = 20
"""The least number of people with two pictures for choosing a method.

Below it the folds are too small to show that a method is better than logistic calibration.
"""

DRAWN_SHARE = 0.95
"""Share of the drawn curves that are within the interval."""

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
        Low and high end of the 95 % interval of the value of each knot; empty when it was not
        computed.
    false_matches : tuple of (float, float)
        Cosine and log10 of the false match rate there.
    """

    knots: Knots
    band: Knots
    false_matches: Knots


def count_cosines(cosine: Float32Array | Float64Array) -> Int64Array:
    """Count pairs by cosine; the counts of several blocks of pairs may be added.

    Parameters
    ----------
    cosine : ndarray of any shape, float32 or float64
        Cosines of unit-norm embeddings.  Values slightly outside [-1, 1] count as the nearest end.

    Returns
    -------
    counts : ndarray of shape (BINS,), int64
        Pairs in each of `BINS` equal bins over [-1, 1].

    Examples
    --------
    >>> np.flatnonzero(count_cosines(np.array([-1.0, 0.0, 1.0])))
    array([   0, 1000, 1999])
    """
    return np.bincount(bins_of(cosine.ravel()), minlength=BINS).astype(np.int64)


def fit_monotone(
    genuine_cosine: Float32Array | Float64Array, impostor_cosine: Float32Array | Float64Array
) -> Knots:
    """Fit a smooth non-decreasing curve from cosine to log10 likelihood ratio.

    Parameters
    ----------
    genuine_cosine, impostor_cosine : ndarray of shape (n_pairs,)
        Cosines of pairs that show one person, and two.  Give every pair of the labelled people,
        not a selection: a search meets the highest cosines of very many impostor pairs.

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

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> knots = fit_monotone(rng.normal(0.5, 0.1, 500), rng.normal(0.0, 0.1, 5000))
    >>> knots[0][1] < -1.0, knots[-1][1] > 2.0
    (True, True)
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

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> genuine, impostor = rng.normal(0.5, 0.1, 500), rng.normal(0.0, 0.1, 5000)
    >>> knots = fit_counts(count_cosines(genuine), count_cosines(impostor))
    >>> knots == fit_monotone(genuine, impostor)
    True
    """
    with one_blas_thread():
        return _rounded(_fitted(genuine_counts, impostor_counts, "isotonic"))


def fit_scores(
    scores: LabelledScores, method: Method, *, n_bootstrap: int = 200, seed: int = 0
) -> Fit:
    """Fit a curve, its 95 % interval and the false match rates.

    For the interval, people are drawn anew with replacement and their cosines are moved a little
    (`PeopleResampler`), and a curve is fitted to each draw in the same way.  The interval holds the
    middle of these curves (`DRAWN_SHARE` of them), and it is widened where it does not hold the
    fitted curve itself: at the ends of the curve, which few pairs bound, all drawn curves may be on
    the same side of it.

    Parameters
    ----------
    scores : LabelledScores
    method : {"logistic", "isotonic", "beta"}
    n_bootstrap : int, default=200
        How often people are drawn anew; 0 for no interval.
    seed : int, default=0
        Of the random numbers.

    Returns
    -------
    Fit

    Raises
    ------
    CalibrationError
        There are too few people or pairs (the message says which and how many are needed), or
        genuine pairs are not more similar than impostor pairs.

    Examples
    --------
    >>> rng, people = np.random.default_rng(0), np.array(np.triu_indices(30, 1)).T
    >>> genuine, impostor = rng.normal(0.5, 0.1, 60), rng.normal(0.0, 0.1, len(people))
    >>> scores = LabelledScores(genuine, np.repeat(np.arange(30), 2), impostor, people)
    >>> fit = fit_scores(scores, "logistic", n_bootstrap=20)
    >>> len(fit.knots) == len(fit.band)
    True
    """
    _require_enough(scores)
    genuine, impostor = count_cosines(scores.genuine), count_cosines(scores.impostor)
    with one_blas_thread():
        knots = _rounded(_fitted(genuine, impostor, method))
        band = _band(scores, method, knots, n_bootstrap, seed) if n_bootstrap else ()
    return Fit(knots=knots, band=band, false_matches=_false_matches(genuine, impostor))


def cross_validated_cllr(
    scores: LabelledScores, method: Method, *, n_folds: int = N_FOLDS, seed: int = 0
) -> float:
    """Return the Cllr on people who were left out of the fit.

    People are divided into folds.  The pairs of each fold are judged by a curve that is fitted to
    all pairs with nobody of that fold.  A pair of two people from different folds is not judged.

    Parameters
    ----------
    scores : LabelledScores
    method : {"logistic", "isotonic", "beta"}
    n_folds : int, default=5
        There are fewer folds when there are not two people with two pictures for each.
    seed : int, default=0
        Of the random numbers.

    Returns
    -------
    float
        In bits, over the pairs of all folds, both classes having the same weight.

    Raises
    ------
    CalibrationError
        As `fit_scores`, for all pairs or for the pairs without a fold.

    Examples
    --------
    >>> rng, people = np.random.default_rng(0), np.array(np.triu_indices(30, 1)).T
    >>> genuine, impostor = rng.normal(0.5, 0.1, 60), rng.normal(0.0, 0.1, len(people))
    >>> scores = LabelledScores(genuine, np.repeat(np.arange(30), 2), impostor, people)
    >>> cross_validated_cllr(scores, "logistic") < 0.1
    True
    """
    _require_enough(scores)
    n_folds = usable_folds(np.unique(scores.genuine_person).size, n_folds)
    folds = FoldCounts.of(scores, n_folds, np.random.default_rng(seed))
    with one_blas_thread():
        return _cllr_of_folds(folds, method)


def choose_method(scores: LabelledScores, *, seed: int = 0) -> tuple[Method, dict[Method, float]]:
    """Return the method with the lowest cross-validated Cllr.

    The Cllr is the mean over a few ways to divide the people into folds, because with a single one
    chance would decide between methods that are about equally good.

    Parameters
    ----------
    scores : LabelledScores
    seed : int, default=0
        Of the random numbers.

    Returns
    -------
    method : {"logistic", "isotonic", "beta"}
        Logistic, without a test, where there are fewer than `MIN_PEOPLE_TO_CHOOSE` people with two
        pictures.
    cllr : dict of method to float
        In bits, of each method that was tested; empty when none was.

    Raises
    ------
    CalibrationError
        As `fit_scores`.

    Examples
    --------
    >>> rng, people = np.random.default_rng(0), np.array(np.triu_indices(30, 1)).T
    >>> genuine, impostor = rng.normal(0.5, 0.1, 60), rng.normal(0.0, 0.1, len(people))
    >>> scores = LabelledScores(genuine, np.repeat(np.arange(30), 2), impostor, people)
    >>> method, cllr = choose_method(scores)
    >>> cllr[method] == min(cllr.values())
    True
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
    """Return how often two different people have at least a cosine, at evenly spaced cosines.

    The rate is (pairs with at least the cosine + 1) / (all pairs + 1), so that it is never below
    what so many pairs can show.

    Parameters
    ----------
    impostor_counts : ndarray of shape (BINS,), int64
        From `count_cosines`.

    Returns
    -------
    tuple of (float, float)
        Cosine (ascending) and log10 of the rate (non-increasing, 3 decimals).

    Examples
    --------
    >>> false_match_knots(count_cosines(np.linspace(-0.0099, 0.0099, 99)))
    ((-0.02, 0.0), (0.0, -0.292), (0.02, -2.0))
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


def _false_matches(genuine_counts: Int64Array, impostor_counts: Int64Array) -> Knots:
    """Return false match rates as counted, and from a tail where there is one."""
    knots = false_match_knots(impostor_counts)
    tail = impostor_tail(genuine_counts, impostor_counts)
    if tail is None or not len(tail.scores):
        return knots
    beyond = tail.log10_rate - tail.decades * (tail.scores - tail.start)
    return (
        *(knot for knot in knots if knot[0] < tail.start and knot[1] > tail.log10_rate),
        (round(tail.start, 4), round(tail.log10_rate, 3)),
        *(
            (round(float(s), 4), round(float(r), 3))
            for s, r in zip(tail.scores, beyond, strict=True)
        ),
    )


def _fitted(
    genuine_counts: Int64Array | Float64Array,
    impostor_counts: Int64Array | Float64Array,
    method: Method,
) -> _Curve:
    histogram = histogram_of(genuine_counts, impostor_counts)
    curve = METHODS[method](histogram, bounds_of(histogram))
    return with_tail(curve, impostor_tail(genuine_counts, impostor_counts))


def _band(
    scores: LabelledScores, method: Method, knots: Knots, n_bootstrap: int, seed: int
) -> Knots:
    resampler = PeopleResampler(scores, np.random.default_rng(seed))
    cosine, value = np.array(knots).T
    curves: list[Float64Array] = []
    for _ in range(2 * n_bootstrap):
        try:
            curve = _fitted(*resampler.draw(), method)
        except CalibrationError:  # With few people it may be that nobody with a pair is drawn.
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
    """Round the knots, and drop those where the curve is level: it is the same without them."""
    knots = [(round(float(c), 4), round(float(v), 3) + 0.0) for c, v in zip(*curve, strict=True)]
    knots = _without_idle_knots(knots)
    while len(knots) > 2 and knots[0][1] == knots[1][1]:
        del knots[0]
    while len(knots) > 2 and knots[-1][1] == knots[-2][1]:
        del knots[-1]
    return tuple(knots)


def _without_idle_knots(knots: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Drop the knots inside of level stretches: the curve is the same without them."""
    inner = [
        knot
        for before, knot, after in zip(knots, knots[1:], knots[2:], strict=False)
        if not before[1] == knot[1] == after[1]
    ]
    return [knots[0], *inner, knots[-1]]
