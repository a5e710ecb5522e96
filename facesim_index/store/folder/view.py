"""An index in a folder at one moment."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from facesim_index.errors import DamagedSegmentError
from facesim_index.records import EngineIdentity, Float32Array, Float64Array, Int64Array
from facesim_index.store.catalog import face_rows, index_state
from facesim_index.store.catalog.transaction import Transaction
from facesim_index.store.memory import Memory
from facesim_index.store.records import Neighbours
from facesim_index.store.segments.neighbours import exact_cosines
from facesim_index.store.segments.search import search_segments
from facesim_index.store.segments.segment import Segment, gather

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RowsView:
    """The rows of an index at one moment; see `protocols.CatalogView`."""

    location: str
    identity: EngineIdentity
    model: str
    transaction: Transaction


class FolderView:
    """The index at one moment: catalog rows and the segments that belong to them.

    What it promises is said at `protocols.IndexView`.

    Parameters
    ----------
    rows : RowsView
    memory : Memory
    generation : int
    segments : tuple of Segment
    left_out : tuple of str, default=()
        Names of damaged segments that the view does without.
    partial : bool, default=False
        Do without segments that turn out to be damaged, too.
    """

    def __init__(
        self,
        rows: RowsView,
        memory: Memory,
        generation: int,
        segments: tuple[Segment, ...],
        *,
        left_out: tuple[str, ...] = (),
        partial: bool = False,
    ) -> None:
        self.location = rows.location
        self.identity = rows.identity
        self.model = rows.model
        self.transaction = rows.transaction
        self.memory = memory
        self.generation = generation
        self.left_out = left_out
        self.segments = segments
        self._partial = partial
        self.removed = index_state.tombstones(rows.transaction)

    def n_left_out(self) -> int:
        """Return how many living faces are in the segments that are left out."""
        infos = [
            info
            for info in index_state.segment_infos(self.transaction)
            if info.name in self.left_out
        ]
        ids = face_rows.face_ids(self.transaction) if infos else np.empty(0, dtype=np.int64)
        return sum(
            int(np.count_nonzero((ids >= info.first_face_id) & (ids <= info.last_face_id)))
            for info in infos
        )

    def living_faces(self) -> Int64Array:
        """Return the faces that a search can find, ascending."""
        held = [np.empty(0, dtype=np.int64), *(segment.face_ids for segment in self.segments)]
        return np.setdiff1d(np.concatenate(held), self.removed, assume_unique=True)

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        """Return stored embeddings, shape (n, dimension), unit norm, in the order asked.

        A partial view does from then on without a segment that turns out to be damaged; whether
        the faces that were asked for can be done without is for the caller to say.
        """
        if not len(face_ids):
            return np.empty((0, self.identity.dimension), dtype=np.float32)
        try:
            return gather(self.segments, face_ids)
        except DamagedSegmentError as error:
            if self._partial:
                self._leave_out(error)
            raise

    def cosines(self, face_ids: Int64Array, query: Float32Array) -> Float64Array:
        """Return the exact cosines of stored embeddings with one query, in the order asked."""
        return exact_cosines(self.embeddings(face_ids).astype(np.float16), query)

    def blocks(self, n_rows: int) -> Iterator[tuple[Int64Array, Float32Array]]:
        """Yield all living faces and their embeddings, ascending, at most `n_rows` at a time."""
        for segment in self.segments:
            for start in range(0, len(segment.face_ids), n_rows):
                ids = segment.face_ids[start : start + n_rows]
                block = segment.vectors[start : start + n_rows].astype(np.float32)
                kept = ~np.isin(ids, self.removed)
                if kept.any():
                    yield (ids, block) if kept.all() else (ids[kept], block[kept])

    def search(
        self,
        queries: Float32Array,
        k: int,
        *,
        excluded: Int64Array | None = None,
        exact: bool = False,
    ) -> list[Neighbours]:
        """Return the `k` nearest living faces of each query; see `protocols.IndexView.search`."""
        hidden = self.removed if excluded is None else np.union1d(self.removed, excluded)
        while True:
            try:
                return search_segments(self.segments, queries, k, hidden, exact=exact)
            except DamagedSegmentError as error:
                if not self._partial:
                    raise
                self._leave_out(error)

    def _leave_out(self, error: DamagedSegmentError) -> None:
        logger.warning("%s; its faces are left out", error)
        self.left_out += (error.segment,)
        self.segments = tuple(segment for segment in self.segments if segment.name != error.segment)
