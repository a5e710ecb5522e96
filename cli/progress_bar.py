"""The live progress of a job, on standard error."""

import contextlib
import sys
import time
from collections.abc import Iterator

import click

from facesim_index.utils.progress import Progress, ProgressUpdate, ignore

PLAIN_INTERVAL_S = 30.0


@contextlib.contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress]:
    """Show progress for the length of the block.

    A live bar on a terminal, a line now and then elsewhere, nothing when `quiet`.
    """
    if quiet:
        yield ignore
    elif sys.stderr.isatty():
        with _live_bar() as progress:
            yield progress
    else:
        yield _PlainLines()


class _PlainLines:
    """Progress for log files: a line every half minute."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + PLAIN_INTERVAL_S

    def __call__(self, update: ProgressUpdate) -> None:
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + PLAIN_INTERVAL_S
        total = f"/{update.total}" if update.total is not None else ""
        click.echo(
            f"{update.stage}: {update.done}{total}, {update.faces} faces, {update.failures} failed",
            err=True,
        )


@contextlib.contextmanager
def _live_bar() -> Iterator[Progress]:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(bar_width=30),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[found]}"),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, rate="", found="")
        stage = ""

        def show(update: ProgressUpdate) -> None:
            nonlocal stage
            if update.stage != stage:
                stage = update.stage
                bar.reset(task, description=stage, total=update.total)
            speed = bar.tasks[0].speed
            bar.update(
                task,
                completed=update.done,
                total=update.total,
                rate=f"{speed:.1f}/s" if speed else "",
                found=f"{update.faces} faces, {update.failures} failed" if update.faces else "",
            )

        yield show
