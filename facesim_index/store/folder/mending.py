"""Mend the catalog: rows that changed, lost indexes, a damaged write-ahead log.

What a row held is found by its checksum where a single byte changed (`sqlite.row_repair`).
What is left is made anew from what it describes: faces and pictures from the picture files,
tombstones from the segments, counters from what was counted.  Nothing is guessed: what cannot
be made anew is taken out and listed.  Of people that is what the machine found, which a grouping
finds again; what a human said stays where its row is sound.
"""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import delete, exists, insert, select

from facesim_index.config import CATALOG_NAME, SEGMENTS_NAME
from facesim_index.errors import IndexDamagedError, StorageError
from facesim_index.records import FaceId
from facesim_index.store.catalog import cohort_rows, index_state, people_rows, writing
from facesim_index.store.catalog.schema import (
    CohortRow,
    Face,
    FacePerson,
    FacesApart,
    PeopleChange,
    PeopleChangeApart,
    PeopleChangeFace,
    PeopleChangePerson,
    Person,
)
from facesim_index.store.catalog.transaction import Transaction, now, unchecked
from facesim_index.store.folder.lock import WriterLock
from facesim_index.store.records import MendedRows
from facesim_index.store.snapshot_list import advice
from facesim_index.store.sqlite import counters, descriptors, row_checks, row_groups
from facesim_index.store.sqlite.connection import Catalog, needs_upgrade
from facesim_index.store.sqlite.row_checks import WrongRow
from facesim_index.store.sqlite.row_repair import accept, mend_rows
from facesim_index.store.sqlite.wal import (
    LogDamage,
    aside_path,
    check_log,
    log_path,
    shared_path,
)
from facesim_index.utils.files import atomic_output, sync_folder

logger = logging.getLogger(__name__)


def mend_log(folder: Path) -> str | None:
    """Let a damaged write-ahead log end where it is whole; return what was wrong with it.

    A copy of the damaged log is kept beside it.  What was committed after the damage is lost:
    pictures are read anew by the next ingest, but what was forgotten may be there again.

    Parameters
    ----------
    folder : Path
        The index.

    Raises
    ------
    IndexLockedError
        Somebody is writing.
    StorageError
        Somebody is reading, or the disk refused.
    """
    catalog = folder / CATALOG_NAME
    if not catalog.is_file() or check_log(catalog) is None:
        return None
    lock = WriterLock(folder)
    try:
        damage = check_log(catalog)
        if damage is None:
            return None
        with descriptors.exclusively(catalog) as is_alone:
            if not is_alone:
                raise StorageError(
                    f"cannot mend the log of {folder} while it is read; end every other program "
                    "that uses the index, then run it again"
                )
            _cut(catalog, damage)
        return f"{log_path(catalog)} {damage.message}"
    except OSError as error:
        raise StorageError(f"cannot mend the log of {folder}: {error.strerror or error}") from error
    finally:
        lock.release()


def _cut(catalog: Path, damage: LogDamage) -> None:
    """Cut the log where it is whole, and keep a copy of all of it."""
    with contextlib.suppress(FileNotFoundError):
        data = descriptors.read_file(catalog, log_path(catalog).name)
        with atomic_output(aside_path(catalog), private=True) as aside:
            aside.write(data)
        os.truncate(log_path(catalog), damage.whole_bytes)
    shared_path(catalog).unlink(missing_ok=True)
    sync_folder(catalog.parent)


def mend_engine(folder: Path) -> None:
    """Put back the row of the engine, without which nothing else can be opened, if it is damaged.

    Raises
    ------
    IndexLockedError
        Somebody is writing.
    """
    path = folder / CATALOG_NAME
    if not path.is_file() or needs_upgrade(path):
        return
    catalog = Catalog(path, writable=False)
    try:
        with catalog.read() as transaction:
            if not any(row_checks.wrong_rows(transaction, "engine")):
                return
    finally:
        catalog.close()
    lock = WriterLock(folder)
    catalog = Catalog(path, writable=True)
    try:
        with catalog.write() as transaction:
            mend_rows(transaction)
    finally:
        catalog.close()
        lock.release()


