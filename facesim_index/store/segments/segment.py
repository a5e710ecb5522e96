"""Segments: immutable files of embeddings, and exact search over them.

A segment is a FAISS `IndexIDMap2` over an fp16 scalar quantizer, rows in ascending
order of face id.  Readers map it into memory; nothing of it is copied until it is
used.  Embeddings are stored in fp16; all arithmetic on them is done in fp32 or fp64.
"""

import hashlib
import logging
import mmap
import os
import stat
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from facesim_index.errors import DamagedSegmentError, IndexDamagedError
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.records import SegmentInfo
from facesim_index.store.segments.coarse import (
    CoarseCodes,
    coarse_path,
    file_stamp,
    read_coarse,
    wants_coarse,
)
from facesim_index.store.segments.row_checksums import row_sums
from facesim_index.utils.files import NO_FOLLOW, kind_of, open_regular

SEGMENT_MAGIC = b"IxM2"
"""What a segment begins with: FAISS's letters for an `IndexIDMap2`."""

_ID_BYTES = 8
_HASHED_AT_ONCE = 1 << 22  # bytes, of whole pages
_MAPPED_SHARE = 16
_INNER_KIND_AT = 37  # after the four letters and the header of the IndexIDMap2

logger = logging.getLogger(__name__)


class Segment:
    """One segment file, mapped into memory.

    Parameters
    ----------
    path : Path
    sha256 : str, optional
        The file's hash, as the catalog has it; without it the segment is searched without its
        coarse codes.

    Attributes
    ----------
    face_ids : ndarray of shape (n_rows,), int64
        Ascending.
    vectors : ndarray of shape (n_rows, dimension), float16
        A read-only view of the file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DamagedSegmentError
        The file is not a whole segment.
    """

    def __init__(self, path: Path, sha256: str | None = None) -> None:
        _require_regular(path)
        self._path = path
        self._sha256 = sha256
        self._reading_coarse = threading.Lock()
        self._coarse: CoarseCodes | None = None
        self._refused: list[tuple[int, int] | None] = []
        self._is_whole = sha256 is None
        _check_kind(path)
        try:
            self._index = _mapped_index(path)
            quantizer = faiss.downcast_index(self._index.index)
            self.face_ids: Int64Array = faiss.vector_to_array(self._index.id_map)
            codes = faiss.rev_swig_ptr(quantizer.codes.data(), quantizer.codes.size())
            self.vectors: NDArray[np.float16] = codes.view(np.float16).reshape(-1, quantizer.d)
            # Open and mapped once more, to be read even after a writer has merged the file away.
            self._descriptor = os.open(path, _READ_ONLY)
            weakref.finalize(self, os.close, self._descriptor)
            self._file = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
            # Only the ids, and how many they are, come after the embeddings.
            self._start = len(self._file) - _ID_BYTES * (len(self.face_ids) + 1) - len(codes)
            first = self._file[self._start : self._start + quantizer.code_size]
            if self._start < 0 or first != codes[: quantizer.code_size].tobytes():
                raise ValueError("the embeddings are not where they should be")
        except (RuntimeError, AttributeError, ValueError, OSError, MemoryError) as error:
            # A damaged number of rows asks for more memory than there is.
            if not path.exists():  # a writer has merged it away just now
                raise FileNotFoundError(path) from error
            raise self._damaged("is not a whole segment") from error
        self.vectors.flags.writeable = False
        if len(self.vectors) != len(self.face_ids) or np.any(np.diff(self.face_ids) <= 0):
            raise self._damaged("has ids that do not fit its vectors")

    @property
    def name(self) -> str:
        """The file's name, as the catalog has it."""
        return self._path.name

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return len(self._file)

    def check(self, info: SegmentInfo) -> None:
        """Refuse a file that cannot be the one that was recorded; costs no reading of it.

        Raises
        ------
        DamagedSegmentError
        """
        ends = (int(self.face_ids[0]), int(self.face_ids[-1])) if len(self.face_ids) else (0, 0)
        if (len(self._file), len(self.face_ids), *ends) != (
            info.size_bytes,
            info.n_rows,
            info.first_face_id,
            info.last_face_id,
        ):
            raise self._damaged("is not the file that was written")

    def require_whole(self) -> None:
        """Refuse a file whose content is not what was written; it is read once.

        Raises
        ------
        DamagedSegmentError
        """
        if not self._is_whole:
            if _mapped_sha256(self._file) != self._sha256:
                raise self._damaged("has other content than was written (SHA-256 differs)")
            self._is_whole = True

    def at(self, rows: Int64Array, *, mapped: bool = True) -> NDArray[np.float16]:
        """Return the embeddings of rows.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
        mapped : bool, default=True
            Take them from the mapped file.  For each row the system maps up to hundreds of
            kilobytes around it; without, it copies the row alone.

        Returns
        -------
        embeddings : ndarray of shape (n, dimension), float16

        Raises
        ------
        DamagedSegmentError
            The file is shorter than it was.
        """
        if mapped or not hasattr(os, "pread"):  # Windows
            return self.vectors[rows]
        width = self.vectors.shape[1]
        size = width * self.vectors.itemsize
        places = (rows * size + self._start).tolist()
        data = b"".join([os.pread(self._descriptor, size, place) for place in places])
        if len(data) != len(rows) * size:
            raise self._damaged("was cut short")
        return np.frombuffer(data, dtype=np.float16).reshape(-1, width)

    def checked(self, rows: Int64Array, *, mapped: bool = True) -> NDArray[np.float16]:
        """Return the embeddings `at` rows, after seeing that they are what was written.

        Those of a large segment are checked one by one, with the sums in its coarse codes, where
        these are read already or rows are not taken from the mapped file; of another the file is,
        once.

        Raises
        ------
        DamagedSegmentError
        """
        vectors = self.at(rows, mapped=mapped)
        if not self._is_whole and len(rows):
            codes = self._coarse if mapped else self.coarse()
            sums = None if codes is None else codes.sums
            if sums is None:
                self.require_whole()
            elif not np.array_equal(row_sums(self.face_ids[rows], vectors), sums[rows]):
                raise self._damaged("has other embeddings than were written")
        return vectors

    def _damaged(self, what: str) -> DamagedSegmentError:
        return DamagedSegmentError(
            self._path.name, f"{self._path} {what}; run `facesim verify --repair`"
        )

    def coarse(self) -> CoarseCodes | None:
        """Return the segment's coarse codes, read when first asked for.

        None, with a warning, where a large segment has none that can be used.
        """
        if self._sha256 is None or not wants_coarse(*self.vectors.shape):
            return None
        if self._coarse is None:
            with self._reading_coarse:
                if self._coarse is None:
                    self._coarse = self._readable_coarse(self._sha256)
        return self._coarse

    def _readable_coarse(self, sha256: str) -> CoarseCodes | None:
        # Those of a segment that is in use may still be written, or be made anew.
        stamp = file_stamp(coarse_path(self._path))
        if stamp in self._refused:
            return None
        try:
            return read_coarse(self._path, sha256)
        except (FileNotFoundError, IndexDamagedError) as error:
            self._refused.append(stamp)
            logger.warning("%s", error)
            return None

    def search(
        self, queries: Float32Array, k: int, excluded: Int64Array
    ) -> tuple[Float32Array, Int64Array]:
        """Return the `k` highest inner products and their face ids for each query.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, dimension), float32
        k : int
        excluded : ndarray of int64, ascending
            Face ids that must not be found.

        Returns
        -------
        products : ndarray of shape (n_queries, k), float32
        face_ids : ndarray of shape (n_queries, k), int64
            -1 where there are fewer than `k` faces.
        """
        self.require_whole()
        parameters = None
        here = excluded[np.isin(excluded, self.face_ids, assume_unique=True)]
        if len(here):
            selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(here))
            parameters = faiss.SearchParameters(sel=selector)
        products, face_ids = self._index.search(
            queries, min(k, len(self.face_ids)), params=parameters
        )
        return products, face_ids

    def rows_of(self, face_ids: Int64Array) -> Int64Array:
        """Return the rows of face ids, -1 for those that are not here."""
        rows = np.searchsorted(self.face_ids, face_ids)
        rows[rows == len(self.face_ids)] = 0
        return np.where(self.face_ids[rows] == face_ids, rows, -1)


