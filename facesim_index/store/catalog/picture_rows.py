"""Questions about folders, files and pictures.

Each function takes a connection inside a transaction of `Catalog.read` or
`Catalog.write`, so that several answers belong to one moment.

Where nothing else is said, every function raises an `IndexDamagedError` when a row that the answer
depends on is not as it was written, or is not found where it was written.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, bindparam, or_, select
from sqlalchemy.sql.functions import coalesce

from facesim_index.records import FailureCode, FileStamp, ImageId, ImageStatus
from facesim_index.store.catalog.schema import File, Folder, Image
from facesim_index.store.catalog.statements import among, among_listed, at_or_below, joined, listed
from facesim_index.store.catalog.transaction import (
    dialect_of,
    require_complete,
    require_whole,
    told,
)
from facesim_index.store.records import FailedFile, KnownFile

# Failures that do not lie in the bytes of a picture: worth another try at every run.
PASSING_FAILURES = frozenset({FailureCode.UNREADABLE, FailureCode.CHANGING, FailureCode.LOST})


@dataclass(frozen=True, slots=True)
class KnownImage:
    """What the catalog knows of a picture's content."""

    image_id: ImageId
    status: ImageStatus
    failure_code: FailureCode | None


def folder_files(connection: Connection, folder: str) -> dict[str, KnownFile]:
    """Return what is known of the files directly in a folder, by name; without any check.

    A scan asks it for every folder.  The disk itself confirms nearly all of it; for the rest there
    are `require_sound_scan`, `require_sound_folder` and `require_sound_files`.
    """
    rows = connection.execute(_FOLDER_FILES, {"folder": folder}).all()
    return {
        name: KnownFile(
            file_id,
            FileStamp(size_bytes, mtime_ns),
            _STATUSES.get(status),
            status in _NOT_USED and _is_passing(failure, _STATUSES.get(status)),
            missing_since is not None,
        )
        for name, file_id, size_bytes, mtime_ns, status, failure, missing_since in rows
    }


def require_sound_scan(connection: Connection) -> None:
    """Refuse what would let a scan overlook a folder or a file, or that a file has failed.

    It is asked once for all folders, and does not look at each file: a file that the disk has with
    the same name, size and time needs no check of its row.
    """
    require_sound_failures(connection)


def require_sound_folder(connection: Connection, folder: str) -> None:
    """Refuse damaged rows of the files directly in a folder: before a file is said to be new."""
    folder_ids = connection.execute(_FOLDER_AT, {"folder": folder}).scalars().all()
    require_whole(connection, "folder", folder_ids)
    require_sound_files(connection, files_of_folders(connection, folder_ids))


def require_sound_files(connection: Connection, file_ids: Collection[int]) -> None:
    """Refuse damaged rows of files and of what is in them: of those that are worth a look."""
    require_whole(connection, "file", file_ids)
    images = connection.execute(select(File.image_id).where(among(File.id, file_ids))).scalars()
    require_whole(connection, "image", {image_id for image_id in images if image_id is not None})


_FOLDER_AT = select(Folder.id).where(Folder.path == bindparam("folder"))


def _is_passing(failure: str | None, status: ImageStatus | None) -> bool:
    """Tell whether a file is worth another try; without a status not even its bytes were read."""
    return failure in PASSING_FAILURES or (status is None and failure == FailureCode.TIMEOUT)


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
_NOT_USED = (None, ImageStatus.ERROR.value)
_STATUSES: dict[str | None, ImageStatus | None] = {
    None: None,
    **{status.value: status for status in ImageStatus},
}


def folder_hashes(connection: Connection, folder: str) -> dict[str, bytes]:
    """Return the content hashes of the files directly in a folder, by name."""
    require_sound_folder(connection, folder)
    rows = connection.execute(
        select(File.name, Image.content_hash)
        .join(Folder, Folder.id == File.folder_id)
        .join(Image, Image.id == File.image_id)
        .where(Folder.path == folder)
    )
    return {name: content_hash for name, content_hash in rows}  # noqa: C416 - rows are no pairs


def folders_under(connection: Connection, path: Path) -> list[str]:
    """Return the known folders at and below `path`."""
    require_whole(connection, "folder")
    folders = connection.execute(select(Folder.path).where(at_or_below(Folder.path, path)))
    return list(folders.scalars())


def files_under(connection: Connection, path: Path) -> list[int]:
    """Return the ids of the files below a folder, or of the one file at `path`."""
    require_whole(connection, "folder")
    folders = connection.execute(select(Folder.id).where(at_or_below(Folder.path, path))).scalars()
    below = files_of_folders(connection, folders.all())
    return [*below, *file_at(connection, path)]


def files_of_folders(connection: Connection, folder_ids: Collection[int]) -> list[int]:
    """Return the ids of the files directly in some folders."""
    files = connection.execute(_FILES_OF_FOLDERS, listed(folder_ids)).scalars().all()
    require_complete(connection, "file.folder_id", folder_ids, files)
    return list(files)


def file_at(connection: Connection, path: Path) -> list[int]:
    """Return the id of the file at a path, when it is known; of a folder's path there is none."""
    require_whole(connection, "folder")
    row = connection.execute(
        select(File.id).join(Folder).where(Folder.path == str(path.parent), File.name == path.name)
    ).scalar()
    if row is None:  # perhaps by the name of another
        require_sound_folder(connection, str(path.parent))
        return []
    require_whole(connection, "file", [row])
    return [row]


_FILES_OF_FOLDERS = select(File.id).where(among_listed(File.folder_id))


