"""How many cores there are to work with, and threads that share them out."""

import contextlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import ThreadpoolController

from facesim_index.utils.cgroups import quota_cores


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
