"""Hashing and reading pictures in worker processes of this computer.

A read from a file system that does not answer, such as a network disk whose server is gone,
cannot be ended, and sometimes not even killed.  So an ingest reads no file in this process: one
that hangs costs a worker, which is left behind if need be.
"""

import contextlib
import dataclasses
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from facesim_index.engine.base import EngineSource, FaceEngine, SharedEngine
from facesim_index.engine.reading import make_group_reader, make_reader, read_content
from facesim_index.errors import PictureError, PipelineError
from facesim_index.pictures.files import make_hasher, read_small
from facesim_index.pictures.formats import MOST_PLAIN_BYTES, is_plain
from facesim_index.records import (
    EngineIdentity,
    Failure,
    FailureCode,
    FileStamp,
    PictureReading,
)
from facesim_index.utils.threads import PATIENCE_S, in_daemon_thread, is_done, usable_cores
from facesim_index.workers.pool import MOST_WORKERS, ItemFailed, PoolSettings, WorkerPool

Settings = TypeVar("Settings")
Task = TypeVar("Task")
Result = TypeVar("Result")

PICTURE_TIMEOUT_S = 120.0
WORKER_MEMORY_BYTES = 4 << 30
WORKERS_ONE_BY_ONE = 2
"""How many hash the files of a group that failed; otherwise it is one, with threads."""

GROUPS_A_WORKER = 3
"""How many groups of pictures are held for each worker that is given groups."""

MOST_LATE_IN_A_ROW = 16
"""When so many files in a row do not give their bytes, no more are tried."""

FAILURE_OF = {
    "timeout": FailureCode.TIMEOUT,
    "crash": FailureCode.DECODER_CRASH,
    "out_of_memory": FailureCode.OUT_OF_MEMORY,
    "exception": FailureCode.INTERNAL,
}
"""How the failure of a worker is told of a picture."""


@dataclass(frozen=True, slots=True)
class LocalReader:
    """Reads pictures in worker processes; satisfies `facesim_index.engine.base.PictureReader`.

    Attributes
    ----------
    engine : EngineSource
        What each worker loads its engine from.
    workers : int, optional
        Most processes at a time, at least 1; by default one for each core that this process may
        use.
    """

    engine: EngineSource
    workers: int | None = None

    def hash_files(
        self, groups: Iterable[Sequence[Path] | None]
    ) -> Generator[list[bytes | Failure] | None, None, None]:
        """Hash files, some ahead of the one who takes the hashes.

        The files of a group have the time of one picture together.  When that is not enough, or
        their worker dies, each of them is tried again by itself.

        Parameters
        ----------
        groups : iterable of sequence of Path, or None
            Files that are hashed together.  None says that there are none for now.

        Yields
        ------
        list of bytes or Failure, or None
            The hash of each file of a group, or why there is none, in the order of the groups.
            None comes once a second while there is nothing.

        Raises
        ------
        PipelineError
            The workers cannot run, or too many files in a row took too long.
        """
        late = _LateFiles()
        with contextlib.closing(_hashed(groups)) as outcomes:
            for outcome in outcomes:
                if outcome is None:
                    yield None
                    continue
                group, hashes = outcome
                if isinstance(hashes, ItemFailed) and len(group) > 1:
                    yield from _hashed_one_by_one(group, late)
                else:
                    yield late.counted(group, hashes)

    def read(
        self, paths: Iterable[Path | None], should_stop: Callable[[], bool]
    ) -> Iterator[PictureReading | Failure | ItemFailed]:
        """Read pictures.

        Parameters
        ----------
        paths : iterable of Path or None
            Taken no faster than they are read, a bounded number ahead.  None says that there is
            none for now.
        should_stop : callable
            Once it is true no more pictures are begun.

        Yields
        ------
        PictureReading, Failure or ItemFailed
            What came of each picture, in order.

        Raises
        ------
        UsageError
            `workers` is less than 1.
        PipelineError, ModelError, ProviderError
            The workers cannot run.
        """
        with self.engine.shared() as shared:

            def stop() -> bool:
                shared.check()
                return should_stop()

            workers = self.workers
            if workers is None:
                workers = min(usable_cores() * shared.workers_a_core, MOST_WORKERS)
            bounds = PoolSettings(
                workers=workers,
                timeout_s=PICTURE_TIMEOUT_S,
                memory_limit_bytes=WORKER_MEMORY_BYTES,
            )
            if shared.pictures_a_task > 1:
                yield from _read_together(paths, stop, shared, bounds)
                return
            with WorkerPool(make_reader, shared.source, bounds) as pool:
                for _, outcome in pool.map_ordered(paths, should_stop=stop):
                    yield outcome


