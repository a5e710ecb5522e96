"""Reading and decoding: colours, orientation, and every way to fail."""

import hashlib
import io
import os
import pickle
import random
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from facesim_index.errors import PictureError
from facesim_index.pictures import decoding
from facesim_index.pictures import files as files_
from facesim_index.pictures.colour import grey_levels, to_rgb
from facesim_index.pictures.decoding import MAX_PIXELS, decode
from facesim_index.pictures.files import content_hash, hash_file, read_bytes
from facesim_index.pictures.formats import is_cut_off, recognise
from facesim_index.records import FailureCode, FileStamp, Picture, UInt8Array

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


# Formats and modes


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_by_its_content(kind: str) -> None:
    picture = decode(SMALL[kind])
    assert (picture.info.format, picture.info.taken_at) == (kind, None)
    assert (picture.info.width_px, picture.info.height_px) == (64, 32)
    assert picture.rgb.shape == (32, 64, 3)
    assert picture.rgb.dtype == np.uint8
    assert picture.rgb.flags.c_contiguous
    assert_quarters(picture.rgb, LOSSY.get(kind, 0))


def test_a_picture_can_travel_between_processes() -> None:
    picture = pickle.loads(pickle.dumps(decode(SMALL["PNG"])))
    assert_quarters(picture.rgb)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"subsampling": 2, "quality": 60}),
        ("PNG", {"compress_level": 0}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "jpeg"}),
        ("TIFF", {"big_tiff": True}),
    ],
)
def test_variants(kind: str, options: dict[str, object]) -> None:
    assert_quarters(decode(encoded(quarters(), kind, **options)).rgb, 12)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *[(mode, "PNG") for mode in ("L", "LA", "P", "RGB", "RGBA")],
        *[(mode, "TIFF") for mode in ("L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB")],
        *[("CMYK", "JPEG"), ("L", "JPEG"), ("L", "BMP"), ("P", "BMP"), ("RGBA", "BMP")],
        *[("RGBA", "WEBP"), ("P", "GIF"), ("L", "GIF"), ("RGBA", "AVIF"), ("RGBA", "HEIF")],
    ],
)
def test_each_mode_in_a_file(mode: str, kind: str) -> None:
    source = Image.fromarray(quarters())
    if mode == "LAB":
        source = in_lab(source)
    elif mode == "LA":
        source = source.convert("L").convert("LA")
    else:
        source = source.convert(mode)
    rgb = decode(encoded(source, kind)).rgb
    if mode in ("L", "LA"):
        grey = np.asarray(Image.fromarray(quarters()).convert("L"))
        assert np.abs(rgb.astype(int) - grey[:, :, None]).max() <= 6
    else:
        assert_quarters(rgb, 24 if mode == "LAB" else 8)


def in_lab(image: Image.Image) -> Image.Image:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
    assert converted is not None
    return converted


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit_pictures(kind: str) -> None:
    bits = np.zeros((8, 16), dtype=bool)
    bits[:, 8:] = True
    rgb = decode(encoded(Image.fromarray(bits), kind)).rgb
    assert rgb[4, 4].tolist() == [0, 0, 0]
    assert rgb[4, 12].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["RGBX", "HSV", "PA", "La", "RGBa", "F", "I", "I;16", "I;16B"])
