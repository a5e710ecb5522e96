"""The child's side of a `WorkerPool`: one process that answers one task at a time.

Parent and child exchange frames, a fixed header and a pickled payload, over the child's
standard input and output::

    parent -> child   ORDERS, then any number of TASK; end of file means "leave"
    child -> parent   READY or UNFIT, then for each task BEGUN and RESULT or FAILED

A child never outlives its parent: a thread that listens for tasks ends the process at end
of file, and a timer that needs no interpreter lock ends it when one item takes far too long.
"""

import contextlib
import faulthandler
import os
import pickle
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from queue import SimpleQueue
from typing import IO, NamedTuple, TextIO

if sys.platform.startswith("linux"):
    import resource

Handler = Callable[[object], object]

_HEADER = struct.Struct(">BQQ")  # kind, job number, length of the payload
_WATCHDOG_MARGIN_S = 2.0


class Kind(IntEnum):
    """What a frame says; the lines at the top of this module tell who sends which."""

    ORDERS = 1
    TASK = 2
    READY = 3
    UNFIT = 4
    BEGUN = 5
    RESULT = 6
    FAILED = 7


class Frame(NamedTuple):
    """One message between a parent and a worker.

    Attributes
    ----------
    kind : Kind
    job : int, default=0
        Number of the job that the message is about, from 1; 0 where it is about none.
    payload : bytes, default=b""
        Pickle of an `Orders`, a task, an `Unfit`, a result or a `Failed`.
    """

    kind: Kind
    job: int = 0
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Orders:
    """The first message to a worker.

    Attributes
    ----------
    recipe : bytes
        Pickle of ``(make_handler, settings)``.  It is a pickle inside the pickle of the orders, so
        that the worker can report when it cannot be opened.
    start_timeout_s, timeout_s : float
        The parent's limits for building the handler and for one task, in seconds.  The worker's
        own watchdog waits longer.
    memory_limit_bytes : int or None
        What the worker may allocate beyond what the finished handler needs; None for no limit.
    """

    recipe: bytes
    start_timeout_s: float
    timeout_s: float
    memory_limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class Unfit:
    """Payload of UNFIT: why a worker could not build its handler.

    Attributes
    ----------
    message : str
        Name and text of the exception.
    trace : str
        Its traceback, perhaps empty.
    error : bytes or None
        Pickle of the exception itself; None where it cannot be pickled.
    """

    message: str
    trace: str
    error: bytes | None


@dataclass(frozen=True, slots=True)
class Failed:
    """Payload of FAILED: why a task has no result.

    Attributes
    ----------
    out_of_memory : bool
        The handler raised a MemoryError.
    message : str
        Name and text of the exception.
    trace : str
        Its traceback, perhaps empty.
    """

    out_of_memory: bool
    message: str
    trace: str


def read_frame(stream: IO[bytes]) -> Frame | None:
    """Read one frame.

    Parameters
    ----------
    stream : binary file
        It blocks until the frame is there.

    Returns
    -------
    Frame or None
        None at the end of the file, also in the middle of a frame.

    Raises
    ------
    ValueError
        What is read is no frame.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> write_frame(stream, Frame(Kind.TASK, 7, b"work"))
    >>> _ = stream.seek(0)
    >>> read_frame(stream)
    Frame(kind=<Kind.TASK: 2>, job=7, payload=b'work')
    >>> read_frame(stream) is None
    True
    """
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    kind, job, length = _HEADER.unpack(header)
    payload = stream.read(length)
    return Frame(Kind(kind), job, payload) if len(payload) == length else None


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    """Write one frame and flush it.

    Parameters
    ----------
    stream : binary file
    frame : Frame

    Raises
    ------
    OSError
        Nobody reads at the other end.
    """
    stream.write(_HEADER.pack(frame.kind, frame.job, len(frame.payload)))
    stream.write(frame.payload)
    stream.flush()


def describe(error: BaseException) -> str:
    """Describe an exception by its name and its text.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str
        The text is cut after 2,000 characters, and never raises itself.

    Examples
    --------
    >>> describe(ValueError("too small"))
    'ValueError: too small'
    >>> describe(KeyboardInterrupt())
    'KeyboardInterrupt'
    """
    try:
        text = str(error)[:2000]
    except Exception:  # a foreign __str__ must not turn a failed item into a dead worker
        text = "(its text cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def main() -> None:
    """Serve the parent until it closes the standard input.  This never returns."""
    _leave_signals_to_parent()
    source, sink = _take_channel()
    try:
        _serve(_listen(source), sink)
    except BrokenPipeError:  # the parent is gone
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    # Skips the teardown of native libraries, which may hang or crash and has nothing to save.
    os._exit(0)


