"""The shapes of the API's answers, for its description at /docs; `documents` makes them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Box = Annotated[list[float], Field(min_length=4, max_length=4)]
Point = Annotated[list[float], Field(min_length=2, max_length=2)]


class Problem(BaseModel):
    """Why a request failed (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What happened and what to do, for a person.")
    code: str = Field(description="For programs; never renamed.")


class Preview(BaseModel):
    """A reduced upright picture, and where its faces are in it."""

    data: str = Field(description="A data: URL, JPEG.")
    width: int
    height: int
    scale: float = Field(description="Of its pixels to those of the whole picture.")
    boxes: list[Box] = Field(description="x, y, width and height of each face, in its pixels.")
    landmarks: list[list[Point]] = Field(description="Five points of each face, in its pixels.")


class Match(BaseModel):
    """An indexed face, and how probably it shows the same person."""

    rank: int
    face_id: int
    path: str
    paths: list[str]
    box: Box
    cosine: float
    degree: float | None = Field(description="Probability of one person, at the answer's prior.")
    log10_lr: float | None
    same_image: bool
    degree_low: float | None
    degree_high: float | None
    fmr: float | None = Field(description="How often two strangers score at least this high.")
    expected_strangers: float | None
    at_bound: bool
    person_id: int | None
    person: str | None
    person_degree: float | None


class FaceAnswer(BaseModel):
    """The matches of one face of the query picture."""

    face: int
    box: Box
    detection: float
    matches: list[Match]
    crop: str | None = Field(None, description="A data: URL, JPEG; with ?pictures=true.")


class Answer(BaseModel):
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
    picture: Preview | None = None
    next: str | None = Field(None, description="Cursor of the matches that follow.")


class Compared(BaseModel):
    """One side of a comparison."""

    path: str
    face: int
    faces: int
    box: Box
    picture: Preview | None = None


class Comparison(BaseModel):
    """A comparison, as `facesim compare --format json` writes it."""

    engine: str
    calibration: str | None
    prior: float
    degree: float | None
    degree_low: float | None
    degree_high: float | None
    fmr: float | None
    at_bound: bool
    log10_lr: float | None
    cosine: float
    a: Compared
    b: Compared
    note: str | None


class Root(BaseModel):
    """A folder that was ingested."""

    path: str
    last_ingest_at: str


class Status(BaseModel):
    """What is in the index, as `facesim status --json` writes it, and what goes on."""

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
    edit: bool
    writer_active: bool
    people: dict[str, int]
    undo: str | None = Field(description="What POST /v1/people/undo would take back.")


class Quality(BaseModel):
    """How usable a face is."""

    size_px: float
    sharpness: float
    yaw_deg: float
    roll_deg: float


class Face(BaseModel):
    """An indexed face."""

    face_id: int
    image_id: int
    face: int = Field(description="Number in its picture, left to right, from 0.")
    path: str
    paths: list[str]
    box: Box
    landmarks: list[Point]
    detection: float
    quality: Quality
    person_id: int | None
    person: str | None
    confirmed: bool


class Picture(BaseModel):
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


class Person(BaseModel):
    """A person, as `facesim people list --format json` writes them."""

    person_id: int
    name: str | None
    faces: int
    pictures: int
    confirmed: int
    ignored: bool
    cover_face_id: int | None


class People(BaseModel):
    """Some people, those with most faces first."""

    people: list[Person]
    next: str | None


class Faces(BaseModel):
    """Some faces of a person."""

    faces: list[Face]
    next: str | None


class Question(BaseModel):
    """Something to look at: a face of a person, or two who may be one."""

    question: Literal["face", "merge"]
    degree: float
    person: int | None
    name: str | None
    face_id: int | None
    other_person: int | None
    other_name: str | None
    other_face_id: int | None
    cover_face_id: int | None
    other_cover_face_id: int | None


class Review(BaseModel):
    """What is most doubtful, as `facesim people review --format json` writes it."""

    prior: float
    questions: list[Question]


class FailedFile(BaseModel):
    """A file that could not be used."""

    path: str
    code: str
    message: str


class Errors(BaseModel):
    """Some files that could not be used, by path."""

    errors: list[FailedFile]
    next: str | None


class Level(BaseModel):
    """How many pairs reach a level of evidence, against how many should."""

    rate: float
    expected: float
    score: float | None = Field(description="null where no pair can reach it.")
    n_pairs: int
    n_found: int
    observed: float | None
    low: float | None
    high: float | None
    says: Literal["fits", "too many", "fewer", "unclear", "too few pairs"]


class ReliabilityBin(BaseModel):
    """Pairs of about one degree, at prior 0.5, and how many of them are genuine."""

    claimed: float
    observed: float
    low: float
    high: float
    genuine: int
    impostor: int


class ConfirmedPairs(BaseModel):
    """What the faces that a human confirmed say of the degrees."""

    n_people: int
    n_genuine: int
    n_impostor: int
    bins: list[ReliabilityBin]


class Calibration(BaseModel):
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
    highest: list[dict[str, object]]
    labels: dict[str, object] | None
    verdict: Literal["fits", "claims_too_much", "too_few_pairs"]
    sentence: str
    prior: float = Field(description="Share of genuine pairs in this index.")
    prior_low: float
    prior_high: float
    confirmed: ConfirmedPairs | None = Field(description="null when too few are confirmed.")


class Job(BaseModel):
    """How far a job is."""

    job_id: str
    state: Literal["running", "done", "failed"]
    stage: str | None
    done: int
    total: int | None
    result: dict[str, object] | None
    problem: Problem | None


class Undone(BaseModel):
    """What was taken back; null when there was nothing."""

    action: str | None


class KeptApart(BaseModel):
    """The two faces by which it is remembered that two people are not one."""

    faces: list[int]
