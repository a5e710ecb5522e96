"""The pairs of many faces above a cosine, without the numbers of all the others.

Every pair is multiplied once, in single precision, in blocks; what may reach the cosine within
the rounding of that product is computed exactly (see `exact_cosines`).  So the pairs found are
those that exact cosines of all pairs would give.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesim_index.exact_cosines import Faces
from facesim_index.half_precision import widened
from facesim_index.records import Float64Array, Int64Array

# Rounding of a sum of 512 products in single precision is below 512 * 2**-24 = 3.1e-5; sums of
# more numbers are allowed for in proportion.
_ROUNDING_PER_NUMBER = 8e-8
_ROWS_AT_ONCE = 1024
_COLUMNS_AT_ONCE = 4096
_MOST_PAIRS = 4_000_000
_EXACT_AT_ONCE = 1 << 15


@dataclass(frozen=True, slots=True)
class ClosePairs:
    """The pairs of some rows with all rows after them.

    Attributes
    ----------
    stop : int
        The pairs of all rows before this one have been given.
    a, b : ndarray of shape (n_pairs,), int64
        Rows of the faces, ``a < b``, in ascending order of `a`.
    cosines : ndarray of shape (n_pairs,), float64
        Exact, clipped to [-1, 1].
    """

    stop: int
    a: Int64Array
    b: Int64Array
    cosines: Float64Array


def close_pairs(faces: Faces, least: float) -> Iterator[ClosePairs]:
    """Yield every pair with a cosine of at least `least`, each once.

    Memory: a block of products (16 MB), and the pairs of the rows being worked on, of which
    there are fewer the more pairs they have.

    Parameters
    ----------
    faces : Faces
    least : float

    Yields
    ------
    ClosePairs
        In the order of their first rows.
    """
    size = len(faces.ids)
    start, n_rows = 0, _ROWS_AT_ONCE
    while start < size:
        stop = min(start + n_rows, size)
        found = _candidates(faces.vectors, start, stop, least)
        if found is None:
            n_rows = max(1, (stop - start) // 2)
            continue
        a, b = found
        cosines = _exact(faces.vectors, a, b)
        close = cosines >= least
        yield ClosePairs(stop, a[close], b[close], cosines[close])
        start = stop


def _candidates(
    vectors: NDArray[np.float16], start: int, stop: int, least: float
) -> tuple[Int64Array, Int64Array] | None:
    """Return the pairs of some rows that may be close, None when there are too many at once."""
    left = widened(vectors[start:stop])
    limit = np.float32(least - _ROUNDING_PER_NUMBER * vectors.shape[1])
    rows, columns, count = [], [], 0
    for column in range(start, len(vectors), _COLUMNS_AT_ONCE):
        products = left @ widened(vectors[column : column + _COLUMNS_AT_ONCE]).T
        row, other = np.divmod(np.flatnonzero(products >= limit), products.shape[1])
        row, other = row + start, other + column
        after = row < other
        rows.append(row[after])
        columns.append(other[after])
        count += len(rows[-1])
        if count > _MOST_PAIRS and stop - start > 1:
            return None
    a, b = np.concatenate(rows), np.concatenate(columns)
    order = np.lexsort((b, a))
    return a[order], b[order]


def _exact(vectors: NDArray[np.float16], a: Int64Array, b: Int64Array) -> Float64Array:
    cosines = np.empty(len(a), dtype=np.float64)
    for start in range(0, len(a), _EXACT_AT_ONCE):
        part = slice(start, start + _EXACT_AT_ONCE)
        left, right = widened(vectors[a[part]]), widened(vectors[b[part]])
        np.einsum("ij,ij->i", left, right, dtype=np.float64, out=cosines[part])
    return np.clip(cosines, -1.0, 1.0, out=cosines)
