"""The arrays behind the plots of an evaluation; nothing is drawn here.

Genuine and impostor pairs have the same weight, however many of each there are.  A pair with a
picture in which no face was found is never matched and is no evidence (see `verification`).
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.metrics import scoring
from facesim_index.metrics.bootstrap import pairs_drawn_anew
from facesim_index.metrics.odds import LN_2, LN_10, logistic
from facesim_index.metrics.scoring import ECE_BINS
from facesim_index.metrics.verification import ErrorRates, ScoredPairs
from facesim_index.records import BoolArray, Float64Array, Int64Array

COSINE_STEP = 0.02
"""Width of the bars in histograms of cosines."""

_ROUNDING = 1e-9  # So that n * (1 / n) counts as 1, and a cosine on an edge is within the bins.
_TAIL = 0.025  # Below, and above, a 95 % interval.


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Degrees at prior 0.5 in bins of equal mass, and the shares of genuine pairs in them.

    Attributes
    ----------
    claimed : ndarray of shape (n_bins,), float64
        Mean degree of each bin, ascending.
    observed : ndarray of shape (n_bins,), float64
        Share of genuine pairs in each bin, both classes having the same weight.
    low, high : ndarray of shape (n_bins,), float64
        Exact binomial 95 % interval of `observed` (Clopper and Pearson).
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
    """The best non-decreasing likelihood ratio of some pairs (PAV), block by block.

    Attributes
    ----------
    start, end : ndarray of shape (n_blocks,), float64
        The lowest and the highest score of each block.
    log10_lr : ndarray of shape (n_blocks,), float64
        Increasing; infinite where a block has pairs of one class only.
    """

    start: Float64Array
    end: Float64Array
    log10_lr: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Tippett:
    """Which share of each class has at least a given evidence.

    Attributes
    ----------
    log10_lr : ndarray of shape (n_values,), float64
        Every value that occurs, ascending.
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
    false_match : ndarray of shape (n_rates,), float64
        Ascending; empty when there are too few people.
    low, high : ndarray of shape (n_rates,), float64
        Ends of the interval.
    """

    false_match: Float64Array
    low: Float64Array
    high: Float64Array


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold with both its error rates.

    Attributes
    ----------
    threshold : float
        A score.
    false_match, false_non_match : float
        In [0, 1].
    """

    threshold: float
    false_match: float
    false_non_match: float


def reliability(degree: Float64Array, same: BoolArray, *, bins: int = ECE_BINS) -> Reliability:
    """Compare degrees, in bins of equal mass, with the shares of genuine pairs [1]_.

    Parameters
    ----------
    degree : ndarray of shape (n_pairs,), float64
        At prior 0.5, in [0, 1].
    same : ndarray of shape (n_pairs,), bool
        Whether each pair shows one person; at least one pair of each class.
    bins : int, default=15
        There may be fewer bins, because pairs of equal degree stay in one bin.

    Returns
    -------
    Reliability

    References
    ----------
    .. [1] A. Niculescu-Mizil and R. Caruana, "Predicting good probabilities with supervised
       learning", ICML, 2005.

    Examples
    --------
    >>> degree, same = np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, True])
    >>> found = reliability(degree, same, bins=2)
    >>> found.claimed, found.observed
    (array([0.1, 0.9]), array([0., 1.]))
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
    """Return the non-decreasing likelihood ratio that fits these very pairs best [1]_.

    Parameters
    ----------
    score : ndarray of shape (n_pairs,), float64
        Cosines or degrees, without NaN.
    same : ndarray of shape (n_pairs,), bool
        Whether each pair shows one person; at least one pair of each class.

    Returns
    -------
    BestCurve

    References
    ----------
    .. [1] N. Brümmer and J. du Preez, "The PAV algorithm optimizes binary proper scoring rules",
       2009.

    Examples
    --------
    >>> best_curve(np.array([0.1, 0.3, 0.5]), np.array([False, True, True])).log10_lr
    array([-inf,  inf])
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
        Possibly infinite; 0 where there is no score.

    Examples
    --------
    >>> same, people = np.array([True, False]), np.array([[0, 0], [1, 2]])
    >>> best_evidence(ScoredPairs(np.array([0.5, 0.1]), same, people))
    array([ inf, -inf])
    """
    evidence = np.zeros(len(pairs))
    decided = ~np.isnan(pairs.cosine)
    cosine, same = pairs.cosine[decided], pairs.same[decided]
    if same.all() or not same.any():  # Of one class: that there is a score tells all.
        evidence[decided] = np.where(same, np.inf, -np.inf)
        return evidence
    curve = best_curve(cosine, same)
    # That there is a score is evidence, too, where one class has faces more often.
    has_one = np.log10(same.sum() / pairs.same.sum()) - np.log10(
        (~same).sum() / (~pairs.same).sum()
    )
    evidence[decided] = curve.log10_lr[np.searchsorted(curve.end, cosine)] + has_one
    return evidence


def tippett(evidence: Float64Array, same: BoolArray) -> Tippett:
    """Return the Tippett curves of both classes [1]_.

    Parameters
    ----------
    evidence : ndarray of shape (n_pairs,), float64
        Log10 likelihood ratios.
    same : ndarray of shape (n_pairs,), bool
        Whether each pair shows one person; at least one pair of each class.

    Returns
    -------
    Tippett

    References
    ----------
    .. [1] I. W. Evett and J. S. Buckleton, "Statistical analysis of STR data", Advances in
       Forensic Haemogenetics, 1996.

    Examples
    --------
    >>> curves = tippett(np.array([2.0, -1.0, -1.0]), np.array([True, False, True]))
    >>> curves.log10_lr, curves.genuine, curves.misleading_genuine
    (array([-1.,  2.]), array([1. , 0.5]), 0.5)
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
    """Return the empirical cross-entropy after the evidence, at each prior [1]_.

    It is the information about the classes of the pairs that is still missing, in bits a pair.

    Parameters
    ----------
    evidence : ndarray of shape (n_pairs,), float64
        Log10 likelihood ratios.  Zero for all pairs gives the curve without evidence.
    same : ndarray of shape (n_pairs,), bool
        Whether each pair shows one person; at least one pair of each class.
    log10_odds : ndarray of shape (n_priors,), float64
        Base-10 logarithms of the odds of one person before looking.

    Returns
    -------
    ndarray of shape (n_priors,), float64
        At least 0; at odds of 1 it is `scoring.cllr`.

    References
    ----------
    .. [1] D. Ramos and J. Gonzalez-Rodriguez, "Reliable support: Measuring calibration of
       likelihood ratios", Forensic Science International, 2013.

    Examples
    --------
    >>> same = np.array([True, False])
    >>> empirical_cross_entropy(np.array([1.0, -1.0]), same, np.array([0.0])).round(4)
    array([0.1375])
    >>> empirical_cross_entropy(np.zeros(2), same, np.array([0.0]))
    array([1.])
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

    Examples
    --------
    >>> rates = ErrorRates(np.array([0.1, 0.4]), np.array([0.5, 0.2]), np.array([0.0, 0.25]))
    >>> equal_error_point(rates)
    OperatingPoint(threshold=0.4, false_match=0.2, false_non_match=0.25)
    """
    at = int(np.argmin(np.abs(rates.false_match - rates.false_non_match)))
    return OperatingPoint(
        float(rates.threshold[at]), float(rates.false_match[at]), float(rates.false_non_match[at])
    )


