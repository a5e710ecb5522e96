"""Is the write-ahead log whole?  Asked before SQLite reads it.

SQLite takes the first frame of the log that does not fit for its end.  What was committed after
it is gone without a word, and the next to close the catalog makes that final.  That is right for
the end that a crash leaves, and wrong for damage.  This module tells the two apart.

A log is a header and frames; a frame is a header of 24 bytes and a page of the catalog.  Each
frame carries the two salts of the log's header, and a checksum over itself and all frames before
it.  A transaction is a run of frames, of which the last one says that it ends a commit.  When
everything in the log is in the catalog, the next transaction begins the log anew: SQLite writes a
header with new salts, waits until it is on the disk, and writes frames over the old ones.

What can a crash leave?
    A writer writes the frames of one transaction, waits until they are on the disk
    (``synchronous=FULL``), and only then counts them in the ``-shm`` file and goes on to the
    next.  So only the last transaction may be in pieces.  A killed process leaves the beginning
    of what it wrote, for instance the header of a frame without its page.  A power cut leaves any
    of the sectors of 512 bytes that were to be written, and in the places of the others what was
    there before: frames of an older log with other salts, zeros, the end of the file, or frames
    with the same salts that an earlier crash left there.  SQLite ends the log before that
    transaction, which was never reported as committed.  This is no damage.

What can a crash not leave?  This is damage, and is told:

1.  A frame that the ``-shm`` file counts and that does not fit.  The count can be trusted when
    both its copies are equal, its checksum is right, and its salts are those of the log.  It is
    published after the frames are on the disk, so an old one counts too few, never too many.
2.  A transaction after the one that is in pieces: a frame that ends a commit, followed by one
    whose checksum continues from it.  The writer of the second frame had the first one for
    committed.  Frames that an earlier crash left there do not pass for that: whatever was
    written after that crash begins anew in front of them, and breaks the chain of checksums.
    Where the checksum continues from what the first frame *stores*, its page may be damaged,
    and so may the word that says whether it ends a commit; the checksum tells what that word was.
    (At one frame in 64 a border of two sectors lies behind that word.  There a crash may have
    left the word of an older frame, which is not believed without more evidence.)
3.  A single wrong byte in the first log of a file, when no ``-shm`` file tells more.  Each place
    of such a log was written once, so a sector that a power cut kept from the disk is zero.
4.  A header that does not fit, unless the whole file is zero: SQLite waits until the header is
    on the disk before it writes a frame.  And a log that is gone, or is shorter than the
    ``-shm`` file counts, while not all that it counts is in the catalog.  (`Catalog` lets the
    ``-shm`` file reach the disk before it cuts a log to nothing, or a power cut could leave
    that, too.)

Not told are a damaged last transaction that no ``-shm`` file counts, as nothing can tell it from
a crash, and damage of a whole sector that holds the end of the last transaction but one.  Told
although it is harmless is a power cut within seconds after a kill, if a reader has counted what
the killed process had written and not yet flushed; `Catalog` flushes that before it writes.

The formats are those of https://www.sqlite.org/fileformat2.html#walformat and walformat.html.
"""

import functools
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesim_index.store.sqlite import descriptors

_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoint, salt 1, 2, sum 1, 2
_FRAME_BYTES = 24  # page, size of the database after a commit, salt 1, 2, sum 1, 2
_MAGIC = 0x377F0682  # the last bit says that sums are over big-endian words
_SHARED = struct.Struct("=IIIBBHII2I2I2I")  # WalIndexHdr, in the byte order of the machine
_SHARED_VERSION = 3007000
_COPIES = 2
_PAGE_SIZES = [1 << exponent for exponent in range(9, 17)]
_WORD = 0xFFFFFFFF
_COMMIT = 1  # the word of a frame that is not 0 where a commit ends
_SECTOR_BYTES = 512
_SPLIT = _SECTOR_BYTES - 8  # where a frame begins whose first two words are in another sector


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
    shared = _read_shared(catalog)
    try:
        data = descriptors.read_file(catalog, log_path(catalog).name)
    except FileNotFoundError:
        data = b""
    waiting = shared is not None and shared.n_frames > shared.n_written_back
    if len(data) < _HEADER.size or not any(data):
        if shared is not None and waiting:
            return LogDamage(f"is gone, with {shared.n_frames} pages that were committed", 0)
        return None
    header = _HEADER.unpack_from(data)
    big_endian = bool(header[0] & 1)
    sound = header[0] & ~1 == _MAGIC and header[2] in _PAGE_SIZES
    if not sound or _sum(data[:24], big_endian) != header[6:8]:
        return LogDamage("has a damaged header", 0)
    frames = _Frames(data, header)
    counted = shared if shared is not None and shared.salts == header[4:6] else None
    told = _damage(frames, counted)
    if not told:
        return None
    in_catalog = counted is not None and frames.n_whole <= counted.n_written_back
    keeps = 0 if in_catalog or not frames.n_whole else frames.n_whole
    return LogDamage(told, frames.start_of(keeps) if keeps else 0)


