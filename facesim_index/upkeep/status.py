"""What is in an index, for a person to read at a glance."""

from dataclasses import dataclass

from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.store.catalog import audit_log, index_state
from facesim_index.store.protocols import CatalogView, IndexStore
from facesim_index.utils.notebook_hook import Shown


@dataclass(frozen=True, slots=True)
class IndexStatus(Shown):
    """What is in an index.

    Attributes
    ----------
    path : str
        The folder of the index.
    generation : int
        Grows with every commit.
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
    calibration = calibration_in_force(view)
    state = index_state.state(view.transaction)
    size = store.size()
    return IndexStatus(
        path=store.location,
        generation=state.generation,
        created_at=state.created_at,
        engine=str(store.identity),
        model=store.model,
        calibration=calibration.name if calibration else None,
        roots=tuple(index_state.roots(view.transaction)),
        counts=index_state.counts(view.transaction),
        segments=len(index_state.segment_infos(view.transaction)),
        bytes_segments=size.embeddings_bytes,
        bytes_catalog=size.catalog_bytes,
        interrupted=index_state.unfinished_runs(view.transaction) > 0,
        traces_left=audit_log.unfinished(view.transaction) > 0,
    )
