"""Damaged pictures without end: small seeds in every format, and mutations of them.

Input number `n` of a seed `s` depends on both numbers, on the seed pictures and on nothing else,
so that any failure can be made again.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

SIZE_PX = (97, 75)  # no power of two, and seldom the value of any other field

_TAG_ORIENTATION, _TAG_DATE = 0x0112, 0x0132
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_MOST_BYTES = 1 << 20

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def seed_pictures() -> dict[str, bytes]:
    """Return small sound pictures by name, with every feature that encoders at hand can write."""
    width, height = SIZE_PX
    random_pixels = np.random.default_rng(5).integers(0, 255, (height, width, 3), dtype=np.uint8)
    random_pixels[16:64, 16:64] = (200, 30, 40)
    rgb = Image.fromarray(random_pixels).resize(SIZE_PX)
    rgba, grey, palette = rgb.convert("RGBA"), rgb.convert("L"), rgb.convert("P")
    rgba.putalpha(grey)
    frames = [rgb.rotate(angle) for angle in (30, 60, 90)]
    exif = Image.Exif()
    exif[_TAG_ORIENTATION], exif[_TAG_DATE] = 6, "2021:07:04 12:30:00"
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)  # the time at which it was made
    extra: dict[str, object] = {"exif": exif.tobytes(), "icc_profile": bytes(profile)}
    animated: dict[str, object] = {"save_all": True, "append_images": frames, "duration": 50}
    made: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "plain.jpg": (rgb, "JPEG", {}),
        "extra.jpg": (rgb, "JPEG", {**extra, "comment": b"c" * 40, "restart_marker_rows": 1}),
        "progressive.jpg": (rgb, "JPEG", {"progressive": True, "subsampling": 0}),
        "grey.jpg": (grey, "JPEG", {}),
        "cmyk.jpg": (rgb.convert("CMYK"), "JPEG", {}),
        "plain.png": (rgb, "PNG", {}),
        "extra.png": (rgba, "PNG", extra),
        "palette.png": (palette, "PNG", {"transparency": 3}),
        "deep.png": (grey.convert("I;16"), "PNG", {}),
        "animated.png": (rgb, "PNG", animated),
        "plain.webp": (rgb, "WEBP", {}),
        "extra.webp": (rgba, "WEBP", extra),
        "lossless.webp": (rgb, "WEBP", {"lossless": True}),
        "animated.webp": (rgb, "WEBP", animated),
        "plain.gif": (palette, "GIF", {}),
        "animated.gif": (palette, "GIF", animated),
        "plain.tif": (rgb, "TIFF", extra),
        "lzw.tif": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "deflate.tif": (rgba, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "jpeg.tif": (rgb, "TIFF", {"compression": "jpeg"}),
        "packbits.tif": (grey, "TIFF", {"compression": "packbits"}),
        "fax.tif": (rgb.convert("1"), "TIFF", {"compression": "group4"}),
        "big.tif": (rgb, "TIFF", {"big_tiff": True}),
        "pages.tif": (rgb, "TIFF", {"save_all": True, "append_images": frames}),
        "plain.avif": (rgb, "AVIF", {}),
        "extra.avif": (rgba, "AVIF", extra),
        "animated.avif": (rgb, "AVIF", animated),
        "plain.bmp": (rgb, "BMP", {}),
        "palette.bmp": (palette, "BMP", {}),
        "plain.dib": (rgb, "DIB", {}),
    }
    pictures = {name: _saved(*how) for name, how in made.items()}
    for name, picture in (("plain.heic", rgb), ("alpha.heic", rgba)):
        stream = io.BytesIO()
        pillow_heif.from_pillow(picture).save(stream, exif=exif.tobytes(), quality=60)
        pictures[name] = stream.getvalue()
    pictures["animated.avif"] = _timeless(pictures["animated.avif"])
    return pictures


def _timeless(data: bytes) -> bytes:
    """Return an AVIF sequence without the times at which it was made."""
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        at = data.index(box) + 4
        n_bytes = 16 if data[at] == 1 else 8  # version 1 has times of 64 bits
        data = data[: at + 4] + bytes(n_bytes) + data[at + 4 + n_bytes :]
    return data


def _saved(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def mutated(seed: int, number: int, pictures: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name of the picture that was damaged, and the damaged bytes.

    Parameters
    ----------
    seed, number : int
    pictures : dict of bytes
        In an order that is always the same.
    """
    chance = random.Random(f"{seed}/{number}")
    names = list(pictures)
    name = chance.choice(names)
    kin = [data for other, data in pictures.items() if other[-4:] == name[-4:]]
    others = kin if chance.random() < 0.7 else list(pictures.values())
    data = pictures[name]
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5))):
        data = chance.choice(_MUTATIONS)(chance, data, others)[:_MOST_BYTES]
    if data.startswith(b"\x89PNG") and chance.random() < 0.8:
        data = with_right_checksums(data)
    return name, data


