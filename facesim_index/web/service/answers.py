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
        A process is writing to the index, such as an ingest or a grouping.
    people : dict of str to int
        How many ``people`` there are who are not ignored; how many people have a name
        (``named``) or are ``ignored``; how many ``faces`` are assigned to a person, and how many
        a human ``confirmed``.
    undo : str or None
        The change that `Service.undo` would take back.
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
        The JPEG of each face of the picture by the face's number; empty without a preview.
    """

    answer: QueryAnswer
    preview: Preview | None
    crops: dict[int, bytes]


@dataclass(frozen=True, slots=True)
class UploadComparison:
    """A comparison of two uploaded pictures.

    Attributes
    ----------
    comparison : Comparison
    preview_a, preview_b : Preview or None
    """

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
    """A picture and whose its faces are.

    Attributes
    ----------
    picture : IndexedPicture
    faces : tuple of FaceCard
        Left to right.
    """

    picture: IndexedPicture
    faces: tuple[FaceCard, ...]


@dataclass(frozen=True, slots=True)
class PersonCard:
    """A person, and the face that is shown of them.

    Attributes
    ----------
    row : PersonRow
    cover_face_id : int or None
        None for a person without faces.
    """

    row: PersonRow
    cover_face_id: int | None


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """Some people.

    Attributes
    ----------
    people : tuple of PersonCard
    next : tuple of (int, int), or None
        Number of faces and id of the last person; None when there are no more.
    """

    people: tuple[PersonCard, ...]
    next: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class PersonFacesPage:
    """Some faces of a person.

    Attributes
    ----------
    faces : tuple of FaceCard
    next : int or None
        Id of the last face; None when there are no more.
    """

    faces: tuple[FaceCard, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class ErrorsPage:
    """Some files that could not be used.

    Attributes
    ----------
    files : tuple of FailedFile
    next : tuple of (str, str), or None
        Folder and name of the last file; None when there are no more.
    """

    files: tuple[FailedFile, ...]
    next: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """The most doubtful faces and the most likely merges.

    Attributes
    ----------
    review : Review
    covers : dict of int to int
        The face that is shown of each person concerned, by the person's id.
    """

    review: Review
    covers: dict[int, int]
