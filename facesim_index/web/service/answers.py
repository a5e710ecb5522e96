"""What `Service` answers beyond the library's own records."""

from dataclasses import dataclass

from facesim_index.people.review import Review
from facesim_index.records import FaceRecord
from facesim_index.search.answers import Comparison, QueryAnswer
from facesim_index.store.catalog.browsing import IndexedPicture
from facesim_index.store.catalog.people_rows import PersonRow
from facesim_index.store.records import FailedFile
from facesim_index.upkeep.status import IndexStatus
from facesim_index.web.service.picture_worker import Preview


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is in the index, and what goes on.

    Attributes
    ----------
    index : IndexStatus
    edit : bool
        People may be changed.
    writer_active : bool
        Somebody is writing to the index: an ingest, a grouping.
    people : dict
        How many ``people`` there are, ``named`` and ``ignored`` ones, and how many ``faces``
        are somebody's, and ``confirmed`` by a human.
    undo : str or None
        What `undo` would take back.
    """

    index: IndexStatus
    edit: bool
    writer_active: bool
    people: dict[str, int]
    undo: str | None


@dataclass(frozen=True, slots=True)
class UploadAnswer:
    """The answer to a query by an uploaded picture.

    Attributes
    ----------
    answer : QueryAnswer
    preview : Preview or None
    crops : dict of int to bytes
        JPEG of a face of the picture, by its number.
    """

    answer: QueryAnswer
    preview: Preview | None
    crops: dict[int, bytes]


@dataclass(frozen=True, slots=True)
class UploadComparison:
    """A comparison of two uploaded pictures."""

    comparison: Comparison
    preview_a: Preview | None
    preview_b: Preview | None


@dataclass(frozen=True, slots=True)
class FaceCard:
    """A face and whose it is.

    Attributes
    ----------
    face : FaceRecord
    person_id : int or None
    person : str or None
        The name.
    confirmed : bool
        A human said so.
    """

    face: FaceRecord
    person_id: int | None
    person: str | None
    confirmed: bool


@dataclass(frozen=True, slots=True)
class PictureCard:
    """A picture and whose its faces are."""

    picture: IndexedPicture
    faces: tuple[FaceCard, ...]


@dataclass(frozen=True, slots=True)
class PersonCard:
    """A person, and the face by which one best knows them."""

    row: PersonRow
    cover_face_id: int | None


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """Some people; `next` is the place of the last one when there are more."""

    people: tuple[PersonCard, ...]
    next: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class PersonFacesPage:
    """Some faces of a person; `next` is the id of the last one when there are more."""

    faces: tuple[FaceCard, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class ErrorsPage:
    """Some files that could not be used; `next` is the place of the last when there are more."""

    files: tuple[FailedFile, ...]
    next: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """What is most doubtful, and the cover faces of the people concerned."""

    review: Review
    covers: dict[int, int]
