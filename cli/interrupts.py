"""Ctrl-C once asks a job to finish what it holds; twice stops it at once."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import click

INTERRUPTED_EXIT_CODE = 130


@contextlib.contextmanager
def graceful_interrupt(message: str) -> Iterator[Callable[[], bool]]:
    """Catch the first interrupt for the length of the block.

    Parameters
    ----------
    message : str
        Shown when it comes.

    Yields
    ------
    callable
        Tells whether it has come.
    """
    came = False

    def note(_signal: int, _frame: FrameType | None) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True
        click.echo(f"\n{message}", err=True)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
