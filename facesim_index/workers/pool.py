"""A bounded pool of worker processes that survives whatever one item does to its worker.

The pool knows nothing of what it computes.  It keeps promises that matter when the work is
native code on untrusted input:

- every task has exactly one outcome, a result or an `ItemFailed`, in the order of the tasks;
- an item that hangs, crashes or eats the memory costs itself and nothing else;
- never more than `PoolSettings.window` tasks are held, however long the stream is;
- no process, thread or file descriptor is left, not even when this process is killed.

Everything is decided in the caller's thread, inside `WorkerPool.map_ordered`.
"""

import contextlib
import itertools
import logging
import math
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, Literal, Self, TypeAlias, TypeVar, cast

from facesim_index.errors import PipelineError, UsageError
from facesim_index.workers.child import Failed, Frame, Kind, Orders
from facesim_index.workers.process import Event, Job, WorkerProcess, pickle_recipe, start_error

logger = logging.getLogger(__name__)

Settings = TypeVar("Settings")
Task = TypeVar("Task")
Result = TypeVar("Result")

MOST_WORKERS = 1024
_WINDOW_PER_WORKER = 16
_JOBS_PER_WORKER = 2  # one that runs and one that waits, so that no worker waits for us
_EARLY_DEATHS = 3
_POLL_S = 0.1
_OVERDUE_GRACE_S = 0.5  # a late answer may lie in the pipe when we ourselves were suspended
_CLOSE_GRACE_S = 2.0