def rebuild_indexes(catalog: Catalog) -> None:
    """Make the catalog's own indexes anew, where they are what does not fit.

    Raises
    ------
    IndexDamagedError
        The tables are damaged too.
    """
    with contextlib.suppress(IndexDamagedError), catalog.write() as transaction:
        transaction.exec_driver_sql("REINDEX")
    try:
        still = catalog.check_structure()  # what refers to lost rows is mended with them
    except IndexDamagedError as error:
        still = [str(error)]
    if still:
        raise _beyond_mending(catalog, still[0])


def mend_catalog_rows(catalog: Catalog) -> MendedRows:
    """Put back, make anew or take out every row that is not as it was written.

    Parameters
    ----------
    catalog : Catalog
        Writable.

    Raises
    ------
    IndexDamagedError
        The row of the engine is damaged, or those of the tables are, or a row that is as it was
        written refers to nothing.  Nothing is changed then.
    """
    with catalog.write() as transaction, unchecked(transaction):
        transaction.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        mended, left = mend_rows(transaction)
        taken_out: list[str] = []
        lost_paths: list[str] = []
        for wrong in sorted(left, key=lambda row: _ORDER.get(row.table, 0)):
            lost_paths += _take_out(catalog, transaction, wrong)
            taken_out.append(str(wrong))
        if any(wrong.table == CohortRow.__tablename__ for wrong in left):
            cohort_rows.drop_cohort(transaction)
        _mend_people(transaction, {wrong.table for wrong in left})
        if left:
            _count_anew(catalog, transaction)
        counters.advance_counters(transaction)
        n_sums = row_groups.add_up(transaction)
        broken = transaction.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise _beyond_mending(
                catalog, f"row {broken[1]} of table {broken[0]} refers to nothing"
            )
        if mended or left or n_sums:
            writing.advance(transaction)
    n_mended = len(mended) if mended or left else n_sums  # the sums of such rows follow from them
    return MendedRows(n_mended, tuple(taken_out), tuple(sorted(set(lost_paths))))


def _beyond_mending(catalog: Catalog, why: str) -> IndexDamagedError:
    return IndexDamagedError(
        f"the catalog of {catalog.path.parent} is damaged and cannot be mended from the pictures "
        f"({why}); {advice(catalog.path.parent)}"
    )


_ORDER = {"face": 1, "image": 2, "file": 3, "folder": 4}


def _take_out(catalog: Catalog, transaction: Transaction, wrong: WrongRow) -> list[str]:
    """Take a row out that cannot be mended; return the paths of the pictures concerned."""
    if wrong.table in ("engine", "alembic_version"):
        raise IndexDamagedError(f"{wrong}, and cannot be mended; {advice(catalog.path.parent)}")
    paths: list[str] = []
    if wrong.table in ("face", "image", "file", "folder"):
        files = _files_of(transaction, wrong)
        paths = _paths(transaction, files)
        writing.remove_files(transaction, files)
    if wrong.table == "face":
        writing.bury(transaction, [wrong.row_id])
    if wrong.table == "image":
        faces = transaction.exec_driver_sql(
            "SELECT id FROM face WHERE image_id = ?", (wrong.row_id,)
        ).scalars()
        writing.remove_faces(transaction, [FaceId(face_id) for face_id in faces])
    if wrong.table == "index_state" and not wrong.lost:
        accept(transaction, wrong.table, wrong.row_id)
        return paths
    if not wrong.lost:
        transaction.exec_driver_sql(f'DELETE FROM "{wrong.table}" WHERE rowid = ?', (wrong.row_id,))
    transaction.exec_driver_sql(
        f"DELETE FROM {row_checks.TABLE} WHERE table_name = ? AND row_id = ?",
        (wrong.table.strip("'"), wrong.row_id),
    )
    return paths


def _files_of(transaction: Transaction, wrong: WrongRow) -> list[int]:
    """Return the files whose rows depend on a row."""
    if wrong.table == "file":
        return [wrong.row_id]
    where = {
        "folder": "folder_id = ?",
        "image": "image_id = ?",
        "face": "image_id IN (SELECT image_id FROM face WHERE id = ?)",
    }[wrong.table]
    if wrong.table == "face" and wrong.lost:
        where = f"image_id IN ({_IMAGES_OF_A_LOST_FACE})"
    rows = transaction.exec_driver_sql(f"SELECT id FROM file WHERE {where}", (wrong.row_id,))
    return [row[0] for row in rows]


