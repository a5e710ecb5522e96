"""Work done in a forked child of a process that has imported everything already."""

import os
import pickle
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes
    ----------
    signal : int
        That killed it; 0 if none did.
    result : object
        What its function returned, or the exception that it raised.
    trace : str
        Of that exception.
    """

    signal: int
    result: object
    trace: str


def fork() -> int:
    """Fork, although a worker of pytest-xdist has a thread more, which the child can do without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def in_child(work: Callable[[], object], *, kill_after_s: float | None = None) -> Ended:
    """Do something in a forked child, and perhaps kill it at a moment of its life."""
    source, sink = os.pipe()
    pid = fork()
    if pid == 0:
        os.close(source)
        _run(work, sink)
    os.close(sink)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(source, "rb") as stream:
        sent = stream.read()
    _, status = os.waitpid(pid, 0)
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    result, trace = pickle.loads(sent) if sent and not killed else (None, "")
    return Ended(killed, result, trace)


def _run(work: Callable[[], object], sink: int) -> None:
    write, leave, exit_ = os.write, os.close, os._exit
    trace = ""
    try:
        result = work()
    except BaseException as error:
        result, trace = error, traceback.format_exc()
    data = pickle.dumps((result, trace))
    while data:
        data = data[write(sink, data) :]
    leave(sink)
    exit_(0)


def done(work: Callable[[], object]) -> object:
    """Do something in a child that must succeed; return what it returned."""
    ended = in_child(work)
    if isinstance(ended.result, AssertionError):
        raise ended.result
    assert not ended.trace, ended.trace
    assert not ended.signal, f"signal {ended.signal}"
    return ended.result
