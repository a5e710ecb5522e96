"""What both the API and the pages ask of an index: one method a question, records as answers."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import Prior
from facesim_index.engine.base import EngineSource
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.people.review import doubtful_faces, review_people
from facesim_index.records import FaceId
from facesim_index.search import comparison, queries
from facesim_index.search.answers import QueryAnswer
from facesim_index.search.person import query_person
from facesim_index.search.queries import QueryOptions
from facesim_index.session.people_book import PeopleBook
from facesim_index.store.catalog import browsing, face_rows
from facesim_index.store.opening import one_thread, open_store
from facesim_index.store.protocols import IndexStore
from facesim_index.upkeep.status import index_status
from facesim_index.utils.threads import usable_cores
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.problems import ProblemError
from facesim_index.web.guard.receiving import require_client
from facesim_index.web.guard.turns import Turns
from facesim_index.web.service.answers import (
    FaceCard,
    PersonCard,
    ReviewPage,
    ServerStatus,
    UploadAnswer,
    UploadComparison,
)
from facesim_index.web.service.calibration_report import CalibrationPage, CalibrationPages
from facesim_index.web.service.index_browser import IndexBrowser
from facesim_index.web.service.jobs import Job, Jobs
from facesim_index.web.service.uploads import Uploads


class Service(IndexBrowser):
    """An index as a server shows it; every method may be called from any thread.

    An id that the index does not have raises `NotFoundError`, an edit without `edit` a
    `ProblemError` of status 403, anything else that goes wrong a `FacesimError`.

    Parameters
    ----------
    folder : Path
        The index.
    edit : bool, default=False
        Allow what changes the people.
    engine : EngineSource, optional
        Which engine reads uploads; by default the one that the index was built with.
    limits : Limits, optional
    """

    def __init__(
        self,
        folder: Path,
        *,
        edit: bool = False,
        engine: EngineSource | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(folder, limits or Limits())
        self.edit = edit
        self._uploads = Uploads(self._index, engine, self.limits)
        self._jobs = Jobs(folder)
        self._calibration = CalibrationPages()
        self._turns = Turns(usable_cores())
        self._studies = threading.Lock()
        self._edits = threading.Lock()

    def close(self) -> None:
        """Stop all workers and the running job, and let go of the index."""
        self._uploads.close()
        self._jobs.close()
        super().close()

    def status(self) -> ServerStatus:
        """Return what is in the index, and what goes on.

        Returns
        -------
        ServerStatus
        """
        with self._index.store() as store:
            writing = store.is_being_written()
            with store.read() as rows:
                status = index_status(store, rows)
                confirmed = browsing.n_confirmed(rows.transaction)
                undo = browsing.newest_change(rows.transaction)
        counted = status.counts
        counts = {
            "people": counted["people"] - counted["people_ignored"],
            "named": counted["people_named"],
            "ignored": counted["people_ignored"],
            "faces": counted["faces_of_people"],
            "confirmed": confirmed,
        }
        return ServerStatus(status, self.edit, writing, counts, undo)

    # Searches

    def query_upload(
        self, data: bytes, options: QueryOptions | None = None, *, pictures: bool = False
    ) -> UploadAnswer:
        """Return the indexed faces most similar to those of an uploaded picture.

        Parameters
        ----------
        data : bytes
            Of the picture's file.
        options : QueryOptions, optional
        pictures : bool, default=False
            Also give the reduced picture, and a crop of each of its faces.

        Returns
        -------
        UploadAnswer
        """
        found = self._uploads.read(data, pictures=pictures)
        with self._searching() as store:
            self._uploads.check(store)
            with store.view(partial=True) as view:
                answer = queries.query_reading(view, found.reading, "the picture", options)
        crops = {face.face: found.crops[face.face] for face in answer.faces if found.crops}
        return UploadAnswer(answer, found.preview, crops)

    def compare_uploads(
        self,
        data_a: bytes,
        data_b: bytes,
        *,
        face_a: int | None = None,
        face_b: int | None = None,
        prior: float = 0.5,
        pictures: bool = False,
    ) -> UploadComparison:
        """Return the degree that two uploaded pictures show one person.

        Parameters
        ----------
        data_a, data_b : bytes
            Of the pictures' files.
        face_a, face_b : int, optional
            Numbers of the faces to compare, left to right, from 0; by default the largest.
        prior : float, default=0.5
            Probability of one person before looking, in (0, 1).
        pictures : bool, default=False
            Also give the reduced pictures.

        Returns
        -------
        UploadComparison
        """
        a, b = (self._uploads.read(data, pictures=pictures) for data in (data_a, data_b))
        with self._index.store() as store:
            self._uploads.check(store)
            with store.read() as rows:
                calibration = calibration_in_force(rows)
            compared = comparison.compare_readings(
                store.identity,
                (a.reading, b.reading),
                ("picture a", "picture b"),
                calibration,
                faces=(face_a, face_b),
                prior=prior,
            )
        return UploadComparison(compared, a.preview, b.preview)

    def face_matches(self, face_id: int, options: QueryOptions | None = None) -> QueryAnswer:
        """Return the faces most similar to one of the index.

        Parameters
        ----------
        face_id : int
        options : QueryOptions, optional

        Returns
        -------
        QueryAnswer
        """
        with self._searching() as store, store.view(partial=True) as view:
            try:
                return queries.query_face(view, FaceId(face_id), options)
            except UsageError:
                self._face(view.transaction, face_id)  # raises NotFoundError where there is none
                raise

    def person_matches(self, person_id: int, options: QueryOptions | None = None) -> QueryAnswer:
        """Return the faces that are most probably a person's, including those that already are.

        Parameters
        ----------
        person_id : int
        options : QueryOptions, optional

        Returns
        -------
        QueryAnswer
        """
        with self._searching() as store, store.view() as view:
            row = self._person(view.transaction, person_id)
            return query_person(view, row, options or QueryOptions())

    def doubtful_faces(self, person_id: int, *, below: float) -> list[tuple[FaceCard, float]]:
        """Return the faces of a person that are hardly like the others.

        Parameters
        ----------
        person_id : int
        below : float
            Only faces of a smaller degree than this, in [0, 1].

        Returns
        -------
        list of (FaceCard, float)
            Faces and their degrees.  Faces that a human confirmed are not among them; without a
            usable calibration the list is empty.
        """
        with self._searching() as store, store.view() as view:
            try:
                found = doubtful_faces(view, person_id)
            except CalibrationError:
                return []
            degrees = {face_id: degree for face_id, degree in found if degree < below}
            records = face_rows.faces(view.transaction, np.array(list(degrees), dtype=np.int64))
            cards = self._cards(view.transaction, records)
        return [(card, degrees[card.face.face_id]) for card in cards]

    def review(self, *, top: int = 20, prior: Prior = "gallery") -> ReviewPage:
        """Return the most doubtful faces and the most likely merges.

        Parameters
        ----------
        top : int, default=20
            How many of each kind at most, at least 1.
        prior : float or "gallery", default="gallery"
            Probability, before looking, that two faces show one person, in (0, 1).

        Returns
        -------
        ReviewPage
        """
        with self._studying() as store, store.view() as view:
            found = review_people(view, top=top, prior=prior, between=require_client)
            asked = {item.person_id for item in found.doubtful}
            asked |= {
                side.person_id
                for item in found.merges
                for side in (item.a, item.b)
                if side.person_id is not None
            }
            return ReviewPage(found, browsing.covers(view.transaction, asked))

    def calibration(self) -> CalibrationPage:
        """Return how well the calibration in force fits the pictures of the index.

        Returns
        -------
        CalibrationPage
        """
        with self._studying() as store:
            return self._calibration.page(store)

    # Edits

    def name_person(self, person_id: int, name: str | None) -> PersonCard:
        """Give a person a name, or take it away.

        Parameters
        ----------
        person_id : int
        name : str or None
            None takes the name away.

        Returns
        -------
        PersonCard
        """
        with self._editing(person_id) as people:
            return self._card(people.name(person_id, name))

    def ignore_person(self, person_id: int, *, ignored: bool = True) -> PersonCard:
        """Leave a person out of lists, or no longer.

        Parameters
        ----------
        person_id : int
        ignored : bool, default=True

        Returns
        -------
        PersonCard
        """
        with self._editing(person_id) as people:
            return self._card(people.ignore(person_id, ignored=ignored))

    def merge_people(self, person_ids: Sequence[int]) -> PersonCard:
        """Make one person of several.

        Parameters
        ----------
        person_ids : sequence of int
            Two or more; the first keeps its number and its name.

        Returns
        -------
        PersonCard
            The first person, now with the faces of all.
        """
        with self._editing(*person_ids) as people:
            return self._card(people.merge(*person_ids))

    def split_person(self, person_id: int, face_ids: Sequence[int]) -> PersonCard:
        """Make a new person of some faces of another.

        Parameters
        ----------
        person_id : int
        face_ids : sequence of int
            Faces of that person that are somebody else's.

        Returns
        -------
        PersonCard
            The new person.
        """
        with self._editing(person_id) as people:
            return self._card(people.split(person_id, face_ids))

    def move_faces(self, face_ids: Sequence[int], person_id: int | None) -> PersonCard:
        """Assign faces to a person.

        Parameters
        ----------
        face_ids : sequence of int
        person_id : int or None
            None makes a new person of the faces.

        Returns
        -------
        PersonCard
            The person who has the faces now.
        """
        with self._editing(*(() if person_id is None else (person_id,))) as people:
            return self._card(people.move(face_ids, person_id))

    def keep_faces(self, face_ids: Sequence[int]) -> None:
        """Confirm that faces belong to the people they are assigned to.

        Parameters
        ----------
        face_ids : sequence of int
        """
        with self._editing() as people:
            people.keep(face_ids)

    def set_apart(self, one: int, other: int) -> tuple[int, int]:
        """Record that two people are not one.

        Parameters
        ----------
        one, other : int
            Person ids.

        Returns
        -------
        tuple of (int, int)
            A face of each, by which it is recorded.
        """
        with self._editing(one, other) as people:
            return people.apart(one, other)

    def undo(self) -> str | None:
        """Take the newest change to the people back.

        Returns
        -------
        str or None
            What made the change, such as "merge"; None when there was none.
        """
        with self._editing() as people:
            return people.undo()

    def start_cluster(self, *, full: bool = False) -> Job:
        """Begin to group the faces into people.

        Parameters
        ----------
        full : bool, default=False
            Group all faces anew that no human has assigned; otherwise only those of nobody.

        Returns
        -------
        Job
        """
        self.require_edit()
        return self._jobs.start_cluster(full=full)

    def job(self, job_id: str) -> Job:
        """Return how far a job is.

        Parameters
        ----------
        job_id : str

        Returns
        -------
        Job
        """
        return self._jobs.get(job_id)

    def require_edit(self) -> None:
        """Refuse an edit that the server does not allow.

        Raises
        ------
        ProblemError
            The server only reads; status 403.
        """
        if not self.edit:
            detail = "this server only reads; start it with --edit to change something"
            raise ProblemError(403, "read_only", detail)

    @contextlib.contextmanager
    def _searching(self) -> Iterator[IndexStore]:
        """Open the store for a search, in no more threads at a time than there are cores."""
        with self._turns.turn(), self._index.store() as store, one_thread():
            yield store

    @contextlib.contextmanager
    def _studying(self) -> Iterator[IndexStore]:
        """Open the store for work on every face: one at a time, while searches go on."""
        with self._studies, self._index.store() as store:
            require_client()
            yield store

    @contextlib.contextmanager
    def _editing(self, *person_ids: int) -> Iterator[PeopleBook]:
        self.require_edit()
        with self._edits, self._index.store() as store:
            with store.read() as rows:
                for person_id in person_ids:
                    self._person(rows.transaction, person_id)
            yield PeopleBook(lambda: store, lambda: open_store(self.folder, writable=True))