# The faces of a picture have consecutive ids: a lost one belongs to the picture of the next, where
# that is not its first; else to the one before, or to one between the two that has no face left.
_IMAGES_OF_A_LOST_FACE = """
    WITH lost(id) AS (SELECT ?),
    after AS (SELECT face.* FROM face, lost WHERE face.id > lost.id ORDER BY face.id LIMIT 1),
    before AS (SELECT face.* FROM face, lost WHERE face.id < lost.id ORDER BY face.id DESC LIMIT 1),
    certain AS (SELECT image_id FROM after WHERE ordinal > 0)
    SELECT image_id FROM certain
    UNION ALL SELECT image_id FROM before WHERE NOT EXISTS (SELECT 1 FROM certain)
    UNION ALL SELECT image.id FROM image WHERE NOT EXISTS (SELECT 1 FROM certain)
        AND image.status = 'ok'
        AND NOT EXISTS (SELECT 1 FROM face WHERE face.image_id = image.id)
        AND image.id > coalesce((SELECT image_id FROM before), 0)
        AND image.id < coalesce((SELECT image_id FROM after), 9e18)
"""


def _paths(transaction: Transaction, file_ids: Sequence[int]) -> list[str]:
    paths = []
    for file_id in file_ids:
        row = transaction.exec_driver_sql(
            "SELECT CAST(folder.path AS BLOB), CAST(file.name AS BLOB) FROM file "
            "JOIN folder ON folder.id = file.folder_id WHERE file.id = ?",
            (file_id,),
        ).one_or_none()
        if row is not None:
            paths.append(os.fsdecode(row[0] + os.fsencode(os.sep) + row[1]))
    return paths


def _mend_people(transaction: Transaction, damaged: Iterable[str]) -> None:
    """Put the people in order after rows of some tables were taken out.

    What a human said is kept where its row is sound: a person whose own row is lost is there
    again, without a name, with the faces that a human gave it.  What the machine found of such
    a person is dropped, and can be grouped anew.  A log with a hole in it is dropped whole.
    """
    if any(table.startswith("people_change") for table in damaged):
        for log in (PeopleChangeFace, PeopleChangePerson, PeopleChangeApart, PeopleChange):
            transaction.execute(delete(log))
    for column in _FACES_REFERRED_TO:
        gone = ~exists().where(Face.id == column)
        transaction.execute(delete(column.class_).where(gone))
    lost = ~exists().where(Person.id == FacePerson.person_id)
    transaction.execute(delete(FacePerson).where(lost, FacePerson.source != people_rows.HUMAN))
    ids = transaction.execute(select(FacePerson.person_id).where(lost).distinct()).scalars().all()
    made = {"name": None, "ignored": False, "created_at": now()}
    if ids:
        transaction.execute(insert(Person), [{"id": person_id, **made} for person_id in ids])
    people_rows.drop_traces(transaction)


_FACES_REFERRED_TO = (
    FacePerson.face_id,
    FacesApart.face_a,
    FacesApart.face_b,
    PeopleChangeFace.face_id,
    PeopleChangeApart.face_a,
    PeopleChangeApart.face_b,
)


def _count_anew(catalog: Catalog, transaction: Transaction) -> None:
    """Let the counters be past everything that exists."""
    state = index_state.state(transaction)
    ids = [
        transaction.exec_driver_sql(f"SELECT max({column}) FROM {table}").scalar() or 0
        for column, table in (
            ("id", "face"),
            ("face_id", "tombstone"),
            ("last_face_id", "segment"),
        )
    ]
    numbers: list[int] = [segment.segment_id for segment in index_state.segment_infos(transaction)]
    numbers += list(_numbers_of_files(catalog.path.parent / SEGMENTS_NAME))
    writing.advance(
        transaction,
        next_face_id=max(int(np.max(ids)) + 1, state.next_face_id),
        next_segment_id=max(max(numbers, default=0) + 1, state.next_segment_id),
    )


def _numbers_of_files(folder: Path) -> Iterator[int]:
    for path in folder.glob("*.faiss"):
        if path.stem.isdigit():
            yield int(path.stem)
