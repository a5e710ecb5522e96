"""The records that pass between the store and those who ask or fill it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, NewType

from facesim_index.records import (
    FaceId,
    Failure,
    FailureCode,
    FileStamp,
    Float64Array,
    ImageStatus,
    Int64Array,
    PictureReading,
)

SegmentId = NewType("SegmentId", int)


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """A segment as the catalog records it.

    Attributes
    ----------
    segment_id : SegmentId
    name : str
        File name below ``segments/``.
    n_rows : int
    first_face_id, last_face_id : FaceId
        Every id of the segment lies between them, and no other segment has ids there.
    size_bytes : int
    sha256 : str
        Hex digest of the file.
    """

    segment_id: SegmentId
    name: str
    n_rows: int
    first_face_id: FaceId
    last_face_id: FaceId
    size_bytes: int
    sha256: str


class KnownFile(NamedTuple):
    """What the catalog knows of a file; a tuple, because a scan makes one for each.

    Attributes
    ----------
    file_id : int
    stamp : FileStamp
        When it was last read.
    status : ImageStatus or None
        Of its content; None when it could not be read at all.
    retry_always : bool
        Its failure does not lie in its bytes, so that every run tries it again.
    missing : bool
        It was gone at the last ingest.
    """

    file_id: int
    stamp: FileStamp
    status: ImageStatus | None
    retry_always: bool
    missing: bool


@dataclass(frozen=True, slots=True)
class FileLink:
    """A file as one ingest found it: its content by hash, or why it could not be read.

    Attributes
    ----------
    folder, name : str
        Absolute folder and file name.
    stamp : FileStamp
    content_hash : bytes or None
    failure : Failure or None
        Set exactly when `content_hash` is None.
    """

    folder: str
    name: str
    stamp: FileStamp
    content_hash: bytes | None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be used, as `facesim errors` lists it.

    Attributes
    ----------
    path : str
    code : FailureCode
    message : str
        What happened, for a person.

    Examples
    --------
    >>> [failed] = index.errors()
    >>> Path(failed.path).name, failed.code.value
    ('broken.jpg', 'unsupported')
    """

    path: str
    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What a part of an ingest found, to be committed as one.

    Attributes
    ----------
    readings : sequence of PictureReading
        In the order in which their faces shall be numbered.
    links : sequence of FileLink
        Every content hash is among `readings` or already in the index.
    """

    readings: Sequence[PictureReading]
    links: Sequence[FileLink]


@dataclass(frozen=True, slots=True)
class StoreSize:
    """How much room an index takes.

    Attributes
    ----------
    embeddings_bytes, catalog_bytes : int
    """

    embeddings_bytes: int
    catalog_bytes: int


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The faces nearest to one query, most similar first, ties by face id.

    Attributes
    ----------
    face_ids : ndarray of shape (n,), int64
    cosines : ndarray of shape (n,), float64
        Exact for the stored embedding, in [-1, 1].
    """

    face_ids: Int64Array
    cosines: Float64Array


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as the catalog recorded it.

    Attributes
    ----------
    what : str
        File, table or face ids concerned.
    message : str

    Examples
    --------
    >>> index.close()
    >>> [segment] = Path("holiday.facesim/segments").glob("*.faiss")
    >>> segment.unlink()
    >>> problem = index.verify().problems[0]
    >>> problem.what, problem.message
    ('000001.faiss', 'is missing')
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

    Examples
    --------
    >>> index.close()
    >>> [segment] = Path("holiday.facesim/segments").glob("*.faiss")
    >>> segment.unlink()
    >>> verdict = index.verify()
    >>> len(verdict.problems), verdict.faces_without_embedding
    (2, array([1, 2, 3, 4, 5, 6]))
    """

    problems: tuple[Problem, ...]
    damaged: tuple[SegmentInfo, ...]
    faces_without_embedding: Int64Array
    stray_faces: Int64Array


@dataclass(frozen=True, slots=True)
class MendedRows:
    """What was done about rows that were not as they were written.

    Attributes
    ----------
    n_mended : int
        Rows that are exactly as they were.
    taken_out : tuple of str
        What is not in the index any more, for people.
    lost_paths : tuple of str
        Pictures whose rows were taken out; an ingest of them finds them anew.
    """

    n_mended: int
    taken_out: tuple[str, ...]
    lost_paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that was made, or put back.

    Attributes
    ----------
    path : str
        Where it is, absolute.
    created_at : str
        When it was taken, ISO 8601, UTC.
    generation : int
        Of the index at that moment.
    faces : int
    segments : int
    linked : int
        How many of the files are hard links, and take no space of their own.
    bytes_total : int

    Examples
    --------
    >>> snapshot = index.snapshot("monday", copy=True)
    >>> Path(snapshot.path).name, snapshot.faces, snapshot.segments, snapshot.linked
    ('monday', 6, 1, 0)
    """

    path: str
    created_at: str
    generation: int
    faces: int
    segments: int
    linked: int
    bytes_total: int
