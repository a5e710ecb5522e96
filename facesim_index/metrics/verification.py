"""Figures of labelled pairs as the published protocols define them.

Arrays in, numbers out.  A pair with a picture in which no face was found has no cosine (NaN), and
that is a failure, not a missing value:

- accuracy: it is wrong at every threshold, whatever it shows;
- rates, AUC and EER: it is not matched at any threshold, as in the generalised rates of
  ISO/IEC 19795-1, so that a genuine pair of this kind is always missed;
- Cllr, Brier and calibration error: it is no evidence, log10 LR 0, which costs a whole bit.

Genuine and impostor pairs weigh the same, however many of each there are; only accuracy counts
pairs as they come.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesim_index.errors import CalibrationError
from facesim_index.metrics import scoring
from facesim_index.records import Float64Array, Int64Array

BoolArray = NDArray[np.bool_]

FALSE_ACCEPT_RATES = (0.1, 0.01, 0.001, 0.0001)

_NEVER_MATCHED = -2.0  # Below every cosine.


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPairs:
    """Labelled pairs with their scores, and who they are of.

    Attributes
    ----------
    cosine : ndarray of shape (n_pairs,), float64
        The score that is judged: the cosine, or what the learned head of the calibration gives.
        NaN where a picture has no face.
    same : ndarray of shape (n_pairs,), bool
        Whether each pair shows one person.
    people : ndarray of shape (n_pairs, 2), int64
        Whom the two pictures show; the same number twice where `same`.
    fold : ndarray of shape (n_pairs,), int64, or None
        From 0, where the list is divided into folds.

    Raises
    ------
    CalibrationError
        There is no pair of one person, or none of two.
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
        """The cosines; pairs without one are below all others."""
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
        """Return some of the pairs, in any order and number."""
        fold = None if self.fold is None else self.fold[rows]
        return ScoredPairs(self.cosine[rows], self.same[rows], self.people[rows], fold)


@dataclass(frozen=True, slots=True, eq=False)
class FoldAccuracy:
    """Accuracy on each fold, at the threshold that is best on the others.

    Attributes
    ----------
    accuracy, threshold : ndarray of shape (n_folds,), float64
    """

    accuracy: Float64Array
    threshold: Float64Array

    @property
    def mean(self) -> float:
        """The accuracy of the protocol."""
        return float(self.accuracy.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean, from how much the folds differ."""
        return float(self.accuracy.std(ddof=1) / np.sqrt(self.accuracy.size))


@dataclass(frozen=True, slots=True, eq=False)
class ErrorRates:
    """Both error rates at every threshold that makes a difference, ascending.

    Attributes
    ----------
    threshold, false_match, false_non_match : ndarray of shape (n_thresholds,), float64
        Pairs are matched at and above a threshold.  The first matches everything that has a
        cosine, the last (``inf``) nothing.
    """

    threshold: Float64Array
    false_match: Float64Array
    false_non_match: Float64Array


def accuracy(pairs: ScoredPairs, threshold: float) -> float:
    """Return the share of pairs that a threshold decides as labelled.

    Parameters
    ----------
    pairs : ScoredPairs
        One without a cosine is wrong.
    threshold : float
        Pairs with at least this cosine count as one person.

    Returns
    -------
    float
        In [0, 1].
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
        Half-way between two cosines; of several that are equally good the middle one.
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
    """Return accuracy by cross-validation: the threshold is chosen where it is not tested.

    Parameters
    ----------
    pairs : ScoredPairs
        With folds, two at least.

    Returns
    -------
    FoldAccuracy

    Raises
    ------
    CalibrationError
        There are no folds, or all pairs outside one are of one kind.
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

    Lists are sorted by person, so that hardly anyone is in two folds.

    Parameters
    ----------
    pairs : ScoredPairs
        With folds they are returned as they are.
    n_folds : int, default=10
        Fewer when a class has fewer pairs.

    Returns
    -------
    ScoredPairs

    Raises
    ------
    CalibrationError
        There are fewer than two pairs of a class.
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
    """Return how often a genuine pair has a higher cosine than an impostor pair.

    Parameters
    ----------
    pairs : ScoredPairs

    Returns
    -------
    float
        In [0, 1]; a tie counts one half.
    """
    genuine, impostor = pairs.scores[pairs.same], np.sort(pairs.scores[~pairs.same])
    below = np.searchsorted(impostor, genuine, side="left")
    not_above = np.searchsorted(impostor, genuine, side="right")
    return float((below + not_above).mean()) / (2.0 * impostor.size)


def error_rates(pairs: ScoredPairs) -> ErrorRates:
    """Return the points of the ROC and DET curves.

    Parameters
    ----------
    pairs : ScoredPairs

    Returns
    -------
    ErrorRates
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
        By `FALSE_ACCEPT_RATES` as text, such as ``"0.001"``; only those that stand for one
        impostor pair at least.
    """
    scores = pairs.scores
    genuine, impostor = scores[pairs.same], scores[~pairs.same]
    return {
        f"{far:g}": scoring.true_match_rate(genuine, impostor, fmr=far)
        for far in FALSE_ACCEPT_RATES
        if far * impostor.size >= 1.0
    }


def brier(degree: Float64Array, same: BoolArray) -> float:
    """Return the mean squared difference of degrees, at prior 0.5, from the truth.

    Parameters
    ----------
    degree : ndarray of shape (n_pairs,), float64
    same : ndarray of shape (n_pairs,), bool

    Returns
    -------
    float
        In [0, 1]; 0.25 for degrees that always say 0.5.
    """
    missed = float(((1.0 - degree[same]) ** 2).mean())
    return (missed + float((degree[~same] ** 2).mean())) / 2.0
