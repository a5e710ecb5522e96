"""How a pool fails, stops, closes and is killed."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesim_index.errors import ModelError, PipelineError, UsageError
from facesim_index.workers.pool import ItemFailed, PoolSettings, WorkerPool
from tests.workers import handlers as pool_handlers
from tests.workers.handlers import HandlerSettings, Task
from tests.workers.pools import announced_pid, children, is_running, make_pool, posix_only

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
