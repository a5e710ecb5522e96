"""Ingest: find pictures, skip what is known, read the rest, commit as it goes.

The folders are walked twice.  The first walk only counts, settles what is unchanged and notices
what is gone; the second feeds the workers.  So the total is known from the start, an unchanged
folder costs one stat a file, and memory does not grow with the number of files.

A file whose stamp is new is hashed; only content that the index does not have is read by an engine,
which hashes the bytes that are decoded once more, and that hash is the one stored.  So a file that
changes meanwhile can never give one picture the faces of another.

Whatever waits for a file system waits for a second at most, and what was read is committed on time
although nothing comes.
"""

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from facesim_index.engine.base import PictureReader
from facesim_index.engine.local_reader import FAILURE_OF
from facesim_index.errors import PipelineError
from facesim_index.ingest.folders import Folders, FoldersHere
from facesim_index.ingest.scanning import Candidate, Scan, candidates, scan
from facesim_index.ingest.targets import IngestOptions, Targets
from facesim_index.records import Failure, ImageStatus, PictureReading
from facesim_index.store.catalog import face_rows, picture_rows, writing
from facesim_index.store.protocols import IndexStore
from facesim_index.store.records import Batch, FileLink
from facesim_index.utils.notebook_hook import Shown
from facesim_index.utils.progress import Progress, ProgressUpdate, ignore
from facesim_index.version import __version__
from facesim_index.workers.pool import ItemFailed

COMMIT_PICTURES = 1024
COMMIT_FILES = 4096
COMMIT_INTERVAL_S = 5.0
HASH_FILES = 16
HASH_BYTES = 64 << 20
"""As many files are hashed together, unless they have more bytes than this."""


@dataclass(slots=True)
class IngestSummary(Shown):
    """What an ingest did.

    ``files_new + files_changed`` is the number of files that were looked into.

    Attributes
    ----------
    files_seen, files_new, files_changed, files_unchanged : int
        Files that were found: all, those that are new, those with another size or time than
        before, and the others.
    files_duplicate : int
        New or changed files with content that the index had already: copies, moved files, or files
        that were only touched.
    files_removed : int
        Files of the index that are no longer on disk.
    images_embedded, images_without_face, images_failed : int
        Pictures that were read: with faces, without, and those that could not be used.
    faces_added, faces_total : int
        Faces that were found now, and all faces of the index.
    elapsed_s : float
        Seconds that it took.
    images_per_s : float
        Pictures that were read, a second.
    interrupted : bool
        It was stopped before the end.
    warnings : list of str
        For people: folders that could not be listed, and the like.

    Examples
    --------
    >>> summary = index.ingest("people")
    >>> summary.files_new, summary.images_embedded, summary.faces_added, summary.faces_total
    (24, 24, 24, 30)
    """

    files_seen: int = 0
    files_new: int = 0
    files_changed: int = 0
    files_unchanged: int = 0
    files_duplicate: int = 0
    files_removed: int = 0
    images_embedded: int = 0
    images_without_face: int = 0
    images_failed: int = 0
    faces_added: int = 0
    faces_total: int = 0
    elapsed_s: float = 0.0
    images_per_s: float = 0.0
    interrupted: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def images_read(self) -> int:
        """How many pictures were read, whatever came of it."""
        return self.images_embedded + self.images_without_face + self.images_failed


