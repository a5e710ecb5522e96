"""Heads: they make a score of two embeddings.  The plain cosine is one, others are learned.

A head transforms the embedding of each face into another vector (`Head.transform`), and makes a
score in [-1, 1] of two such vectors; more similar faces have a higher score:

============ ================================ ==============================================
kind         transformed face                 score
============ ================================ ==============================================
cosine       a                                a·b
product      √w∘a, with w ≥ 0 and max w = 1   Σ wᵢ aᵢ bᵢ
weighted-l1  w∘a, with w ≥ 0 and ‖w‖₂ = 1     1 − Σ wᵢ |aᵢ − bᵢ|
contrastive  Pa / ‖Pa‖                        cosine of the projected faces
============ ================================ ==============================================

Every score is the same for (a, b) as for (b, a).  A product has no negative weights: the left face
would need another vector than the right one, and two faces would be less similar because they
agree in a dimension.

Transformed faces are rounded to multiples of 2**-24, which stored embeddings are because of their
half precision.  So sums over them in double precision are exact, in whatever order they are added,
and a score does not depend on the block of pairs it was computed in.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from facesim_index.errors import CalibrationError
from facesim_index.records import Float32Array, Float64Array

HeadKind = Literal["cosine", "weighted-l1", "product", "contrastive"]
LearnedKind = Literal["weighted-l1", "product", "contrastive"]

LEARNED: tuple[LearnedKind, ...] = ("weighted-l1", "product", "contrastive")

_GRID = 2.0**24
_SLACK = 1e-4
# Greater than 2**-24 = 6e-8, so that faces may be a little longer than 1.
_ROUNDING_PER_NUMBER = 8e-8


def _no_weights() -> Float32Array:
    return np.empty(0, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A similarity of embeddings.  Two heads are equal when they have equal kinds and weights.

    Attributes
    ----------
    kind : {"cosine", "weighted-l1", "product", "contrastive"}
    weights : ndarray, float32
        Empty for the cosine.  For "weighted-l1" and "product" the weight of each dimension,
        shape (dimension,).  For "contrastive" the projection, shape (n_projected, dimension), of
        spectral norm 1.

    Raises
    ------
    CalibrationError
        There is no such kind, or the weights are not as the kind needs them.

    Examples
    --------
    >>> head = Head("product", np.array([1.0, 0.25], np.float32))
    >>> faces = head.transform(np.array([[0.6, 0.8], [1.0, 0.0]], np.float32))
    >>> head.pair_scores(faces, faces).round(3)
    array([[0.52, 0.6 ],
           [0.6 , 1.  ]], dtype=float32)
    """

    kind: HeadKind
    weights: Float32Array = field(default_factory=_no_weights)

    def __post_init__(self) -> None:
        if self.kind != "cosine" and self.kind not in LEARNED:
            raise CalibrationError(f"there is no head {self.kind!r}")
        object.__setattr__(self, "weights", np.array(self.weights, dtype=np.float32))
        self.weights.flags.writeable = False
        if not np.isfinite(self.weights).all():
            raise CalibrationError(f"a weight of the {self.kind} head is not finite")
        wrong = _what_is_wrong(self.kind, self.weights)
        if wrong:
            raise CalibrationError(f"the {self.kind} head {wrong}")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Head)
            and self.kind == other.kind
            and np.array_equal(self.weights, other.weights)
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.weights.tobytes()))

    @property
    def learned(self) -> bool:
        """Whether it is another head than the plain cosine."""
        return self.kind != "cosine"

    @property
    def by_products(self) -> bool:
        """Whether a score is the inner product of two transformed faces of length 1 at most."""
        return self.kind != "weighted-l1"

    @property
    def dimension(self) -> int | None:
        """Dimension of the embeddings it was learned for; None for the cosine, which takes any."""
        return self.weights.shape[-1] if self.learned else None

    def transform(self, embeddings: Float32Array) -> Float32Array:
        """Return the vector of each face that scores are made of.

        Parameters
        ----------
        embeddings : ndarray of shape (n, dimension), float32
            Unit norm.

        Returns
        -------
        faces : ndarray of shape (n, m), float32
            The embeddings themselves for the cosine.

        Raises
        ------
        CalibrationError
            The head was learned for embeddings of another dimension.
        """
        if not self.learned:
            return embeddings
        self.check_dimension(embeddings.shape[1])
        weights = self.weights.astype(np.float64)
        if self.kind == "product":
            return _on_grid(np.sqrt(weights) * embeddings)
        if self.kind == "weighted-l1":
            return _on_grid(weights * embeddings)
        projection = _on_grid(weights).astype(np.float64)
        projected = _on_grid(_on_grid(embeddings).astype(np.float64) @ projection.T)
        norm = np.sqrt(np.einsum("ij,ij->i", projected, projected, dtype=np.float64))
        return _on_grid(projected / np.maximum(norm, 1.0 / _GRID)[:, None])

    def check_dimension(self, dimension: int) -> None:
        """Refuse embeddings that the head was not learned for.

        Parameters
        ----------
        dimension : int
            Of the embeddings.

        Raises
        ------
        CalibrationError
            The head was learned for embeddings of another dimension.
        """
        if self.dimension not in (None, dimension):
            raise CalibrationError(
                f"the {self.kind} head was learned for embeddings of {self.dimension} dimensions, "
                f"and these have {dimension}; use a calibration that was fitted for their engine"
            )

    def pair_scores(
        self, left: Float32Array | Float64Array, right: Float32Array | Float64Array
    ) -> Float64Array:
        """Return the score of each transformed face of one set with each face of another set.

        Parameters
        ----------
        left : ndarray of shape (n, m), float32 or float64
        right : ndarray of shape (k, m), of the same type
            Scores are exact in double precision.  Single precision is faster and has an error of
            at most `single_error`.

        Returns
        -------
        scores : ndarray of shape (n, k), of the type of the faces
            In [-1, 1], or slightly outside because stored embeddings are rounded.
        """
        if self.kind == "weighted-l1":
            from scipy.spatial.distance import cdist

            distance = cdist(left, right, "cityblock")
            return np.asarray(np.subtract(1.0, distance, out=distance))
        return np.asarray(left @ right.T)

    def listed_scores(self, left: Float32Array, right: Float32Array) -> Float64Array:
        """Return the score of each transformed face with the one in the same row, exactly.

        Parameters
        ----------
        left, right : ndarray of shape (n, m), float32

        Returns
        -------
        scores : ndarray of shape (n,), float64
            In [-1, 1], or slightly outside because stored embeddings are rounded.
        """
        if self.kind == "weighted-l1":
            apart = np.abs(left.astype(np.float64) - right)
            return np.asarray(1.0 - apart.sum(axis=1))
        return np.asarray(np.einsum("ij,ij->i", left, right, dtype=np.float64))


