"""People divided into folds, and with them their pairs: for judging a fit on people left out.

A pair belongs to a fold when everyone in it does.  A pair of two people from different folds
belongs to none: a curve that is fitted without the one has seen the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.fitting.monotone import BINS
from facesim_index.calibration.fitting.resampling import LabelledScores, bins_of
from facesim_index.records import BoolArray, Int64Array

N_FOLDS = 5


def usable_folds(n_paired: int, n_folds: int = N_FOLDS) -> int:
    """Return into how many folds people can be divided.

    Parameters
    ----------
    n_paired : int
        People with genuine pairs.
    n_folds : int, default=5
        How many folds are wanted.

    Returns
    -------
    int
        So many that there are two people with genuine pairs for each fold, but at least two.

    Examples
    --------
    >>> usable_folds(7), usable_folds(100)
    (3, 5)
    """
    return max(2, min(n_folds, n_paired // 2))


def folds_of_people(paired: BoolArray, n_folds: int, rng: np.random.Generator) -> Int64Array:
    """Draw the fold of each person; people with genuine pairs are spread evenly over the folds.

    Parameters
    ----------
    paired : ndarray of shape (n_people,), bool
        Whether there is a genuine pair of each person.
    n_folds : int
    rng : numpy.random.Generator

    Returns
    -------
    fold : ndarray of shape (n_people,), int64
        From 0 to ``n_folds - 1``.

    Examples
    --------
    >>> paired = np.array([True, True, True, True, False, False])
    >>> folds_of_people(paired, 2, np.random.default_rng(0))
    array([1, 0, 0, 1, 1, 0])
    """
    fold = np.empty(paired.size, dtype=np.int64)
    for group in (np.flatnonzero(paired), np.flatnonzero(~paired)):
        fold[rng.permutation(group)] = np.arange(group.size) % n_folds
    return fold


def split_by_fold(
    scores: LabelledScores, n_folds: int, rng: np.random.Generator
) -> Iterator[tuple[LabelledScores, LabelledScores]]:
    """Yield, for each fold of people, the pairs with nobody of it and the pairs of it alone.

    Parameters
    ----------
    scores : LabelledScores
    n_folds : int
        At least 2.
    rng : numpy.random.Generator

    Yields
    ------
    others, within : LabelledScores

    Examples
    --------
    >>> rng, people = np.random.default_rng(0), np.array(np.triu_indices(30, 1)).T
    >>> genuine, impostor = rng.normal(0.5, 0.1, 60), rng.normal(0.0, 0.1, len(people))
    >>> scores = LabelledScores(genuine, np.repeat(np.arange(30), 2), impostor, people)
    >>> splits = split_by_fold(scores, 5, np.random.default_rng(0))
    >>> [(others.genuine.size, within.genuine.size) for others, within in splits]
    [(48, 12), (48, 12), (48, 12), (48, 12), (48, 12)]
    """
    pairs = _FoldsOfPairs.of(scores, n_folds, rng)
    for number in range(n_folds):
        yield (
            scores.chosen(pairs.genuine != number, (pairs.impostor != number).all(axis=1)),
            scores.chosen(pairs.genuine == number, (pairs.impostor == number).all(axis=1)),
        )


@dataclass(frozen=True, slots=True)
class FoldCounts:
    """Pairs by score, divided by people: who is in one fold is in no other.

    Attributes
    ----------
    genuine : ndarray of shape (n_folds, BINS), int64
    impostor : ndarray of shape (n_folds, n_folds, BINS), int64
        By the folds of the two people.
    """

    genuine: Int64Array
    impostor: Int64Array

    @classmethod
    def of(cls, scores: LabelledScores, n_folds: int, rng: np.random.Generator) -> "FoldCounts":
        """Draw the folds of the people and count the pairs of each.

        Parameters
        ----------
        scores : LabelledScores
        n_folds : int
            At least 2.
        rng : numpy.random.Generator

        Returns
        -------
        FoldCounts
        """
        pairs = _FoldsOfPairs.of(scores, n_folds, rng)
        first, second = pairs.impostor.T.astype(np.int64)
        return cls(
            _counted(pairs.genuine.astype(np.int64), bins_of(scores.genuine), n_folds),
            _counted(first * n_folds + second, bins_of(scores.impostor), n_folds**2).reshape(
                n_folds, n_folds, BINS
            ),
        )

    def without(self, fold: int) -> tuple[Int64Array, Int64Array]:
        """Return the counts of the pairs with nobody of a fold.

        Parameters
        ----------
        fold : int
            The fold, from 0, whose people are left out.

        Returns
        -------
        genuine, impostor : ndarray of shape (BINS,), int64
            Pairs in each bin of the score.
        """
        others = np.delete(np.arange(len(self.genuine)), fold)
        impostor = self.impostor[np.ix_(others, others)]
        return self.genuine[others].sum(axis=0), impostor.sum(axis=(0, 1))

    def within(self, fold: int) -> tuple[Int64Array, Int64Array]:
        """Return the counts of the pairs of people who are all of a fold.

        Parameters
        ----------
        fold : int
            Its number, from 0.

        Returns
        -------
        genuine, impostor : ndarray of shape (BINS,), int64
            As `without`.
        """
        return self.genuine[fold], self.impostor[fold, fold]


@dataclass(frozen=True, slots=True)
class _FoldsOfPairs:
    """The folds of the people of each pair, in two bytes: there may be many millions of pairs."""

    genuine: NDArray[np.int16]
    impostor: NDArray[np.int16]

    @classmethod
    def of(cls, scores: LabelledScores, n_folds: int, rng: np.random.Generator) -> "_FoldsOfPairs":
        people = scores.people
        paired = np.isin(people, scores.genuine_person)
        fold = folds_of_people(paired, n_folds, rng).astype(np.int16)
        return cls(
            fold[np.searchsorted(people, scores.genuine_person)],
            fold[np.searchsorted(people, scores.impostor_people)],
        )


def _counted(group: Int64Array, place: Int64Array, n_groups: int) -> Int64Array:
    counts = np.bincount(group * BINS + place, minlength=n_groups * BINS)
    return counts.reshape(n_groups, BINS).astype(np.int64)
