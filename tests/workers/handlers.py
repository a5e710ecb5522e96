"""Handlers for the workers of test_pipeline.py, importable by name in another process.

A task is a tuple of a verb and its arguments; `make_handler` answers it.
"""

import ctypes
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facesim_index.errors import ModelError

Task = tuple[object, ...]


@dataclass(frozen=True)
class HandlerSettings:
    """What the handlers of one pool share; each call leaves a line in the folder `trail`."""

    trail: str | None = None


class UnpicklableError(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class DiesWhenUnpickled:
    """A task or setting that ends the process that receives it."""

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return os._exit, (7,)


def make_handler(settings: HandlerSettings) -> Callable[[Task], object]:
    def handler(task: Task) -> object:
        if settings.trail is not None:
            note(Path(settings.trail), task)
        verb, *arguments = task
        action = getattr(Verbs, str(verb))
        result: object = action(*arguments)
        return result

    return handler


def note(trail: Path, task: Task) -> None:
    """Leave a file for one call, so that a test can count calls across processes."""
    (trail / f"{time.time_ns()}-{os.getpid()}-{random.getrandbits(32)}").write_text(
        repr(task), encoding="utf-8"
    )


class Verbs:
    @staticmethod
    def echo(value: object) -> object:
        return value

    @staticmethod
    def pid(*_: object) -> int:
        return os.getpid()

    @staticmethod
    def sleep(seconds: float, value: object = None) -> object:
        time.sleep(seconds)
        return value

    @staticmethod
    def wait_for(path: str, value: object = None) -> object:
        """Return once the file `path` exists."""
        while not Path(path).exists():
            time.sleep(0.01)
        return value

    @staticmethod
    def wait_for_and_leave(path: str) -> None:
        Verbs.wait_for(path)
        os._exit(3)

    @staticmethod
    def announce_and_wait(mine: str, theirs: str) -> bool:
        """Return once both files exist, ours by our doing."""
        Path(mine).touch()
        Verbs.wait_for(theirs)
        return True

    @staticmethod
    def announce(path: str) -> int:
        """Write our process id to `path` and return it."""
        announce_pid(path)
        return os.getpid()

    @staticmethod
    def hang(announce: str | None = None) -> None:
        """Sleep for ever, having written our process id to `announce`."""
        announce_pid(announce)
        time.sleep(3600)

    @staticmethod
    def hang_with_lock(announce: str | None = None) -> None:
        """Sleep for ever in C while holding the interpreter lock."""
        announce_pid(announce)
        ctypes.PyDLL(None).sleep(3600)

    @staticmethod
    def hang_with_child(announce: str) -> None:
        """Fork a process that keeps all our descriptors and announces itself, then hang."""
        if os.fork() == 0:
            announce_pid(announce)
        time.sleep(3600)

    @staticmethod
    def leave(code: int) -> None:
        os._exit(code)

    @staticmethod
    def die_of(signal_number: int) -> None:
        os.kill(os.getpid(), signal_number)
        time.sleep(3600)

    @staticmethod
    def segfault() -> None:
        ctypes.string_at(0)

    @staticmethod
    def fail(message: str) -> None:
        raise ValueError(message)

    @staticmethod
    def system_exit() -> None:
        sys.exit(3)

    @staticmethod
    def memory_error() -> None:
        raise MemoryError("no room")

    @staticmethod
    def allocate(size_bytes: int) -> int:
        return len(bytearray(size_bytes))

    @staticmethod
    def unpicklable() -> object:
        return lambda: None

    @staticmethod
    def result_that_cannot_be_opened() -> object:
        return UnpicklableError("a", "b")

    @staticmethod
    def chatter(value: object) -> object:
        """Print to standard output from Python and from below it; read standard input."""
        sys.stdout.write("printed by Python\n")
        os.write(1, b"written by C\n")
        sys.stdin.read()
        return value

    @staticmethod
    def environment(name: str) -> str | None:
        return os.environ.get(name)


def announce_pid(path: str | None) -> None:
    """Write our process id to `path`, whole or not at all."""
    if path is not None:
        temporary = Path(f"{path}.tmp")
        temporary.write_text(str(os.getpid()), encoding="ascii")
        temporary.rename(path)


def make_model_error(settings: object) -> Callable[[Task], object]:
    raise ModelError("weights are not here")


def make_key_error(settings: object) -> Callable[[Task], object]:
    raise KeyError("missing")


def make_unpicklable_error(settings: object) -> Callable[[Task], object]:
    raise UnpicklableError("odd", "error")


def make_nothing(settings: object) -> Callable[[Task], object]:
    """Die instead of making a handler, and count the tries in the folder `settings`."""
    note(Path(str(settings)), ())
    os._exit(9)


def make_slowly(settings: object) -> Callable[[Task], object]:
    time.sleep(3600)
    raise AssertionError


def make_once(settings: HandlerSettings) -> Callable[[Task], object]:
    """Die at the first two tries, then work."""
    assert settings.trail is not None
    note(Path(settings.trail), ("make",))
    if len(list(Path(settings.trail).iterdir())) <= 2:
        os._exit(9)
    return make_handler(HandlerSettings())
