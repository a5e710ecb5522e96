"""What a user's script goes through with a pool, until its end."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tests.workers.handlers import Task
from tests.workers.pools import (
    PATIENCE_S,
    announced_pid,
    is_running,
    make_pool,
    posix_only,
    wait_until_gone,
)

# Scripts: what a user's process goes through

SCRIPT = """
import signal, sys, time
from facesim_index.workers.pool import PoolSettings, WorkerPool
from tests.workers.handlers import HandlerSettings, make_handler

# Where the tests run in the background of a shell, it has told everything to ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
# On purpose without `if __name__ == "__main__"`.
pool = WorkerPool(make_handler, HandlerSettings(), PoolSettings(2, timeout_s={timeout_s}))
{body}
"""


def run_script(folder: Path, body: str, *, timeout_s: float = PATIENCE_S) -> subprocess.Popen[str]:
    script = folder / "script.py"
    text = SCRIPT.format(timeout_s=timeout_s, body=textwrap.dedent(body))
    script.write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, str(script)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    body = """
    with pool:
        print([outcome for _, outcome in pool.map_ordered(("echo", n) for n in range(5))])
    """
    script = run_script(tmp_path, body)
    out, err = script.communicate(timeout=PATIENCE_S)
    assert (out, err, script.returncode) == ("[0, 1, 2, 3, 4]\n", "", 0)


@posix_only
@pytest.mark.parametrize("verb", ["hang", "hang_with_lock"])
def test_a_killed_parent_leaves_no_worker(verb: str, tmp_path: Path) -> None:
    busy, idle = tmp_path / "busy", tmp_path / "idle"
    body = f"""
    tasks = [("{verb}", {str(busy)!r}), ("announce", {str(idle)!r})]
    list(pool.map_ordered(tasks))
    """
    # The watchdog of a worker that holds its lock needs half as long again, and 2 s.
    script = run_script(tmp_path, body, timeout_s=3.0 if verb == "hang_with_lock" else PATIENCE_S)
    pids = [announced_pid(busy), announced_pid(idle)]
    assert pids[0] != pids[1]
    script.kill()
    script.communicate(timeout=PATIENCE_S)
    for pid in pids:
        wait_until_gone(pid)


@posix_only
def test_an_interrupt_of_the_group_reaches_the_parent_alone(tmp_path: Path) -> None:
    announce, gate = tmp_path / "pid", tmp_path / "gate"
    body = f"""
    caught = []
    signal.signal(signal.SIGINT, lambda *_: caught.append(1))
    tasks = [("announce", {str(announce)!r}), ("wait_for", {str(gate)!r}, "done"), ("pid",)]
    with pool:
        outcomes = [outcome for _, outcome in pool.map_ordered(tasks)]
    print(outcomes[1], len(caught))
    """
    script = run_script(tmp_path, body)
    pid = announced_pid(announce)
    assert os.getpgid(pid) != script.pid
    os.killpg(script.pid, signal.SIGINT)
    time.sleep(0.2)
    gate.touch()
    out, err = script.communicate(timeout=PATIENCE_S)
    assert (out, err) == ("done 1\n", "")


@posix_only
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_worker_leaves_the_signals_of_a_session_to_its_parent(name: str, tmp_path: Path) -> None:
    announce, gate = tmp_path / "pid", tmp_path / "gate"
    tasks: list[Task] = [("announce", str(announce)), ("wait_for", str(gate), "done")]

    def signal_it() -> None:
        os.kill(announced_pid(announce), getattr(signal, name))
        time.sleep(0.2)
        gate.touch()

    sender = threading.Thread(target=signal_it)
    sender.start()
    with make_pool(1) as pool:
        outcomes = [outcome for _, outcome in pool.map_ordered(tasks)]
    sender.join()
    assert outcomes == [announced_pid(announce), "done"]


@posix_only
def test_an_interrupted_script_leaves_no_worker(tmp_path: Path) -> None:
    announce = tmp_path / "pid"
    body = f"""
    with pool:
        list(pool.map_ordered([("hang", {str(announce)!r}), ("echo", 1)]))
    """
    script = run_script(tmp_path, body)
    pid = announced_pid(announce)
    os.killpg(script.pid, signal.SIGINT)
    _, err = script.communicate(timeout=PATIENCE_S)
    assert "KeyboardInterrupt" in err
    assert "Warning" not in err
    assert not is_running(pid)


@posix_only
def test_kill_may_come_from_a_signal_handler(tmp_path: Path) -> None:
    announce = tmp_path / "pid"
    body = f"""
    signal.signal(signal.SIGTERM, lambda *_: pool.kill())
    try:
        list(pool.map_ordered([("hang", {str(announce)!r}), ("echo", 1)]))
    except Exception as error:
        print(type(error).__name__, error)
    """
    script = run_script(tmp_path, body)
    pid = announced_pid(announce)
    script.terminate()
    out, err = script.communicate(timeout=PATIENCE_S)
    assert (out, err) == ("PipelineError the worker pool is closed\n", "")
    assert not is_running(pid)


@posix_only
def test_a_suspended_script_takes_no_item_for_late(tmp_path: Path) -> None:
    announce, gate = tmp_path / "pid", tmp_path / "gate"
    body = f"""
    tasks = [("announce", {str(announce)!r}), ("wait_for", {str(gate)!r}, "x" * 1_000_000)]
    with pool:
        outcomes = pool.map_ordered(tasks + [("echo", "y" * 1_000_000)] * 4)
        print([len(outcome) for _, outcome in outcomes if isinstance(outcome, str)])
    """
    script = run_script(tmp_path, body, timeout_s=2.0)
    announced_pid(announce)
    os.kill(script.pid, signal.SIGSTOP)
    gate.touch()
    time.sleep(3.0)
    os.kill(script.pid, signal.SIGCONT)
    out, err = script.communicate(timeout=PATIENCE_S)
    assert (out, err) == (f"{[1_000_000] * 5}\n", "")
