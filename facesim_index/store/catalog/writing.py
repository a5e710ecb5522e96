"""The changes that are made to the catalog.

Each function takes a connection inside a transaction of `Catalog.write`; none of
them commits.  `advance` closes every change that readers must notice.

What is about to be removed because nothing refers to it any more is removed only where that is
sure: a damaged row may be what did.  Then an `IndexDamagedError` is raised, and nothing changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, bindparam, delete, exists, func, insert, literal, select, update

from facesim_index.records import EmbeddedFace, FaceId, ImageId, ImageStatus, PictureReading
from facesim_index.store.catalog import cohort_rows
from facesim_index.store.catalog.index_state import CalibrationVerdict, PriorEstimate
from facesim_index.store.catalog.people_rows import drop_traces, require_sound_references
from facesim_index.store.catalog.schema import (
    CalibrationVerdictRow,
    Face,
    File,
    Folder,
    Image,
    IngestRun,
    PriorEstimateRow,
    Root,
    SegmentRow,
    Tombstone,
)
from facesim_index.store.catalog.statements import among, at_or_below
from facesim_index.store.catalog.transaction import advance as advance
from facesim_index.store.catalog.transaction import (
    dialect_of,
    now,
    require_complete,
    require_whole,
)
from facesim_index.store.records import FileLink, SegmentId, SegmentInfo

_VALUES_OF_IMAGE = (
    *("size_bytes", "status", "failure_code", "failure_message"),
    *("width_px", "height_px", "format", "taken_at"),
)
_VALUES_OF_FILE = (
    *("size_bytes", "mtime_ns", "image_id"),
    *("failure_code", "failure_message", "missing_since"),
)

_VALUES_AT_A_TIME = 500  # databases bound the number of values of one statement

# The statements of every picture, made once: making one takes longer than running it.
_IMAGES_OF_FILES = (
    select(File.name, File.image_id)
    .join(Folder, Folder.id == File.folder_id)
    .where(Folder.path == bindparam("folder"), File.name.in_(bindparam("names", expanding=True)))
)
_FOLDER_AT = select(Folder.id).where(Folder.path == bindparam("path"))
_NEW_FOLDER = insert(Folder).returning(Folder.id)
_NEW_FACES = insert(Face)
_IMAGES_OF_CONTENTS = select(Image.content_hash, Image.id).where(
    Image.content_hash.in_(bindparam("content_hashes", expanding=True))
)
_IMAGE_OF_CONTENT = select(Image.id).where(Image.content_hash == bindparam("content_hash"))


def put_images(connection: Connection, readings: Sequence[PictureReading]) -> dict[bytes, ImageId]:
    """Insert pictures' contents, or replace what earlier, failed readings said of them.

    Parameters
    ----------
    connection : Connection
    readings : sequence of PictureReading
        Each of another content.

    Returns
    -------
    dict of bytes to ImageId
        The images by the hashes of their contents; new ones have ids in the order of the readings.
    """
    put = dialect_of(connection).upsert(Image, ("content_hash",), _VALUES_OF_IMAGE)
    if readings:
        connection.execute(put, [_image_values(reading) for reading in readings])
    images: dict[bytes, ImageId] = {}
    for start in range(0, len(readings), _VALUES_AT_A_TIME):
        some = readings[start : start + _VALUES_AT_A_TIME]
        hashes = {"content_hashes": [reading.content_hash for reading in some]}
        for content_hash, image_id in connection.execute(_IMAGES_OF_CONTENTS, hashes):
            images[content_hash] = ImageId(image_id)
    return images


def _image_values(reading: PictureReading) -> dict[str, object]:
    info, failure = reading.info, reading.failure
    return {
        "content_hash": reading.content_hash,
        "size_bytes": reading.stamp.size_bytes,
        "status": reading.status,
        "failure_code": failure.code if failure else None,
        "failure_message": _storable(failure.message) if failure else None,
        "width_px": info.width_px if info else None,
        "height_px": info.height_px if info else None,
        "format": info.format if info else None,
        "taken_at": info.taken_at if info else None,
    }


def insert_faces(
    connection: Connection,
    first_id: FaceId,
    pictures: Iterable[tuple[ImageId, Sequence[EmbeddedFace]]],
) -> None:
    """Insert the faces of images under consecutive ids, in one go."""
    rows = [
        {
            "image_id": image_id,
            "ordinal": ordinal,
            "x": face.box.x,
            "y": face.box.y,
            "w": face.box.w,
            "h": face.box.h,
            "landmarks": np.ascontiguousarray(face.landmarks, dtype="<f4").tobytes(),
            "detection": face.detection,
            "size_px": face.quality.size_px,
            "sharpness": face.quality.sharpness,
            "yaw_deg": face.quality.yaw_deg,
            "roll_deg": face.quality.roll_deg,
        }
        for image_id, faces in pictures
        for ordinal, face in enumerate(faces)
    ]
    if rows:
        ids = range(first_id, first_id + len(rows))
        connection.execute(
            _NEW_FACES, [{"id": face_id, **row} for face_id, row in zip(ids, rows, strict=True)]
        )


def link_files(
    connection: Connection,
    links: Sequence[FileLink],
    images: Mapping[bytes, ImageId] | None = None,
) -> int:
    """Record where files are and what they contain; return how many faces that removed.

    Every content hash must be known; those of `images` need not be looked up.  Images that no file
    shows any more are removed.
    """
    known: dict[bytes, int] = dict(images or {})
    before = _images_of_files(connection, links)
    orphans: set[int] = set()
    rows: list[dict[str, object]] = []
    folders: dict[str, int] = {}
    for link in links:
        if link.folder not in folders:
            folders[link.folder] = _folder_id(connection, link.folder)
        image_id = None
        if link.content_hash is not None:
            if link.content_hash not in known:
                content = {"content_hash": link.content_hash}
                known[link.content_hash] = connection.execute(
                    _IMAGE_OF_CONTENT, content
                ).scalar_one()
            image_id = known[link.content_hash]
        rows.append(
            {
                "folder_id": folders[link.folder],
                "name": link.name,
                "size_bytes": link.stamp.size_bytes,
                "mtime_ns": link.stamp.mtime_ns,
                "image_id": image_id,
                "failure_code": link.failure.code if link.failure else None,
                "failure_message": _storable(link.failure.message) if link.failure else None,
                "missing_since": None,
            }
        )
        shown = before.get((link.folder, link.name))
        if shown is not None and shown != image_id:
            orphans.add(shown)
        before[link.folder, link.name] = image_id  # should the file come twice
    if rows:
        put = dialect_of(connection).upsert(File, ("folder_id", "name"), _VALUES_OF_FILE)
        connection.execute(put, rows)
    return _remove_orphans(connection, orphans)


def _images_of_files(
    connection: Connection, links: Sequence[FileLink]
) -> dict[tuple[str, str], int | None]:
    """Return what files contained until now, by their folders and names."""
    names: dict[str, list[str]] = {}
    for link in links:
        names.setdefault(link.folder, []).append(link.name)
    images: dict[tuple[str, str], int | None] = {}
    for folder, its_names in names.items():
        for start in range(0, len(its_names), _VALUES_AT_A_TIME):
            some = {"folder": folder, "names": its_names[start : start + _VALUES_AT_A_TIME]}
            for name, image_id in connection.execute(_IMAGES_OF_FILES, some):
                images[folder, name] = image_id
    return images


def mark_missing(connection: Connection, file_ids: Sequence[int]) -> None:
    """Record that files were gone when an ingest looked for them."""
    chosen = among(File.id, file_ids), File.missing_since.is_(None)
    if connection.execute(update(File).where(*chosen).values(missing_since=now())).rowcount:
        advance(connection, same_faces=True)


def mark_found(connection: Connection, file_ids: Sequence[int]) -> None:
    """Record that files which had been gone are back, unchanged."""
    chosen = among(File.id, file_ids), File.missing_since.is_not(None)
    if connection.execute(update(File).where(*chosen).values(missing_since=None)).rowcount:
        advance(connection, same_faces=True)


def remove_files(connection: Connection, file_ids: Sequence[int]) -> int:
    """Remove files, and the images that no other file shows; return how many faces that removed."""
    require_whole(connection, "file", file_ids)
    images = connection.execute(select(File.image_id).where(among(File.id, file_ids))).scalars()
    orphans = {image_id for image_id in images if image_id is not None}
    connection.execute(delete(File).where(among(File.id, file_ids)))
    empty = select(Folder.id).where(~exists().where(File.folder_id == Folder.id))
    folders = connection.execute(empty).scalars().all()
    require_whole(connection, "folder", folders)
    require_complete(connection, "file.folder_id", folders)
    connection.execute(delete(Folder).where(among(Folder.id, folders)))
    return _remove_orphans(connection, orphans)


def remove_faces(connection: Connection, face_ids: Iterable[int]) -> int:
    """Put tombstones in the place of living faces; return how many."""
    face_ids = list(face_ids)
    if not face_ids:
        return 0
    require_whole(connection, "face", face_ids)
    require_sound_references(connection, face_ids)
    chosen = among(Face.id, face_ids)
    living = select(Face.id, literal(now())).where(chosen)
    connection.execute(insert(Tombstone).from_select(["face_id", "deleted_at"], living))
    removed = connection.execute(delete(Face).where(chosen)).rowcount
    if removed:
        drop_traces(connection)
        cohort_rows.forget_faces(connection, face_ids)
    return removed


def bury(connection: Connection, face_ids: Sequence[int]) -> None:
    """Put tombstones for vectors that belong to no face."""
    put = dialect_of(connection).upsert(Tombstone, ("face_id",), ())
    for face_id in face_ids:
        connection.execute(put, {"face_id": face_id, "deleted_at": now()})
    if face_ids:
        cohort_rows.forget_faces(connection, face_ids)


def mark_lost(
    connection: Connection, image_ids: Sequence[ImageId], code: str, message: str
) -> None:
    """Record that the vectors of images are gone and could not be made again."""
    connection.execute(
        update(Image)
        .where(among(Image.id, image_ids))
        .values(status=ImageStatus.ERROR, failure_code=code, failure_message=message)
    )


def replace_segments(
    connection: Connection, old: Sequence[SegmentId], new: Sequence[SegmentInfo]
) -> None:
    """Let segments take the place of others; tombstones of vectors that are gone go too."""
    gone = connection.execute(
        select(func.min(SegmentRow.first_face_id), func.max(SegmentRow.last_face_id)).where(
            among(SegmentRow.id, old)
        )
    ).one()
    connection.execute(delete(SegmentRow).where(among(SegmentRow.id, old)))
    if gone[0] is not None:
        connection.execute(delete(Tombstone).where(Tombstone.face_id.between(gone[0], gone[1])))
    for segment in new:
        add_segment(connection, segment)


def add_segment(connection: Connection, segment: SegmentInfo) -> None:
    """Record a segment whose file is safely on the disk."""
    connection.execute(
        insert(SegmentRow).values(
            id=segment.segment_id,
            name=segment.name,
            n_rows=segment.n_rows,
            first_face_id=segment.first_face_id,
            last_face_id=segment.last_face_id,
            size_bytes=segment.size_bytes,
            sha256=segment.sha256,
            created_at=now(),
        )
    )


def put_root(connection: Connection, path: str) -> None:
    """Record that a path was given to ingest."""
    require_whole(connection, "root")
    put = dialect_of(connection).upsert(Root, ("path",), ("last_ingest_at",))
    connection.execute(put, {"path": path, "last_ingest_at": now()})


def remove_roots(connection: Connection, path: Path) -> None:
    """Forget that a path, and paths below it, were given to ingest."""
    require_whole(connection, "root")
    connection.execute(delete(Root).where(at_or_below(Root.path, path)))


def start_run(connection: Connection, version: str, options: str) -> int:
    """Record that an ingest begins; return the run's id."""
    require_whole(connection, "ingest_run")  # or the next number may follow from a damaged one
    statement = (
        insert(IngestRun)
        .values(started_at=now(), version=version, options=options)
        .returning(IngestRun.id)
    )
    return connection.execute(statement).scalar_one()


