"""Reading the bytes of a picture and decoding them to upright RGB.

The format is what the bytes say, never the suffix, and its own Pillow decoder is called
directly: neither Pillow's long list of other formats nor the helper programs that some of them
start can be reached, and no process-wide setting of Pillow is touched.

Messages of a `PictureError` leave the file's name out: decoding does not know it, and they are
stored beside the file's row.
"""

import contextlib
import io
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import IO

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile, DibImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from facesim_index.errors import PictureError
from facesim_index.pictures.colour import to_rgb
from facesim_index.pictures.formats import Format, is_cut_off, recognise
from facesim_index.pictures.views import View, WholePicture
from facesim_index.records import FailureCode, Picture, PictureInfo, UInt8Array

MAX_PIXELS = 300_000_000
"""A picture with more pixels than this is not decoded (the largest phone cameras: 200 million).

TIFF and WebP also stop at twice `PIL.Image.MAX_IMAGE_PIXELS`, which belongs to the program
that calls us.
"""


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNS_OF_ARRAYS: dict[Image.Transpose, Callable[[UInt8Array], UInt8Array]] = {
    Image.Transpose.FLIP_LEFT_RIGHT: lambda rgb: rgb[:, ::-1],
    Image.Transpose.ROTATE_180: lambda rgb: rgb[::-1, ::-1],
    Image.Transpose.FLIP_TOP_BOTTOM: lambda rgb: rgb[::-1],
    Image.Transpose.TRANSPOSE: lambda rgb: rgb.transpose(1, 0, 2),
    Image.Transpose.ROTATE_270: lambda rgb: rgb[::-1].transpose(1, 0, 2),
    Image.Transpose.TRANSVERSE: lambda rgb: rgb[::-1, ::-1].transpose(1, 0, 2),
    Image.Transpose.ROTATE_90: lambda rgb: rgb[:, ::-1].transpose(1, 0, 2),
}
#: Turns that swap width and height, and those after which the stored right or lower edge is
#: the left or the upper one.
_TRANSPOSED = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))
_BEYOND_LEFT = frozenset(_TURNS[orientation] for orientation in (2, 3, 6, 7))
_BEYOND_TOP = frozenset(_TURNS[orientation] for orientation in (3, 4, 7, 8))

_JPEG_REDUCTIONS = (1, 2, 4, 8)
_USUAL_JPEG_COLOURS = frozenset({"YCbCr", "Gray"})
_LEAST_SIDE_PX = 32  # of a reduced picture; a narrower one is decoded whole
_TAGS = ExifTags.Base
_TURNED_BY_DECODER: frozenset[Format] = frozenset({"HEIF", "TIFF"})

# How Pillow and libheif word "this may be sound, but it is beyond me".
_UNSUPPORTED_HINTS = ("unsupported", "not supported", "cannot handle", "unknown pixel mode")

_DECODERS: dict[Format, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
    "DIB": DibImageFile,
    "TIFF": TiffImageFile,
    "GIF": GifImageFile,
    "AVIF": AvifImageFile,
}


