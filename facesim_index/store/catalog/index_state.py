"""What there is one of in an index: generation, engine, segments, calibration, counts.

Nothing is checked here: whoever asks has seen that the tables are whole, or tells what is not.
"""

from dataclasses import dataclass, fields

import numpy as np
from sqlalchemy import Connection, func, select
from sqlalchemy.sql.functions import coalesce

from facesim_index.errors import IndexDamagedError
from facesim_index.records import EngineIdentity, FaceId, ImageStatus, Int64Array
from facesim_index.store.catalog.schema import (
    CalibrationRow,
    CalibrationVerdictRow,
    EngineRow,
    Face,
    FacePerson,
    File,
    Image,
    IndexState,
    IngestRun,
    Person,
    PriorEstimateRow,
    Root,
    SegmentRow,
    Tombstone,
)
from facesim_index.store.records import SegmentId, SegmentInfo


@dataclass(frozen=True, slots=True)
class State:
    """The row that every change of an answer advances."""

    generation: int
    next_face_id: int
    next_segment_id: int
    created_at: str


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


@dataclass(frozen=True, slots=True)
class CalibrationVerdict:
    """Whether the calibration fits the pictures, as found for one generation with one curve."""

    generation: int
    curve_sha256: str
    verdict: str
    sentence: str


def state(connection: Connection) -> State:
    """Return the generation and the next free ids.

    Raises
    ------
    IndexDamagedError
        The row is lost.
    """
    row = connection.execute(_STATE).one_or_none()
    if row is None:
        raise IndexDamagedError(
            "the catalog is damaged: its only row of table index_state is lost; "
            "run `facesim verify --repair`"
        )
    return State(*row)


# Statements of a query are made once: making one takes longer than answering it.
_STATE = select(
    IndexState.generation,
    IndexState.next_face_id,
    IndexState.next_segment_id,
    IndexState.created_at,
)


def stored_engine(connection: Connection) -> tuple[EngineIdentity, str]:
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


def segment_infos(connection: Connection) -> tuple[SegmentInfo, ...]:
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


def calibration_verdict(connection: Connection) -> CalibrationVerdict | None:
    """Return the stored verdict on the calibration, of whatever generation."""
    row = connection.execute(_CALIBRATION_VERDICT).one_or_none()
    return None if row is None else CalibrationVerdict(*row)


_CALIBRATION_VERDICT = select(
    *(CalibrationVerdictRow.__table__.columns[field.name] for field in fields(CalibrationVerdict))
)
