"""The records that a query or a comparison answers with."""

from dataclasses import dataclass, field

from facesim_index.degrees.cautions import Caution
from facesim_index.degrees.prior import PriorSource
from facesim_index.records import Box, FaceId, Float32Array
from facesim_index.utils.notebook_hook import Shown


@dataclass(frozen=True, slots=True)
class Match(Shown):
    """One indexed face, and how similar it is to the query face.

    Attributes
    ----------
    rank : int
        From 1, most similar first.
    face_id : FaceId
    path : str
        A file that shows the face; one that was there at the last ingest, if there is any.
    paths : tuple of str
        Every file with that picture's bytes, `path` first.
    box : Box
    landmarks : ndarray of shape (5, 2), float32
        Left eye, right eye, nose tip, left and right mouth corner, as seen in the picture; x and
        y in pixels of the upright picture.
    cosine : float
        Of the two unit-norm embeddings, in [-1, 1].
    degree : float or None
        Probability that both faces show one person, at the answer's prior; None without a
        calibration for the engine.
    log10_lr : float or None
        The evidence itself, free of any prior, as the base-10 logarithm of the likelihood ratio;
        None without a calibration.
    same_image : bool
        The face is in a picture with the same bytes as the query picture.
    degree_low, degree_high : float or None
        95 % interval of the degree, from the calibration's own uncertainty; None when the
        calibration has none.
    fmr : float or None
        False match rate: how often two different people score at least this high, in (0, 1].
    expected_strangers : float or None
        How many faces of other people an index of this size is expected to have at or above
        this cosine.
    at_bound : bool
        The calibration was fitted on no evidence beyond this cosine.  So the degree is the
        strongest claim, for or against one person, that the calibration can support.
    person_id : int or None
        The person that the face is assigned to; None when there is none.
    person : str or None
        That person's name; None without a name.
    person_degree : float or None
        Probability that the query face shows that person, from all faces of the person except
        those in the query picture.
    caution : tuple of Caution
        Why the evidence of this pair is known to be weak; empty where nothing is known.

    Examples
    --------
    >>> answer = index.query(photos / "anna_1.png", exclude_same_image=True)
    >>> match = answer.faces[0].matches[0]
    >>> Path(match.path).name, match.person, round(match.cosine, 3), round(match.degree, 3)
    ('anna_and_ben.png', 'Anna', 0.946, 0.995)
    >>> round(match.degree_low, 3), round(match.degree_high, 3), round(match.person_degree, 3)
    (0.986, 0.998, 0.997)
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
    caution: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True)
class FaceAnswer:
    """One face of the query picture, and its matches.

    Attributes
    ----------
    face : int
        Number of the face in its picture, left to right, from 0.
    box : Box
    landmarks : ndarray of shape (5, 2), float32
        Left eye, right eye, nose tip, left and right mouth corner, as seen in the picture; x and
        y in pixels of the upright picture.
    detection : float
        Detection score in [0, 1].
    matches : tuple of Match
        Most similar first; may be empty.

    Examples
    --------
    >>> answer = index.query(photos / "anna_and_ben.png", top=1, exclude_same_image=True)
    >>> for face in answer.faces:
    ...     print(face.face, face.box.x, Path(face.matches[0].path).name)
    0 32.0 anna_1.png
    1 96.0 ben.png
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
        Why there are no degrees, when there are none.
    prior : float
        Probability, in (0, 1), that two faces show one person before they are looked at.
    faces : tuple of FaceAnswer
        Left to right.
    prior_source : {"given", "gallery"}
        Whether the prior was given, or estimated from the index's own scores.
    prior_low, prior_high : float or None
        95 % interval of an estimated prior; None for one that was given.
    n_faces : int
        How many faces were searched.
    n_left_out : int
        How many were not, because their segment is damaged.
    damaged_segments : tuple of str
        Files of the index whose faces were left out.
    person_id : int or None
    person : str or None
        Number and name of the person that was looked for.  `query` is then a picture of that
        person's most typical face.

    Examples
    --------
    >>> answer = index.query(face_id=1, top=1)
    >>> Path(answer.query).name, answer.calibration, answer.prior_source, answer.n_faces
    ('anna_1.png', 'example', 'gallery', 5)
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
    """How similar one face of a picture is to one face of another.

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
        The evidence itself, free of any prior, as the base-10 logarithm of the likelihood ratio.
    prior : float
        Probability, in (0, 1), of one person before looking.
    engine : str
        Name and hashes of the engine.
    calibration : str or None
        Name of the calibration that gave the degree.
    note : str or None
        Why there is no degree, when there is none.
    degree_low, degree_high : float or None
        95 % interval of the degree, from the calibration's own uncertainty.
    fmr : float or None
        False match rate: how often two different people score at least this high, in (0, 1].
    at_bound : bool
        The degree is the strongest claim that the calibration can support; see `Match`.
    caution : tuple of Caution
        Why the evidence of this pair is known to be weak; see `Match`.
    landmarks_a, landmarks_b : ndarray of shape (5, 2), float32, or None
        In pixels of the upright pictures.  They do not count when two comparisons are compared.

    Examples
    --------
    >>> from facesim_index import compare
    >>> found = compare(photos / "anna_1.png", photos / "anna_2.png")
    >>> round(found.cosine, 3), round(found.log10_lr, 2), round(found.degree, 3)
    (0.946, 2.78, 0.998)
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
    caution: tuple[Caution, ...] = ()
    landmarks_a: Float32Array | None = field(default=None, compare=False, repr=False)
    landmarks_b: Float32Array | None = field(default=None, compare=False, repr=False)