def use_one_thread() -> None:
    """Let decoders that start threads of their own use one thread, for the whole process.

    This is for worker processes, of which there is one for each core already.
    """
    import pillow_heif
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.options.DECODE_THREADS = 1


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode every pixel of a picture to upright RGB.

    Of several pictures in one file the first is taken (HEIF: the primary one).  Transparent pixels
    are put on white, 16 bits become the upper 8, and CMYK is converted through its ICC profile when
    it has a usable one.

    Parameters
    ----------
    data : bytes
        The whole content of a file: JPEG, PNG, WebP, BMP, TIFF, GIF, HEIF or AVIF.
    max_pixels : int, default=MAX_PIXELS
        A picture with more pixels, by its header, is refused before anything is decoded; at
        least 1.

    Returns
    -------
    picture : Picture
        Its array has the shape (height, width, 3) and is read-only.

    Raises
    ------
    PictureError
        EMPTY, UNSUPPORTED, TRUNCATED (the file ends too early), CORRUPT, TOO_LARGE or
        OUT_OF_MEMORY.

    Examples
    --------
    >>> stream = io.BytesIO()
    >>> Image.new("L", (40, 30), 128).save(stream, "PNG")
    >>> picture = decode(stream.getvalue())
    >>> picture.info.format, picture.rgb.shape, picture.rgb[0, 0].tolist()
    ('PNG', (30, 40, 3), [128, 128, 128])
    """
    with _decoder(data, max_pixels) as (kind, image):
        image.load()
        exif = _exif(image)
        rgb = to_rgb(image)
        if kind not in _TURNED_BY_DECODER:
            rgb = _upright(rgb, exif.get(_TAGS.Orientation))
        pixels: UInt8Array = np.asarray(rgb, dtype=np.uint8)
    info = PictureInfo(pixels.shape[1], pixels.shape[0], kind, _taken_at(exif))
    return Picture(pixels, info)


def open_picture(data: bytes, *, max_pixels: int = MAX_PIXELS) -> "WholeFile | JpegFile":
    """Open a picture that is decoded at the size that is asked for, where its format allows.

    Parameters
    ----------
    data : bytes
        The whole content of a file, as for `decode`.
    max_pixels : int, default=MAX_PIXELS
        As for `decode`.

    Returns
    -------
    picture : Pixels with an `info`
        A JPEG is decoded only when a view of it is asked for, which may raise any
        `PictureError`.  Pictures of other formats can only be decoded whole, and are so here.

    Raises
    ------
    PictureError
        As for `decode`.

    Examples
    --------
    >>> stream = io.BytesIO()
    >>> Image.new("RGB", (400, 300)).save(stream, "JPEG")
    >>> picture = open_picture(stream.getvalue())
    >>> picture.reductions, picture.view(4).rgb.shape
    ((1, 2, 4, 8), (75, 100, 3))
    """
    if recognise(data) != "JPEG":
        return WholeFile(decode(data, max_pixels=max_pixels))
    with _decoder(data, max_pixels) as (_, image):
        return JpegFile(data, (image.width, image.height), _exif(image))


class WholeFile(WholePicture):
    """A file that is decoded already; satisfies `facesim_index.pictures.views.Pixels`.

    Parameters
    ----------
    picture : Picture

    Attributes
    ----------
    info : PictureInfo
        Size, format and date of the picture.
    """

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture.rgb)
        self.info = picture.info


class JpegFile:
    """A JPEG, decoded each time it is viewed; satisfies `facesim_index.pictures.views.Pixels`.

    Parameters
    ----------
    data : bytes
        The whole content of the file.
    stored_size_px : tuple of int
        Width and height before the picture is turned upright.
    exif : dict of int to object
        Numbers of the EXIF tags and their values.

    Attributes
    ----------
    size_px : tuple of int
        Width and height of the upright picture.
    info : PictureInfo
        Size, format and date of the picture.
    """

    def __init__(
        self, data: bytes, stored_size_px: tuple[int, int], exif: dict[int, object]
    ) -> None:
        self._data = data
        self._stored_px = stored_size_px
        orientation = exif.get(_TAGS.Orientation)
        self._turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
        self.size_px = stored_size_px[::-1] if self._turn in _TRANSPOSED else stored_size_px
        self.info = PictureInfo(*self.size_px, "JPEG", _taken_at(exif))

    @property
    def reductions(self) -> tuple[int, ...]:
        """The reductions of libjpeg at which the shorter side keeps at least 32 pixels."""
        shortest_px = min(self._stored_px)
        return tuple(r for r in _JPEG_REDUCTIONS if r == 1 or shortest_px >= r * _LEAST_SIDE_PX)

    def view(self, reduction: int) -> View:
        """Decode the picture, reduced by libjpeg's scaled transforms.

        Parameters
        ----------
        reduction : int
            One of `reductions`.

        Returns
        -------
        View

        Raises
        ------
        PictureError
            TRUNCATED, CORRUPT, UNSUPPORTED or OUT_OF_MEMORY.
        """
        pixels = self._decoded(reduction)
        if self._turn is not None:
            pixels = np.ascontiguousarray(_TURNS_OF_ARRAYS[self._turn](pixels))
        # The last column and row reach beyond the stored picture; turned, they may be the first.
        beyond_x, beyond_y = (
            shown * reduction - whole
            for shown, whole in zip(pixels.shape[1::-1], self.size_px, strict=True)
        )
        origin_px = (
            -beyond_x if self._turn in _BEYOND_LEFT else 0,
            -beyond_y if self._turn in _BEYOND_TOP else 0,
        )
        return View(pixels, self.size_px, reduction, origin_px)

    def _decoded(self, reduction: int) -> UInt8Array:
        """Return the pixels as they are stored."""
        width_px, height_px = self._stored_px
        with _decoder(self._data, width_px * height_px) as (_, image):
            pixels = _quickly_decoded(
                self._data, -(-width_px // reduction), -(-height_px // reduction)
            )
            if pixels is not None:
                return pixels
            if reduction > 1:
                image.draft(None, (width_px // reduction, height_px // reduction))
            image.load()
            return np.asarray(to_rgb(image), dtype=np.uint8)


def _quickly_decoded(data: bytes, width_px: int, height_px: int) -> UInt8Array | None:
    """Decode a JPEG that is sound and of the usual kind, in less than half of Pillow's time.

    Both use libjpeg-turbo and give the same pixels.  Pillow is left to deal with JPEGs that are
    damaged or unusual; for those the result is None.

    Parameters
    ----------
    data : bytes
    width_px, height_px : int
        Of the picture at one of the `_JPEG_REDUCTIONS`.

    Returns
    -------
    ndarray of shape (height_px, width_px, 3), uint8, or None
    """
    try:
        if simplejpeg.decode_jpeg_header(data)[2] not in _USUAL_JPEG_COLOURS:
            return None
        pixels = simplejpeg.decode_jpeg(data, min_width=width_px, min_height=height_px)
    except ValueError:
        return None
    return pixels if pixels.shape == (height_px, width_px, 3) else None


@contextlib.contextmanager
def _decoder(data: bytes, max_pixels: int) -> Iterator[tuple[Format, ImageFile.ImageFile]]:
    """Open a picture; whatever goes wrong until the block ends is a PictureError."""
    if not data:
        raise PictureError(FailureCode.EMPTY, "the file is empty")
    kind = recognise(data)
    if kind is None:
        raise PictureError(FailureCode.UNSUPPORTED, "not a picture in a format that can be read")
    with _QUIET, _failures_of(kind, data), _open_image(kind, io.BytesIO(data)) as image:
        if image.width * image.height > max_pixels:
            raise PictureError(
                FailureCode.TOO_LARGE,
                f"{image.width} x {image.height} pixels, more than the limit of {max_pixels:,}",
            )
        yield kind, image


def _open_image(kind: Format, stream: IO[bytes]) -> ImageFile.ImageFile:
    if kind == "HEIF":
        from pillow_heif import HeifImageFile  # loads libheif: only for those who have such files

        decoder: type[ImageFile.ImageFile] = HeifImageFile
    else:
        decoder = _DECODERS[kind]
    return decoder(stream)


class _QuietPillow:
    """Silence Pillow's warnings while any thread decodes.

    `warnings.catch_warnings` restores the filters that it found; two threads that overlap would
    restore each other's.  So the first one in saves and the last one out restores.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._threads += 1
            if self._threads == 1:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\b")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads == 0:
                self._saved.__exit__(None, None, None)


