"""The arrays behind the plots of an evaluation.

Arrays in, arrays out; nothing here draws.  As everywhere, genuine and impostor pairs weigh the
same, however many of each there are, and a pair with a picture without a face is never matched
and is no evidence (`pair_figures`).
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.metrics import scoring
from facesim_index.metrics.bootstrap import pairs_drawn_anew
from facesim_index.metrics.odds import LN_2, LN_10, logistic
from facesim_index.metrics.scoring import ECE_BINS
from facesim_index.metrics.verification import BoolArray, ErrorRates, ScoredPairs
from facesim_index.records import Float64Array, Int64Array

#: Of the bars of cosines.
COSINE_STEP = 0.02

_ROUNDING = 1e-9  # That n * (1 / n) is 1, and a cosine on an edge is within the bins.
_TAIL = 0.025  # Either end of a 95 % interval.


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Degrees at prior 0.5 in bins of equal mass, against what was observed.

    Attributes
    ----------
    claimed : ndarray of shape (n_bins,), float64
        Mean degree of each bin, ascending.
    observed : ndarray of shape (n_bins,), float64
        Share of genuine pairs, both classes weighing the same.
    low, high : ndarray of shape (n_bins,), float64
        95 % interval of `observed`: exact binomial (Clopper and Pearson).
    genuine, impostor : ndarray of shape (n_bins,), int64
        Pairs in each bin.
    """

    claimed: Float64Array
    observed: Float64Array
    low: Float64Array
    high: Float64Array
    genuine: Int64Array
    impostor: Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class BestCurve:
    """The best non-decreasing likelihood ratio on some pairs (PAV), block by block.

    Attributes
    ----------
    start, end : ndarray of shape (n_blocks,), float64
        The lowest and the highest score of each block.
    log10_lr : ndarray of shape (n_blocks,), float64
        Increasing; infinite where a block has pairs of one kind only.
    """

    start: Float64Array
    end: Float64Array
    log10_lr: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Tippett:
    """How much of each class has at least so much evidence.

    Attributes
    ----------
    log10_lr : ndarray of shape (n_values,), float64
        Every value that there is, ascending.
    genuine, impostor : ndarray of shape (n_values,), float64
        Share of the class with at least this value.
    misleading_genuine : float
        Share of genuine pairs with evidence for two people (below 0).
    misleading_impostor : float
        Share of impostor pairs with evidence for one person (above 0).
    """

    log10_lr: Float64Array
    genuine: Float64Array
    impostor: Float64Array
    misleading_genuine: float
    misleading_impostor: float


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """95 % interval of the false non-match rate at each false match rate.

    Attributes
    ----------
    false_match, low, high : ndarray of shape (n_rates,), float64
        Ascending in `false_match`; empty when people are too few.
    """

    false_match: Float64Array
    low: Float64Array
    high: Float64Array


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold, a cosine, with both its error rates."""

    threshold: float
    false_match: float
    false_non_match: float


def reliability(degree: Float64Array, same: BoolArray, *, bins: int = ECE_BINS) -> Reliability:
    """Sort degrees into bins of equal mass and compare them with what was observed.

    Parameters
    ----------
    degree : ndarray of shape (n_pairs,), float64
        At prior 0.5.
    same : ndarray of shape (n_pairs,), bool
    bins : int, default=15
        Pairs of equal degree stay in one bin, so that there may be fewer.

    Returns
    -------
    Reliability
    """
    n_genuine, n_impostor = int(same.sum()), int((~same).sum())
    weight = np.where(same, 0.5 / n_genuine, 0.5 / n_impostor)
    values, place = np.unique(degree, return_inverse=True)
    mass = np.bincount(place, weight, values.size).astype(np.float64)
    bin_of = _equal_mass_bins(mass, bins)
    of_pair = bin_of[place]
    genuine = np.bincount(of_pair[same], minlength=bin_of[-1] + 1)
    impostor = np.bincount(of_pair[~same], minlength=bin_of[-1] + 1)
    bin_mass = np.bincount(bin_of, mass)
    odds = n_impostor / n_genuine
    low, high = _exact_interval(genuine, impostor)
    return Reliability(
        claimed=np.bincount(bin_of, mass * values) / bin_mass,
        observed=(genuine * odds) / (genuine * odds + impostor),
        low=low * odds / (low * odds + 1.0 - low),
        high=high * odds / (high * odds + 1.0 - high),
        genuine=genuine.astype(np.int64),
        impostor=impostor.astype(np.int64),
    )


def best_curve(score: Float64Array, same: BoolArray) -> BestCurve:
    """Return the best non-decreasing likelihood ratio on these very pairs.

    Parameters
    ----------
    score : ndarray of shape (n_pairs,), float64
        Cosines or degrees, no NaN.
    same : ndarray of shape (n_pairs,), bool
        Both kinds.

    Returns
    -------
    BestCurve
    """
    values, place = np.unique(score, return_inverse=True)
    genuine = np.bincount(place[same], minlength=values.size)
    impostor = np.bincount(place[~same], minlength=values.size)
    starts = scoring.pool_adjacent_violators(genuine, impostor)
    with np.errstate(divide="ignore"):
        ratio = np.log10(np.add.reduceat(genuine, starts) / same.sum())
        ratio -= np.log10(np.add.reduceat(impostor, starts) / (~same).sum())
    ends = np.append(starts[1:], values.size) - 1
    return BestCurve(values[starts], values[ends], ratio)


def best_evidence(pairs: ScoredPairs) -> Float64Array:
    """Return the log10 likelihood ratio that the best curve gives each pair.

    Parameters
    ----------
    pairs : ScoredPairs

    Returns
    -------
    ndarray of shape (n_pairs,), float64
        Possibly infinite; 0 where there is no face.
    """
    evidence = np.zeros(len(pairs))
    decided = ~np.isnan(pairs.cosine)
    cosine, same = pairs.cosine[decided], pairs.same[decided]
    if same.all() or not same.any():  # Of one kind: to have a cosine tells all.
        evidence[decided] = np.where(same, np.inf, -np.inf)
        return evidence
    curve = best_curve(cosine, same)
    # To have a cosine at all is evidence, too, where one kind has faces more often.
    has_one = np.log10(same.sum() / pairs.same.sum()) - np.log10(
        (~same).sum() / (~pairs.same).sum()
    )
    evidence[decided] = curve.log10_lr[np.searchsorted(curve.end, cosine)] + has_one
    return evidence


def tippett(evidence: Float64Array, same: BoolArray) -> Tippett:
    """Return the Tippett curves of both classes.

    Parameters
    ----------
    evidence : ndarray of shape (n_pairs,), float64
        Log10 likelihood ratios.
    same : ndarray of shape (n_pairs,), bool

    Returns
    -------
    Tippett
    """
    values = np.unique(evidence)
    genuine, impostor = np.sort(evidence[same]), np.sort(evidence[~same])
    return Tippett(
        log10_lr=values,
        genuine=1.0 - np.searchsorted(genuine, values) / genuine.size,
        impostor=1.0 - np.searchsorted(impostor, values) / impostor.size,
        misleading_genuine=float((genuine < 0.0).mean()),
        misleading_impostor=float((impostor > 0.0).mean()),
    )


def empirical_cross_entropy(
    evidence: Float64Array, same: BoolArray, log10_odds: Float64Array
) -> Float64Array:
    """Return what is left to be told, in bits a pair, after the evidence, at each prior [1]_.

    Parameters
    ----------
    evidence : ndarray of shape (n_pairs,), float64
        Log10 likelihood ratios; zero for all gives the curve of no evidence.
    same : ndarray of shape (n_pairs,), bool
    log10_odds : ndarray of shape (n_priors,), float64
        Of one person, before looking.

    Returns
    -------
    ndarray of shape (n_priors,), float64
        The empirical cross-entropy; at odds of 1 it is Cllr.

    References
    ----------
    .. [1] D. Ramos and J. Gonzalez-Rodriguez, "Reliable support: Measuring calibration of
       likelihood ratios", Forensic Science International, 2013.
    """
    prior = logistic(LN_10 * log10_odds)
    genuine, impostor = LN_10 * evidence[same], LN_10 * evidence[~same]
    left = np.empty(log10_odds.size)
    for number, odds in enumerate(LN_10 * log10_odds):
        missed = np.logaddexp(0.0, -(genuine + odds)).mean()
        false = np.logaddexp(0.0, impostor + odds).mean()
        left[number] = prior[number] * missed + (1.0 - prior[number]) * false
    return left / LN_2


def equal_error_point(rates: ErrorRates) -> OperatingPoint:
    """Return the threshold where both error rates differ least.

    Parameters
    ----------
    rates : ErrorRates

    Returns
    -------
    OperatingPoint
    """
    at = int(np.argmin(np.abs(rates.false_match - rates.false_non_match)))
    return OperatingPoint(
        float(rates.threshold[at]), float(rates.false_match[at]), float(rates.false_non_match[at])
    )


def error_band(
    pairs: ScoredPairs, *, n_rates: int = 60, n_bootstrap: int = 300, seed: int = 0
) -> Band:
    """Return how much the ROC and DET curves owe to who is in the list.

    Parameters
    ----------
    pairs : ScoredPairs
    n_rates : int, default=60
        False match rates, evenly spaced as logarithms, from one impostor pair to all.
    n_bootstrap : int, default=300
        How often people are drawn anew.
    seed : int, default=0

    Returns
    -------
    Band
    """
    scores, same = pairs.scores, pairs.same
    rates = np.geomspace(1.0 / (~same).sum(), 1.0, n_rates)
    drawn = []
    for times in pairs_drawn_anew(pairs.people, same, n_bootstrap, seed):
        genuine = np.sort(np.repeat(scores[same], times[same]))
        impostor = np.sort(np.repeat(scores[~same], times[~same]))
        if genuine.size and impostor.size:
            allowed = (rates * impostor.size + _ROUNDING).astype(np.int64)
            allowed = np.minimum(allowed, impostor.size - 1)
            last_refused = impostor[impostor.size - 1 - allowed]
            drawn.append(np.searchsorted(genuine, last_refused, side="right") / genuine.size)
    if 2 * len(drawn) <= n_bootstrap:
        return Band(*(np.empty(0) for _ in range(3)))
    low, high = np.percentile(drawn, (100 * _TAIL, 100 * (1 - _TAIL)), axis=0)
    return Band(rates, low, high)


def histogram(cosine: Float64Array, edges: Float64Array) -> Float64Array:
    """Return the share of the cosines in each bin; those without one are left out of the bins.

    Parameters
    ----------
    cosine : ndarray of shape (n,), float64
    edges : ndarray of shape (n_bins + 1,), float64

    Returns
    -------
    ndarray of shape (n_bins,), float64
        The sum is below 1 by the share that has no cosine.
    """
    counts, _ = np.histogram(cosine[~np.isnan(cosine)], edges)
    return np.asarray(counts / max(cosine.size, 1), dtype=np.float64)


def cosine_edges(cosine: Float64Array) -> Float64Array:
    """Return edges of bins, multiples of `COSINE_STEP`, that hold all these cosines.

    Parameters
    ----------
    cosine : ndarray of shape (n,), float64
        NaN is passed over.

    Returns
    -------
    ndarray of shape (n_bins + 1,), float64
        Two edges at least.
    """
    known = cosine[~np.isnan(cosine)]
    if not known.size:
        return np.array([0.0, COSINE_STEP])
    first = int(np.floor(known.min() / COSINE_STEP - _ROUNDING))
    last = int(np.ceil(known.max() / COSINE_STEP + _ROUNDING))
    return np.round(np.arange(first, last + 1) * COSINE_STEP, 10)


def match_characteristic(rank: Int64Array, most: int) -> Float64Array:
    """Return the share of the searches that have their mate among the first 1, 2, ... answers.

    Parameters
    ----------
    rank : ndarray of shape (n_searches,), int64
        Of the mate, from 1.
    most : int
        Ranks to tell.

    Returns
    -------
    ndarray of shape (most,), float64
    """
    found = np.bincount(rank[rank <= most], minlength=most + 1)[1:]
    return np.asarray(np.cumsum(found) / rank.size, dtype=np.float64)


def identification_errors(mate: Float64Array, non_mated: Float64Array) -> ErrorRates:
    """Return both error rates of an open-set search at every threshold.

    Parameters
    ----------
    mate : ndarray of shape (n_mated,), float64
        Cosine of each mated search with its mate.
    non_mated : ndarray of shape (n_non_mated,), float64
        The highest cosine of each search for someone who is not enrolled.

    Returns
    -------
    ErrorRates
        `false_match` is FPIR, the share of non-mated searches with an answer; `false_non_match`
        is FNIR, the share of mated searches whose mate stays below the threshold.
    """
    thresholds = np.append(np.unique(np.concatenate((mate, non_mated))), np.inf)
    answered = non_mated.size - np.searchsorted(np.sort(non_mated), thresholds)
    missed = np.searchsorted(np.sort(mate), thresholds)
    return ErrorRates(thresholds, answered / non_mated.size, missed / mate.size)


def _equal_mass_bins(mass: Float64Array, bins: int) -> Int64Array:
    """Return the bin of each value: one is full from its share on, and a small rest joins it."""
    upto = np.cumsum(mass)
    ends: list[int] = []
    reached = 0.0
    while (end := int(np.searchsorted(upto, reached + 1.0 / bins - _ROUNDING))) < mass.size:
        ends.append(end)
        reached = float(upto[end])
    if not ends or upto[-1] - reached > 0.5 / bins:
        ends.append(mass.size - 1)
    ends[-1] = mass.size - 1
    return np.searchsorted(ends, np.arange(mass.size)).astype(np.int64)


def _exact_interval(hits: Int64Array, others: Int64Array) -> tuple[Float64Array, Float64Array]:
    """Return the Clopper-Pearson interval of the share of hits."""
    from scipy.special import betaincinv

    low, high = np.zeros(hits.size), np.ones(hits.size)
    some, not_all = hits > 0, others > 0
    low[some] = betaincinv(hits[some], others[some] + 1, _TAIL)
    high[not_all] = betaincinv(hits[not_all] + 1, others[not_all], 1.0 - _TAIL)
    return low, high
