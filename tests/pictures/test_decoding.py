"""Reading and decoding: every format, and every way to fail."""

import io
import os
import pickle
import random
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facesim_index.errors import PictureError
from facesim_index.pictures import decoding
from facesim_index.pictures.decoding import MAX_PIXELS, decode
from facesim_index.pictures.files import read_bytes
from facesim_index.records import FailureCode, Picture, UInt8Array
from tests.pictures.encoding import (
    CHANGED,
    FORMATS,
    LOSSY,
    SMALL,
    assert_quarters,
    encoded,
    exif_with,
    failure,
    quarters,
)
from tests.property_tests import examples


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


@examples(150)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_picture_or_a_reason(data: bytes) -> None:
    picture_or_reason(data)


@examples(300)
@given(st.sampled_from(FORMATS), st.binary(max_size=200))
def test_any_bytes_after_a_magic_give_a_picture_or_a_reason(kind: str, data: bytes) -> None:
    picture_or_reason(SMALL[kind][:20] + data)


@examples(400)
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
