"""What makes a score of two faces: a head, and the normalisation by the faces they live with.

A face is compared as a row of `FaceVectors`: the vector that the head makes of its embedding, and
with a normalisation two factors (`normalisation`).  Cosines of stored embeddings are exact in
double precision, whatever the order of their sums; so are the scores, because the steps from a
cosine to a score are the same for (a, b) as for (b, a).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.heads import COSINE, Head
from facesim_index.calibration.normalisation import Normalisation, cohort_of, expectation
from facesim_index.calibration.record import Calibration
from facesim_index.records import BoolArray, Float32Array, Float64Array, Int64Array

Sums = TypeVar("Sums", Float32Array, Float64Array)
Rows = slice | Int64Array | BoolArray | NDArray[np.intp]


class StatisticsSource(Protocol):
    """Something that tells the statistics of faces: a cohort, or an index that keeps them."""

    @property
    def normalisation(self) -> Normalisation:
        """How the scores are normalised."""
        ...

    def statistics(
        self, embeddings: Float32Array, face_ids: Int64Array | None = None
    ) -> Float32Array:
        """Return middle and top of each face, shape (n, 2); ids where the faces are stored."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FaceVectors:
    """What scores of some faces are made of.

    Attributes
    ----------
    values : ndarray of shape (n, m), float16, float32 or float64
        What the head makes of the embeddings; for the cosine the embeddings themselves.
    factors : ndarray of shape (n, 2), float64, or None
        Slope and offset of each face; None for scores that are not normalised.
    """

    values: NDArray[np.float16] | Float32Array | Float64Array
    factors: Float64Array | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Rows) -> "FaceVectors":
        factors = None if self.factors is None else self.factors[rows]
        return FaceVectors(self.values[rows], factors)

    def double(self) -> "FaceVectors":
        """Return the same in double precision, in which scores are exact."""
        return FaceVectors(self.values.astype(np.float64), self.factors)


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """Makes scores of faces.

    Attributes
    ----------
    head : Head, default=COSINE
    source : StatisticsSource, optional
        Without one, scores are not normalised.

    Examples
    --------
    >>> from facesim_index.calibration.normalisation import Cohort
    >>> faces = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)
    >>> vectors = Scorer().vectors(faces)
    >>> Scorer().pair_scores(vectors[:1], vectors)
    array([[1. , 0.6]], dtype=float32)
    """

    head: Head = COSINE
    source: StatisticsSource | None = None

    @property
    def plain(self) -> bool:
        """Whether a score is the cosine itself."""
        return not self.head.learned and self.source is None

    def vectors(self, embeddings: Float32Array, face_ids: Int64Array | None = None) -> FaceVectors:
        """Return what scores of faces are made of.

        Parameters
        ----------
        embeddings : ndarray of shape (n, dimension), float32
            Unit norm.
        face_ids : ndarray of shape (n,), int64, optional
            Of faces that are in the index itself: their statistics may be stored.

        Returns
        -------
        FaceVectors

        Raises
        ------
        CalibrationError
            The head or the normalisation is for embeddings of another dimension.
        """
        return FaceVectors(self.head.transform(embeddings), self.factors(embeddings, face_ids))

    def factors(
        self, embeddings: Float32Array, face_ids: Int64Array | None = None
    ) -> Float64Array | None:
        """Return slope and offset of each face, shape (n, 2); None if scores are not normalised.

        Parameters
        ----------
        embeddings : ndarray of shape (n, dimension), float32
        face_ids : ndarray of shape (n,), int64, optional

        Returns
        -------
        ndarray of shape (n, 2), float64, or None
        """
        if self.source is None:
            return None
        return self.source.normalisation.factors(self.source.statistics(embeddings, face_ids))

    def pair_scores(self, left: FaceVectors, right: FaceVectors) -> Float64Array:
        """Return the score of each face of one set with each of another.

        Parameters
        ----------
        left, right : FaceVectors
            Of n and of k faces, with values of one type.  Scores are exact in double precision.

        Returns
        -------
        scores : ndarray of shape (n, k), of the type of the values
            In [-1, 1], without a normalisation slightly outside: stored embeddings are rounded.
        """
        scores = self.head.pair_scores(left.values, right.values)  # type: ignore[arg-type]
        return normalised_block(scores, left.factors, right.factors)

    def listed_scores(self, left: FaceVectors, right: FaceVectors) -> Float64Array:
        """Return the score of each face with the one in the same row, exactly.

        Parameters
        ----------
        left, right : FaceVectors
            Of n faces each, with values in single precision.

        Returns
        -------
        scores : ndarray of shape (n,), float64
            In [-1, 1].
        """
        cosines = self.head.listed_scores(left.values, right.values)  # type: ignore[arg-type]
        return normalised(cosines, left.factors, right.factors)

    def summable(self, vectors: FaceVectors) -> Float64Array:
        """Return vectors whose sums stand for groups of faces.

        The inner product of a sum with the `opposite` of another is the sum of the scores of all
        pairs between the two groups.

        Parameters
        ----------
        vectors : FaceVectors
            Of n faces, by a head whose scores are inner products.

        Returns
        -------
        ndarray of shape (n, m) or (n, 2 m + 2), float64
            With a normalisation: the vector, the vector times the slope, the offset, and 1.
        """
        values = vectors.values.astype(np.float64)
        if vectors.factors is None:
            return values
        slope, offset = vectors.factors[:, :1], vectors.factors[:, 1:]
        return np.concatenate([values, slope * values, offset, np.ones_like(offset)], axis=1)

    def opposite(self, sums: Sums) -> Sums:
        """Return what the `summable` vectors of other faces are multiplied with.

        Parameters
        ----------
        sums : ndarray of shape (..., m) or (..., 2 m + 2), float32 or float64
            `summable` vectors, or sums of them.

        Returns
        -------
        ndarray of the same shape and type
        """
        if self.source is None:
            return sums
        half = (sums.shape[-1] - 2) // 2
        first, second = sums[..., :half], sums[..., half : 2 * half]
        offset, count = sums[..., -2:-1], sums[..., -1:]
        return np.concatenate([second, first, -count, -offset], axis=-1)


