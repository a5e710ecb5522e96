"""The pairs of many faces with at least a given score, and the closest pair of two sets.

Every pair is compared once, in blocks: by codes of one byte a number where there are very many
(`pairs.byte_codes`), otherwise in single precision.  Pairs that may have the score, within the
error of either, are scored again exactly (see `pairs.blocks`).  So the pairs found are those that
exact scores of all pairs would give.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.scorer import FaceVectors
from facesim_index.engine.runtimes.integer_products import integer_products
from facesim_index.pairs.blocks import Faces, listed_scores
from facesim_index.pairs.byte_codes import ByteCodes, LeftCodes, left_codes
from facesim_index.records import Float64Array, Int64Array
from facesim_index.utils.threads import threads_for_blocks

_ROWS_AT_ONCE = 1024
_COLUMNS_AT_ONCE = 4096
_CLOSEST_ROWS = 512
_MOST_PAIRS = 4_000_000
# Of fewer faces all pairs are compared in less time than a minute anyway.
_CODED_PAIRS = 50_000**2
# Where codes let more than this share of pairs through, single precision is faster.
_MOST_LET_THROUGH = 1 / 64


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


def close_pairs(faces: Faces, least: float, *, n_rows: int | None = None) -> Iterator[ClosePairs]:
    """Yield every pair with a score of at least `least`, each once.

    Memory: a block of scores (16 MB) for each core, and the pairs of the rows being worked on.
    Where rows have very many pairs, fewer rows are worked on at a time.  The codes of very many
    faces take a byte a number.

    Parameters
    ----------
    faces : Faces
    least : float
        In [-1, 1].
    n_rows : int, optional
        Only the pairs whose first face is among so many first rows; by default all.

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
    size = len(faces.ids) if n_rows is None else n_rows
    search = _PairSearch(faces, least, _codes(faces, size))
    start, at_once = 0, _ROWS_AT_ONCE
    while start < size:
        stop = min(start + at_once, size)
        found = search.of_rows(start, stop)
        if found is None:
            at_once = max(1, (stop - start) // 2)
            continue
        yield found
        start = stop


def closest_pair(left: Faces, right: Faces) -> tuple[int, int]:
    """Return the two faces, one of each set, that are most alike; of equals the first.

    Memory: a block of scores (16 MB), whatever the number of faces.

    Parameters
    ----------
    left, right : Faces
        At least one face each, of the same scorer.

    Returns
    -------
    tuple of (int, int)
        Their rows.

    Examples
    --------
    >>> left = Faces(np.array([5, 7]), np.array([[1.0, 0.0], [0.0, 1.0]], np.float16))
    >>> right = Faces(np.array([9]), np.array([[0.6, 0.8]], np.float16))
    >>> closest_pair(left, right)
    (1, 0)
    """
    best = (math.inf, 0, 0)
    for start in range(0, len(left.ids), _CLOSEST_ROWS):
        rows = left.double(slice(start, start + _CLOSEST_ROWS))
        for column in range(0, len(right.ids), _COLUMNS_AT_ONCE):
            columns = right.double(slice(column, column + _COLUMNS_AT_ONCE))
            scores = left.scorer.pair_scores(rows, columns)
            row, other = divmod(int(scores.argmax()), len(columns))
            best = min(best, (-float(scores[row, other]), start + row, column + other))
    return best[1:]


def _codes(faces: Faces, n_rows: int) -> ByteCodes | None:
    """Return codes where they save time."""
    if n_rows * len(faces.ids) < _CODED_PAIRS or not faces.scorer.head.by_products:
        return None
    products = integer_products()
    return None if products is None else ByteCodes(faces, _COLUMNS_AT_ONCE, products)


@dataclass(frozen=True, slots=True)
class _PairSearch:
    """Looks for the pairs with a score."""

    faces: Faces
    least: float
    codes: ByteCodes | None

    @property
    def least_by_head(self) -> float:
        """A score by the head that every pair with the score has at least.

        With slopes w and offsets o the score of a pair is the mean over its two faces of what each
        alone makes of the cosine, 2 w c - 2 o; so for one of them that is the score at least.
        """
        if self.faces.factors is None or not len(self.faces.factors):
            return self.least
        slope, offset = self.faces.factors.T
        return float(((self.least / 2.0 + offset) / slope).min())

    def of_rows(self, start: int, stop: int) -> ClosePairs | None:
        """Return the pairs of some rows with all rows after them; None when they are too many."""
        left = self.faces.single(slice(start, stop))
        coded = None
        if self.codes is not None:
            coded = left_codes(np.asarray(left.values, dtype=np.float32))
        parts: list[ClosePairs] = []
        first = start - start % _COLUMNS_AT_ONCE
        with threads_for_blocks() as threads:
            work = [
                threads.submit(self._of_block, start, left, coded, column)
                for column in range(first, len(self.faces.ids), _COLUMNS_AT_ONCE)
            ]
            for part in work:
                parts.append(part.result())
                if sum(len(found.a) for found in parts) > _MOST_PAIRS and stop - start > 1:
                    threads.shutdown(cancel_futures=True)
                    return None
        a = np.concatenate([part.a for part in parts])
        b = np.concatenate([part.b for part in parts])
        scores = np.concatenate([part.scores for part in parts])
        order = np.lexsort((b, a))
        return ClosePairs(stop, a[order], b[order], scores[order])

    def _of_block(
        self, start: int, left: FaceVectors, coded: LeftCodes | None, column: int
    ) -> ClosePairs:
        """Return the pairs of some rows with those of a block, after the row itself."""
        row, other = self._candidates(left, coded, column)
        after = row + start < other + column
        a, b = row[after] + start, other[after] + column
        scores = listed_scores(self.faces, a, b)
        close = scores >= self.least
        return ClosePairs(start + len(left), a[close], b[close], scores[close])

    def _candidates(
        self, left: FaceVectors, coded: LeftCodes | None, column: int
    ) -> tuple[Int64Array, Int64Array]:
        """Return the pairs of some rows and those of a block that may have the score."""
        if self.codes is not None and coded is not None:
            found = self.codes.near(coded, column, self.least_by_head)
            if len(found[0]) <= _MOST_LET_THROUGH * len(left) * _COLUMNS_AT_ONCE:
                return found
        right = self.faces.single(slice(column, column + _COLUMNS_AT_ONCE))
        limit = np.float32(self.least - self.faces.single_error)
        scores = self.faces.scorer.pair_scores(left, right)
        return np.divmod(np.flatnonzero(scores >= limit), scores.shape[1])
