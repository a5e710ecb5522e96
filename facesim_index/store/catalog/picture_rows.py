"""The questions that are asked of the catalog.

Each function takes a connection inside a transaction of `Catalog.read` or
`Catalog.write`, so that several answers belong to one moment.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Text,
    bindparam,
    cast,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.sql.functions import coalesce

from facesim_index.records import (
    Box,
    EngineIdentity,
    FaceId,
    FaceRecord,
    FailedFile,
    FailureCode,
    FileStamp,
    ImageId,
    ImageStatus,
    Int64Array,
    KnownFile,
    PictureFaces,
    Quality,
    SegmentId,
    SegmentInfo,
)
from facesim_index.store.catalog.schema import (
    CalibrationRow,
    EngineRow,
    Face,
    FacePerson,
    File,
    Folder,
    Image,
    IndexState,
    IngestRun,
    Person,
    PriorEstimateRow,
    Root,
    SegmentRow,
    Tombstone,
)
from facesim_index.store.sqlite import row_checks

# Failures that do not lie in the bytes of a picture: worth another try at every run.
PASSING_FAILURES = frozenset({FailureCode.UNREADABLE, FailureCode.CHANGING, FailureCode.LOST})


@dataclass(frozen=True, slots=True)
class State:
    """The row that every commit advances."""

    generation: int
    next_face_id: int
    next_segment_id: int
    created_at: str


@dataclass(frozen=True, slots=True)
class KnownImage:
    """What the catalog knows of a picture's content."""

    image_id: ImageId
    status: ImageStatus
    failure_code: FailureCode | None


@dataclass(frozen=True, slots=True)
class PriorEstimate:
    """The share of genuine pairs as it was estimated for one generation with one curve."""

    generation: int
    calibration: str
    curve_sha256: str
    share: float
    low: float
    high: float
    n_faces: int
    n_rows: int
    n_pairs: int
    method: str


def state(connection: Connection) -> State:
    """Return the generation and the next free ids."""
    return State(*connection.execute(_STATE).one())


# Statements of a query are made once: making one takes longer than answering it.
_STATE = select(
    IndexState.generation,
    IndexState.next_face_id,
    IndexState.next_segment_id,
    IndexState.created_at,
)


def engine(connection: Connection) -> tuple[EngineIdentity, str]:
    """Return the index's engine and the name or folder its weights are found by."""
    row = connection.execute(select(*EngineRow.__table__.columns)).one()
    identity = EngineIdentity(
        row.name,
        row.detector_sha256,
        row.recogniser_sha256,
        row.preprocessing,
        row.dimension,
        row.augment,
        row.numerics,
    )
    return identity, row.model


def segments(connection: Connection) -> tuple[SegmentInfo, ...]:
    """Return every segment that exists, in the order of their face ids."""
    return tuple(
        SegmentInfo(SegmentId(row[0]), row[1], row[2], FaceId(row[3]), FaceId(row[4]), *row[5:])
        for row in connection.execute(_SEGMENTS)
    )


_SEGMENTS = select(
    SegmentRow.id,
    SegmentRow.name,
    SegmentRow.n_rows,
    SegmentRow.first_face_id,
    SegmentRow.last_face_id,
    SegmentRow.size_bytes,
    SegmentRow.sha256,
).order_by(SegmentRow.first_face_id)


def tombstones(connection: Connection) -> Int64Array:
    """Return the ids of removed faces whose vectors are still in a segment, ascending."""
    return np.fromiter(connection.execute(_TOMBSTONES).scalars(), dtype=np.int64)


_TOMBSTONES = select(Tombstone.face_id).order_by(Tombstone.face_id)


def folder_files(connection: Connection, folder: str) -> dict[str, KnownFile]:
    """Return what is known of the files directly in a folder, by name."""
    rows = connection.execute(_FOLDER_FILES, {"folder": folder}).all()
    return {
        name: KnownFile(
            file_id,
            FileStamp(size_bytes, mtime_ns),
            _STATUSES[status],
            failure in PASSING_FAILURES,
            missing_since is not None,
        )
        for name, file_id, size_bytes, mtime_ns, status, failure, missing_since in rows
    }


#: Made once: a scan asks it for every folder, and making it takes longer than answering.
_FOLDER_FILES = (
    select(
        File.name,
        File.id,
        File.size_bytes,
        File.mtime_ns,
        Image.status,
        coalesce(Image.failure_code, File.failure_code),
        File.missing_since,
    )
    .join(Folder, Folder.id == File.folder_id)
    .outerjoin(Image, Image.id == File.image_id)
    .where(Folder.path == bindparam("folder"))
)
_STATUSES: dict[str | None, ImageStatus | None] = {
    None: None,
    **{status.value: status for status in ImageStatus},
}


