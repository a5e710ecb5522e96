"""Recognising the format of a picture file from its bytes, before any decoder sees them.

Three questions are answered: which format it is, whether the file ends before its own structure
does, and whether it surely costs little to decode.  The second one is asked only of files that a
decoder refused, to tell a download that stopped early from damage inside.  None decides whether a
picture can be used.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Literal

Format = Literal["JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "HEIF", "AVIF"]

_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_TYPES = {3: "H", 4: "I", 5: "Q", 8: "H", 9: "I", 10: "Q", 11: "I", 12: "Q", 16: "Q"}
_TIFF_STARTS = frozenset({273, 324})  # where strips and tiles begin, and how long they are
_TIFF_SIZES = frozenset({279, 325})
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEVC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_GENERAL_BRANDS = frozenset({b"mif1", b"msf1"})  # an AVIF file may begin with these, too

MOST_PLAIN_BYTES = 32 << 20
"""A picture file of more bytes is not plain."""

_MOST_PIXELS = 64_000_000
_MOST_JPEG_WORK = 640_000_000  # pixels times scans: each scan of a progressive one visits them all
_MOST_EXTRA_BYTES = 1 << 20  # what is not the picture itself
_MOST_EXTRA_PARTS = 200
_MOST_PARTS = 20_000
_MOST_EXIF_BYTES = 1 << 16  # its directory may name the same bytes again and again
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # Huffman-coded, of 8 or 12 bits
_JPEG_ALONE = frozenset({0x01, 0xFF, *range(0xD0, 0xD9)})  # markers without a length
_WEBP_ANIMATED = 0x02


def recognise(data: bytes) -> Format | None:
    """Return the format that the first bytes announce.

    Parameters
    ----------
    data : bytes
        A whole file, or at least its first few hundred bytes.

    Returns
    -------
    format : str or None
        One of `Format`; None for anything that is not one of the formats read here.

    Examples
    --------
    >>> recognise(b"GIF89a..."), recognise(b"BM is how this text begins")
    ('GIF', None)
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(_TIFF_MAGICS):
        return "TIFF"
    # "BM" alone also begins many a text.
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if data.startswith(b"\x28\0\0\0") and data[12:14] == b"\1\0":
        return "DIB"
    return _recognise_iso_media(data)


def _recognise_iso_media(data: bytes) -> Format | None:
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4], "big"), 512)
    major, *others = (data[at : at + 4] for at in (8, *range(16, end, 4)))
    for brands in ({major}, set(others)):
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEVC_BRANDS:
            return "HEIF"
    return "HEIF" if _GENERAL_BRANDS & {major, *others} else None


def is_plain(data: bytes) -> bool:
    """Tell whether a picture surely costs little time and memory to decode, by its structure alone.

    Small files can cost much: by the pixels that they announce, by thousands of scans, by millions
    of parts that each decoder looks at, by a directory that names the same bytes again and again.
    The usual photo has nothing of that.  Formats of which this cannot be told without their decoder
    are never plain.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    bool
        False also where the structure makes no sense.

    Examples
    --------
    >>> is_plain(b"no picture")
    False
    """
    if len(data) > MOST_PLAIN_BYTES:
        return False
    try:
        match recognise(data):
            case "JPEG":
                return _is_plain_jpeg(data)
            case "PNG":
                return _is_plain_png(data)
            case "WEBP":
                return _is_plain_webp(data)
    except (struct.error, IndexError):  # a field lies beyond the end
        pass
    return False


def _is_plain_jpeg(data: bytes) -> bool:
    at, n_exif, n_pixels = 2, 0, 0
    for _ in range(_MOST_EXTRA_PARTS):
        if data[at] != 0xFF or data[at + 1] in _JPEG_ALONE:
            return False
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker == 0xDA:
            n_scans = data.count(b"\xff\xda", at)
            return 0 < n_pixels <= _MOST_PIXELS and n_pixels * n_scans <= _MOST_JPEG_WORK
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            n_pixels = width * height
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # another kind of JPEG
            return False
        n_exif += marker == 0xE1 and data.startswith(b"Exif\0", at + 4)
        at += 2 + length
        if at > _MOST_EXTRA_BYTES or n_exif > 1:
            return False
    return False


def _is_plain_png(data: bytes) -> bool:
    width, height = struct.unpack_from(">II", data, 16)
    few = _few_extras(_png_parts(data), pixels={b"IDAT"}, exif=b"eXIf")
    # A second header would take the place of the first.
    return few and data.count(b"IHDR") == 1 and width * height <= _MOST_PIXELS // 2


def _png_parts(data: bytes) -> Iterator[tuple[bytes, int]]:
    at, name = 8, b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, length
        at += 12 + length


def _is_plain_webp(data: bytes) -> bool:
    match data[12:16]:
        case b"VP8 ":
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X" if not data[20] & _WEBP_ANIMATED:
            width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        case _:
            return False
    few = _few_extras(_webp_parts(data), pixels={b"VP8 ", b"VP8L", b"ALPH"}, exif=b"EXIF")
    return few and width * height <= _MOST_PIXELS // 2


def _webp_parts(data: bytes) -> Iterator[tuple[bytes, int]]:
    at = 12
    while at < len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, length
        at += 8 + length + length % 2


