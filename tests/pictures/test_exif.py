"""Pictures are upright, and know when they were taken."""

import random
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import ExifTags, Image

from facesim_index.pictures.decoding import decode
from facesim_index.records import UInt8Array
from tests.pictures.encoding import (
    CHANGED,
    DIGITIZED,
    LOSSY,
    ORIGINAL,
    SMALL,
    assert_quarters,
    encoded,
    exif_with,
    quarters,
)


def stored_for(upright: UInt8Array, orientation: int) -> UInt8Array:
    """Turn a picture such that the orientation tag turns it back."""
    turn: Callable[[UInt8Array], UInt8Array] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    return np.ascontiguousarray(turn(upright))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_upright_by_exif(kind: str, orientation: int) -> None:
    stored = stored_for(quarters(), orientation)
    picture = decode(encoded(stored, kind, exif=exif_with(Orientation=orientation)))
    assert (picture.info.width_px, picture.info.height_px) == (64, 32)
    assert picture.rgb.shape == (32, 64, 3)
    assert picture.rgb.flags.c_contiguous
    assert_quarters(picture.rgb, LOSSY.get(kind, 0))


def test_grey_and_transparent_pictures_are_turned_too() -> None:
    stored = Image.fromarray(stored_for(quarters(), 6)).convert("RGBA")
    assert_quarters(decode(encoded(stored, "PNG", exif=exif_with(Orientation=6))).rgb)
    ramp = np.zeros((64, 32), dtype=np.uint16)
    ramp[:32] = 0xFFFF
    grey = decode(encoded(ramp, "PNG", exif=exif_with(Orientation=6))).rgb
    assert grey.shape == (32, 64, 3)
    assert (grey[16, 8, 0], grey[16, 56, 0]) == (0, 255)


def test_exif_does_not_turn_heif() -> None:
    """HEIF turns by properties of its own; what its EXIF says about it is for information."""
    data = encoded(quarters(), "HEIF", exif=exif_with(Orientation=1))
    at = data.index(b"\x01\x12\0\3\0\0\0\1") + 8
    turned = data[:at] + b"\0\6" + data[at + 2 :]
    assert_quarters(decode(turned).rgb, 6)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_senseless_orientation_is_ignored(orientation: int) -> None:
    assert_quarters(
        decode(encoded(quarters(), "JPEG", exif=exif_with(Orientation=orientation))).rgb, 6
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_capture_time_in_every_format(kind: str) -> None:
    exif = exif_with(DateTimeOriginal=ORIGINAL, DateTime=CHANGED, Orientation=3)
    assert decode(encoded(quarters(), kind, exif=exif)).info.taken_at == "2021-07-04T12:30:00"


@pytest.mark.parametrize(
    ("tags", "taken_at"),
    [
        ({"DateTimeDigitized": DIGITIZED, "DateTime": CHANGED}, "2021-07-05T00:00:00"),
        ({"DateTime": CHANGED}, "2022-01-01T01:02:03"),
        ({"DateTimeOriginal": "0000:00:00 00:00:00", "DateTime": CHANGED}, "2022-01-01T01:02:03"),
        ({"DateTimeOriginal": ORIGINAL + "\0"}, "2021-07-04T12:30:00"),
        ({"DateTimeOriginal": "    :  :     :  :  "}, None),
        ({"DateTimeOriginal": "2021:13:45 99:99:99"}, None),
        ({"DateTimeOriginal": "last summer"}, None),
        ({"DateTimeOriginal": ""}, None),
        ({"DateTime": 20220101}, None),
        ({}, None),
    ],
)
def test_capture_time(tags: dict[str, object], taken_at: str | None) -> None:
    assert decode(encoded(quarters(), "JPEG", exif=exif_with(**tags))).info.taken_at == taken_at


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_broken_exif_costs_nothing_but_itself(kind: str) -> None:
    whole = exif_with(Orientation=3, DateTimeOriginal=ORIGINAL)
    rng = random.Random(3)
    broken = [whole[:length] for length in range(len(whole))]
    broken += [whole[:6] + bytes(rng.choices(range(256), k=len(whole) - 6)) for _ in range(20)]
    base = SMALL[kind]
    if kind in ("JPEG", "PNG", "WEBP"):
        files = [encoded(quarters(), kind, exif=exif) for exif in broken if exif]
    else:  # their encoders refuse broken EXIF, so it is broken afterwards
        base = encoded(quarters(), kind, exif=whole)
        at = base.index(whole[-20:])
        files = [
            base[:at] + bytes(rng.choices(range(256), k=20)) + base[at + 20 :] for _ in range(10)
        ]
    for data in files:
        assert decode(data).rgb.shape == (32, 64, 3)


def test_broken_exif_in_tiff_costs_nothing_but_itself() -> None:
    data = encoded(quarters(), "TIFF", exif=exif_with(DateTimeOriginal=ORIGINAL))
    at = data.index(struct.pack("<HHI", ExifTags.IFD.Exif, 4, 1)) + 8
    for pointer in (0, 1, len(data) - 1, len(data) + 1000, 0xFFFFFFFF):
        picture = decode(data[:at] + struct.pack("<I", pointer) + data[at + 4 :])
        assert_quarters(picture.rgb)
        assert picture.info.taken_at is None
