"""The command ``facesim``."""

import contextlib
import errno
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from facesim_index import __version__
from facesim_index.errors import FacesimError, UsageError

from . import (
    calibrate,
    evaluate,
    export,
    forget,
    ingest,
    models,
    people,
    query,
    serve,
    snapshots,
    upkeep,
)
from .interrupts import INTERRUPTED_EXIT_CODE
from .output import printable
from .state import TYPED, State

_LONGEST_MESSAGE = 10_000


@contextlib.contextmanager
def _printable_usage_errors() -> Iterator[None]:
    """Let no word of the command line steer the terminal that a complaint is shown on."""
    try:
        yield
    except click.ClickException as error:
        error.message = _shortened(printable(error.message))  # type: ignore[misc]
        raise


def _shortened(message: str) -> str:
    """Return a message without its middle where it repeats a megabyte that somebody typed."""
    if len(message) <= _LONGEST_MESSAGE:
        return message
    half = _LONGEST_MESSAGE // 2
    return f"{message[:half]} ... {message[-half:]}"


class _PrintableFormatter(logging.Formatter):
    """Shows names of files in log messages without letting them steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record; only what is for developers keeps its line feeds."""
        text = super().format(record)
        lines = text.split("\n") if record.levelno <= logging.DEBUG else [text]
        return "\n".join(map(printable, lines))


class FacesimGroup(click.Group):
    """A group that turns our errors into messages and exit codes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what was typed: a report tells it."""
        ctx.meta[TYPED] = tuple(args)
        with _printable_usage_errors():
            if any("\0" in word for word in args):
                raise click.UsageError("no word of a command may hold a NUL", ctx)
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        try:
            with _printable_usage_errors():
                return super().invoke(ctx)
        except FacesimError as error:
            click.echo(f"Error: {_shortened(printable(str(error)))}", err=True)
            ctx.exit(2 if isinstance(error, UsageError) else 1)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            click.echo(f"Error: {_shortened(printable(str(error)))}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("\nStopped at once.  What was committed before is whole.", err=True)
            ctx.exit(INTERRUPTED_EXIT_CODE)


@click.group(
    cls=FacesimGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: facesim ingest ~/Pictures && facesim query me.jpg",
)
@click.option(
    "--index",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The index to use.  [default: $FACESIM_INDEX, else ./faces.facesim]",
)
@click.option("-v", "--verbose", count=True, help="Tell more; twice for everything.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no messages but errors.")
@click.version_option(__version__, prog_name="facesim")
@click.pass_context
def main(ctx: click.Context, index: Path | None, verbose: int, quiet: bool) -> None:
    """Find which faces in your photos are alike, and how sure that is.

    Results go to standard output, progress and messages to standard error.
    """
    state = ctx.ensure_object(State)
    state.index = index
    state.quiet = quiet
    _configure_logging(verbose, quiet=quiet)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name in letters that the terminal lacks
        sys.stdout.reconfigure(errors="backslashreplace")


def _configure_logging(verbose: int, *, quiet: bool) -> None:
    level = (
        logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("facesim_index")
    logger.handlers[:] = [handler]
    logger.setLevel(level)


main.add_command(ingest.ingest)
main.add_command(query.query)
main.add_command(query.compare)
main.add_command(people.people)
main.add_command(serve.serve)
main.add_command(export.export)
main.add_command(calibrate.calibrate)
main.add_command(evaluate.evaluate)
for command in (upkeep.status, upkeep.errors, upkeep.compact, upkeep.verify):
    main.add_command(command)
main.add_command(snapshots.snapshot)
main.add_command(snapshots.restore)
main.add_command(forget.forget)
main.add_command(forget.audit)
main.add_command(models.models)
main.add_command(upkeep.doctor)
