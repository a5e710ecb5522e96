"""Questions about faces.

Where nothing else is said, every function raises an `IndexDamagedError` when a row that the answer
depends on is not as it was written, or is not found where it was written.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, func, select
from sqlalchemy.orm import aliased

from facesim_index.errors import UsageError
from facesim_index.records import (
    MAX_ID,
    Box,
    FaceId,
    FaceRecord,
    ImageId,
    Int64Array,
    PictureFaces,
    Quality,
)
from facesim_index.store.catalog.picture_rows import file_at, files_under, paths_of_images
from facesim_index.store.catalog.schema import Face, File, Image
from facesim_index.store.catalog.statements import among, among_listed, listed
from facesim_index.store.catalog.transaction import (
    ANY,
    require_complete,
    require_count,
    require_whole,
)


def as_ids(face_ids: Int64Array | Sequence[int], location: Path | str) -> Int64Array:
    """Return ids of faces as an array.

    Parameters
    ----------
    face_ids : sequence of int
    location : Path or str
        Of the index, for the message.

    Returns
    -------
    ndarray of shape (n,), int64

    Raises
    ------
    UsageError
        One is larger than any id can be.
    """
    try:
        return np.asarray(face_ids, dtype=np.int64)
    except OverflowError as error:
        beyond = next(face_id for face_id in face_ids if abs(int(face_id)) > MAX_ID)
        raise UsageError(f"there is no face {beyond} in {location}") from error


def faces_of_images(connection: Connection, image_ids: Collection[ImageId]) -> Int64Array:
    """Return the living faces of some images, ascending."""
    found = connection.execute(_FACES_OF_IMAGES, listed(image_ids)).scalars().all()
    require_complete(connection, "face.image_id", image_ids, found)
    return np.array(found, dtype=np.int64)


def face_ids(connection: Connection, *, under: Path | None = None) -> Int64Array:
    """Return the living faces, ascending; with `under`, those of pictures at or below a path."""
    if under is None:
        rows = connection.execute(select(Face.id).order_by(Face.id)).scalars()
        found = np.fromiter(rows, dtype=np.int64)
        require_complete(connection, "face.id", [ANY], found.tolist())
        return found
    files = files_under(connection, under)
    require_whole(connection, "file", files)
    images = connection.execute(select(File.image_id).where(among(File.id, files))).scalars()
    return faces_of_images(
        connection, {ImageId(image_id) for image_id in images if image_id is not None}
    )


def faces(connection: Connection, ids: Int64Array) -> list[FaceRecord]:
    """Return the records of living faces in the order asked; unknown ids are left out."""
    require_whole(connection, "face", ids.tolist())
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
    files = file_at(connection, path)
    image_id = connection.execute(select(File.image_id).where(among(File.id, files))).scalar()
    if image_id is None:
        return None
    require_whole(connection, "image", [image_id])
    row = connection.execute(
        select(Image.width_px, Image.height_px).where(Image.id == image_id)
    ).one()
    found = faces(connection, faces_of_images(connection, [ImageId(image_id)]))
    return PictureFaces(row.width_px or 0, row.height_px or 0, tuple(found))


def n_faces(connection: Connection) -> int:
    """Return how many living faces there are."""
    count = connection.execute(_N_FACES).scalar_one()
    require_count(connection, "face.id", ANY, count)
    return count


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
    require_complete(connection, "face.image_id")
    other = aliased(Face)
    rows = connection.execute(
        select(Face.id, other.id)
        .join(other, other.image_id == Face.image_id)
        .where(among(Face.id, face_ids))
        .order_by(Face.id, other.id)
    )
    pairs = np.array([tuple(row) for row in rows], dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def images_without_faces(connection: Connection, image_ids: Iterable[ImageId]) -> list[ImageId]:
    """Return those of the images that have no living face; without any check."""
    has_face = select(Face.id).where(Face.image_id == Image.id).exists()
    rows = connection.execute(select(Image.id).where(among(Image.id, image_ids), ~has_face))
    return [ImageId(image_id) for image_id in rows.scalars()]


_N_FACES = select(func.count()).select_from(Face)


_FACES = select(*Face.__table__.columns).where(among_listed(Face.id))


_FACES_OF_IMAGES = select(Face.id).where(among_listed(Face.image_id)).order_by(Face.id)
