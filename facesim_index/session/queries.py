"""Ask an index: by a picture, by a face, by a person."""

from pathlib import Path

from facesim_index.calibration.record import Calibration
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import Prior, resolve_prior
from facesim_index.display import notebook as notebook  # draws what a notebook shows
from facesim_index.errors import UsageError
from facesim_index.people.edits import Who, find_person
from facesim_index.records import AnyPath, FaceId
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
        """Find the indexed faces that are most similar to a picture's faces, a face or a person.

        Parameters
        ----------
        picture : path-like, optional
            Give exactly one of `picture`, `face_id` and `person`.
        face_id : int, optional
            A face of this index.
        person : int or str, optional
            A person of this index, by number or name.
        top : int, default=10
            Most matches for each face, at least 1.
        face : int, optional
            Only this face of the picture; faces are numbered left to right, from 0.
        min_degree : float, optional
            Only matches with at least this degree, in [0, 1].
        prior : float or "gallery", default="gallery"
            Probability, in (0, 1), that a face of the index shows the same person before the two
            faces are looked at; ``gallery`` estimates it from the scores of the index itself.
        exclude_same_image : bool, default=False
            Leave out the faces of the query picture itself; for a person, the faces that are
            already that person's.
        exact : bool, default=False
            Compare with every face of the index, which takes longer in a large one.  Otherwise at
            most 2 in 10,000 of the matches are missed.  Cosines are exact either way.

        Returns
        -------
        QueryAnswer
            For a picture, the matches of each of its faces; otherwise those of one face.

        Raises
        ------
        UsageError
            Not exactly one thing to look for was given, it does not exist, or an option is out of
            range.
        PictureError
            The picture cannot be read.
        NoFaceError
            The picture has no face.
        CalibrationError
            `min_degree` or `person` was given and there is no calibration that fits; or the prior
            is not in (0, 1).
        EngineMismatchError
            The index was built with another engine than the one for queries.
        ModelError
            The engine's weights are missing or damaged.
        ProviderError
            The provider that was asked for does not run here.
        IndexDamagedError
            A row of the index is not as it was written.

        Examples
        --------
        >>> answer = index.query(photos / "anna_1.png", top=3, exclude_same_image=True)
        >>> for match in answer.faces[0].matches:
        ...     print(match.rank, Path(match.path).name, round(match.degree, 3), match.person)
        1 anna_and_ben.png 0.995 Anna
        2 anna_2.png 0.995 Anna
        3 carla.png 0.006 None
        """
        options = QueryOptions(top, face, min_degree, prior, exclude_same_image, exact)
        if [picture, face_id, person].count(None) != 2:
            raise UsageError("give either a picture, a face_id or a person to query")
        if picture is not None:
            path = Path(picture).expanduser()
            reading = read_faces(self._pictures, path)
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
        """Find every indexed face that shows the person of a picture, down to a given degree.

        Unlike `query` this never stops at the best few: each face of the index is compared, and all
        that reach the degree are returned.

        Parameters
        ----------
        picture : path-like
            A picture that shows the person.
        min_degree : float
            In (0, 1].
        face : int, optional
            Which face of the picture, left to right, from 0.  Needed where there are several.
        prior : float or "gallery", default="gallery"
            As for `query`.

        Returns
        -------
        Appearances

        Raises
        ------
        UsageError
            The degree is out of range; or the picture shows several faces and `face` does not say
            which, or it has no face of that number.
        PictureError
            The picture cannot be read.
        NoFaceError
            The picture has no face.
        CalibrationError
            There is no calibration for the engine, or the prior is not in (0, 1).
        EngineMismatchError
            The index was built with another engine than the one for queries.
        ModelError
            The engine's weights are missing or damaged.
        ProviderError
            The provider that was asked for does not run here.
        IndexDamagedError
            An embedding is missing, or is not what was written.

        Examples
        --------
        >>> found = index.find_person(photos / "anna_and_ben.png", face=1, min_degree=0.9)
        >>> [Path(match.path).name for match in found.matches]
        ['anna_and_ben.png', 'ben.png']
        """
        check_least_degree(min_degree)
        pictures = self._pictures
        with self._read() as rows:
            require_calibration(rows)  # before the picture is read
        path = Path(picture).expanduser()
        reading = read_faces(pictures, path)
        with self._view() as view:
            return find_appearances(
                view, reading, str(path), min_degree=min_degree, face=face, prior=prior
            )

    def prior(self, prior: Prior = "gallery") -> float:
        """Return the prior that an answer of this index uses.

        Parameters
        ----------
        prior : float or "gallery", default="gallery"
            A number is checked and returned.  ``gallery`` asks for the share of genuine pairs in
            this index, estimated from its own scores; it is 0.5 when there is no calibration.

        Returns
        -------
        float
            Probability, in (0, 1), that two faces show one person before they are looked at.

        Raises
        ------
        CalibrationError
            The number is not in (0, 1).
        IndexDamagedError
            An embedding is missing, or is not what was written.

        Examples
        --------
        Among the 15 pairs of faces in this index, 4 show one person:

        >>> round(index.prior(), 2)
        0.26
        >>> index.prior(0.5)
        0.5
        """
        with self._view() as view:
            return resolve_prior(view, calibration_in_force(view), prior).value

    def calibration(self) -> Calibration | None:
        """Return the calibration that the degrees of this index are made with.

        Returns
        -------
        Calibration or None
            None when there is none for the engine; then there are cosines and no degrees.

        Raises
        ------
        IndexDamagedError
            The row of a calibration is not as it was written.

        Examples
        --------
        >>> index.calibration().name
        'example'
        """
        with self._read() as rows:
            return calibration_in_force(rows)
