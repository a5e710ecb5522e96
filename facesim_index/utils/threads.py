"""How many cores there are to work with, threads that share them out, and threads that may hang."""

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from facesim_index.utils.cgroups import quota_cores

Result = TypeVar("Result")

PATIENCE_S = 1.0
"""How long to wait for what may hang, in seconds, before looking whether to go on waiting."""


def usable_cores() -> int:
    """Return how many cores this process may use.

    Returns
    -------
    int
        At least 1: the cores that it may run on or, where that is less, the processor time that
        its control groups allow (as for a container), rounded up to whole cores.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = quota_cores()
    return cores if quota is None else min(cores, math.ceil(quota))


@contextlib.contextmanager
def threads_for_blocks() -> Iterator[ThreadPoolExecutor]:
    """Give one thread a core, while BLAS starts none of its own in this process.

    For products of blocks that fit into a cache, each followed by work that BLAS does not do.
    BLAS' own threads would wait for each other, busily, at every block.
    """
    with (
        ThreadpoolController().limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(usable_cores(), thread_name_prefix="blocks") as threads,
    ):
        yield threads


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS on the calling thread.

    For many products and factorisations of small matrices, one after the other.  BLAS would share
    each of them out, and its threads wait for each other busily; beside other work on the same
    cores that takes many times the processor time of the work itself.
    """
    # SciPy brings a BLAS of its own, which can only be limited once it is loaded.
    import scipy.linalg  # noqa: F401

    with ThreadpoolController().limit(limits=1, user_api="blas"):
        yield


def in_daemon_thread(function: Callable[[], Result]) -> "Future[Result]":
    """Call a function that may hang, in a thread that does not keep the process alive.

    A call into a file system that does not answer, such as a network disk whose server is gone,
    lets no signal through.  In the main thread it would keep the program from being interrupted.

    Parameters
    ----------
    function : callable

    Returns
    -------
    Future
        Of what the function returns or raises.

    Examples
    --------
    >>> in_daemon_thread(lambda: 6 * 7).result()
    42
    """
    future: Future[Result] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, name="may hang", daemon=True).start()
    return future


def is_done(future: "Future[Result]") -> bool:
    """Wait for a future, at most `PATIENCE_S`, and tell whether it is done.

    Parameters
    ----------
    future : Future

    Returns
    -------
    bool
        True also where the function raised something.
    """
    return bool(wait([future], PATIENCE_S).done)
