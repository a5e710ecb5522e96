"""Whatever the mode of a picture, its colours are those that people see."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from facesim_index.pictures.colour import grey_levels, to_rgb
from facesim_index.pictures.decoding import decode
from tests.pictures.encoding import RED, WHITE, assert_quarters, encoded, quarters


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
