"""Labelled pairs with who they are of, and how often they count when people are drawn anew.

Pairs are not independent: everyone is in many of them.  What a curve owes to chance shows when
*people* are drawn anew, with everything that hangs on them; drawing pairs anew would make the
curve look far more certain than it is.

Yet nobody is drawn whose like is not in the data.  Where the classes hardly overlap, what is
known of the ratio hangs on the one or two genuine pairs that happen to be lowest, and on those
that by luck are not there.  So each cosine is moved a little at random as well: the smoothed
bootstrap (Silverman and Young, "The bootstrap: to smooth or not to smooth?", 1987), which draws
from a density estimate instead of the very values.
"""

import math
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.fitting.monotone import BINS
from facesim_index.errors import CalibrationError
from facesim_index.records import BoolArray, Float32Array, Float64Array, Int64Array

MAX_PAIRS_PER_BIN = 2000
"""Impostor pairs of a bin that resampling looks at; the others are stood for by these."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledScores:
    """Scores of labelled pairs, cosines or those of a learned head, with who they are of.

    Every pair of the labelled people, not a selection: the high cosines among very many
    impostor pairs are what a search meets.

    Attributes
    ----------
    genuine : ndarray of shape (n_genuine,), float64
        Scores of pairs that show one person.
    genuine_person : ndarray of shape (n_genuine,), int64
        Whom each shows.
    impostor : ndarray of shape (n_impostor,), float64
        Scores of pairs that show two people.
    impostor_people : ndarray of shape (n_impostor, 2), int64
        The two.

    Raises
    ------
    CalibrationError
        Shapes that do not fit together, a cosine that is not one, or an impostor pair of one
        person.
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
    """Return in which of the bins over [-1, 1] each cosine is.

    Parameters
    ----------
    cosine : ndarray of any shape
        Values a little outside [-1, 1] count as the nearest end.

    Returns
    -------
    ndarray of the same shape, int64
    """
    place = ((cosine + 1.0) * (BINS / 2)).astype(np.int64)
    return np.clip(place, 0, BINS - 1)


class PeopleResampler:
    """Counts of pairs after people are drawn anew, with replacement, and cosines moved a little.

    Someone who is drawn twice counts twice, and so do their genuine pairs; a pair of two people
    counts as often as the one is drawn, times as often as the other.  All genuine pairs of a
    person are moved by one normal deviate, each impostor pair by its own.

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
        # Pairs of the same people are no further evidence: they do not make the kernel narrower.
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
    """Return the width of the normal kernel that estimates a distribution function best.

    Not of a density: what the curve owes to chance is how many pairs lie beyond a cosine.  For a
    normal distribution the mean integrated squared error is least at s (4 / n)^(1/3) [1]_.

    Parameters
    ----------
    cosine : ndarray of shape (n_pairs,), float64
        Of one class.
    n_independent : int
        How many of them count as independent of each other.

    Returns
    -------
    float
        Standard deviation of the kernel; 0 when all cosines are equal.

    References
    ----------
    .. [1] A. Azzalini, "A note on the estimation of a distribution function and quantiles by a
       kernel method", Biometrika, 1981.
    """
    lower, upper = np.percentile(cosine, (25.0, 75.0))
    # A few wrong labels far out widen the standard deviation, not the quartiles.
    spread = min(float(cosine.std()), float(upper - lower) / 1.349)
    return spread * math.cbrt(4.0 / n_independent)


def _thinned(place: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, Float64Array]:
    """Choose pairs of each bin at random; return them and how many pairs each stands for."""
    counts = np.bincount(place, minlength=BINS)
    share = np.minimum(MAX_PAIRS_PER_BIN / np.maximum(counts, 1), 1.0)
    kept = np.flatnonzero(rng.random(place.size) < share[place])
    kept_counts = np.bincount(place[kept], minlength=BINS)
    stands_for = counts / np.maximum(kept_counts, 1)
    return kept, np.asarray(stands_for[place[kept]], dtype=np.float64)
