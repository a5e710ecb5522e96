"""What is in an index, for a person to read at a glance."""

from dataclasses import dataclass
from functools import partial

from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.verdicts import stored_verdict
from facesim_index.errors import IndexDamagedError
from facesim_index.records import ImageStatus
from facesim_index.store.catalog import audit_log, index_state
from facesim_index.store.catalog.transaction import (
    ANY,
    Key,
    dialect_of,
    require_count,
    require_whole,
    told,
)
from facesim_index.store.protocols import CatalogView, IndexStore
from facesim_index.utils.notebook_hook import Shown

_WHOLE = (
    *("index_state", "segment", "tombstone", "calibration", "root", "ingest_run", "audit"),
    *("prior_estimate", "calibration_verdict"),
)
_COUNTS: tuple[tuple[str, Key, str], ...] = (
    ("face.id", ANY, "faces"),
    ("face_person.face_id", ANY, "faces_of_people"),
    ("file.failed", ANY, "files_unreadable"),
    ("file.id", ANY, "files"),
    ("file.missing", ANY, "files_missing"),
    ("image.id", ANY, "images"),
    ("image.status", ImageStatus.OK, "images_ok"),
    ("image.status", ImageStatus.NO_FACE, "images_without_face"),
    ("image.status", ImageStatus.ERROR, "images_failed"),
    ("person.id", ANY, "people"),
    ("person.ignored", ANY, "people_ignored"),
    ("person.named", ANY, "people_named"),
)
"""By what rows are counted, and what each number is called."""


@dataclass(frozen=True, slots=True)
class IndexStatus(Shown):
    """What is in an index.

    Attributes
    ----------
    path : str
        The folder of the index.
    generation : int
        Grows with every change of what the index answers.
    created_at : str
        ISO 8601, UTC.
    engine, model : str
        Identity of the engine, and the pack or folder that has its weights.
    calibration : str or None
        Name of the calibration that degrees are made with.
    roots : tuple of (str, str)
        The paths that were given to ingest, and when last.
    counts : dict of str to int
        Files, images by status, faces, people, and how many faces are assigned to a person or
        not.
    segments : int
        How many files hold the embeddings.
    bytes_segments, bytes_catalog : int
        How much room embeddings and rows take.
    interrupted : bool
        The last ingest did not finish; when it is run again, it goes on where it stopped.
    traces_left : bool
        A secure forget did not finish; the next command that writes finishes it.
    damage : tuple of str
        What is damaged of the rows that all this was read from; empty when nothing is.
    calibration_verdict : {"fits", "claims_too_much", "too_few_pairs"} or None
        Whether the calibration fits the pictures, as the last command that wrote found; None
        when that is not known.
    calibration_sentence : str or None
        The verdict for people.

    Examples
    --------
    >>> status = index.status()
    >>> status.path, status.calibration, status.segments, status.interrupted
    ('holiday.facesim', 'example', 1, False)
    >>> status.counts["images_ok"], status.counts["images_without_face"]
    (5, 1)
    """

    path: str
    generation: int
    created_at: str
    engine: str
    model: str
    calibration: str | None
    roots: tuple[tuple[str, str], ...]
    counts: dict[str, int]
    segments: int
    bytes_segments: int
    bytes_catalog: int
    interrupted: bool
    traces_left: bool
    damage: tuple[str, ...] = ()
    calibration_verdict: str | None = None
    calibration_sentence: str | None = None


def index_status(store: IndexStore, view: CatalogView) -> IndexStatus:
    """Return what is in an index.

    Parameters
    ----------
    store : IndexStore
    view : CatalogView
        Of that store.

    Returns
    -------
    IndexStatus
    """
    transaction = view.transaction
    size = store.size()
    n_rows = index_state.counts(transaction)
    checks = (
        *(partial(require_whole, transaction, table) for table in _WHOLE),
        *(
            partial(require_count, transaction, name, value, n_rows[count])
            for name, value, count in _COUNTS
        ),
    )
    damage = told(checks)
    with dialect_of(transaction).raw_texts(transaction):
        state = index_state.state(transaction)
        roots = index_state.roots(transaction)
        verdict = stored_verdict(view)
    return IndexStatus(
        path=store.location,
        generation=state.generation,
        created_at=state.created_at,
        engine=str(store.identity),
        model=store.model,
        calibration=_calibration_name(view),
        roots=tuple(roots),
        counts=n_rows,
        segments=len(index_state.segment_infos(transaction)),
        bytes_segments=size.embeddings_bytes,
        bytes_catalog=size.catalog_bytes,
        interrupted=index_state.unfinished_runs(transaction) > 0,
        traces_left=audit_log.unfinished(transaction) > 0,
        damage=damage,
        calibration_verdict=None if verdict is None else verdict.verdict,
        calibration_sentence=None if verdict is None else verdict.sentence,
    )


def _calibration_name(view: CatalogView) -> str | None:
    """Return the name of the calibration in force; None where its row is damaged, too."""
    try:
        calibration = calibration_in_force(view)
    except IndexDamagedError:
        return None
    return None if calibration is None else calibration.name
