"""What somebody who leafs through an index asks for: one picture, parts of long lists, covers.

Where nothing else is said, every function raises an `IndexDamagedError` when a row that the answer
depends on is not as it was written, or is not found where it was written.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, literal, select, tuple_
from sqlalchemy.sql.functions import coalesce

from facesim_index.records import FaceRecord, FailureCode, ImageId, ImageStatus
from facesim_index.store.catalog.face_rows import faces, faces_of_images
from facesim_index.store.catalog.people_rows import HUMAN, PersonRow, assignments_of, persons
from facesim_index.store.catalog.picture_rows import (
    HAS_FAILED,
    paths_of_images,
    require_sound_failures,
    require_sound_files,
)
from facesim_index.store.catalog.schema import (
    Face,
    FacePerson,
    File,
    Folder,
    Image,
    PathText,
    PeopleChange,
    Person,
)
from facesim_index.store.catalog.statements import among, joined
from facesim_index.store.catalog.transaction import require_complete, require_whole
from facesim_index.store.records import FailedFile

_SHARP_ENOUGH_PX = 200.0


@dataclass(frozen=True, slots=True)
class IndexedPicture:
    """A picture of the index.

    Attributes
    ----------
    image_id : ImageId
    content_hash : bytes
    paths : tuple of str
        Files that show it; those that were there at the last ingest first.
    width_px, height_px : int
        Of the upright picture; 0 when it could not be decoded.
    taken_at : str or None
    status : ImageStatus
    failure : str or None
        Why it could not be used.
    faces : tuple of FaceRecord
        Left to right.
    """

    image_id: ImageId
    content_hash: bytes
    paths: tuple[str, ...]
    width_px: int
    height_px: int
    taken_at: str | None
    status: ImageStatus
    failure: str | None
    faces: tuple[FaceRecord, ...]


@dataclass(frozen=True, slots=True)
class PeopleWanted:
    """Which people are asked for.

    Attributes
    ----------
    min_faces : int, default=1
    ignored : bool or None, default=False
        Only those who are ignored, or only those who are not; None for both.
    named : bool or None, default=None
        Only those with a name, or only those without; None for both.
    """

    min_faces: int = 1
    ignored: bool | None = False
    named: bool | None = None


def picture(connection: Connection, image_id: ImageId) -> IndexedPicture | None:
    """Return a picture with its living faces, or None when there is none of that id."""
    require_whole(connection, "image", [image_id])
    row = connection.execute(
        select(*Image.__table__.columns).where(Image.id == image_id)
    ).one_or_none()
    if row is None:
        return None
    found = faces(connection, faces_of_images(connection, [image_id]))
    return IndexedPicture(
        image_id=image_id,
        content_hash=row.content_hash,
        paths=paths_of_images(connection, [image_id]).get(image_id, ()),
        width_px=row.width_px or 0,
        height_px=row.height_px or 0,
        taken_at=row.taken_at,
        status=ImageStatus(row.status),
        failure=row.failure_message,
        faces=tuple(sorted(found, key=lambda face: face.ordinal)),
    )


def failed_files_after(
    connection: Connection, after: tuple[str, str] | None, limit: int
) -> list[tuple[tuple[str, str], FailedFile]]:
    """Return some of the files that could not be used, by path, each with its place.

    Parameters
    ----------
    connection : Connection
    after : tuple of str, optional
        The place of the last one that is known already.
    limit : int
        Most to return.
    """
    require_sound_failures(connection)
    code = coalesce(Image.failure_code, File.failure_code)
    query = (
        select(
            *(Folder.path, File.name, code, coalesce(Image.failure_message, File.failure_message)),
            File.id,
        )
        .join(Folder, Folder.id == File.folder_id)
        .outerjoin(Image, Image.id == File.image_id)
        .where(HAS_FAILED, File.missing_since.is_(None))
        .order_by(Folder.path, File.name)
        .limit(limit)
    )
    if after is not None:
        place = tuple_(*(literal(part, PathText()) for part in after))
        query = query.where(tuple_(Folder.path, File.name) > place)
    rows = connection.execute(query).all()
    require_sound_files(connection, [row.id for row in rows])
    return [
        ((folder, name), FailedFile(joined(folder, name), FailureCode(failure), message))
        for folder, name, failure, message, _ in rows
    ]


def people_after(
    connection: Connection, wanted: PeopleWanted, after: tuple[int, int] | None, limit: int
) -> list[PersonRow]:
    """Return some of the people, those with most faces first.

    Only those are looked at closely: counting the pictures of everybody takes long.

    Parameters
    ----------
    connection : Connection
    wanted : PeopleWanted
    after : tuple of int, optional
        Faces and number of the last one that is known already.
    limit : int
        Most to return.
    """
    require_whole(connection, "person")
    require_complete(connection, "face_person.person_id")
    count = select(func.count()).where(FacePerson.person_id == Person.id).scalar_subquery()
    sized = select(Person.id, Person.name, Person.ignored, count.label("n_faces")).subquery()
    query = select(sized.c.id).where(sized.c.n_faces >= wanted.min_faces)
    if wanted.ignored is not None:
        query = query.where(sized.c.ignored.is_(wanted.ignored))
    if wanted.named is not None:
        query = query.where(sized.c.name.is_not(None) == wanted.named)
    if after is not None:
        place = tuple_(literal(-after[0]), literal(after[1]))
        query = query.where(tuple_(-sized.c.n_faces, sized.c.id) > place)
    query = query.order_by(sized.c.n_faces.desc(), sized.c.id).limit(limit)
    return persons(connection, connection.execute(query).scalars().all())


def n_confirmed(connection: Connection) -> int:
    """Return how many faces are somebody's because a human said so."""
    require_complete(connection, "face_person.source")
    query = select(func.count()).select_from(FacePerson).where(FacePerson.source == HUMAN)
    return connection.execute(query).scalar_one()


def covers(connection: Connection, person_ids: Iterable[int]) -> dict[int, int]:
    """Return the face of each of some people by which one best knows them: large and sure."""
    wanted = list(person_ids)
    require_whole(connection, "face", assignments_of(connection, wanted).face_ids.tolist())
    size = func.min(Face.size_px, _SHARP_ENOUGH_PX)
    place = func.row_number().over(
        partition_by=FacePerson.person_id, order_by=((Face.detection * size).desc(), Face.id)
    )
    ranked = (
        select(FacePerson.person_id, FacePerson.face_id, place.label("place"))
        .join(Face, Face.id == FacePerson.face_id)
        .where(among(FacePerson.person_id, wanted))
        .subquery()
    )
    rows = connection.execute(
        select(ranked.c.person_id, ranked.c.face_id).where(ranked.c.place == 1)
    )
    return {person_id: face_id for person_id, face_id in rows}  # noqa: C416 - rows are no pairs


def newest_change(connection: Connection) -> str | None:
    """Return what made the newest change to the people, which `undo` would take back."""
    require_whole(connection, "people_change")
    query = select(PeopleChange.action).order_by(PeopleChange.id.desc()).limit(1)
    return connection.execute(query).scalar()


def living_faces(connection: Connection, face_ids: Iterable[int]) -> set[int]:
    """Return those of some faces that are still there; without any check."""
    return set(connection.execute(select(Face.id).where(among(Face.id, face_ids))).scalars())


def living_images(connection: Connection, image_ids: Iterable[int]) -> set[int]:
    """Return those of some pictures that are still there; without any check."""
    return set(connection.execute(select(Image.id).where(among(Image.id, image_ids))).scalars())
