"""What comes from a client: how large a body may be, how slowly it may come, and who hung up."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Message, Receive

from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.problems import GoneError, ProblemError

MOST_BODY_BYTES = 2_000_000
"""How many bytes the body of a request may have that is no upload."""
FIRST_BYTES = 65_536
"""How many bytes of a body must be there before its request takes a place.

As many as uvicorn keeps of each connection, so that they cost no more memory.
"""


def paced(receive: Receive, limits: Limits) -> Receive:
    """Return what receives a body, and gives up one that comes too slowly.

    Only the time is counted in which the server waits for the client.

    Parameters
    ----------
    receive : Receive
    limits : Limits
        `Limits.least_bytes_s` over `Limits.pace_s`.

    Returns
    -------
    Receive
        It raises a `ProblemError` of status 408 for a body that is too slow.
    """
    waited_s, n_bytes = 0.0, 0

    async def receive_paced() -> Message:
        nonlocal waited_s, n_bytes
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(0.0, limits.pace_s - waited_s)):
                message = await receive()
        except TimeoutError:
            detail = (
                f"the request came with less than {limits.least_bytes_s:,} bytes a second; "
                "send it over a faster connection"
            )
            raise ProblemError(408, "slow_upload", detail) from None
        waited_s += asyncio.get_running_loop().time() - started
        n_bytes += len(message.get("body", b""))
        if n_bytes >= limits.least_bytes_s * limits.pace_s:
            waited_s, n_bytes = 0.0, 0
        return message

    return receive_paced


_gone: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("gone", default=None)


@dataclass(frozen=True, slots=True)
class Arrived:
    """What has come of a body.

    Attributes
    ----------
    data : bytes
    more : bool
        Whether more is to come.
    """

    data: bytes
    more: bool


async def beginning(
    receive: Receive, limits: Limits, least_bytes: int = FIRST_BYTES
) -> Arrived | None:
    """Receive a body until so much of it is there, or to its end.

    Parameters
    ----------
    receive : Receive
    limits : Limits
        `Limits.upload_s` is the longest time.
    least_bytes : int, optional
        By default `FIRST_BYTES`.

    Returns
    -------
    Arrived or None
        None when the client has gone.

    Raises
    ------
    ProblemError
        The body does not come in time; status 408.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(limits.upload_s):
            while len(body) < least_bytes:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    return Arrived(bytes(body), more=False)
    except TimeoutError:
        detail = f"the request did not come within {limits.upload_s:g} s"
        raise ProblemError(408, "slow_upload", detail) from None
    return Arrived(bytes(body), more=True)


async def whole(begun: Arrived, receive: Receive, limits: Limits) -> Arrived | None:
    """Receive the rest of a body that is no upload.

    Parameters
    ----------
    begun : Arrived
    receive : Receive
    limits : Limits

    Returns
    -------
    Arrived or None
        None when the client has gone before the end.

    Raises
    ------
    ProblemError
        The body has more than `MOST_BODY_BYTES` (status 413), or does not come in time
        (status 408).
    """
    left = MOST_BODY_BYTES + 1 - len(begun.data)
    rest = await beginning(receive, limits, left) if begun.more else Arrived(b"", more=False)
    if rest is not None and len(rest.data) >= left:
        detail = f"a request may have {MOST_BODY_BYTES:,} bytes at most"
        raise ProblemError(413, HTTPStatus(413).name.lower(), detail)
    return None if rest is None else Arrived(begun.data + rest.data, more=False)


def received(arrived: Arrived, receive: Receive) -> Receive:
    """Return what receives what has come already, and then what still comes.

    Parameters
    ----------
    arrived : Arrived
    receive : Receive

    Returns
    -------
    Receive
    """
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": arrived.data, "more_body": arrived.more}

    return receive_again


def require_client() -> None:
    """End long work whose client has hung up; to be called from time to time in it.

    Raises
    ------
    GoneError
        Nobody waits for the answer any more.
    """
    gone = _gone.get()
    if gone is not None and gone.is_set():
        raise GoneError


@contextlib.asynccontextmanager
async def watched(receive: Receive) -> AsyncGenerator[None, None]:
    """Let `require_client` know of a client whose whole request is there, in this context.

    Parameters
    ----------
    receive : Receive

    Yields
    ------
    None
    """
    gone = threading.Event()

    async def watch() -> None:
        await wait_until_gone(receive)
        gone.set()

    before = _gone.set(gone)
    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        _gone.reset(before)


async def wait_until_gone(receive: Receive) -> None:
    """Wait until a client hangs up whose request has come to its end.

    Parameters
    ----------
    receive : Receive
    """
    while (await receive())["type"] != "http.disconnect":
        await asyncio.sleep(0)
