"""Which pictures surely cost little, by their structure alone."""

import random

import numpy as np
import pytest
from PIL import Image

from facesim_index.pictures import formats
from facesim_index.pictures.decoding import decode
from facesim_index.pictures.formats import is_plain
from tests.reliability.hostile_files import (
    black_png,
    bombs,
    encoded,
    impostors,
    slow_jpeg,
)

PHOTO = Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8))


def exif(size_bytes: int) -> bytes:
    """A directory without an entry, and so many zeros behind it."""
    return b"Exif\0\0MM\0*\0\0\0\x08" + bytes(size_bytes)


USUAL = {
    "jpeg": encoded(PHOTO, "JPEG"),
    "jpeg of one channel": encoded(PHOTO.convert("L"), "JPEG"),
    "jpeg of four channels": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "progressive jpeg": encoded(PHOTO, "JPEG", progressive=True),
    "jpeg with exif": encoded(PHOTO, "JPEG", exif=exif(40_000)),
    "jpeg with a profile": encoded(PHOTO, "JPEG", icc_profile=bytes(600_000)),
    "png": encoded(PHOTO, "PNG"),
    "png with a palette": encoded(PHOTO.convert("P"), "PNG"),
    "png with exif": encoded(PHOTO, "PNG", exif=exif(4000)),
    "webp": encoded(PHOTO, "WEBP"),
    "webp without loss": encoded(PHOTO, "WEBP", lossless=True),
    "webp with alpha": encoded(PHOTO.convert("RGBA"), "WEBP"),
    "webp with exif": encoded(PHOTO, "WEBP", exif=exif(4000)),
}
FRAMES = [Image.new("RGB", (32, 32), (number, 9, 9)) for number in range(9)]
MORE = {"save_all": True, "append_images": FRAMES}
JPEG, PNG, WEBP = USUAL["jpeg"], USUAL["png"], USUAL["webp"]
COSTLY = {
    **bombs(),
    **impostors(),
    "scans.jpg": slow_jpeg(20),
    "high.jpg": encoded(Image.new("L", (1100, 65_000)), "JPEG"),
    "high.png": black_png(1000, 60_000),
    "two headers.png": PNG[:33] + PNG[8:],
    "text.png": black_png(64, 64, *[b"\0\0\0\x03tEXtk\0v\0\0\0\0"] * 300),
    "exif.png": encoded(PHOTO, "PNG", exif=exif(70_000)),
    "frames.webp": encoded(FRAMES[0], "WEBP", **MORE),
    "exif.webp": encoded(PHOTO, "WEBP", exif=exif(70_000)),
    "twice exif.jpg": JPEG[:2] + (b"\xff\xe1\0\x0aExif\0\0MM") * 2 + JPEG[2:],
    "segments.jpg": JPEG[:2] + b"\xff\xfe\0\x02" * 300 + JPEG[2:],
    "profile.jpg": encoded(PHOTO, "JPEG", icc_profile=bytes(2_000_000)),
    "no end.jpg": JPEG[:200],
    "no pixels.jpg": JPEG[:2] + JPEG[JPEG.index(b"\xff\xda") :],
    "arithmetic.jpg": JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1),
    "no end.png": PNG[:40],
    "no end.webp": WEBP[:24],
    "zeros.jpg": b"\xff\xd8\xff" + bytes(1000),
    "nothing": b"",
    "many bytes.jpg": JPEG + bytes(formats.MOST_PLAIN_BYTES),
    **{
        f"a {kind}": encoded(PHOTO, kind)
        for kind in ("GIF", "BMP", "TIFF", "HEIF", "AVIF")  # not told without their decoders
    },
}


@pytest.mark.parametrize("name", USUAL)
def test_usual_pictures_are_plain(name: str) -> None:
    assert is_plain(USUAL[name])
    assert decode(USUAL[name]).rgb.shape == (90, 120, 3)


@pytest.mark.parametrize("name", COSTLY)
def test_whatever_may_cost_much_is_not(name: str) -> None:
    assert not is_plain(COSTLY[name])


def test_frames_of_a_png_count_as_what_is_not_the_picture() -> None:
    many = [Image.new("RGB", (32, 32), (number, 9, 9)) for number in range(250)]
    assert is_plain(encoded(FRAMES[0], "PNG", **MORE))  # few, and none but the first is decoded
    moving = encoded(many[0], "PNG", save_all=True, append_images=many[1:])
    assert not is_plain(moving)


def test_no_bytes_are_too_odd_to_be_told_about() -> None:
    rng = random.Random(20)
    pictures = sorted(USUAL.values())
    told = {True: 0, False: 0}
    for _ in range(4000):
        data = bytearray(rng.choice(pictures))
        for _ in range(rng.choice((1, 1, 4, 30))):
            data[rng.randrange(min(len(data), rng.choice((64, 1 << 20))))] = rng.randrange(256)
        told[is_plain(bytes(data[: rng.choice((len(data), rng.randrange(len(data))))]))] += 1
    assert min(told.values()) > 500
