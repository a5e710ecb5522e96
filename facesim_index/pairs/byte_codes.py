"""Which pairs of faces may have a score, by the products of codes of one byte a number.

A vector x is s·q + e: whole numbers q, a scale s, and the small rest e.  The inner product of two
vectors then differs from s·t·(q·r), which is fast to compute, by no more than ‖e‖‖y‖ + ‖s·q‖‖f‖,
where y = t·r + f is the other one (Cauchy and Schwarz).  The lengths of the rests are computed,
not estimated, so no pair with the score is ever missed; what is let through has to be scored.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesim_index.engine.runtimes.integer_products import (
    LEFT_LEVELS,
    LEFT_ZERO,
    RIGHT_LEVELS,
    IntegerProducts,
)
from facesim_index.pairs.blocks import Faces, single
from facesim_index.records import Float32Array, Float64Array, Int64Array, UInt8Array

# Products of so many faces stay in a processor's cache until they are looked at.
_STRIP = 512
_HIGHEST = 2.0**30
# Of the double precision in which bounds are computed; their numbers are at most a few units.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class LeftCodes:
    """The codes of some faces, each with a scale of its own.

    Attributes
    ----------
    codes : ndarray of shape (n, m), uint8
    scales, lengths, errors : ndarray of shape (n,), float64
        The lengths are those of the vectors that the codes stand for, the errors those of the
        rests.
    """

    codes: UInt8Array
    scales: Float64Array
    lengths: Float64Array
    errors: Float64Array


@dataclass(frozen=True, slots=True)
class RightCodes:
    """The codes of a strip of faces, with one scale.

    Attributes
    ----------
    codes : ndarray of shape (m, n), int8
    scale, length, error : float
        The greatest length of a vector, and the greatest of a rest.
    """

    codes: NDArray[np.int8]
    scale: float
    length: float
    error: float


class ByteCodes:
    """The codes of all faces, block by block: half as large as the faces in half precision.

    Parameters
    ----------
    faces : Faces
        Of a head whose scores are inner products.
    n_columns : int
        Faces in a block.
    products : callable
        See `integer_products`.

    Examples
    --------
    >>> from facesim_index.engine.runtimes.integer_products import integer_products
    >>> faces = Faces(np.array([5, 7]), np.array([[1.0, 0.0], [0.8, 0.6]], np.float16))
    >>> codes = ByteCodes(faces, n_columns=2, products=integer_products())
    >>> codes.near(left_codes(single(faces.vectors[:1])), 0, 0.79)
    (array([0, 0]), array([0, 1]))
    """

    def __init__(self, faces: Faces, n_columns: int, products: IntegerProducts) -> None:
        self._faces = faces
        self._n_columns = n_columns
        self._products = products
        self._blocks: dict[int, list[RightCodes]] = {}

    def near(self, left: LeftCodes, column: int, least: float) -> tuple[Int64Array, Int64Array]:
        """Return the pairs of some faces and those of a block that may have a score.

        Several threads may ask at once, each about another block.

        Parameters
        ----------
        left : LeftCodes
        column : int
            The first row of the block, a multiple of `n_columns`.
        least : float
            The score.

        Returns
        -------
        rows, columns : ndarray of shape (n_pairs,), int64
            Places in `left` and in the block: all pairs that have the score, and others.
        """
        strips = self._blocks.get(column)
        if strips is None:
            block = single(self._faces.vectors[column : column + self._n_columns])
            starts = range(0, len(block), _STRIP)
            strips = [right_codes(block[start : start + _STRIP]) for start in starts]
            self._blocks[column] = strips
        rows, columns = [], []
        for number, right in enumerate(strips):
            margin = left.errors * right.length + left.lengths * right.error + _ROUNDING
            limit = np.floor((least - margin) / (left.scales * right.scale))
            whole = np.clip(limit, -_HIGHEST, _HIGHEST).astype(np.int32)
            found = self._products(left.codes, right.codes) >= whole[:, None]
            row, other = np.divmod(np.flatnonzero(found), found.shape[1])
            rows.append(row)
            columns.append(other + number * _STRIP)
        return np.concatenate(rows), np.concatenate(columns)


def left_codes(vectors: Float32Array) -> LeftCodes:
    """Return the codes of some faces.

    Parameters
    ----------
    vectors : ndarray of shape (n, m), float32

    Returns
    -------
    LeftCodes
    """
    exact = vectors.astype(np.float64)
    scales = np.maximum(np.abs(exact).max(axis=1, initial=0.0), 1e-6) / LEFT_LEVELS
    codes = np.rint(exact / scales[:, None])
    told = codes * scales[:, None]
    return LeftCodes(
        (codes + LEFT_ZERO).astype(np.uint8), scales, _lengths(told), _lengths(exact - told)
    )


def right_codes(vectors: Float32Array) -> RightCodes:
    """Return the codes of a strip of faces.

    Parameters
    ----------
    vectors : ndarray of shape (n, m), float32

    Returns
    -------
    RightCodes
    """
    exact = vectors.astype(np.float64)
    scale = max(float(np.abs(exact).max(initial=0.0)), 1e-6) / RIGHT_LEVELS
    codes = np.rint(exact / scale)
    rests = _lengths(exact - codes * scale)
    return RightCodes(
        np.ascontiguousarray(codes.astype(np.int8).T),
        scale,
        float(_lengths(exact).max(initial=0.0)),
        float(rests.max(initial=0.0)),
    )


def _lengths(vectors: Float64Array) -> Float64Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)))
