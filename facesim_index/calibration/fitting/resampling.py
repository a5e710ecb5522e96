"""Labelled pairs with their people, and a smoothed bootstrap over people.

Pairs are not independent: everyone is in many of them.  So *people* are drawn anew, with all their
pairs, to see how much a curve depends on chance.  Drawing pairs anew would make the curve look far
more certain than it is.

Drawing people alone is not enough.  Where the classes hardly overlap, the likelihood ratio depends
on the one or two genuine pairs that happen to have the lowest cosines, and no draw has a pair with
another cosine.  So each cosine is moved a little at random as well.  This is the smoothed bootstrap
[1]_, which draws from an estimate of the density instead of from the observed values.

References
----------
.. [1] B. W. Silverman and G. A. Young, "The bootstrap: to smooth or not to smooth?", Biometrika,
   1987.
"""

import math
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.fitting.monotone import BINS
from facesim_index.errors import CalibrationError
from facesim_index.records import BoolArray, Float32Array, Float64Array, Int64Array

MAX_PAIRS_PER_BIN = 2000
"""At most so many impostor pairs of a bin are resampled; they count for the others as well."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledScores:
    """Scores of labelled pairs with their people.

    Give every pair of the labelled people, not a selection: a search meets the highest cosines of
    very many impostor pairs.

    Attributes
    ----------
    genuine : ndarray of shape (n_genuine,), float64
        Scores of pairs that show one person, in [-1, 1]: cosines, or scores of a learned head.
    genuine_person : ndarray of shape (n_genuine,), int64
        The person of each genuine pair.
    impostor : ndarray of shape (n_impostor,), float64
        Scores of pairs that show two people, in [-1, 1].
    impostor_people : ndarray of shape (n_impostor, 2), int64
        The two people of each impostor pair.

    Raises
    ------
    CalibrationError
        The shapes do not fit together, a score is not finite or not in [-1, 1], or an impostor
        pair has the same person twice.
    """

    genuine: Float64Array
    genuine_person: Int64Array
    impostor: Float64Array
    impostor_people: Int64Array

    def __post_init__(self) -> None:
        if (
            self.genuine.ndim != 1
            or self.impostor.ndim != 1
            or self.genuine_person.shape != self.genuine.shape
            or self.impostor_people.shape != (self.impostor.size, 2)
        ):
            raise CalibrationError("labelled scores need the people of each pair")
        for cosine in (self.genuine, self.impostor):
            if cosine.size and not (cosine.min() >= -1.001 and cosine.max() <= 1.001):
                raise CalibrationError(
                    "a cosine is not finite or not in [-1, 1]; are the embeddings of unit norm?"
                )
        if (self.impostor_people[:, 0] == self.impostor_people[:, 1]).any():
            raise CalibrationError("an impostor pair shows the same person twice")

    @property
    def people(self) -> Int64Array:
        """Everyone who is in a pair, ascending."""
        return np.union1d(self.genuine_person, self.impostor_people)

    def chosen(self, genuine: BoolArray, impostor: BoolArray) -> "LabelledScores":
        """Return some of the pairs.

        Parameters
        ----------
        genuine : ndarray of shape (n_genuine,), bool
        impostor : ndarray of shape (n_impostor,), bool

        Returns
        -------
        LabelledScores
        """
        return LabelledScores(
            self.genuine[genuine],
            self.genuine_person[genuine],
            self.impostor[impostor],
            self.impostor_people[impostor],
        )


def bins_of(cosine: Float32Array | Float64Array) -> Int64Array:
    """Return the bin of each cosine, of `BINS` equal bins over [-1, 1].

    Parameters
    ----------
    cosine : ndarray of any shape, float32 or float64
        Values slightly outside [-1, 1] count as the nearest end.

    Returns
    -------
    ndarray of the same shape, int64
        From 0 to ``BINS - 1``.

    Examples
    --------
    >>> bins_of(np.array([-1.0, 0.0005, 1.0]))
    array([   0, 1000, 1999])
    """
    place = ((cosine + 1.0) * (BINS / 2)).astype(np.int64)
    return np.clip(place, 0, BINS - 1)


class PeopleResampler:
    """Counts of pairs after drawing people anew, with replacement, and moving every cosine.

    A genuine pair counts as often as its person is drawn.  An impostor pair counts as often as its
    first person is drawn, times as often as its second person is drawn.  The cosines of all genuine
    pairs of a person are moved by the same normal deviate; each impostor pair has one of its own.

    Parameters
    ----------
    scores : LabelledScores
    rng : numpy.random.Generator
    """

    def __init__(self, scores: LabelledScores, rng: np.random.Generator) -> None:
        people = scores.people
        self._rng = rng
        self._n_people = people.size
        self._genuine = scores.genuine
        self._genuine_person = np.searchsorted(people, scores.genuine_person)
        # Several pairs of the same people count once: they do not make the kernel narrower.
        n_paired = np.unique(scores.genuine_person).size
        n_two = min(scores.impostor.size, people.size * (people.size - 1) // 2)
        self._genuine_width = bandwidth(scores.genuine, n_paired)
        self._impostor_width = bandwidth(scores.impostor, n_two)
        kept, self._stands_for = _thinned(bins_of(scores.impostor), rng)
        self._impostor = scores.impostor[kept]
        self._first = np.searchsorted(people, scores.impostor_people[kept, 0])
        self._second = np.searchsorted(people, scores.impostor_people[kept, 1])

    def draw(self) -> tuple[Float64Array, Float64Array]:
        """Return the counts after drawing people at random and moving every cosine.

        Returns
        -------
        genuine, impostor : ndarray of shape (BINS,), float64
            Pairs in each bin; not whole numbers where a pair stands for others.
        """
        drawn = self._rng.integers(0, self._n_people, self._n_people)
        times_drawn = np.bincount(drawn, minlength=self._n_people).astype(np.float64)
        of_person = self._deviates(self._n_people, self._genuine_width)
        of_pair = self._deviates(self._impostor.size, self._impostor_width)
        return self.counts(times_drawn, of_person[self._genuine_person], of_pair)

    def counts(
        self,
        times_drawn: Float64Array,
        genuine_moves: Float32Array | float = 0.0,
        impostor_moves: Float32Array | float = 0.0,
    ) -> tuple[Float64Array, Float64Array]:
        """Return the counts when each person is drawn so many times.

        Parameters
        ----------
        times_drawn : ndarray of shape (n_people,), float64
            In the order of `LabelledScores.people`.
        genuine_moves : float, or ndarray of shape (n_genuine,), float32, default=0.0
            What is added to the cosine of each genuine pair.
        impostor_moves : float, or ndarray of shape (n_kept,), float32, default=0.0
            The same of the impostor pairs that are looked at.

        Returns
        -------
        genuine, impostor : ndarray of shape (BINS,), float64
        """
        both = times_drawn[self._first] * times_drawn[self._second] * self._stands_for
        genuine, impostor = self._genuine + genuine_moves, self._impostor + impostor_moves
        of_genuine = np.bincount(bins_of(genuine), times_drawn[self._genuine_person], BINS)
        of_impostor = np.bincount(bins_of(impostor), both, BINS)
        return of_genuine.astype(np.float64), of_impostor.astype(np.float64)

    def _deviates(self, n: int, width: float) -> Float32Array:
        return np.float32(width) * self._rng.standard_normal(n, dtype=np.float32)


def bandwidth(cosine: Float64Array, n_independent: int) -> float:
    """Return the width of the normal kernel that estimates a distribution function best [1]_.

    A distribution function is estimated, not a density, because the curve depends on how many pairs
    lie beyond a cosine.  For a normal distribution with standard deviation s, the mean integrated
    squared error is least at a width of s (4 / n)^(1/3).

    Parameters
    ----------
    cosine : ndarray of shape (n_pairs,), float64
        Cosines of one class.
    n_independent : int
        The number n: how many of the pairs count as independent.

    Returns
    -------
    float
        Standard deviation of the kernel; 0 when all cosines are equal.

    References
    ----------
    .. [1] A. Azzalini, "A note on the estimation of a distribution function and quantiles by a
       kernel method", Biometrika, 1981.

    Examples
    --------
    >>> round(bandwidth(np.random.default_rng(0).normal(0.5, 0.1, 10_000), 32), 3)
    0.05
    """
    lower, upper = np.percentile(cosine, (25.0, 75.0))
    # A few wrong labels far out widen the standard deviation, not the quartiles.
    spread = min(float(cosine.std()), float(upper - lower) / 1.349)
    return spread * math.cbrt(4.0 / n_independent)


def _thinned(place: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, Float64Array]:
    """Choose pairs of each bin at random; return them and how many pairs each counts for."""
    counts = np.bincount(place, minlength=BINS)
    share = np.minimum(MAX_PAIRS_PER_BIN / np.maximum(counts, 1), 1.0)
    kept = np.flatnonzero(rng.random(place.size) < share[place])
    kept_counts = np.bincount(place[kept], minlength=BINS)
    stands_for = counts / np.maximum(kept_counts, 1)
    return kept, np.asarray(stands_for[place[kept]], dtype=np.float64)
