"""Ctrl-C once asks a job to finish what it holds; twice stops it at once."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import click

from facesim_index.errors import FacesimError

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
    came = twice = False

    def note(_signal: int, _frame: FrameType | None) -> None:
        nonlocal came, twice
        if came:
            twice = True
            raise KeyboardInterrupt
        came = True
        click.echo(f"\n{message}", err=True)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: came
    except FacesimError as error:
        # SQLite tells of an interrupt inside one of its functions as of an error like any other.
        if twice:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
