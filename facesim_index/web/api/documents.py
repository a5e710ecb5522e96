"""From records to the documents of the API: those of the command line, and a few keys more."""

import base64
import dataclasses
import math
from collections.abc import Mapping

from starlette.responses import Response

from facesim_index.export.documents import (
    Document,
    answer_document,
    box_document,
    check_document,
    comparison_document,
    error_document,
    person_document,
    review_document,
    status_document,
)
from facesim_index.search.answers import QueryAnswer
from facesim_index.utils.text import json_text
from facesim_index.web.api.cursors import cursor_of
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
from facesim_index.web.service.calibration_report import CalibrationPage, ConfirmedPairs
from facesim_index.web.service.crops import Jpeg
from facesim_index.web.service.jobs import Job
from facesim_index.web.service.picture_worker import Preview

SVG_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
MOST_SKIPPED = 10_000
"""Matches beyond this one are not paged through."""


def json_response(document: object, status: int = 200) -> Response:
    """Return a document as JSON; names that are not UTF-8 are escapes, as on the command line."""
    return Response(json_text(document, allow_nan=False), status, media_type="application/json")


def jpeg_response(jpeg: Jpeg, known: str | None) -> Response:
    """Return a picture, or only that the client has it already.

    A client may keep it, but must ask each time whether it is still there.

    Parameters
    ----------
    jpeg : Jpeg
    known : str or None
        The request's ``If-None-Match``.
    """
    headers = {"ETag": jpeg.etag, "Cache-Control": "private, no-cache"}
    if known is not None and jpeg.etag in known:
        return Response(None, 304, headers)
    return Response(jpeg.data, 200, headers, "image/jpeg")


def server_document(status: ServerStatus) -> Document:
    """Return the status."""
    return {
        **status_document(status.index),
        "edit": status.edit,
        "writer_active": status.writer_active,
        "people": status.people,
        "undo": status.undo,
    }


def upload_document(found: UploadAnswer) -> Document:
    """Return the answer to a query by an uploaded picture."""
    document = answer_document(found.answer)
    if found.preview is not None:
        document["picture"] = preview_document(found.preview)
        faces = document["faces"]
        assert isinstance(faces, list)
        for face, answered in zip(faces, found.answer.faces, strict=True):
            face["crop"] = data_url(found.crops[answered.face])
    return document


def upload_comparison_document(found: UploadComparison) -> Document:
    """Return a comparison of two uploaded pictures."""
    document = comparison_document(found.comparison)
    for name, preview in (("a", found.preview_a), ("b", found.preview_b)):
        side = document[name]
        assert isinstance(side, dict)
        if preview is not None:
            side["picture"] = preview_document(preview)
    return document


def preview_document(preview: Preview) -> Document:
    """Return a reduced picture."""
    return {
        "data": data_url(preview.jpeg),
        "width": preview.width_px,
        "height": preview.height_px,
        "scale": preview.scale,
        "boxes": [list(box) for box in preview.boxes],
        "landmarks": [[list(point) for point in face] for face in preview.landmarks],
    }


def data_url(jpeg: bytes) -> str:
    """Return a JPEG as a URL that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def face_document(card: FaceCard) -> Document:
    """Return an indexed face."""
    face = card.face
    quality = face.quality
    return {
        "face_id": face.face_id,
        "image_id": face.image_id,
        "face": face.ordinal,
        "path": face.path,
        "paths": list(face.paths),
        "box": box_document(face.box),
        "landmarks": [[round(x, 1), round(y, 1)] for x, y in face.landmarks.tolist()],
        "detection": round(face.detection, 4),
        "quality": {
            "size_px": round(quality.size_px, 1),
            "sharpness": round(quality.sharpness, 1),
            "yaw_deg": round(quality.yaw_deg, 1),
            "roll_deg": round(quality.roll_deg, 1),
        },
        "person_id": card.person_id,
        "person": card.person,
        "confirmed": card.confirmed,
    }


def picture_document(card: PictureCard) -> Document:
    """Return an indexed picture."""
    picture = card.picture
    return {
        "image_id": picture.image_id,
        "path": picture.paths[0] if picture.paths else "",
        "paths": list(picture.paths),
        "width": picture.width_px,
        "height": picture.height_px,
        "taken_at": picture.taken_at,
        "status": picture.status.value,
        "message": picture.failure,
        "faces": [face_document(face) for face in card.faces],
    }


def person_card_document(card: PersonCard) -> Document:
    """Return a person."""
    return {**person_document(card.row), "cover_face_id": card.cover_face_id}


def people_document(page: PeoplePage) -> Document:
    """Return some people."""
    people = [person_card_document(card) for card in page.people]
    return {"people": people, "next": None if page.next is None else cursor_of(*page.next)}


def faces_document(page: PersonFacesPage) -> Document:
    """Return some faces of a person."""
    faces = [face_document(card) for card in page.faces]
    return {"faces": faces, "next": None if page.next is None else cursor_of(page.next)}


def errors_document(page: ErrorsPage) -> Document:
    """Return some files that could not be used."""
    files = [error_document(failed) for failed in page.files]
    return {"errors": files, "next": None if page.next is None else cursor_of(*page.next)}


def review_page_document(page: ReviewPage) -> Document:
    """Return what is most doubtful."""
    document = review_document(page.review)
    questions = document["questions"]
    assert isinstance(questions, list)
    for question in questions:
        question["cover_face_id"] = _cover(page.covers, question["person"])
        question["other_cover_face_id"] = _cover(page.covers, question["other_person"])
    return document


def calibration_document(page: CalibrationPage) -> Document:
    """Return how well the calibration fits."""
    return {
        **_finite(check_document(page.check)),
        "prior": page.prior,
        "prior_low": page.prior_low,
        "prior_high": page.prior_high,
        "confirmed": None if page.confirmed is None else _confirmed_document(page.confirmed),
    }


def _finite(document: Document) -> Document:
    """Say null of a number that is none, or is infinite: JSON has no word for it."""

    def clean(part: object) -> object:
        if isinstance(part, dict):
            return {name: clean(value) for name, value in part.items()}
        if isinstance(part, list | tuple):
            return [clean(value) for value in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    return {name: clean(value) for name, value in document.items()}


def _confirmed_document(pairs: ConfirmedPairs) -> Document:
    names = ("claimed", "observed", "low", "high", "genuine", "impostor")
    columns = [getattr(pairs.reliability, name).tolist() for name in names]
    return {
        "n_people": pairs.n_people,
        "n_genuine": pairs.n_genuine,
        "n_impostor": pairs.n_impostor,
        "bins": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)],
    }


def svg_response(svg: bytes) -> Response:
    """Return a drawing of ours: it brings its styles along, and is sealed for itself."""
    return Response(svg, 200, {"Content-Security-Policy": SVG_CSP}, "image/svg+xml")


def job_document(job: Job) -> Document:
    """Return how far a job is."""
    return dataclasses.asdict(job)


def part_of(answer: QueryAnswer, *, skip: int, top: int) -> tuple[QueryAnswer, str | None]:
    """Return an answer without its first matches, and the cursor of those that follow.

    Parameters
    ----------
    answer : QueryAnswer
        Of one face, for `skip` and `top` matches together.
    skip, top : int
    """
    [face] = answer.faces
    shown = dataclasses.replace(face, matches=face.matches[skip:])
    following = skip + top
    more = len(face.matches) == following < MOST_SKIPPED
    part = dataclasses.replace(answer, faces=(shown,))
    return part, cursor_of(following) if more else None


def _cover(covers: Mapping[int, int], person_id: int | None) -> int | None:
    return None if person_id is None else covers.get(person_id)
