"""What was forgotten, and whether every trace of it is gone.

A line says when, how many, and whether securely: never who, and no path.  The line of a
secure forget is written in the transaction that removes the rows, and is finished when
nothing of them is left in any file.  So an interrupted one cannot be overlooked.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select, update

from facesim_index.store.catalog.picture_rows import files_under
from facesim_index.store.catalog.schema import Audit, IngestRun, Root
from facesim_index.store.catalog.transaction import now, require_whole


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One forget.

    Attributes
    ----------
    at : str
        ISO 8601, UTC.
    files, faces : int
        How many were removed.
    secure : bool
        Whether every trace was to be erased, too.
    finished : bool
        False when that was interrupted and is still to be done.

    Examples
    --------
    >>> forgotten = index.forget(face_ids=[1, 2], secure=True)
    >>> [line] = index.audit()
    >>> line.files, line.faces, line.secure, line.finished
    (0, 2, True, True)
    """

    at: str
    files: int
    faces: int
    secure: bool
    finished: bool


def add_line(connection: Connection, files: int, faces: int, *, secure: bool) -> None:
    """Record a forget; a secure one as not finished yet."""
    require_whole(connection, "audit")
    at = now()
    connection.execute(
        insert(Audit).values(
            at=at, files=files, faces=faces, secure=secure, finished_at=None if secure else at
        )
    )


def lines(connection: Connection) -> tuple[AuditLine, ...]:
    """Return every forget, oldest first.

    Raises
    ------
    IndexDamagedError
        A line is not as it was written.
    """
    require_whole(connection, "audit")
    rows = connection.execute(
        select(Audit.at, Audit.files, Audit.faces, Audit.secure, Audit.finished_at).order_by(
            Audit.id
        )
    )
    return tuple(
        AuditLine(at, files, faces, secure, finished_at is not None)
        for at, files, faces, secure, finished_at in rows
    )


def unfinished(connection: Connection) -> int:
    """Return how many secure forgets still have traces to erase; without any check.

    Every writer asks it when it opens the index, also one that is about to mend it.
    """
    return connection.execute(
        select(func.count()).select_from(Audit).where(Audit.finished_at.is_(None))
    ).scalar_one()


def finish(connection: Connection) -> None:
    """Record that nothing is left of all that was forgotten securely."""
    connection.execute(update(Audit).where(Audit.finished_at.is_(None)).values(finished_at=now()))


def clear_histories(connection: Connection) -> None:
    """Take out of the records of past ingests what may name forgotten files and folders.

    When each ran and what it counted stays, and what was given to ingest where anything of it
    is still in the index.
    """
    for root_id, path in connection.execute(select(Root.id, Root.path)).all():
        if not files_under(connection, Path(path)):
            connection.execute(delete(Root).where(Root.id == root_id))
    for run_id, summary in connection.execute(select(IngestRun.id, IngestRun.summary)).all():
        counted = None if summary is None else json.dumps({**json.loads(summary), "warnings": []})
        connection.execute(
            update(IngestRun).where(IngestRun.id == run_id).values(options="{}", summary=counted)
        )