_QUIET = _QuietPillow()


@contextlib.contextmanager
def _failures_of(kind: Format, data: bytes) -> Iterator[None]:
    """Turn whatever a decoder raises into a PictureError."""
    try:
        yield
    except PictureError:
        raise
    except MemoryError as error:
        message = f"not enough memory to decode the {kind} data"
        raise PictureError(FailureCode.OUT_OF_MEMORY, message) from error
    except Exception as error:  # decoders fed with garbage raise any type there is
        raise PictureError(*_diagnosis(kind, data, error)) from error


def _diagnosis(kind: Format, data: bytes, error: Exception) -> tuple[FailureCode, str]:
    reason = " ".join(str(error).split())[:160].encode("ascii", "backslashreplace").decode()
    said = reason.lower()
    if isinstance(error, Image.DecompressionBombError) or "security limit" in said:
        return FailureCode.TOO_LARGE, f"larger than the {kind} decoder accepts"
    if "out of memory" in said or "memory allocation" in said:
        return FailureCode.OUT_OF_MEMORY, f"not enough memory to decode the {kind} data"
    if is_cut_off(kind, data) or (kind == "TIFF" and "truncated" in said):
        return FailureCode.TRUNCATED, f"the {kind} data ends too early"
    if any(hint in said for hint in _UNSUPPORTED_HINTS):
        return FailureCode.UNSUPPORTED, f"a kind of {kind} that cannot be read: {reason}"
    return FailureCode.CORRUPT, f"the {kind} data is damaged: {reason or type(error).__name__}"


def _exif(image: ImageFile.ImageFile) -> dict[int, object]:
    """Return the few tags used here; what is broken in EXIF is left out."""
    tags: dict[int, object] = {}
    with contextlib.suppress(Exception):  # broken EXIF raises any type, too
        exif = image.getexif()
        for tag in (_TAGS.Orientation, _TAGS.DateTime):
            tags[tag] = exif.get(tag)
        details = exif.get_ifd(ExifTags.IFD.Exif)
        for tag in (_TAGS.DateTimeOriginal, _TAGS.DateTimeDigitized):
            tags[tag] = details.get(tag)
    return tags


def _upright(rgb: Image.Image, orientation: object) -> Image.Image:
    method = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return rgb if method is None else rgb.transpose(method)


def _taken_at(exif: dict[int, object]) -> str | None:
    for tag in (_TAGS.DateTimeOriginal, _TAGS.DateTimeDigitized, _TAGS.DateTime):
        text = exif.get(tag)
        if isinstance(text, str):
            with contextlib.suppress(ValueError):
                moment = datetime.strptime(text.strip(" \0"), "%Y:%m:%d %H:%M:%S")
                return moment.isoformat()
    return None
