"""Normalised scores: what a cosine is worth among the faces that these two faces live with.

Strangers are not equally alike everywhere.  Among toddlers a cosine of 0.4 is common, among adults
of one press agency it is rare.  So each face gets two numbers, its *statistics*: the middle and
the top of its cosines with the faces of other people.  The score of two faces is

    reference middle + mean over both faces of (cosine - middle) * reference spread / spread

where the spread of a face is its top minus its middle, and the reference is the middle and the
spread among the people that the curve was fitted on.  So a score reads like a cosine among those
people, and for them it is one, but for the face that is like many others or like nobody.  The idea
is the symmetric score normalisation (s-norm) of speaker verification [1]_; by quantiles, because
the upper tail of the cosines is what counts and is not normal.

The statistics of a face come from two sources:

- **The cohort**: at most `COHORT_SIZE` faces of the same index.  The face's own pictures are among
  them, and of one person there may be many.  So cosines that are far above the face's own top are
  left out, and the quantiles are taken anew, some times; at first everything is left out that is
  above a cosine that strangers of the reference hardly reach.
- **What is expected** of such a face: a linear function of its embedding, which was fitted on the
  statistics of faces among their like (children among children).  It counts as much as
  `PRIOR_FACES` faces of the cohort, so that a small index is not judged by a handful of faces, and
  is all there is for pictures that are in no index.  And the top of a face is never lower than what
  is expected, less `SLACK`, because that is a guess with an error: in an index where few faces are
  like it, its cosines with the others say nothing of those few.

References
----------
.. [1] P. Kenny, "Bayesian speaker verification with heavy-tailed priors", Odyssey, 2010; with
   statistics of the best scores only: D. E. Sturim and D. A. Reynolds, "Speaker adaptive cohort
   selection for Tnorm in text-independent speaker verification", ICASSP, 2005.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from facesim_index.errors import CalibrationError
from facesim_index.records import Float32Array, Float64Array, Int64Array

COHORT_SIZE = 2000
"""Faces of an index that every face is compared with."""

TOP_QUANTILE = 0.95
CUT_SPREADS = 1.6
"""So many spreads above its middle a face is taken for one person's with a face of the cohort:
among the people of LFW six strangers in a thousand are."""

N_ROUNDS = 3
PRIOR_FACES = 100.0
SLACK = 1.0 / 3.0
"""By so many spreads of the reference the expected top of a face may well be wrong."""

LEAST_SPREAD = 0.4
"""So many spreads of the reference are less than any face has that was measured; it only keeps a
division sane."""

_ROWS_AT_ONCE = 1024
_KEY_LENGTH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """How the scores of a calibration are normalised.  Equal if all numbers are.

    Attributes
    ----------
    middle, top : float
        The reference: median and `TOP_QUANTILE` of the cosines of strangers among the people that
        the curve was fitted on, the mean over their faces.
    cut : float
        A cosine above which two faces are first taken for one person's: strangers of the reference
        reach it once in 100,000 pairs or less.
    weights : ndarray of shape (dimension, 2), float32
        What is expected of a face from its embedding e: the middle is ``middle + e @ weights[:,
        0]``, and the spread ``(top - middle) * exp(e @ weights[:, 1])``.

    Raises
    ------
    CalibrationError
        A number is not finite, the top is not above the middle, or the weights have another shape.

    Examples
    --------
    A reference alone, which expects the same of every face:

    >>> plain = Normalisation(0.0, 0.15, 0.4, np.zeros((2, 2), np.float32))
    >>> plain.expected(np.array([[1.0, 0.0]], np.float32))
    array([[0.  , 0.15]])
    """

    middle: float
    top: float
    cut: float
    weights: Float32Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", np.array(self.weights, dtype=np.float32))
        self.weights.flags.writeable = False
        if self.weights.ndim != 2 or self.weights.shape[1] != 2 or not self.weights.size:
            raise CalibrationError("a normalisation needs two weights for each dimension")
        if not (np.isfinite(self.weights).all() and np.isfinite(self._numbers).all()):
            raise CalibrationError("a number of the normalisation is not finite")
        if not self.middle < self.top < self.cut:
            raise CalibrationError("middle, top and cut of a normalisation must ascend")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Normalisation)
            and self._numbers == other._numbers
            and np.array_equal(self.weights, other.weights)
        )

    def __hash__(self) -> int:
        return hash((self._numbers, self.weights.tobytes()))

    @property
    def _numbers(self) -> tuple[float, float, float]:
        return self.middle, self.top, self.cut

    @property
    def spread(self) -> float:
        """The spread of the reference."""
        return self.top - self.middle

    @property
    def key(self) -> str:
        """A text that differs wherever the statistics of a face would differ."""
        rules = (TOP_QUANTILE, CUT_SPREADS, N_ROUNDS, PRIOR_FACES, SLACK, LEAST_SPREAD)
        told = repr((COHORT_SIZE, *rules, *self._numbers)).encode()
        return hashlib.sha256(told + self.weights.astype("<f4").tobytes()).hexdigest()[:_KEY_LENGTH]

    def check_dimension(self, dimension: int) -> None:
        """Refuse embeddings of another dimension than it was fitted for.

        Parameters
        ----------
        dimension : int

        Raises
        ------
        CalibrationError
        """
        if len(self.weights) != dimension:
            raise CalibrationError(
                f"the scores are normalised for embeddings of {len(self.weights)} dimensions, and "
                f"these have {dimension}; use a calibration that was fitted for their engine"
            )

    def expected(self, embeddings: Float32Array) -> Float64Array:
        """Return the statistics that are expected of faces, from their embeddings alone.

        Parameters
        ----------
        embeddings : ndarray of shape (n, dimension), float32
            Unit norm.

        Returns
        -------
        statistics : ndarray of shape (n, 2), float64
            Middle and top.
        """
        self.check_dimension(embeddings.shape[1])
        # Row by row, so that a face has the same statistics in whatever company it is asked for.
        told = np.einsum("ij,jk->ik", embeddings, self.weights, dtype=np.float64)
        middle = self.middle + told[:, 0]
        spread = self.spread * np.maximum(np.exp(told[:, 1]), LEAST_SPREAD)
        return np.stack([middle, middle + spread], axis=1)

    def factors(self, statistics: Float32Array) -> Float64Array:
        """Return what a score is made with: the slope and the offset of each face.

        The score of two faces with the cosine c is ``(slope_a + slope_b) * c - (offset_a +
        offset_b)``.

        Parameters
        ----------
        statistics : ndarray of shape (n, 2), float32
            Middle and top.

        Returns
        -------
        factors : ndarray of shape (n, 2), float64
            Slope and offset.
        """
        middle, top = statistics.astype(np.float64).T
        slope = 0.5 / np.maximum((top - middle) / self.spread, LEAST_SPREAD)
        return np.stack([slope, slope * middle - 0.5 * self.middle], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """The faces of a gallery that others are compared with for their statistics.

    Attributes
    ----------
    normalisation : Normalisation
    embeddings : ndarray of shape (n_cohort, dimension), float32
        Unit norm; none leaves what is expected.
    """

    normalisation: Normalisation
    embeddings: Float32Array
    _columns: Float64Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # In double precision, so that a face has the same statistics in whatever company.
        object.__setattr__(self, "_columns", self.embeddings.T.astype(np.float64, order="C"))

    def statistics(
        self, embeddings: Float32Array, face_ids: Int64Array | None = None
    ) -> Float32Array:
        """Return the statistics of faces.

        Parameters
        ----------
        embeddings : ndarray of shape (n, dimension), float32
            Unit norm.  Those that are in the cohort themselves are left out by their cosine.
        face_ids : ndarray of shape (n,), int64, optional
            Not used; whoever has stored statistics finds them by these.

        Returns
        -------
        statistics : ndarray of shape (n, 2), float32
            Middle and top: cosines.
        """
        self.normalisation.check_dimension(embeddings.shape[1])
        told = np.empty((len(embeddings), 2), dtype=np.float32)
        for start in range(0, len(embeddings), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            cosines = (embeddings[part].astype(np.float64) @ self._columns).astype(np.float32)
            told[part] = self._told(cosines, self.normalisation.expected(embeddings[part]))
        return told

    def _told(self, cosines: Float32Array, expected: Float64Array) -> Float32Array:
        """Return statistics from the cosines with the cohort and what is expected."""
        told = expected
        if cosines.shape[1]:
            middle, top, counts = quantiles(cosines, self.normalisation.cut)
            share = (counts / (counts + PRIOR_FACES))[:, None]
            told = share * np.stack([middle, top], axis=1) + (1.0 - share) * expected
        slack = SLACK * self.normalisation.spread
        top = np.maximum(told[:, 1], expected[:, 1] - slack)
        top = np.maximum(top, told[:, 0] + LEAST_SPREAD * self.normalisation.spread)
        return np.stack([told[:, 0], top], axis=1).astype(np.float32)


def cohort_of(embeddings: Float32Array, normalisation: Normalisation, *, seed: int = 0) -> Cohort:
    """Return a cohort of faces that are in no index, such as those of a labelled folder.

    Parameters
    ----------
    embeddings : ndarray of shape (n, dimension), float32
        Unit norm.
    normalisation : Normalisation
    seed : int, default=0
        Draws `COHORT_SIZE` faces where there are more.

    Returns
    -------
    Cohort
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(embeddings))[:COHORT_SIZE])
    return Cohort(normalisation, embeddings[rows])