def finish_run(connection: Connection, run_id: int, summary: str) -> None:
    """Record what came of an ingest."""
    connection.execute(
        update(IngestRun).where(IngestRun.id == run_id).values(finished_at=now(), summary=summary)
    )


def put_prior_estimate(connection: Connection, estimate: PriorEstimate) -> None:
    """Store the estimate of the share of genuine pairs in the place of an older one."""
    values = {**asdict(estimate), "created_at": now()}
    put = dialect_of(connection).upsert(PriorEstimateRow, ("id",), tuple(values))
    connection.execute(put, {"id": 1, **values})


def put_calibration_verdict(connection: Connection, verdict: CalibrationVerdict) -> None:
    """Store whether the calibration fits in the place of an older verdict."""
    values = {**asdict(verdict), "created_at": now()}
    put = dialect_of(connection).upsert(CalibrationVerdictRow, ("id",), tuple(values))
    connection.execute(put, {"id": 1, **values})


def _folder_id(connection: Connection, path: str) -> int:
    found = connection.execute(_FOLDER_AT, {"path": path}).scalar()
    if found is not None:
        return int(found)
    return int(connection.execute(_NEW_FOLDER, {"path": path}).scalar_one())


def _remove_orphans(connection: Connection, image_ids: set[int]) -> int:
    """Remove those of the images that no file shows; return how many faces that removed."""
    if not image_ids:
        return 0
    shown = exists().where(File.image_id == Image.id)
    orphans = (
        connection.execute(select(Image.id).where(among(Image.id, image_ids), ~shown))
        .scalars()
        .all()
    )
    require_whole(connection, "image", orphans)
    require_complete(connection, "file.image_id", orphans)
    faces = connection.execute(select(Face.id).where(among(Face.image_id, orphans))).scalars().all()
    require_complete(connection, "face.image_id", orphans, faces)
    removed = remove_faces(connection, faces)
    connection.execute(delete(Image).where(among(Image.id, orphans)))
    return removed


def _storable(message: str) -> str:
    """Return a message as valid Unicode: names in it may hold bytes that are not."""
    return message.encode("utf-8", "backslashreplace").decode("utf-8")
