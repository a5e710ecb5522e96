"""``facesim serve``: a local page and an HTTP API over an index."""

import logging
import os
import secrets
import sys
import threading

import click

from facesim_index.errors import UsageError

from .output import printable
from .state import State, pass_state

_NEEDS = ("fastapi", "uvicorn", "python_multipart", "swagger_ui_bundle")


@click.command(epilog="Example: facesim serve --edit")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8321,
    show_default=True,
    help="0 takes one that is free.",
)
@click.option("--edit", is_flag=True, help="Let people be named, merged, moved and grouped.")
@click.option(
    "--token", envvar="FACESIM_TOKEN", metavar="TEXT", help="What a client must know to be let in."
)
@click.option("--generate-token", is_flag=True, help="Make such a token and show it once.")
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A further name by which the server may be called.",
)
@pass_state
def serve(
    state: State,
    host: str,
    port: int,
    edit: bool,
    token: str | None,
    generate_token: bool,
    hosts: tuple[str, ...],
) -> None:
    """Serve a page to look at the index, and an API (its description is at /docs).

    It only reads, unless --edit is given, and only this machine can reach it.  Uploaded pictures
    are read in processes of their own, and nothing of them is kept.  Ctrl-C ends it.
    """
    _require_extra()
    from facesim_index.web.server import check_address
    from facesim_index.web.server import serve as run

    if token is not None and generate_token:
        raise click.UsageError("give either --token or --generate-token")
    if generate_token:
        token = secrets.token_urlsafe(24)
    check_address(host, token)
    _log_to_stderr()
    with state.open() as index:
        folder = index.path
        state.notice_licence(index.model)

    def tell(address: str) -> None:
        click.echo(f"Serving {printable(str(folder))} at {address}", err=True)
        if generate_token:
            click.echo(f"Token: {token}", err=True)

    run(
        folder,
        host=host,
        port=port,
        edit=edit,
        token=token,
        hosts=hosts,
        engine=state.engine,
        on_ready=tell,
    )
    _leave_threads_behind()


def _require_extra() -> None:
    """Refuse to start without the packages of the extra."""
    from importlib.util import find_spec

    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"facesim serve needs more packages ({', '.join(missing)} is missing): "
            "pip install 'facesim-index[serve]'"
        )


def _leave_threads_behind() -> None:
    """End now, even when a thread is at a long answer that nobody waits for any more."""
    here = threading.current_thread()
    if any(thread is not here and not thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _log_to_stderr() -> None:
    """Let the server's log go where ours goes, and say as much."""
    ours = logging.getLogger("facesim_index")
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
    server = logging.getLogger("uvicorn")
    server.handlers[:] = ours.handlers or [logging.StreamHandler(sys.stderr)]
    server.setLevel(ours.level)