def test_modes_that_files_seldom_have(mode: str) -> None:
    source = Image.fromarray(quarters())
    if mode in ("F", "I", "I;16", "I;16B"):
        levels = np.full((4, 4), 0x80FF)
        source = Image.fromarray(levels.astype(np.uint16))
        source = source if mode == "I;16" else source.convert("I").convert(mode)
        assert np.unique(np.asarray(to_rgb(source))).tolist() == [0x80]
    elif mode == "La":
        grey = to_rgb(Image.new("LA", (2, 2), (100, 255)).convert("La"))
        assert grey.getpixel((0, 0)) == (100, 100, 100)
    else:
        source = source.convert("RGBA").convert(mode) if mode == "RGBa" else source.convert(mode)
        assert_quarters(np.asarray(to_rgb(source)), 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_transparency_is_laid_on_white(kind: str) -> None:
    rgba = np.zeros((32, 64, 4), dtype=np.uint8)
    rgba[:, :, 0] = 200
    rgba[:, 32:, 3] = 255
    options = {"lossless": True} if kind == "WEBP" else {}
    rgb = decode(encoded(rgba, kind, **options)).rgb.astype(int)
    assert np.abs(rgb[16, 8] - WHITE).max() <= 3
    assert np.abs(rgb[16, 56] - (200, 0, 0)).max() <= 8


def test_half_transparency_is_mixed_with_white() -> None:
    half = np.full((4, 4, 4), (255, 0, 0, 128), dtype=np.uint8)
    assert decode(encoded(half, "PNG")).rgb[0, 0].tolist() == [255, 127, 127]
    grey = Image.new("LA", (4, 4), (0, 128))
    assert decode(encoded(grey, "PNG")).rgb[0, 0].tolist() == [127, 127, 127]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_colour_is_white(kind: str) -> None:
    image = Image.fromarray(quarters()).quantize(4)
    assert image.palette is not None
    red = np.asarray(image)[0, 0]
    rgb = decode(encoded(image, kind, transparency=int(red))).rgb
    assert rgb[8, 16].tolist() == [255, 255, 255]
    assert rgb[8, 48].tolist() == [0, 255, 0]


def test_palette_alpha_and_colour_key_in_png() -> None:
    image = Image.fromarray(quarters()).quantize(4)
    rgb = decode(encoded(image, "PNG", transparency=b"\0\0\0\0")).rgb
    assert np.unique(rgb).tolist() == [255]
    rgb = decode(encoded(quarters(), "PNG", transparency=RED)).rgb
    assert rgb[8, 16].tolist() == [255, 255, 255]
    assert rgb[24, 48].tolist() == [255, 255, 0]


def png_16_bit_rgb(colour: tuple[int, int, int]) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">3H", *colour) * 2
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_sixteen_bits_keep_the_upper_eight() -> None:
    ramp = np.array([[0, 255, 256, 0x7FFF, 0xFFFF]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        assert decode(encoded(ramp, kind)).rgb[0, :, 1].tolist() == [0, 0, 1, 0x7F, 0xFF]
    big_endian = Image.fromarray(ramp.astype(">u2"))
    assert decode(encoded(big_endian, "TIFF")).rgb[0, :, 1].tolist() == [0, 0, 1, 0x7F, 0xFF]
    assert decode(png_16_bit_rgb((0x1234, 0x8000, 0xFF00))).rgb[0, 1].tolist() == [0x12, 0x80, 0xFF]


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([0.0, 256.0, 65535.0], [0, 1, 255]),
        ([-1.0, 0.0, 1.0], [0, 127, 255]),
        ([0.0, 5e5, 1e6], [0, 127, 255]),
        ([np.nan, 1.0, np.inf], [255, 255, 255]),
        ([np.nan, 0.0, 1.0], [0, 0, 255]),
        ([np.nan, np.nan, np.inf], [0, 0, 0]),
        ([-3.0, -3.0, -3.0], [0, 0, 0]),
        ([-3e38, 0.0, 3e38], [0, 127, 255]),
    ],
)
def test_float_pictures_find_their_white(values: list[float], levels: list[int]) -> None:
    pixels = np.array([values], dtype=np.float32)
    assert grey_levels(pixels)[0].tolist() == levels
    assert decode(encoded(pixels, "TIFF")).rgb[0, :, 2].tolist() == levels


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0, 1, 200], [0, 1, 200]),
        ([0, 256, 65535], [0, 1, 255]),
        ([0, 2**30, 2**31 - 1], [0, 127, 255]),
    ],
)
def test_integer_pictures_find_their_white(values: list[int], levels: list[int]) -> None:
    pixels = np.array([values], dtype=np.int32)
    assert decode(encoded(pixels, "TIFF")).rgb[0, :, 2].tolist() == levels


def cmyk_profile(paper_lab: tuple[int, int, int], ink_lab: tuple[int, int, int]) -> bytes:
    """A tiny ICC profile: `paper_lab` without ink, `ink_lab` for cyan alone (8-bit Lab)."""
    # One corner for each set of full inks, cyan varies slowest; black, or lcms finds no black.
    corners = {0: paper_lab, 8: ink_lab}
    grid = b"".join(bytes(corners.get(corner, (0, 128, 128))) for corner in range(16))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + grid + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = [(b"A2B0", table), (b"wtpt", white)]
    start = 128 + 4 + 12 * len(tags)
    directory, body = struct.pack(">I", len(tags)), b""
    for name, value in tags:
        directory += name + struct.pack(">II", start + len(body), len(value))
        body += value
    header = struct.pack(">I4sI", start + len(body), b"lcms", 0x02400000)
    header += b"prtrCMYKLab " + struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + directory + body


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(kind: str) -> None:
    # Lab 53, 80, 67 is sRGB red; without the profile cyan would be (0, 255, 255).
    profile = cmyk_profile(paper_lab=(255, 128, 128), ink_lab=(136, 208, 195))
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    image.paste((0, 0, 0, 0), (8, 0, 16, 16))
    rgb = decode(encoded(image, kind, icc_profile=profile)).rgb.astype(int)
    assert np.abs(rgb[8, 3] - RED).max() <= 12
    assert np.abs(rgb[8, 13] - WHITE).max() <= 6


