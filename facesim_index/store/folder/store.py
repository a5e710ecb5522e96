"""The index on disk: the one commit point over catalog and segments.

1. A new segment is written to a temporary name, flushed, renamed, its folder flushed.
2. One SQLite transaction inserts everything that the batch found, the segment's row
   among it, and advances the generation.  That transaction is the commit.
3. Only the catalog says what exists.  A segment file that no row names is left over
   from a commit that did not happen, and is removed when the next writer starts (not
   sooner: whoever is interrupted cannot always tell whether the commit was made).
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from facesim_index.config import CATALOG_NAME
from facesim_index.errors import (
    EngineMismatchError,
    IndexDamagedError,
    IndexNotFoundError,
    UsageError,
)
from facesim_index.records import (
    EngineIdentity,
    FaceId,
    FaceRecord,
    FailureCode,
    Float32Array,
    ImageStatus,
    PictureReading,
)
from facesim_index.store.catalog import (
    audit_log,
    cohort_rows,
    face_rows,
    index_state,
    picture_rows,
    writing,
)
from facesim_index.store.catalog.transaction import Transaction, require_whole
from facesim_index.store.folder import checking, compaction, mending
from facesim_index.store.folder.creation import (
    create_index,
    refuse_headless,
    require_whole_log,
    upgrade_index,
)
from facesim_index.store.folder.erasure import erase, finish_erasing
from facesim_index.store.folder.lock import WriterLock, is_held
from facesim_index.store.folder.replacement import advice_on_left, enter
from facesim_index.store.folder.segment_folder import SegmentFolder
from facesim_index.store.folder.view import FolderView, RowsView
from facesim_index.store.memory import Memory
from facesim_index.store.records import Batch, MendedRows, SegmentId, StoreSize, Verdict
from facesim_index.store.segments.writer import check_embeddings
from facesim_index.store.snapshot_list import advice
from facesim_index.store.sqlite import row_checks
from facesim_index.store.sqlite.connection import SCHEMA_REVISION, open_upgraded
from facesim_index.utils.files import total_bytes
from facesim_index.utils.permissions import close_to_others


class FolderStore:
    """One open index in a folder; what it promises is said at `protocols.IndexStore`.

    Parameters
    ----------
    folder : Path
    writable : bool, default=False
        Take the writer's lock, and clean up what a crash left behind.

    Attributes
    ----------
    folder : Path
    identity : EngineIdentity
        The engine whose embeddings the index holds.
    model : str
        Pack name or folder by which that engine's weights are found.
    catalog : Catalog
    segments : SegmentFolder

    Raises
    ------
    IndexNotFoundError, IndexVersionError, IndexDamagedError, IndexLockedError, StorageError
    """

    def __init__(self, folder: Path, *, writable: bool = False) -> None:
        self.folder = folder
        self._memory = Memory()
        self._process = os.getpid()
        enter(folder)
        path = folder / CATALOG_NAME
        if not path.is_file():
            refuse_headless(folder)
            raise IndexNotFoundError(
                f"{folder} is not a facesim index; make one with `facesim ingest`, or name "
                f"another with --index{advice_on_left(folder)}"
            )
        with contextlib.ExitStack() as undo:
            self._lock = WriterLock(folder) if writable else None
            if self._lock:
                undo.callback(self._lock.release)
                close_to_others(folder)
            require_whole_log(path)
            self.catalog = open_upgraded(
                path, writable=writable, upgrade=lambda: upgrade_index(folder, self._lock)
            )
            undo.callback(self.catalog.close)
            with self.catalog.read() as transaction:
                if any(row_checks.wrong_rows(transaction, "engine")):
                    raise IndexDamagedError(
                        f"the row of the engine in {path} is damaged; run `facesim verify "
                        f"--repair`, or {advice(folder)}"
                    )
                self.identity, self.model = index_state.stored_engine(transaction)
            self.segments = SegmentFolder(self.catalog, self.identity.dimension)
            if writable:
                self.segments.remove_leftovers()
                self.segments.remember_place()
                finish_erasing(self.catalog, self.segments)
            undo.pop_all()

    @classmethod
    def open_or_create(cls, folder: Path, identity: EngineIdentity, model: str) -> Self:
        """Open an index for writing; make it first if there is none.

        Parameters
        ----------
        folder : Path
        identity : EngineIdentity
            The engine that is about to write.
        model : str
            Pack name or folder that `models.resolve` finds its weights by.

        Raises
        ------
        EngineMismatchError
            The index was built with another engine.
        IndexNotFoundError
            The folder exists and holds something else.
        """
        enter(folder)
        if not (folder / CATALOG_NAME).exists():
            create_index(folder, identity, model)
        store = cls(folder, writable=True)
        try:
            store.check_engine(identity)
        except BaseException:
            store.close()
            raise
        return store

    def check_engine(self, identity: EngineIdentity) -> None:
        """Refuse an engine whose embeddings may not be compared with those in here.

        Raises
        ------
        EngineMismatchError
        """
        if identity.key != self.identity.key:
            weights = dataclasses.replace(
                identity, augment=self.identity.augment, numerics=self.identity.numerics
            )
            options = [] if weights.key == self.identity.key else [f"--model {self.model}"]
            if identity.augment != self.identity.augment:
                options.append(f"--augment {self.identity.augment}")
            if identity.numerics != self.identity.numerics:
                options.append(f"--numerics {self.identity.numerics}")
            raise EngineMismatchError(
                f"{self.folder} was built with {self.identity}, not with {identity}; "
                f"use {' '.join(options)}, or ingest into a new index"
            )

    @property
    def location(self) -> str:
        """The folder, for messages."""
        return str(self.folder)

    def close(self) -> None:
        """Let go of the files and of the lock; in a forked child, of nothing: they are not its."""
        if os.getpid() != self._process:
            return
        self.segments.close()
        self.catalog.close()
        if self._lock:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[RowsView]:
        """Hold the rows of the index as they are at this moment for the length of the block."""
        self._require_own()
        with self.catalog.read() as transaction:
            yield self._rows(transaction)

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """Make all changes of the block to the rows, or none of them."""
        self._require_in_place()
        with self.catalog.write() as transaction:
            yield transaction

    @contextlib.contextmanager
    def view(self, *, partial: bool = False) -> Iterator[FolderView]:
        """Hold the index as it is at this moment; see `protocols.IndexStore.view`."""
        self._require_own()
        before = -1
        while True:
            with self.catalog.read() as transaction:
                for table in row_checks.SMALL_TABLES:
                    require_whole(transaction, table)
                generation = index_state.state(transaction).generation
                infos = index_state.segment_infos(transaction)
                try:
                    segments, left_out = self.segments.usable(
                        infos, partial=partial, sure=generation == before
                    )
                except FileNotFoundError:
                    # A writer may have merged it away between our two looks: look again.
                    before = generation
                    continue
                yield FolderView(
                    self._rows(transaction),
                    self._memory,
                    generation,
                    segments,
                    left_out=left_out,
                    partial=partial,
                )
                return

    def commit(self, batch: Batch) -> int:
        """Make a batch part of the index; see `protocols.IndexStore.commit`."""
        self._require_in_place()
        with self.catalog.write() as transaction:
            require_whole(transaction, "index_state")
            state = index_state.state(transaction)
            fresh = _fresh(transaction, batch.readings)
            faces = [face for picture in fresh for face in picture.faces]
            if faces:
                ids = np.arange(len(faces), dtype=np.int64) + state.next_face_id
                segment_id = SegmentId(state.next_segment_id)
                writing.add_segment(transaction, self.segments.write_faces(segment_id, ids, faces))
            images = writing.put_images(transaction, fresh)
            writing.insert_faces(
                transaction,
                FaceId(state.next_face_id),
                [(images[one.content_hash], one.faces) for one in fresh],
            )
            writing.link_files(transaction, batch.links, images)
            writing.advance(
                transaction,
                next_face_id=state.next_face_id + len(faces),
                next_segment_id=state.next_segment_id + bool(faces),
            )
        compaction.merge_tail(self.catalog, self.segments)
        return len(faces)

    def remove(
        self,
        file_ids: Sequence[int],
        face_ids: Sequence[FaceId] = (),
        *,
        roots: Sequence[Path] = (),
        audited: bool = False,
        secure: bool = False,
    ) -> int:
        """Remove files and faces as one; see `protocols.IndexStore.remove`."""
        self._require_in_place()
        with self.catalog.write() as transaction:
            if secure:  # a damaged row may hold what is to leave no trace
                checking.require_sound(transaction)
            removed = writing.remove_faces(transaction, face_ids)
            removed += writing.remove_files(transaction, file_ids)
            for root in roots:
                writing.remove_roots(transaction, root)
            if audited or secure:
                audit_log.add_line(transaction, len(file_ids), removed, secure=secure)
            writing.advance(transaction)
        if secure:
            erase(self.catalog, self.segments)
        return removed

    def compact(self) -> None:
        """Rewrite the segments without removed faces, as few as may be, and shrink the catalog."""
        self._require_in_place()
        compaction.compact(self.catalog, self.segments)

    def size(self) -> StoreSize:
        """Return how much room the index takes."""
        catalog_bytes = total_bytes(self.folder.glob(f"{CATALOG_NAME}*"))
        return StoreSize(self.segments.size_bytes(), catalog_bytes)

    def is_being_written(self) -> bool:
        """Tell whether somebody is writing, as far as the file of the lock's holder tells."""
        return is_held(self.folder)

    def newer_schema(self) -> str | None:
        """Say which schema a newer facesim has upgraded this index to since it was opened."""
        revision = self.catalog.schema_revision()
        if revision == SCHEMA_REVISION:
            return None
        return f"schema {revision}, this one knows {SCHEMA_REVISION}"

    def check(self) -> Verdict:
        """Compare every file and row of the index with what was recorded."""
        self._require_own()
        return checking.check(self.catalog, self.segments, self.identity.dimension)

    def mend_catalog(self) -> MendedRows:
        """Put back, make anew or take out every row that is not as it was written."""
        self._require_in_place()
        mending.rebuild_indexes(self.catalog)
        return mending.mend_catalog_rows(self.catalog)

    def put_back(
        self,
        verdict: Verdict,
        mended: Mapping[int, Float32Array],
        lost: Sequence[FaceRecord],
    ) -> None:
        """Store embeddings that were made again; see `protocols.IndexStore.put_back`."""
        self._require_in_place()
        damaged = {info.segment_id for info in verdict.damaged}
        ids = np.array(sorted(mended), dtype=np.int64)
        with self.catalog.write() as transaction:
            next_id = index_state.state(transaction).next_segment_id
            sound = [
                info
                for info in index_state.segment_infos(transaction)
                if info.segment_id not in damaged
            ]
            # One new segment for each gap between sound ones, so that id ranges stay apart.
            gaps = np.searchsorted([info.first_face_id for info in sound], ids)
            new = []
            for gap in np.unique(gaps):
                chosen = ids[gaps == gap]
                embeddings = np.stack([mended[face_id] for face_id in chosen.tolist()])
                check_embeddings(embeddings, self.identity.dimension)
                new.append(self.segments.write(SegmentId(next_id), chosen, [embeddings]))
                next_id += 1
            writing.remove_faces(transaction, [face.face_id for face in lost])
            cohort_rows.drop_statistics(transaction, ids.tolist())
            writing.replace_segments(transaction, sorted(damaged), new)
            writing.bury(transaction, verdict.stray_faces.tolist())
            empty = face_rows.images_without_faces(transaction, [face.image_id for face in lost])
            writing.mark_lost(
                transaction, empty, FailureCode.LOST, "its embedding was damaged and its file gone"
            )
            writing.advance(transaction, next_segment_id=next_id)
        self.segments.drop_files(verdict.damaged)
        self.segments.write_missing_coarse()

    def _require_own(self) -> None:
        """Refuse a process that was forked from the one that opened this store.

        Neither SQLite's connections nor the lock are those of a child.

        Raises
        ------
        UsageError
        """
        if os.getpid() != self._process:
            raise UsageError(
                f"{self.folder} was opened by process {self._process}, of which this one "
                f"({os.getpid()}) is a fork; open the index anew in this process"
            )

    def _require_in_place(self) -> None:
        """Refuse to write in a forked child, or where another folder came to the path.

        Raises
        ------
        UsageError, StorageError
        """
        self._require_own()
        self.segments.require_in_place()

    def _rows(self, transaction: Transaction) -> RowsView:
        return RowsView(self.location, self.identity, self.model, transaction)


def _fresh(transaction: Transaction, readings: Sequence[PictureReading]) -> list[PictureReading]:
    """Return the readings to insert: content that is new, or that earlier only failed."""
    fresh: dict[bytes, PictureReading] = {}
    hashes = {picture.content_hash for picture in readings}
    images = picture_rows.images_by_hash(transaction, hashes)
    for picture in readings:
        known = images.get(picture.content_hash)
        if known is None or known.status is ImageStatus.ERROR:
            fresh.setdefault(picture.content_hash, picture)
    return list(fresh.values())
