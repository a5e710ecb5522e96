"""Ingest: find pictures, skip what is known, read the rest, commit as it goes.

The folders are walked twice.  The first walk only counts, settles what is unchanged and notices
what is gone; the second feeds the workers.  So the total is known from the start, an unchanged
folder costs one stat a file, and memory does not grow with the number of files.

A file whose stamp is new is hashed here; only content that the index does not have goes to a
worker.  The worker hashes the bytes that it decodes once more, and that hash is the one stored.
So a file that changes meanwhile can never give one picture the faces of another.
"""

import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from facesim_index.engine.base import PictureReader
from facesim_index.errors import PictureError, PipelineError
from facesim_index.ingest.scanning import Candidate, Scan, candidates, scan
from facesim_index.ingest.targets import IngestOptions, Targets
from facesim_index.pictures.files import hash_file
from facesim_index.records import Failure, FailureCode, ImageStatus, PictureReading
from facesim_index.store.catalog import face_rows, picture_rows, writing
from facesim_index.store.protocols import IndexStore
from facesim_index.store.records import Batch, FileLink
from facesim_index.utils.notebook_hook import Shown
from facesim_index.utils.progress import Progress, ProgressUpdate, ignore
from facesim_index.version import __version__
from facesim_index.workers.pool import ItemFailed

COMMIT_PICTURES = 256
COMMIT_FILES = 4096
COMMIT_INTERVAL_S = 5.0
HASH_THREADS = 2
HASH_TOGETHER = 16

FAILURE_OF = {
    "timeout": FailureCode.TIMEOUT,
    "crash": FailureCode.DECODER_CRASH,
    "out_of_memory": FailureCode.OUT_OF_MEMORY,
    "exception": FailureCode.INTERNAL,
}


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
        progress: Progress = ignore,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._targets = targets
        self._options = options
        self._reader = reader
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
        found = candidates(self._store, self._targets, self._options) if to_read else iter(())
        while True:
            self._read(found, to_read)
            if not self._again or self._should_stop():
                return
            found, self._again = iter(self._again), []

    def _read(self, found: Iterator[Candidate], total: int) -> None:
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

    def _to_read(self, found: Iterator[Candidate]) -> Iterator[Path]:
        """Yield the files that a worker must read; settle all others at once."""
        for together in _hash_ahead(found):
            self._hashes_at_hand = [hashed for _, hashed in together if isinstance(hashed, bytes)]
            self._known_at_hand = None
            for candidate, outcome in together:
                if self._should_stop():
                    return
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
                    yield candidate.path
                self._commit_if_due()

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


def _hash_ahead(found: Iterator[Candidate]) -> Iterator[list[tuple[Candidate, bytes | Failure]]]:
    """Yield candidates with the hashes of their contents, several at a time, computed ahead."""
    waiting: deque[Future[list[tuple[Candidate, bytes | Failure]]]] = deque()
    with ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="hash") as threads:
        try:
            while together := list(itertools.islice(found, HASH_TOGETHER)):
                waiting.append(threads.submit(_hashed, together))
                if len(waiting) >= HASH_THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _hashed(candidates: Iterable[Candidate]) -> list[tuple[Candidate, bytes | Failure]]:
    return [(candidate, _hash_or_failure(candidate)) for candidate in candidates]


def _hash_or_failure(candidate: Candidate) -> bytes | Failure:
    try:
        return hash_file(candidate.path)
    except PictureError as error:
        return Failure(error.code, error.message)