@pytest.mark.parametrize("broken", ["garbage", "cut", "of other colours"])
def test_cmyk_with_a_useless_profile_is_converted_plainly(broken: str) -> None:
    profile = {
        "garbage": b"not a profile at all" * 20,
        "cut": cmyk_profile((255, 128, 128), (136, 208, 195))[:150],
        "of other colours": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }[broken]
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    rgb = decode(encoded(image, "TIFF", icc_profile=profile)).rgb
    assert rgb[8, 8].tolist() == [0, 255, 255]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "HEIF"])
def test_the_first_of_several_pictures(kind: str) -> None:
    others = [Image.new("RGB", (64, 32), "black")] * 2
    data = encoded(quarters(), kind, save_all=True, append_images=others)
    assert_quarters(decode(data).rgb, LOSSY.get(kind, 0))


def test_a_multi_picture_jpeg_is_a_jpeg() -> None:
    second = Image.new("RGB", (64, 32), "black")
    data = encoded(quarters(), "MPO", save_all=True, append_images=[second])
    picture = decode(data)
    assert picture.info.format == "JPEG"
    assert_quarters(picture.rgb, 6)


# Orientation and capture time


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


def exif_with(**tags: object) -> bytes:
    exif = Image.Exif()
    for name, value in tags.items():
        base = ExifTags.Base[name]
        if name in ("DateTimeOriginal", "DateTimeDigitized"):
            exif.get_ifd(ExifTags.IFD.Exif)[base] = value
        else:
            exif[base] = value
    return exif.tobytes()


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


ORIGINAL, DIGITIZED, CHANGED = "2021:07:04 12:30:00", "2021:07:05 00:00:00", "2022:01:01 01:02:03"


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


# Failures


def test_nothing_is_empty() -> None:
    assert failure(b"").code == FailureCode.EMPTY


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"BM is how this sentence begins, and it goes on for a while",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        b"%PDF-1.7\n",
        b"8BPS\0\1" + bytes(40),
        b"\0\0\1\0\1\0" + bytes(40),
        b"P6\n1 1\n255\n\0\0\0",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(40),
        b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
        bytes(1000),
    ],
)
def test_other_formats_are_unsupported(data: bytes) -> None:
    assert failure(data).code == FailureCode.UNSUPPORTED


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_off_picture_is_truncated(kind: str) -> None:
    data = encoded(photo(), kind)
    for share in (0.02, 0.1, 0.5, 0.9):
        error = failure(data[: int(len(data) * share)])
        assert error.code == FailureCode.TRUNCATED, (share, error)


def photo() -> UInt8Array:
    """A picture with something in it, so that its file is not all header."""
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    "options", [{"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"big_tiff": True}]
)
def test_a_cut_off_tiff_is_truncated_whatever_is_in_it(options: dict[str, object]) -> None:
    data = encoded(quarters(), "TIFF", **options)
    for end in range(120, len(data) - 1, 7):
        assert failure(data[:end]).code == FailureCode.TRUNCATED


@pytest.mark.parametrize("lost", [1, 2, 10])
def test_a_jpeg_without_its_last_bytes_is_truncated(lost: int) -> None:
    assert failure(SMALL["JPEG"][:-lost]).code == FailureCode.TRUNCATED


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "HEIF", "AVIF"])
def test_garbage_inside_is_corrupt(kind: str) -> None:
    """The head and the structure are sound, what they hold is noise."""
    options = {"compression": "tiff_adobe_deflate"} if kind == "TIFF" else {}
    data = bytearray(encoded(photo(), kind, **options))
    begin, end = payload(kind, bytes(data))
    data[begin:end] = random.Random(5).randbytes(end - begin)
    assert failure(bytes(data)).code == FailureCode.CORRUPT


def payload(kind: str, data: bytes) -> tuple[int, int]:
    """Where the coded pixels are (JPEG: where its tables are; noise in pixels is only noise)."""
    if kind == "JPEG":
        at = data.index(b"\xff\xc4")
        return at + 4, at + 24
    if kind == "PNG":
        return data.index(b"IDAT") + 4, data.index(b"IEND") - 8
    if kind == "WEBP":
        return data.index(b"VP8 ") + 8, len(data)
    if kind in ("HEIF", "AVIF"):
        return data.index(b"mdat") + 4, len(data)
    if kind == "GIF":
        at = data.index(b"\0" + bytes((160, 0, 120, 0))) + 7
        return at + 2, at + 200
    return 8, 200


