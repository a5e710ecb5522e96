"""Running the application: which address, which names, and a clean end."""

import contextlib
import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from facesim_index.engine.base import EngineSource
from facesim_index.errors import StorageError, UsageError
from facesim_index.store.opening import open_store
from facesim_index.web.app import create_app
from facesim_index.web.guard.connections import bounded_protocol, connection_bounds
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.log_limit import LogLimit, limited_log
from facesim_index.web.guard.security import loopback_hosts

LEAST_TOKEN = 16
_PATIENCE_S = 3
_MOST_HEAD_BYTES = 32_768


def serve(
    index_path: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8321,
    edit: bool = False,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    engine: EngineSource | None = None,
    limits: Limits | None = None,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve an index until the process is interrupted.

    Parameters
    ----------
    index_path : Path
    host : str, default="127.0.0.1"
        The address to listen at; one that other machines can reach needs a token.
    port : int, default=8321
        In [0, 65535]; 0 takes a free one.
    edit : bool, default=False
        Allow what changes the people.
    token : str, optional
        The secret that a client must know, of `LEAST_TOKEN` characters or more.
    hosts : tuple of str, optional
        More names by which this server may be called.
    engine : EngineSource, optional
        Which engine reads uploads; by default the one that the index was built with.
    limits : Limits, optional
        By default `Limits()`.
    on_ready : callable, optional
        Called with the server's address once it can be reached.

    Raises
    ------
    UsageError
        The address needs a token, or the token is too short.
    StorageError
        The address cannot be used.
    IndexNotFoundError, IndexVersionError, IndexDamagedError
        There is no index that can be served.
    """
    check_address(host, token)
    limits = limits or Limits()
    open_store(index_path).close()
    with contextlib.closing(_listening(host, port)) as listener:
        address = _address(host, listener.getsockname()[1])
        names = loopback_hosts((*hosts, host))
        app = create_app(
            index_path, edit=edit, token=token, hosts=names, engine=engine, limits=limits
        )
        on_ready(address)
        try:
            with limited_log() as log, contextlib.suppress(KeyboardInterrupt):
                make_server(app, limits, log).run(sockets=[listener])
        finally:
            app.state.service.close()


def make_server(app: FastAPI, limits: Limits, log: LogLimit) -> uvicorn.Server:
    """Return what serves an application within limits.

    Parameters
    ----------
    app : FastAPI
    limits : Limits
    log : LogLimit
        It is asked from time to time to tell what it left out.

    Returns
    -------
    uvicorn.Server
    """
    bounds = connection_bounds(limits)

    async def tell_what_was_left_out() -> None:
        log.tell_old()

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=bounded_protocol(limits, bounds),
            backlog=bounds.backlog,
            h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
            callback_notify=tell_what_was_left_out,
            log_config=None,
            lifespan="on",
            ws="none",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_PATIENCE_S,
        )
    )


def check_address(host: str, token: str | None) -> None:
    """Refuse to be reached from other machines without a token.

    Parameters
    ----------
    host : str
    token : str or None

    Raises
    ------
    UsageError
        Other machines can reach the address and there is no token, or the token is too short.

    Examples
    --------
    >>> check_address("127.0.0.1", None)
    >>> check_address("0.0.0.0", "a token of more than 16 characters")
    """
    if token is not None and len(token) < LEAST_TOKEN:
        raise UsageError(
            f"a token needs {LEAST_TOKEN} characters or more; --generate-token makes one"
        )
    if token is None and not is_loopback(host):
        raise UsageError(
            f"{host} can be reached from other machines: give --token or --generate-token, or "
            "listen at 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address.

    Parameters
    ----------
    host : str
        An IP address or a name.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("192.168.1.2")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    try:
        [(family, kind, protocol, _, place), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen()
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot listen at {host} port {port}: {reason}; choose another with --host and --port"
        ) from error
    return listener


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
