"""The exact scores of every pair of many faces, in bounded memory.

Stored embeddings are half precision numbers, hence multiples of 2**-24.  Their inner products are
sums of multiples of 2**-48 that stay below 2**5, so double precision holds every partial sum
exactly, in whatever order it is added.  A score is therefore *exact* here: the same for (a, b) as
for (b, a), on every machine and for every size of block.  The vectors that a learned head computes
are rounded in the same way, see `calibration.heads`.

Memory: one copy of the embeddings in half precision (1 KB a face of 512 dimensions), for a learned
head one in single precision, and the rows being worked on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.heads import single_error
from facesim_index.calibration.scorer import PLAIN, FaceVectors, Rows, Scorer
from facesim_index.errors import IndexDamagedError, UsageError
from facesim_index.records import Float32Array, Float64Array, Int64Array
from facesim_index.utils.half_precision import widened
from facesim_index.utils.threads import threads_for_blocks

Int32Array = NDArray[np.int32]

_READ_AT_ONCE = 8192
_LISTED_AT_ONCE = 1 << 15
_UNIT_NORM_TOLERANCE = 2e-3
_TILE = 512
_SLAB_CELLS = 12_000_000
_SLAB_MIN_ROWS = 128
_WHOLE_CELLS = 32_000_000
# Single precision is given up once so many tiles needed too many exact scores.
_MOST_DECLINED = 4
_ROUNDING = 3e-7  # of the steps from a cosine to a normalised score, in single precision


class ScoreFunction(Protocol):
    """A function of scores whose values are whole numbers."""

    def __call__(self, scores: Float64Array, /) -> Int32Array:
        """Return the values at some scores.

        Parameters
        ----------
        scores : ndarray of any shape, float64

        Returns
        -------
        ndarray of the same shape, int32
        """


class SingleFunction(Protocol):
    """The same function, of scores in single precision."""

    def __call__(
        self, scores: Float32Array, exact: Callable[[Int64Array], Float64Array], /
    ) -> Int32Array | None:
        """Return the values at the exact scores.

        Parameters
        ----------
        scores : ndarray of any shape, float32, C-contiguous
            Wrong by at most `heads.single_error`.  They are overwritten.
        exact : callable
            Takes the places of cells in the flattened `scores` and returns their exact scores,
            float64.

        Returns
        -------
        ndarray of the same shape, int32, or None
            None when so many exact scores are needed that computing all is faster.
        """


class EmbeddingSource(Protocol):
    """Something that has the embeddings of faces, such as a view of an index."""

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        """Return the stored embeddings of these faces.

        Parameters
        ----------
        face_ids : ndarray of shape (n,), int64

        Returns
        -------
        embeddings : ndarray of shape (n, dimension), float32
            In the order of `face_ids`.  Half precision holds every value exactly.
        """


@dataclass(frozen=True, slots=True)
class Faces:
    """Some faces, and what their scores are made of.

    Attributes
    ----------
    ids : ndarray of shape (n,), int64
    vectors : ndarray of shape (n, m), float16 or float32
        What the head of the scorer makes; for the cosine the embeddings themselves.
    scorer : Scorer, default=PLAIN
        Makes a score of two of them.
    factors : ndarray of shape (n, 2), float64, or None
        See `FaceVectors`.
    """

    ids: Int64Array
    vectors: NDArray[np.float16] | Float32Array
    scorer: Scorer = PLAIN
    factors: Float64Array | None = None

    def single(self, rows: Rows) -> FaceVectors:
        """Return some of the faces, in single precision, which holds their vectors exactly."""
        factors = None if self.factors is None else self.factors[rows]
        return FaceVectors(single(self.vectors[rows]), factors)

    def double(self, rows: Rows) -> FaceVectors:
        """Return some of the faces in double precision, in which scores are exact."""
        return self.single(rows).double()

    @property
    def single_error(self) -> float:
        """The largest error of a score that is computed in single precision."""
        error = single_error(self.vectors.shape[1])
        if self.factors is None or not len(self.factors):
            return error
        slope, offset = np.abs(self.factors).max(axis=0)
        return float(2.0 * slope * error + _ROUNDING * (2.0 * slope + 2.0 * offset + 1.0))


@dataclass(frozen=True, slots=True)
class ScoreRows:
    """Rows `start` to `stop` of the matrix of all scores.

    Attributes
    ----------
    start, stop : int
    scores : ndarray of shape (stop - start, n), float64
        In [-1, 1]; 1 on the diagonal.
    """

    start: int
    stop: int
    scores: Float64Array


@dataclass(frozen=True, slots=True)
class Slab:
    """Rows `start` to `stop` of the values of a function of the scores.

    Attributes
    ----------
    start, stop : int
    values : ndarray of shape (stop - start, n), int32
        On the diagonal undefined.
    """

    start: int
    stop: int
    values: Int32Array


def load(face_ids: Int64Array, source: EmbeddingSource, scorer: Scorer = PLAIN) -> Faces:
    """Read embeddings, check them, and prepare them for their scores.

    Parameters
    ----------
    face_ids : ndarray of shape (n,), int64
        Their order is kept.
    source : EmbeddingSource
        Has the embeddings of these faces.
    scorer : Scorer, default=PLAIN
        Makes the scores.

    Returns
    -------
    Faces

    Raises
    ------
    UsageError
        A face is listed twice.
    IndexDamagedError
        An embedding is not finite or not of unit norm.
    CalibrationError
        The head was learned for embeddings of another dimension.
    ValueError
        Half precision does not hold an embedding exactly.

    Examples
    --------
    >>> class TwoFaces:
    ...     def embeddings(self, face_ids):
    ...         return np.array([[1.0, 0.0], [0.6, 0.8]], np.float16).astype(np.float32)
    >>> faces = load(np.array([5, 7]), TwoFaces())
    >>> listed_scores(faces, np.array([0]), np.array([1])).round(3)
    array([0.6])
    """
    listed, counts = np.unique(face_ids, return_counts=True)
    if len(listed) != len(face_ids):
        raise UsageError(f"face {listed[counts > 1][0]} is listed twice")
    vectors: NDArray[np.float16] | Float32Array = np.empty((len(face_ids), 0), dtype=np.float16)
    factors: list[Float64Array | None] = []
    for start in range(0, len(face_ids), _READ_AT_ONCE):
        ids = face_ids[start : start + _READ_AT_ONCE]
        embeddings = source.embeddings(ids)
        _check_unit_norm(ids, embeddings)
        half = embeddings.astype(np.float16)
        if not np.array_equal(half, embeddings):
            raise ValueError("embeddings must be values that half precision holds")
        made = scorer.vectors(embeddings, ids)
        kept = made.values if scorer.head.learned else half
        if start == 0:
            vectors = np.empty((len(face_ids), kept.shape[1]), dtype=kept.dtype)
        vectors[start : start + len(ids)] = kept
        factors.append(made.factors)
    told = [part for part in factors if part is not None]
    return Faces(
        np.asarray(face_ids, dtype=np.int64),
        vectors,
        scorer,
        np.concatenate(told) if told else None,
    )


def score_rows(faces: Faces, n_rows: int) -> Iterator[ScoreRows]:
    """Yield the matrix of the scores of all pairs, some rows at a time.

    Parameters
    ----------
    faces : Faces
    n_rows : int
        Rows at a time, at least 1.

    Yields
    ------
    ScoreRows
        From the first row to the last.

    Examples
    --------
    >>> faces = Faces(np.array([5, 7]), np.array([[1.0, 0.0], [0.0, 1.0]], np.float16))
    >>> [rows.scores for rows in score_rows(faces, n_rows=1)]
    [array([[1., 0.]]), array([[0., 1.]])]
    """
    size = len(faces.ids)
    for start in range(0, size, n_rows):
        stop = min(start + n_rows, size)
        left = faces.double(slice(start, stop))
        scores = np.empty((stop - start, size), dtype=np.float64)
        for column, end in _cuts(0, size):
            right = faces.double(slice(column, end))
            scores[:, column:end] = faces.scorer.pair_scores(left, right)
        np.clip(scores, -1.0, 1.0, out=scores)
        scores[np.arange(stop - start), np.arange(start, stop)] = 1.0
        yield ScoreRows(start, stop, scores)


def slabs(
    faces: Faces,
    function: ScoreFunction,
    *,
    of_single: SingleFunction | None = None,
    upper_only: bool = False,
) -> Iterator[Slab]:
    """Yield the values of a function of all scores, many rows at a time.

    A slab takes 4 bytes a cell: at most 48 MB or 128 rows, or 128 MB where that is the whole
    matrix.  A pair whose two faces are both among the rows of a slab is computed once, so a matrix
    in a single slab takes half the products.

    Parameters
    ----------
    faces : Faces
    function : ScoreFunction
        Must accept scores up to some thousandths beyond 1, because stored embeddings are rounded.
    of_single : SingleFunction, optional
        The same function of scores in single precision, called first where that is faster.
    upper_only : bool, default=False
        Leave the values below the diagonal undefined.

    Yields
    ------
    Slab
        From the first row to the last.  The next slab overwrites the values.

    Examples
    --------
    >>> faces = Faces(np.array([5, 7]), np.array([[1.0, 0.0], [0.0, 1.0]], np.float16))
    >>> [slab] = slabs(faces, lambda scores: (scores > 0.5).astype(np.int32))
    >>> slab.values[0, 1].item()
    0
    """
    size = len(faces.ids)
    n_rows = max(_SLAB_MIN_ROWS, _SLAB_CELLS // max(1, size))
    if size**2 <= _WHOLE_CELLS:
        n_rows = max(1, size)
    kept: Int32Array = np.empty((min(n_rows, size), size), dtype=np.int32)
    by_products = faces.scorer.head.by_products
    tiles = _Tiles(faces.scorer, function, of_single if by_products else None)
    for start in range(0, size, n_rows):
        stop = min(start + n_rows, size)
        left = faces.single(slice(start, stop))
        values = kept[: stop - start]
        others = [*([] if upper_only else _cuts(0, start)), *_cuts(stop, size)]
        with threads_for_blocks() as threads:
            work = [
                *(
                    threads.submit(tiles.fill, values[:, column:end], left, faces, column)
                    for column, end in others
                ),
                *(
                    threads.submit(tiles.fill_square, values[:, start:stop], left, column)
                    for column in range(0, stop - start, _TILE)
                ),
            ]
            for part in work:
                part.result()
        yield Slab(start, stop, values)


@dataclass(slots=True)
class _Tiles:
    """The values of a function of the scores of some faces with some others."""

    scorer: Scorer
    function: ScoreFunction
    of_single: SingleFunction | None
    declined: int = 0

    def fill(self, values: Int32Array, left: FaceVectors, faces: Faces, column: int) -> None:
        """Fill some columns of a slab; the first one is for face `column`."""
        right = faces.single(slice(column, column + values.shape[1]))
        for row, end in _cuts(0, len(left)):
            values[row:end] = self._values(left[row:end], right)

    def fill_square(self, square: Int32Array, left: FaceVectors, column: int) -> None:
        """Fill the cells of pairs within the rows of a slab: columns from `column`, mirrored."""
        end = min(column + _TILE, len(left))
        for row, row_end in _cuts(0, end):
            part = self._values(left[row:row_end], left[column:end])
            square[row:row_end, column:end] = part
            if row < column:
                square[column:end, row:row_end] = part.T

    def _values(self, left: FaceVectors, right: FaceVectors) -> Int32Array:
        """Return the values at the exact scores, shape (len(left), len(right))."""

        def exact(cells: Int64Array) -> Float64Array:
            rows, columns = np.divmod(cells, len(right))
            return self.scorer.listed_scores(left[rows], right[columns])

        if self.of_single is not None and self.declined < _MOST_DECLINED:
            scores = np.asarray(self.scorer.pair_scores(left, right), dtype=np.float32)
            values = self.of_single(scores, exact)
            if values is not None:
                return values
            self.declined += 1
        return self.function(self.scorer.pair_scores(left.double(), right.double()))


def listed_scores(faces: Faces, a: Int64Array, b: Int64Array) -> Float64Array:
    """Return the exact scores of listed pairs.

    Parameters
    ----------
    faces : Faces
    a, b : ndarray of shape (n_pairs,), int64
        Rows of the two faces of each pair.

    Returns
    -------
    scores : ndarray of shape (n_pairs,), float64
        Clipped to [-1, 1].

    Examples
    --------
    >>> faces = Faces(np.array([5, 7]), np.array([[1.0, 0.0], [0.0, 1.0]], np.float16))
    >>> listed_scores(faces, np.array([0, 0]), np.array([0, 1]))
    array([1., 0.])
    """
    scores = np.empty(len(a), dtype=np.float64)
    for start in range(0, len(a), _LISTED_AT_ONCE):
        part = slice(start, start + _LISTED_AT_ONCE)
        left, right = faces.single(a[part]), faces.single(b[part])
        scores[part] = faces.scorer.listed_scores(left, right)
    return scores


def single(vectors: NDArray[np.float16] | Float32Array) -> Float32Array:
    """Return vectors of `Faces` in single precision, which holds them exactly.

    Parameters
    ----------
    vectors : ndarray of shape (n, m), float16 or float32

    Returns
    -------
    ndarray of shape (n, m), float32

    Examples
    --------
    >>> single(np.array([[0.5, 0.25]], np.float16))
    array([[0.5 , 0.25]], dtype=float32)
    """
    if vectors.dtype == np.float16:
        return widened(vectors.view(np.float16))
    return np.asarray(vectors, dtype=np.float32)


def _cuts(start: int, stop: int) -> list[tuple[int, int]]:
    """Return the bounds of tiles whose scores fit into a processor's cache."""
    return [(cut, min(cut + _TILE, stop)) for cut in range(start, stop, _TILE)]


def _check_unit_norm(face_ids: Int64Array, embeddings: Float32Array) -> None:
    norms = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64))
    wrong = ~(np.abs(norms - 1.0) <= _UNIT_NORM_TOLERANCE)  # so that NaN is wrong, too
    if wrong.any():
        raise IndexDamagedError(
            f"the stored embedding of face {face_ids[wrong][0]} is not a vector of unit length; "
            "run `facesim verify`"
        )