def _what_is_wrong(kind: HeadKind, weights: Float32Array) -> str:
    if kind == "cosine":
        return "has no weights" if weights.size else ""
    if kind == "contrastive":
        if weights.ndim != 2 or not weights.size:
            return "needs a matrix that projects embeddings"
        if abs(float(np.linalg.norm(weights.astype(np.float64), 2)) - 1.0) > _SLACK:
            return "needs a projection of spectral norm 1"
        return ""
    if weights.ndim != 1 or not weights.size:
        return "needs one weight for each dimension of an embedding"
    if weights.min() < 0.0:
        return "has a negative weight"
    size = float(weights.max()) if kind == "product" else math.sqrt(float(weights @ weights))
    if abs(size - 1.0) > _SLACK:
        return "needs weights whose " + ("largest is 1" if kind == "product" else "norm is 1")
    return ""


def _on_grid(values: Float32Array | Float64Array) -> Float32Array:
    """Round values in [-1, 1] to multiples of 2**-24, which single precision holds exactly."""
    return np.asarray(np.rint(values * _GRID) / _GRID, dtype=np.float32)


def single_error(n_numbers: int) -> float:
    """Return the largest error of a score in single precision.

    A sum of n products has a rounding error of less than n * 2**-24 times the lengths of both
    faces, in whatever order it is added.

    Parameters
    ----------
    n_numbers : int
        Length of the vector of a transformed face.

    Returns
    -------
    float

    Examples
    --------
    >>> single_error(512)
    4.096e-05
    """
    return _ROUNDING_PER_NUMBER * n_numbers


COSINE = Head("cosine")
