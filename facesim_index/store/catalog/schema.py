"""The tables of the catalog (SQLAlchemy 2 typed ORM).

`migrations/versions` is what really makes them; a test holds that both agree.

A picture's *content* is an `image`, known by its hash; a *file* is a place where
those bytes were seen.  Many files may share one image, which is embedded once.
Only living faces have a `face` row.  A face that was removed leaves a `tombstone`
until `compact` has taken its vector out of the segment that holds it.

Face ids are handed out in the order of commits and never reused, and only
neighbouring segments are merged, so the segment of a face is the one whose
``first_face_id``..``last_face_id`` spans its id: no row records it twice.
"""

import os

from sqlalchemy import (
    BLOB,
    CheckConstraint,
    Dialect,
    ForeignKey,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class PathText(TypeDecorator[str]):
    """A path or file name: text where it is valid Unicode, its raw bytes where it is not.

    SQLite keeps the type of each value, so names that are not UTF-8 survive the round trip.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | bytes | None:
        """Return the value to store."""
        if value is None:
            return None
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return os.fsencode(value)
        return value

    def process_result_value(self, value: object, dialect: Dialect) -> str | None:
        """Return the path as Python's file functions take it."""
        if value is None:
            return None
        return os.fsdecode(value) if isinstance(value, bytes) else str(value)


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)


class IndexState(Base):
    """The one row that every change of an answer advances."""

    __tablename__ = "index_state"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    generation: Mapped[int]
    next_face_id: Mapped[int]
    next_segment_id: Mapped[int]
    created_at: Mapped[str]


class EngineRow(Base):
    """The one engine whose embeddings this index holds."""

    __tablename__ = "engine"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(PathText)
    model: Mapped[str] = mapped_column(PathText)
    detector_sha256: Mapped[str]
    recogniser_sha256: Mapped[str]
    preprocessing: Mapped[int]
    dimension: Mapped[int]
    augment: Mapped[str] = mapped_column(server_default="none")
    numerics: Mapped[str] = mapped_column(server_default="fp32")


class Root(Base):
    """A folder or file that was given to ingest."""

    __tablename__ = "root"

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(PathText, unique=True)
    last_ingest_at: Mapped[str]


class Folder(Base):
    """A folder that holds known files, by its absolute path."""

    __tablename__ = "folder"

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(PathText, unique=True)


class Image(Base):
    """A picture by its content."""

    __tablename__ = "image"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    size_bytes: Mapped[int]
    status: Mapped[str] = mapped_column(index=True)
    failure_code: Mapped[str | None]
    failure_message: Mapped[str | None]
    width_px: Mapped[int | None]
    height_px: Mapped[int | None]
    format: Mapped[str | None]
    taken_at: Mapped[str | None]


