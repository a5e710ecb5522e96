"""Ask an index: by a picture, by a face, by a person."""

from pathlib import Path

from facesim_index.calibration.record import Calibration
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import Prior, resolve_prior
from facesim_index.display import notebook as notebook  # draws what a notebook shows
from facesim_index.errors import UsageError
from facesim_index.people.edits import Who, find_person
from facesim_index.records import (
    AnyPath,
    FaceId,
)
from facesim_index.search.answers import QueryAnswer
from facesim_index.search.appearances import (
    Appearances,
    check_least_degree,
    find_appearances,
    require_calibration,
)
from facesim_index.search.one_picture import read_faces
from facesim_index.search.person import query_person
from facesim_index.search.queries import QueryOptions, query_face, query_reading
from facesim_index.session.session import IndexSession


class QueryMethods(IndexSession):
    """The methods of `FaceIndex` that look for faces, and those about their degrees."""

    def query(
        self,
        picture: AnyPath | None = None,
        *,
        face_id: int | None = None,
        person: Who | None = None,
        top: int = 10,
        face: int | None = None,
        min_degree: float | None = None,
        prior: Prior = "gallery",
        exclude_same_image: bool = False,
        exact: bool = False,
    ) -> QueryAnswer:
        """Return the indexed faces most similar to those of a picture, or to an indexed face.

        Parameters
        ----------
        picture : path-like, optional
        face_id : int, optional
            A face of this index instead of a picture.
        person : int or str, optional
            A person of this index, by number or name, instead of a picture.
        top : int, default=10
            Most matches for each face.
        face : int, optional
            Only this face of the picture, left to right, from 0.
        min_degree : float, optional
            Only matches with at least this degree, in [0, 1].
        prior : float or "gallery", default="gallery"
            Probability of a genuine pair before looking, in (0, 1); ``gallery`` estimates it
            from the scores of the index itself.
        exclude_same_image : bool, default=False
            Leave out the faces of the query picture itself, or those that are the person's.
        exact : bool, default=False
            Compare with every face of the index, which takes longer in a large one; otherwise
            at most 2 in 10,000 of the matches are missed.  Cosines are exact either way.

        Returns
        -------
        QueryAnswer

        Raises
        ------
        UsageError, PictureError, NoFaceError, CalibrationError, EngineMismatchError, ModelError
        """
        options = QueryOptions(top, face, min_degree, prior, exclude_same_image, exact)
        if [picture, face_id, person].count(None) != 2:
            raise UsageError("give either a picture, a face_id or a person to query")
        if picture is not None:
            path = Path(picture).expanduser()
            reading = read_faces(self._engine, path)
            with self._view(partial=True) as view:
                return query_reading(view, reading, str(path), options)
        if face is not None:
            raise UsageError("face chooses among the faces of a picture; a face_id is one face")
        if person is not None:
            with self._view() as view:
                return query_person(view, find_person(view.transaction, person), options)
        with self._view(partial=True) as view:
            return query_face(view, FaceId(face_id or 0), options)

    def find_person(
        self,
        picture: AnyPath,
        *,
        min_degree: float,
        face: int | None = None,
        prior: Prior = "gallery",
    ) -> Appearances:
        """Return every indexed face that shows the person of a picture at least so surely.

        Unlike `query` it leaves none out: every face is compared, and all that reach the
        degree are returned.

        Parameters
        ----------
        picture : path-like
        min_degree : float
            In (0, 1].
        face : int, optional
            Which face of the picture, left to right, from 0; needed where it shows several.
        prior : float or "gallery", default="gallery"
            As for `query`.

        Returns
        -------
        Appearances

        Raises
        ------
        UsageError, PictureError, NoFaceError, CalibrationError, EngineMismatchError, ModelError
        """
        check_least_degree(min_degree)
        engine = self._engine
        with self._read() as rows:
            require_calibration(rows)  # before the picture is read
        path = Path(picture).expanduser()
        reading = read_faces(engine, path)
        with self._view() as view:
            return find_appearances(
                view, reading, str(path), min_degree=min_degree, face=face, prior=prior
            )

    def prior(self, prior: Prior = "gallery") -> float:
        """Return the prior that an answer uses.

        Parameters
        ----------
        prior : float or "gallery", default="gallery"

        Returns
        -------
        float
            The share of genuine pairs in this index, estimated from its own scores; 0.5 when
            there is no calibration.  A number is checked and returned.

        Raises
        ------
        CalibrationError
            The number is not in (0, 1).
        """
        with self._view() as view:
            return resolve_prior(view, calibration_in_force(view), prior).value

    def calibration(self) -> Calibration | None:
        """Return the calibration that degrees are made with; None when there is none."""
        with self._read() as rows:
            return calibration_in_force(rows)
