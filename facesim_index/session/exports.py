"""Lists, embeddings and matrices of the faces of an index."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from facesim_index.calibration.record import Calibration
from facesim_index.degrees.cautions import Traits, traits_of
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import Prior, resolve_prior
from facesim_index.display import notebook as notebook  # draws what a notebook shows
from facesim_index.errors import UsageError
from facesim_index.export import matches
from facesim_index.export import matrix as matrices
from facesim_index.export.matrix import MatrixBlock
from facesim_index.export.matrix_options import MatrixOptions
from facesim_index.records import AnyPath, FaceRecord, Float32Array, Int64Array, PictureFaces
from facesim_index.store.catalog import face_rows
from facesim_index.store.protocols import CatalogView, IndexView

if TYPE_CHECKING:
    import pandas

from facesim_index.session.session import IndexSession

FACES_PER_READ = 4096


class ExportMethods(IndexSession):
    """The methods of `FaceIndex` that list faces and compare all of them."""

    def face_ids(self, *, under: AnyPath | None = None) -> Int64Array:
        """Return the ids of all faces.

        Parameters
        ----------
        under : path-like, optional
            Only faces in pictures at or below this path.

        Returns
        -------
        ndarray of shape (n_faces,), int64
            Ascending.

        Examples
        --------
        >>> index.face_ids()
        array([1, 2, 3, 4, 5, 6])
        >>> index.face_ids(under=photos / "anna_and_ben.png")
        array([3, 4])
        """
        where = None if under is None else Path(under).expanduser().resolve()
        with self._read() as rows:
            return face_rows.face_ids(rows.transaction, under=where)

    def face_records(self, face_ids: Int64Array | None = None) -> Iterator[FaceRecord]:
        """Yield what is recorded of faces: picture, position and quality.

        Parameters
        ----------
        face_ids : ndarray of shape (n,), int64, optional
            All faces by default.  A face that is not in the index is left out.

        Yields
        ------
        FaceRecord
            In the order of `face_ids`.

        Examples
        --------
        >>> for face in index.face_records(np.array([3, 4])):
        ...     print(face.face_id, Path(face.path).name, face.box.x)
        3 anna_and_ben.png 32.0
        4 anna_and_ben.png 96.0
        """
        with self._read() as rows:
            ids = face_rows.face_ids(rows.transaction) if face_ids is None else face_ids
            yield from _records(rows, ids)

    def picture_faces(self, paths: Sequence[Path]) -> list[PictureFaces | None]:
        """Return the faces of pictures, by the paths of their files.

        Parameters
        ----------
        paths : sequence of Path
            Absolute.

        Returns
        -------
        list of PictureFaces or None
            One for each path; None for a file that is not in the index, or whose content could not
            be read at all.

        Examples
        --------
        >>> both, unknown = index.picture_faces(
        ...     [(photos / "anna_and_ben.png").absolute(), Path("/not/indexed.jpg")]
        ... )
        >>> [face.face_id for face in both.faces], unknown
        ([3, 4], None)
        """
        if self._store is None:
            return [None for _ in paths]
        with self._read() as rows:
            return [face_rows.picture_faces(rows.transaction, path) for path in paths]

    def faces(self, *, under: AnyPath | None = None) -> "pandas.DataFrame":
        """Return a table with one row for each face.

        Parameters
        ----------
        under : path-like, optional
            Only faces in pictures at or below this path.

        Returns
        -------
        pandas.DataFrame of shape (n_faces, 23)
            The columns of ``facesim export faces``: ids, path, box and landmarks in pixels,
            detection score in [0, 1], and quality.

        Examples
        --------
        >>> table = index.faces(under=photos / "anna_and_ben.png")
        >>> table[["face_id", "x", "y", "w", "h", "detection"]]
           face_id     x     y     w     h  detection
        0        3  32.0  32.0  32.0  32.0        1.0
        1        4  96.0  32.0  32.0  32.0        1.0
        """
        import pandas

        from facesim_index.export.face_table import COLUMNS, row

        where = None if under is None else Path(under).expanduser().resolve()
        with self._read() as rows:
            ids = face_rows.face_ids(rows.transaction, under=where)
            cells = [row(record) for record in _records(rows, ids)]
        return pandas.DataFrame(cells, columns=list(COLUMNS))

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        """Return the stored embeddings of faces.

        Parameters
        ----------
        face_ids : ndarray of shape (n,), int64
            In any order; a face may be given twice.

        Returns
        -------
        ndarray of shape (n, dimension), float32
            In the order of `face_ids`.  Of unit norm but for rounding: they are stored in half
            precision.

        Raises
        ------
        UsageError
            One of the faces does not exist.
        IndexDamagedError
            An embedding is missing, or is not what was written.

        Examples
        --------
        >>> vectors = index.embeddings(np.array([1, 2, 6]))
        >>> vectors.shape
        (3, 512)
        >>> (vectors @ vectors.T).round(2)
        array([[1.  , 0.95, 0.04],
               [0.95, 1.  , 0.03],
               [0.04, 0.03, 1.  ]], dtype=float32)
        """
        with self._view() as view:
            return view.embeddings(_known(view, face_ids))

    def matrix(
        self,
        face_ids: Int64Array | Sequence[int] | None = None,
        options: MatrixOptions | None = None,
    ) -> "pandas.DataFrame":
        """Return how similar each face is to each other face, as one table.

        The memory grows with the square of the number of faces: for many, use `matrix_blocks`.

        Parameters
        ----------
        face_ids : sequence of int, optional
            Each at most once; all faces by default.
        options : MatrixOptions, optional
            By default degrees at the index's own prior; see `prior`.

        Returns
        -------
        pandas.DataFrame of shape (n, n), float64
            Index and columns are the face ids.

        Raises
        ------
        UsageError
            A face does not exist or is given twice, or an option is out of range.
        CalibrationError
            Degrees are asked for and there is no calibration for the engine.
        IndexDamagedError
            An embedding is missing, or is not what was written.

        Examples
        --------
        >>> index.matrix([1, 2, 6]).round(3)
        face_id      1      2      6
        face_id
        1        1.000  0.995  0.006
        2        0.995  1.000  0.005
        6        0.006  0.005  1.000
        """
        with self._view() as view:
            calibration = calibration_in_force(view)
            ids = _known(view, face_ids)
            return matrices.matrix_frame(
                ids,
                view,
                options or _usual_options(view, calibration),
                calibration,
                scorer=scorer_of(view, calibration),
            )

    def matrix_blocks(
        self,
        face_ids: Int64Array | Sequence[int] | None = None,
        options: MatrixOptions | None = None,
    ) -> Iterator[MatrixBlock]:
        """Yield how similar each face is to each other face, some rows at a time.

        Parameters
        ----------
        face_ids : sequence of int, optional
            Each at most once; all faces by default.
        options : MatrixOptions, optional
            By default degrees at the index's own prior; see `prior`.

        Yields
        ------
        MatrixBlock
            Some rows, from top to bottom, with all columns.

        Raises
        ------
        UsageError
            A face does not exist or is given twice, or an option is out of range.
        CalibrationError
            Degrees are asked for and there is no calibration for the engine.
        IndexDamagedError
            An embedding is missing, or is not what was written.

        Examples
        --------
        >>> for block in index.matrix_blocks([1, 2, 6]):
        ...     print(block.row_ids, block.values.shape)
        [1 2 6] (3, 3)
        """
        with self._view() as view:
            calibration = calibration_in_force(view)
            ids = _known(view, face_ids)
            yield from matrices.matrix_blocks(
                ids,
                view,
                options or _usual_options(view, calibration),
                calibration,
                scorer=scorer_of(view, calibration),
            )

    def write_matrix(
        self,
        out: BinaryIO,
        face_ids: Int64Array | Sequence[int] | None = None,
        options: MatrixOptions | None = None,
        *,
        layout: Literal["wide", "long"] = "wide",
        on_rows: Callable[[int], None] | None = None,
    ) -> None:
        """Write how similar each face is to each other face as CSV, in bounded memory.

        Parameters
        ----------
        out : BinaryIO
            Open for writing bytes; it stays open.
        face_ids : sequence of int, optional
            Each at most once; all faces by default.
        options : MatrixOptions, optional
            By default degrees at the index's own prior; see `prior`.
        layout : {"wide", "long"}, default="wide"
            ``wide`` writes a row and a column for each face, ``long`` a line for each pair.
        on_rows : callable, optional
            Called now and then with the number of rows written so far.

        Raises
        ------
        CalibrationError
            Degrees are asked for and there is no calibration for the engine.
        UsageError
            A face does not exist or is given twice, or the options do not fit together.
        IndexDamagedError
            An embedding is missing, or is not what was written.

        Examples
        --------
        >>> from facesim_index import MatrixOptions
        >>> with open("matrix.csv", "wb") as out:
        ...     index.write_matrix(out, [1, 2, 6], MatrixOptions(value="cosine", decimals=2))
        >>> print(Path("matrix.csv").read_text().strip())
        face_id,1,2,6
        1,1.00,0.95,0.04
        2,0.95,1.00,0.03
        6,0.04,0.03,1.00
        """
        write = matrices.write_wide if layout == "wide" else matrices.write_long
        with self._view() as view:
            calibration = calibration_in_force(view)
            ids = _known(view, face_ids)
            options = options or _usual_options(view, calibration)
            scorer = scorer_of(view, calibration)
            write(out, ids, view, options, calibration, on_rows=on_rows, scorer=scorer)

    def write_matches(
        self,
        out: BinaryIO,
        *,
        min_degree: float,
        prior: Prior = "gallery",
        under: AnyPath | None = None,
        spreadsheet_safe: bool = False,
        on_rows: Callable[[int], None] | None = None,
    ) -> int:
        """Write every pair of faces that has at least a given degree as CSV, with the paths.

        Each pair is written once, with the lower face id first.  The lines are in the order of that
        id; below it, the most similar face comes first.

        Parameters
        ----------
        out : BinaryIO
            Open for writing bytes; it stays open.
        min_degree : float
            In [0, 1].
        prior : float or "gallery", default="gallery"
            Probability, in (0, 1), that two faces of the index show one person before they are
            looked at; ``gallery`` estimates it from the scores of the index itself.
        under : path-like, optional
            Only faces in pictures at or below this path.
        spreadsheet_safe : bool, default=False
            Write paths such that no spreadsheet takes a part of one for a formula.
        on_rows : callable, optional
            Called now and then with the number of faces whose pairs are written.

        Returns
        -------
        int
            How many pairs were written.

        Raises
        ------
        CalibrationError
            There is no calibration for the engine, or the prior is not in (0, 1).
        UsageError
            The degree is not in [0, 1].
        IndexDamagedError
            An embedding is missing, or is not what was written.

        Examples
        --------
        >>> with open("matches.csv", "wb") as out:
        ...     index.write_matches(out, min_degree=0.9)
        4
        >>> lines = Path("matches.csv").read_text().splitlines()
        >>> lines[0]
        'face_a,face_b,degree,log10_lr,fmr,cosine,path_a,path_b,caution'
        """
        where = None if under is None else Path(under).expanduser().resolve()
        with self._view() as view:
            calibration = calibration_in_force(view)
            told = _ToldFaces(view)
            return matches.write_matches(
                out,
                face_rows.face_ids(view.transaction, under=where),
                view,
                told.paths_of,
                calibration,
                min_degree=min_degree,
                prior=resolve_prior(view, calibration, prior).value,
                spreadsheet_safe=spreadsheet_safe,
                traits_of=told.traits_of,
                on_rows=on_rows,
                scorer=scorer_of(view, calibration),
            )

    def check_face_ids(self, face_ids: Int64Array | Sequence[int]) -> Int64Array:
        """Return ids as an array, after checking that each is a face of this index.

        Parameters
        ----------
        face_ids : sequence of int
            In any order.

        Returns
        -------
        ndarray of shape (n,), int64
            In the same order.

        Raises
        ------
        UsageError
            One of them is not.

        Examples
        --------
        >>> index.check_face_ids([2, 1])
        array([2, 1])
        >>> index.check_face_ids([7])
        Traceback (most recent call last):
            ...
        facesim_index.errors.UsageError: there is no face 7 in holiday.facesim
        """
        with self._read() as rows:
            return _known(rows, face_ids)


class _ToldFaces:
    """What a list of matches tells of faces; each row is read once, for path and traits."""

    def __init__(self, view: IndexView) -> None:
        self._view = view
        self._packed: dict[int, int] = {}

    def paths_of(self, face_ids: Int64Array) -> dict[int, str]:
        """Return the paths of faces, and remember their traits, a byte each."""
        view = self._view
        records = list(_records(view, face_ids))
        known = np.array([face.face_id for face in records], dtype=np.int64)
        packed = traits_of(records, view.embeddings(known), view.identity.key).packed()
        self._packed.update(zip(known.tolist(), packed.tolist(), strict=True))
        return {face.face_id: face.path for face in records}

    def traits_of(self, face_ids: Int64Array) -> Traits:
        """Return the traits of faces whose paths were asked for."""
        packed = [self._packed[face_id] for face_id in face_ids.tolist()]
        return Traits.of_packed(np.array(packed, dtype=np.uint8))


def _records(rows: CatalogView, face_ids: Int64Array) -> Iterator[FaceRecord]:
    for start in range(0, len(face_ids), FACES_PER_READ):
        yield from face_rows.faces(rows.transaction, face_ids[start : start + FACES_PER_READ])


def _known(rows: CatalogView, face_ids: Int64Array | Sequence[int] | None) -> Int64Array:
    """Return ids as an array, after checking that each is a living face; None means all faces."""
    living = face_rows.face_ids(rows.transaction)
    if face_ids is None:
        return living
    ids = face_rows.as_ids(face_ids, rows.location)
    unknown = ids[~np.isin(ids, living)]
    if len(unknown):
        raise UsageError(f"there is no face {unknown[0]} in {rows.location}")
    return ids


def _usual_options(view: IndexView, calibration: Calibration | None) -> MatrixOptions:
    return MatrixOptions(prior=resolve_prior(view, calibration, "gallery").value)
