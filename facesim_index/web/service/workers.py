"""Worker processes that requests share: when a picture kills one, only its request fails."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from facesim_index.errors import PictureError, PipelineError
from facesim_index.records import FailureCode
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.problems import ProblemError
from facesim_index.workers.pool import ItemFailed, PoolSettings, WorkerPool

Settings = TypeVar("Settings")
Task = TypeVar("Task")
Result = TypeVar("Result")

_LOOK_S = 0.25  # between looks whether the server is stopping
_CODES = {
    "timeout": FailureCode.TIMEOUT,
    "crash": FailureCode.DECODER_CRASH,
    "out_of_memory": FailureCode.OUT_OF_MEMORY,
    "exception": FailureCode.INTERNAL,
}


class Workers(Generic[Task, Result]):
    """Some worker processes; each is lent to one request at a time.

    They start when they are first needed, stay, and are replaced when they die.

    Parameters
    ----------
    make_handler : callable
        Takes `settings` in a worker, and returns what handles a task there.
    settings : object
    n_workers : int
        At least 1.
    limits : Limits
    """

    def __init__(
        self,
        make_handler: Callable[[Settings], Callable[[Task], Result]],
        settings: Settings,
        n_workers: int,
        limits: Limits,
    ) -> None:
        bounds = PoolSettings(1, limits.picture_s, memory_limit_bytes=limits.worker_bytes)
        self._wait_s = limits.wait_s
        self._pools = [WorkerPool(make_handler, settings, bounds) for _ in range(n_workers)]
        # The last one given back is lent first: it runs already, the others may never be started.
        self._idle: queue.LifoQueue[WorkerPool[Task, Result]] = queue.LifoQueue()
        for pool in self._pools:
            self._idle.put(pool)
        self._closed = threading.Event()

    def run(self, task: Task) -> Result:
        """Return what a worker makes of a task.

        Parameters
        ----------
        task : object
            What a handler takes.

        Returns
        -------
        object
            What the handler returns.

        Raises
        ------
        PictureError
            The task took too long, or its worker died of it.
        ProblemError
            No worker was free for a long time; status 503.
        PipelineError
            Workers cannot be started.
        """
        pool = self._borrowed()
        try:
            [(_, outcome)] = list(pool.map_ordered([task]))
        finally:
            self._idle.put(pool)
        if isinstance(outcome, ItemFailed):
            raise PictureError(
                _CODES[outcome.reason], f"the picture was given up: {outcome.message}"
            )
        return outcome

    def _borrowed(self) -> WorkerPool[Task, Result]:
        deadline = time.monotonic() + self._wait_s
        while not self._closed.is_set():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise ProblemError(503, "busy", "too many pictures are being read; try again")
            with contextlib.suppress(queue.Empty):
                return self._idle.get(timeout=min(left_s, _LOOK_S))
        raise PipelineError("the server is stopping")

    def close(self) -> None:
        """Stop the workers at once, also in the middle of a task."""
        self._closed.set()
        for pool in self._pools:
            pool.kill()