def test_a_sound_kind_that_pillow_cannot_read_is_unsupported() -> None:
    data = bytearray(SMALL["BMP"])
    data[30:34] = struct.pack("<I", 5)  # BMP with PNG inside: for printers
    assert failure(bytes(data)).code == FailureCode.UNSUPPORTED


def huge_png(width: int, height: int) -> bytes:
    data = bytearray(SMALL["PNG"][:-30])  # cut off: decoding would fail otherwise
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_pixel_limit_is_inclusive(kind: str) -> None:
    assert failure(SMALL[kind], max_pixels=64 * 32 - 1).code == FailureCode.TOO_LARGE
    assert isinstance(decode(SMALL[kind], max_pixels=64 * 32), Picture)


def test_a_bomb_is_refused_by_its_header() -> None:
    assert failure(huge_png(60_000, 60_000)).code == FailureCode.TOO_LARGE
    assert failure(huge_png(MAX_PIXELS // 2 + 1, 2)).code == FailureCode.TOO_LARGE


def test_pillows_own_limit_is_neither_used_nor_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode(SMALL["PNG"])
    assert before == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # a warning for 64 x 32
    for kind in FORMATS:
        assert_quarters(decode(SMALL[kind]).rgb, LOSSY.get(kind, 0))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # an error
    assert failure(SMALL["WEBP"]).code == FailureCode.TOO_LARGE
    assert failure(SMALL["TIFF"]).code == FailureCode.TOO_LARGE


def test_no_memory_is_a_failure_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(image: Image.Image) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr(decoding, "to_rgb", greedy)
    assert failure(SMALL["PNG"]).code == FailureCode.OUT_OF_MEMORY


def warning_jpeg() -> bytes:
    """A sound picture about whose EXIF Pillow warns."""
    exif = exif_with(Orientation=1, DateTime=CHANGED, Software="x" * 50)
    return encoded(quarters(), "JPEG", exif=exif[:-40])


def test_pillow_does_warn_about_that_picture() -> None:
    with (
        pytest.warns(UserWarning, match="Truncated File Read"),
        Image.open(io.BytesIO(warning_jpeg())) as image,
    ):
        image.getexif()


def test_no_warning_escapes_and_the_filters_stay() -> None:
    before = list(warnings.filters)
    data = warning_jpeg()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert_quarters(decode(data).rgb, 6)
    assert caught == []
    assert warnings.filters == before


def test_overlapping_threads_keep_the_filters() -> None:
    before = list(warnings.filters)
    data = [warning_jpeg(), SMALL["PNG"], SMALL["PNG"][:60]] * 20
    outcomes = []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        for item in data:
            try:
                outcomes.append(decode(item).info.format)
            except PictureError as error:
                outcomes.append(error.code)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result()
    assert sorted(outcomes) == sorted(["JPEG", "PNG", FailureCode.TRUNCATED] * 80)
    assert warnings.filters == before


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_picture_or_a_reason(data: bytes) -> None:
    picture_or_reason(data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMATS), st.binary(max_size=200))
def test_any_bytes_after_a_magic_give_a_picture_or_a_reason(kind: str, data: bytes) -> None:
    picture_or_reason(SMALL[kind][:20] + data)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(FORMATS),
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
)
def test_any_damage_gives_a_picture_or_a_reason(
    kind: str, share: float, changes: list[tuple[float, int]]
) -> None:
    data = bytearray(SMALL[kind])
    for where, value in changes:
        data[int(where * (len(data) - 1))] = value
    picture_or_reason(bytes(data[: max(1, int(share * len(data)))]))


def picture_or_reason(data: bytes) -> None:
    outcome: Picture | PictureError
    try:
        outcome = decode(data, max_pixels=1_000_000)  # damaged sizes must not slow the test
    except PictureError as error:
        outcome = error
    if isinstance(outcome, PictureError):
        assert outcome.message
        assert outcome.message.isprintable()
    else:
        picture = outcome
        assert picture.rgb.shape == (picture.info.height_px, picture.info.width_px, 3)
        assert picture.rgb.dtype == np.uint8


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMATS), st.binary(max_size=400))
def test_the_question_of_the_end_is_always_answered(kind: str, noise: bytes) -> None:
    data = SMALL[kind]
    recognised = recognise(data)
    assert recognised == kind
    assert not is_cut_off(recognised, data)
    assert isinstance(is_cut_off(recognised, data[:20] + noise), bool)


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        ([b"avif", b"mif1"], "AVIF"),
        ([b"mif1", b"avif"], "AVIF"),
        ([b"mif1", b"heic"], "HEIF"),
        ([b"mif1", b"miaf"], "HEIF"),
        ([b"heic", b"avif"], "HEIF"),
        ([b"qt  ", b"mp42"], None),
    ],
)
def test_brands(brands: list[bytes], kind: str | None) -> None:
    major, *others = brands
    box = b"ftyp" + major + bytes(4) + b"".join(others)
    assert recognise(struct.pack(">I", len(box) + 4) + box + b"junkavifheic") == kind


