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

from facesim_index.errors import FacesimError, PipelineError
from facesim_index.workers.child import Frame, Kind, Unfit, read_frame, write_frame

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_REAP_S = 5.0

# One thread for each worker: the workers run side by side already, and more threads would
# compete for the same cores.
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


@dataclass(slots=True, eq=False)
class Job(Generic[Task, Outcome]):
    """A task from the moment it is taken from the stream until its outcome is yielded.

    Attributes
    ----------
    number : int
        Position in the stream, from 1.
    task : object
    sent : bool, default=False
        A worker was given it.
    outcome : object, optional
        Its result or failure; has no meaning before it is `done`.
    done : bool, default=False
    """

    number: int
    task: Task
    sent: bool = False
    outcome: Outcome | None = None
    done: bool = False

    def settle(self, outcome: Outcome) -> None:
        """Record the one outcome of this job.

        Parameters
        ----------
        outcome : object
        """
        self.outcome = outcome
        self.done = True


@dataclass(frozen=True, slots=True, eq=False)
class Event(Generic[Task, Outcome]):
    """Something that a worker sent.

    Attributes
    ----------
    worker : WorkerProcess
    frame : Frame or None
        None for the end of the worker's output.
    arrival : float
        When it arrived, in seconds of `time.monotonic`.
    """

    worker: "WorkerProcess[Task, Outcome]"
    frame: Frame | None
    arrival: float


class WorkerProcess(Generic[Task, Outcome]):
    """One worker process and what its parent knows of it.

    Parameters
    ----------
    orders : bytes
        Payload of the first frame: a pickle of `Orders`.
    events : SimpleQueue of Event
        Receives what the worker sends, and exactly one end.

    Attributes
    ----------
    pid : int
        Process id.
    jobs : deque of Job
        Sent and not answered; once the worker has `begun`, the first one is running.
    ready : bool
        The worker has built its handler.
    begun : bool
        The worker has begun the first of its `jobs`.
    proven : bool
        The worker has begun at least one job since it was started.
    since : float
        When the worker began what it is doing now, in seconds of `time.monotonic`.
    overdue_since : float or None
        When the pool first noticed that the worker is late; None while it is not.

    Raises
    ------
    PipelineError
        The process cannot be started.
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
        """Give the worker one more job.

        Parameters
        ----------
        job : Job

        Raises
        ------
        Exception
            Whatever pickling the task raises.
        """
        payload = pickle.dumps(job.task, protocol=5)
        if not self.jobs:
            self.since = time.monotonic()
        job.sent = True
        self.jobs.append(job)
        self._outgoing.put(Frame(Kind.TASK, job.number, payload))

    def dismiss(self) -> None:
        """Close the worker's input once all that was sent is written; the worker then ends."""
        self._outgoing.put(None)

    def wait(self, timeout_s: float) -> None:
        """Wait until the worker's output ends.

        Parameters
        ----------
        timeout_s : float
            The longest time to wait, in seconds; none where it is negative.
        """
        self._reader.join(max(0.0, timeout_s))

    def kill(self) -> None:
        """Kill the process, and on POSIX those that it started; nothing once it was collected."""
        if self._process.returncode is not None:
            return
        # It may be dead already, for which macOS says EPERM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Kill the process and collect it, its threads and its pipes.

        Returns
        -------
        bool
            False if it does not die, for example because it hangs in the kernel.
        """
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
        """Describe how the process ended.

        Returns
        -------
        str
            The rest of a sentence that begins with "the worker".
        """
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
    """Start a Python process that can import the same modules as this one.

    It does not receive the signals of this terminal, such as Ctrl-C.  It is no child of
    `multiprocessing`, which would run the user's main module again, or fork threads.

    Parameters
    ----------
    statement : str
        What it runs.
    stderr : int or None
        As for `subprocess.Popen`; standard input and output are pipes.
    environment : mapping of str to str
        Variables set in addition to those of this process.

    Returns
    -------
    Popen

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


def pickle_recipe(make_handler: object, settings: object) -> bytes:
    """Return the recipe of a handler, as it is sent to a worker.

    Parameters
    ----------
    make_handler : callable
    settings : object

    Returns
    -------
    bytes

    Raises
    ------
    PipelineError
        They cannot be sent to another process.
    """
    if getattr(make_handler, "__module__", None) == "__main__":
        raise PipelineError("make_handler must be importable, but it is defined in __main__")
    try:
        return pickle.dumps((make_handler, settings), protocol=5)
    except Exception as error:
        raise PipelineError(f"the handler cannot be sent to a worker process: {error}") from error


def start_error(payload: bytes) -> FacesimError:
    """Return what the function that makes a handler raised in a worker.

    Parameters
    ----------
    payload : bytes
        Of UNFIT.

    Returns
    -------
    FacesimError
        The error itself where it is one of ours, else a `PipelineError` with it as the cause.
    """
    unfit: Unfit = pickle.loads(payload)
    logger.debug("no handler:\n%s", unfit.trace)
    wrapped = PipelineError(f"a worker process could not be set up: {unfit.message}")
    if unfit.error is not None:
        try:
            error: BaseException = pickle.loads(unfit.error)
        except Exception:
            logger.debug("the exception of the worker cannot be unpickled here")
        else:
            if isinstance(error, FacesimError):
                return error
            wrapped.__cause__ = error
    return wrapped
