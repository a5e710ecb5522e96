"""The records that a query or a comparison answers with."""

from dataclasses import dataclass, field

from facesim_index.degrees.prior import PriorSource
from facesim_index.records import Box, FaceId, Float32Array
from facesim_index.utils.notebook_hook import Shown


@dataclass(frozen=True, slots=True)
class Match(Shown):
    """One indexed face, as similar to a query face as its degree says.

    Attributes
    ----------
    rank : int
        From 1, most similar first.
    face_id : FaceId
    path : str
        A file that shows the face; one that was there at the last ingest when there is any.
    paths : tuple of str
        Every file with that picture's bytes, `path` first.
    box : Box
    landmarks : ndarray of shape (5, 2), float32
    cosine : float
        Of the two unit-norm embeddings, in [-1, 1].
    degree : float or None
        Probability that both faces show one person, at the answer's prior; None without a
        calibration for the engine.
    log10_lr : float or None
        The evidence itself, free of any prior; None without a calibration.
    same_image : bool
        The face comes from a picture with the same bytes as the query picture.
    degree_low, degree_high : float or None
        95 % interval of the degree from the calibration's own uncertainty; None when the
        calibration has none.
    fmr : float or None
        False match rate: how often two different people score at least this high.
    expected_strangers : float or None
        How many faces of other people an index of this size is expected to have at or above
        this cosine.
    at_bound : bool
        The calibration's evidence ends before this cosine: the degree is as strong a claim as
        it supports, for or against.
    person_id : int or None
        Whose the face is; None when it is nobody's.
    person : str or None
        That person's name; None when it has none.
    person_degree : float or None
        Probability that the query face is that person's, from all faces of the person but
        those of the query picture.
    """

    rank: int
    face_id: FaceId
    path: str
    paths: tuple[str, ...]
    box: Box
    landmarks: Float32Array
    cosine: float
    degree: float | None
    log10_lr: float | None
    same_image: bool
    degree_low: float | None = None
    degree_high: float | None = None
    fmr: float | None = None
    expected_strangers: float | None = None
    at_bound: bool = False
    person_id: int | None = None
    person: str | None = None
    person_degree: float | None = None


@dataclass(frozen=True, slots=True)
class FaceAnswer:
    """The matches of one face of the query picture.

    Attributes
    ----------
    face : int
        Number of the face in its picture, left to right, from 0.
    box : Box
    landmarks : ndarray of shape (5, 2), float32
    detection : float
    matches : tuple of Match
    """

    face: int
    box: Box
    landmarks: Float32Array
    detection: float
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class QueryAnswer(Shown):
    """The answer to a query.

    Attributes
    ----------
    query : str
        Path of the query picture.
    engine : str
        Name and hashes of the engine.
    calibration : str or None
        Name of the calibration that gave the degrees; None when there is none.
    note : str or None
        Why the degrees are missing, when they are.
    prior : float
        Probability of a genuine pair before looking, in (0, 1).
    faces : tuple of FaceAnswer
    prior_source : {"given", "gallery"}
        Whether the prior was given, or estimated from the index's own scores.
    prior_low, prior_high : float or None
        95 % interval of an estimated prior.
    n_faces : int
        How many faces were searched.
    n_left_out : int
        How many were not, because their segment is damaged.
    damaged_segments : tuple of str
        Files of the index whose faces were left out.
    person_id : int or None
    person : str or None
        The person that was looked for, of which `query` is the most typical face.
    """

    query: str
    engine: str
    calibration: str | None
    note: str | None
    prior: float
    faces: tuple[FaceAnswer, ...]
    prior_source: PriorSource = "given"
    prior_low: float | None = None
    prior_high: float | None = None
    n_faces: int = 0
    n_left_out: int = 0
    damaged_segments: tuple[str, ...] = ()
    person_id: int | None = None
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison(Shown):
    """How alike one face of a picture is to one face of another.

    Attributes
    ----------
    path_a, path_b : str
    face_a, face_b : int
        Numbers of the faces that were compared, left to right, from 0.
    n_faces_a, n_faces_b : int
        How many faces the pictures have.
    box_a, box_b : Box
    cosine : float
        In [-1, 1].
    degree : float or None
        Probability that both show one person, at `prior`; None without a calibration.
    log10_lr : float or None
    prior : float
    engine : str
    calibration : str or None
    note : str or None
        Why the degree is missing, when it is.
    degree_low, degree_high, fmr, at_bound
        As of a `Match`.
    landmarks_a, landmarks_b : ndarray of shape (5, 2), float32, or None
        Of the faces; left out of comparisons of comparisons.
    """

    path_a: str
    path_b: str
    face_a: int
    face_b: int
    n_faces_a: int
    n_faces_b: int
    box_a: Box
    box_b: Box
    cosine: float
    degree: float | None
    log10_lr: float | None
    prior: float
    engine: str
    calibration: str | None
    note: str | None
    degree_low: float | None = None
    degree_high: float | None = None
    fmr: float | None = None
    at_bound: bool = False
    landmarks_a: Float32Array | None = field(default=None, compare=False, repr=False)
    landmarks_b: Float32Array | None = field(default=None, compare=False, repr=False)