def error_band(
    pairs: ScoredPairs, *, n_rates: int = 60, n_bootstrap: int = 300, seed: int = 0
) -> Band:
    """Return the 95 % interval of the ROC and DET curves, from a bootstrap over people.

    Parameters
    ----------
    pairs : ScoredPairs
    n_rates : int, default=60
        Number of false match rates.  Their logarithms are evenly spaced, from the rate of one
        impostor pair to 1.
    n_bootstrap : int, default=300
        How often people are drawn anew.
    seed : int, default=0
        Of the random numbers.

    Returns
    -------
    Band
        Empty when half of the draws or more have no pair of one class.

    Examples
    --------
    >>> person = np.arange(40)
    >>> people = np.stack((person, np.where(person < 20, person, 79 - person)), axis=1)
    >>> pairs = ScoredPairs(np.repeat([0.8, 0.1], 20), person < 20, people)
    >>> band = error_band(pairs, n_rates=2, n_bootstrap=20)
    >>> band.false_match, band.high
    (array([0.05, 1.  ]), array([0., 0.]))
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
    """Return the share of the cosines in each bin.

    Parameters
    ----------
    cosine : ndarray of shape (n,), float64
        NaN, a missing cosine, is in no bin.
    edges : ndarray of shape (n_bins + 1,), float64
        Ascending.

    Returns
    -------
    ndarray of shape (n_bins,), float64
        The sum is less than 1 when cosines are missing.

    Examples
    --------
    >>> histogram(np.array([0.1, 0.6, 0.7, np.nan]), np.array([0.0, 0.5, 1.0]))
    array([0.25, 0.5 ])
    """
    counts, _ = np.histogram(cosine[~np.isnan(cosine)], edges)
    return np.asarray(counts / max(cosine.size, 1), dtype=np.float64)


def cosine_edges(cosine: Float64Array) -> Float64Array:
    """Return edges of bins that hold all these cosines: multiples of `COSINE_STEP`.

    Parameters
    ----------
    cosine : ndarray of shape (n,), float64
        NaN is ignored.

    Returns
    -------
    ndarray of shape (n_bins + 1,), float64
        At least two edges.

    Examples
    --------
    >>> cosine_edges(np.array([0.01, 0.05, np.nan]))
    array([0.  , 0.02, 0.04, 0.06])
    """
    known = cosine[~np.isnan(cosine)]
    if not known.size:
        return np.array([0.0, COSINE_STEP])
    first = int(np.floor(known.min() / COSINE_STEP - _ROUNDING))
    last = int(np.ceil(known.max() / COSINE_STEP + _ROUNDING))
    return np.round(np.arange(first, last + 1) * COSINE_STEP, 10)


def _equal_mass_bins(mass: Float64Array, bins: int) -> Int64Array:
    """Return the bin of each value.

    A bin ends at the value with which it reaches its share of the mass.  A rest of less than half
    a share at the end joins the last bin.
    """
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
