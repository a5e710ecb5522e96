"""Pools for tests, and what is still there of their processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facesim_index.workers.pool import PoolSettings, WorkerPool
from tests.workers import handlers as pool_handlers
from tests.workers.handlers import HandlerSettings, Task

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and processes")
PATIENCE_S = 60.0  # for what takes milliseconds on a machine that is not busy
Pool = WorkerPool[Task, object]


def make_pool(
    workers: int = 2,
    *,
    timeout_s: float = PATIENCE_S,
    window: int | None = None,
    memory_limit_bytes: int | None = None,
    trail: Path | None = None,
) -> Pool:
    settings = HandlerSettings(None if trail is None else str(trail))
    bounds = PoolSettings(
        workers, timeout_s, PATIENCE_S, memory_limit_bytes=memory_limit_bytes, window=window
    )
    return WorkerPool(pool_handlers.make_handler, settings, bounds)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether the process exists and is not merely waiting to be collected."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()[:1] not in ("", "Z")


def wait_until_gone(pid: int) -> None:
    wait_until(lambda: not is_running(pid), f"process {pid} is gone")


def announced_pid(path: Path) -> int:
    wait_until(path.exists, f"{path.name} appears")
    return int(path.read_text(encoding="ascii"))


def open_descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))  # noqa: PTH208 - names alone


def children() -> bool:
    """Whether this process has any child, running or not collected."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True
