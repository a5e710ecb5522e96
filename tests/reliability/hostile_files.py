"""Pictures made to do harm, by name: what is in them, and what may come of them."""

import io
import struct
import zipfile
import zlib

import pillow_heif
from PIL import Image

_FLAT = Image.new("RGB", (64, 48), (10, 200, 30))
_IFD_POINTERS = (0x8769, 0x8825, 0xA005)  # Exif, GPS, interoperability


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of a picture."""
    stream = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(stream, **options)
    else:
        image.save(stream, kind, **options)
    return stream.getvalue()


def bombs() -> dict[str, bytes]:
    """Few bytes that say they are very many pixels; none may be decoded."""
    tif = _tiff_with
    return {
        "bomb.png": black_png(50_000, 50_000),
        "bomb.gif": b"GIF89a\xff\xff\xff\xff" + encoded(_FLAT.convert("P"), "GIF")[10:],
        "bomb.bmp": _patched(encoded(_FLAT, "BMP"), 18, struct.pack("<ii", 2**31 - 1, -(2**31))),
        "bomb.webp": _webp_of(16_384, 65_536),
        "wide.tif": tif(256, 2**32 - 1),
        "high.tif": tif(257, 2**32 - 1),
        "tall.tif": tif(257, 2**22),
    }


def oddities() -> dict[str, bytes]:
    """Sound pictures of a kind that breaks careless readers; all can be read."""
    made = {}
    sizes = {"wide": (60_000, 20), "tall": (1, 60_000), "dot": (1, 1)}
    kinds = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "bmp": "BMP", "gif": "GIF"}
    for name, size in sizes.items():
        image = Image.new("L", size)
        for suffix, kind in kinds.items():
            made[f"{name}.{suffix}"] = encoded(image, kind)
    dot = Image.new("RGB", (1, 1), (9, 9, 9))
    made |= {f"dot.{kind.lower()}": encoded(dot, kind) for kind in ("WEBP", "AVIF", "HEIF")}
    frames = [Image.new("P", (16, 16), number % 250) for number in range(5000)]
    made["frames.gif"] = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    some = [Image.new("RGB", (16, 16), (number % 250, 0, 0)) for number in range(3000)]
    for suffix, kind in (("png", "PNG"), ("webp", "WEBP")):
        made[f"frames.{suffix}"] = encoded(some[0], kind, save_all=True, append_images=some[1:])
    made["pages.tif"] = encoded(_FLAT, "TIFF", save_all=True, append_images=[_FLAT] * 300)
    made["exif.jpg"] = _jpeg_with(*[(0xE1, b"Exif\0\0" + bytes(65_000))] * 60)
    profile = [b"ICC_PROFILE\0" + bytes((number, 255)) + bytes(65_000) for number in range(1, 256)]
    made["icc.jpg"] = _jpeg_with(*((0xE2, part) for part in profile))
    made["exif.png"] = black_png(64, 64, _chunk(b"eXIf", b"MM\0*\0\0\0\x08" + bytes(20_000_000)))
    made["text.png"] = black_png(64, 64, *[_chunk(b"tEXt", b"k\0v")] * 20_000)
    return made | _circles() | _polyglots()


def _circles() -> dict[str, bytes]:
    """Offsets that lead to themselves, beyond the end, or nowhere."""
    itself = [(tag, 4, 1, 8) for tag in _IFD_POINTERS]
    most = 2**32 - 1
    beyond = [(0x112, 3, most, most - 15), (0x132, 2, most, 4), (0x8769, 4, 1, most)]
    loop = bytearray(encoded(_FLAT, "TIFF"))
    (directory,) = struct.unpack_from("<I", loop, 4)
    (count,) = struct.unpack_from("<H", loop, directory)
    struct.pack_into("<I", loop, directory + 2 + 12 * count, directory)
    return {
        "circle.jpg": _jpeg_with((0xE1, b"Exif\0\0" + _directory(itself, 8))),
        "beyond.jpg": _jpeg_with((0xE1, b"Exif\0\0" + _directory(beyond, 2**32 - 16))),
        "circle.tif": bytes(loop),
        "strip.tif": _tiff_with(279, 2**32 - 1),
        "rows.tif": _tiff_with(278, 2**32 - 1),
    }


def _polyglots() -> dict[str, bytes]:
    """Pictures that other programs take for something else."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("../../evil.sh", "rm -rf /")
    script = encoded(Image.new("P", (20, 20), 7), "GIF")
    return {
        "zip.jpg": encoded(_FLAT, "JPEG") + archive.getvalue(),
        "script.gif": b"GIF89a/*" + script[8:] + b"*/=1;alert(1)",
    }


def impostors() -> dict[str, bytes]:
    """Other things under the names of pictures."""
    return {
        "page.jpg": b"<html><script>alert(1)</script></html>",
        "program.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run",
        "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc'/></svg>",
        "elf.png": b"\x7fELF" + bytes(100),
    }


def hidden_bombs() -> dict[str, bytes]:
    """Many megabytes of zeros in a profile or a comment."""
    zeros = zlib.compress(bytes(1 << 26), 9)
    return {
        "profile.png": black_png(64, 64, _chunk(b"iCCP", b"x\0\0" + zeros)),
        "comment.png": black_png(64, 64, *[_chunk(b"zTXt", b"x\0\0" + zeros)] * 16),
    }


def slow_jpeg(n_scans: int) -> bytes:
    """Return a picture of 64 million pixels that each of many scans refines a little more."""
    data = encoded(Image.new("L", (8000, 8000), 77), "JPEG", progressive=True)
    starts = [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]
    scan = data[starts[1] : starts[2]]
    return data[: starts[2]] + scan * n_scans + data[starts[2] :]


def black_png(width_px: int, height_px: int, *chunks: bytes) -> bytes:
    """Return a PNG of one bit a pixel, all zero."""
    row = bytes(1 + (width_px + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height_px)) + packer.flush()
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width_px, height_px, 1, 0, 0, 0, 0))
    body = b"".join(chunks) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + body


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    data = encoded(_FLAT, "JPEG")
    extra = (
        bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
    )
    return data[:2] + b"".join(extra) + data[2:]


def _directory(entries: list[tuple[int, int, int, int]], following: int) -> bytes:
    fields = b"".join(struct.pack(">HHII", *entry) for entry in entries)
    head = b"MM\0*" + struct.pack(">IH", 8, len(entries))
    return head + fields + struct.pack(">I", following)


def _tiff_with(tag: int, value: int) -> bytes:
    data = bytearray(encoded(_FLAT, "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for at in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            struct.pack_into("<HII", data, at + 2, 4, 1, value)
            return bytes(data)
    raise ValueError(f"the picture has no tag {tag}")


def _webp_of(width_px: int, height_px: int) -> bytes:
    """Return an extended WebP whose canvas is larger than any of its frames could be."""
    frame = encoded(_FLAT, "WEBP")[12:]
    sizes = (width_px - 1).to_bytes(3, "little") + (height_px - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<IBxxx", 10, 0) + sizes + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]
