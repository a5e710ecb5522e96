"""Figures of labelled pairs as the published protocols define them.

A pair with a picture in which no face was found has no cosine (NaN).  That is a failure, not a
missing value:

- accuracy: the pair is wrong at every threshold, whatever it shows;
- rates, AUC and EER: it is not matched at any threshold, as in the generalised rates of
  ISO/IEC 19795-1, so that a genuine pair without a cosine is always missed;
- Cllr, Brier and calibration error: it is no evidence, log10 LR 0, which costs one bit.

Genuine and impostor pairs have the same weight, however many of each there are.  Only in accuracy
every pair has the same weight.
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.errors import CalibrationError
from facesim_index.metrics import scoring
from facesim_index.records import BoolArray, Float64Array, Int64Array

FALSE_ACCEPT_RATES = (0.1, 0.01, 0.001, 0.0001)

_NEVER_MATCHED = -2.0  # Below every cosine.


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPairs:
    """Labelled pairs with their scores and their people.

    Attributes
    ----------
    cosine : ndarray of shape (n_pairs,), float64
        The scores: cosines, or scores of the learned head of the calibration, in [-1, 1].  NaN
        where a picture has no face.
    same : ndarray of shape (n_pairs,), bool
        Whether each pair shows one person.
    people : ndarray of shape (n_pairs, 2), int64
        The people on the two pictures; the same number twice where `same`.
    fold : ndarray of shape (n_pairs,), int64, or None
        The fold of each pair, from 0; None where the list is not divided into folds.

    Raises
    ------
    CalibrationError
        There is no genuine pair, or no impostor pair.
    """

    cosine: Float64Array
    same: BoolArray
    people: Int64Array
    fold: Int64Array | None = None

    def __post_init__(self) -> None:
        n_genuine = int(self.same.sum())
        if not 0 < n_genuine < self.same.size:
            raise CalibrationError(
                f"{n_genuine} pairs of one person and {self.same.size - n_genuine} of two people: "
                "an evaluation needs both"
            )

    def __len__(self) -> int:
        return self.cosine.size

    @property
    def scores(self) -> Float64Array:
        """The cosines; a pair without one has a score below all others."""
        return np.where(np.isnan(self.cosine), _NEVER_MATCHED, self.cosine)

    def by_class(self, values: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the values of the genuine pairs, and those of the impostor pairs.

        Parameters
        ----------
        values : ndarray of shape (n_pairs,), float64
            One of each pair: its score, its degree, or its log10 likelihood ratio.

        Returns
        -------
        genuine : ndarray of shape (n_genuine,), float64
        impostor : ndarray of shape (n_impostor,), float64
        """
        return values[self.same], values[~self.same]

    def rows(self, rows: Int64Array) -> "ScoredPairs":
        """Return some of the pairs.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Their numbers in any order; a number may occur more than once.

        Returns
        -------
        ScoredPairs

        Raises
        ------
        CalibrationError
            None of them is a genuine pair, or none an impostor pair.
        """
        fold = None if self.fold is None else self.fold[rows]
        return ScoredPairs(self.cosine[rows], self.same[rows], self.people[rows], fold)


