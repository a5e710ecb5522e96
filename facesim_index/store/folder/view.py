"""The index at one moment."""

import logging

import numpy as np

from facesim_index.errors import DamagedSegmentError
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.catalog import face_rows, index_state
from facesim_index.store.catalog.transaction import Transaction
from facesim_index.store.records import Neighbours
from facesim_index.store.segments.search import search_segments
from facesim_index.store.segments.segment import Segment, gather

logger = logging.getLogger(__name__)


class FolderView:
    """The index at one moment: catalog rows and the segments that belong to them.

    Attributes
    ----------
    transaction : Transaction
        For the functions of `catalog.reading`.
    generation : int
    segments : tuple of Segment
    removed : ndarray of int64, ascending
        Faces whose vectors are in the segments but that do not exist any more.
    left_out : tuple of str
        Names of damaged segments that a partial view does without.
    """

    def __init__(
        self,
        transaction: Transaction,
        generation: int,
        segments: tuple[Segment, ...],
        *,
        left_out: tuple[str, ...] = (),
        partial: bool = False,
    ) -> None:
        self.transaction = transaction
        self.segments = segments
        self.left_out = left_out
        self._partial = partial
        self.generation = generation
        self.removed = index_state.tombstones(transaction)

    def search(
        self,
        queries: Float32Array,
        k: int,
        *,
        excluded: Int64Array | None = None,
        exact: bool = False,
    ) -> list[Neighbours]:
        """Return the `k` nearest living faces of each query.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, dimension), float32, unit norm
        k : int
            At least 1.
        excluded : ndarray of int64, optional
            More faces that must not be found.
        exact : bool, default=False
            Compare with every face, not only with candidates chosen by coarse codes.

        Returns
        -------
        list of Neighbours
        """
        hidden = self.removed if excluded is None else np.union1d(self.removed, excluded)
        while True:
            try:
                return search_segments(self.segments, queries, k, hidden, exact=exact)
            except DamagedSegmentError as error:
                if not self._partial:
                    raise
                logger.warning("%s; its faces are left out", error)
                self.left_out += (error.segment,)
                self.segments = tuple(
                    segment for segment in self.segments if segment.name != error.segment
                )

    def n_left_out(self) -> int:
        """Return how many living faces are in the segments that are left out."""
        infos = [
            info for info in index_state.segments(self.transaction) if info.name in self.left_out
        ]
        ids = face_rows.face_ids(self.transaction) if infos else np.empty(0, dtype=np.int64)
        return sum(
            int(np.count_nonzero((ids >= info.first_face_id) & (ids <= info.last_face_id)))
            for info in infos
        )

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        """Return stored embeddings, shape (n, dimension), in the order asked."""
        return gather(self.segments, face_ids)
