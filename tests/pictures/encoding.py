"""Four coloured quarters in every format, for tests of reading."""

import io

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from facesim_index.errors import PictureError
from facesim_index.pictures.decoding import decode
from facesim_index.records import UInt8Array

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
WHITE = (255, 255, 255)
Pixels = UInt8Array | NDArray[np.uint16] | NDArray[np.int32] | NDArray[np.float32]
FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "HEIF", "AVIF"]
LOSSY = {"JPEG": 6, "WEBP": 6, "HEIF": 6, "AVIF": 6}
pillow_heif.register_heif_opener()  # the tests write HEIF; reading must not need it


def quarters(width: int = 64, height: int = 32) -> UInt8Array:
    """Red and green above, blue and yellow below: no two orientations look alike."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, : width // 2] = BLUE
    pixels[height // 2 :, width // 2 :] = YELLOW
    return pixels


def encoded(image: Image.Image | Pixels, kind: str, **options: object) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


SMALL = {kind: encoded(quarters(), kind) for kind in FORMATS}


def assert_quarters(rgb: UInt8Array, tolerance: int = 0) -> None:
    """Check the middle of each quarter."""
    height, width, _ = rgb.shape
    for (y, x), colour in {(1, 1): RED, (1, 3): GREEN, (3, 1): BLUE, (3, 3): YELLOW}.items():
        pixel = rgb[height * y // 4, width * x // 4].astype(int)
        assert np.abs(pixel - colour).max() <= tolerance, (y, x, pixel)


def failure(data: bytes, **options: int) -> PictureError:
    with pytest.raises(PictureError) as caught:
        decode(data, **options)
    assert caught.value.message.isascii()
    assert 0 < len(caught.value.message) < 250
    return caught.value


def exif_with(**tags: object) -> bytes:
    exif = Image.Exif()
    for name, value in tags.items():
        base = ExifTags.Base[name]
        if name in ("DateTimeOriginal", "DateTimeDigitized"):
            exif.get_ifd(ExifTags.IFD.Exif)[base] = value
        else:
            exif[base] = value
    return exif.tobytes()


ORIGINAL, DIGITIZED, CHANGED = "2021:07:04 12:30:00", "2021:07:05 00:00:00", "2022:01:01 01:02:03"
