"""How many connections there are, and how long one may stay without a request.

What comes before the first whole head of a request comes before the guard: uvicorn's own protocol
is bounded here.  Its ``limit_concurrency`` would count idle connections too, so that those lock
everybody out; here the one that is idle longest makes room for a new one.  A connection whose
request has not come to its end is idle since it last brought much of it.
"""

import asyncio
import logging
import sys
from collections import Counter, OrderedDict
from dataclasses import dataclass

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from facesim_index.web.guard.lanes import client_name
from facesim_index.web.guard.limits import Limits

logger = logging.getLogger(__name__)

_MOST_BACKLOG = 128
_MUCH_BYTES = 1024  # at a time: a client that sends so much is not trickling


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """How many connections there may be.

    Attributes
    ----------
    in_all : int
    of_one : int
        Of one client.
    backlog : int
        How many may wait at the system until they are looked at.
    """

    in_all: int
    of_one: int
    backlog: int


def connection_bounds(limits: Limits) -> ConnectionBounds:
    """Return how many connections there may be while the process has files left for its work.

    Parameters
    ----------
    limits : Limits

    Returns
    -------
    ConnectionBounds
    """
    in_all, backlog = limits.connections, _MOST_BACKLOG
    if sys.platform != "win32":
        import resource

        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY:
            # Connections are accepted by the backlog, and closed a round later than they are told.
            in_all, backlog = min(in_all, max(8, files // 2)), min(backlog, max(4, files // 8))
    return ConnectionBounds(in_all, min(limits.connections_of_one, in_all), backlog)


class Connections:
    """The connections of a server: a new one takes the place of the one that is idle longest.

    Parameters
    ----------
    bounds : ConnectionBounds
    """

    def __init__(self, bounds: ConnectionBounds) -> None:
        self.bounds = bounds
        self._clients: dict[BoundedProtocol, str] = {}
        self._n_of: Counter[str] = Counter()
        self._idle: OrderedDict[BoundedProtocol, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clients)

    def admit(self, connection: "BoundedProtocol", client: str) -> bool:
        """Count a new connection, which is idle.

        Parameters
        ----------
        connection : BoundedProtocol
        client : str

        Returns
        -------
        bool
            False when there is no room, because all others have a request in work.
        """
        oldest = None
        if self._n_of[client] >= self.bounds.of_one:
            oldest = next((one for one in self._idle if self._clients[one] == client), None)
        elif len(self._clients) >= self.bounds.in_all:
            oldest = next(iter(self._idle), None)
        else:
            self._add(connection, client)
            return True
        if oldest is None:
            logger.warning("closed a new connection: all others have a request in work")
            return False
        logger.warning("closed an idle connection: there were too many")
        oldest.end()
        self.remove(oldest)
        self._add(connection, client)
        return True

    def mark(self, connection: "BoundedProtocol", *, idle: bool) -> None:
        """Note that a connection has just got a part of a request, or all, or has answered it.

        Parameters
        ----------
        connection : BoundedProtocol
        idle : bool
            Whether it has no whole request in work.
        """
        self._idle.pop(connection, None)
        if idle and connection in self._clients:
            self._idle[connection] = None

    def remove(self, connection: "BoundedProtocol") -> None:
        """Count a connection no longer.

        Parameters
        ----------
        connection : BoundedProtocol
        """
        self._idle.pop(connection, None)
        client = self._clients.pop(connection, None)
        if client is not None:
            self._n_of[client] -= 1
            if not self._n_of[client]:
                del self._n_of[client]

    def _add(self, connection: "BoundedProtocol", client: str) -> None:
        self._clients[connection] = client
        self._n_of[client] += 1
        self._idle[connection] = None


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, within bounds; `bounded_protocol` says which."""

    connections_within: Connections
    limits: Limits
    _deadline: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None
    _has_head = False
    _is_whole = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or end at once.

        Parameters
        ----------
        transport : Transport
        """
        super().connection_made(transport)
        client = client_name(self.client[0]) if self.client else ""
        if self.connections_within.admit(self, client):
            self._wait_for_head()
        else:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything.

        Parameters
        ----------
        exc : Exception or None
        """
        self._cancel_timers()
        self.connections_within.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes of a request.

        Parameters
        ----------
        data : bytes
        """
        if not self.transport.is_closing():
            super().data_received(data)
            self._note(len(data))

    def on_response_complete(self) -> None:
        """Wait for the next request; what still comes of the last one does not put that off."""
        super().on_response_complete()
        self._note()

    def pause_writing(self) -> None:
        """Give the client up if it does not fetch its answer."""
        super().pause_writing()
        self._look_at_writing()

    def resume_writing(self) -> None:
        """Stop looking: the answer is fetched."""
        super().resume_writing()
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def end(self) -> None:
        """Close the connection at once."""
        self._cancel_timers()
        self.transport.abort()

    def _note(self, n_bytes: int = 0) -> None:
        """Note how far the request is after so many bytes."""
        cycle: RequestResponseCycle | None = self.cycle
        has_head = cycle is not None and not cycle.response_complete
        is_whole = has_head and not self.cycle.more_body
        if has_head != self._has_head:
            self._has_head = has_head
            if has_head:
                self._stop_waiting()
            else:
                self._wait_for_head()
        if is_whole != self._is_whole or (not is_whole and n_bytes >= _MUCH_BYTES):
            self._is_whole = is_whole
            self.connections_within.mark(self, idle=not is_whole)

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        if self.transport.is_closing():
            self._look_at_writing()
        else:
            self._deadline = self.loop.call_later(self.limits.head_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        """Close a connection on which no request came; what is still to be sent is sent."""
        self._deadline = None
        self.transport.close()
        self._look_at_writing()

    def _look_at_writing(self, before: int | None = None) -> None:
        """End the connection if too little was fetched since the last look."""
        if before is None and self._look is not None:
            return
        left = self.transport.get_write_buffer_size()
        least = int(self.limits.least_bytes_s * self.limits.pace_s)
        if not left:
            self._look = None
        elif before is not None and before - left < min(least, before):
            self.end()
        else:
            self._look = self.loop.call_later(self.limits.pace_s, self._look_at_writing, left)

    def _cancel_timers(self) -> None:
        self._stop_waiting()
        if self._look is not None:
            self._look.cancel()
            self._look = None


def bounded_protocol(limits: Limits, bounds: ConnectionBounds) -> type[BoundedProtocol]:
    """Return the protocol of one server.

    Parameters
    ----------
    limits : Limits
    bounds : ConnectionBounds

    Returns
    -------
    type
        What `uvicorn.Config` takes as ``http``.
    """
    named = {"connections_within": Connections(bounds), "limits": limits}
    return type("ServedProtocol", (BoundedProtocol,), named)
