"""Every pair of many faces: blocks of cosines or degrees, and CSV files of them.

Scores are exact (see `pairs.blocks`), and the text of a number is that of the exact value.  So a
file is symmetric to the last digit and the same on every machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.curve import false_match_rate, log10_lr
from facesim_index.calibration.degree import calibrated_degree, cosine_at_degree
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.scorer import PLAIN, Scorer, scorer_without_gallery
from facesim_index.errors import UsageError
from facesim_index.export.csv_cells import (
    MISSING,
    CellText,
    Int32Array,
    NumberText,
    PairLines,
    RateText,
    SingleStepLookup,
    StepLookup,
    WideText,
    rate_units,
    rounded_units,
)
from facesim_index.export.matrix_options import MatrixOptions, check_options, furthest_evidence
from facesim_index.pairs.blocks import (
    EmbeddingSource,
    Faces,
    listed_scores,
    load,
    score_rows,
    slabs,
)
from facesim_index.pairs.close import close_pairs
from facesim_index.records import Float64Array, Int64Array

if TYPE_CHECKING:
    import pandas as pd


_UnitsOfScores = Callable[[Float64Array], Int32Array]

# Below this many cells the lookup costs more than it saves.
_LOOKUP_MIN_CELLS = 4_000_000
_ROWS_AT_ONCE = 128
# From this score on pairs are few enough to be looked at one by one.
_FEW_PAIRS_FROM = 0.2
# The score of a degree is found by bisection to 1e-12; the degree itself decides.
_BISECTION = 1e-9


@dataclass(frozen=True, slots=True)
class MatrixBlock:
    """Some rows of a matrix, with all its columns.

    Attributes
    ----------
    row_ids, column_ids : ndarray of shape (n_rows,) and (n_columns,), int64
        Face ids.
    values : ndarray of shape (n_rows, n_columns), float64
        The cosine and the degree of a face with itself are exactly 1.  Its other values are
        those of a score of 1.

    Examples
    --------
    >>> from facesim_index import MatrixOptions
    >>> [block] = index.matrix_blocks([1, 2, 6], MatrixOptions(value="cosine"))
    >>> block.values.round(2)
    array([[1.  , 0.95, 0.04],
           [0.95, 1.  , 0.03],
           [0.04, 0.03, 1.  ]])
    """

    row_ids: Int64Array
    column_ids: Int64Array
    values: Float64Array


def matrix_blocks(
    face_ids: Int64Array,
    source: EmbeddingSource,
    options: MatrixOptions,
    calibration: Calibration | None,
    *,
    max_cells: int = 4_000_000,
    scorer: Scorer | None = None,
) -> Iterator[MatrixBlock]:
    """Return the matrix of all pairs, some rows at a time.

    Parameters
    ----------
    face_ids : ndarray of shape (n,), int64
        Distinct; rows and columns keep their order.
    source : EmbeddingSource
        Has the embeddings of these faces.
    options : MatrixOptions
        `decimals` has no effect: the values are not rounded.
    calibration : Calibration or None
        Needed for all values but cosines.
    max_cells : int, default=4_000_000
        A block has no more cells than that, but always one row.
    scorer : Scorer, optional
        Makes the scores that the calibration takes, of faces of the index; by default
        `scorer_without_gallery`.

    Returns
    -------
    iterator of MatrixBlock
        From the first row to the last.

    Raises
    ------
    UsageError
        An option is out of range, `min_degree` is given, or a face is listed twice.
    CalibrationError
        The value needs a calibration, or something that the calibration does not have.
    IndexDamagedError
        A stored embedding is not finite or not of unit norm.

    Examples
    --------
    >>> class TwoFaces:
    ...     def embeddings(self, face_ids):
    ...         return np.eye(2, dtype=np.float32)[face_ids - 1]
    >>> (block,) = matrix_blocks(
    ...     np.array([1, 2]), TwoFaces(), MatrixOptions(value="cosine"), None
    ... )
    >>> block.values
    array([[1., 0.],
           [0., 1.]])
    """
    faces = _faces_of_matrix(face_ids, source, options, calibration, scorer)
    return _blocks(faces, options, calibration, max_cells)


def matrix_frame(
    face_ids: Int64Array,
    source: EmbeddingSource,
    options: MatrixOptions,
    calibration: Calibration | None,
    *,
    scorer: Scorer | None = None,
) -> "pd.DataFrame":
    """Return the whole matrix of all pairs as a frame, for sets that fit in memory.

    Parameters
    ----------
    face_ids : ndarray of shape (n,), int64
    source : EmbeddingSource
    options : MatrixOptions
    calibration : Calibration or None
        As for `matrix_blocks`.
    scorer : Scorer, optional
        Makes the scores that the calibration takes, of faces of the index; by default
        `scorer_without_gallery`.

    Returns
    -------
    pandas.DataFrame of shape (n, n), float64
        Index and columns are face ids, both named ``face_id``; values are not rounded.

    Raises
    ------
    UsageError, CalibrationError, IndexDamagedError
        As `matrix_blocks`.

    Examples
    --------
    >>> class TwoFaces:
    ...     def embeddings(self, face_ids):
    ...         return np.array([[1.0, 0.0], [0.5, 0.75**0.5]], dtype=np.float16)[face_ids - 1]
    >>> frame = matrix_frame(np.array([2, 1]), TwoFaces(), MatrixOptions(value="cosine"), None)
    >>> frame.loc[2, 1].item()
    0.5
    """
    import pandas as pd

    values = np.empty((len(face_ids), len(face_ids)), dtype=np.float64)
    row = 0
    for block in matrix_blocks(face_ids, source, options, calibration, scorer=scorer):
        values[row : row + len(block.row_ids)] = block.values
        row += len(block.row_ids)
    labels = pd.Index(face_ids, name="face_id")
    return pd.DataFrame(values, index=labels, columns=labels, copy=False)


def write_wide(
    out: BinaryIO,
    face_ids: Int64Array,
    source: EmbeddingSource,
    options: MatrixOptions,
    calibration: Calibration | None,
    *,
    on_rows: Callable[[int], None] | None = None,
    scorer: Scorer | None = None,
) -> None:
    """Write the matrix of all pairs as CSV: a row and a column for each face.

    The first line is ``face_id`` and the ids, the first column the ids again.  Lines end with
    a line feed.  A number is what ``format`` makes of the exact value, without a minus before
    zero, so the file is symmetric to the last digit.

    Parameters
    ----------
    out : BinaryIO
        Receives the file.
    face_ids : ndarray of shape (n,), int64
    source : EmbeddingSource
    options : MatrixOptions
    calibration : Calibration or None
        As for `matrix_blocks`.
    on_rows : callable, optional
        Called from time to time with the number of rows written so far.
    scorer : Scorer, optional
        Makes the scores that the calibration takes, of faces of the index; by default
        `scorer_without_gallery`.

    Raises
    ------
    UsageError, CalibrationError, IndexDamagedError
        As `matrix_blocks`.
    """
    faces = _faces_of_matrix(face_ids, source, options, calibration, scorer)
    out.write(",".join(["face_id", *map(str, faces.ids.tolist())]).encode() + b"\n")
    starts = [b"%d," % face_id for face_id in faces.ids.tolist()]
    text = _number_text(options, calibration)
    for first, units in _unit_rows(faces, options, calibration):
        for row, cells in enumerate(units, start=first):
            out.write(starts[row])
            out.write(text.comma_row(cells).data)
        if on_rows is not None:
            on_rows(first + len(units))


def write_long(
    out: BinaryIO,
    face_ids: Int64Array,
    source: EmbeddingSource,
    options: MatrixOptions,
    calibration: Calibration | None,
    *,
    on_rows: Callable[[int], None] | None = None,
    scorer: Scorer | None = None,
) -> None:
    """Write the pairs as CSV: ``face_a,face_b,value``, each pair once, ``face_a < face_b``.

    Lines are in order of `face_a`, then of the printed value, largest first, then of
    `face_b`.  Numbers are as in `write_wide`.

    Parameters
    ----------
    out : BinaryIO
        Receives the file.
    face_ids : ndarray of shape (n,), int64
        Distinct, in any order.
    source : EmbeddingSource
        Has the embeddings of these faces.
    options : MatrixOptions
    calibration : Calibration or None
        Needed for all values but cosines, and for `min_degree`.
    on_rows : callable, optional
        Called from time to time with the number of faces whose pairs are written.
    scorer : Scorer, optional
        Makes the scores that the calibration takes, of faces of the index; by default
        `scorer_without_gallery`.

    Raises
    ------
    UsageError, CalibrationError, IndexDamagedError
        As `matrix_blocks`, but `min_degree` may be given.
    """
    check_options(options, calibration)
    of_value = _scorer_of_value(options, calibration, scorer)
    faces = load(np.sort(face_ids), source, of_value)
    lines = PairLines(faces.ids, _number_text(options, calibration))
    out.write(b"face_a,face_b,value\n")
    judged = faces
    if options.min_degree is not None and calibration is not None:
        by = scorer or scorer_without_gallery(calibration)
        if of_value.plain and not by.plain:  # Scores choose the pairs, cosines are printed.
            judged = load(faces.ids, source, by)
        least = cosine_at_degree(options.min_degree, calibration, prior=options.prior) - _BISECTION
        if least >= _FEW_PAIRS_FROM:
            _write_close(out, faces, judged, least, options, calibration, lines, on_rows)
            return
    for first, units in _unit_rows(faces, options, calibration, judged, upper_only=True):
        for row, cells in enumerate(units, start=first):
            out.write(lines.of_row(row, cells))
        if on_rows is not None:
            on_rows(first + len(units))


def _write_close(
    out: BinaryIO,
    faces: Faces,
    judged: Faces,
    least: float,
    options: MatrixOptions,
    calibration: Calibration,
    lines: PairLines,
    on_rows: Callable[[int], None] | None,
) -> None:
    """Write the lines of the pairs with at least a score, when few pairs have it."""
    for pairs in close_pairs(judged, least) if least <= 1.0 else ():
        chosen = _is_chosen(pairs.scores, options, calibration)
        rows, others, scores = pairs.a[chosen], pairs.b[chosen], pairs.scores[chosen]
        if judged is not faces:
            scores = listed_scores(faces, rows, others)
        units = _units(scores, options, calibration)
        first = np.flatnonzero(np.diff(rows, prepend=-1))
        for start, stop in pairwise([*first.tolist(), len(rows)]):
            out.write(lines.of_pairs(int(rows[start]), others[start:stop], units[start:stop]))
        if on_rows is not None:
            on_rows(pairs.stop)


def _number_text(options: MatrixOptions, calibration: Calibration | None) -> NumberText:
    if options.value == "fmr":
        return RateText()
    if options.value == "log10_lr" and calibration is not None:
        return WideText(options.decimals, furthest_evidence(calibration))
    return CellText(options.decimals)


def _faces_of_matrix(
    face_ids: Int64Array,
    source: EmbeddingSource,
    options: MatrixOptions,
    calibration: Calibration | None,
    scorer: Scorer | None,
) -> Faces:
    """Check the options of a matrix with a cell for every pair, and load its faces."""
    check_options(options, calibration)
    if options.min_degree is not None:
        raise UsageError(
            "a matrix has a cell for every pair, so min_degree cannot leave any out; "
            "use the long layout"
        )
    return load(face_ids, source, _scorer_of_value(options, calibration, scorer))


def _blocks(
    faces: Faces, options: MatrixOptions, calibration: Calibration | None, max_cells: int
) -> Iterator[MatrixBlock]:
    for rows in score_rows(faces, max(1, max_cells // max(1, len(faces.ids)))):
        values = rows.scores
        if calibration is not None and options.value != "cosine":
            values = _values(values, options, calibration)
        if options.value == "degree":
            values[np.arange(len(values)), np.arange(rows.start, rows.stop)] = 1.0
        yield MatrixBlock(faces.ids[rows.start : rows.stop], faces.ids, values)


def _scorer_of_value(
    options: MatrixOptions, calibration: Calibration | None, scorer: Scorer | None
) -> Scorer:
    """Return what gives the scores: a printed cosine is always the plain one."""
    if calibration is None or options.value == "cosine":
        return PLAIN
    return scorer or scorer_without_gallery(calibration)


def _unit_rows(
    faces: Faces,
    options: MatrixOptions,
    calibration: Calibration | None,
    judged: Faces | None = None,
    *,
    upper_only: bool = False,
) -> Iterator[tuple[int, Int32Array]]:
    """Yield rows of the matrix in units of the last decimal, with the first row's number.

    With a `min_degree`, the cells of pairs whose degree is lower are `MISSING`; the degrees are
    those of the `judged` faces.
    """
    n_cells = len(faces.ids) ** 2
    value, of_single = _units_of_scores(options, calibration, n_cells), None
    if isinstance(value, StepLookup):
        of_single = SingleStepLookup(value.function, faces.single_error)
    missing = None
    if options.min_degree is not None and calibration is not None and judged is not None:
        missing = _missing_by_scores(options, calibration, n_cells)
    itself = _units(np.ones(1), options, calibration)[0]
    if options.value == "degree":
        itself = np.int32(10**options.decimals)
    left_out = None
    if missing is not None and judged is faces:
        value, of_single = _both(value, missing), None
    elif missing is not None and judged is not None:
        left_out = slabs(judged, missing, upper_only=upper_only)
    for slab in slabs(faces, value, of_single=of_single, upper_only=upper_only):
        if left_out is not None:
            slab.values[next(left_out).values == MISSING] = MISSING
        own = np.arange(slab.start, slab.stop)
        slab.values[own - slab.start, own] = itself
        for row in range(0, len(own), _ROWS_AT_ONCE):
            yield slab.start + row, slab.values[row : row + _ROWS_AT_ONCE]


def _values(scores: Float64Array, options: MatrixOptions, calibration: Calibration) -> Float64Array:
    """Return the value of each pair from its score."""
    if options.value == "degree":
        return calibrated_degree(scores, calibration, prior=options.prior)
    return (log10_lr if options.value == "log10_lr" else false_match_rate)(scores, calibration)


def _units(
    scores: Float64Array, options: MatrixOptions, calibration: Calibration | None
) -> Int32Array:
    """Return the value of each pair, in units of the last printed decimal."""
    values = np.clip(scores, -1.0, 1.0)
    if calibration is not None and options.value != "cosine":
        values = _values(values, options, calibration)
    return rate_units(values) if options.value == "fmr" else rounded_units(values, options.decimals)


def _is_chosen(
    scores: Float64Array, options: MatrixOptions, calibration: Calibration
) -> NDArray[np.bool_]:
    degrees = calibrated_degree(np.clip(scores, -1.0, 1.0), calibration, prior=options.prior)
    return np.asarray(degrees >= (options.min_degree or 0.0))


def _units_of_scores(
    options: MatrixOptions, calibration: Calibration | None, n_cells: int
) -> _UnitsOfScores:
    """Return the function from exact scores to units."""

    def units(scores: Float64Array) -> Int32Array:
        return _units(scores, options, calibration)

    # A cosine changes its text in every bucket of the table: it is rounded at once.
    look_up = n_cells >= _LOOKUP_MIN_CELLS and options.value != "cosine"
    return StepLookup(units) if look_up else units


def _missing_by_scores(
    options: MatrixOptions, calibration: Calibration, n_cells: int
) -> _UnitsOfScores:
    """Return the function from exact scores to `MISSING` below `min_degree`, else 0."""

    def missing(scores: Float64Array) -> Int32Array:
        chosen = _is_chosen(scores, options, calibration)
        return np.where(chosen, np.int32(0), np.int32(MISSING))

    return StepLookup(missing) if n_cells >= _LOOKUP_MIN_CELLS else missing


def _both(value: _UnitsOfScores, missing: _UnitsOfScores) -> _UnitsOfScores:
    def of_chosen(scores: Float64Array) -> Int32Array:
        units = value(scores)
        units[missing(scores) == MISSING] = MISSING
        return units

    return of_chosen