def gather(segments: Sequence[Segment], face_ids: Int64Array) -> Float32Array:
    """Return the stored embeddings of faces, in the order asked.

    Parameters
    ----------
    segments : sequence of Segment
    face_ids : ndarray of shape (n,), int64

    Returns
    -------
    embeddings : ndarray of shape (n, dimension), float32
        Equal to the fp16 values stored.

    Raises
    ------
    IndexDamagedError
        A face is in no segment.
    """
    dimension = segments[0].vectors.shape[1] if segments else 0
    embeddings = np.empty((len(face_ids), dimension), dtype=np.float32)
    missing = np.ones(len(face_ids), dtype=bool)
    for segment in segments:
        wanted = np.flatnonzero(
            (face_ids >= segment.face_ids[0]) & (face_ids <= segment.face_ids[-1])
        )
        rows = segment.rows_of(face_ids[wanted])
        present = wanted[rows >= 0]
        found = rows[rows >= 0]
        # Of few rows, far from each other, the pages around them would be most of the file.
        mapped = len(found) * _MAPPED_SHARE > np.ptp(found) if len(found) else True
        embeddings[present] = segment.checked(found, mapped=bool(mapped))
        missing[present] = False
    if missing.any():
        raise IndexDamagedError(
            f"no segment has the embedding of face {face_ids[missing][0]}; "
            "run `facesim verify --repair`"
        )
    return embeddings


