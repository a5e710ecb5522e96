"""What worker processes do for a server: read uploaded pictures, and cut crops of indexed ones.

Decoders are native code that runs on untrusted bytes; here they can only harm a process that is
replaced then.  Bytes come in and small JPEGs without metadata go out; nothing is written to disk.
"""

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facesim_index.display.crops import crop_face, crop_reduction
from facesim_index.engine.base import EngineSource
from facesim_index.engine.reading import read_content
from facesim_index.errors import PictureError, UsageError
from facesim_index.pictures.decoding import MAX_PIXELS, open_picture, use_one_thread
from facesim_index.pictures.files import content_hash, read_bytes
from facesim_index.pictures.views import Pixels, coarsest
from facesim_index.records import (
    EmbeddedFace,
    Failure,
    FailureCode,
    FileStamp,
    Float32Array,
    PictureReading,
    UInt8Array,
)

PREVIEW_PX = 1600
"""Longer side of the picture that is shown of an upload."""

CROP_PX = 160
_QUALITY = 88


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """How uploads are read.

    Attributes
    ----------
    engine : EngineSource
    max_pixels : int
        A larger picture is not decoded.
    """

    engine: EngineSource
    max_pixels: int


@dataclass(frozen=True, slots=True)
class UploadTask:
    """A picture to read.

    Attributes
    ----------
    data : bytes
        Of the picture's file.
    pictures : bool
        Also make a reduced picture, and a crop of each face.
    """

    data: bytes
    pictures: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """A reduced upright picture, and where its faces are in it.

    Attributes
    ----------
    jpeg : bytes
    width_px, height_px : int
    scale : float
        Its width divided by that of the whole picture, in (0, 1].
    boxes : tuple of (x, y, w, h)
        Box of each face, left to right, in pixels of the preview.
    landmarks : tuple of tuple of (x, y)
        Five points of each face, left to right, in pixels of the preview.
    """

    jpeg: bytes
    width_px: int
    height_px: int
    scale: float
    boxes: tuple[tuple[float, float, float, float], ...]
    landmarks: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, slots=True)
class UploadReading:
    """An upload that was read.

    Attributes
    ----------
    reading : PictureReading
    preview : Preview or None
        None unless pictures were asked for, or where the picture cannot be used.
    crops : tuple of bytes
        A JPEG of each face, left to right; empty where there is no preview.
    """

    reading: PictureReading
    preview: Preview | None = None
    crops: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class CropTask:
    """A part of an indexed picture to show.

    Attributes
    ----------
    paths : tuple of str
        Files that had the picture's bytes at the last ingest.
    content_hash : bytes
        SHA-256 of these bytes; a file that has other bytes now is not shown.
    side_px : int
        Side of the crop, or the greatest length of the longer side of the whole picture.
    landmarks : ndarray of shape (5, 2), float32, or None
        Of the face to cut out, in pixels of the whole picture; None for the whole picture.
    """

    paths: tuple[str, ...]
    content_hash: bytes
    side_px: int
    landmarks: Float32Array | None = None


class _DecodedOnce:
    """A picture that is decoded once for each size, however many faces are cut out of it."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self.view = functools.cache(pixels.view)

    @property
    def size_px(self) -> tuple[int, int]:
        return self._pixels.size_px

    @property
    def reductions(self) -> tuple[int, ...]:
        return self._pixels.reductions


def make_upload_reader(settings: UploadSettings) -> Callable[[UploadTask], UploadReading]:
    """Load the engine and return what reads uploads with it.

    Parameters
    ----------
    settings : UploadSettings

    Returns
    -------
    callable
        Takes an `UploadTask` and returns an `UploadReading`.

    Raises
    ------
    ModelError, ProviderError
        The engine cannot be loaded.
    """
    engine = settings.engine.load()
    use_one_thread()

    def read(task: UploadTask) -> UploadReading:
        stamp = FileStamp(len(task.data), 0)
        reading = read_content(task.data, stamp, engine, max_pixels=settings.max_pixels)
        if not task.pictures or reading.failure is not None:
            return UploadReading(reading)
        picture = _DecodedOnce(open_picture(task.data, max_pixels=settings.max_pixels))
        crops = tuple(_crop(picture, face.landmarks, CROP_PX) for face in reading.faces)
        return UploadReading(reading, _preview(picture, reading.faces), crops)

    return read


def make_cropper(max_pixels: int = MAX_PIXELS) -> Callable[[CropTask], bytes | Failure]:
    """Return what cuts crops of indexed pictures.

    Parameters
    ----------
    max_pixels : int, default=`MAX_PIXELS`
        A larger picture is not decoded.

    Returns
    -------
    callable
        Takes a `CropTask` and returns a JPEG, or why there is none.
    """
    use_one_thread()

    def cut(task: CropTask) -> bytes | Failure:
        found = _content(task)
        if isinstance(found, Failure):
            return found
        try:
            picture = open_picture(found, max_pixels=max_pixels)
            if task.landmarks is None:
                return _reduced(picture, task.side_px)[0]
            return _crop(picture, task.landmarks, task.side_px)
        except PictureError as error:
            return Failure(error.code, error.message)
        except UsageError as error:
            return Failure(FailureCode.INTERNAL, str(error))

    return cut


def _content(task: CropTask) -> bytes | Failure:
    """Return the bytes of a picture from the first file that still has them."""
    failure = Failure(FailureCode.LOST, "no file of the index shows this picture any more")
    for path in task.paths:
        try:
            data, _ = read_bytes(Path(path))
        except PictureError as error:
            failure = Failure(FailureCode.LOST, error.message)
            continue
        if content_hash(data) == task.content_hash:
            return data
        failure = Failure(FailureCode.CHANGING, "the file has changed since it was ingested")
    return failure


def _crop(picture: Pixels, landmarks: Float32Array, side_px: int) -> bytes:
    view = picture.view(crop_reduction(picture, landmarks, side_px))
    return _jpeg(Image.fromarray(crop_face(view, landmarks, side_px)))


def _preview(picture: Pixels, faces: tuple[EmbeddedFace, ...]) -> Preview:
    jpeg, (width_px, height_px) = _reduced(picture, PREVIEW_PX)
    scale = max(width_px, height_px) / max(picture.size_px)
    boxes = [np.array([face.box.x, face.box.y, face.box.w, face.box.h]) for face in faces]
    return Preview(
        jpeg,
        width_px,
        height_px,
        scale,
        tuple((x, y, w, h) for x, y, w, h in ((box * scale).round(1).tolist() for box in boxes)),
        tuple(
            tuple((x, y) for x, y in (face.landmarks.astype(np.float64) * scale).round(1).tolist())
            for face in faces
        ),
    )


def _reduced(picture: Pixels, long_side_px: int) -> tuple[bytes, tuple[int, int]]:
    """Return a picture as a JPEG whose longer side is at most so long, and its size."""
    view = picture.view(coarsest(picture, long_side_px))
    pixels: UInt8Array = view.rgb
    image = Image.fromarray(pixels)
    share = long_side_px / max(picture.size_px)
    if share < 1.0:
        size_px = tuple(max(1, round(side * share)) for side in picture.size_px)
        image = image.resize((size_px[0], size_px[1]), Image.Resampling.LANCZOS)
    return _jpeg(image), image.size


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
