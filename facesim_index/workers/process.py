"""The parent's side of a `WorkerPool`: starting, feeding, killing and collecting one worker.

Nothing is decided here.  Two threads for each worker only carry bytes between its pipes and
two queues, so that no pipe, full or empty, ever blocks the pool.
"""

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from facesim_index.errors import PipelineError
from facesim_index.workers.child import Frame, Kind, read_frame, write_frame

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_REAP_S = 5.0

# One thread a worker: the pool is the parallelism, and more would fight for the same cores.
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


@dataclass(slots=True, eq=False)
class Job(Generic[Task, Outcome]):
    """A task between being pulled and being yielded; `outcome` counts once it is `done`."""

    number: int
    task: Task
    sent: bool = False
    outcome: Outcome | None = None
    done: bool = False

    def settle(self, outcome: Outcome) -> None:
        """Record the one outcome of this job."""
        self.outcome = outcome
        self.done = True


@dataclass(frozen=True, slots=True, eq=False)
class Event(Generic[Task, Outcome]):
    """A frame that a worker sent, or None for the end of its output."""

    worker: "WorkerProcess[Task, Outcome]"
    frame: Frame | None
    arrival: float


class WorkerProcess(Generic[Task, Outcome]):
    """One worker process and what its parent knows of it.

    Parameters
    ----------
    orders : bytes
        Payload of the first frame.
    events : SimpleQueue of Event
        Receives what the worker sends, and exactly one end.

    Attributes
    ----------
    jobs : deque of Job
        Sent and not answered; the first one is running once `begun`.
    ready : bool
        The handler is built.
    proven : bool
        It has begun at least one job.
    since : float
        When the clock of what it is busy with was started.
    overdue_since : float or None
        When it was first noticed to be late.
    """

    def __init__(self, orders: bytes, events: SimpleQueue[Event[Task, Outcome]]) -> None:
        self.jobs: deque[Job[Task, Outcome]] = deque()
        self.ready = self.proven = self.begun = False
        self.since = time.monotonic()
        self.overdue_since: float | None = None
        self._events = events
        self._outgoing: SimpleQueue[Frame | None] = SimpleQueue()
        self._outgoing.put(Frame(Kind.ORDERS, payload=orders))
        self._process = _start_process()
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, name=f"read-{self.pid}", daemon=True)
        self._writer = threading.Thread(target=self._write, name=f"write-{self.pid}", daemon=True)
        self._reader.start()
        self._writer.start()

    def send(self, job: Job[Task, Outcome]) -> None:
        """Give the worker one more job; raises what pickling its task raises."""
        payload = pickle.dumps(job.task, protocol=5)
        if not self.jobs:
            self.since = time.monotonic()
        job.sent = True
        self.jobs.append(job)
        self._outgoing.put(Frame(Kind.TASK, job.number, payload))

    def dismiss(self) -> None:
        """Close the worker's input once what was sent is written; it then ends itself."""
        self._outgoing.put(None)

    def wait(self, timeout_s: float) -> None:
        """Wait until the worker's output ends, at most `timeout_s`."""
        self._reader.join(max(0.0, timeout_s))

    def kill(self) -> None:
        """Kill the process, and on POSIX those that it started, unless it was collected."""
        if self._process.returncode is not None:
            return
        # It may be dead already, for which macOS says EPERM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Kill the process, collect it, its threads and its pipes; False if it will not die."""
        self.kill()
        self.dismiss()
        try:
            self._process.wait(_REAP_S)
        except subprocess.TimeoutExpired:  # it hangs in the kernel, say on a network disk
            return False
        self._reader.join(_REAP_S)
        self._writer.join(_REAP_S)
        return True

    def describe_exit(self) -> str:
        """Say how the process ended, as in "the worker ..."."""
        code = self._process.returncode
        if code is None:
            return "closed its output but does not end"
        if code >= 0:
            return f"exited with code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = ", perhaps because the system ran out of memory" if name == "SIGKILL" else ""
        return f"was killed by {name}{hint}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            with self._process.stdout as stream:
                while (frame := read_frame(stream)) is not None:
                    self._events.put(Event(self, frame, time.monotonic()))
                    del frame  # or a large result would stay until the next one
        except (OSError, ValueError, MemoryError, OverflowError) as error:
            logger.warning("worker %d sent what cannot be read: %r", self.pid, error)
        finally:
            self._events.put(Event(self, None, time.monotonic()))

    def _write(self) -> None:
        assert self._process.stdin is not None
        # When the worker is dead its reader notices that too, and tells.
        with contextlib.suppress(OSError), self._process.stdin as stream:
            while (frame := self._outgoing.get()) is not None:
                write_frame(stream, frame)
                del frame


def _start_process() -> subprocess.Popen[bytes]:
    """Start a worker; what it prints is shown at log level DEBUG only.

    Native decoders grumble on standard error about pictures whose failure is reported properly
    anyway.
    """
    statement = "from facesim_index.workers.child import main; main()"
    stderr = None if logger.isEnabledFor(logging.DEBUG) else subprocess.DEVNULL
    return start_python(statement, stderr=stderr, environment=_ONE_THREAD)


def start_python(
    statement: str, *, stderr: int | None, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a process that imports what we can import and hears no signal of our terminal.

    Not a `multiprocessing` child: that would run the user's main module again, or fork threads.

    Parameters
    ----------
    statement : str
        What it runs.
    stderr : int or None
        As for `subprocess.Popen`; standard input and output are pipes.
    environment : mapping
        Set in addition to our own.

    Raises
    ------
    PipelineError
        It cannot be started.
    """
    paths = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100
    env = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-P", "-c", statement]
    pipe = subprocess.PIPE
    try:
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
            return subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=stderr, env=env, creationflags=flags
            )
        else:
            return subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=stderr, env=env, process_group=0
            )
    except OSError as error:
        raise PipelineError(f"cannot start a worker process: {error}") from error