def normalised(
    scores: Float64Array, left: Float64Array | None, right: Float64Array | None
) -> Float64Array:
    """Return the normalised score of each pair, clipped to [-1, 1].

    Parameters
    ----------
    scores : ndarray of shape (n,), float64
        Scores by the head.
    left, right : ndarray of shape (n, 2), float64, or None
        Factors of the two faces of each pair; None leaves the scores as they are.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    if left is None or right is None:
        return np.clip(scores, -1.0, 1.0)
    slopes, offsets = (left + right).T
    return np.asarray(np.clip(slopes * scores - offsets, -1.0, 1.0), dtype=np.float64)


def normalised_block(
    scores: Float64Array, left: Float64Array | None, right: Float64Array | None
) -> Float64Array:
    """Normalise a matrix of scores, in its place.

    Parameters
    ----------
    scores : ndarray of shape (n, k), float32 or float64
        Scores by the head.  They are overwritten.
    left : ndarray of shape (n, 2), float64, or None
    right : ndarray of shape (k, 2), float64, or None
        Factors; None leaves the scores as they are.

    Returns
    -------
    ndarray of shape (n, k)
        In [-1, 1] if they are normalised.
    """
    if left is None or right is None:
        return scores
    left, right = left.astype(scores.dtype), right.astype(scores.dtype)
    scores *= np.add.outer(left[:, 0], right[:, 0])
    scores -= np.add.outer(left[:, 1], right[:, 1])
    np.clip(scores, -1.0, 1.0, out=scores)
    return scores


PLAIN = Scorer()
"""Scores that are the cosines themselves."""


def scorer_by(
    head: Head,
    normalisation: Normalisation | None,
    statistics_by: Callable[[Normalisation], StatisticsSource],
) -> Scorer:
    """Return what makes scores by a head, normalised if there is a normalisation.

    Parameters
    ----------
    head : Head
    normalisation : Normalisation or None
    statistics_by : callable
        Returns what tells the statistics of faces; it is asked only for a normalisation.

    Returns
    -------
    Scorer
    """
    return Scorer(head, None if normalisation is None else statistics_by(normalisation))


def scorer_among(
    embeddings: Float32Array, normalisation: Normalisation | None, head: Head = COSINE
) -> Scorer:
    """Return what makes the scores of faces that are in no index, and are each other's cohort.

    Parameters
    ----------
    embeddings : ndarray of shape (n, dimension), float32
        Unit norm.
    normalisation : Normalisation or None
    head : Head, default=COSINE

    Returns
    -------
    Scorer
    """
    return scorer_by(head, normalisation, lambda given: cohort_of(embeddings, given))


def scorer_without_gallery(calibration: Calibration | None) -> Scorer:
    """Return what makes the scores of faces of which nothing but themselves is known.

    Parameters
    ----------
    calibration : Calibration or None
        None gives plain cosines.

    Returns
    -------
    Scorer
        Normalised, if the calibration is, by what is expected of each face.
    """
    if calibration is None:
        return PLAIN
    return scorer_by(calibration.head, calibration.normalisation, expectation)