def _leave_signals_to_parent() -> None:
    """Ignore what stops a whole session: the parent finishes its items and dismisses us."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGTTOU"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _take_channel() -> tuple[IO[bytes], IO[bytes]]:
    """Return private copies of standard input and output, and point the originals elsewhere.

    What a native library prints then goes to standard error and cannot corrupt a frame.
    """
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # the parent has no standard error, as a daemon may
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stdout = sys.stderr
    return source, sink


def _listen(source: IO[bytes]) -> SimpleQueue[Frame]:
    """Queue the frames of `source` from a thread that ends this process with them."""
    frames: SimpleQueue[Frame] = SimpleQueue()

    def listen() -> None:
        try:
            while (frame := read_frame(source)) is not None:
                frames.put(frame)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    threading.Thread(target=listen, name="listen", daemon=True).start()
    return frames


def _serve(frames: SimpleQueue[Frame], sink: IO[bytes]) -> None:
    """Build the handler and answer tasks; returns only when the process had better be replaced."""
    orders: Orders = pickle.loads(frames.get().payload)
    with Path(os.devnull).open("w", encoding="ascii") as nowhere:
        with _watchdog(orders.start_timeout_s, nowhere):
            try:
                make_handler, settings = pickle.loads(orders.recipe)
                handler: Handler = make_handler(settings)
            except BaseException as error:
                write_frame(sink, Frame(Kind.UNFIT, payload=pickle.dumps(_unfit(error))))
                frames.get()  # until the parent has read it and closes the channel
                return
        if orders.memory_limit_bytes is not None:
            _limit_memory(orders.memory_limit_bytes)
        write_frame(sink, Frame(Kind.READY))
        while True:
            frame = frames.get()
            # Sent before the task is unpickled, so that a crash there counts for the right item.
            write_frame(sink, Frame(Kind.BEGUN, frame.job))
            kind, payload, exhausted = _answer(handler, frame.payload, orders, nowhere)
            write_frame(sink, Frame(kind, frame.job, payload))
            if exhausted and orders.memory_limit_bytes is not None:
                # Caches that have grown up to the limit would fail every later item too.
                return
            del frame, payload


def _answer(
    handler: Handler, task: bytes, orders: Orders, nowhere: TextIO
) -> tuple[Kind, bytes, bool]:
    """Return the kind and the payload of the answer, and whether memory ran out."""
    try:
        with _watchdog(orders.timeout_s, nowhere):
            return Kind.RESULT, pickle.dumps(handler(pickle.loads(task)), protocol=5), False
    except BaseException as error:  # even SystemExit is the failure of one item
        exhausted = isinstance(error, MemoryError)
        failed = Failed(exhausted, describe(error), _trace(error))
        return Kind.FAILED, pickle.dumps(failed), exhausted


def _unfit(error: BaseException) -> Unfit:
    try:
        copy = pickle.dumps(error)
        pickle.loads(copy)  # many exceptions can be pickled but not unpickled
    except Exception:
        return Unfit(describe(error), _trace(error), None)
    return Unfit(describe(error), _trace(error), copy)


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # notably a MemoryError while memory is short
        return ""


@contextlib.contextmanager
def _watchdog(timeout_s: float, nowhere: TextIO) -> Iterator[None]:
    """End this process when the block takes much longer than the parent allows.

    The parent kills a worker that is late.  This is for a parent that was itself killed while
    a native library here hangs and holds the interpreter lock, so that no thread can listen.
    """
    patience_s = 1.5 * timeout_s + _WATCHDOG_MARGIN_S
    faulthandler.dump_traceback_later(patience_s, exit=True, file=nowhere)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _limit_memory(limit_bytes: int) -> None:
    """Let this process allocate `limit_bytes` more than it has now, where the system can."""
    if sys.platform.startswith("linux"):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = _data_bytes() + limit_bytes
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Return what the kernel counts towards RLIMIT_DATA."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    for line in status.splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