class Ingest:
    """One run over some targets; `run` does it.

    Parameters
    ----------
    store : IndexStore
        Writable.
    targets : Targets
    options : IngestOptions
    reader : PictureReader
    folders : Folders, optional
        How the file system is asked; by default in this process.
    progress, should_stop : callable
        When `should_stop` becomes true, what was read is committed and the run ends.
    """

    def __init__(
        self,
        store: IndexStore,
        targets: Targets,
        options: IngestOptions,
        reader: PictureReader,
        *,
        folders: Folders | None = None,
        progress: Progress = ignore,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._targets = targets
        self._options = options
        self._reader = reader
        self._folders = folders or FoldersHere()
        self._progress = progress
        self._should_stop = should_stop
        self._summary = IngestSummary()
        self._readings: list[PictureReading] = []
        self._links: list[FileLink] = []
        self._pending_hashes: set[bytes] = set()
        # What the catalog says of the files at hand; None when it must be asked (again).
        self._hashes_at_hand: list[bytes] = []
        self._known_at_hand: dict[bytes, picture_rows.KnownImage] | None = None
        self._committed_at = time.monotonic()
        # Content that is with a worker, and the other files that turned out to have it too.
        self._in_flight: dict[bytes, list[Candidate]] = {}
        self._submitted: deque[tuple[Candidate, bytes]] = deque()
        self._again: list[Candidate] = []
        self._done = 0

    def run(self) -> IngestSummary:
        """Ingest the targets.

        Returns
        -------
        IngestSummary
            Also when it was interrupted: everything that it counts is committed.

        Raises
        ------
        FacesimError
            The index cannot be written, or the workers cannot run; what was committed stays.
        """
        started = time.monotonic()
        with self._store.write() as transaction:
            run_id = writing.start_run(transaction, __version__, json.dumps(asdict(self._options)))
        found = scan(
            self._store,
            self._targets,
            self._options,
            folders=self._folders,
            progress=self._progress,
            should_stop=self._should_stop,
        )
        summary = self._summary
        summary.files_seen = found.files_seen
        summary.files_new = found.files_new
        summary.files_changed = found.files_changed
        summary.files_unchanged = found.files_unchanged
        summary.warnings = found.warnings
        try:
            self._read_everything(found.to_read)
        except PipelineError:
            self._commit()
            raise
        self._commit()
        summary.interrupted = self._should_stop()
        if not summary.interrupted:
            self._settle_missing(found)
        with self._store.read() as view:
            summary.faces_total = face_rows.n_faces(view.transaction)
        summary.elapsed_s = time.monotonic() - started
        summary.images_per_s = summary.images_read / max(summary.elapsed_s, 1e-9)
        if not summary.interrupted:
            with self._store.write() as transaction:
                writing.finish_run(transaction, run_id, json.dumps(asdict(summary)))
        return summary

    def _read_everything(self, to_read: int) -> None:
        found: Iterator[Candidate | None] = iter(())
        if to_read:
            found = candidates(self._store, self._targets, self._options, self._folders)
        while True:
            self._read(found, to_read)
            if not self._again or self._should_stop():
                return
            found, self._again = iter(self._again), []

    def _read(self, found: Iterator[Candidate | None], total: int) -> None:
        for outcome in self._reader.read(self._to_read(found), self._should_stop):
            self._settle(*self._submitted.popleft(), outcome)
            self._commit_if_due()
            self._report(total)

    def _report(self, total: int) -> None:
        self._progress(
            ProgressUpdate(
                "reading pictures",
                self._done,
                max(total, self._done),
                self._summary.faces_added,
                self._summary.images_failed,
            )
        )

    def _to_read(self, found: Iterator[Candidate | None]) -> Iterator[Path | None]:
        """Yield the files that a worker must read; settle all others at once.

        None is yielded once a second while the file system does not answer.
        """
        with contextlib.closing(self._hash(found)) as hashed:
            for together in hashed:
                self._hashes_at_hand = [known for _, known in together if isinstance(known, bytes)]
                self._known_at_hand = None
                for candidate, outcome in together:
                    if self._should_stop():
                        return
                    if self._must_be_read(candidate, outcome):
                        yield candidate.path
                    self._commit_if_due()
                if not together:
                    if self._should_stop():
                        return
                    self._commit_if_due()
                    yield None

    def _hash(
        self, found: Iterator[Candidate | None]
    ) -> Generator[list[tuple[Candidate, bytes | Failure]], None, None]:
        """Yield candidates with the hashes of their contents, several at a time, computed ahead.

        An empty list is yielded once a second while there are none.
        """
        ahead: deque[list[Candidate]] = deque()

        def groups() -> Iterator[list[Path] | None]:
            for group in _grouped(found):
                if group:
                    ahead.append(group)
                    yield [candidate.path for candidate in group]
                else:
                    yield None

        with contextlib.closing(self._reader.hash_files(groups())) as hashes:
            for outcomes in hashes:
                yield [] if outcomes is None else list(zip(ahead.popleft(), outcomes, strict=True))

    def _must_be_read(self, candidate: Candidate, outcome: bytes | Failure) -> bool:
        """Tell whether a worker must read a file; settle it otherwise."""
        known = candidate.known_hash is not None
        if known and not self._has_other_content(candidate, outcome):
            self._done += 1
        elif isinstance(outcome, Failure):
            self._fail(candidate, outcome)
        elif outcome in self._in_flight:
            self._in_flight[outcome].append(candidate)
        elif self._is_known(outcome):
            self._link_copy(candidate, outcome)
        else:
            self._in_flight[outcome] = []
            self._submitted.append((candidate, outcome))
            return True
        return False

    def _has_other_content(self, candidate: Candidate, outcome: bytes | Failure) -> bool:
        """Tell whether an unchanged file has other content than when it was read.

        If it cannot be read now, what is known of it is kept.
        """
        if isinstance(outcome, Failure):
            self._summary.warnings.append(f"cannot compare {candidate.path}: {outcome.message}")
            return False
        if outcome == candidate.known_hash:
            return False
        self._summary.files_unchanged -= 1
        self._summary.files_changed += 1
        self._summary.warnings.append(
            f"{candidate.path} has other content than before, though its size and time are the same"
        )
        return True

    def _is_known(self, content_hash: bytes) -> bool:
        if content_hash in self._pending_hashes:
            return True
        if self._known_at_hand is None:
            with self._store.read() as view:
                self._known_at_hand = picture_rows.images_by_hash(
                    view.transaction, self._hashes_at_hand
                )
        image = self._known_at_hand.get(content_hash)
        if image is None:
            return False
        if image.status is not ImageStatus.ERROR:
            return True
        return not (
            self._options.retry_errors or image.failure_code in picture_rows.PASSING_FAILURES
        )

    def _settle(
        self,
        candidate: Candidate,
        content_hash: bytes,
        outcome: PictureReading | Failure | ItemFailed,
    ) -> None:
        """Put the outcome of one file into the next commit."""
        copies = self._in_flight.pop(content_hash)
        if isinstance(outcome, Failure):
            self._fail(candidate, outcome)
            self._again += copies
            return
        if isinstance(outcome, ItemFailed):
            failure = Failure(FAILURE_OF[outcome.reason], outcome.message)
            outcome = PictureReading(content_hash, candidate.stamp, None, (), failure)
        self._done += 1
        self._readings.append(outcome)
        self._pending_hashes.add(outcome.content_hash)
        self._links.append(
            FileLink(candidate.folder, candidate.name, outcome.stamp, outcome.content_hash)
        )
        if outcome.status is ImageStatus.OK:
            self._summary.images_embedded += 1
        elif outcome.status is ImageStatus.NO_FACE:
            self._summary.images_without_face += 1
        else:
            self._summary.images_failed += 1
        self._summary.faces_added += len(outcome.faces)
        for copy in copies:
            if outcome.content_hash == content_hash:
                self._link_copy(copy, content_hash)
            else:  # the file changed while it waited; its copies may not have
                self._again.append(copy)

    def _link_copy(self, candidate: Candidate, content_hash: bytes) -> None:
        self._done += 1
        self._summary.files_duplicate += 1
        self._links.append(
            FileLink(candidate.folder, candidate.name, candidate.stamp, content_hash)
        )

    def _fail(self, candidate: Candidate, failure: Failure) -> None:
        """Put a file that could not be read at all into the next commit."""
        self._done += 1
        self._summary.images_failed += 1
        self._links.append(
            FileLink(candidate.folder, candidate.name, candidate.stamp, None, failure)
        )

    def _commit_if_due(self) -> None:
        waited = time.monotonic() - self._committed_at >= COMMIT_INTERVAL_S
        full = len(self._readings) >= COMMIT_PICTURES or len(self._links) >= COMMIT_FILES
        if full or (waited and self._links):
            self._commit()

    def _commit(self) -> None:
        if self._links:
            self._store.commit(Batch(self._readings, self._links))
        self._readings, self._links = [], []
        self._pending_hashes.clear()
        self._known_at_hand = None
        self._committed_at = time.monotonic()

    def _settle_missing(self, found: Scan) -> None:
        """Record which roots were walked, and which of their files are gone."""
        self._summary.files_removed = len(found.gone)
        if self._options.prune and found.gone:
            self._store.remove(found.gone)
        with self._store.write() as transaction:
            if not self._options.prune:
                writing.mark_missing(transaction, found.gone)
            writing.mark_found(transaction, found.returned)
            for root in (*self._targets.folders, *self._targets.files):
                writing.put_root(transaction, str(root))


def _grouped(found: Iterator[Candidate | None]) -> Iterator[list[Candidate]]:
    """Yield candidates in groups that are hashed together, and an empty group for each None."""
    group: list[Candidate] = []
    n_bytes = 0
    for candidate in found:
        if candidate is not None:
            group.append(candidate)
            n_bytes += candidate.stamp.size_bytes
            if len(group) < HASH_FILES and n_bytes < HASH_BYTES:
                continue
        if group:
            yield group
            group, n_bytes = [], 0
        if candidate is None:
            yield []
    if group:
        yield group
