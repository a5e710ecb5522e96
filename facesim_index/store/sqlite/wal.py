"""Is the write-ahead log whole?  Asked before SQLite reads it.

SQLite takes the first frame of the log whose checksum is wrong for its end: what was committed
after it is gone without a word, and the next to close the catalog makes that final.  That is
right for the half-written end that a crash leaves, and wrong for damage.  The two are told apart
here by what a crash cannot leave behind: a frame of full length that ends a commit and is not
whole, or has whole successors; or fewer frames than the ``-shm`` file beside it counts.

The formats are those of https://www.sqlite.org/fileformat2.html#walformat and walformat.html.
"""

import functools
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoint, salt 1, 2, sum 1, 2
_FRAME = struct.Struct(">6I")  # page, size of the database after a commit, salt 1, 2, sum 1, 2
_MAGIC = 0x377F0682  # the last bit says that sums are over big-endian words
_SHARED = struct.Struct("=IIIBBHII2I2I2I")  # WalIndexHdr, in the byte order of the machine
_SHARED_VERSION = 3007000
_COPIES = 2
_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class LogDamage:
    """What is wrong with a write-ahead log.

    Attributes
    ----------
    message : str
    whole_bytes : int
        How much of it, from its beginning, is whole and ends with a commit; 0 when everything
        in it is in the catalog already, or when nothing of it can be used.
    """

    message: str
    whole_bytes: int


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the ``-shm`` file says of the log."""

    n_frames: int
    n_written_back: int
    salts: tuple[int, int]


def check_log(catalog: Path) -> LogDamage | None:
    """Return what is wrong with the write-ahead log of a catalog; None when nothing is.

    While another process writes, the log grows under our eyes; damage is told only when a
    second look finds the same.

    Parameters
    ----------
    catalog : Path
    """
    found = _look(catalog)
    return found if found is None or found == _look(catalog) else None


def aside_path(catalog: Path) -> Path:
    """Return where a repair keeps a copy of a damaged log."""
    return catalog.with_name(catalog.name + "-wal.damaged")


def log_path(catalog: Path) -> Path:
    """Return where the write-ahead log of a catalog is, if there is one."""
    return catalog.with_name(catalog.name + "-wal")


def shared_path(catalog: Path) -> Path:
    """Return where SQLite's shared memory of a catalog is, if there is one."""
    return catalog.with_name(catalog.name + "-shm")


def _look(catalog: Path) -> LogDamage | None:
    shared = _read_shared(shared_path(catalog))
    try:
        data = log_path(catalog).read_bytes()
    except FileNotFoundError:
        data = b""
    waiting = shared is not None and shared.n_frames > shared.n_written_back
    if len(data) < _HEADER.size:
        if shared is not None and waiting:
            return LogDamage(f"is gone, with {shared.n_frames} pages that were committed", 0)
        return None
    header = _HEADER.unpack_from(data)
    big_endian = bool(header[0] & 1)
    if header[0] & ~1 != _MAGIC or _sum(data[:24], (0, 0), big_endian) != header[6:8]:
        return LogDamage("has a damaged header", 0)
    counted = shared if shared is not None and shared.salts == header[4:6] else None
    whole, told = _frames(data, header)
    if not told and counted is not None and counted.n_frames > whole:
        told = f"ends after {whole} of {counted.n_frames} pages that were committed"
    if not told:
        return None
    in_catalog = counted is not None and not waiting
    size = _FRAME.size + _page_bytes(header)
    return LogDamage(told, 0 if in_catalog or not whole else _HEADER.size + whole * size)


def _page_bytes(header: tuple[int, ...]) -> int:
    return 65536 if header[2] == 1 else header[2]


def _frames(data: bytes, header: tuple[int, ...]) -> tuple[int, str]:
    """Return how many frames are whole, up to the last commit, and what is wrong after them."""
    size = _FRAME.size + _page_bytes(header)
    big_endian = bool(header[0] & 1)
    n_full = (len(data) - _HEADER.size) // size
    sums = header[6:8]
    committed, bad = 0, None
    for number in range(n_full):
        start = _HEADER.size + number * size
        _, commit, *rest = _FRAME.unpack_from(data, start)
        if tuple(rest[:2]) != header[4:6] and not _is_flipped(rest[:2], header[4:6]):
            break  # left over from before the log was begun anew
        body = data[start : start + 8] + data[start + _FRAME.size : start + size]
        if _sum(body, (sums[0], sums[1]), big_endian) != tuple(rest[2:4]) or (
            tuple(rest[:2]) != header[4:6]
        ):
            bad = number if bad is None else bad
        elif bad is not None and commit:
            return committed, f"is damaged at page {bad}, and {number + 1 - bad} pages are lost"
        if bad is None and commit:
            committed = number + 1
        if bad == number and commit:
            return committed, f"is damaged at page {bad}, which ends a commit"
        sums = (rest[2], rest[3])
    return committed, ""


def _is_flipped(found: list[int], wanted: tuple[int, ...]) -> bool:
    """Tell whether two salts differ in one byte only: damaged, not of another log."""
    left = np.array(found, dtype=">u4").view(np.uint8)
    right = np.array(wanted, dtype=">u4").view(np.uint8)
    return int(np.count_nonzero(left != right)) == 1


def _read_shared(path: Path) -> _Shared | None:
    """Return what the shared memory says of the log, None where it cannot be trusted."""
    try:
        data = path.read_bytes()[: 3 * _SHARED.size]
    except OSError:
        return None
    if len(data) < _COPIES * _SHARED.size + 4:
        return None
    first, second = (_SHARED.unpack_from(data, copy * _SHARED.size) for copy in range(_COPIES))
    sums = _sum(data[: _SHARED.size - 8], (0, 0), sys.byteorder == "big")
    if first != second or first[0] != _SHARED_VERSION or sums != first[12:14]:
        return None
    written_back = struct.unpack_from("=I", data, _COPIES * _SHARED.size)[0]
    # The salts are kept as the bytes of the log's header.
    salts = struct.unpack(">2I", data[32:40])
    return _Shared(first[6], written_back, (salts[0], salts[1]))


def _sum(data: bytes, start: tuple[int, int], big_endian: bool) -> tuple[int, int]:
    """Return the checksum of SQLite's log over bytes, a multiple of eight of them.

    It is a linear recurrence modulo 2³², hence two products with fixed coefficients.
    """
    words = np.frombuffer(data, dtype=">u4" if big_endian else "<u4").astype(np.uint32)
    of_start, of_words = _coefficients(len(words) // 2)
    sums = of_words @ words + of_start @ np.array(start, dtype=np.uint32)
    return int(sums[0]), int(sums[1])


@functools.lru_cache(maxsize=8)
def _coefficients(n_steps: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return by what the start and each word count in the two sums.

    A step makes (a + x + b, b + y + (a + x + b)) of (a, b) and two words (x, y).
    """
    of_words = np.empty((2, 2 * n_steps), dtype=np.uint32)
    a, b, c, d = 1, 0, 0, 1  # the power of the step's matrix
    for step in reversed(range(n_steps)):
        of_words[:, 2 * step] = (a + b) & _WORD, (c + d) & _WORD
        of_words[:, 2 * step + 1] = b, d
        a, b, c, d = (a + b) & _WORD, (a + 2 * b) & _WORD, (c + d) & _WORD, (c + 2 * d) & _WORD
    return np.array([[a, b], [c, d]], dtype=np.uint32), of_words
