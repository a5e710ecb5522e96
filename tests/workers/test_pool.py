"""The pool keeps its promises whatever an item does to its worker."""

import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facesim_index.errors import ModelError, PipelineError, UsageError
from facesim_index.workers.pool import ItemFailed, PoolSettings, WorkerPool
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


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Every test of this module must leave no process, no thread and no descriptor."""
    if sys.platform == "win32":
        yield
        return
    before = open_descriptors()
    yield
    assert not children()
    assert [
        thread for thread in threading.enumerate() if thread.name[:5] in ("read-", "write")
    ] == []
    assert open_descriptors() == before


# Order, bounds and laziness


def test_outcomes_come_in_the_order_of_the_tasks() -> None:
    chance = random.Random(0)
    tasks: list[Task] = [("sleep", chance.uniform(0, 0.02), number) for number in range(60)]
    with make_pool(3) as pool:
        outcomes = list(pool.map_ordered(tasks))
    assert outcomes == [(task, task[2]) for task in tasks]


def test_the_window_bounds_what_is_pulled_ahead(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    window, pulled, yielded, most, polls_when_full = 7, 0, 0, 0, 0

    def tasks() -> Iterator[Task]:
        nonlocal pulled, most
        for number in range(40):
            pulled += 1
            most = max(most, pulled - yielded)
            yield ("wait_for", str(gate), 0) if number == 0 else ("echo", number)

    def open_gate_when_full() -> bool:
        nonlocal polls_when_full
        polls_when_full += pulled == window
        if polls_when_full > 5:
            gate.touch()
        return False

    with make_pool(2, window=window) as pool:
        for number, (_, outcome) in enumerate(
            pool.map_ordered(tasks(), should_stop=open_gate_when_full)
        ):
            assert outcome == number
            yielded += 1
    assert yielded == 40
    assert most == window


def test_an_endless_stream_is_pulled_lazily() -> None:
    numbers = itertools.count()
    with make_pool(2, window=8) as pool:
        outcomes = pool.map_ordered(("echo", number) for number in numbers)
        assert [outcome for _, outcome in itertools.islice(outcomes, 300)] == list(range(300))
    assert next(numbers) <= 300 + 8


def test_an_outcome_whose_turn_it_is_goes_before_the_next_pull() -> None:
    seen: list[object] = []

    def tasks() -> Iterator[Task]:
        for number in range(50):
            # The only worker has room for two, so a third pull means that one was answered.
            assert len(seen) >= number - 1
            yield ("echo", number)

    with make_pool(1) as pool:
        for _, outcome in pool.map_ordered(tasks()):
            seen.append(outcome)
    assert seen == list(range(50))


@posix_only
def test_no_worker_starts_without_a_task() -> None:
    with make_pool(4) as pool:
        assert pool.worker_pids == ()
        assert list(pool.map_ordered([])) == []
        assert not children()


def test_no_more_workers_than_tasks_and_none_is_started_twice() -> None:
    with make_pool(4) as pool:
        ((_, first),) = pool.map_ordered([("pid",)])
        assert pool.worker_pids == (first,)
        pids = {outcome for _, outcome in pool.map_ordered([("pid",)] * 3)}
        assert len(pool.worker_pids) <= 3
        assert pids <= set(pool.worker_pids)
        assert first in pool.worker_pids


def test_workers_work_at_the_same_time(tmp_path: Path) -> None:
    """Each of two tasks waits for what only the other one's caller can do."""
    gates = [tmp_path / "0", tmp_path / "1"]
    tasks: list[Task] = [
        ("announce_and_wait", str(gates[0]), str(gates[1])),
        ("announce_and_wait", str(gates[1]), str(gates[0])),
    ]
    with make_pool(2) as pool:
        assert [outcome for _, outcome in pool.map_ordered(tasks)] == [True, True]


# One item's failure


