"""Forget, verify and repair.

Verify finds every damage of an index, repair mends what can be mended.

A segment that is missing or not as recorded has lost the embeddings of all its
faces.  `repair` reads the pictures of exactly those faces again and writes a new
segment in its place; the faces keep their ids.  What cannot be read any more is
listed and taken out of the index; when its file comes back, ingest reads it anew.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.errors import IndexDamagedError, PictureError, UsageError
from facesim_index.pictures.decoding import hash_file
from facesim_index.records import (
    Box,
    EmbeddedFace,
    FaceId,
    FaceRecord,
    FailureCode,
    Float32Array,
    ImageId,
    Int64Array,
    PictureReading,
    SegmentId,
    SegmentInfo,
)
from facesim_index.store.catalog import picture_rows, writing
from facesim_index.store.segments.coarse import coarse_path, read_coarse, wants_coarse
from facesim_index.store.segments.segment import Segment, check_embeddings, file_sha256
from facesim_index.store.sqlite import row_checks
from facesim_index.store.store import Store
from facesim_index.upkeep.catalog_repair import MendedRows, mend_catalog_rows, rebuild_indexes

SAME_FACE_IOU = 0.9  # a face found again by the same engine is where it was

ReadPictures = Callable[[Iterable[Path]], Iterator[object]]
"""Reads pictures and yields a `PictureReading`, or anything else for a failure, in order."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as the catalog recorded it.

    Attributes
    ----------
    what : str
        File, table or face ids concerned.
    message : str
    """

    what: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found.

    Attributes
    ----------
    problems : tuple of Problem
        Empty when the index is whole.
    damaged : tuple of SegmentInfo
        Segments whose embeddings cannot be trusted.
    faces_without_embedding : ndarray of int64
        Living faces whose embedding is lost, ascending.
    stray_faces : ndarray of int64
        Ids in sound segments that are neither living nor removed, ascending.
    """

    problems: tuple[Problem, ...]
    damaged: tuple[SegmentInfo, ...]
    faces_without_embedding: Int64Array
    stray_faces: Int64Array


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


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `forget` removed.

    Attributes
    ----------
    files, faces : int
        Removed.  A picture that another file still shows keeps its faces.
    """

    files: int
    faces: int


def forget(
    store: Store, paths: Sequence[Path], face_ids: Sequence[FaceId], *, secure: bool = False
) -> Forgotten:
    """Remove pictures, folders and faces.

    Parameters
    ----------
    store : Store
        Writable.
    paths : sequence of Path
        Files or folders, as given or with links followed; they need not exist any more.
    face_ids : sequence of FaceId
    secure : bool, default=False
        Leave no trace of them in any file of the index.

    Returns
    -------
    Forgotten

    Raises
    ------
    UsageError
        Nothing of a path, or no face of an id, is in the index; nothing is removed then.
    StorageError, IndexDamagedError
        With `secure`: they are removed, but traces are left.
    """
    file_ids: set[int] = set()
    names = [{path.absolute(), path.resolve()} for path in paths]
    with store.catalog.read() as transaction:
        for path, spellings in zip(paths, names, strict=True):
            found = {
                file_id
                for spelling in spellings
                for file_id in picture_rows.files_under(transaction, spelling)
            }
            if not found:
                raise UsageError(f"nothing of {path} is in {store.folder}")
            file_ids |= found
        known = picture_rows.face_ids(transaction)
    unknown = [face_id for face_id in face_ids if face_id not in known]
    if unknown:
        raise UsageError(f"there is no face {unknown[0]} in {store.folder}")
    roots = list(set().union(*names))
    faces = store.forget(sorted(file_ids), face_ids, roots=roots, secure=secure)
    return Forgotten(len(file_ids), faces)


def verify(store: Store) -> Verdict:
    """Compare every file and row of an index with what the catalog recorded.

    Parameters
    ----------
    store : Store

    Returns
    -------
    Verdict
    """
    problems = list(_check_catalog(store))
    with store.catalog.read() as transaction:
        segments = picture_rows.segments(transaction)
        living = picture_rows.face_ids(transaction)
        removed = picture_rows.tombstones(transaction)
    damaged: list[SegmentInfo] = []
    held = [np.empty(0, dtype=np.int64)]
    for info in segments:
        try:
            ids = _check_segment(store, info)
        except IndexDamagedError as error:
            problems.append(Problem(info.name, str(error)))
            damaged.append(info)
            continue
        here = living[(living >= info.first_face_id) & (living <= info.last_face_id)]
        if not np.isin(here, ids).all():
            problems.append(Problem(info.name, "lacks the embeddings of some of its faces"))
            damaged.append(info)
            continue
        held.append(ids)
        problems.extend(_check_coarse(store, info))
    present = np.concatenate(held)
    without = np.setdiff1d(living, present)
    stray = np.setdiff1d(present, np.union1d(living, removed))
    if len(without):
        problems.append(Problem(_some(without), "have no sound embedding"))
    if len(stray):
        problems.append(Problem(_some(stray), "have an embedding but are not in the catalog"))
    return Verdict(tuple(problems), tuple(damaged), without, stray)


def repair(store: Store, verdict: Verdict, read_pictures: ReadPictures) -> Repair:
    """Mend what `verify` found.

    Parameters
    ----------
    store : Store
        Writable.
    verdict : Verdict
        Of this index, by the same writer.
    read_pictures : callable
        Reads pictures again with the index's engine; see `ReadPictures`.

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
        faces = picture_rows.faces(transaction, verdict.faces_without_embedding)
        hashes = picture_rows.content_hashes(transaction, [face.image_id for face in faces])
    by_image: dict[ImageId, list[FaceRecord]] = {}
    for face in faces:
        by_image.setdefault(face.image_id, []).append(face)
    sources = {image: _find_source(found[0], hashes[image]) for image, found in by_image.items()}
    readable = [(image, path) for image, path in sources.items() if path is not None]
    mended: dict[int, Float32Array] = {}
    outcomes = read_pictures(path for _, path in readable)
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