def image_by_hash(connection: Connection, content_hash: bytes) -> KnownImage | None:
    """Return the image with this content, if it is known."""
    return images_by_hash(connection, [content_hash]).get(content_hash)


def images_by_hash(
    connection: Connection, content_hashes: Collection[bytes]
) -> dict[bytes, KnownImage]:
    """Return those of some contents that are known, by their hash."""
    rows = connection.execute(_IMAGES_BY_HASH, {"content_hashes": list(content_hashes)}).all()
    image_ids = [row.id for row in rows]
    require_complete(connection, "image.content_hash", content_hashes, image_ids)
    require_whole(connection, "image", image_ids)
    return {
        content_hash: KnownImage(
            ImageId(image_id), ImageStatus(status), FailureCode(failure) if failure else None
        )
        for content_hash, image_id, status, failure in rows
    }


_IMAGES_BY_HASH = select(Image.content_hash, Image.id, Image.status, Image.failure_code).where(
    Image.content_hash.in_(bindparam("content_hashes", expanding=True))
)


def failed_files(connection: Connection) -> list[FailedFile]:
    """Return every file that could not be used, by path."""
    require_sound_failures(connection)
    rows = connection.execute(_FAILED_FILES).all()
    require_sound_files(connection, [row.id for row in rows])  # also those that are not failures
    return [_failed_file(row.path, row.name, row.code, row.message) for row in rows]


def sound_failed_files(connection: Connection) -> tuple[list[FailedFile], tuple[str, ...]]:
    """Return the files that could not be used, by path, and what is damaged of the rows about them.

    Nothing is refused: files whose rows are damaged are left out, and the others are listed.

    Parameters
    ----------
    connection : Connection

    Returns
    -------
    files : list of FailedFile
    damage : tuple of str
    """
    files: list[FailedFile] = []
    damage = told([lambda: files.extend(failed_files(connection))])
    if not damage:
        return files, ()
    dialect = dialect_of(connection)
    with dialect.raw_texts(connection):
        rows = connection.execute(_FAILED_FILES).all()
    wrong_files = dialect.wrong_rows(connection, "file", [row.id for row in rows])
    folders = dialect.wrong_rows(connection, "folder", {row.folder_id for row in rows})
    images = dialect.wrong_rows(connection, "image", {row.image_id or 0 for row in rows})
    sound = [
        row
        for row in rows
        if row.path is not None
        and not (row.id in wrong_files or row.folder_id in folders or row.image_id in images)
    ]
    return [_failed_file(row.path, row.name, row.code, row.message) for row in sound], damage


def _failed_file(folder: str, name: str, code: str, message: str) -> FailedFile:
    return FailedFile(joined(folder, name), FailureCode(code), message)


def require_sound_failures(connection: Connection) -> None:
    """Refuse damage by which a file that failed would be overlooked, or be told of wrongly."""
    require_whole(connection, "folder")
    require_complete(connection, "file.folder_id")
    require_complete(connection, "file.failed")
    images = connection.execute(select(Image.id).where(Image.status == ImageStatus.ERROR))
    image_ids = list(images.scalars())
    require_complete(connection, "image.status", [ImageStatus.ERROR], image_ids)
    require_whole(connection, "image", image_ids)
    files = connection.execute(_FILES_OF_IMAGES, listed(image_ids)).scalars().all()
    require_complete(connection, "file.image_id", image_ids, files)
    own = connection.execute(select(File.id).where(File.failure_code.is_not(None))).scalars()
    require_whole(connection, "file", {*own, *files})


_FILES_OF_IMAGES = select(File.id).where(among_listed(File.image_id))
#: Of a file and, where it could be read, the picture in it.
HAS_FAILED = or_(Image.status == ImageStatus.ERROR, File.failure_code.is_not(None))

_FAILURE = coalesce(Image.failure_code, File.failure_code)
_FAILED_FILES = (
    select(
        *(File.id, File.folder_id, File.image_id, Folder.path, File.name, _FAILURE.label("code")),
        coalesce(Image.failure_message, File.failure_message).label("message"),
    )
    .outerjoin(Folder, Folder.id == File.folder_id)
    .outerjoin(Image, Image.id == File.image_id)
    .where(HAS_FAILED, File.missing_since.is_(None))
    .order_by(Folder.path, File.name)
)


def content_hashes(connection: Connection, image_ids: Collection[ImageId]) -> dict[ImageId, bytes]:
    """Return the content hashes of images."""
    require_whole(connection, "image", image_ids)
    rows = connection.execute(
        select(Image.id, Image.content_hash).where(among(Image.id, image_ids))
    )
    return {ImageId(image_id): content_hash for image_id, content_hash in rows}


def paths_of_images(
    connection: Connection, image_ids: Sequence[int]
) -> dict[int | None, tuple[str, ...]]:
    """Return the files of images; those that were there at the last ingest first."""
    rows = connection.execute(_PATHS_OF_IMAGES, listed(image_ids)).all()
    files = [row[3] for row in rows]
    require_complete(connection, "file.image_id", image_ids, files)
    require_whole(connection, "file", files)
    require_whole(connection, "folder", {row[4] for row in rows})
    paths: dict[int | None, list[str]] = {}
    for image_id, folder, name, *_ in rows:
        paths.setdefault(image_id, []).append(joined(folder, name))
    return {image_id: tuple(names) for image_id, names in paths.items()}


_PATHS_OF_IMAGES = (
    select(File.image_id, Folder.path, File.name, File.id, File.folder_id)
    .outerjoin(Folder, Folder.id == File.folder_id)
    .where(among_listed(File.image_id))
    .order_by(File.image_id, File.missing_since.is_not(None), Folder.path, File.name)
)