def test_crashes_cost_the_crashing_items_alone(tmp_path: Path) -> None:
    chance = random.Random(1)
    fatal: list[Task] = [("leave", 3), ("leave", 0), ("segfault",), ("die_of", int(signal.SIGABRT))]
    tasks: list[Task] = [("echo", number) for number in range(40)] + fatal
    chance.shuffle(tasks)
    with make_pool(2, trail=tmp_path) as pool:
        outcomes = list(pool.map_ordered(tasks))
    assert [task for task, _ in outcomes] == tasks
    for task, outcome in outcomes:
        if task[0] == "echo":
            assert outcome == task[1]
        else:
            assert isinstance(outcome, ItemFailed)
            assert outcome.reason == "crash"
    calls = Counter(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    assert calls == Counter(repr(task) for task in tasks)


@posix_only
@pytest.mark.parametrize(
    ("task", "words"),
    [
        (("segfault",), "SIGSEGV"),
        (("die_of", int(signal.SIGABRT)), "SIGABRT"),
        (("leave", 3), "code 3"),
    ],
)
def test_a_crash_says_how_the_worker_ended(task: Task, words: str) -> None:
    with make_pool(1) as pool:
        ((_, outcome),) = pool.map_ordered([task])
    assert isinstance(outcome, ItemFailed)
    assert outcome.reason == "crash"
    assert words in outcome.message


@posix_only
def test_a_worker_killed_from_outside_costs_the_running_item(tmp_path: Path) -> None:
    announce = tmp_path / "pid"

    def kill_it() -> None:
        os.kill(announced_pid(announce), signal.SIGKILL)

    killer = threading.Thread(target=kill_it)
    killer.start()
    with make_pool(1) as pool:
        outcomes = list(pool.map_ordered([("echo", 1), ("hang", str(announce)), ("echo", 2)]))
    killer.join()
    assert [outcomes[0][1], outcomes[2][1]] == [1, 2]
    assert isinstance(outcomes[1][1], ItemFailed)
    assert outcomes[1][1].reason == "crash"
    assert "SIGKILL" in outcomes[1][1].message


@posix_only
def test_an_idle_worker_killed_from_outside_costs_nothing() -> None:
    with make_pool(1) as pool:
        assert list(pool.map_ordered([("echo", 1)])) == [(("echo", 1), 1)]
        os.kill(pool.worker_pids[0], signal.SIGKILL)
        tasks: list[Task] = [("echo", number) for number in range(5)]
        assert [outcome for _, outcome in pool.map_ordered(tasks)] == list(range(5))


@posix_only
@pytest.mark.parametrize("verb", ["hang", "hang_with_lock"])
def test_a_hang_times_out_and_the_tasks_behind_it_are_done_once(verb: str, tmp_path: Path) -> None:
    tasks: list[Task] = [("echo", 0), (verb,), ("echo", 2), ("echo", 3)]
    with make_pool(1, timeout_s=2.0, trail=tmp_path) as pool:
        outcomes = [outcome for _, outcome in pool.map_ordered(tasks)]
    assert outcomes == [0, ItemFailed("timeout", "no result within 2 s"), 2, 3]
    calls = Counter(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    assert calls == Counter(repr(task) for task in tasks)


@posix_only
def test_a_task_too_large_for_the_pipe_of_a_hanging_worker_blocks_nothing() -> None:
    tasks: list[Task] = [("hang_with_lock",), ("echo", bytes(20_000_000))]
    with make_pool(1, timeout_s=2.0) as pool:
        outcomes = [outcome for _, outcome in pool.map_ordered(tasks)]
    assert isinstance(outcomes[0], ItemFailed)
    assert outcomes[0].reason == "timeout"
    assert outcomes[1] == bytes(20_000_000)


def test_a_caller_that_takes_its_time_makes_no_item_late() -> None:
    tasks: list[Task] = [("echo", number) for number in range(6)]
    seen: list[object] = []
    with make_pool(1, timeout_s=1.5) as pool:
        for _, outcome in pool.map_ordered(tasks):
            if not seen:
                time.sleep(3.0)
            seen.append(outcome)
    assert seen == list(range(6))


@posix_only
def test_a_timeout_ends_the_processes_that_the_worker_started(tmp_path: Path) -> None:
    announce = tmp_path / "pid"
    with make_pool(1, timeout_s=1.0) as pool:
        ((_, outcome),) = pool.map_ordered([("hang_with_child", str(announce))])
    assert isinstance(outcome, ItemFailed)
    assert outcome.reason == "timeout"
    wait_until_gone(announced_pid(announce))


def test_an_exception_becomes_a_value() -> None:
    tasks: list[Task] = [("fail", "bad news"), ("system_exit",), ("echo", 1), ("pid",)]
    with make_pool(1) as pool:
        outcomes = [outcome for _, outcome in pool.map_ordered(tasks)]
        assert outcomes == [
            ItemFailed("exception", "ValueError: bad news"),
            ItemFailed("exception", "SystemExit: 3"),
            1,
            pool.worker_pids[0],
        ]


def test_a_memory_error_is_out_of_memory() -> None:
    with make_pool(1) as pool:
        outcomes = [outcome for _, outcome in pool.map_ordered([("memory_error",), ("echo", 1)])]
    assert outcomes == [ItemFailed("out_of_memory", "MemoryError: no room"), 1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA")
def test_the_memory_limit_holds_for_one_item_and_gives_a_fresh_worker() -> None:
    tasks: list[Task] = [
        ("pid",),
        ("allocate", 50_000_000),
        ("allocate", 2_000_000_000),
        ("allocate", 50_000_000),
        ("pid",),
    ]
    with make_pool(1, memory_limit_bytes=200_000_000) as pool:
        outcomes = [outcome for _, outcome in pool.map_ordered(tasks)]
    assert outcomes[1:4] == [50_000_000, ItemFailed("out_of_memory", "MemoryError"), 50_000_000]
    assert outcomes[0] != outcomes[4]


def test_what_cannot_be_pickled_is_the_failure_of_one_item() -> None:
    tasks: list[Task] = [
        ("unpicklable",),
        ("result_that_cannot_be_opened",),
        ("echo", lambda: None),
        ("echo", 1),
    ]
    with make_pool(1) as pool:
        outcomes = [outcome for _, outcome in pool.map_ordered(tasks)]
    assert outcomes[3] == 1
    for outcome in outcomes[:3]:
        assert isinstance(outcome, ItemFailed)
        assert outcome.reason == "exception"


def test_a_task_that_kills_whoever_opens_it_costs_itself_alone() -> None:
    tasks: list[Task] = [("echo", 0), ("echo", pool_handlers.DiesWhenUnpickled()), ("echo", 2)]
    with make_pool(1) as pool:
        outcomes = [outcome for _, outcome in pool.map_ordered(tasks)]
    assert outcomes == [0, ItemFailed("crash", "the worker exited with code 7"), 2]


def test_large_tasks_and_results_pass() -> None:
    sent = os.urandom(1024) * 20_000
    with make_pool(2) as pool:
        outcomes = [outcome for _, outcome in pool.map_ordered([("echo", sent)] * 5)]
    assert outcomes == [sent] * 5


@pytest.mark.parametrize("shown", [0, 5])
def test_printing_does_not_corrupt_the_results(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, shown: int
) -> None:
    caplog.set_level("DEBUG" if shown else "INFO", "facesim_index")
    tasks: list[Task] = [("chatter", number) for number in range(5)]
    with make_pool(1) as pool:
        assert [outcome for _, outcome in pool.map_ordered(tasks)] == list(range(5))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("printed by Python") == shown
    assert captured.err.count("written by C") == shown


def test_native_libraries_are_told_to_use_one_thread() -> None:
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
    with make_pool(1) as pool:
        tasks: list[Task] = [("environment", name) for name in names]
        assert [outcome for _, outcome in pool.map_ordered(tasks)] == ["1"] * 3


def test_a_replacement_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), make_pool(1) as pool:
        list(pool.map_ordered([("leave", 3)]))
    (message,) = caplog.messages
    assert "is replaced: the worker exited with code 3" in message


# The pool's own failure


def test_an_error_of_ours_while_making_the_handler_is_raised_as_itself() -> None:
    with (
        WorkerPool(pool_handlers.make_model_error, None, PoolSettings(2)) as pool,
        pytest.raises(ModelError, match="weights are not here"),
    ):
        list(pool.map_ordered([("echo", 1)]))


def test_another_error_while_making_the_handler_is_the_cause() -> None:
    with (
        WorkerPool(pool_handlers.make_key_error, None, PoolSettings(2)) as pool,
        pytest.raises(PipelineError, match="KeyError: 'missing'") as caught,
    ):
        list(pool.map_ordered([("echo", 1)]))
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_error_that_cannot_travel_is_told_in_words() -> None:
    with (
        WorkerPool(pool_handlers.make_unpicklable_error, None, PoolSettings(1)) as pool,
        pytest.raises(PipelineError, match="UnpicklableError: odd") as caught,
    ):
        list(pool.map_ordered([("echo", 1)]))
    assert caught.value.__cause__ is None


def test_workers_that_die_at_the_start_are_given_up(tmp_path: Path) -> None:
    with (
        WorkerPool(pool_handlers.make_nothing, str(tmp_path), PoolSettings(1)) as pool,
        pytest.raises(PipelineError, match=r"3 worker processes in a row.* code 9"),
    ):
        list(pool.map_ordered([("echo", 1)]))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_start_that_fails_twice_is_tried_again(tmp_path: Path) -> None:
    settings = HandlerSettings(str(tmp_path))
    with WorkerPool(pool_handlers.make_once, settings, PoolSettings(1)) as pool:
        assert list(pool.map_ordered([("echo", 1)])) == [(("echo", 1), 1)]


def test_settings_that_kill_whoever_opens_them_are_given_up() -> None:
    with (
        WorkerPool(
            pool_handlers.make_slowly, pool_handlers.DiesWhenUnpickled(), PoolSettings(2)
        ) as pool,
        pytest.raises(PipelineError, match="code 7"),
    ):
        list(pool.map_ordered([("echo", 1), ("echo", 2)]))


def test_a_start_that_takes_too_long_is_given_up() -> None:
    bounds = PoolSettings(1, start_timeout_s=0.5)
    with (
        WorkerPool(pool_handlers.make_slowly, None, bounds) as pool,
        pytest.raises(PipelineError, match=r"not ready within 0\.5 s"),
    ):
        list(pool.map_ordered([("echo", 1)]))


def test_a_handler_that_cannot_be_imported_is_refused() -> None:
    with pytest.raises(PipelineError, match="cannot be sent"):
        WorkerPool(lambda settings: lambda task: task, None, PoolSettings(1))


@pytest.mark.parametrize(
    "bounds",
    [
        {"workers": 0},
        {"workers": 1, "window": 0},
        {"workers": 1, "memory_limit_bytes": 0},
        {"workers": 1, "timeout_s": 0.0},
        {"workers": 1, "timeout_s": float("nan")},
        {"workers": 1, "start_timeout_s": float("inf")},
    ],
)
def test_bounds_out_of_range_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=list(bounds)[-1]):
        PoolSettings(**bounds)


# Stopping


def test_should_stop_finishes_what_was_started_and_pulls_no_more(tmp_path: Path) -> None:
    pulled = itertools.count()
    seen: list[object] = []
    with make_pool(2, trail=tmp_path) as pool:
        tasks = (("echo", number) for number in pulled)
        for _, outcome in pool.map_ordered(tasks, should_stop=lambda: len(seen) >= 10):
            seen.append(outcome)
        assert len(seen) >= 10
        assert seen == list(range(len(seen)))
        called = {path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
        assert called == {repr(("echo", number)) for number in seen}
        assert next(pulled) <= 10 + 32
        # Stopping is no failure: the workers are there for the next stream.
        assert [outcome for _, outcome in pool.map_ordered([("echo", 1)])] == [1]


@posix_only
def test_a_stop_before_the_start_does_nothing() -> None:
    tasks: Iterator[Task] = iter([("echo", 1)])
    with make_pool(2) as pool:
        assert list(pool.map_ordered(tasks, should_stop=lambda: True)) == []
        assert not children()
    assert next(tasks) == ("echo", 1)


def test_a_stop_drops_what_no_worker_was_sent() -> None:
    pulled = itertools.count()
    with WorkerPool(pool_handlers.make_slowly, None, PoolSettings(2)) as pool:
        tasks = (("echo", number) for number in pulled)
        polls = itertools.count()
        assert list(pool.map_ordered(tasks, should_stop=lambda: next(polls) == 3)) == []
    assert next(pulled) == 3


def test_should_stop_is_asked_while_waiting() -> None:
    polls = 0

    def ask() -> bool:
        nonlocal polls
        polls += 1
        return False

    with make_pool(1) as pool:
        list(pool.map_ordered([("echo", 1)]))
        polls = 0
        list(pool.map_ordered([("sleep", 1.0)], should_stop=ask))
    assert polls >= 5


def test_a_crash_after_the_stop_loses_nothing_that_was_sent(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    pulled = polls_when_sent = 0

    def tasks() -> Iterator[Task]:
        nonlocal pulled
        for task in [("echo", 0), ("wait_for_and_leave", str(gate)), ("echo", 2), ("echo", 3)]:
            pulled += 1
            yield task

    def stop() -> bool:
        nonlocal polls_when_sent
        polls_when_sent += pulled == 3  # then the second one runs and the third one waits
        if polls_when_sent >= 2:
            gate.touch()
        return gate.exists()

    with make_pool(1) as pool:
        outcomes = [outcome for _, outcome in pool.map_ordered(tasks(), should_stop=stop)]
    assert outcomes == [0, ItemFailed("crash", "the worker exited with code 3"), 2]


def test_an_exception_of_the_stream_follows_the_outcomes_before_it() -> None:
    def tasks() -> Iterator[Task]:
        yield ("echo", 1)
        yield ("echo", 2)
        raise LookupError("the stream broke")

    with make_pool(2) as pool:
        outcomes = pool.map_ordered(tasks())
        assert [next(outcomes)[1], next(outcomes)[1]] == [1, 2]
        with pytest.raises(LookupError, match="the stream broke"):
            next(outcomes)
        assert not pool.worker_pids


def test_an_interrupt_in_the_stream_is_raised_at_once() -> None:
    def tasks() -> Iterator[Task]:
        yield ("hang",)
        raise KeyboardInterrupt

    with make_pool(2) as pool, pytest.raises(KeyboardInterrupt):
        list(pool.map_ordered(tasks()))


@posix_only
def test_closing_the_iterator_stops_the_workers(tmp_path: Path) -> None:
    announce = tmp_path / "pid"
    pool = make_pool(2)
    tasks: list[Task] = [("echo", 1), ("hang", str(announce)), ("echo", 2)]
    outcomes = pool.map_ordered(tasks)
    assert next(outcomes)[1] == 1
    pids = pool.worker_pids
    outcomes.close()
    assert not children()
    assert not any(is_running(pid) for pid in pids)
    pool.close()


@posix_only
def test_a_worker_that_ignores_its_dismissal_is_killed(tmp_path: Path) -> None:
    announce = tmp_path / "pid"
    with make_pool(1) as pool:
        outcomes = pool.map_ordered(
            [("hang_with_lock", str(announce))], should_stop=lambda: interrupt_if(announce.exists())
        )
        with pytest.raises(KeyboardInterrupt):
            next(outcomes)
        assert not children()


def interrupt_if(condition: bool) -> bool:
    if condition:
        raise KeyboardInterrupt
    return False


def test_close_may_be_repeated_and_is_final() -> None:
    pool = make_pool(1)
    outcomes = pool.map_ordered([("echo", number) for number in range(5)])
    assert next(outcomes) == (("echo", 0), 0)
    pool.close()
    pool.close()
    with pytest.raises(PipelineError, match="closed"):
        next(outcomes)
    with pytest.raises(PipelineError, match="closed"):
        pool.map_ordered([("echo", 1)])


def test_kill_stops_an_iteration_from_another_thread(tmp_path: Path) -> None:
    announce = tmp_path / "pid"
    with make_pool(1) as pool:

        def kill_it() -> None:
            announced_pid(announce)
            pool.kill()

        killer = threading.Thread(target=kill_it)
        killer.start()
        with pytest.raises(PipelineError, match="closed"):
            list(pool.map_ordered([("hang", str(announce))]))
        killer.join()


def test_kill_between_two_outcomes_leaves_nothing() -> None:
    pool = make_pool(2)
    outcomes = pool.map_ordered(("echo", number) for number in itertools.count())
    next(outcomes)
    pool.kill()
    assert pool.worker_pids == ()
    with pytest.raises(PipelineError, match="closed"):
        next(outcomes)


def test_one_stream_at_a_time() -> None:
    with make_pool(1) as pool:
        outcomes = pool.map_ordered([("echo", number) for number in range(5)])
        next(outcomes)
        with pytest.raises(PipelineError, match="already"):
            next(pool.map_ordered([("echo", 1)]))
        assert [outcome for _, outcome in outcomes] == [1, 2, 3, 4]


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