# Files


def test_bytes_and_stamp(tmp_path: Path) -> None:
    path = tmp_path / "写\n真.jpg"
    path.write_bytes(b"some bytes")
    os.utime(path, ns=(1, 1_700_000_000_000_000_001))
    assert read_bytes(path) == (b"some bytes", FileStamp(10, 1_700_000_000_000_000_001))


def test_an_empty_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    data, stamp = read_bytes(tmp_path / "empty.jpg")
    assert (data, stamp.size_bytes) == (b"", 0)


@pytest.mark.skipif(os.name != "posix", reason="POSIX nodes and names")
@pytest.mark.parametrize("read", [read_bytes, hash_file])
def test_what_is_not_a_regular_file_is_unreadable(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("nothing")
    open_files = count_open_files()
    for name in ("pipe.jpg", "link.jpg", "missing.jpg", ".", "nul\0.jpg", "a" * 300):
        with pytest.raises(PictureError) as caught:
            read(tmp_path / name)
        assert caught.value.code == FailureCode.UNREADABLE
        assert str(tmp_path) not in caught.value.message
    assert count_open_files() == open_files


def count_open_files() -> int:
    listing = Path("/proc/self/fd")
    return sum(1 for _ in listing.iterdir()) if listing.exists() else 0


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as handle:
        handle.truncate(files_.MAX_FILE_BYTES + 1)  # a hole: takes no room
    with pytest.raises(PictureError) as caught:
        read_bytes(path)
    assert caught.value.code == FailureCode.TOO_LARGE
    monkeypatch.setattr(files_, "MAX_FILE_BYTES", 10)
    path.write_bytes(b"0123456789")
    assert read_bytes(path)[0] == b"0123456789"


class Meddler:
    """Changes a file between the two stats of `read_bytes`, a given number of times."""

    def __init__(self, path: Path, times: int) -> None:
        self.path, self.times, self.calls = path, times, 0
        self.stamp = files_._stamp

    def __call__(self, handle: io.BufferedReader) -> FileStamp:
        self.calls += 1
        if self.calls % 2 == 0 and self.calls // 2 <= self.times:
            self.path.write_bytes(b"version %d" % self.calls)
        return self.stamp(handle)


def test_a_file_that_changes_once_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"v 0")
    monkeypatch.setattr(files_, "_stamp", Meddler(path, times=1))
    data, stamp = read_bytes(path)
    assert data == b"version 2"
    status = path.stat()
    assert stamp == FileStamp(status.st_size, status.st_mtime_ns)


def test_a_file_that_keeps_changing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"v 0")
    monkeypatch.setattr(files_, "_READ_PAUSES_S", (0.0, 0.0, 0.0))
    counts = iter(range(1, 100))
    stamp = files_._stamp

    def growing(handle: io.BufferedReader) -> FileStamp:
        path.write_bytes(b"x" * next(counts))
        return stamp(handle)

    monkeypatch.setattr(files_, "_stamp", growing)
    with pytest.raises(PictureError) as caught:
        read_bytes(path)
    assert caught.value.code == FailureCode.CHANGING


def test_a_read_error_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")

    def failing(handle: io.BufferedReader) -> FileStamp:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files_, "_stamp", failing)
    with pytest.raises(PictureError, match="Input/output error") as caught:
        read_bytes(path)
    assert caught.value.code == FailureCode.UNREADABLE


def test_hashes_are_sha256(tmp_path: Path) -> None:
    data = random.Random(6).randbytes(300_000)
    (tmp_path / "a.jpg").write_bytes(data)
    assert content_hash(data) == hash_file(tmp_path / "a.jpg") == hashlib.sha256(data).digest()


def test_real_photos() -> None:
    folder = os.environ.get("FACESIM_TEST_DATA")
    if folder is None:
        pytest.skip("FACESIM_TEST_DATA is not set")
    photos = [path for path in sorted((Path(folder) / "photos").rglob("*.*")) if path.is_file()]
    assert photos
    for path in photos:
        picture = decode(read_bytes(path)[0])
        assert picture.rgb.shape == (picture.info.height_px, picture.info.width_px, 3)
        assert picture.rgb.std() > 10
