"""The shapes of the JSON documents that the command line and the API share.

`documents` makes the documents, and the type checker holds them to these shapes.  The API also
validates each response against its shape before it sends it, and describes its responses by them:
there a class's docstring and the text below a key are shown as they are.

Keys that are `NotRequired` are those that only the API gives, and not in every response.
"""

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on only

Box = tuple[float, float, float, float]
"""Left edge, top edge, width and height in pixels."""

Point = tuple[float, float]
"""Distances from the left and from the top in pixels."""


Caution = Literal["children", "covered", "one_covered", "small", "pose", "unclear"]
"""Why the evidence of a pair of faces is known to be weak."""


class Preview(TypedDict):
    """A reduced upright picture, and where its faces are in it."""

    data: str
    """A data: URL, JPEG."""
    width: int
    height: int
    scale: float
    """Of its pixels to those of the whole picture."""
    boxes: list[Box]
    """x, y, width and height of each face, in its pixels."""
    landmarks: list[list[Point]]
    """Five points of each face, in its pixels."""


class Match(TypedDict):
    """An indexed face, and how probably it shows the same person."""

    rank: int
    face_id: int
    path: str
    paths: list[str]
    box: Box
    cosine: float
    degree: float | None
    """Probability of one person, at the answer's prior."""
    log10_lr: float | None
    same_image: bool
    degree_low: float | None
    degree_high: float | None
    fmr: float | None
    """How often two strangers score at least this high."""
    expected_strangers: float | None
    at_bound: bool
    person_id: int | None
    person: str | None
    person_degree: float | None
    caution: list[Caution]
    """Why the evidence of this pair is known to be weak."""


class FaceAnswer(TypedDict):
    """The matches of one face of the query picture."""

    face: int
    box: Box
    detection: float
    matches: list[Match]
    crop: NotRequired[str | None]
    """A data: URL, JPEG; with ?pictures=true."""


class Answer(TypedDict):
    """The answer to a query, as `facesim query --format json` writes it."""

    engine: str
    calibration: str | None
    prior: float
    prior_source: Literal["given", "gallery"]
    prior_low: float | None
    prior_high: float | None
    faces_searched: int
    faces_left_out: int
    damaged_segments: list[str]
    query: str
    person_id: int | None
    person: str | None
    note: str | None
    faces: list[FaceAnswer]
    picture: NotRequired[Preview | None]
    next: NotRequired[str | None]
    """Cursor of the matches that follow."""


class Compared(TypedDict):
    """One side of a comparison."""

    path: str
    face: int
    faces: int
    box: Box
    picture: NotRequired[Preview | None]


class Comparison(TypedDict):
    """A comparison, as `facesim compare --format json` writes it."""

    engine: str
    calibration: str | None
    prior: float
    degree: float | None
    degree_low: float | None
    degree_high: float | None
    fmr: float | None
    at_bound: bool
    caution: list[Caution]
    """Why the evidence of this pair is known to be weak."""
    log10_lr: float | None
    cosine: float
    a: Compared
    b: Compared
    note: str | None


class Root(TypedDict):
    """A folder that was ingested."""

    path: str
    last_ingest_at: str


class Status(TypedDict):
    """What is in the index, as `facesim status --json` writes it."""

    path: str
    generation: int
    created_at: str
    engine: str
    model: str
    calibration: str | None
    roots: list[Root]
    counts: dict[str, int]
    segments: int
    bytes_segments: int
    bytes_catalog: int
    interrupted: bool
    traces_left: bool
    damage: list[str]
    """What is damaged of the rows that all this was read from."""
    calibration_verdict: str | None
    calibration_sentence: str | None


class FailedFile(TypedDict):
    """A file that could not be used."""

    path: str
    code: str
    message: str


class Person(TypedDict):
    """A person, as `facesim people list --format json` writes them."""

    person_id: int
    name: str | None
    faces: int
    pictures: int
    confirmed: int
    ignored: bool


class PersonFace(TypedDict):
    """A face of a person, as `facesim people show --format json` lists it."""

    face_id: int
    confirmed: bool
    path: str
    x: float
    y: float
    w: float
    h: float


class LookAlike(TypedDict):
    """Somebody whom faces of a person look like, as `facesim people show --format json` has it."""

    person_id: int
    name: str | None
    faces_alike: int
    faces: int
    apart: bool


class Question(TypedDict):
    """Something to look at: a face of a person, or two who may be one."""

    question: Literal["face", "merge"]
    degree: float
    person: int | None
    name: str | None
    face_id: int | None
    other_person: int | None
    other_name: str | None
    other_face_id: int | None


class Review(TypedDict):
    """What is most doubtful, as `facesim people review --format json` writes it."""

    prior: float
    questions: list[Question]


class Level(TypedDict):
    """How many pairs reach a level of evidence, against how many should."""

    rate: float
    expected: float
    score: float | None
    """null where no pair can reach it."""
    n_pairs: int
    n_found: int
    observed: float | None
    low: float | None
    high: float | None
    says: Literal["fits", "too many", "fewer", "unclear", "too few pairs"]


class GroupCheck(TypedDict):
    """Whether the calibration fits two faces of one group."""

    name: str
    n_faces: int
    levels: list[Level]


class CalibrationCheck(TypedDict):
    """Whether the calibration fits, as `facesim calibrate check --json` writes it."""

    calibration: str
    head: str
    n_images: int
    n_pairs: int
    n_doubtful: int
    same_photo: list[Level]
    n_across: int
    n_left_out: int
    across: list[Level]
    groups: list[GroupCheck]
    highest: list[dict[str, object]]
    labels: dict[str, object] | None
    verdict: Literal["fits", "claims_too_much", "too_few_pairs"]
    sentence: str
