"""What every store of an index promises: all that the jobs know of one.

`opening.open_store` gives an `IndexStore`.  Every question is asked of one view, which is the
index at one moment: whatever is committed, forgotten or compacted meanwhile, the answers of one
view fit together.  Questions about rows alone need a `CatalogView`; those that compare faces need
an `IndexView`, which is a `CatalogView` too.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from facesim_index.records import (
    EngineIdentity,
    FaceId,
    FaceRecord,
    Float32Array,
    Float64Array,
    Int64Array,
)
from facesim_index.store.catalog.transaction import Transaction
from facesim_index.store.memory import Memory
from facesim_index.store.records import Batch, MendedRows, Neighbours, StoreSize, Verdict


class CatalogView(Protocol):
    """The rows of an index at one moment."""

    @property
    def location(self) -> str:
        """Where the index is, for messages."""
        ...

    @property
    def identity(self) -> EngineIdentity:
        """The engine whose embeddings the index holds."""
        ...

    @property
    def model(self) -> str:
        """Pack name or folder by which that engine's weights are found."""
        ...

    @property
    def transaction(self) -> Transaction:
        """For the questions of the modules of `store.catalog`."""
        ...


class IndexView(CatalogView, Protocol):
    """An index at one moment: its rows, and the embeddings that belong to them.

    Whatever it returns is of living faces: those that were removed are never found.  Embeddings
    are the stored ones, rounded to half precision; cosines are computed from them in double
    precision.
    """

    @property
    def generation(self) -> int:
        """Grows with every change of an answer: equal generations have equal answers."""
        ...

    @property
    def memory(self) -> Memory:
        """What was computed of this index before; it lives as long as the store is open."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of damaged parts that a partial view does without."""
        ...

    def n_left_out(self) -> int:
        """Return how many living faces are in the parts that are left out."""
        ...

    def living_faces(self) -> Int64Array:
        """Return the faces that a search can find, ascending."""
        ...

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        """Return stored embeddings, shape (n, dimension), unit norm, in the order asked.

        Raises
        ------
        IndexDamagedError
            There is no embedding of a face.
        """
        ...

    def cosines(self, face_ids: Int64Array, query: Float32Array) -> Float64Array:
        """Return the exact cosines of stored embeddings with one query, in the order asked."""
        ...

    def blocks(self, n_rows: int) -> Iterator[tuple[Int64Array, Float32Array]]:
        """Yield all living faces and their embeddings, ascending, at most `n_rows` at a time."""
        ...

    def search(
        self,
        queries: Float32Array,
        k: int,
        *,
        excluded: Int64Array | None = None,
        exact: bool = False,
    ) -> list[Neighbours]:
        """Return the `k` nearest faces of each query, most similar first, ties by face id.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, dimension), float32, unit norm
        k : int
            At least 1.
        excluded : ndarray of int64, optional
            Faces that must not be found.
        exact : bool, default=False
            Compare with every face; otherwise at most 2 in 10,000 of the neighbours are missed.
            Cosines are exact either way.
        """
        ...


class IndexStore(Protocol):
    """One open index; many threads may read from it at a time.

    It was opened for reading, or for writing: then it holds the writer's lease until it is
    closed, and only then may the methods that change something be called.
    """

    @property
    def location(self) -> str:
        """Where the index is, for messages."""
        ...

    @property
    def identity(self) -> EngineIdentity:
        """The engine whose embeddings the index holds."""
        ...

    @property
    def model(self) -> str:
        """Pack name or folder by which that engine's weights are found."""
        ...

    def check_engine(self, identity: EngineIdentity) -> None:
        """Refuse an engine whose embeddings may not be compared with those in here.

        Raises
        ------
        EngineMismatchError
        """
        ...

    def read(self) -> AbstractContextManager[CatalogView]:
        """Hold the rows of the index as they are at this moment for the length of the block."""
        ...

    def view(self, *, partial: bool = False) -> AbstractContextManager[IndexView]:
        """Hold the index as it is at this moment for the length of the block.

        Parameters
        ----------
        partial : bool, default=False
            Do without damaged parts, say so, and name them in `IndexView.left_out`.

        Raises
        ------
        IndexDamagedError
            Something is missing or is not whole, or a row is not as it was written.
        """
        ...

    def write(self) -> AbstractContextManager[Transaction]:
        """Make all changes of the block to the rows, or none of them."""
        ...

    def commit(self, batch: Batch) -> int:
        """Make a batch part of the index, whole or not at all; return how many faces that added.

        Pictures whose content is already there are not inserted again, so that committing
        a batch twice changes nothing.

        Raises
        ------
        StorageError
            It could not be written; the index is as it was before.
        """
        ...

    def remove(
        self,
        file_ids: Sequence[int],
        face_ids: Sequence[FaceId] = (),
        *,
        roots: Sequence[Path] = (),
        audited: bool = False,
        secure: bool = False,
    ) -> int:
        """Remove files and faces as one; return how many faces went.

        Parameters
        ----------
        file_ids, face_ids : sequence of int
        roots : sequence of Path
            That something at or below them was given to ingest is forgotten too.
        audited : bool, default=False
            Put it on record: somebody wanted them forgotten.
        secure : bool, default=False
            Leave no trace in any file of the index, and put it on record.  When that is
            interrupted, the next writer finishes it.

        Raises
        ------
        StorageError, IndexDamagedError
            With `secure`: they are removed, but traces are left.
        """
        ...

    def compact(self) -> None:
        """Rewrite the embeddings without those of removed faces, in as few parts as may be."""
        ...

    def size(self) -> StoreSize:
        """Return how much room the index takes."""
        ...

    def is_being_written(self) -> bool:
        """Tell whether somebody holds the writer's lease, as far as can be told without it."""
        ...

    def newer_schema(self) -> str | None:
        """Say which schema a newer facesim has upgraded this index to since it was opened.

        Returns
        -------
        str or None
            Such as ``schema 0009, this one knows 0007``; None when that did not happen.
        """
        ...

    def check(self) -> Verdict:
        """Compare everything that is stored with what was recorded of it."""
        ...

    def mend_catalog(self) -> MendedRows:
        """Put back, make anew or take out every row that is not as it was written.

        Raises
        ------
        IndexDamagedError
            It cannot be mended; nothing is changed then.
        """
        ...

    def put_back(
        self,
        verdict: Verdict,
        mended: Mapping[int, Float32Array],
        lost: Sequence[FaceRecord],
    ) -> None:
        """Store embeddings that were made again in the place of those that a check found damaged.

        Parameters
        ----------
        verdict : Verdict
            Of `check`, by the same writer.
        mended : mapping of int to ndarray of shape (dimension,), float32
            Embeddings by face id.
        lost : sequence of FaceRecord
            Faces whose embedding could not be made again: they are removed.
        """
        ...

    def close(self) -> None:
        """Let go of the index, and of the writer's lease."""
        ...

    def __enter__(self) -> Self:
        """Return the store itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store."""
        ...


class WriterLease(Protocol):
    """The right to write to one index, which only one process has at a time.

    It is acquired by making it, and ends with the process at the latest.
    """

    def release(self) -> None:
        """Let the next writer in."""
        ...