_READ_ONLY = os.O_RDONLY | NO_FOLLOW | getattr(os, "O_BINARY", 0)


def _require_regular(path: Path) -> None:
    """Refuse what is no file: a link would lead out of the index, a FIFO never end."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        what = f"cannot be looked at ({error.strerror or error})"
    else:
        what = "" if stat.S_ISREG(mode) else f"is {kind_of(mode)} instead of a file"
    if what:
        raise DamagedSegmentError(path.name, f"{path} {what}; run `facesim verify --repair`")


def _check_kind(path: Path) -> None:
    """Refuse what is not of the one kind that we write, before FAISS looks at it.

    Its other kinds of index may name further files, which reading them would open.
    """
    with path.open("rb") as handle:
        start = handle.read(_INNER_KIND_AT + 4)
    if start[:4] != SEGMENT_MAGIC or start[_INNER_KIND_AT:] != b"IxSQ":
        raise DamagedSegmentError(
            path.name, f"{path} is not a whole segment; run `facesim verify --repair`"
        )


def _mapped_sha256(content: mmap.mmap) -> str:
    """Return the hex SHA-256 of a mapped file, and leave none of it in this process' memory."""
    digest = hashlib.sha256()
    with memoryview(content) as whole:
        for start in range(0, len(whole), _HASHED_AT_ONCE):
            with whole[start : start + _HASHED_AT_ONCE] as part:
                digest.update(part)
                if hasattr(content, "madvise"):
                    content.madvise(mmap.MADV_DONTNEED, start, len(part))
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file; no link is followed."""
    with open_regular(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _mapped_index(path: Path) -> faiss.IndexIDMap2:
    """Map an index file; faiss takes no name that is not UTF-8, but takes a descriptor's."""
    try:
        name = str(path)
        name.encode("utf-8")
    except UnicodeEncodeError:
        with path.open("rb") as handle:
            return faiss.read_index(f"/dev/fd/{handle.fileno()}", faiss.IO_FLAG_MMAP_IFC)
    return faiss.read_index(name, faiss.IO_FLAG_MMAP_IFC)
