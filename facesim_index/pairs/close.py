"""The pairs of many faces with at least a given score.

Every pair is scored once, in blocks and in single precision.  Pairs that may have the score, within
the rounding error of single precision, are scored again exactly (see `pairs.blocks`).  So the pairs
found are those that exact scores of all pairs would give.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.heads import single_error
from facesim_index.pairs.blocks import Faces, listed_scores, single
from facesim_index.records import Float64Array, Int64Array
from facesim_index.utils.threads import threads_for_blocks

_ROWS_AT_ONCE = 1024
_COLUMNS_AT_ONCE = 4096
_MOST_PAIRS = 4_000_000


@dataclass(frozen=True, slots=True)
class ClosePairs:
    """The pairs of some rows with all rows after them.

    Attributes
    ----------
    stop : int
        All pairs of the rows before this one have been yielded by now.
    a, b : ndarray of shape (n_pairs,), int64
        Rows of the faces, ``a < b``, in ascending order of `a`.
    scores : ndarray of shape (n_pairs,), float64
        Exact, clipped to [-1, 1].
    """

    stop: int
    a: Int64Array
    b: Int64Array
    scores: Float64Array


def close_pairs(faces: Faces, least: float) -> Iterator[ClosePairs]:
    """Yield every pair with a score of at least `least`, each once.

    Memory: a block of scores (16 MB) for each core, and the pairs of the rows being worked on.
    Where rows have very many pairs, fewer rows are worked on at a time.

    Parameters
    ----------
    faces : Faces
    least : float
        In [-1, 1].

    Yields
    ------
    ClosePairs
        In the order of their first rows.

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float16)
    >>> [pairs] = close_pairs(Faces(np.array([5, 7, 9]), vectors), 0.5)
    >>> pairs.a, pairs.b, pairs.scores
    (array([0]), array([2]), array([1.]))
    """
    size = len(faces.ids)
    start, n_rows = 0, _ROWS_AT_ONCE
    while start < size:
        stop = min(start + n_rows, size)
        found = _candidates(faces, start, stop, least)
        if found is None:
            n_rows = max(1, (stop - start) // 2)
            continue
        a, b = found
        scores = listed_scores(faces, a, b)
        close = scores >= least
        yield ClosePairs(stop, a[close], b[close], scores[close])
        start = stop


def _candidates(
    faces: Faces, start: int, stop: int, least: float
) -> tuple[Int64Array, Int64Array] | None:
    """Return the pairs of some rows that may have the score; None when they are too many."""
    left = single(faces.vectors[start:stop])
    limit = np.float32(least - single_error(faces.vectors.shape[1]))

    def near(column: int) -> tuple[Int64Array, Int64Array]:
        right = single(faces.vectors[column : column + _COLUMNS_AT_ONCE])
        scores = faces.head.pair_scores(left, right)
        row, other = np.divmod(np.flatnonzero(scores >= limit), scores.shape[1])
        row, other = row + start, other + column
        after = row < other
        return row[after], other[after]

    rows, columns, count = [], [], 0
    with threads_for_blocks() as threads:
        work = [
            threads.submit(near, column)
            for column in range(start, len(faces.vectors), _COLUMNS_AT_ONCE)
        ]
        for part in work:
            row, other = part.result()
            rows.append(row)
            columns.append(other)
            count += len(row)
            if count > _MOST_PAIRS and stop - start > 1:
                threads.shutdown(cancel_futures=True)
                return None
    a, b = np.concatenate(rows), np.concatenate(columns)
    order = np.lexsort((b, a))
    return a[order], b[order]
