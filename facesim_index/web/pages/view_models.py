"""What the templates of the pages show beyond the records that the service returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from facesim_index.people.review import DoubtfulFace, LikelyMerge
from facesim_index.people.review import Side as ReviewSide
from facesim_index.records import Box
from facesim_index.web.api.documents import data_url
from facesim_index.web.pages.wording import file_name, person_text
from facesim_index.web.service.answers import ReviewPage
from facesim_index.web.service.picture_worker import Preview

_THUMBNAILS = 4


@dataclass(frozen=True, slots=True)
class BoxedFace:
    """A face in a picture that was reduced.

    Attributes
    ----------
    face : int
        Its number, left to right, from 0.
    box : Box
        In pixels of the reduced picture.
    landmarks : tuple of (x, y)
        Five points, in pixels of the reduced picture.
    """

    face: int
    box: Box
    landmarks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class BoxedPicture:
    """An uploaded picture, reduced, with its faces.

    Attributes
    ----------
    data : str
        A URL that holds the picture as a JPEG.
    width, height : int
        In pixels.
    faces : tuple of BoxedFace
        Left to right.
    """

    data: str
    width: int
    height: int
    faces: tuple[BoxedFace, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sides that a question is about: a person, or a face of nobody.

    Attributes
    ----------
    person_id, face_id : int or None
        Exactly one of them is None.
    cover : int
        Id of the face that is shown.
    who, whose : str
        The name, and its possessive: ``Anna``, ``Anna’s``.
    n_faces : int
        How many faces the side has; 0 where that is not shown.
    more : tuple of int
        Other faces of the person.
    """

    person_id: int | None
    face_id: int | None
    cover: int
    who: str
    whose: str
    n_faces: int
    more: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A question on people: whether a face is a person's, or whether two sides are one person.

    Attributes
    ----------
    kind : {"face", "merge"}
    degree : float
        The probability that the answer is yes, in [0, 1].
    a : Side
        The person, where only one side is a person.
    b : Side
    """

    kind: Literal["face", "merge"]
    degree: float
    a: Side
    b: Side


FacesOf = Callable[[int, int], tuple[int, ...]]
"""Takes the id of a person and a number, and returns the ids of so many faces at most."""


def boxed_picture(preview: Preview) -> BoxedPicture:
    """Return an uploaded picture as pages show it.

    Parameters
    ----------
    preview : Preview

    Returns
    -------
    BoxedPicture
    """
    faces = tuple(
        BoxedFace(number, Box(*box), landmarks)
        for number, (box, landmarks) in enumerate(
            zip(preview.boxes, preview.landmarks, strict=True)
        )
    )
    return BoxedPicture(data_url(preview.jpeg), preview.width_px, preview.height_px, faces)


def questions(page: ReviewPage, faces_of: FacesOf) -> list[Question]:
    """Return what a human should look at: the likely merges, then the doubtful faces.

    Parameters
    ----------
    page : ReviewPage
    faces_of : callable
        Returns faces of a person to show beside the cover.

    Returns
    -------
    list of Question
    """
    merges = [_merge_question(item, page.covers, faces_of) for item in page.review.merges]
    doubtful = [_face_question(item, page.covers, faces_of) for item in page.review.doubtful]
    return merges + doubtful


def _face_question(item: DoubtfulFace, covers: dict[int, int], faces_of: FacesOf) -> Question:
    others = tuple(i for i in faces_of(item.person_id, _THUMBNAILS + 2) if i != item.face_id)
    cover = covers.get(item.person_id, item.face_id)
    if cover == item.face_id and others:
        cover = others[0]
    who = person_text(item.name, item.person_id)
    more = tuple(face for face in others if face != cover)[:_THUMBNAILS]
    person = Side(item.person_id, None, cover, who, _whose(who), 0, more)
    return Question("face", item.degree, person, _face(item.face_id, item.path))


def _merge_question(item: LikelyMerge, covers: dict[int, int], faces_of: FacesOf) -> Question:
    a, b = (_side(side, covers, faces_of) for side in (item.a, item.b))
    if a.person_id is None and b.person_id is not None:
        a, b = b, a
    return Question("merge", item.degree, a, b)


def _side(side: ReviewSide, covers: dict[int, int], faces_of: FacesOf) -> Side:
    if side.person_id is None:
        return _face(side.face_id or 0, side.path)
    found = faces_of(side.person_id, _THUMBNAILS + 1)
    cover = covers.get(side.person_id, found[0] if found else 0)
    more = tuple(face for face in found if face != cover)[:_THUMBNAILS]
    who = person_text(side.name, side.person_id)
    return Side(side.person_id, None, cover, who, _whose(who), side.n_faces, more)


def _face(face_id: int, path: str) -> Side:
    name = file_name(path)
    return Side(None, face_id, face_id, name, _whose(name), 1)


def _whose(who: str) -> str:
    return f"{who}’" if who.endswith("s") else f"{who}’s"
