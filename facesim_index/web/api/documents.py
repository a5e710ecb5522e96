"""The documents of the API, made of records: those of the command line with a few more keys."""

import base64
import dataclasses
import math
from collections.abc import Mapping

from facesim_index.export.documents import (
    answer_document,
    box_document,
    check_document,
    comparison_document,
    error_document,
    person_document,
    review_document,
    status_document,
)
from facesim_index.export.schemas import Level, Preview
from facesim_index.search.answers import QueryAnswer
from facesim_index.web.api import schemas
from facesim_index.web.api.cursors import MOST_SKIPPED, cursor_of
from facesim_index.web.service import answers, picture_worker
from facesim_index.web.service.calibration_report import CalibrationPage, ConfirmedPairs
from facesim_index.web.service.jobs import Job


def server_document(status: answers.ServerStatus) -> schemas.Status:
    """Return what is in the index, and what goes on.

    Parameters
    ----------
    status : ServerStatus

    Returns
    -------
    schemas.Status
    """
    return {
        **status_document(status.index),
        "edit": status.edit,
        "writer_active": status.writer_active,
        "people": status.people,
        "undo": status.undo,
    }


def matches_document(answer: QueryAnswer, *, skip: int, top: int) -> schemas.Answer:
    """Return a page of the matches of one face.

    Parameters
    ----------
    answer : QueryAnswer
        Of one face, for `skip` and `top` matches together.
    skip : int
        How many matches were on the pages before, from 0 to `MOST_SKIPPED`.
    top : int
        How many matches a page has at most, at least 1.

    Returns
    -------
    schemas.Answer
        Without the matches that were skipped; `next` is the cursor of those that follow, None
        where there are no more.
    """
    [face] = answer.faces
    shown = dataclasses.replace(face, matches=face.matches[skip:])
    following = skip + top
    more = len(face.matches) == following < MOST_SKIPPED
    document = answer_document(dataclasses.replace(answer, faces=(shown,)))
    document["next"] = cursor_of(following) if more else None
    return document


def upload_document(found: answers.UploadAnswer) -> schemas.Answer:
    """Return the answer to a query by an uploaded picture.

    Parameters
    ----------
    found : UploadAnswer

    Returns
    -------
    schemas.Answer
        With the reduced picture and the crops of its faces where `found` has them.
    """
    document = answer_document(found.answer)
    if found.preview is not None:
        document["picture"] = preview_document(found.preview)
        for face in document["faces"]:
            face["crop"] = data_url(found.crops[face["face"]])
    return document


def upload_comparison_document(found: answers.UploadComparison) -> schemas.Comparison:
    """Return a comparison of two uploaded pictures.

    Parameters
    ----------
    found : UploadComparison

    Returns
    -------
    schemas.Comparison
        With the reduced pictures where `found` has them.
    """
    document = comparison_document(found.comparison)
    if found.preview_a is not None:
        document["a"]["picture"] = preview_document(found.preview_a)
    if found.preview_b is not None:
        document["b"]["picture"] = preview_document(found.preview_b)
    return document


def preview_document(preview: picture_worker.Preview) -> Preview:
    """Return a reduced picture.

    Parameters
    ----------
    preview : picture_worker.Preview

    Returns
    -------
    Preview
    """
    return {
        "data": data_url(preview.jpeg),
        "width": preview.width_px,
        "height": preview.height_px,
        "scale": preview.scale,
        "boxes": list(preview.boxes),
        "landmarks": [list(face) for face in preview.landmarks],
    }