def with_right_checksums(data: bytes) -> bytes:
    """Return a PNG whose chunks all have the right checksum, or no decoder looks inside."""
    out, at = [data[:8]], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        if at + 12 + length > len(data):
            break
        out.append(data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(out) + data[at:]


def _flip_bits(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _n in range(chance.choice((1, 1, 2, 4, 16, 64)) if data else 0):
        changed[_place(chance, data)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _set_bytes(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _n in range(chance.choice((1, 2, 8)) if data else 0):
        changed[_place(chance, data)] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
    return bytes(changed)


def _set_number(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Write a number at the edge of its range, as if it were a length or an offset."""
    edge = chance.choice((*_EDGES, len(data), len(data) - 1, len(data) + 1, chance.getrandbits(32)))
    width = chance.choice((1, 2, 2, 4, 4, 4, 8))
    number = (edge % (1 << 8 * width)).to_bytes(width, chance.choice(("big", "little")))
    at = _place(chance, data)
    return data[:at] + number + data[at + width :]


def _set_size(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Write another width or height wherever the header seems to say it."""
    formats = (">H", "<H", ">I", "<I")
    for pattern in chance.sample(formats, len(formats)):
        size = chance.choice(SIZE_PX)
        at = data.find(struct.pack(pattern, size))
        if 0 <= at < 2000:
            most = 0xFFFF if pattern[1] == "H" else chance.choice((0xFFFF, 200_000, 0xFFFFFFFF))
            new = chance.choice((0, 1, size + 1, 2 * size, 4096, chance.randrange(most + 1), most))
            return data[:at] + struct.pack(pattern, new) + data[at + struct.calcsize(pattern) :]
    return _set_number(chance, data, ())


def _cut(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: _place(chance, data)]


def _remove(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    return data[:at] + data[at + chance.choice((1, 2, 4, 12, 100, 1000)) :]


def _insert(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    return data[:at] + chance.randbytes(chance.choice((1, 2, 4, 100))) + data[at:]


def _repeat(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    piece = data[at : at + chance.choice((4, 12, 50, 300, 5000))]
    return data[:at] + piece * chance.choice((2, 3, 50, 500)) + data[at:]


def _splice(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others)
    return data[: _place(chance, data)] + other[_place(chance, other) :]


def _overwrite(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others)
    start = _place(chance, other)
    piece = other[start : start + chance.choice((4, 16, 100, 1000))]
    at = _place(chance, data)
    return data[:at] + piece + data[at + len(piece) :]


def _inside_pixels(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Damage what the first compressed chunk of a PNG unpacks to; others anywhere."""
    at = data.find(b"IDAT")
    if at < 4 or not data.startswith(b"\x89PNG"):
        return _flip_bits(chance, data, others)
    (length,) = struct.unpack_from(">I", data, at - 4)
    try:
        plain = zlib.decompress(data[at + 4 : at + 4 + length])
    except zlib.error:
        return _flip_bits(chance, data, others)
    packed = zlib.compress(chance.choice((_flip_bits, _cut, _repeat))(chance, plain, others))
    return (
        with_right_checksums(
            data[: at - 4] + struct.pack(">I", len(packed)) + b"IDAT" + packed + bytes(4)
        )
        + data[at + 8 + length :]
    )


def _place(chance: random.Random, data: bytes) -> int:
    """Choose a place, the headers at the beginning more often."""
    if not data:
        return 0
    return chance.randrange(min(len(data), 200) if chance.random() < 0.4 else len(data))


_MUTATIONS: tuple[Mutation, ...] = (
    *(_flip_bits, _set_bytes, _set_number, _set_number, _set_size, _cut, _remove, _insert),
    *(_repeat, _splice, _overwrite, _inside_pixels),
)
