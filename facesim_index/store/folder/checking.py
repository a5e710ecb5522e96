"""Check an index: compare every file and row with what the catalog recorded."""

from collections.abc import Iterator

import numpy as np

from facesim_index.errors import IndexDamagedError
from facesim_index.records import Int64Array
from facesim_index.store.catalog import face_rows, index_state
from facesim_index.store.catalog.transaction import Transaction, unchecked
from facesim_index.store.folder.segment_folder import SegmentFolder
from facesim_index.store.records import Problem, SegmentInfo, Verdict
from facesim_index.store.segments.coarse import coarse_path, read_coarse, wants_coarse
from facesim_index.store.segments.segment import Segment, file_sha256
from facesim_index.store.sqlite import counters, row_checks, row_groups
from facesim_index.store.sqlite.connection import Catalog


def check(catalog: Catalog, folder: SegmentFolder, dimension: int) -> Verdict:
    """Compare every file and row of an index with what the catalog recorded.

    Parameters
    ----------
    catalog : Catalog
    folder : SegmentFolder
        Of that index.
    dimension : int
        Length of an embedding.

    Returns
    -------
    Verdict
    """
    problems = list(_check_catalog(catalog))
    with catalog.read() as transaction, unchecked(transaction):
        segments = index_state.segment_infos(transaction)
        living = face_rows.face_ids(transaction)
        removed = index_state.tombstones(transaction)
    damaged: list[SegmentInfo] = []
    held = [np.empty(0, dtype=np.int64)]
    for info in segments:
        try:
            ids = _check_segment(folder, info)
        except IndexDamagedError as error:
            problems.append(Problem(str(info.name), str(error)))
            damaged.append(info)
            continue
        here = living[(living >= info.first_face_id) & (living <= info.last_face_id)]
        if not np.isin(here, ids).all():
            problems.append(Problem(str(info.name), "lacks the embeddings of some of its faces"))
            damaged.append(info)
            continue
        held.append(ids)
        problems.extend(_check_coarse(folder, info, dimension))
    present = np.concatenate(held)
    without = np.setdiff1d(living, present)
    stray = np.setdiff1d(present, np.union1d(living, removed))
    if len(without):
        problems.append(Problem(_some(without), "have no sound embedding"))
    if len(stray):
        problems.append(Problem(_some(stray), "have an embedding but are not in the catalog"))
    return Verdict(tuple(problems), tuple(damaged), without, stray)


def require_sound(transaction: Transaction) -> None:
    """Refuse a catalog with a damaged row, whatever it is about.

    Parameters
    ----------
    transaction : Transaction

    Raises
    ------
    IndexDamagedError
        Names the first.
    """
    for message in _wrong(transaction):
        raise IndexDamagedError(f"the catalog is damaged: {message}; run `facesim verify --repair`")


def _wrong(transaction: Transaction) -> Iterator[str]:
    """Yield what is wrong with the rows of a catalog."""
    yield from map(str, row_checks.all_wrong_rows(transaction))
    yield from row_groups.wrong_groups(transaction)
    for table in counters.counters_behind(transaction):
        yield f"the counter of table {table} is behind its rows"


def _check_catalog(catalog: Catalog) -> Iterator[Problem]:
    """Yield what is wrong with the catalog: with its structure, or with what a row holds."""
    try:
        messages = catalog.check_integrity()
        yield from (Problem("catalog", message) for message in messages)
        with catalog.read() as transaction:
            yield from (Problem("rows", message) for message in _wrong(transaction))
    except IndexDamagedError as error:
        yield Problem("catalog", str(error))


def _check_segment(folder: SegmentFolder, info: SegmentInfo) -> Int64Array:
    """Return a segment's ids when the file is exactly what was written."""
    path = folder.path_of(info)
    try:
        size_bytes = path.lstat().st_size
        if size_bytes != info.size_bytes:
            raise IndexDamagedError(f"has {size_bytes} bytes instead of {info.size_bytes}")
        if file_sha256(path) != info.sha256:
            raise IndexDamagedError("has other content than was written (SHA-256 differs)")
        segment = Segment(path)
    except FileNotFoundError:
        raise IndexDamagedError("is missing") from None
    except OSError as error:
        raise IndexDamagedError(f"cannot be read: {error.strerror or error}") from error
    if len(segment.face_ids) != info.n_rows:
        raise IndexDamagedError(f"has {len(segment.face_ids)} rows instead of {info.n_rows}")
    return segment.face_ids


def _check_coarse(folder: SegmentFolder, info: SegmentInfo, dimension: int) -> Iterator[Problem]:
    """Yield what is wrong with the coarse codes of a sound segment."""
    path = folder.path_of(info)
    if wants_coarse(info.n_rows, dimension):
        try:
            read_coarse(path, info.sha256)
        except (FileNotFoundError, IndexDamagedError) as error:
            yield Problem(coarse_path(path).name, str(error))


def _some(ids: Int64Array) -> str:
    shown = ", ".join(str(face_id) for face_id in ids[:5])
    return f"{len(ids)} faces ({shown}{', …' if len(ids) > 5 else ''})"
