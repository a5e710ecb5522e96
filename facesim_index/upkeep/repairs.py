"""Repair what a check of an index found, from the pictures.

A segment that is missing or not as recorded has lost the embeddings of all its faces.  `repair`
reads the pictures of exactly those faces again and writes a new segment in its place; the faces
keep their ids.  Faces whose pictures cannot be read any more are listed and taken out of the
index; when a picture comes back, ingest reads it anew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facesim_index.engine.base import PictureReader
from facesim_index.records import (
    Box,
    EmbeddedFace,
    FaceRecord,
    Float32Array,
    ImageId,
    PictureReading,
)
from facesim_index.store.catalog import face_rows, picture_rows
from facesim_index.store.protocols import IndexStore
from facesim_index.store.records import MendedRows, Verdict

SAME_FACE_IOU = 0.9  # a face found again by the same engine is where it was


@dataclass(frozen=True, slots=True)
class Repair:
    """What `FaceIndex.repair` did.

    Attributes
    ----------
    faces_mended : int
        Faces that have their embedding again.
    faces_lost : int
        Faces that were taken out because their picture could not be read again.
    lost_paths : tuple of str
        The pictures of the lost faces, and those whose rows were taken out.  Where they still
        exist, the next ingest reads them anew.
    rows_mended : int
        Rows of the catalog that are again exactly as they were written.
    rows_taken_out : tuple of str
        Rows of the catalog that could not be mended and are gone.

    Examples
    --------
    >>> index.close()
    >>> [segment] = Path("holiday.facesim/segments").glob("*.faiss")
    >>> segment.unlink()
    >>> repair = index.repair()
    >>> repair.faces_mended, repair.faces_lost
    (6, 0)
    """

    faces_mended: int
    faces_lost: int
    lost_paths: tuple[str, ...]
    rows_mended: int = 0
    rows_taken_out: tuple[str, ...] = ()


def repair(store: IndexStore, verdict: Verdict, reader: PictureReader) -> Repair:
    """Mend what `verify` found.

    Parameters
    ----------
    store : IndexStore
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
        rows = store.mend_catalog()
        verdict = store.check()
    with store.read() as view:
        faces = face_rows.faces(view.transaction, verdict.faces_without_embedding)
        hashes = picture_rows.content_hashes(view.transaction, [face.image_id for face in faces])
    by_image: dict[ImageId, list[FaceRecord]] = {}
    for face in faces:
        by_image.setdefault(face.image_id, []).append(face)
    files = {image: [Path(path) for path in found[0].paths] for image, found in by_image.items()}
    found_hashes = (found for found in reader.hash_files(files.values()) if found is not None)
    readable = [
        (image, paths[found.index(hashes[image])])
        for (image, paths), found in zip(files.items(), found_hashes, strict=True)
        if hashes[image] in found  # a file that still has exactly the bytes that were read
    ]
    mended: dict[int, Float32Array] = {}
    outcomes = reader.read((path for _, path in readable), lambda: False)
    for (image, _), outcome in zip(readable, outcomes, strict=True):
        if isinstance(outcome, PictureReading) and outcome.content_hash == hashes[image]:
            mended.update(_match_faces(by_image[image], outcome.faces))
    lost = [face for face in faces if face.face_id not in mended]
    store.put_back(verdict, mended, lost)
    paths = sorted({face.path for face in lost})
    return Repair(
        len(mended),
        len(lost),
        tuple(sorted({*paths, *rows.lost_paths})),
        rows.n_mended,
        rows.taken_out,
    )


def _match_faces(
    known: Sequence[FaceRecord], found: Sequence[EmbeddedFace]
) -> Iterator[tuple[int, Float32Array]]:
    """Yield (face id, embedding) for the known faces that were found again."""
    for face in known:
        best = max(found, key=lambda other: _iou(face.box, other.box), default=None)
        if best is not None and _iou(face.box, best.box) >= SAME_FACE_IOU:
            yield face.face_id, best.embedding


def _iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes."""
    width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    common = max(width, 0.0) * max(height, 0.0)
    return common / max(a.w * a.h + b.w * b.h - common, 1e-9)