@dataclass(frozen=True, slots=True, eq=False)
class FoldAccuracy:
    """Accuracy on each fold, at the threshold that is best on the other folds.

    Attributes
    ----------
    accuracy : ndarray of shape (n_folds,), float64
        Share of pairs that are decided as labelled, in [0, 1].
    threshold : ndarray of shape (n_folds,), float64
        A score.
    """

    accuracy: Float64Array
    threshold: Float64Array

    @property
    def mean(self) -> float:
        """The mean accuracy over the folds, as the protocol asks for."""
        return float(self.accuracy.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of `mean`, from the differences between folds."""
        return float(self.accuracy.std(ddof=1) / np.sqrt(self.accuracy.size))


@dataclass(frozen=True, slots=True, eq=False)
class ErrorRates:
    """Both error rates at every threshold that makes a difference.

    Attributes
    ----------
    threshold : ndarray of shape (n_thresholds,), float64
        Ascending.  Pairs are matched at and above a threshold.  At the first one all pairs that
        have a score are matched, at the last one (``inf``) none.
    false_match : ndarray of shape (n_thresholds,), float64
        Share of impostor pairs that are matched.
    false_non_match : ndarray of shape (n_thresholds,), float64
        Share of genuine pairs that are not matched.
    """

    threshold: Float64Array
    false_match: Float64Array
    false_non_match: Float64Array


def accuracy(pairs: ScoredPairs, threshold: float) -> float:
    """Return the share of pairs that a threshold decides as labelled.

    Parameters
    ----------
    pairs : ScoredPairs
        A pair without a cosine is wrong.
    threshold : float
        Pairs with at least this cosine count as one person.

    Returns
    -------
    float
        In [0, 1].

    Examples
    --------
    >>> same, people = np.array([True, False]), np.array([[0, 0], [1, 2]])
    >>> accuracy(ScoredPairs(np.array([0.6, 0.1]), same, people), threshold=0.7)
    0.5
    """
    decided = ~np.isnan(pairs.cosine)
    return float((decided & ((pairs.scores >= threshold) == pairs.same)).mean())


def best_threshold(pairs: ScoredPairs) -> float:
    """Return the threshold with the highest accuracy on these pairs.

    Parameters
    ----------
    pairs : ScoredPairs

    Returns
    -------
    float
        Half-way between two cosines; the middle one of several that are equally good.

    Examples
    --------
    >>> same, people = np.array([True, False]), np.array([[0, 0], [1, 2]])
    >>> best_threshold(ScoredPairs(np.array([0.75, 0.25]), same, people))
    0.5
    """
    decided = ~np.isnan(pairs.cosine)
    cosine, same = pairs.cosine[decided], pairs.same[decided]
    values = np.unique(cosine)
    if not values.size:
        return 0.0
    between = (values[1:] + values[:-1]) / 2.0
    thresholds = np.concatenate((values[:1], between, np.nextafter(values[-1:], np.inf)))
    accepted = (same.sum() - np.searchsorted(np.sort(cosine[same]), thresholds)).astype(np.int64)
    right = accepted + np.searchsorted(np.sort(cosine[~same]), thresholds)
    best = np.flatnonzero(right == right.max())
    return float(thresholds[best[best.size // 2]])


def fold_accuracy(pairs: ScoredPairs) -> FoldAccuracy:
    """Return the accuracy on each fold, at the best threshold of the other folds [1]_.

    Parameters
    ----------
    pairs : ScoredPairs
        Divided into at least two folds.

    Returns
    -------
    FoldAccuracy

    Raises
    ------
    CalibrationError
        There are no folds, or all pairs outside a fold are of one class.

    References
    ----------
    .. [1] G. B. Huang, M. Ramesh, T. Berg and E. Learned-Miller, "Labeled Faces in the Wild",
       University of Massachusetts, Amherst, Technical Report 07-49, 2007.

    Examples
    --------
    >>> same, people = np.array([True, False] * 2), np.array([[0, 0], [1, 2]] * 2)
    >>> cosine, fold = np.array([0.75, 0.25, 0.4, 0.0]), np.array([0, 0, 1, 1])
    >>> fold_accuracy(ScoredPairs(cosine, same, people, fold)).accuracy
    array([0.5, 0.5])
    """
    folds = np.unique(pairs.fold) if pairs.fold is not None else np.empty(0)
    if folds.size < 2:
        raise CalibrationError("these pairs are not divided into folds")
    thresholds, accuracies = [], []
    for fold in folds:
        inside = pairs.fold == fold
        threshold = best_threshold(pairs.rows(np.flatnonzero(~inside)))
        decided = ~np.isnan(pairs.cosine[inside])
        right = decided & ((pairs.scores[inside] >= threshold) == pairs.same[inside])
        thresholds.append(threshold)
        accuracies.append(float(right.mean()))
    return FoldAccuracy(np.array(accuracies), np.array(thresholds))


def divided(pairs: ScoredPairs, n_folds: int = 10) -> ScoredPairs:
    """Divide pairs into folds: each class, in the order of the list, into equal parts.

    Lists are usually sorted by person, so that hardly anyone is in two folds.

    Parameters
    ----------
    pairs : ScoredPairs
        Returned as they are when they are divided already.
    n_folds : int, default=10
        There are fewer folds when a class has fewer pairs.

    Returns
    -------
    ScoredPairs

    Raises
    ------
    CalibrationError
        There are fewer than two pairs of a class.

    Examples
    --------
    >>> same, people = np.array([True, True, False, False]), np.array([[0, 0]] * 2 + [[1, 2]] * 2)
    >>> divided(ScoredPairs(np.array([0.6, 0.7, 0.1, 0.2]), same, people)).fold
    array([0, 1, 0, 1])
    """
    if pairs.fold is not None:
        return pairs
    n_genuine = int(pairs.same.sum())
    n_folds = min(n_folds, n_genuine, len(pairs) - n_genuine)
    if n_folds < 2:
        raise CalibrationError(
            f"{n_genuine} pairs of one person and {len(pairs) - n_genuine} of two people: "
            "two of each are needed to divide them into folds"
        )
    fold = np.empty(len(pairs), dtype=np.int64)
    for rows in (np.flatnonzero(pairs.same), np.flatnonzero(~pairs.same)):
        fold[rows] = np.arange(rows.size) * n_folds // rows.size
    return ScoredPairs(pairs.cosine, pairs.same, pairs.people, fold)


def area_under_roc(pairs: ScoredPairs) -> float:
    """Return how often a genuine pair has a higher cosine than an impostor pair [1]_.

    Parameters
    ----------
    pairs : ScoredPairs

    Returns
    -------
    float
        In [0, 1]; a tie counts one half.

    References
    ----------
    .. [1] J. A. Hanley and B. J. McNeil, "The meaning and use of the area under a receiver
       operating characteristic (ROC) curve", Radiology, 1982.

    Examples
    --------
    >>> same, people = np.array([True, False, False]), np.array([[0, 0], [1, 2], [1, 3]])
    >>> area_under_roc(ScoredPairs(np.array([0.5, 0.5, 0.1]), same, people))
    0.75
    """
    genuine, impostor = pairs.scores[pairs.same], np.sort(pairs.scores[~pairs.same])
    below = np.searchsorted(impostor, genuine, side="left")
    not_above = np.searchsorted(impostor, genuine, side="right")
    return float((below + not_above).mean()) / (2.0 * impostor.size)


def error_rates(pairs: ScoredPairs) -> ErrorRates:
    """Return both error rates at every threshold: the points of the ROC and DET curves.

    Parameters
    ----------
    pairs : ScoredPairs

    Returns
    -------
    ErrorRates

    Examples
    --------
    >>> same, people = np.array([True, False]), np.array([[0, 0], [1, 2]])
    >>> rates = error_rates(ScoredPairs(np.array([0.6, 0.1]), same, people))
    >>> rates.threshold, rates.false_match, rates.false_non_match
    (array([0.1, 0.6, inf]), array([1., 0., 0.]), array([0., 0., 1.]))
    """
    scores = pairs.scores
    thresholds = np.append(np.unique(scores[scores > _NEVER_MATCHED]), np.inf)
    genuine, impostor = np.sort(scores[pairs.same]), np.sort(scores[~pairs.same])
    missed = np.searchsorted(genuine, thresholds) / genuine.size
    false = 1.0 - np.searchsorted(impostor, thresholds) / impostor.size
    return ErrorRates(thresholds, false, missed)


def tar_at_far(pairs: ScoredPairs) -> dict[str, float]:
    """Return the true accept rate at each false accept rate that the pairs can show.

    Parameters
    ----------
    pairs : ScoredPairs

    Returns
    -------
    dict of str to float
        By each of `FALSE_ACCEPT_RATES` as text, such as ``"0.001"``; only rates that stand for
        at least one impostor pair.

    Examples
    --------
    >>> person = np.arange(20)
    >>> people = np.stack((person, np.where(person < 10, person, 99)), axis=1)
    >>> tar_at_far(ScoredPairs(np.repeat([0.6, 0.1], 10), person < 10, people))
    {'0.1': 1.0}
    """
    scores = pairs.scores
    genuine, impostor = scores[pairs.same], scores[~pairs.same]
    return {
        f"{far:g}": scoring.true_match_rate(genuine, impostor, fmr=far)
        for far in FALSE_ACCEPT_RATES
        if far * impostor.size >= 1.0
    }


def brier(degree: Float64Array, same: BoolArray) -> float:
    """Return the Brier score: the mean squared difference of degrees from the truth [1]_.

    Parameters
    ----------
    degree : ndarray of shape (n_pairs,), float64
        At prior 0.5, in [0, 1].
    same : ndarray of shape (n_pairs,), bool
        Whether each pair shows one person; at least one pair of each class.

    Returns
    -------
    float
        In [0, 1]; 0.25 for degrees that are always 0.5.

    References
    ----------
    .. [1] G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly
       Weather Review, 1950.

    Examples
    --------
    >>> brier(np.array([0.5, 0.5]), np.array([True, False]))
    0.25
    """
    missed = float(((1.0 - degree[same]) ** 2).mean())
    return (missed + float((degree[~same] ** 2).mean())) / 2.0
