"""Write a segment, or merge several into one."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import faiss
import numpy as np
from numpy.typing import NDArray

from facesim_index.records import FaceId, Float32Array, Int64Array
from facesim_index.store.records import SegmentId, SegmentInfo
from facesim_index.store.segments.segment import Segment
from facesim_index.utils.files import atomic_output

HASH_CHUNK_BYTES = 1 << 20


UNIT_NORM_TOLERANCE = 1e-3


_MERGED_AT_ONCE = 1 << 14


def check_embeddings(embeddings: Float32Array, dimension: int) -> None:
    """Refuse what must never reach a segment.

    Raises
    ------
    ValueError
        Wrong shape or dtype, not finite, or not of unit norm.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] != dimension or embeddings.dtype != np.float32:
        raise ValueError(f"embeddings must be float32 of shape (n, {dimension})")
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    if not np.all(np.abs(norms - 1.0) <= UNIT_NORM_TOLERANCE):
        raise ValueError("embeddings must be finite and of unit norm")


def write_segment(
    folder: Path,
    segment_id: SegmentId,
    face_ids: Int64Array,
    embeddings: Iterable[NDArray[np.floating]],
    *,
    dimension: int,
) -> SegmentInfo:
    """Write a segment such that it is whole on the disk before this returns.

    Parameters
    ----------
    folder : Path
        The index's ``segments`` folder.
    segment_id : SegmentId
    face_ids : ndarray of shape (n,), int64, ascending
        At least one.
    embeddings : iterable of ndarray of shape (m, dimension)
        Blocks that together have `n` rows, in the order of `face_ids`.
    dimension : int

    Returns
    -------
    SegmentInfo

    Raises
    ------
    StorageError
        The system refused to write.
    """
    index = _build(face_ids, embeddings, dimension)
    name = f"{segment_id:06d}.faiss"
    with atomic_output(folder / name, private=True) as handle:
        sink = _HashingSink(handle)
        faiss.write_index(index, faiss.PyCallbackIOWriter(sink.write, HASH_CHUNK_BYTES))
        if sink.error is not None:
            raise sink.error
    return SegmentInfo(
        segment_id=segment_id,
        name=name,
        n_rows=len(face_ids),
        first_face_id=FaceId(int(face_ids[0])),
        last_face_id=FaceId(int(face_ids[-1])),
        size_bytes=sink.size_bytes,
        sha256=sink.digest.hexdigest(),
    )


class _HashingSink:
    """Takes FAISS's output to a file and hashes what passes.

    An exception must not travel through FAISS's C++ frames, so it is kept for the caller.
    """

    def __init__(self, handle: BinaryIO) -> None:
        self.handle = handle
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self.handle.write(data)
            except OSError as error:
                self.error = error
            self.digest.update(data)
            self.size_bytes += len(data)
        return len(data)


def _build(
    face_ids: Int64Array, embeddings: Iterable[NDArray[np.floating]], dimension: int
) -> faiss.IndexIDMap2:
    quantizer = faiss.IndexScalarQuantizer(
        dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index = faiss.IndexIDMap2(quantizer)
    for block in embeddings:
        ids = face_ids[index.ntotal : index.ntotal + len(block)]
        # Rounded here, to the nearest: the quantizer's own rounding differs between processors.
        index.add_with_ids(block.astype(np.float16).astype(np.float32), ids)
    if index.ntotal != len(face_ids):
        raise ValueError("the blocks of embeddings do not add up to the face ids")
    return index


def merged_rows(
    segments: Sequence[Segment], removed: Int64Array
) -> tuple[Int64Array, Iterator[NDArray[np.float16]]]:
    """Return the ids of neighbouring segments without the removed faces, and their embeddings.

    Parameters
    ----------
    segments : sequence of Segment
        In the order of their ids.
    removed : ndarray of int64

    Returns
    -------
    face_ids : ndarray of shape (n,), int64, ascending
    embeddings : iterator of ndarray of shape (m, dimension), float16
        Blocks of bounded size, together `n` rows.
    """
    kept = [~np.isin(segment.face_ids, removed) for segment in segments]
    pairs = list(zip(segments, kept, strict=True))
    face_ids = np.concatenate([segment.face_ids[rows] for segment, rows in pairs])
    return face_ids, (
        segment.vectors[start : start + _MERGED_AT_ONCE][rows[start : start + _MERGED_AT_ONCE]]
        for segment, rows in pairs
        for start in range(0, len(rows), _MERGED_AT_ONCE)
    )
