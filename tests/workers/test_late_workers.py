"""A worker that is late is killed by its parent, not only by its own watchdog."""

import os
import signal
from pathlib import Path

from facesim_index.workers.pool import ItemFailed
from tests.workers.handlers import Task
from tests.workers.pools import announced_pid, is_running, make_pool, posix_only, wait_until


@posix_only
def test_a_late_worker_that_was_suspended_is_killed(tmp_path: Path) -> None:
    """A suspended process runs no watchdog: if the parent does not end it, nobody does."""
    announce = tmp_path / "pid"
    tasks: list[Task] = [("hang", str(announce)), ("echo", 1), ("echo", 2)]
    suspended: list[int] = []

    def suspend() -> bool:
        if announce.exists() and not suspended:
            suspended.append(announced_pid(announce))
            os.kill(suspended[0], signal.SIGSTOP)
        return False

    with make_pool(1, timeout_s=1.0) as pool:
        outcomes = pool.map_ordered(tasks, should_stop=suspend)
        assert next(outcomes)[1] == ItemFailed("timeout", "no result within 1 s")
        # Before the pool is closed, which kills what is left of it in any case.
        wait_until(lambda: not is_running(suspended[0]), "the late worker is gone")
        assert [outcome for _, outcome in outcomes] == [1, 2]
        assert suspended[0] not in pool.worker_pids