@dataclass(frozen=True)
class PoolSettings:
    """The bounds of a pool.

    Parameters
    ----------
    workers : int
        Most worker processes at a time, from 1 to 1,024.
    timeout_s : float, default=120.0
        The longest time for one item, in seconds; after it the worker is killed.
    start_timeout_s : float, default=120.0
        The longest time for starting a worker and building its handler, in seconds.
    memory_limit_bytes : int or None, default=None
        What a worker may allocate beyond what its finished handler needs, at least 1; None for no
        limit.  Only Linux enforces it.
    window : int or None, default=None
        The most tasks that may be taken from the stream while their outcomes are not yielded, at
        least 1; None for 16 for each worker.

    Raises
    ------
    UsageError
        A bound is out of its range.
    """

    workers: int
    timeout_s: float = 120.0
    start_timeout_s: float = 120.0
    memory_limit_bytes: int | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        """Refuse bounds that are out of range."""
        for name in ("workers", "memory_limit_bytes", "window"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")
        if self.workers > MOST_WORKERS:
            raise UsageError(f"workers must be at most {MOST_WORKERS}, not {self.workers}")
        for name in ("timeout_s", "start_timeout_s"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} must be a positive number of seconds, not {value}")


@dataclass(frozen=True)
class ItemFailed:
    """The outcome of a task that has no result.

    Attributes
    ----------
    reason : {"timeout", "crash", "out_of_memory", "exception"}
        ``timeout``: the worker took too long and was killed; ``crash``: it died by itself;
        ``out_of_memory`` and ``exception``: the handler raised a MemoryError, or anything else.
    message : str
        What happened, for a person.
    """

    reason: Literal["timeout", "crash", "out_of_memory", "exception"]
    message: str


_Job: TypeAlias = Job[Task, Result | ItemFailed]
_Event: TypeAlias = Event[Task, Result | ItemFailed]
_Worker: TypeAlias = WorkerProcess[Task, Result | ItemFailed]


class WorkerPool(Generic[Task, Result]):
    """A bounded pool of worker processes, each with its own handler.

    Workers start with the first tasks, only as many as there are tasks for, and stay until the
    pool is closed or an iteration is given up.  Use it as a context manager, from one thread.

    Parameters
    ----------
    make_handler : callable
        Called in each worker with `settings`; returns the function from a task to its result.
        Must be importable by name from a module other than ``__main__``.
    settings : object
        Must be picklable, as the tasks and the results must be.
    pool : PoolSettings

    Raises
    ------
    PipelineError
        `make_handler` or `settings` cannot be sent to another process.

    Examples
    --------
    >>> import operator
    >>> with WorkerPool(operator.methodcaller, "upper", PoolSettings(workers=1)) as pool:
    ...     list(pool.map_ordered(["one", "two"]))
    [('one', 'ONE'), ('two', 'TWO')]
    """

    def __init__(
        self,
        make_handler: Callable[[Settings], Callable[[Task], Result]],
        settings: Settings,
        pool: PoolSettings,
    ) -> None:
        self._pool = pool
        recipe = pickle_recipe(make_handler, settings)
        orders = Orders(recipe, pool.start_timeout_s, pool.timeout_s, pool.memory_limit_bytes)
        self._orders = pickle.dumps(orders, protocol=5)
        self._events: SimpleQueue[_Event[Task, Result]] = SimpleQueue()
        self._workers: list[_Worker[Task, Result]] = []
        self._dying: list[_Worker[Task, Result]] = []  # killed, not collected
        self._pending: deque[_Job[Task, Result]] = deque()  # no worker has them
        self._numbers = itertools.count(1)
        self._early_deaths = 0
        self._mapping = False
        self._closed = False
        self._lock = threading.Lock()  # of the workers' bookkeeping, against `kill` alone

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the pool."""
        self.close()

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers there are now."""
        return tuple(worker.pid for worker in self._workers)

    def map_ordered(
        self, tasks: Iterable[Task | None], *, should_stop: Callable[[], bool] | None = None
    ) -> Generator[tuple[Task, Result | ItemFailed], None, None]:
        """Yield each task with its outcome, in the order of `tasks`.

        Tasks are pulled in the caller's thread, one at a time, when a worker has room and the
        window is not full; an outcome whose turn it is goes before the next pull.

        Parameters
        ----------
        tasks : iterable
            May be endless.  None is no task, but says that there is none for now: outcomes go
            first, and the next one is asked for after 0.1 s at most.  When it raises, the outcomes
            of the tasks before are yielded first and then the exception is raised.
        should_stop : callable, optional
            Asked often, at least every 0.1 s while waiting.  Once it is true no task is pulled;
            the outcomes of all tasks that a worker was sent are still yielded.

        Yields
        ------
        tuple of (task, result or ItemFailed)
            Closing the iterator early stops the workers.

        Raises
        ------
        PipelineError
            No worker can be started, or the pool is closed or already mapping.
        FacesimError
            What `make_handler` raised in a worker.
        """
        self._check_open()
        # With such patience None is never yielded.
        outcomes = self._map(iter(tasks), should_stop, math.inf)
        return cast("Generator[tuple[Task, Result | ItemFailed], None, None]", outcomes)

    def map_patiently(
        self, tasks: Iterable[Task | None], *, patience_s: float
    ) -> Generator[tuple[Task, Result | ItemFailed] | None, None, None]:
        """Yield each task with its outcome as `map_ordered` does, but never wait for long.

        Parameters
        ----------
        tasks : iterable
            As for `map_ordered`.
        patience_s : float
            The longest time to wait for an outcome, in seconds; what `tasks` takes is not counted.

        Yields
        ------
        tuple of (task, result or ItemFailed), or None
            None says that no outcome came for so long.  Closing the iterator early stops the
            workers.

        Raises
        ------
        PipelineError
            No worker can be started, or the pool is closed or already mapping.
        FacesimError
            What `make_handler` raised in a worker.
        """
        self._check_open()
        return self._map(iter(tasks), None, patience_s)

    def start(self) -> None:
        """Start one worker before the first task; PipelineError where that cannot be done."""
        with self._lock:
            self._workers.append(WorkerProcess(self._orders, self._events))

    def close(self) -> None:
        """Stop the workers and wait for them; a second call does nothing."""
        self._closed = True
        self._stop_workers(_CLOSE_GRACE_S)

    def kill(self) -> None:
        """Stop the workers at once; safe from other threads and from signal handlers.

        An iteration that is under way raises PipelineError.
        """
        self._closed = True  # first: the deaths that follow are nobody's crash
        for worker in [*self._workers, *self._dying]:
            worker.kill()
        if self._lock.acquire(blocking=False):  # else the iteration that holds it collects them
            try:
                self._collect_workers(0.0)
            finally:
                self._lock.release()

    def _map(
        self,
        tasks: Iterator[Task | None],
        should_stop: Callable[[], bool] | None,
        patience_s: float,
    ) -> Generator[tuple[Task, Result | ItemFailed] | None, None, None]:
        if self._mapping:
            raise PipelineError("the worker pool is already mapping another stream of tasks")
        self._mapping = True
        finished = False
        try:
            yield from self._outcomes(tasks, should_stop, patience_s)
            finished = True
        finally:
            self._mapping = False
            if not finished:
                self._stop_workers(_CLOSE_GRACE_S)

    def _outcomes(
        self,
        tasks: Iterator[Task | None],
        should_stop: Callable[[], bool] | None,
        patience_s: float,
    ) -> Generator[tuple[Task, Result | ItemFailed] | None, None, None]:
        window = self._pool.window or _WINDOW_PER_WORKER * self._pool.workers
        held: deque[_Job[Task, Result]] = deque()  # pulled, not yielded, in order
        stream = _Stream(tasks)
        asked = time.monotonic()
        while True:
            self._tend()
            if should_stop is not None and should_stop():
                stream.ended = True
                self._pending = deque(job for job in self._pending if job.sent)
                held = deque(job for job in held if job.sent or job.done)
            if held and held[0].done:
                job = held.popleft()
                yield job.task, cast("Result | ItemFailed", job.outcome)
                del job
                asked = time.monotonic()
            elif time.monotonic() - asked >= patience_s:
                yield None
                asked = time.monotonic()
            ready = bool(held) and held[0].done
            room = len(held) < window and self._has_room()
            if room and not stream.ended and not (stream.dry and ready):
                task = stream.pull()
                if task is not None:
                    held.append(Job(next(self._numbers), task))
                    self._pending.append(held[-1])
                elif stream.dry and not ready:
                    self._await_event()
            elif stream.ended and not held:
                break
            elif not ready:
                self._await_event()
        if stream.error is not None:
            raise stream.error

    def _has_room(self) -> bool:
        given = sum(len(worker.jobs) for worker in self._workers)
        return given + len(self._pending) < _JOBS_PER_WORKER * self._pool.workers

    def _tend(self) -> None:
        """Handle what the workers sent, and give them new jobs, without waiting."""
        with self._lock:
            with contextlib.suppress(Empty):
                while True:
                    self._handle(self._events.get_nowait())
            self._check_open()
            self._check_deadlines(time.monotonic())
            self._launch_missing()
            self._dispatch()

    def _await_event(self) -> None:
        with contextlib.suppress(Empty):
            event = self._events.get(timeout=_POLL_S)
            with self._lock:
                self._handle(event)

    def _handle(self, event: _Event[Task, Result]) -> None:
        self._check_open()
        worker, frame = event.worker, event.frame
        worker.overdue_since = None
        if frame is None:
            self._handle_end(worker, event.arrival)
        elif frame.kind is Kind.READY:
            logger.debug("worker %d is ready", worker.pid)
            worker.ready = True
        elif frame.kind is Kind.UNFIT:
            raise start_error(frame.payload)
        elif worker.jobs and worker.jobs[0].number == frame.job:
            worker.since = event.arrival
            if frame.kind is Kind.BEGUN:
                if not worker.proven:
                    self._early_deaths = 0
                worker.begun = worker.proven = True
            else:
                worker.begun = False
                job = worker.jobs.popleft()
                job.settle(cast("Result | ItemFailed", _outcome(frame)))

    def _handle_end(self, worker: _Worker[Task, Result], arrival: float) -> None:
        """Collect a worker that has ended; the job that it was running, if any, has failed."""
        (self._dying if worker in self._dying else self._workers).remove(worker)
        if not worker.reap():
            self._dying.append(worker)
        how = worker.describe_exit()
        failure = None
        if worker.jobs and worker.begun:
            late = arrival - worker.since > self._pool.timeout_s  # its own watchdog was faster
            failure = self._timed_out() if late else ItemFailed("crash", f"the worker {how}")
        self._take_back(worker, failure)
        logger.debug("worker %d %s", worker.pid, how)
        if not worker.proven:
            self._early_deaths += 1
            if self._early_deaths >= _EARLY_DEATHS:
                raise PipelineError(
                    f"{self._early_deaths} worker processes in a row ended before they could "
                    f"begin an item; the last one {how}; its own messages are shown with -vv"
                )

    def _take_back(self, worker: _Worker[Task, Result], failure: ItemFailed | None) -> None:
        """Settle the first job of a lost worker with `failure`; leave the rest to other workers."""
        if failure is not None:
            logger.warning("worker %d is replaced: %s", worker.pid, failure.message)
            worker.jobs.popleft().settle(failure)
        self._pending = deque(sorted([*worker.jobs, *self._pending], key=lambda job: job.number))
        worker.jobs.clear()

    def _check_deadlines(self, now: float) -> None:
        for worker in list(self._workers):
            limit_s = self._pool.timeout_s if worker.ready else self._pool.start_timeout_s
            idle = worker.ready and not worker.jobs
            if idle or now - worker.since <= limit_s:
                continue
            if worker.overdue_since is None:
                worker.overdue_since = now
            if now - worker.overdue_since < _OVERDUE_GRACE_S:
                continue
            if not worker.ready:
                raise PipelineError(f"a worker process was not ready within {limit_s:g} s")
            worker.kill()
            self._workers.remove(worker)
            self._dying.append(worker)
            self._take_back(worker, self._timed_out())

    def _timed_out(self) -> ItemFailed:
        return ItemFailed("timeout", f"no result within {self._pool.timeout_s:g} s")

    def _launch_missing(self) -> None:
        """Start workers for the pending jobs that no idle or starting worker will take."""
        free = sum(1 for worker in self._workers if not (worker.ready and worker.jobs))
        for _ in range(min(len(self._pending) - free, self._pool.workers - len(self._workers))):
            self._workers.append(WorkerProcess(self._orders, self._events))
            logger.debug("worker %d is starting", self._workers[-1].pid)

    def _dispatch(self) -> None:
        """Hand out pending jobs, idle workers first, saving one for each starting worker."""
        starting = sum(1 for worker in self._workers if not worker.ready)
        while self._pending:
            able = [w for w in self._workers if w.ready and len(w.jobs) < _JOBS_PER_WORKER]
            worker = min(able, key=lambda w: len(w.jobs), default=None)
            if worker is None or (worker.jobs and len(self._pending) <= starting):
                return
            job = self._pending.popleft()
            try:
                worker.send(job)
            except Exception as error:  # whatever a foreign __reduce__ raises
                job.settle(ItemFailed("exception", f"the task cannot be pickled: {error}"))

    def _check_open(self) -> None:
        if self._closed:
            raise PipelineError("the worker pool is closed")

    def _stop_workers(self, grace_s: float) -> None:
        with self._lock:
            self._collect_workers(grace_s)

    def _collect_workers(self, grace_s: float) -> None:
        """Let all workers end, kill those that take longer than `grace_s`, and forget them."""
        workers = [*self._workers, *self._dying]
        for worker in workers:
            worker.dismiss()
        deadline = time.monotonic() + grace_s
        try:
            for worker in workers:
                worker.wait(deadline - time.monotonic())
        finally:  # a second Ctrl-C ends the waiting, but the workers are collected all the same
            for worker in workers:
                worker.kill()
            for worker in workers:
                if not worker.reap():
                    logger.warning("worker %d does not die and is left behind", worker.pid)
            self._workers, self._dying = [], []
            self._pending = deque()
            self._events = SimpleQueue()


class _Stream(Generic[Task]):
    """A stream of tasks, and what came of asking it for the next one."""

    def __init__(self, tasks: Iterator[Task | None]) -> None:
        self._tasks = tasks
        self.dry = False  # it had none for now
        self.ended = False
        self.error: Exception | None = None

    def pull(self) -> Task | None:
        """Return the next task; None where the stream is dry or has ended."""
        task: Task | None = None
        try:
            task = next(self._tasks)
            self.dry = task is None
        except StopIteration:
            self.ended = True
        except Exception as error:
            self.ended, self.error = True, error
        return task


def _outcome(frame: Frame) -> object:
    """Open the payload of RESULT or FAILED."""
    try:
        answer = pickle.loads(frame.payload)
    except Exception as error:
        return ItemFailed("exception", f"the result cannot be unpickled: {error}")
    if frame.kind is Kind.RESULT:
        return cast("object", answer)
    failed: Failed = answer
    logger.debug("an item failed:\n%s", failed.trace)
    return ItemFailed("out_of_memory" if failed.out_of_memory else "exception", failed.message)