def data_url(jpeg: bytes) -> str:
    """Return a JPEG as a URL that holds it.

    Parameters
    ----------
    jpeg : bytes

    Returns
    -------
    str

    Examples
    --------
    >>> data_url(b"a JPEG")
    'data:image/jpeg;base64,YSBKUEVH'
    """
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def face_document(card: answers.FaceCard) -> schemas.Face:
    """Return an indexed face.

    Parameters
    ----------
    card : FaceCard

    Returns
    -------
    schemas.Face
        Positions, lengths and angles to one decimal.
    """
    face = card.face
    quality = face.quality
    return {
        "face_id": face.face_id,
        "image_id": face.image_id,
        "face": face.ordinal,
        "path": face.path,
        "paths": list(face.paths),
        "box": box_document(face.box),
        "landmarks": [(round(x, 1), round(y, 1)) for x, y in face.landmarks.tolist()],
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


def picture_document(card: answers.PictureCard) -> schemas.Picture:
    """Return an indexed picture.

    Parameters
    ----------
    card : PictureCard

    Returns
    -------
    schemas.Picture
    """
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


def person_card_document(card: answers.PersonCard) -> schemas.Person:
    """Return a person.

    Parameters
    ----------
    card : PersonCard

    Returns
    -------
    schemas.Person
    """
    return {**person_document(card.row), "cover_face_id": card.cover_face_id}


def people_document(page: answers.PeoplePage) -> schemas.People:
    """Return a page of the people.

    Parameters
    ----------
    page : PeoplePage

    Returns
    -------
    schemas.People
    """
    people = [person_card_document(card) for card in page.people]
    return {"people": people, "next": None if page.next is None else cursor_of(*page.next)}


def faces_document(page: answers.PersonFacesPage) -> schemas.Faces:
    """Return a page of the faces of a person.

    Parameters
    ----------
    page : PersonFacesPage

    Returns
    -------
    schemas.Faces
    """
    faces = [face_document(card) for card in page.faces]
    return {"faces": faces, "next": None if page.next is None else cursor_of(page.next)}


def errors_document(page: answers.ErrorsPage) -> schemas.Errors:
    """Return a page of the files that could not be used.

    Parameters
    ----------
    page : ErrorsPage

    Returns
    -------
    schemas.Errors
    """
    files = [error_document(failed) for failed in page.files]
    return {"errors": files, "next": None if page.next is None else cursor_of(*page.next)}


def review_page_document(page: answers.ReviewPage) -> schemas.Review:
    """Return the most doubtful faces and the most likely merges.

    Parameters
    ----------
    page : ReviewPage

    Returns
    -------
    schemas.Review
    """
    document = review_document(page.review)
    return {
        "prior": document["prior"],
        "questions": [
            {
                **question,
                "cover_face_id": _cover(page.covers, question["person"]),
                "other_cover_face_id": _cover(page.covers, question["other_person"]),
            }
            for question in document["questions"]
        ],
    }


def _cover(covers: Mapping[int, int], person_id: int | None) -> int | None:
    return None if person_id is None else covers.get(person_id)


def calibration_document(page: CalibrationPage) -> schemas.Calibration:
    """Return how well the calibration fits.

    Parameters
    ----------
    page : CalibrationPage

    Returns
    -------
    schemas.Calibration
        Without infinite numbers and NaN, for which JSON has no word.
    """
    check = check_document(page.check)
    check["same_photo"] = [_finite_level(level) for level in check["same_photo"]]
    check["across"] = [_finite_level(level) for level in check["across"]]
    return {
        **check,
        "prior": page.prior,
        "prior_low": page.prior_low,
        "prior_high": page.prior_high,
        "confirmed": None if page.confirmed is None else _confirmed_document(page.confirmed),
    }


def _finite_level(level: Level) -> Level:
    """Replace NaN and infinity by null."""
    return {
        **level,
        "score": _finite(level["score"]),
        "observed": _finite(level["observed"]),
        "low": _finite(level["low"]),
        "high": _finite(level["high"]),
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _confirmed_document(pairs: ConfirmedPairs) -> schemas.ConfirmedPairs:
    bins = pairs.reliability
    return {
        "n_people": pairs.n_people,
        "n_genuine": pairs.n_genuine,
        "n_impostor": pairs.n_impostor,
        "bins": [
            {
                "claimed": claimed,
                "observed": observed,
                "low": low,
                "high": high,
                "genuine": genuine,
                "impostor": impostor,
            }
            for claimed, observed, low, high, genuine, impostor in zip(
                bins.claimed.tolist(),
                bins.observed.tolist(),
                bins.low.tolist(),
                bins.high.tolist(),
                bins.genuine.tolist(),
                bins.impostor.tolist(),
                strict=True,
            )
        ],
    }


def job_document(job: Job) -> schemas.Job:
    """Return how far a job is.

    Parameters
    ----------
    job : Job

    Returns
    -------
    schemas.Job
    """
    return {
        "job_id": job.job_id,
        "state": job.state,
        "stage": job.stage,
        "done": job.done,
        "total": job.total,
        "result": job.result,
        "problem": job.problem,
    }