class File(Base):
    """A place where a picture was seen."""

    __tablename__ = "file"
    __table_args__ = (UniqueConstraint("folder_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    folder_id: Mapped[int] = mapped_column(ForeignKey("folder.id"))
    name: Mapped[str] = mapped_column(PathText)
    size_bytes: Mapped[int]
    mtime_ns: Mapped[int]
    image_id: Mapped[int | None] = mapped_column(ForeignKey("image.id"), index=True)
    failure_code: Mapped[str | None]
    failure_message: Mapped[str | None]
    missing_since: Mapped[str | None]


class Face(Base):
    """A living face of an image."""

    __tablename__ = "face"
    __table_args__ = (UniqueConstraint("image_id", "ordinal"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    ordinal: Mapped[int]
    x: Mapped[float]
    y: Mapped[float]
    w: Mapped[float]
    h: Mapped[float]
    landmarks: Mapped[bytes] = mapped_column(BLOB)
    detection: Mapped[float]
    size_px: Mapped[float]
    sharpness: Mapped[float]
    yaw_deg: Mapped[float]
    roll_deg: Mapped[float]


class Tombstone(Base):
    """A face that was removed but whose vector is still in a segment."""

    __tablename__ = "tombstone"

    face_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    deleted_at: Mapped[str]


class SegmentRow(Base):
    """An immutable vector file that exists, and what it must look like."""

    __tablename__ = "segment"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(unique=True)
    n_rows: Mapped[int]
    first_face_id: Mapped[int]
    last_face_id: Mapped[int]
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    created_at: Mapped[str]


class CalibrationRow(Base):
    """A calibration kept with the index, with its evidence, as JSON."""

    __tablename__ = "calibration"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(PathText, unique=True)  # often that of a folder
    engine_key: Mapped[str]
    document: Mapped[str]
    active: Mapped[bool]
    created_at: Mapped[str]


class IngestRun(Base):
    """A run of ingest: when, with which options, and what came of it."""

    __tablename__ = "ingest_run"

    id: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[str]
    finished_at: Mapped[str | None]
    version: Mapped[str]
    options: Mapped[str]
    summary: Mapped[str | None]


class Audit(Base):
    """That something was forgotten: when and how many, never who or from where.

    A secure one without `finished_at` was interrupted; the next writer finishes it.
    """

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[str]
    files: Mapped[int]
    faces: Mapped[int]
    secure: Mapped[bool]
    finished_at: Mapped[str | None]


class PriorEstimateRow(Base):
    """The newest estimate of the share of genuine pairs: derived, and of one generation."""

    __tablename__ = "prior_estimate"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    generation: Mapped[int]
    calibration: Mapped[str] = mapped_column(PathText)
    curve_sha256: Mapped[str]
    share: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    n_faces: Mapped[int]
    n_rows: Mapped[int]
    n_pairs: Mapped[int]
    method: Mapped[str]
    created_at: Mapped[str]


class CohortRow(Base):
    """The faces with which all others are compared, and how; see `cohort_rows`."""

    __tablename__ = "cohort"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    method: Mapped[str]
    n_faces: Mapped[int]
    face_ids: Mapped[bytes] = mapped_column(LargeBinary)


class FaceStatisticsRow(Base):
    """Statistics of the cosines of 1024 faces with the cohort: derived; see `cohort_rows`."""

    __tablename__ = "face_statistics"

    chunk: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    numbers: Mapped[bytes] = mapped_column(LargeBinary)


class CalibrationVerdictRow(Base):
    """Whether the calibration fits: derived, of one generation and one curve."""

    __tablename__ = "calibration_verdict"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    generation: Mapped[int]
    curve_sha256: Mapped[str]
    verdict: Mapped[str]
    sentence: Mapped[str] = mapped_column(PathText)
    created_at: Mapped[str]


class RowCheck(Base):
    """The checksum of one row of another table; see `row_checks`."""

    __tablename__ = "row_check"
    __table_args__ = ({"sqlite_with_rowid": False},)

    table_name: Mapped[str] = mapped_column(primary_key=True)
    row_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[bytes] = mapped_column(LargeBinary)


class RowGroup(Base):
    """How many rows have one value, and the sum of their ids; see `row_checks`."""

    __tablename__ = "row_group"
    __table_args__ = ({"sqlite_with_rowid": False},)

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    n_rows: Mapped[int]
    row_ids: Mapped[int]


class Person(Base):
    """Someone: a group of faces, with a name or without.  Ids are never reused."""

    __tablename__ = "person"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    ignored: Mapped[bool]
    created_at: Mapped[str]


class FacePerson(Base):
    """Whose a face is, and whether a human said so; a face that is gone takes its row along."""

    __tablename__ = "face_person"

    face_id: Mapped[int] = mapped_column(
        ForeignKey("face.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    source: Mapped[str]


class FacesApart(Base):
    """Two faces that a human said are not one person's."""

    __tablename__ = "faces_apart"

    face_a: Mapped[int] = mapped_column(
        ForeignKey("face.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    face_b: Mapped[int] = mapped_column(
        ForeignKey("face.id", ondelete="CASCADE"), primary_key=True, autoincrement=False, index=True
    )


class PeopleChange(Base):
    """A change to the people that can be undone; it says nothing of whom it concerned."""

    __tablename__ = "people_change"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str]
    made_at: Mapped[str]


class PeopleChangeFace(Base):
    """Whose a face was before a change; NULL for nobody's."""

    __tablename__ = "people_change_face"

    change_id: Mapped[int] = mapped_column(
        ForeignKey("people_change.id", ondelete="CASCADE"), primary_key=True
    )
    face_id: Mapped[int] = mapped_column(
        ForeignKey("face.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    person_id: Mapped[int | None] = mapped_column(index=True)
    source: Mapped[str | None]


class PeopleChangePerson(Base):
    """What a person was before a change; `created_at` is NULL when there was none."""

    __tablename__ = "people_change_person"

    change_id: Mapped[int] = mapped_column(
        ForeignKey("people_change.id", ondelete="CASCADE"), primary_key=True
    )
    person_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    ignored: Mapped[bool | None]
    created_at: Mapped[str | None]


class PeopleChangeApart(Base):
    """Whether two faces were known to be apart before a change."""

    __tablename__ = "people_change_apart"

    change_id: Mapped[int] = mapped_column(
        ForeignKey("people_change.id", ondelete="CASCADE"), primary_key=True
    )
    face_a: Mapped[int] = mapped_column(
        ForeignKey("face.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    face_b: Mapped[int] = mapped_column(
        ForeignKey("face.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    were_apart: Mapped[bool]