def _read_together(
    paths: Iterable[Path | None],
    should_stop: Callable[[], bool],
    shared: SharedEngine,
    bounds: PoolSettings,
) -> Iterator[PictureReading | Failure | ItemFailed]:
    """Yield what came of each picture, several of which are one task."""
    bounds = dataclasses.replace(bounds, window=GROUPS_A_WORKER * bounds.workers)
    alone = dataclasses.replace(bounds, workers=WORKERS_ONE_BY_ONE, window=None)
    with (
        WorkerPool(make_group_reader, shared.source, bounds) as pool,
        WorkerPool(make_reader, shared.source, alone) as careful_pool,
    ):
        groups = _grouped(paths, shared.pictures_a_task)
        for group, outcome in pool.map_ordered(groups, should_stop=should_stop):
            if isinstance(outcome, ItemFailed):
                # One of them was too much for its worker; the others shall not suffer for it.
                for _, single in careful_pool.map_ordered(group):
                    yield single
            else:
                yield from outcome


def _grouped(paths: Iterable[Path | None], n: int) -> Iterator[list[Path] | None]:
    """Yield paths in groups of at most `n`, without waiting for more where there are none now."""
    group: list[Path] = []
    for path in paths:
        if path is not None:
            group.append(path)
        if group and (path is None or len(group) == n):
            yield group
            group = []
        if path is None:
            yield None
    if group:
        yield group


class OnePictureReader:
    """Reads single pictures that somebody asks about, within the limits of the workers.

    A picture that surely costs little (`facesim_index.pictures.formats.is_plain`), as nearly all
    do, is read here: that is quicker.  For any other a worker process is started, which stays for
    the next one until this object is closed.

    Parameters
    ----------
    engine : EngineSource
        Loaded when the first picture needs it.
    """

    def __init__(self, engine: EngineSource) -> None:
        self._source = engine
        self._loaded: FaceEngine | None = None
        self._pool: WorkerPool[Path, PictureReading | Failure] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the worker."""
        self.close()

    @property
    def identity(self) -> EngineIdentity:
        """The engine that reads."""
        return self._source.identity

    def close(self) -> None:
        """End the worker, if there is one; the next picture that needs one starts it again."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def read(self, path: Path) -> PictureReading:
        """Read a picture.

        A picture that cannot be decoded raises nothing; the reading's `failure` tells why.

        Parameters
        ----------
        path : Path

        Returns
        -------
        PictureReading

        Raises
        ------
        PictureError
            The bytes of the file cannot be read; or the picture took too long or too much memory,
            or was the death of the worker.
        ModelError, ProviderError
            The engine cannot be loaded.
        PipelineError
            The worker cannot run.
        """
        content = plain_content(path)
        if content is None:
            return self._read_aside(path)
        if self._loaded is None:
            self._loaded = self._source.load()
        return read_content(*content, self._loaded)

    def _read_aside(self, path: Path) -> PictureReading:
        with self._lock:
            if self._pool is None:
                self._pool = one_worker(make_reader, self._source)
                weakref.finalize(self, self._pool.kill)  # where nobody closes this object
            [(_, outcome)] = list(self._pool.map_ordered([path]))
        if isinstance(outcome, ItemFailed):
            message = f"the picture was given up: {outcome.message}"
            raise PictureError(FAILURE_OF[outcome.reason], message)
        if isinstance(outcome, Failure):
            raise PictureError(outcome.code, outcome.message)
        return outcome