def expectation(normalisation: Normalisation) -> Cohort:
    """Return the empty cohort, for faces of which nothing but themselves is known.

    Parameters
    ----------
    normalisation : Normalisation

    Returns
    -------
    Cohort
        Its statistics are those that are expected.
    """
    return Cohort(normalisation, np.empty((0, len(normalisation.weights)), np.float32))


def quantiles(cosines: Float32Array, cut: float) -> tuple[Float64Array, Float64Array, Int64Array]:
    """Return the middle and the top of the cosines of faces with strangers of a cohort.

    Parameters
    ----------
    cosines : ndarray of shape (n, n_cohort), float32
        They are sorted in place.
    cut : float
        See `Normalisation`.

    Returns
    -------
    middle, top : ndarray of shape (n,), float64
    counts : ndarray of shape (n,), int64
        How many faces of the cohort were taken for strangers; where none was, the others are
        meaningless.
    """
    cosines.sort(axis=1)
    counts = (cosines <= cut).sum(axis=1)
    middle = _quantile(cosines, counts, 0.5)
    top = _quantile(cosines, counts, TOP_QUANTILE)
    for _ in range(N_ROUNDS):
        limit = middle + CUT_SPREADS * (top - middle)
        counts = np.maximum((cosines <= limit[:, None]).sum(axis=1), np.minimum(counts, 1))
        middle = _quantile(cosines, counts, 0.5)
        top = _quantile(cosines, counts, TOP_QUANTILE)
    return middle, top, counts


def _quantile(ascending: Float32Array, counts: Int64Array, share: float) -> Float64Array:
    """Return a quantile of the first so many values of each row, linear in between."""
    place = np.maximum(counts - 1, 0) * share
    below = place.astype(np.int64)
    above = np.minimum(below + 1, np.maximum(counts - 1, 0))
    rows = np.arange(len(ascending))
    part = place - below
    return np.asarray(ascending[rows, below] * (1.0 - part) + ascending[rows, above] * part)
