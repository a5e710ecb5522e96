"""Forget, verify and repair.

Verify finds every damage of an index, repair mends what can be mended.

A segment that is missing or not as recorded has lost the embeddings of all its
faces.  `repair` reads the pictures of exactly those faces again and writes a new
segment in its place; the faces keep their ids.  What cannot be read any more is
listed and taken out of the index; when its file comes back, ingest reads it anew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.engine.base import PictureReader
from facesim_index.errors import PictureError
from facesim_index.pictures.files import hash_file
from facesim_index.records import (
    Box,
    EmbeddedFace,
    FaceRecord,
    FailureCode,
    Float32Array,
    ImageId,
    PictureReading,
)
from facesim_index.store.catalog import face_rows, index_state, picture_rows, writing
from facesim_index.store.records import SegmentId
from facesim_index.store.segments.writer import check_embeddings
from facesim_index.store.store import Store
from facesim_index.upkeep.catalog_repair import MendedRows, mend_catalog_rows, rebuild_indexes
from facesim_index.upkeep.verification import Verdict, verify

SAME_FACE_IOU = 0.9  # a face found again by the same engine is where it was


@dataclass(frozen=True, slots=True)
class Repair:
    """What `repair` did.

    Attributes
    ----------
    faces_mended : int
        Faces that have their embedding again.
    faces_lost : int
        Faces that were taken out because their picture could not be read again.
    lost_paths : tuple of str
        The pictures of the lost faces, and those whose rows were taken out: the next ingest
        finds them anew where they still are.
    rows_mended : int
        Rows of the catalog that are again exactly as they were written.
    rows_taken_out : tuple of str
        Rows of the catalog that could not be mended and are gone.
    """

    faces_mended: int
    faces_lost: int
    lost_paths: tuple[str, ...]
    rows_mended: int = 0
    rows_taken_out: tuple[str, ...] = ()


def repair(store: Store, verdict: Verdict, reader: PictureReader) -> Repair:
    """Mend what `verify` found.

    Parameters
    ----------
    store : Store
        Writable.
    verdict : Verdict
        Of this index, by the same writer.
    reader : PictureReader
        Reads pictures again with the index's engine.

    Returns
    -------
    Repair

    Raises
    ------
    IndexDamagedError
        The catalog itself is damaged: restore it from a copy.
    """
    rows = MendedRows(0, (), ())
    if any(problem.what in ("catalog", "rows") for problem in verdict.problems):
        rebuild_indexes(store)
        rows = mend_catalog_rows(store)
        verdict = verify(store)
    with store.catalog.read() as transaction:
        faces = face_rows.faces(transaction, verdict.faces_without_embedding)
        hashes = picture_rows.content_hashes(transaction, [face.image_id for face in faces])
    by_image: dict[ImageId, list[FaceRecord]] = {}
    for face in faces:
        by_image.setdefault(face.image_id, []).append(face)
    sources = {image: _find_source(found[0], hashes[image]) for image, found in by_image.items()}
    readable = [(image, path) for image, path in sources.items() if path is not None]
    mended: dict[int, Float32Array] = {}
    outcomes = reader.read((path for _, path in readable), lambda: False)
    for (image, _), outcome in zip(readable, outcomes, strict=True):
        if isinstance(outcome, PictureReading) and outcome.content_hash == hashes[image]:
            mended.update(_match_faces(by_image[image], outcome.faces))
    lost = [face for face in faces if face.face_id not in mended]
    _write(store, verdict, mended, lost)
    store.write_missing_coarse()
    paths = sorted({face.path for face in lost})
    return Repair(
        len(mended),
        len(lost),
        tuple(sorted({*paths, *rows.lost_paths})),
        rows.n_mended,
        rows.taken_out,
    )


def _find_source(face: FaceRecord, content_hash: bytes) -> Path | None:
    """Return a file that still has the very bytes a face was found in."""
    for path in map(Path, face.paths):
        try:
            if hash_file(path) == content_hash:
                return path
        except PictureError:
            continue
    return None


def _match_faces(
    known: Sequence[FaceRecord], found: Sequence[EmbeddedFace]
) -> Iterator[tuple[int, Float32Array]]:
    """Yield (face id, embedding) for the known faces that were found again."""
    for face in known:
        best = max(found, key=lambda other: _iou(face.box, other.box), default=None)
        if best is not None and _iou(face.box, best.box) >= SAME_FACE_IOU:
            yield face.face_id, best.embedding


def _write(
    store: Store, verdict: Verdict, mended: dict[int, Float32Array], lost: Sequence[FaceRecord]
) -> None:
    """Commit the mended embeddings in the place of the damaged segments."""
    damaged = {info.segment_id for info in verdict.damaged}
    ids = np.array(sorted(mended), dtype=np.int64)
    with store.catalog.write() as transaction:
        next_id = index_state.state(transaction).next_segment_id
        sound = [
            info for info in index_state.segments(transaction) if info.segment_id not in damaged
        ]
        # One new segment for each gap between sound ones, so that id ranges stay apart.
        gaps = np.searchsorted([info.first_face_id for info in sound], ids)
        new = []
        for gap in np.unique(gaps):
            chosen = ids[gaps == gap]
            embeddings = np.stack([mended[face_id] for face_id in chosen.tolist()])
            check_embeddings(embeddings, store.identity.dimension)
            new.append(store.write_segment(SegmentId(next_id), chosen, [embeddings]))
            next_id += 1
        writing.remove_faces(transaction, [face.face_id for face in lost])
        writing.replace_segments(transaction, sorted(damaged), new)
        writing.bury(transaction, verdict.stray_faces.tolist())
        empty = face_rows.images_without_faces(transaction, [face.image_id for face in lost])
        writing.mark_lost(
            transaction, empty, FailureCode.LOST, "its embedding was damaged and its file gone"
        )
        writing.advance(transaction, next_segment_id=next_id)
    store.drop_files(verdict.damaged)


def _iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes."""
    width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    common = max(width, 0.0) * max(height, 0.0)
    return common / max(a.w * a.h + b.w * b.h - common, 1e-9)