def _check_catalog(store: Store) -> Iterator[Problem]:
    """Yield what is wrong with the catalog: with its structure, or with what a row holds."""
    try:
        messages = store.catalog.check_integrity()
        yield from (Problem("catalog", message) for message in messages)
        with store.catalog.read() as transaction:
            for wrong in row_checks.all_wrong_rows(transaction):
                yield Problem("rows", str(wrong))
            for table in picture_rows.counters_behind(transaction):
                yield Problem("rows", f"the counter of table {table} is behind its rows")
    except IndexDamagedError as error:
        yield Problem("catalog", str(error))


def _check_segment(store: Store, info: SegmentInfo) -> Int64Array:
    """Return a segment's ids when the file is exactly what was written."""
    path = store.segment_path(info)
    try:
        size_bytes = path.stat().st_size
        if size_bytes != info.size_bytes:
            raise IndexDamagedError(f"has {size_bytes} bytes instead of {info.size_bytes}")
        if file_sha256(path) != info.sha256:
            raise IndexDamagedError("has other content than was written (SHA-256 differs)")
        segment = Segment(path)
    except FileNotFoundError:
        raise IndexDamagedError("is missing") from None
    except OSError as error:
        raise IndexDamagedError(f"cannot be read: {error.strerror or error}") from error
    if len(segment.face_ids) != info.n_rows:
        raise IndexDamagedError(f"has {len(segment.face_ids)} rows instead of {info.n_rows}")
    return segment.face_ids


def _check_coarse(store: Store, info: SegmentInfo) -> Iterator[Problem]:
    """Yield what is wrong with the coarse codes of a sound segment."""
    path = store.segment_path(info)
    if wants_coarse(info.n_rows, store.identity.dimension):
        try:
            read_coarse(path, info.sha256)
        except (FileNotFoundError, IndexDamagedError) as error:
            yield Problem(coarse_path(path).name, str(error))


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
        next_id = picture_rows.state(transaction).next_segment_id
        sound = [
            info for info in picture_rows.segments(transaction) if info.segment_id not in damaged
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
        empty = picture_rows.images_without_faces(transaction, [face.image_id for face in lost])
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


def _some(ids: Int64Array) -> str:
    shown = ", ".join(str(face_id) for face_id in ids[:5])
    return f"{len(ids)} faces ({shown}{', …' if len(ids) > 5 else ''})"
