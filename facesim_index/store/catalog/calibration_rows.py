"""The calibrations that are kept with an index, and which of them its degrees are made with.

At most one is active.  When none is, degrees are made with the calibration that the package
ships for the index's engine.  Every function raises an `IndexDamagedError` when the row of a
calibration, of whichever, is not as it was written.
"""

from dataclasses import dataclass, fields

from sqlalchemy import Connection, RowMapping, delete, select, update

from facesim_index.store.catalog.schema import CalibrationRow
from facesim_index.store.catalog.transaction import advance, dialect_of, now, require_whole


@dataclass(frozen=True, slots=True)
class KeptCalibration:
    """A calibration as the catalog keeps it.

    Attributes
    ----------
    name : str
    engine_key : str
        `EngineIdentity.key` of the engine it is for.
    document : str
        What `calibration.to_json` gave.
    active : bool
        The index's degrees are made with it.
    created_at : str
        When it was stored, ISO 8601, UTC.
    """

    name: str
    engine_key: str
    document: str
    active: bool
    created_at: str


def put(connection: Connection, name: str, engine_key: str, document: str) -> None:
    """Store a calibration, or replace the one of this name; which one is active stays."""
    require_whole(connection, "calibration")
    values = {"engine_key": engine_key, "document": document, "created_at": now()}
    put = dialect_of(connection).upsert(CalibrationRow, ("name",), tuple(values))
    connection.execute(put, {"name": name, "active": False, **values})
    advance(connection, same_faces=True)


def kept(connection: Connection) -> tuple[KeptCalibration, ...]:
    """Return every calibration of the index, by name."""
    require_whole(connection, "calibration")
    rows = connection.execute(select(CalibrationRow.__table__).order_by(CalibrationRow.name))
    return tuple(_kept(row) for row in rows.mappings())


def get(connection: Connection, name: str) -> KeptCalibration | None:
    """Return the calibration of this name, if it is kept."""
    require_whole(connection, "calibration")
    rows = connection.execute(select(CalibrationRow.__table__).where(CalibrationRow.name == name))
    row = rows.mappings().one_or_none()
    return None if row is None else _kept(row)


def activate(connection: Connection, name: str | None) -> bool:
    """Let degrees be made with a kept calibration; None: with the one that is shipped.

    Returns
    -------
    bool
        Whether there is such a calibration; when not, nothing was changed.
    """
    require_whole(connection, "calibration")
    if name is not None and get(connection, name) is None:
        return False
    advance(connection, same_faces=True)
    connection.execute(update(CalibrationRow).values(active=False))
    if name is not None:
        connection.execute(
            update(CalibrationRow).where(CalibrationRow.name == name).values(active=True)
        )
    return True


def drop(connection: Connection, name: str) -> bool:
    """Remove a calibration; return whether there was one of this name."""
    require_whole(connection, "calibration")
    chosen = delete(CalibrationRow).where(CalibrationRow.name == name)
    known = connection.execute(chosen).rowcount > 0
    if known:
        advance(connection, same_faces=True)
    return known


def _kept(row: RowMapping) -> KeptCalibration:
    return KeptCalibration(**{field.name: row[field.name] for field in fields(KeptCalibration)})
