"""Which requests are let in when: each kind has a lane of its own.

Cheap requests never wait behind dear ones.  A request takes no place before its body is there, or
the beginning of an upload: a body that trickles in keeps nobody waiting.
"""

import contextlib
import enum
import functools
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesim_index.web.guard.lanes import RETRY_S, Lane, LaneBounds, Place, client_name
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.problems import GoneError, ProblemError, problem_response
from facesim_index.web.guard.receiving import (
    FIRST_BYTES,
    Arrived,
    beginning,
    paced,
    received,
    wait_until_gone,
    watched,
    whole,
)

_SEARCHES = re.compile(r"/v1/(faces|people)/[^/]+/matches|/people/[^/]+")
_PICTURES = re.compile(r"/v1/(faces/[^/]+/crop|images/[^/]+/picture)")
_STUDIES = frozenset(
    {"/v1/people/review", "/v1/calibration", "/v1/calibration/reliability.svg"}
    | {"/index/calibration"}
)
_UPLOADS = frozenset({"/v1/query", "/v1/compare", "/", "/compare"})
_WITHOUT_BODY = frozenset({"GET", "HEAD"})


class Kind(enum.Enum):
    """What a request asks for, and what is told when too many ask for it."""

    STUDY = "too many questions about all faces are waiting"
    SEARCH = "too many searches are waiting"
    UPLOAD = "too many pictures are being sent"
    EDIT = "too many changes are waiting"
    PICTURE = "too many pictures are waiting to be shown"
    BROWSE = "too many requests are waiting"


class Lanes:
    """A lane for each kind of request.

    Parameters
    ----------
    limits : Limits
    n_cores : int
        How many searches run at a time.
    """

    def __init__(self, limits: Limits, n_cores: int) -> None:
        bounds = {
            Kind.STUDY: LaneBounds(1, 4),
            # More than there are cores: the next ones are ready when one ends.
            Kind.SEARCH: LaneBounds(n_cores + 8, 64),
            Kind.UPLOAD: LaneBounds(8, 16, in_work_of_one=4, wait_s=limits.wait_s),
            Kind.EDIT: LaneBounds(2, 16),
            Kind.PICTURE: LaneBounds(n_cores + 8, 64),
            Kind.BROWSE: LaneBounds(16, 64),
        }
        self._lanes = {kind: Lane(kind.value, bound) for kind, bound in bounds.items()}
        #: Long bodies of requests that are no uploads.
        self.bodies = Lane("too many requests are being sent", LaneBounds(8, 8))
        self.n_threads = sum(bound.in_work for bound in bounds.values())

    def __getitem__(self, kind: Kind) -> Lane:
        return self._lanes[kind]


class Admission:
    """Lets a request through when enough of it is there and its lane has a place.

    The place is kept until the answer begins: a client that reads slowly keeps nobody waiting.

    Parameters
    ----------
    app : ASGI application
        Answers the requests that are let through.
    lanes : Lanes
    limits : Limits
    """

    def __init__(self, app: ASGIApp, lanes: Lanes, limits: Limits) -> None:
        self._app = app
        self._lanes = lanes
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Parameters
        ----------
        scope : Scope
        receive : Receive
        send : Send
            As ASGI defines them.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            place, receive = await self._enter(scope, receive)
        except GoneError:
            return
        except ProblemError as problem:
            retry = {"Retry-After": str(RETRY_S)} if problem.status == 503 else None
            await problem_response(problem, headers=retry)(scope, receive, send)
            return

        async def send_and_leave(message: Message) -> None:
            place.leave()
            await send(message)

        is_long = kind_of(scope) is Kind.STUDY
        try:
            async with watched(receive) if is_long else contextlib.nullcontext():
                await self._app(scope, receive, send_and_leave)
        finally:
            place.leave()

    async def _enter(self, scope: Scope, receive: Receive) -> tuple[Place, Receive]:
        """Return a place for a request, and what receives its body in it."""
        lane, client = self._lanes[kind_of(scope)], client_of(scope)
        begun: Arrived | None = Arrived(b"", more=False)
        coming = paced(receive, self._limits)
        if scope["method"] not in _WITHOUT_BODY:
            begun = await beginning(coming, self._limits)
            if begun is not None and lane is not self._lanes[Kind.UPLOAD]:
                begun = await self._rest(begun, client, coming)
        if begun is None:
            raise GoneError
        if begun.more:  # of a body that is still coming nobody can tell whether its client is there
            return await lane.enter(client), received(begun, coming)
        place = await lane.enter(client, functools.partial(wait_until_gone, receive))
        return place, received(begun, receive)

    async def _rest(self, begun: Arrived, client: str, receive: Receive) -> Arrived | None:
        if len(begun.data) < FIRST_BYTES:  # it has come to its end
            return begun
        arriving = await self._lanes.bodies.enter(client)
        try:
            return await whole(begun, receive, self._limits)
        finally:
            arriving.leave()


def kind_of(scope: Scope) -> Kind:
    """Return what a request asks for.

    Parameters
    ----------
    scope : Scope

    Returns
    -------
    Kind
    """
    path, query = scope["path"], scope["query_string"]
    if scope["method"] == "POST" and path in _UPLOADS:
        return Kind.UPLOAD
    if scope["method"] not in _WITHOUT_BODY:
        return Kind.EDIT
    if path in _STUDIES or (path == "/people/review" and b"ask" in query):
        return Kind.STUDY
    if path == "/people/review":
        return Kind.BROWSE
    if _SEARCHES.fullmatch(path) or (path == "/" and (b"face" in query or b"person" in query)):
        return Kind.SEARCH
    return Kind.PICTURE if _PICTURES.fullmatch(path) else Kind.BROWSE


def client_of(scope: Scope) -> str:
    """Return who sends a request: an address, or the network of an IPv6 address.

    Parameters
    ----------
    scope : Scope

    Returns
    -------
    str
        Empty when nothing is known.
    """
    client = scope.get("client")
    return "" if client is None else client_name(str(client[0]))
