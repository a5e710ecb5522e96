"""Coarse codes: a small copy of a large segment that tells which faces are worth a closer look.

A segment of many faces has a file beside it, ``000007.coarse`` for ``000007.faiss``, with
two bits for each number of its embeddings, which FAISS scans from registers as product
quantization of pairs of numbers to one of 16 values each.  What it gives are estimates, good enough
to choose candidates whose cosines are then computed from the segment itself.

The file says which segment it belongs to and ends with a hash of all of it.  It holds nothing
that does not follow from the segment: missing or damaged it only costs time.
"""

import hashlib
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import faiss
import numpy as np
from numpy.typing import NDArray

from facesim_index.errors import IndexDamagedError
from facesim_index.records import Float32Array, Int64Array, UInt8Array
from facesim_index.store.segments.row_checksums import UInt64Array, row_sums
from facesim_index.utils.files import atomic_output, open_regular

COARSE_MIN_ROWS = 1 << 14
"""Segments with fewer rows have no coarse codes: scanning them exactly takes a millisecond."""

MARGIN_SIGMAS = 3.5
"""Standard errors by which an estimate may be too low: 2 in 10,000 are lower."""

# magic, SHA-256 of the segment, rows, shrinkage, error, spread, bytes of the codes
_HEADER = struct.Struct("<8s32sQdddQ")
_MAGIC = b"FSIXCRS2"
_MAGIC_WITHOUT_SUMS = b"FSIXCRS1"
COARSE_MAGICS = (_MAGIC, _MAGIC_WITHOUT_SUMS)
"""What a file of coarse codes begins with."""
_DIGEST_BYTES = 32
_KIND = b"IPfs"  # what FAISS calls an IndexPQFastScan; other kinds may name further files
_CENTROID_BITS = 4
# Four levels for a normal distribution, and the borders between them (Lloyd and Max).
_LEVELS = np.array([-1.510, -0.4528, 0.4528, 1.510])
_BORDERS = np.array([-0.9816, 0.0, 0.9816])
_SAMPLE_ROWS = 4096
_SAMPLE_QUERIES = 256
_ROWS_AT_ONCE = 1 << 12


@dataclass(frozen=True, slots=True)
class CoarseCodes:
    """The coarse codes of one segment, in memory.

    Attributes
    ----------
    n_rows : int
    shrinkage : float
        Quantized embeddings are shorter than true ones; what estimates are divided by.
    error : float
        Standard error of the estimates of strangers.
    spread : float
        Standard error of the estimate of a face with itself.
    sums : ndarray of shape (n_rows,), uint64, or None
        Checksums of the segment's rows (`row_sums`); None in a file of an older facesim.
    """

    n_rows: int
    shrinkage: float
    error: float
    spread: float
    sums: UInt64Array | None
    _index: "faiss.IndexPQFastScan"

    def margin(self, cosine: float) -> float:
        """Return how much too low the estimate of a cosine may be."""
        return MARGIN_SIGMAS * math.hypot(self.error, cosine * self.spread)

    def search(self, queries: Float32Array, k: int) -> tuple[Float32Array, Int64Array]:
        """Return the `k` rows with the highest estimates for each query, highest first.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, dimension), float32, unit norm
        k : int
            At most `n_rows`.

        Returns
        -------
        estimates : ndarray of shape (n_queries, k), float32
            Of the cosines, without bias.
        rows : ndarray of shape (n_queries, k), int64
        """
        products, rows = self._index.search(queries, k)
        return products / np.float32(self.shrinkage), rows


