"""The frozen records that pass between the stages.

All boxes and landmarks are in pixels of the *upright* picture (EXIF
orientation applied), origin at its top left corner.
"""

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple, NewType

import numpy as np
from numpy.typing import NDArray

FaceId = NewType("FaceId", int)
ImageId = NewType("ImageId", int)

Augment = Literal["none", "flip"]
Numerics = Literal["fp32", "bf16"]

UInt8Array = NDArray[np.uint8]
Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_HALF_OF_64_BITS = 1 << 63


class FailureCode(StrEnum):
    """Why a picture could not be used.

    The values are stored in every index: never rename one.

    Attributes
    ----------
    EMPTY : str
        The file has no bytes.
    TRUNCATED : str
        The file ends before the picture does.
    CORRUPT : str
        The bytes are damaged.
    UNSUPPORTED : str
        It is not a picture, or of a format that cannot be read.
    TOO_LARGE : str
        It has too many bytes or pixels.
    UNREADABLE : str
        The system does not let the file be read.
    CHANGING : str
        The file was changed while it was read.
    TIMEOUT : str
        Reading took too long.
    OUT_OF_MEMORY : str
        There was not enough memory.
    DECODER_CRASH : str
        The worker process died of it.
    LOST : str
        Its file is gone, so that what the index lost of it cannot be made again.
    INTERNAL : str
        An error of facesim itself.

    Examples
    --------
    >>> from facesim_index import FailureCode
    >>> FailureCode("unsupported") is FailureCode.UNSUPPORTED
    True
    """

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
    """What is known of a picture's content.

    The values are stored in every index: never rename one.

    Attributes
    ----------
    OK : str
        It has faces.
    NO_FACE : str
        It was read, and no face was found.
    ERROR : str
        It could not be used; a `FailureCode` says why.
    """

    OK = "ok"
    NO_FACE = "no_face"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture that could not be used: a value, not an exception.

    Attributes
    ----------
    code : FailureCode
    message : str
        What happened, for a person.
    """

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class Box:
    """A face's bounding box in pixels of the upright picture.

    Attributes
    ----------
    x, y : float
        Left and upper edge; may be negative where a face is cut by the picture's edge.
    w, h : float
        Width and height, above 0.

    Examples
    --------
    >>> from facesim_index import Box
    >>> box = Box(x=32.0, y=40.0, w=24.0, h=32.0)
    >>> box.x + box.w / 2, box.y + box.h / 2  # its centre
    (44.0, 56.0)
    """

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
        Variance of the Laplacian of the grey 112×112 aligned crop; at least 0, higher is sharper.
    yaw_deg, roll_deg : float
        Head pose estimated from the five landmarks; 0 is frontal and upright.  Positive yaw turns
        the nose to the right of the picture, positive roll is clockwise.

    Examples
    --------
    >>> [face.face_id for face in index.face_records() if face.quality.size_px >= 32]
    [1, 2, 3, 4, 5, 6]
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
        Left eye, right eye, nose tip, left and right mouth corner, as seen in the picture; x and
        y in pixels of the upright picture.
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
        The decoder's name of the format, in upper case: ``JPEG``, ``PNG``, ``HEIF`` ...
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
    """Size and time of change of a file; equal stamps mean that it was not touched since.

    A tuple, because a scan makes and compares two for each file.

    Attributes
    ----------
    size_bytes : int
    mtime_ns : int
        Nanoseconds since 1970, within 64 bits.
    """

    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileStamp":
        """Return the stamp of a file.

        Times beyond the year 2262 need more than the 64 bits of a column.  Their upper bits are
        dropped, so that different times nearly always stay different.

        Parameters
        ----------
        status : os.stat_result
            Of the file.

        Returns
        -------
        FileStamp
        """
        mtime_ns = (status.st_mtime_ns + _HALF_OF_64_BITS) % (2 * _HALF_OF_64_BITS)
        return cls(status.st_size, mtime_ns - _HALF_OF_64_BITS)


MAX_ID = 2**63 - 1
"""The largest number that a row of an index can have."""


@dataclass(frozen=True, slots=True)
class PictureReading:
    """Everything that came of reading one picture: of decoding, detection, alignment and embedding.

    The content hash, the stamp and the faces always belong to the same bytes.

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
        Why the picture could not be used, if it could not.
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
    """Which computation made an embedding.

    Only embeddings of equal `key` may be compared.

    Attributes
    ----------
    name : str
        For people, such as ``scrfd_500m_bnkps+w600k_mbf``; not a part of the `key`.
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

    Examples
    --------
    >>> import dataclasses
    >>> index.identity.dimension
    512
    >>> flipped = dataclasses.replace(index.identity, augment="flip")
    >>> flipped.key == index.identity.key
    False
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
        """Everything that must be equal, as one text; the name is left out.

        The default values of `augment` and `numerics` add nothing to it, because indexes and
        calibrations were written before these two existed.
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
class FaceRecord:
    """One indexed face, as ``facesim export faces`` and `FaceIndex.faces` give it.

    Attributes
    ----------
    face_id : FaceId
    image_id : ImageId
        Of the picture's content; copies of a file share it.
    ordinal : int
        Number of the face in its picture, left to right, from 0.
    paths : tuple of str
        Files that show it; those that were there at the last ingest come first.
    box : Box
    landmarks : ndarray of shape (5, 2), float32
        Left eye, right eye, nose tip, left and right mouth corner, as seen in the picture; x and
        y in pixels of the upright picture.
    detection : float
        Detection score in [0, 1].
    quality : Quality

    Examples
    --------
    >>> face = next(index.face_records(np.array([4])))
    >>> Path(face.path).name, face.ordinal, face.box
    ('anna_and_ben.png', 1, Box(x=96.0, y=32.0, w=32.0, h=32.0))
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

    Examples
    --------
    >>> [found] = index.picture_faces([(photos / "anna_and_ben.png").absolute()])
    >>> found.width_px, found.height_px, len(found.faces)
    (160, 96, 2)
    """

    width_px: int
    height_px: int
    faces: tuple[FaceRecord, ...]


BoolArray = NDArray[np.bool_]


AnyPath = str | os.PathLike[str]