def folder_hashes(connection: Connection, folder: str) -> dict[str, bytes]:
    """Return the content hashes of the files directly in a folder, by name."""
    rows = connection.execute(
        select(File.name, Image.content_hash)
        .join(Folder, Folder.id == File.folder_id)
        .join(Image, Image.id == File.image_id)
        .where(Folder.path == folder)
    )
    return {name: content_hash for name, content_hash in rows}  # noqa: C416 - rows are no pairs


def folders_under(connection: Connection, path: Path) -> list[str]:
    """Return the known folders at and below `path`."""
    folders = connection.execute(select(Folder.path).where(at_or_below(Folder.path, path)))
    return list(folders.scalars())


def files_under(connection: Connection, path: Path) -> list[int]:
    """Return the ids of the files below a folder, or of the one file at `path`."""
    below = select(File.id).join(Folder).where(at_or_below(Folder.path, path))
    itself = (
        select(File.id).join(Folder).where(Folder.path == str(path.parent), File.name == path.name)
    )
    return [*connection.execute(below).scalars(), *connection.execute(itself).scalars()]


def image_by_hash(connection: Connection, content_hash: bytes) -> KnownImage | None:
    """Return the image with this content, if it is known."""
    return images_by_hash(connection, [content_hash]).get(content_hash)


def images_by_hash(
    connection: Connection, content_hashes: Sequence[bytes]
) -> dict[bytes, KnownImage]:
    """Return those of some contents that are known, by their hash."""
    rows = connection.execute(_IMAGES_BY_HASH, {"content_hashes": content_hashes})
    return {
        content_hash: KnownImage(
            ImageId(image_id), ImageStatus(status), FailureCode(failure) if failure else None
        )
        for content_hash, image_id, status, failure in rows
    }


_IMAGES_BY_HASH = select(Image.content_hash, Image.id, Image.status, Image.failure_code).where(
    Image.content_hash.in_(bindparam("content_hashes", expanding=True))
)


def faces_of_images(connection: Connection, image_ids: Sequence[ImageId]) -> Int64Array:
    """Return the living faces of some images, ascending."""
    rows = connection.execute(_FACES_OF_IMAGES, listed(image_ids))
    return np.fromiter(rows.scalars(), dtype=np.int64)


def face_ids(connection: Connection, *, under: Path | None = None) -> Int64Array:
    """Return the living faces, ascending; with `under`, those of pictures at or below a path."""
    query = select(Face.id)
    if under is not None:
        files = or_(
            at_or_below(Folder.path, under),
            (Folder.path == str(under.parent)) & (File.name == under.name),
        )
        images = select(File.image_id).join(Folder).where(files, File.image_id.is_not(None))
        query = query.where(Face.image_id.in_(images))
    return np.fromiter(connection.execute(query.order_by(Face.id)).scalars(), dtype=np.int64)


def faces(connection: Connection, ids: Int64Array) -> list[FaceRecord]:
    """Return the records of living faces in the order asked; unknown ids are left out.

    Raises
    ------
    IndexDamagedError
        A row of one of them, or of its files, is not as it was written.
    """
    row_checks.require_whole(connection, "face", ids.tolist())
    rows = {row.id: row for row in connection.execute(_FACES, listed(ids.tolist()))}
    paths = paths_of_images(connection, sorted({row.image_id for row in rows.values()}))
    return [
        FaceRecord(
            face_id=FaceId(row.id),
            image_id=ImageId(row.image_id),
            ordinal=row.ordinal,
            paths=paths.get(row.image_id, ()),
            box=Box(row.x, row.y, row.w, row.h),
            landmarks=np.frombuffer(row.landmarks, dtype="<f4").reshape(5, 2),
            detection=row.detection,
            quality=Quality(row.size_px, row.sharpness, row.yaw_deg, row.roll_deg),
        )
        for row in (rows[face_id] for face_id in ids.tolist() if face_id in rows)
    ]