def plain_content(path: Path) -> tuple[bytes, FileStamp] | None:
    """Read the file of a picture if that surely costs little to decode.

    Parameters
    ----------
    path : Path

    Returns
    -------
    data : bytes
    stamp : FileStamp
        Or None in the place of both, for any other picture.

    Raises
    ------
    PictureError
        The bytes cannot be read, or do not come within the time of one picture.
    """
    reading = in_daemon_thread(lambda: read_small(path, MOST_PLAIN_BYTES))
    until = time.monotonic() + PICTURE_TIMEOUT_S
    while not is_done(reading):
        if time.monotonic() > until:
            message = f"its bytes could not be read: no result within {PICTURE_TIMEOUT_S:g} s"
            raise PictureError(FailureCode.TIMEOUT, message)
    content = reading.result()
    return content if content is not None and is_plain(content[0]) else None


def one_worker(
    make_handler: Callable[[Settings], Callable[[Task], Result]], settings: Settings
) -> WorkerPool[Task, Result]:
    """Return a pool of one process with the limits of an ingest's for each picture.

    Parameters
    ----------
    make_handler : callable
        Makes what does one task, in the process; as for `WorkerPool`.
    settings : object
        What it is given.

    Returns
    -------
    WorkerPool
        Whoever asks for it closes it.
    """
    bounds = PoolSettings(1, timeout_s=PICTURE_TIMEOUT_S, memory_limit_bytes=WORKER_MEMORY_BYTES)
    return WorkerPool(make_handler, settings, bounds)


def _hashed(
    groups: Iterable[Sequence[Path] | None], workers: int = 1
) -> Generator[tuple[Sequence[Path], list[bytes | Failure] | ItemFailed] | None, None, None]:
    """Yield each group with its hashes in order; None for each second without any."""
    bounds = PoolSettings(workers, timeout_s=PICTURE_TIMEOUT_S)
    with (
        WorkerPool(make_hasher, None, bounds) as pool,
        contextlib.closing(pool.map_patiently(groups, patience_s=PATIENCE_S)) as outcomes,
    ):
        yield from outcomes


def _hashed_one_by_one(
    group: Sequence[Path], late: "_LateFiles"
) -> Generator[list[bytes | Failure] | None, None, None]:
    """Yield the hashes of a group whose files are hashed each by itself; None while waiting."""
    together: list[bytes | Failure] = []
    with contextlib.closing(_hashed(([path] for path in group), WORKERS_ONE_BY_ONE)) as outcomes:
        for outcome in outcomes:
            if outcome is None:
                yield None
            else:
                together += late.counted(*outcome)
    yield together


class _LateFiles:
    """Counts how many files in a row took too long."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def counted(
        self, group: Sequence[Path], hashes: list[bytes | Failure] | ItemFailed
    ) -> list[bytes | Failure]:
        """Return the outcomes of a group; only one of a single file may have failed."""
        if isinstance(hashes, list):
            self._in_a_row = 0
            return hashes
        [path] = group
        self._in_a_row = self._in_a_row + 1 if hashes.reason == "timeout" else 0
        if self._in_a_row >= MOST_LATE_IN_A_ROW:
            raise PipelineError(
                f"{self._in_a_row} files in a row gave no byte in time, the last one {path}: is a "
                "disk, or the server of a network disk, gone?  What was read is in the index; mend "
                "that, or leave the folder out (--exclude), and run the same command again"
            )
        message = f"its bytes could not be read: {hashes.message}"
        return [Failure(FAILURE_OF[hashes.reason], message)]
