"""Questions about faces."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, func, or_, select
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
from facesim_index.store.catalog.picture_rows import paths_of_images
from facesim_index.store.catalog.schema import Face, File, Folder, Image
from facesim_index.store.catalog.statements import among, among_listed, at_or_below, listed
from facesim_index.store.catalog.transaction import require_whole


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


def images_without_faces(connection: Connection, image_ids: Iterable[ImageId]) -> list[ImageId]:
    """Return those of the images that have no living face."""
    has_face = select(Face.id).where(Face.image_id == Image.id).exists()
    rows = connection.execute(select(Image.id).where(among(Image.id, image_ids), ~has_face))
    return [ImageId(image_id) for image_id in rows.scalars()]


_N_FACES = select(func.count()).select_from(Face)


_FACES = select(*Face.__table__.columns).where(among_listed(Face.id))


_FACES_OF_IMAGES = select(Face.id).where(among_listed(Face.image_id)).order_by(Face.id)