def picture_faces(connection: Connection, path: Path) -> PictureFaces | None:
    """Return the living faces of the picture in a file, or None when the file is not known."""
    row = connection.execute(
        select(Image.id, Image.width_px, Image.height_px)
        .join(File, File.image_id == Image.id)
        .join(Folder, Folder.id == File.folder_id)
        .where(Folder.path == str(path.parent), File.name == path.name)
    ).one_or_none()
    if row is None:
        return None
    found = faces(connection, faces_of_images(connection, [ImageId(row.id)]))
    return PictureFaces(row.width_px or 0, row.height_px or 0, tuple(found))


def n_faces(connection: Connection) -> int:
    """Return how many living faces there are."""
    return connection.execute(_N_FACES).scalar_one()


def failed_files(connection: Connection) -> Iterator[FailedFile]:
    """Yield every file that could not be used, by path."""
    code = coalesce(Image.failure_code, File.failure_code)
    rows = connection.execute(
        select(Folder.path, File.name, code, coalesce(Image.failure_message, File.failure_message))
        .join(Folder, Folder.id == File.folder_id)
        .outerjoin(Image, Image.id == File.image_id)
        .where(code.is_not(None), File.missing_since.is_(None))
        .order_by(Folder.path, File.name)
    )
    for folder, name, failure, message in rows:
        yield FailedFile(joined(folder, name), FailureCode(failure), message)


def counts(connection: Connection) -> dict[str, int]:
    """Return how much of everything there is."""
    statuses = connection.execute(select(Image.status, func.count()).group_by(Image.status))
    by_status = {status: count for status, count in statuses}  # noqa: C416 - rows are no pairs
    totals = connection.execute(
        select(
            select(func.count()).select_from(File).scalar_subquery(),
            select(func.count()).where(File.missing_since.is_not(None)).scalar_subquery(),
            select(func.count()).where(File.failure_code.is_not(None)).scalar_subquery(),
            select(func.count()).select_from(Face).scalar_subquery(),
            select(func.count()).select_from(Tombstone).scalar_subquery(),
            select(func.count()).select_from(Person).scalar_subquery(),
            select(func.count()).where(Person.name.is_not(None)).scalar_subquery(),
            select(func.count()).where(Person.ignored.is_(True)).scalar_subquery(),
            select(func.count()).select_from(FacePerson).scalar_subquery(),
        )
    ).one()
    return {
        "files": totals[0],
        "files_missing": totals[1],
        "files_unreadable": totals[2],
        "images": sum(by_status.values()),
        "images_ok": by_status.get(ImageStatus.OK, 0),
        "images_without_face": by_status.get(ImageStatus.NO_FACE, 0),
        "images_failed": by_status.get(ImageStatus.ERROR, 0),
        "faces": totals[3],
        "faces_removed_not_compacted": totals[4],
        "faces_of_people": totals[8],
        "faces_of_nobody": totals[3] - totals[8],
        "people": totals[5],
        "people_named": totals[6],
        "people_ignored": totals[7],
    }


def roots(connection: Connection) -> list[tuple[str, str]]:
    """Return what was given to ingest and when last, by path."""
    rows = connection.execute(select(Root.path, Root.last_ingest_at).order_by(Root.path))
    return [(path, when) for path, when in rows]


def unfinished_runs(connection: Connection) -> int:
    """Return how many ingest runs since the last finished one did not finish."""
    last = (
        select(func.max(IngestRun.id)).where(IngestRun.finished_at.is_not(None)).scalar_subquery()
    )
    return connection.execute(
        select(func.count()).select_from(IngestRun).where(IngestRun.id > coalesce(last, 0))
    ).scalar_one()


def active_calibration(connection: Connection) -> str | None:
    """Return the JSON of the calibration chosen for this index, or None."""
    return connection.execute(_ACTIVE_CALIBRATION).scalar()


_ACTIVE_CALIBRATION = select(CalibrationRow.document).where(CalibrationRow.active.is_(True))


def prior_estimate(connection: Connection) -> PriorEstimate | None:
    """Return the stored estimate of the share of genuine pairs, of whatever generation."""
    row = connection.execute(_PRIOR_ESTIMATE).one_or_none()
    return None if row is None else PriorEstimate(*row)


_PRIOR_ESTIMATE = select(
    *(PriorEstimateRow.__table__.columns[field.name] for field in fields(PriorEstimate))
)