@dataclass(frozen=True, slots=True)
class _Grid:
    """Four levels for each number of an embedding, by its mean and deviation.

    Attributes
    ----------
    borders : ndarray of shape (3, dimension), float32
    levels : ndarray of shape (4, dimension), float32
    """

    borders: Float32Array
    levels: Float32Array

    @classmethod
    def of(cls, sample: Float32Array) -> Self:
        """Return the grid that suits a sample."""
        mean, deviation = sample.mean(axis=0), sample.std(axis=0)
        return cls(
            (mean + deviation * _BORDERS[:, None]).astype(np.float32),
            (mean + deviation * _LEVELS[:, None]).astype(np.float32),
        )

    def places(self, vectors: NDArray[np.floating]) -> UInt8Array:
        """Return the level of each number, 0 to 3."""
        places = np.zeros(vectors.shape, dtype=np.uint8)
        for border in self.borders:
            places += vectors > border
        return places

    def quantized(self, vectors: Float32Array) -> Float32Array:
        """Return embeddings as their codes have them."""
        return np.take_along_axis(self.levels, self.places(vectors).astype(np.intp), axis=0)

    def index(self, vectors: NDArray[np.float16]) -> "faiss.IndexPQFastScan":
        """Return the codes of embeddings: two numbers make four bits, four a byte."""
        n_rows, dimension = vectors.shape
        plain = faiss.IndexPQ(dimension, dimension // 2, _CENTROID_BITS, faiss.METRIC_INNER_PRODUCT)
        pairs = self.levels.T.reshape(-1, 2, 4)
        sixteen = np.arange(16)
        centroids = np.stack([pairs[:, 0, sixteen % 4], pairs[:, 1, sixteen // 4]], axis=2)
        faiss.copy_array_to_vector(centroids.ravel(), plain.pq.centroids)
        codes = np.empty((n_rows, dimension // 4), dtype=np.uint8)
        for start in range(0, n_rows, _ROWS_AT_ONCE):
            places = self.places(vectors[start : start + _ROWS_AT_ONCE].astype(np.float32))
            codes[start : start + _ROWS_AT_ONCE] = (
                places[:, ::4] | places[:, 1::4] << 2 | places[:, 2::4] << 4 | places[:, 3::4] << 6
            )
        faiss.copy_array_to_vector(codes.ravel(), plain.codes)
        plain.ntotal, plain.is_trained = n_rows, True
        return faiss.IndexPQFastScan(plain)


def coarse_path(segment: Path) -> Path:
    """Return where the coarse codes of a segment's file are, if there are any."""
    return segment.with_suffix(".coarse")


def wants_coarse(n_rows: int, dimension: int) -> bool:
    """Tell whether a segment should have coarse codes."""
    return n_rows >= COARSE_MIN_ROWS and dimension % 4 == 0


def write_coarse(
    segment: Path, sha256: str, face_ids: Int64Array, vectors: NDArray[np.float16]
) -> Path:
    """Write the coarse codes of a segment such that the file is whole, or not there.

    Parameters
    ----------
    segment : Path
        The segment's file.
    sha256 : str
        Its hash, as the catalog has it.
    face_ids : ndarray of shape (n_rows,), int64
    vectors : ndarray of shape (n_rows, dimension), float16

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    StorageError
        The system refused to write.
    """
    grid = _Grid.of(_spread(vectors, _SAMPLE_ROWS))
    shrinkage, error, spread = _accuracy(grid, _spread(vectors, _SAMPLE_ROWS))
    index = grid.index(vectors)
    codes = faiss.serialize_index(index)
    header = _HEADER.pack(
        _MAGIC, bytes.fromhex(sha256), len(vectors), shrinkage, error, spread, codes.nbytes
    )
    digest = hashlib.sha256(header)
    digest.update(codes)
    sums = row_sums(face_ids, vectors).astype("<u8").tobytes()
    digest.update(sums)
    path = coarse_path(segment)
    with atomic_output(path, private=True) as handle:
        handle.write(header)
        handle.write(codes.data)
        handle.write(sums)
        handle.write(digest.digest())
    return path


def read_coarse(segment: Path, sha256: str) -> CoarseCodes:
    """Read and check the coarse codes of a segment.

    Parameters
    ----------
    segment : Path
        The segment's file.
    sha256 : str
        Its hash, as the catalog has it.

    Returns
    -------
    CoarseCodes

    Raises
    ------
    FileNotFoundError
        There are none.
    IndexDamagedError
        The file is not whole, or belongs to another segment.
    """
    path = coarse_path(segment)
    try:
        with open_regular(path) as handle:
            data = np.memmap(handle, dtype=np.uint8, mode="r").view(np.ndarray)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing; searches go on without it, only slower; "
            "`facesim compact` makes it anew"
        ) from None
    except (OSError, ValueError) as failure:
        raise _damaged(path, f"cannot be read: {failure}") from failure
    body = data[:-_DIGEST_BYTES]
    if (
        len(body) < _HEADER.size
        or hashlib.sha256(body.data).digest() != data[-_DIGEST_BYTES:].tobytes()
    ):
        raise _damaged(path, "is not whole")
    magic, owner, n_rows, shrinkage, error, spread, n_bytes = _HEADER.unpack(
        body[: _HEADER.size].tobytes()
    )
    codes, rest = np.split(body[_HEADER.size :], [n_bytes])
    sums = rest.view("<u8").copy() if magic == _MAGIC and len(rest) == 8 * n_rows else None
    old = magic == _MAGIC_WITHOUT_SUMS and not len(rest)
    if owner != bytes.fromhex(sha256) or n_bytes != len(codes) or (sums is None and not old):
        raise _damaged(path, "does not belong to its segment")
    if codes[:4].tobytes() != _KIND:
        raise _damaged(path, "holds no codes that this version knows")
    try:
        index = faiss.deserialize_index(codes)
    except RuntimeError as failure:
        raise _damaged(path, "cannot be read by this version of FAISS") from failure
    if index.ntotal != n_rows:
        raise _damaged(path, f"has {index.ntotal} rows instead of {n_rows}")
    return CoarseCodes(n_rows, shrinkage, error, spread, sums, index)


def file_stamp(path: Path) -> tuple[int, int] | None:
    """Return what tells two states of a file apart, None where there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked at every search
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _accuracy(grid: _Grid, sample: Float32Array) -> tuple[float, float, float]:
    """Return the shrinkage, the error and the spread (see `CoarseCodes`) of a grid.

    An embedding at cosine c with the query is c times the query's own direction, where the
    error is the spread, and else like a stranger.
    """
    quantized = grid.quantized(sample)
    kept = np.einsum("ij,ij->i", sample, quantized)
    shrinkage = float(kept.mean())
    step = max(1, len(sample) // _SAMPLE_QUERIES)
    wrong = sample[::step] @ (quantized / shrinkage - sample).T
    return shrinkage, float(wrong.std()), float(kept.std()) / shrinkage


def _spread(vectors: NDArray[np.float16], n: int) -> Float32Array:
    """Return about `n` of the vectors, from everywhere."""
    rows = np.unique(np.linspace(0, len(vectors) - 1, min(n, len(vectors))).astype(np.int64))
    return vectors[rows].astype(np.float32)


def _damaged(path: Path, what: str) -> IndexDamagedError:
    return IndexDamagedError(
        f"{path} {what}; searches go on without it, only slower; `facesim compact` makes it anew"
    )