def _damage(frames: "_Frames", counted: _Shared | None) -> str:
    """Say what is wrong with the frames that no crash explains; empty when nothing is."""
    whole, bad = frames.n_whole, frames.first_bad
    if counted is not None and counted.n_frames > whole:
        if bad < min(counted.n_frames, len(frames)):
            return f"is damaged at page {bad}, and {counted.n_frames - bad} pages are lost"
        return f"ends after {whole} of {counted.n_frames} pages that were committed"
    if frames.has_later_transaction():
        return f"is damaged at page {bad}, and {frames.n_chained - bad} pages are lost"
    if counted is None and frames.is_first_log and frames.has_one_wrong_byte():
        return f"is damaged at page {bad}, which belongs to the last commit"
    return ""


class _Frames:
    """The frames of full length in a log, and how their checksums fit together.

    Parameters
    ----------
    data : bytes
        The log.
    header : tuple of int
        The numbers of its header.

    Attributes
    ----------
    is_first_log : bool
        The file held no other log before.
    first_bad : int
        The first frame that SQLite would not take; the number of frames when there is none.
    n_whole : int
        How many of the frames before that one belong to whole transactions.
    n_chained : int
        The end of the last frame whose checksum continues from the frame before it.
    """

    def __init__(self, data: bytes, header: tuple[int, ...]) -> None:
        self._data = data
        self._size = _FRAME_BYTES + header[2]
        n = (len(data) - _HEADER.size) // self._size
        n_words = self._size // 4
        big_endian = bool(header[0] & 1)
        self._order: Literal["big", "little"] = "big" if big_endian else "little"
        order = ">u4" if big_endian else "<u4"
        words = np.frombuffer(data, order, n * n_words, _HEADER.size).reshape(n, n_words)
        fields = words[:, : _FRAME_BYTES // 4].copy().view(">u4").astype(np.uint32)
        self._log_salts = np.array(header[4:6], dtype=np.uint32)
        is_ours = (fields[:, 2:4] == self._log_salts).all(axis=1)
        self.is_first_log = not header[3]
        if not self.is_first_log:  # what is left of the log before needs no sums
            n = int(np.flatnonzero(is_ours)[-1]) + 1 if is_ours.any() else 0
        self._is_ours, fields = is_ours[:n], fields[:n]
        self._commits, self._salts, self._sums = fields[:, 1], fields[:, 2:4], fields[:, 4:]
        self._words = words[:n].astype(np.uint32, copy=False)

        start = np.array([header[6:8]], dtype=np.uint32)
        of_start, self._of_words = _coefficients((self._size - 16) // 8)
        own = self._words[:, :2] @ self._of_words[:, :2].T
        own += self._words[:, 6:] @ self._of_words[:, 2:].T
        self._expected = own + np.vstack([start, self._sums])[:n] @ of_start.T
        again = own + np.vstack([start, self._expected])[:n] @ of_start.T
        # Whether a frame continues from what the one before it stores, or from what it contains.
        self._by_stored = self._is_ours & (self._expected == self._sums).all(axis=1)
        self._by_content = self._is_ours & (again == self._sums).all(axis=1)

        self.first_bad = n if self._by_stored.all() else int(np.argmin(self._by_stored))
        ends = np.flatnonzero(self._commits[: self.first_bad])
        self.n_whole = int(ends[-1]) + 1 if len(ends) else 0
        chained = np.flatnonzero(self._by_stored | self._by_content)
        self.n_chained = int(chained[-1]) + 1 if len(chained) else 0

    def __len__(self) -> int:
        return len(self._words)

    def start_of(self, number: int) -> int:
        """Return where in the log a frame begins."""
        return _HEADER.size + number * self._size

    def has_later_transaction(self) -> bool:
        """Tell whether a transaction was begun after one that is not whole."""
        chained = np.flatnonzero(self._by_stored | self._by_content)
        for number in chained[chained > self.first_bad].tolist():
            before = number - 1
            if self._by_content[number] and self._commits[before]:
                return True
            if self._by_stored[number] and self._is_ours[before] and self._ended(before):
                return True
        return False

    def has_one_wrong_byte(self) -> bool:
        """Tell whether the log ends with a commit that is whole but for one byte of one frame.

        A byte in a sector of zeros does not count: that sector may not have been written.
        """
        bad = self.first_bad
        if bad == len(self) or self.start_of(len(self)) != len(self._data):
            return False
        after = slice(bad + 1, None)
        if not (self._by_stored | self._by_content)[after].all() or not self._ended(len(self) - 1):
            return False
        return any(
            _is_one_byte(found, wanted) and self._is_written(self.start_of(bad) + 4 * word)
            for word, found, wanted in self._explanations(bad)
        )

    def _is_written(self, at: int) -> bool:
        """Tell whether the sector at a place in the log holds anything."""
        sector = at - at % _SECTOR_BYTES
        return any(self._data[sector : sector + _SECTOR_BYTES])

    def _ended(self, number: int) -> bool:
        """Tell whether a frame with the right salts was written as the end of a commit."""
        commit = int(self._commits[number])
        if self._by_stored[number]:
            return commit != 0
        explanations = self._explanations(number)
        believed = self.start_of(number) % _SECTOR_BYTES != _SPLIT or (
            bool(self._by_stored[number - 1]) and any(word > _COMMIT for word, *_ in explanations)
        )
        if commit and believed:
            return True
        # Or was it the end of a commit before that very word was damaged?
        sizes = self._commits[number + 1 :]
        most = sizes[np.flatnonzero(sizes)[:1]]
        least = self._commits[self.n_whole - 1] if self.n_whole else 1
        return any(
            word == _COMMIT and least <= self._size_in(wanted) <= most
            for word, _, wanted in explanations
        )

    def _size_in(self, word: int) -> int:
        """Return the size of a database that a word of the checksums stands for."""
        return int.from_bytes(word.to_bytes(4, self._order), "big")

    def _explanations(self, number: int) -> list[tuple[int, int, int]]:
        """Return by which word alone a frame may not fit: which, what it is, what it would be.

        When that word is wrong in its highest bits only, others explain it as well.
        """
        wrong_salts = np.flatnonzero(self._salts[number] != self._log_salts)
        off = self._sums[number] - self._expected[number]
        if len(wrong_salts) == 1 and not off.any():
            at = int(wrong_salts[0])
            return [(2 + at, int(self._salts[number, at]), int(self._log_salts[at]))]
        if len(wrong_salts):
            return []
        found = [
            (4 + at, int(self._sums[number, at]), int(self._expected[number, at]))
            for at in np.flatnonzero(off).tolist()
            if np.count_nonzero(off) == 1
        ]
        first, second = self._of_words
        for at in np.flatnonzero(first * off[1] == second * off[0]).tolist():
            # The factors of a word are Fibonacci numbers beside each other: one of them is odd.
            factor, lack = (first[at], off[0]) if first[at] % 2 else (second[at], off[1])
            word = at + 4 if at > _COMMIT else at
            is_now = int(self._words[number, word])
            found.append((word, is_now, is_now + pow(int(factor), -1, 1 << 32) * int(lack) & _WORD))
        return found


def _is_one_byte(found: int, wanted: int) -> bool:
    """Tell whether two words differ in one byte only."""
    return sum(byte != 0 for byte in (found ^ wanted).to_bytes(4, "little")) == 1


def _read_shared(catalog: Path) -> _Shared | None:
    """Return what the shared memory says of the log, None where it cannot be trusted."""
    try:
        data = descriptors.read_file(catalog, shared_path(catalog).name, 3 * _SHARED.size)
    except OSError:
        return None
    if len(data) < _COPIES * _SHARED.size + 4:
        return None
    first, second = (_SHARED.unpack_from(data, copy * _SHARED.size) for copy in range(_COPIES))
    sums = _sum(data[: _SHARED.size - 8], sys.byteorder == "big")
    if first != second or first[0] != _SHARED_VERSION or sums != first[12:14]:
        return None
    written_back = struct.unpack_from("=I", data, _COPIES * _SHARED.size)[0]
    # The salts are kept as the bytes of the log's header.
    salts = struct.unpack(">2I", data[32:40])
    return _Shared(first[6], written_back, (salts[0], salts[1]))


def _sum(data: bytes, big_endian: bool) -> tuple[int, int]:
    """Return the checksum of SQLite's log over bytes, a multiple of eight of them.

    It is a linear recurrence modulo 2³², hence a product with fixed coefficients.
    """
    words = np.frombuffer(data, dtype=">u4" if big_endian else "<u4").astype(np.uint32)
    sums = _coefficients(len(words) // 2)[1] @ words
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
