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
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.document import from_json
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.shipped import shipped_calibration
from facesim_index.errors import (
    DamagedSegmentError,
    EngineMismatchError,
    IndexDamagedError,
    IndexNotFoundError,
    StorageError,
)
from facesim_index.records import (
    EmbeddedFace,
    EngineIdentity,
    FaceId,
    ImageStatus,
    Int64Array,
    PictureReading,
)
from facesim_index.store.catalog import audit_log, index_state, picture_rows, writing
from facesim_index.store.catalog.transaction import Transaction
from facesim_index.store.folder.compaction import compaction_groups, mergeable_tail
from facesim_index.store.folder.creation import (
    create_index,
    refuse_headless,
    require_whole_log,
    upgrade_index,
)
from facesim_index.store.folder.erasure import erase, finish_erasing
from facesim_index.store.folder.layout import OURS, SEGMENTS_NAME
from facesim_index.store.folder.lock import WriterLock
from facesim_index.store.folder.view import FolderView
from facesim_index.store.records import Batch, Change, SegmentId, SegmentInfo
from facesim_index.store.segments.coarse import coarse_path, read_coarse, wants_coarse, write_coarse
from facesim_index.store.segments.segment import Segment
from facesim_index.store.segments.writer import check_embeddings, merged_rows, write_segment
from facesim_index.store.snapshot_list import advice
from facesim_index.store.sqlite import row_checks
from facesim_index.store.sqlite.connection import CATALOG_NAME, needs_upgrade, open_catalog
from facesim_index.store.sqlite.wal import aside_path
from facesim_index.utils.permissions import close_to_others, make_folder

logger = logging.getLogger(__name__)


