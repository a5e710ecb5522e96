"""The pool keeps its promises whatever an item does to its worker."""

import itertools
import logging
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesim_index.workers.pool import ItemFailed
from tests.workers import handlers as pool_handlers
from tests.workers.handlers import Task
from tests.workers.pools import announced_pid, children, make_pool, posix_only, wait_until_gone

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


def test_native_libraries_are_told_to_use_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    with make_pool(1) as pool:
        tasks: list[Task] = [("environment", name) for name in names]
        assert [outcome for _, outcome in pool.map_ordered(tasks)] == ["1"] * 3


def test_a_replacement_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), make_pool(1) as pool:
        list(pool.map_ordered([("leave", 3)]))
    (message,) = caplog.messages
    assert "is replaced: the worker exited with code 3" in message
