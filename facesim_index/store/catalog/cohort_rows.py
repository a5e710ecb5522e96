"""The cohort of an index, and the statistics of each face's cosines with it.

The cohort is a set of faces of the index.  For each face two numbers are kept, which follow from
its embedding and those of the cohort alone: what is not known can be computed again.  So the
generation stays as it is when these rows change.

Of a face that was removed nothing may stay.  Its own numbers are easily taken out.  But when it was
in the cohort, it is a part of the numbers of every other face: from the means of some thousand
faces, whose embeddings are there, its embedding can be computed exactly.  So when a face leaves the
cohort, the statistics of all faces are dropped.

Every function raises an `IndexDamagedError` when a row that it reads or changes is not as it was
written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, delete, insert, select, update

from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.catalog.schema import CohortRow, Face, FaceStatisticsRow
from facesim_index.store.catalog.statements import among, among_listed, listed
from facesim_index.store.catalog.transaction import dialect_of, require_whole

CHUNK_FACES = 1024
"""So many consecutive face ids share a row of statistics."""

N_STATISTICS = 2
"""Numbers that are kept of each face."""

_IDS, _NUMBERS = np.dtype("<i8"), np.dtype("<f4")


@dataclass(frozen=True, slots=True, eq=False)
class StoredCohort:
    """The faces with which all faces of an index are compared, as the catalog keeps them.

    Attributes
    ----------
    method : str
        Fingerprint of how the statistics are made.
    n_faces : int
        Living faces of the index when the cohort was drawn.
    face_ids : ndarray of shape (n,), int64, ascending
        Those of its faces that are still living.
    """

    method: str
    n_faces: int
    face_ids: Int64Array

    def is_same_as(self, other: "StoredCohort | None") -> bool:
        """Tell whether statistics that were made with the other cohort are those of this one.

        Parameters
        ----------
        other : StoredCohort or None

        Returns
        -------
        bool
        """
        return (
            other is not None
            and (self.method, self.n_faces) == (other.method, other.n_faces)
            and np.array_equal(self.face_ids, other.face_ids)
        )


def cohort(connection: Connection) -> StoredCohort | None:
    """Return the cohort of the index, or None when none was drawn yet.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.

    Returns
    -------
    StoredCohort or None
    """
    require_whole(connection, CohortRow.__tablename__)
    row = connection.execute(_COHORT).one_or_none()
    if row is None:
        return None
    face_ids = np.frombuffer(row.face_ids, dtype=_IDS).astype(np.int64)
    return StoredCohort(row.method, row.n_faces, face_ids)


def statistics(connection: Connection, face_ids: Int64Array) -> Float32Array:
    """Return the stored statistics of some faces.

    Only the rows that hold them are read, in one statement for any number of faces.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    face_ids : ndarray of shape (n,), int64
        In any order; a face may occur more than once.

    Returns
    -------
    ndarray of shape (n, 2), float32
        In the order asked; NaN where the statistics of a face are not known.
    """
    chunks, place = np.unique(face_ids // CHUNK_FACES, return_inverse=True)
    known = _read(connection, chunks)
    return known[place, face_ids % CHUNK_FACES]


def put_cohort(connection: Connection, drawn: StoredCohort) -> None:
    """Store a cohort in the place of an older one, and drop the statistics made with that.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that writes.
    drawn : StoredCohort
        Of living faces.
    """
    drop_cohort(connection)
    face_ids = np.unique(drawn.face_ids).astype(_IDS).tobytes()
    values = {"method": drawn.method, "n_faces": drawn.n_faces, "face_ids": face_ids}
    connection.execute(insert(CohortRow).values(id=1, **values))


def drop_cohort(connection: Connection) -> None:
    """Remove the cohort, and the statistics made with it, which mean nothing without it.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that writes.
    """
    require_whole(connection, CohortRow.__tablename__)
    connection.execute(delete(CohortRow))
    _drop_all_statistics(connection)


def put_statistics(connection: Connection, face_ids: Int64Array, numbers: Float32Array) -> None:
    """Store the statistics of some faces; those of others stay as they are.

    Faces that are not living any more are left out.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that writes.
    face_ids : ndarray of shape (n,), int64
    numbers : ndarray of shape (n, 2), float32
        Made with the cohort that is stored.  Where they were computed before this transaction
        began, ask in it whether the cohort is still the same (`StoredCohort.is_same_as`).

    Raises
    ------
    ValueError
        The numbers have another shape.
    """
    if numbers.shape != (len(face_ids), N_STATISTICS):
        raise ValueError(f"there must be {N_STATISTICS} statistics of each face")
    found = connection.execute(_LIVING, listed(face_ids.tolist())).scalars().all()
    is_living = np.isin(face_ids, np.array(found, dtype=np.int64))
    face_ids, numbers = face_ids[is_living], numbers[is_living]
    chunks, place = np.unique(face_ids // CHUNK_FACES, return_inverse=True)
    table = _read(connection, chunks)
    table[place, face_ids % CHUNK_FACES] = numbers
    _write(connection, chunks, table)


def drop_statistics(connection: Connection, face_ids: Sequence[int]) -> None:
    """Drop the statistics of faces whose embeddings are no longer those they were made of.

    When one of them is in the cohort, these are the statistics of all faces.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that writes.
    face_ids : sequence of int
    """
    _drop_statistics(connection, np.asarray(face_ids, dtype=np.int64), cohort(connection))


def forget_faces(connection: Connection, face_ids: Sequence[int]) -> None:
    """Let nothing stay of faces that are removed: neither in the cohort nor in any statistics.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that writes.
    face_ids : sequence of int
    """
    gone = np.asarray(face_ids, dtype=np.int64)
    stored = cohort(connection)
    if _drop_statistics(connection, gone, stored) and stored is not None:
        left = np.setdiff1d(stored.face_ids, gone).astype(_IDS).tobytes()
        connection.execute(update(CohortRow).values(face_ids=left))


_COHORT = select(CohortRow.method, CohortRow.n_faces, CohortRow.face_ids)
_LIVING = select(Face.id).where(among_listed(Face.id))
_CHUNKS = (
    select(FaceStatisticsRow.chunk, FaceStatisticsRow.numbers)
    .where(among_listed(FaceStatisticsRow.chunk))
    .order_by(FaceStatisticsRow.chunk)
)


def _drop_statistics(
    connection: Connection, face_ids: Int64Array, stored: StoredCohort | None
) -> bool:
    """Drop the statistics that depend on some faces; tell whether one is in the cohort."""
    if stored is not None and np.isin(stored.face_ids, face_ids).any():
        _drop_all_statistics(connection)
        return True
    chunks, place = np.unique(face_ids // CHUNK_FACES, return_inverse=True)
    table = _read(connection, chunks)
    if not np.isnan(table).all():
        table[place, face_ids % CHUNK_FACES] = np.nan
        _write(connection, chunks, table)
    return False


def _drop_all_statistics(connection: Connection) -> None:
    require_whole(connection, FaceStatisticsRow.__tablename__)
    connection.execute(delete(FaceStatisticsRow))


def _read(connection: Connection, chunks: Int64Array) -> Float32Array:
    """Return the numbers of whole chunks, shape (n_chunks, 1024, 2); NaN where there is no row."""
    require_whole(connection, FaceStatisticsRow.__tablename__, chunks.tolist())
    rows = connection.execute(_CHUNKS, listed(chunks.tolist())).all()
    table = np.full((len(chunks), CHUNK_FACES, N_STATISTICS), np.nan, dtype=np.float32)
    found = np.array([row.chunk for row in rows], dtype=np.int64)
    stored = np.frombuffer(b"".join(row.numbers for row in rows), dtype=_NUMBERS)
    table[np.searchsorted(chunks, found)] = stored.reshape(-1, CHUNK_FACES, N_STATISTICS)
    return table


def _write(connection: Connection, chunks: Int64Array, table: Float32Array) -> None:
    """Store whole chunks; one of which nothing is known has no row."""
    is_known = ~np.isnan(table).all(axis=(1, 2))
    rows = [
        {"chunk": chunk, "numbers": numbers.astype(_NUMBERS).tobytes()}
        for chunk, numbers in zip(chunks[is_known].tolist(), table[is_known], strict=True)
    ]
    if rows:
        put = dialect_of(connection).upsert(FaceStatisticsRow, ("chunk",), ("numbers",))
        connection.execute(put, rows)
    if not is_known.all():
        unknown = among(FaceStatisticsRow.chunk, chunks[~is_known])
        connection.execute(delete(FaceStatisticsRow).where(unknown))