def _few_extras(parts: Iterator[tuple[bytes, int]], *, pixels: set[bytes], exif: bytes) -> bool:
    """Tell whether a file has few and small parts beside its pixels."""
    n_extra = extra_bytes = 0
    for number, (name, length) in enumerate(parts):
        if name not in pixels:
            n_extra += 1
            extra_bytes += length
        if number > _MOST_PARTS or n_extra > _MOST_EXTRA_PARTS:
            return False
        if extra_bytes > _MOST_EXTRA_BYTES or (name == exif and length > _MOST_EXIF_BYTES):
            return False
    return True


def is_cut_off(kind: Format, data: bytes) -> bool:
    r"""Tell whether a file ends before its own structure says it should.

    Parameters
    ----------
    kind : str
        What `recognise` returned for the data.
    data : bytes
        The whole file.

    Returns
    -------
    cut_off : bool
        False also when the structure is so damaged that its end cannot be known.

    Examples
    --------
    >>> is_cut_off("JPEG", b"\xff\xd8\xff\xd9"), is_cut_off("JPEG", b"\xff\xd8")
    (False, True)
    """
    try:
        return _CHECKS[kind](data)
    except (struct.error, IndexError, OverflowError):  # a field lies beyond the end
        return True


def _jpeg_cut_off(data: bytes) -> bool:
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            return True
        marker = data[at + 1]
        if marker == 0xD9:
            return False
        if marker == 0xFF:
            at += 1
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _png_cut_off(data: bytes) -> bool:
    at = 8
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IEND" or not name.isalpha():
            return False
        at += 12 + length


def _webp_cut_off(data: bytes) -> bool:
    return bool(8 + struct.unpack_from("<I", data, 4)[0] > len(data))


def _bmp_cut_off(data: bytes) -> bool:
    return _bitmap_cut_off(data, header_at=14, pixels_at=struct.unpack_from("<I", data, 10)[0])


def _dib_cut_off(data: bytes) -> bool:
    return _bitmap_cut_off(data, header_at=0, pixels_at=40)


def _bitmap_cut_off(data: bytes, *, header_at: int, pixels_at: int) -> bool:
    if struct.unpack_from("<I", data, header_at)[0] < 40:
        return pixels_at >= len(data)
    width, height, _, bits, compression, stored = struct.unpack_from("<iiHHII", data, header_at + 4)
    plain = (width * bits + 31) // 32 * 4 * abs(height)
    return bool(pixels_at + (plain if compression in (0, 3) else stored) > len(data))


def _gif_cut_off(data: bytes) -> bool:
    at = 13 + _colour_table_bytes(data[10])
    while True:
        block = data[at]
        if block == 0x21:  # extension: label, then sub-blocks
            at += 2
        elif block == 0x2C:  # image: descriptor, colour table, code size, then sub-blocks
            at += 10 + _colour_table_bytes(data[at + 9]) + 1
        else:  # 0x3B is the proper end, anything else is damage
            return False
        while data[at]:
            at += 1 + data[at]
        at += 1


def _colour_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _tiff_cut_off(data: bytes) -> bool:
    order = "<" if data.startswith(b"II") else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    # count of entries, one entry without its value, offset, bytes of a value kept in the entry
    counter, head, offset, inline = ("Q", "HHQ", "Q", 8) if big else ("H", "HHI", "I", 4)
    directory = struct.unpack_from(order + offset, data, 8 if big else 4)[0]
    count = struct.unpack_from(order + counter, data, directory)[0]
    at = directory + struct.calcsize(order + counter)
    places: dict[int, tuple[int, ...]] = {}
    for _ in range(count):
        tag, kind, length = struct.unpack_from(order + head, data, at)
        code = _TIFF_TYPES.get(kind, "B")
        where = at + struct.calcsize(order + head)
        at = where + inline
        if struct.calcsize(order + code) * length > inline:
            where = struct.unpack_from(order + offset, data, where)[0]
        if where + struct.calcsize(order + code) * length > len(data):
            return True
        if tag in _TIFF_STARTS | _TIFF_SIZES:
            places[tag] = struct.unpack_from(f"{order}{length}{code}", data, where)
    starts = [start for tag in sorted(_TIFF_STARTS) for start in places.get(tag, ())]
    sizes = [size for tag in sorted(_TIFF_SIZES) for size in places.get(tag, ())]
    return any(start + size > len(data) for start, size in zip(starts, sizes, strict=False))


def _iso_media_cut_off(data: bytes) -> bool:
    at = 0
    seen = set()
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        seen.add(name)
        if size == 1:
            size = struct.unpack_from(">Q", data, at + 8)[0]
        elif size == 0:  # reaches to the end, wherever that is
            size = len(data) - at
        if size < 8:
            return False
        at += size
    return at > len(data) or not {b"meta", b"mdat"} <= seen


_CHECKS: dict[Format, Callable[[bytes], bool]] = {
    "JPEG": _jpeg_cut_off,
    "PNG": _png_cut_off,
    "WEBP": _webp_cut_off,
    "BMP": _bmp_cut_off,
    "DIB": _dib_cut_off,
    "TIFF": _tiff_cut_off,
    "GIF": _gif_cut_off,
    "HEIF": _iso_media_cut_off,
    "AVIF": _iso_media_cut_off,
}
