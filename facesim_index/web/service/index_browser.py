"""What is in the index of a server: its faces, pictures and people, as cards and pages."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from facesim_index.records import FaceRecord, ImageId
from facesim_index.store.catalog import browsing, face_rows, people_rows, picture_rows
from facesim_index.store.catalog.people_rows import PersonRow
from facesim_index.store.catalog.transaction import Transaction
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.problems import NotFoundError
from facesim_index.web.service.answers import (
    ErrorsPage,
    FaceCard,
    PeoplePage,
    PersonCard,
    PersonFacesPage,
    PictureCard,
)
from facesim_index.web.service.crops import Crops, Jpeg
from facesim_index.web.service.open_index import OpenIndex
from facesim_index.web.service.picture_worker import CropTask


class IndexBrowser:
    """An index whose contents are looked through; every method may be called from any thread.

    An id that the index does not have raises `NotFoundError`, anything else that goes wrong a
    `FacesimError`.

    Parameters
    ----------
    folder : Path
        The index.
    limits : Limits
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self._index = OpenIndex(folder)
        self._crops = Crops(limits)

    def close(self) -> None:
        """Stop the workers and let go of the index."""
        self._crops.close()
        self._index.close()

    def refresh(self) -> None:
        """Let go of what is gone: files that a writer has removed, crops of forgotten faces.

        It must be called from time to time, because there may be no request for a long time.
        """
        with self._index.store() as store, store.view(partial=True) as view:
            for kind, living in (
                ("face", browsing.living_faces),
                ("image", browsing.living_images),
            ):
                kept = self._crops.kept(kind)
                for number in kept - living(view.transaction, kept):
                    self._crops.drop(kind, number)

    def n_faces(self) -> int:
        """Return how many faces there are.

        Returns
        -------
        int
        """
        with self._reading() as transaction:
            return face_rows.n_faces(transaction)

    def sample_faces(self, most: int) -> list[FaceCard]:
        """Return some faces from all over the index.

        Parameters
        ----------
        most : int
            How many at most, at least 1.

        Returns
        -------
        list of FaceCard
            Evenly spread over the face ids.
        """
        with self._reading() as transaction:
            ids = face_rows.face_ids(transaction)
            chosen = ids[:: max(1, len(ids) // most)][:most]
            return self._cards(transaction, face_rows.faces(transaction, chosen))

    def face(self, face_id: int) -> FaceCard:
        """Return a face, and whose it is.

        Parameters
        ----------
        face_id : int

        Returns
        -------
        FaceCard
        """
        with self._reading() as transaction:
            return self._cards(transaction, [self._face(transaction, face_id)])[0]

    def face_crop(self, face_id: int, side_px: int = 160) -> Jpeg:
        """Return the upright crop of a face.

        Parameters
        ----------
        face_id : int
        side_px : int, default=160
            Side of the square crop.

        Returns
        -------
        Jpeg
        """
        with self._reading() as transaction:
            face = self._face(transaction, face_id)
            content_hash = picture_rows.content_hashes(transaction, [face.image_id])[face.image_id]
        task = CropTask(face.paths, content_hash, side_px, face.landmarks)
        return self._crops.get("face", face_id, task)

    def image(self, image_id: int) -> PictureCard:
        """Return a picture with its faces.

        Parameters
        ----------
        image_id : int

        Returns
        -------
        PictureCard
        """
        with self._reading() as transaction:
            picture = browsing.picture(transaction, ImageId(image_id))
            if picture is None:
                raise self._no_image(image_id)
            return PictureCard(picture, tuple(self._cards(transaction, picture.faces)))

    def image_picture(self, image_id: int, side_px: int = 1600) -> Jpeg:
        """Return a picture, upright and reduced.

        Parameters
        ----------
        image_id : int
        side_px : int, default=1600
            The longer side is at most so long.

        Returns
        -------
        Jpeg
        """
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
            Only people with so many faces or more.
        ignored : bool or None, default=False
            Only those who are ignored, or only those who are not; None for both.
        named : bool, optional
            Only those with a name, or only those without.
        limit : int, default=100
            How many at most, at least 1.
        after : tuple of int, optional
            `PeoplePage.next` of the page before.

        Returns
        -------
        PeoplePage
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
        """Return a person.

        Parameters
        ----------
        person_id : int

        Returns
        -------
        PersonCard
        """
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
            How many at most, at least 1.
        after : int, optional
            `PersonFacesPage.next` of the page before.

        Returns
        -------
        PersonFacesPage
        """
        with self._reading() as transaction:
            self._person(transaction, person_id)
            ids = people_rows.assignments_of(transaction, [person_id]).face_ids
            ids = ids[ids > (after or 0)]
            records = face_rows.faces(transaction, ids[:limit])
            cards = tuple(self._cards(transaction, records))
        return PersonFacesPage(cards, int(ids[limit - 1]) if len(ids) > limit else None)

    def some_faces_of(self, person_id: int, most: int) -> tuple[int, ...]:
        """Return the first faces of a person.

        Parameters
        ----------
        person_id : int
        most : int
            How many at most.

        Returns
        -------
        tuple of int
            Face ids, ascending; empty for a person that does not exist.
        """
        with self._reading() as transaction:
            ids = people_rows.assignments_of(transaction, [person_id]).face_ids
        return tuple(ids[:most].tolist())

    def errors(self, *, limit: int = 100, after: tuple[str, str] | None = None) -> ErrorsPage:
        """Return some of the files that could not be used, by path.

        Parameters
        ----------
        limit : int, default=100
            How many at most, at least 1.
        after : tuple of str, optional
            `ErrorsPage.next` of the page before.

        Returns
        -------
        ErrorsPage
        """
        with self._reading() as transaction:
            rows = browsing.failed_files_after(transaction, after, limit + 1)
        place = rows[limit - 1][0] if len(rows) > limit else None
        return ErrorsPage(tuple(failed for _, failed in rows[:limit]), place)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Transaction]:
        with self._index.store() as store, store.read() as rows:
            yield rows.transaction

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