def faces_of_same_images(
    connection: Connection, face_ids: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Return each of the faces with each living face of its picture, itself among them.

    Parameters
    ----------
    connection : Connection
    face_ids : ndarray of int64

    Returns
    -------
    face_ids, other_ids : ndarray of shape (n_pairs,), int64
    """
    other = aliased(Face)
    rows = connection.execute(
        select(Face.id, other.id)
        .join(other, other.image_id == Face.image_id)
        .where(among(Face.id, face_ids))
        .order_by(Face.id, other.id)
    )
    pairs = np.array([tuple(row) for row in rows], dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def content_hashes(connection: Connection, image_ids: Iterable[ImageId]) -> dict[ImageId, bytes]:
    """Return the content hashes of images."""
    rows = connection.execute(
        select(Image.id, Image.content_hash).where(among(Image.id, image_ids))
    )
    return {ImageId(image_id): content_hash for image_id, content_hash in rows}


def images_without_faces(connection: Connection, image_ids: Iterable[ImageId]) -> list[ImageId]:
    """Return those of the images that have no living face."""
    has_face = select(Face.id).where(Face.image_id == Image.id).exists()
    rows = connection.execute(select(Image.id).where(among(Image.id, image_ids), ~has_face))
    return [ImageId(image_id) for image_id in rows.scalars()]


def counters_behind(connection: Connection) -> list[str]:
    """Return the tables whose next row would get an id that a row has, or had, already."""
    return [table for table in _COUNTED if not _ids_are_fresh(connection, table)]


_COUNTED = ("image", "person", "people_change")


def _ids_are_fresh(connection: Connection, table: str) -> bool:
    last = connection.exec_driver_sql(f"SELECT max(id) FROM {table}").scalar()
    counter = connection.exec_driver_sql(
        "SELECT count(*), max(seq) FROM sqlite_sequence WHERE name = ?", (table,)
    ).one()
    return last is None or (counter[0] == 1 and counter[1] >= last)


def paths_of_images(
    connection: Connection, image_ids: Sequence[int]
) -> dict[int | None, tuple[str, ...]]:
    """Return the files of images; those that were there at the last ingest first."""
    rows = connection.execute(_PATHS_OF_IMAGES, listed(image_ids)).all()
    row_checks.require_whole(connection, "file", {row[3] for row in rows})
    row_checks.require_whole(connection, "folder", {row[4] for row in rows})
    paths: dict[int | None, list[str]] = {}
    for image_id, folder, name, *_ in rows:
        paths.setdefault(image_id, []).append(joined(folder, name))
    return {image_id: tuple(names) for image_id, names in paths.items()}


def joined(folder: str, name: str) -> str:
    """Return the path of a file in a folder."""
    return f"{folder.rstrip(os.sep)}{os.sep}{name}"


def among(
    column: InstrumentedAttribute[int] | InstrumentedAttribute[int | None], ids: Iterable[int]
) -> ColumnElement[bool]:
    """Say "the column is one of these ids" with one bound value, however many there are."""
    values = literal(json.dumps([int(value) for value in ids]), Text)
    return column.in_(select(text("value")).select_from(func.json_each(values)))


def among_listed(
    column: InstrumentedAttribute[int] | InstrumentedAttribute[int | None],
) -> ColumnElement[bool]:
    """Say the same in a statement that is made once; `listed` gives its ids."""
    values = bindparam("listed", type_=Text)
    return column.in_(select(text("value")).select_from(func.json_each(values)))


def listed(ids: Iterable[int]) -> dict[str, str]:
    """Return the parameter of a statement with `among_listed`."""
    return {"listed": json.dumps([int(value) for value in ids])}


_N_FACES = select(func.count()).select_from(Face)
_FACES = select(*Face.__table__.columns).where(among_listed(Face.id))
_FACES_OF_IMAGES = select(Face.id).where(among_listed(Face.image_id)).order_by(Face.id)
_PATHS_OF_IMAGES = (
    select(File.image_id, Folder.path, File.name, File.id, Folder.id)
    .join(Folder, Folder.id == File.folder_id)
    .where(among_listed(File.image_id))
    .order_by(File.image_id, File.missing_since.is_not(None), Folder.path, File.name)
)


def at_or_below(column: InstrumentedAttribute[str], path: Path) -> ColumnElement[bool]:
    """Say "the column's path is `path` or lies below it".

    Compared as bytes, by range: unlike LIKE that needs no escapes, tells capitals apart, and
    serves names that are not UTF-8 too.
    """
    base = os.fsencode(path)
    start = base if base.endswith(os.fsencode(os.sep)) else base + os.fsencode(os.sep)
    end = start[:-1] + bytes([start[-1] + 1])
    raw = cast(column, LargeBinary)
    return or_(raw == base, (raw >= start) & (raw < end))