class FolderStore:
    """One open index.

    Parameters
    ----------
    folder : Path
    writable : bool, default=False
        Take the writer's lock, and clean up what a crash left behind.

    Attributes
    ----------
    identity : EngineIdentity
        The engine whose embeddings the index holds.
    model : str
        Pack name or folder by which that engine's weights are found.

    Raises
    ------
    IndexNotFoundError, IndexVersionError, IndexLockedError, StorageError
    """

    def __init__(self, folder: Path, *, writable: bool = False) -> None:
        self.folder = folder
        self._opening = threading.Lock()  # many threads may read from one store
        self._open_segments: dict[str, Segment] = {}
        self._checked_generation = -1
        path = folder / CATALOG_NAME
        if not path.is_file():
            refuse_headless(folder)
            raise IndexNotFoundError(
                f"{folder} is not a facesim index; make one with `facesim ingest`, or name "
                "another with --index"
            )
        with contextlib.ExitStack() as undo:
            self._lock = WriterLock(folder) if writable else None
            if self._lock:
                undo.callback(self._lock.release)
                close_to_others(folder)
            require_whole_log(path)
            if needs_upgrade(path):
                upgrade_index(folder, self._lock)
            self.catalog = open_catalog(path, writable=writable)
            undo.callback(self.catalog.close)
            with self.catalog.read() as transaction:
                if any(row_checks.wrong_rows(transaction, "engine")):
                    raise IndexDamagedError(
                        f"the row of the engine in {path} is damaged; run `facesim verify "
                        f"--repair`, or {advice(folder)}"
                    )
                self.identity, self.model = index_state.engine(transaction)
            if writable:
                self.remove_leftovers()
                finish_erasing(self)
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

    def close(self) -> None:
        """Let go of the files and of the lock."""
        self._open_segments.clear()
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
    def view(self, *, partial: bool = False) -> Iterator[FolderView]:
        """Hold the index as it is at this moment for the length of the block.

        Parameters
        ----------
        partial : bool, default=False
            Do without damaged segments, say so, and name them in `View.left_out`.

        Raises
        ------
        IndexDamagedError
            A segment is missing or is not whole, or a row is not as it was written.
        """
        before = -1
        while True:
            with self.catalog.read() as transaction:
                generation = index_state.state(transaction).generation
                self._require_sound_rows(transaction, generation)
                infos = index_state.segments(transaction)
                try:
                    segments, left_out = self._usable(
                        infos, partial=partial, sure=generation == before
                    )
                except FileNotFoundError:
                    # A writer may have merged it away between our two looks: look again.
                    before = generation
                    continue
                yield FolderView(
                    transaction, generation, segments, left_out=left_out, partial=partial
                )
                return

    def calibration(self, view: FolderView | None = None) -> Calibration | None:
        """Return the calibration that this index's degrees are made with.

        The one chosen for the index, else the one shipped for its engine, else None.

        Parameters
        ----------
        view : FolderView, optional
            Of this store; the calibration is that of its moment, and no second transaction is
            needed.
        """
        if view is not None:
            return self._calibration(view.transaction)
        with self.catalog.read() as transaction:
            return self._calibration(transaction)

    def segment_path(self, segment: SegmentInfo) -> Path:
        """Return where a segment's file is.

        Raises
        ------
        IndexDamagedError
            The catalog names a file outside the index: it is not as we wrote it.
        """
        if segment.name != Path(segment.name).name or segment.name in ("", ".", ".."):
            raise IndexDamagedError(
                f"{self.catalog.path} names the segment {segment.name}, which would lie outside "
                "the index; do not use it"
            )
        return self.folder / SEGMENTS_NAME / segment.name

    def commit(self, batch: Batch) -> Change:
        """Make a batch part of the index, whole or not at all.

        Pictures whose content is already there are not inserted again, so that committing
        a batch twice changes nothing.

        Raises
        ------
        StorageError
            The disk refused; the index is as it was before.
        """
        with self.catalog.write() as transaction:
            state = index_state.state(transaction)
            fresh = _fresh(transaction, batch.readings)
            faces = [face for picture in fresh for face in picture.faces]
            if faces:
                ids = np.arange(len(faces), dtype=np.int64) + state.next_face_id
                segment_id = SegmentId(state.next_segment_id)
                writing.add_segment(transaction, self._write_faces(segment_id, ids, faces))
            next_id = state.next_face_id
            for picture in fresh:
                image_id = writing.put_image(transaction, picture)
                writing.insert_faces(transaction, image_id, FaceId(next_id), picture.faces)
                next_id += len(picture.faces)
            removed = writing.link_files(transaction, batch.links)
            writing.advance(
                transaction,
                next_face_id=next_id,
                next_segment_id=state.next_segment_id + bool(faces),
            )
        self._merge_tail()
        return Change(len(faces), removed)

    def remove_files(self, file_ids: Sequence[int], *, roots: Sequence[Path] = ()) -> int:
        """Remove files, and pictures that no other file shows; return how many faces went.

        That something at or below `roots` was given to ingest is forgotten too.
        """
        with self.catalog.write() as transaction:
            removed = writing.remove_files(transaction, file_ids)
            for root in roots:
                writing.remove_roots(transaction, root)
            writing.advance(transaction)
        return removed

    def remove_faces(self, face_ids: Sequence[FaceId]) -> int:
        """Remove faces for good; return how many there were."""
        return self.forget([], face_ids)

    def forget(
        self,
        file_ids: Sequence[int],
        face_ids: Sequence[FaceId],
        *,
        roots: Sequence[Path] = (),
        secure: bool = False,
    ) -> int:
        """Remove files and faces as one, and put it on record; return how many faces went.

        Parameters
        ----------
        file_ids, face_ids : sequence of int
        roots : sequence of Path
            That something at or below them was given to ingest is forgotten too.
        secure : bool, default=False
            Leave no trace in any file of the index.  When that is interrupted, the next
            writer finishes it.

        Raises
        ------
        StorageError, IndexDamagedError
            They are removed, but traces are left.
        """
        with self.catalog.write() as transaction:
            removed = writing.remove_faces(transaction, face_ids)
            removed += writing.remove_files(transaction, file_ids)
            for root in roots:
                writing.remove_roots(transaction, root)
            audit_log.record(transaction, len(file_ids), removed, secure=secure)
            writing.advance(transaction)
        if secure:
            erase(self)
        return removed

    def compact(self) -> None:
        """Rewrite the segments without removed faces, as few as may be, and shrink the catalog."""
        with self.catalog.read() as transaction:
            segments = index_state.segments(transaction)
            removed = index_state.tombstones(transaction)
        for group in compaction_groups(segments):
            spans = [(segment.first_face_id, segment.last_face_id) for segment in group]
            dirty = any(np.any((removed >= low) & (removed <= high)) for low, high in spans)
            if len(group) > 1 or dirty:
                self.replace_segments(group)
        self.catalog.shrink()
        self.write_missing_coarse()

    def write_missing_coarse(self) -> None:
        """Give every large segment the coarse codes that it lacks, or that are damaged.

        They follow from the segment: no commit depends on them, so this comes after it.
        """
        with self.catalog.read() as transaction:
            segments = index_state.segments(transaction)
        for info in segments:
            if wants_coarse(info.n_rows, self.identity.dimension):
                try:
                    lacking = read_coarse(self.segment_path(info), info.sha256).sums is None
                except (FileNotFoundError, IndexDamagedError):
                    lacking = True
                if lacking:
                    self._write_coarse(info)

    def replace_segments(self, old: Sequence[SegmentInfo]) -> None:
        """Let one segment without the removed faces take the place of neighbouring ones."""
        opened = self._segments(old)
        for segment in opened:
            segment.require_whole()  # or damage would get a hash of its own
        with self.catalog.write() as transaction:
            state = index_state.state(transaction)
            ids, blocks = merged_rows(opened, index_state.tombstones(transaction))
            new: list[SegmentInfo] = []
            if len(ids):
                segment_id = SegmentId(state.next_segment_id)
                new = [self.write_segment(segment_id, ids, blocks)]
            writing.replace_segments(transaction, [segment.segment_id for segment in old], new)
            writing.advance(transaction, next_segment_id=state.next_segment_id + len(new))
        self.drop_files(old)

    def drop_files(self, segments: Sequence[SegmentInfo]) -> None:
        """Remove the files of segments that the catalog does not name any more.

        Where a reader's mapping forbids that (Windows), the next writer's start tries again.
        """
        for segment in segments:
            self._open_segments.pop(segment.name, None)
            path = self.segment_path(segment)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                coarse_path(path).unlink(missing_ok=True)

    def write_segment(
        self, segment_id: SegmentId, ids: Int64Array, embeddings: Iterable[NDArray[np.floating]]
    ) -> SegmentInfo:
        """Write a segment file; it belongs to the index once the catalog names it.

        Its coarse codes come first too, so that no crash parts a large segment from them.
        """
        info = write_segment(
            self.folder / SEGMENTS_NAME,
            segment_id,
            ids,
            embeddings,
            dimension=self.identity.dimension,
        )
        if wants_coarse(info.n_rows, self.identity.dimension):
            self._write_coarse(info)
        return info

    def remove_leftovers(self, *, strict: bool = False) -> None:
        """Remove segment files that the catalog does not name.

        Parameters
        ----------
        strict : bool, default=False
            Raise a `StorageError` when one cannot be removed.
        """
        folder = self.folder / SEGMENTS_NAME
        with self.catalog.read() as transaction:
            if any(row_checks.wrong_rows(transaction, "segment")):
                logger.warning("no file is removed while the names of segments are damaged")
                return
            paths = [self.segment_path(segment) for segment in index_state.segments(transaction)]
        named = {named.name for path in paths for named in (path, coarse_path(path))}
        try:
            make_folder(folder)
            found = list(folder.iterdir())
        except OSError as error:
            raise StorageError(f"cannot use {folder}: {error.strerror or error}") from error
        for path in found:
            if path.name not in named:
                logger.info("removing %s, left over from an interrupted run", path)
                try:
                    path.unlink()
                except OSError as error:
                    if strict:
                        raise StorageError(
                            f"cannot remove {path}: {error.strerror or error}; end what uses it, "
                            "then run `facesim compact`"
                        ) from error

    def remove_aside_log(self) -> None:
        """Remove the copy of a damaged write-ahead log that a repair kept.

        Raises
        ------
        StorageError
            It cannot be removed.
        """
        path = aside_path(self.catalog.path)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove {path}: {error.strerror or error}") from error

    def strangers(self) -> list[Path]:
        """Return what is in the index's folder and is none of its files."""
        return sorted(set(self.folder.iterdir()) - {self.folder / name for name in OURS})

    def _calibration(self, transaction: Transaction) -> Calibration | None:
        row_checks.require_whole(transaction, "calibration")
        document = index_state.active_calibration(transaction)
        if document is not None:
            return from_json(document)
        return shipped_calibration(self.identity.key)

    def _write_faces(
        self, segment_id: SegmentId, ids: Int64Array, faces: Sequence[EmbeddedFace]
    ) -> SegmentInfo:
        embeddings = np.stack([face.embedding for face in faces])
        check_embeddings(embeddings, self.identity.dimension)
        return self.write_segment(segment_id, ids, [embeddings])

    def _write_coarse(self, info: SegmentInfo) -> None:
        """Write a segment's coarse codes; without them it is only searched more slowly."""
        try:
            path = self.segment_path(info)
            segment = Segment(path, info.sha256)  # named: its vectors live as long as it does
            segment.require_whole()
            write_coarse(path, info.sha256, segment.face_ids, segment.vectors)
        except (StorageError, IndexDamagedError, FileNotFoundError) as error:
            logger.warning("the coarse codes of %s were not written: %s", info.name, error)

    def _merge_tail(self) -> None:
        """Merge the newest segments when enough of one tier have gathered."""
        while True:
            with self.catalog.read() as transaction:
                segments = index_state.segments(transaction)
            tail = mergeable_tail(segments)
            if not tail:
                return
            try:
                self.replace_segments(tail)
            except IndexDamagedError as error:
                # Merging is housekeeping: what was ingested is safe, and `verify` will tell.
                logger.warning("segments were not merged: %s", error)
                return

    def _segments(self, infos: Sequence[SegmentInfo]) -> tuple[Segment, ...]:
        return self._usable(infos, partial=False, sure=True)[0]

    def _usable(
        self, infos: Sequence[SegmentInfo], *, partial: bool, sure: bool
    ) -> tuple[tuple[Segment, ...], tuple[str, ...]]:
        """Return opened segments, and the names of those that a partial view does without.

        Parameters
        ----------
        infos : sequence of SegmentInfo
        partial : bool
        sure : bool
            A file that is missing is damage.
        """
        opened = {}
        left_out = []
        with self._opening:
            for info in infos:
                try:
                    opened[info.name] = self._open_segment(info, sure=sure)
                except DamagedSegmentError as error:
                    if not partial:
                        raise
                    logger.warning("%s; its faces are left out", error)
                    left_out.append(info.name)
            self._open_segments = opened
        return tuple(opened.values()), tuple(left_out)

    def _open_segment(self, info: SegmentInfo, *, sure: bool) -> Segment:
        segment = self._open_segments.get(info.name)
        if segment is None:
            try:
                segment = Segment(self.segment_path(info), info.sha256)
            except FileNotFoundError as error:
                if not sure:
                    raise
                raise DamagedSegmentError(
                    info.name, f"{error} is missing; run `facesim verify --repair`"
                ) from error
            segment.check(info)
        return segment

    def _require_sound_rows(self, transaction: Transaction, generation: int) -> None:
        """Refuse a catalog whose few rows about everything are not as they were written."""
        if generation != self._checked_generation:
            for table in row_checks.SMALL_TABLES:
                row_checks.require_whole(transaction, table)
            self._checked_generation = generation


def _fresh(transaction: Transaction, readings: Sequence[PictureReading]) -> list[PictureReading]:
    """Return the readings to insert: content that is new, or that earlier only failed."""
    fresh: dict[bytes, PictureReading] = {}
    for picture in readings:
        known = picture_rows.image_by_hash(transaction, picture.content_hash)
        if known is None or known.status is ImageStatus.ERROR:
            fresh.setdefault(picture.content_hash, picture)
    return list(fresh.values())
