"""What both the API and the pages ask of an index: one method a question, records as answers."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import Prior
from facesim_index.engine.base import EngineSettings
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.people.review import doubtful_faces, review_people
from facesim_index.records import FaceId, FaceRecord, ImageId
from facesim_index.search import comparison, queries
from facesim_index.search.answers import QueryAnswer
from facesim_index.search.person import query_person
from facesim_index.search.queries import QueryOptions
from facesim_index.session.people_book import PeopleBook
from facesim_index.store.catalog import browsing, face_rows, index_state, people_rows, picture_rows
from facesim_index.store.catalog.people_rows import PersonRow
from facesim_index.store.catalog.transaction import Transaction
from facesim_index.store.opening import one_thread, open_store
from facesim_index.store.protocols import IndexStore
from facesim_index.upkeep.status import index_status
from facesim_index.utils.threads import usable_cores
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.problems import NotFoundError, ProblemError
from facesim_index.web.service.answers import (
    ErrorsPage,
    FaceCard,
    PeoplePage,
    PersonCard,
    PersonFacesPage,
    PictureCard,
    ReviewPage,
    ServerStatus,
    UploadAnswer,
    UploadComparison,
)
from facesim_index.web.service.calibration_report import CalibrationPage, CalibrationPages
from facesim_index.web.service.crops import Crops, Jpeg
from facesim_index.web.service.jobs import Job, Jobs
from facesim_index.web.service.open_index import OpenIndex
from facesim_index.web.service.picture_worker import CropTask
from facesim_index.web.service.turns import Turns
from facesim_index.web.service.uploads import Uploads


class Service:
    """An index as a server shows it; every method may be called from any thread.

    What is not there raises `NotFoundError`, an edit without `edit` a `ProblemError` 403, all
    else a `FacesimError`.

    Parameters
    ----------
    folder : Path
        The index.
    edit : bool, default=False
        Allow what changes the people.
    engine : EngineSettings, optional
        Which engine reads uploads; by default the one that the index was built with.
    limits : Limits, optional
    """

    def __init__(
        self,
        folder: Path,
        *,
        edit: bool = False,
        engine: EngineSettings | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.folder = folder
        self.edit = edit
        self.limits = limits or Limits()
        self._index = OpenIndex(folder)
        self._uploads = Uploads(self._index, engine, self.limits)
        self._crops = Crops(self.limits)
        self._jobs = Jobs(folder)
        self._calibration = CalibrationPages()
        self._turns = Turns(usable_cores())
        self._studies = threading.Lock()
        self._edits = threading.Lock()

    def close(self) -> None:
        """Stop all workers and let go of the index."""
        self._uploads.close()
        self._crops.close()
        self._jobs.close()
        self._index.close()

    def refresh(self) -> None:
        """Let go of what is gone: files that a writer has removed, crops of forgotten faces.

        To be called now and then, for nobody may ask anything for a long time.
        """
        with self._index.store() as store, store.view(partial=True) as view:
            for kind, living in (
                ("face", browsing.living_faces),
                ("image", browsing.living_images),
            ):
                kept = self._crops.kept(kind)
                for number in kept - living(view.transaction, kept):
                    self._crops.drop(kind, number)

    def status(self) -> ServerStatus:
        """Return what is in the index, and what goes on."""
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

    def n_faces(self) -> int:
        """Return how many faces there are."""
        with self._reading() as transaction:
            return index_state.counts(transaction)["faces"]

    def sample_faces(self, most: int) -> list[FaceCard]:
        """Return some faces from all over the index."""
        with self._reading() as transaction:
            ids = face_rows.face_ids(transaction)
            chosen = ids[:: max(1, len(ids) // most)][:most]
            return self._cards(transaction, face_rows.faces(transaction, chosen))

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
        """Return the degree that two uploaded pictures show one person."""
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

    def face(self, face_id: int) -> FaceCard:
        """Return a face, and whose it is."""
        with self._reading() as transaction:
            return self._cards(transaction, [self._face(transaction, face_id)])[0]

    def face_matches(self, face_id: int, options: QueryOptions | None = None) -> QueryAnswer:
        """Return the faces most similar to one of the index."""
        with self._searching() as store, store.view(partial=True) as view:
            try:
                return queries.query_face(view, FaceId(face_id), options)
            except UsageError:
                self._face(view.transaction, face_id)  # is it that there is none?
                raise

    def face_crop(self, face_id: int, side_px: int = 160) -> Jpeg:
        """Return the upright crop of a face as a JPEG."""
        with self._reading() as transaction:
            face = self._face(transaction, face_id)
            content_hash = picture_rows.content_hashes(transaction, [face.image_id])[face.image_id]
        task = CropTask(face.paths, content_hash, side_px, face.landmarks)
        return self._crops.get("face", face_id, task)

    def image(self, image_id: int) -> PictureCard:
        """Return a picture with its faces."""
        with self._reading() as transaction:
            picture = browsing.picture(transaction, ImageId(image_id))
            if picture is None:
                raise self._no_image(image_id)
            return PictureCard(picture, tuple(self._cards(transaction, picture.faces)))

    def image_picture(self, image_id: int, side_px: int = 1600) -> Jpeg:
        """Return a picture as an upright JPEG whose longer side is at most so long."""
        with self._reading() as transaction:
            picture = browsing.picture(transaction, ImageId(image_id))
        if picture is None:
            raise self._no_image(image_id)
        task = CropTask(picture.paths, picture.content_hash, side_px)
        return self._crops.get("image", image_id, task)

    def people(
        self,
        *,
        min_faces: int = 1,
        ignored: bool | None = False,
        named: bool | None = None,
        limit: int = 100,
        after: tuple[int, int] | None = None,
    ) -> PeoplePage:
        """Return some of the people, those with most faces first.

        Parameters
        ----------
        min_faces : int, default=1
        ignored : bool or None, default=False
            Only those who are ignored, or only those who are not; None for both.
        named : bool, optional
            Only those with a name, or only those without.
        limit : int, default=100
        after : tuple of int, optional
            `PeoplePage.next` of the page before.
        """
        wanted = browsing.PeopleWanted(min_faces, ignored, named)
        with self._reading() as transaction:
            rows = browsing.people_after(transaction, wanted, after, limit + 1)
            page = rows[:limit]
            covers = browsing.covers(transaction, [row.person_id for row in page])
        cards = tuple(PersonCard(row, covers.get(row.person_id)) for row in page)
        last = page[-1] if len(rows) > limit else None
        return PeoplePage(cards, None if last is None else (last.n_faces, last.person_id))

    def person(self, person_id: int) -> PersonCard:
        """Return a person."""
        with self._reading() as transaction:
            row = self._person(transaction, person_id)
            return PersonCard(row, browsing.covers(transaction, [person_id]).get(person_id))

    def person_faces(
        self, person_id: int, *, limit: int = 100, after: int | None = None
    ) -> PersonFacesPage:
        """Return some of the faces of a person, in the order of their ids.

        Parameters
        ----------
        person_id : int
        limit : int, default=100
        after : int, optional
            `PersonFacesPage.next` of the page before.
        """
        with self._reading() as transaction:
            self._person(transaction, person_id)
            ids = people_rows.assignments_of(transaction, [person_id]).face_ids
            ids = ids[ids > (after or 0)]
            records = face_rows.faces(transaction, ids[:limit])
            cards = tuple(self._cards(transaction, records))
        return PersonFacesPage(cards, int(ids[limit - 1]) if len(ids) > limit else None)

    def doubtful_faces(self, person_id: int, *, below: float) -> list[tuple[FaceCard, float]]:
        """Return the faces of a person that are hardly like the others, with their degrees.

        Those that a human confirmed are not among them; without a usable calibration none is.
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

    def some_faces_of(self, person_id: int, most: int) -> tuple[int, ...]:
        """Return the first faces of a person."""
        with self._reading() as transaction:
            ids = people_rows.assignments_of(transaction, [person_id]).face_ids
        return tuple(ids[:most].tolist())

    def person_matches(self, person_id: int, options: QueryOptions | None = None) -> QueryAnswer:
        """Return the faces that are most likely a person's, those it has among them."""
        with self._searching() as store, store.view() as view:
            row = self._person(view.transaction, person_id)
            return query_person(view, row, options or QueryOptions())

    def review(self, *, top: int = 20, prior: Prior = "gallery") -> ReviewPage:
        """Return the most doubtful faces and the most likely merges."""
        with self._studying() as store, store.view() as view:
            found = review_people(view, top=top, prior=prior)
            asked = {item.person_id for item in found.doubtful}
            asked |= {
                side.person_id
                for item in found.merges
                for side in (item.a, item.b)
                if side.person_id is not None
            }
            return ReviewPage(found, browsing.covers(view.transaction, asked))

    def errors(self, *, limit: int = 100, after: tuple[str, str] | None = None) -> ErrorsPage:
        """Return some of the files that could not be used, by path.

        Parameters
        ----------
        limit : int, default=100
        after : tuple of str, optional
            `ErrorsPage.next` of the page before.
        """
        with self._reading() as transaction:
            rows = browsing.failed_files_after(transaction, after, limit + 1)
        place = rows[limit - 1][0] if len(rows) > limit else None
        return ErrorsPage(tuple(failed for _, failed in rows[:limit]), place)

    def calibration(self) -> CalibrationPage:
        """Return how well the calibration in force fits the pictures of the index."""
        with self._studying() as store:
            return self._calibration.page(store)

    def name_person(self, person_id: int, name: str | None) -> PersonCard:
        """Give a person a name; None takes it away."""
        with self._editing(person_id) as people:
            return self._card(people.name(person_id, name))

    def ignore_person(self, person_id: int, *, ignored: bool = True) -> PersonCard:
        """Leave a person out of lists, or no longer."""
        with self._editing(person_id) as people:
            return self._card(people.ignore(person_id, ignored=ignored))

    def merge_people(self, person_ids: Sequence[int]) -> PersonCard:
        """Say that people are one: the first keeps its number and its name."""
        with self._editing(*person_ids) as people:
            return self._card(people.merge(*person_ids))

    def split_person(self, person_id: int, face_ids: Sequence[int]) -> PersonCard:
        """Say that some faces of a person are somebody else's; return the new person."""
        with self._editing(person_id) as people:
            return self._card(people.split(person_id, face_ids))

    def move_faces(self, face_ids: Sequence[int], person_id: int | None) -> PersonCard:
        """Say whose faces are; None makes a new person of them."""
        with self._editing(*(() if person_id is None else (person_id,))) as people:
            return self._card(people.move(face_ids, person_id))

    def keep_faces(self, face_ids: Sequence[int]) -> None:
        """Say that faces are those of the people they are with."""
        with self._editing() as people:
            people.keep(face_ids)

    def set_apart(self, one: int, other: int) -> tuple[int, int]:
        """Say that two people are not one; return the faces by which that is remembered."""
        with self._editing(one, other) as people:
            return people.apart(one, other)

    def undo(self) -> str | None:
        """Take the newest change to the people back; return what made it, None without any."""
        with self._editing() as people:
            return people.undo()

    def start_cluster(self, *, full: bool = False) -> Job:
        """Begin to group the faces into people."""
        self.require_edit()
        return self._jobs.start_cluster(full=full)

    def job(self, job_id: str) -> Job:
        """Return how far a job is."""
        return self._jobs.get(job_id)

    def require_edit(self) -> None:
        """Refuse an edit that the server does not allow."""
        if not self.edit:
            detail = "this server only reads; start it with --edit to change something"
            raise ProblemError(403, "read_only", detail)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Transaction]:
        with self._index.store() as store, store.read() as rows:
            yield rows.transaction

    @contextlib.contextmanager
    def _searching(self) -> Iterator[IndexStore]:
        """Give the store to as many threads as there are cores: more would only wait inside."""
        with self._turns.turn(), self._index.store() as store, one_thread():
            yield store

    @contextlib.contextmanager
    def _studying(self) -> Iterator[IndexStore]:
        """Give the store for what looks at every face: one at a time, beside the searches."""
        with self._studies, self._index.store() as store:
            yield store

    @contextlib.contextmanager
    def _editing(self, *person_ids: int) -> Iterator[PeopleBook]:
        self.require_edit()
        with self._edits, self._index.store() as store:
            with store.read() as rows:
                for person_id in person_ids:
                    self._person(rows.transaction, person_id)
            yield PeopleBook(lambda: store, lambda: open_store(self.folder, writable=True))

    def _face(self, transaction: Transaction, face_id: int) -> FaceRecord:
        found = face_rows.faces(transaction, np.array([face_id], dtype=np.int64))
        if not found:
            raise self._no_face(face_id)
        return found[0]

    def _no_face(self, face_id: int) -> NotFoundError:
        self._crops.drop("face", face_id)
        return NotFoundError(f"there is no face {face_id} in the index")

    def _no_image(self, image_id: int) -> NotFoundError:
        self._crops.drop("image", image_id)
        return NotFoundError(f"there is no picture {image_id} in the index")

    def _person(self, transaction: Transaction, person_id: int) -> PersonRow:
        rows = people_rows.persons(transaction, [person_id])
        if not rows:
            raise NotFoundError(f"there is no person {person_id} in the index")
        return rows[0]

    def _card(self, row: PersonRow) -> PersonCard:
        with self._reading() as transaction:
            covers = browsing.covers(transaction, [row.person_id])
        return PersonCard(row, covers.get(row.person_id))

    def _cards(self, transaction: Transaction, faces: Sequence[FaceRecord]) -> list[FaceCard]:
        found = people_rows.assignments_among(transaction, [face.face_id for face in faces])
        owners = {
            face_id: (person_id, confirmed)
            for face_id, person_id, confirmed in zip(
                found.face_ids.tolist(),
                found.person_ids.tolist(),
                found.confirmed.tolist(),
                strict=True,
            )
        }
        names = people_rows.names(transaction, {person_id for person_id, _ in owners.values()})
        nobody = (None, False)
        cards = []
        for face in faces:
            person_id, confirmed = owners.get(face.face_id, nobody)
            name = None if person_id is None else names.get(person_id)
            cards.append(FaceCard(face, person_id, name, confirmed))
        return cards
