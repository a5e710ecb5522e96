"""Lists, embeddings and matrices of the faces of an index."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from facesim_index.calibration.record import Calibration
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import Prior, resolve_prior
from facesim_index.display import notebook as notebook  # draws what a notebook shows
from facesim_index.errors import UsageError
from facesim_index.export import matches
from facesim_index.export import matrix as matrices
from facesim_index.export.matrix import MatrixBlock, MatrixOptions
from facesim_index.records import (
    AnyPath,
    FaceRecord,
    Float32Array,
    Int64Array,
    PictureFaces,
)
from facesim_index.store.catalog import face_rows
from facesim_index.store.protocols import CatalogView, IndexView

if TYPE_CHECKING:
    import pandas

from facesim_index.session.session import IndexSession

FACES_PER_READ = 4096


class ExportMethods(IndexSession):
    """The methods of `FaceIndex` that list faces and compare all of them."""

    def face_ids(self, *, under: AnyPath | None = None) -> Int64Array:
        """Return the ids of all faces, ascending; with `under`, of pictures at or below a path."""
        where = None if under is None else Path(under).expanduser().resolve()
        with self._read() as rows:
            return face_rows.face_ids(rows.transaction, under=where)

    def face_records(self, face_ids: Int64Array | None = None) -> Iterator[FaceRecord]:
        """Yield the records of faces, of all faces by default, in the order of `face_ids`."""
        with self._read() as rows:
            ids = face_rows.face_ids(rows.transaction) if face_ids is None else face_ids
            yield from _records(rows, ids)

    def picture_faces(self, paths: Sequence[Path]) -> list[PictureFaces | None]:
        """Return the faces of pictures by the absolute paths of their files.

        Parameters
        ----------
        paths : sequence of Path

        Returns
        -------
        list of PictureFaces or None
            None for a file that is not in the index, or could not be read.
        """
        if self._store is None:
            return [None for _ in paths]
        with self._read() as rows:
            return [face_rows.picture_faces(rows.transaction, path) for path in paths]

    def faces(self, *, under: AnyPath | None = None) -> "pandas.DataFrame":
        """Return one row for each face.

        Parameters
        ----------
        under : path-like, optional
            Only faces in pictures at or below this path.

        Returns
        -------
        pandas.DataFrame
            Columns as in ``facesim export faces``.
        """
        import pandas

        from facesim_index.export.face_table import COLUMNS, row

        where = None if under is None else Path(under).expanduser().resolve()
        with self._read() as rows:
            ids = face_rows.face_ids(rows.transaction, under=where)
            cells = [row(record) for record in _records(rows, ids)]
        return pandas.DataFrame(cells, columns=list(COLUMNS))

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        """Return stored embeddings, shape (n, dimension), unit norm, in the order asked.

        Raises
        ------
        UsageError
            One of the faces does not exist.
        """
        with self._view() as view:
            return view.embeddings(_known(view, face_ids))

    def matrix(
        self,
        face_ids: Int64Array | Sequence[int] | None = None,
        options: MatrixOptions | None = None,
    ) -> "pandas.DataFrame":
        """Return the pairwise similarities of faces as one frame.

        For many faces use `matrix_blocks`, whose memory does not grow with their square.

        Parameters
        ----------
        face_ids : sequence of int, optional
            All faces by default.
        options : MatrixOptions, optional
            By default degrees at the index's own prior; see `prior`.

        Returns
        -------
        pandas.DataFrame
            Index and columns are the face ids.
        """
        with self._view() as view:
            calibration = calibration_in_force(view)
            ids = _known(view, face_ids)
            return matrices.matrix_frame(
                ids, view, options or _usual_options(view, calibration), calibration
            )

    def matrix_blocks(
        self,
        face_ids: Int64Array | Sequence[int] | None = None,
        options: MatrixOptions | None = None,
    ) -> Iterator[MatrixBlock]:
        """Yield the pairwise similarities of faces in blocks of rows.

        Parameters
        ----------
        face_ids : sequence of int, optional
            All faces by default.
        options : MatrixOptions, optional

        Yields
        ------
        MatrixBlock
            Some rows against all columns.
        """
        with self._view() as view:
            calibration = calibration_in_force(view)
            ids = _known(view, face_ids)
            yield from matrices.matrix_blocks(
                ids, view, options or _usual_options(view, calibration), calibration
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
        """Write the pairwise similarities of faces as CSV, in bounded memory.

        Parameters
        ----------
        out : BinaryIO
        face_ids : sequence of int, optional
            All faces by default.
        options : MatrixOptions, optional
        layout : {"wide", "long"}, default="wide"
        on_rows : callable, optional
            Told now and then how many rows are written.

        Raises
        ------
        CalibrationError
            Degrees are asked for and there is no calibration for the engine.
        UsageError
            A face does not exist, or the options do not fit together.
        """
        write = matrices.write_wide if layout == "wide" else matrices.write_long
        with self._view() as view:
            calibration = calibration_in_force(view)
            ids = _known(view, face_ids)
            options = options or _usual_options(view, calibration)
            write(out, ids, view, options, calibration, on_rows=on_rows)

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
        """Write every pair of faces with at least a degree as CSV, with the paths.

        Parameters
        ----------
        out : BinaryIO
        min_degree : float
            In [0, 1].
        prior : float or "gallery", default="gallery"
            As for `query`.
        under : path-like, optional
            Only faces in pictures at or below this path.
        spreadsheet_safe : bool, default=False
            Write paths such that no spreadsheet takes a part of one for a formula.
        on_rows : callable, optional
            Told now and then with how many faces all later ones are compared.

        Returns
        -------
        int
            How many pairs were written.

        Raises
        ------
        CalibrationError
            There is no calibration for the engine.
        UsageError
            The degree is not in [0, 1].
        """
        where = None if under is None else Path(under).expanduser().resolve()
        with self._view() as view:
            calibration = calibration_in_force(view)
            return matches.write_matches(
                out,
                face_rows.face_ids(view.transaction, under=where),
                view,
                lambda found: {face.face_id: face.path for face in _records(view, found)},
                calibration,
                min_degree=min_degree,
                prior=resolve_prior(view, calibration, prior).value,
                spreadsheet_safe=spreadsheet_safe,
                on_rows=on_rows,
            )

    def check_face_ids(self, face_ids: Int64Array | Sequence[int]) -> Int64Array:
        """Return ids as an array, after seeing that each is a face of this index.

        Raises
        ------
        UsageError
            One is not.
        """
        with self._read() as rows:
            return _known(rows, face_ids)


def _records(rows: CatalogView, face_ids: Int64Array) -> Iterator[FaceRecord]:
    for start in range(0, len(face_ids), FACES_PER_READ):
        yield from face_rows.faces(rows.transaction, face_ids[start : start + FACES_PER_READ])


def _known(rows: CatalogView, face_ids: Int64Array | Sequence[int] | None) -> Int64Array:
    """Return ids as an array, after seeing that each is a living face; None: all faces."""
    living = face_rows.face_ids(rows.transaction)
    if face_ids is None:
        return living
    ids = np.asarray(face_ids, dtype=np.int64)
    unknown = ids[~np.isin(ids, living)]
    if len(unknown):
        raise UsageError(f"there is no face {unknown[0]} in {rows.location}")
    return ids


def _usual_options(view: IndexView, calibration: Calibration | None) -> MatrixOptions:
    return MatrixOptions(prior=resolve_prior(view, calibration, "gallery").value)
