"""The shapes of the API's responses: those of the command line's JSON, and the API's own.

A route returns one of these classes.  The server validates what it returns against the class,
without converting any value, so that a wrong type or a missing key is an error of the server
and never sent.  The docstrings and the texts below keys are what the description at /docs shows.
"""

from typing import Literal

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on only

from facesim_index.export import schemas
from facesim_index.export.schemas import Answer as Answer
from facesim_index.export.schemas import Box, FailedFile, Point
from facesim_index.export.schemas import Comparison as Comparison
from facesim_index.web.guard.problems import Problem

response = with_config(ConfigDict(strict=True, use_attribute_docstrings=True))
"""Marks the shape of a whole response; the shapes inside it are validated in the same way."""


# The API sends these two just as the command line writes them.
response(Answer)
response(Comparison)


@response
class Status(schemas.Status):
    """What is in the index, as `facesim status --json` writes it, and what goes on."""

    edit: bool
    writer_active: bool
    people: dict[str, int]
    undo: str | None
    """What POST /v1/people/undo would take back."""


class Quality(TypedDict):
    """How usable a face is."""

    size_px: float
    sharpness: float
    yaw_deg: float
    roll_deg: float


@response
class Face(TypedDict):
    """An indexed face."""

    face_id: int
    image_id: int
    face: int
    """Number in its picture, left to right, from 0."""
    path: str
    paths: list[str]
    box: Box
    landmarks: list[Point]
    detection: float
    quality: Quality
    person_id: int | None
    person: str | None
    confirmed: bool


@response
class Picture(TypedDict):
    """An indexed picture."""

    image_id: int
    path: str
    paths: list[str]
    width: int
    height: int
    taken_at: str | None
    status: Literal["ok", "no_face", "error"]
    message: str | None
    faces: list[Face]


@response
class Person(schemas.Person):
    """A person, as `facesim people list --format json` writes them."""

    cover_face_id: int | None


@response
class People(TypedDict):
    """Some people, those with most faces first."""

    people: list[Person]
    next: str | None


@response
class Faces(TypedDict):
    """Some faces of a person."""

    faces: list[Face]
    next: str | None


class Question(schemas.Question):
    """Something to look at: a face of a person, or two who may be one."""

    cover_face_id: int | None
    other_cover_face_id: int | None


@response
class Review(TypedDict):
    """What is most doubtful, as `facesim people review --format json` writes it."""

    prior: float
    questions: list[Question]


@response
class Errors(TypedDict):
    """Some files that could not be used, by path."""

    errors: list[FailedFile]
    next: str | None


class ReliabilityBin(TypedDict):
    """Pairs of about one degree, at prior 0.5, and how many of them are genuine."""

    claimed: float
    observed: float
    low: float
    high: float
    genuine: int
    impostor: int


class ConfirmedPairs(TypedDict):
    """What the faces that a human confirmed say of the degrees."""

    n_people: int
    n_genuine: int
    n_impostor: int
    bins: list[ReliabilityBin]


@response
class Calibration(schemas.CalibrationCheck):
    """Whether the calibration fits, as `facesim calibrate check --json` writes it."""

    prior: float
    """Share of genuine pairs in this index."""
    prior_low: float
    prior_high: float
    confirmed: ConfirmedPairs | None
    """null when too few are confirmed."""


@response
class Job(TypedDict):
    """How far a job is."""

    job_id: str
    state: Literal["running", "done", "failed"]
    stage: str | None
    done: int
    total: int | None
    result: dict[str, object] | None
    problem: Problem | None


@response
class Undone(TypedDict):
    """What was taken back; null when there was nothing."""

    action: str | None


@response
class KeptApart(TypedDict):
    """The two faces by which it is remembered that two people are not one."""

    faces: list[int]
