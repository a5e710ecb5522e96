"""The questions that are asked of the catalog.

Each function takes a connection inside a transaction of `Catalog.read` or
`Catalog.write`, so that several answers belong to one moment.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.sql.functions import coalesce

from facesim_index.records import FailureCode, FileStamp, ImageId, ImageStatus
from facesim_index.store.catalog.schema import File, Folder, Image
from facesim_index.store.catalog.statements import among, among_listed, at_or_below, joined, listed
from facesim_index.store.catalog.transaction import require_whole
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
    """Return what is known of the files directly in a folder, by name."""
    rows = connection.execute(_FOLDER_FILES, {"folder": folder}).all()
    return {
        name: KnownFile(
            file_id,
            FileStamp(size_bytes, mtime_ns),
            _STATUSES[status],
            _is_passing(failure, _STATUSES[status]),
            missing_since is not None,
        )
        for name, file_id, size_bytes, mtime_ns, status, failure, missing_since in rows
    }


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


def content_hashes(connection: Connection, image_ids: Iterable[ImageId]) -> dict[ImageId, bytes]:
    """Return the content hashes of images."""
    rows = connection.execute(
        select(Image.id, Image.content_hash).where(among(Image.id, image_ids))
    )
    return {ImageId(image_id): content_hash for image_id, content_hash in rows}


def paths_of_images(
    connection: Connection, image_ids: Sequence[int]
) -> dict[int | None, tuple[str, ...]]:
    """Return the files of images; those that were there at the last ingest first."""
    rows = connection.execute(_PATHS_OF_IMAGES, listed(image_ids)).all()
    require_whole(connection, "file", {row[3] for row in rows})
    require_whole(connection, "folder", {row[4] for row in rows})
    paths: dict[int | None, list[str]] = {}
    for image_id, folder, name, *_ in rows:
        paths.setdefault(image_id, []).append(joined(folder, name))
    return {image_id: tuple(names) for image_id, names in paths.items()}


_PATHS_OF_IMAGES = (
    select(File.image_id, Folder.path, File.name, File.id, Folder.id)
    .join(Folder, Folder.id == File.folder_id)
    .where(among_listed(File.image_id))
    .order_by(File.image_id, File.missing_since.is_not(None), Folder.path, File.name)
)
