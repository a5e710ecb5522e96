"""The frozen records that pass between the stages.

All boxes and landmarks are in pixels of the *upright* picture (EXIF
orientation applied), origin at its top left corner.
"""

import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple, NewType

import numpy as np
from numpy.typing import NDArray

from facesim_index.utils.notebook_hook import Shown

FaceId = NewType("FaceId", int)
ImageId = NewType("ImageId", int)
SegmentId = NewType("SegmentId", int)

PriorSource = Literal["given", "gallery"]
Augment = Literal["none", "flip"]
Numerics = Literal["fp32", "bf16"]

UInt8Array = NDArray[np.uint8]
Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_HALF_OF_64_BITS = 1 << 63


class FailureCode(StrEnum):
    """Why a picture could not be used.  Stored; never rename a value."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    CHANGING = "changing"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    DECODER_CRASH = "decoder_crash"
    LOST = "lost"
    INTERNAL = "internal"


class ImageStatus(StrEnum):
    """What is known of a picture's content.  Stored; never rename a value."""

    OK = "ok"
    NO_FACE = "no_face"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture that could not be used: a value, not an exception."""

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class Box:
    """A face's bounding box in pixels of the upright picture."""

    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How usable a face is.

    Attributes
    ----------
    size_px : float
        Shorter side of the box.
    sharpness : float
        Variance of the Laplacian of the grey 112×112 aligned crop; >= 0, higher is sharper.
    yaw_deg, roll_deg : float
        Head pose estimated from the five landmarks; 0 is frontal and upright, positive yaw
        turns the nose to the right of the picture, positive roll is clockwise.
    """

    size_px: float
    sharpness: float
    yaw_deg: float
    roll_deg: float


@dataclass(frozen=True, slots=True)
class EmbeddedFace:
    """One face of one picture, with its embedding.

    Attributes
    ----------
    box : Box
    landmarks : ndarray of shape (5, 2), float32
        Left eye, right eye, nose tip, left and right mouth corner (as seen in the picture).
    detection : float
        Detection score in [0, 1].
    quality : Quality
    embedding : ndarray of shape (dimension,), float32
        Unit norm.
    """

    box: Box
    landmarks: Float32Array
    detection: float
    quality: Quality
    embedding: Float32Array


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What the header of a picture says.

    Attributes
    ----------
    width_px, height_px : int
        Size of the upright picture.
    format : str
        Decoder's name of the format, upper case: ``JPEG``, ``PNG``, ``HEIF`` ...
    taken_at : str or None
        EXIF capture time, ISO 8601 without zone (``2021-07-04T12:30:00``).
    """

    width_px: int
    height_px: int
    format: str
    taken_at: str | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Attributes
    ----------
    rgb : ndarray of shape (height_px, width_px, 3), uint8
        Upright, C-contiguous.
    info : PictureInfo
    """

    rgb: UInt8Array
    info: PictureInfo


class FileStamp(NamedTuple):
    """What a stat says of a file; equal stamps mean "not touched since".

    A tuple, because a scan makes and compares two for each file.
    """

    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileStamp":
        """Return the stamp of what was looked at.

        Times beyond the year 2262 need more than the 64 bits of a column; their upper bits are
        dropped, so that different times nearly always stay different.
        """
        mtime_ns = (status.st_mtime_ns + _HALF_OF_64_BITS) % (2 * _HALF_OF_64_BITS)
        return cls(status.st_size, mtime_ns - _HALF_OF_64_BITS)


@dataclass(frozen=True, slots=True)
class PictureReading:
    """All that reading one picture gave: the outcome of decode, detect, align and embed.

    The content hash, the stamp and the faces belong to the same bytes, always.

    Attributes
    ----------
    content_hash : bytes
        SHA-256 of the file's bytes, 32 bytes.
    stamp : FileStamp
        Of the file when those bytes were read.
    info : PictureInfo or None
        None when the picture could not be decoded.
    faces : tuple of EmbeddedFace
        Left to right; empty when there is no face, or on failure.
    failure : Failure or None
    """

    content_hash: bytes
    stamp: FileStamp
    info: PictureInfo | None
    faces: tuple[EmbeddedFace, ...]
    failure: Failure | None

    @property
    def status(self) -> ImageStatus:
        """The status under which the catalog keeps this picture."""
        if self.failure is not None:
            return ImageStatus.ERROR
        return ImageStatus.OK if self.faces else ImageStatus.NO_FACE


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """Which computation made an embedding; only equal identities may be compared.

    Attributes
    ----------
    name : str
        For people, such as ``scrfd_500m_bnkps+w600k_mbf``; not part of equality of bytes.
    detector_sha256, recogniser_sha256 : str
        Hex digests of the weights.
    preprocessing : int
        Version of our own decode, detect and align steps.
    dimension : int
        Length of an embedding.
    augment : {"none", "flip"}, default="none"
        ``flip``: the embedding is of the aligned face and of its mirror image together.
    numerics : {"fp32", "bf16"}, default="fp32"
        ``bf16``: the recogniser computes in bfloat16.
    """

    name: str
    detector_sha256: str
    recogniser_sha256: str
    preprocessing: int
    dimension: int
    augment: Augment = "none"
    numerics: Numerics = "fp32"

    @property
    def key(self) -> str:
        """Canonical text of what must be equal; the name is left out.

        Indexes and calibrations were written before there were `augment` and `numerics`, so
        their defaults add nothing.
        """
        return (
            f"detector={self.detector_sha256};recogniser={self.recogniser_sha256};"
            f"preprocessing={self.preprocessing};dimension={self.dimension}"
            + ("" if self.augment == "none" else f";augment={self.augment}")
            + ("" if self.numerics == "fp32" else f";numerics={self.numerics}")
        )

    def __str__(self) -> str:
        return (
            f"{self.name} (detector {self.detector_sha256[:8]}, recogniser "
            f"{self.recogniser_sha256[:8]}, preprocessing {self.preprocessing}"
            + ("" if self.augment == "none" else f", augment {self.augment}")
            + (")" if self.numerics == "fp32" else f", numerics {self.numerics})")
        )


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
class SegmentInfo:
    """A segment as the catalog records it.

    Attributes
    ----------
    segment_id : SegmentId
    name : str
        File name below ``segments/``.
    n_rows : int
    first_face_id, last_face_id : FaceId
        Every id of the segment lies between them, and no other segment has ids there.
    size_bytes : int
    sha256 : str
        Hex digest of the file.
    """

    segment_id: SegmentId
    name: str
    n_rows: int
    first_face_id: FaceId
    last_face_id: FaceId
    size_bytes: int
    sha256: str


class KnownFile(NamedTuple):
    """What the catalog knows of a file; a tuple, because a scan makes one for each.

    Attributes
    ----------
    file_id : int
    stamp : FileStamp
        When it was last read.
    status : ImageStatus or None
        Of its content; None when it could not be read at all.
    retry_always : bool
        Its failure does not lie in its bytes, so that every run tries it again.
    missing : bool
        It was gone at the last ingest.
    """

    file_id: int
    stamp: FileStamp
    status: ImageStatus | None
    retry_always: bool
    missing: bool


@dataclass(frozen=True, slots=True)
class FileLink:
    """A file as one ingest found it: its content by hash, or why it could not be read.

    Attributes
    ----------
    folder, name : str
        Absolute folder and file name.
    stamp : FileStamp
    content_hash : bytes or None
    failure : Failure or None
        Set exactly when `content_hash` is None.
    """

    folder: str
    name: str
    stamp: FileStamp
    content_hash: bytes | None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class FaceRecord:
    """One indexed face, as `export faces` and `FaceIndex.faces` give it.

    Attributes
    ----------
    face_id : FaceId
    image_id : ImageId
    ordinal : int
        Number of the face in its picture, left to right, from 0.
    paths : tuple of str
        Files that show it; those that were there at the last ingest first.
    box : Box
    landmarks : ndarray of shape (5, 2), float32
    detection : float
    quality : Quality
    """

    face_id: FaceId
    image_id: ImageId
    ordinal: int
    paths: tuple[str, ...]
    box: Box
    landmarks: Float32Array
    detection: float
    quality: Quality

    @property
    def path(self) -> str:
        """The first of the files, or an empty text when every one was forgotten."""
        return self.paths[0] if self.paths else ""


@dataclass(frozen=True, slots=True)
class PictureFaces:
    """The faces of one indexed picture.

    Attributes
    ----------
    width_px, height_px : int
        Of the upright picture; 0 when it could not be decoded.
    faces : tuple of FaceRecord
        Left to right; empty when there is none.
    """

    width_px: int
    height_px: int
    faces: tuple[FaceRecord, ...]


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be used, as `facesim errors` lists it."""

    path: str
    code: FailureCode
    message: str


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
