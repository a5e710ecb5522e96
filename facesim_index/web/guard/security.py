"""Who may talk to the server: checked for every request before anything else sees it.

The page of another site must not reach an index through the browser of somebody who visits it:

- the ``Host`` must be one of this server's names; otherwise an attacker could let any name point
  at this machine (DNS rebinding);
- a request that comes from another site or another port, as the browser says in ``Origin`` and
  ``Sec-Fetch-Site``, is refused unless it only opens a page (CSRF);
- responses may not be embedded anywhere, and load nothing from elsewhere
  (Content-Security-Policy).

Where there is a token, a client that does not give it sees nothing but the login page.
"""

import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.problems import ProblemError, problem_response
from facesim_index.web.guard.receiving import beginning, paced

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
LOGIN_PATH = "/login"
LOGIN_METHODS = frozenset({"GET", "POST"})
STATIC_PATH = "/static/"
COOKIE = "facesim_session"

_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer" a browser would send "Origin: null" for our own forms, too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_OURS = frozenset({"same-origin", "none"})
_MOST_FORM_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guard asks for.

    Attributes
    ----------
    hosts : frozenset of str
        Names of this server, lower case, without ports.
    token : str or None
        The secret that a client must know; None asks for none.
    limits : Limits
        How slowly a login may come.
    """

    hosts: frozenset[str]
    token: str | None = None
    limits: Limits = field(default_factory=Limits)


class Guard:
    """The outermost application: refuses forbidden requests, and adds headers to every response.

    Parameters
    ----------
    app : ASGI application
        Answers the requests that are let in.
    guarded : Guarded
    """

    def __init__(self, app: ASGIApp, guarded: Guarded) -> None:
        self._app = app
        self._guarded = guarded
        self._session = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Parameters
        ----------
        scope : Scope
        receive : Receive
        send : Send
            As ASGI defines them.
        """
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                kept = scope["path"].startswith(STATIC_PATH)
                headers.setdefault("Cache-Control", "no-cache" if kept else "no-store")
            await send(message)

        response = await self._refusal(scope, receive)
        if response is None:
            await self._app(scope, receive, sealed)
        else:
            await response(scope, receive, sealed)

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        headers = Headers(scope=scope)
        problem = self._foreign(scope, headers)
        if problem is not None:
            return problem_response(problem)
        if self._guarded.token is None:
            logs_in = scope["path"] == LOGIN_PATH and scope["method"] in LOGIN_METHODS
            return RedirectResponse("/", 303) if logs_in else None
        if scope["path"] == LOGIN_PATH and scope["method"] == "POST":
            return await self._login(receive)
        if scope["path"] == LOGIN_PATH or scope["path"].startswith(STATIC_PATH):
            return None
        if self._knows_token(headers):
            return None
        if scope["method"] in _SAFE_METHODS and "text/html" in headers.get("accept", ""):
            return RedirectResponse(f"{LOGIN_PATH}?next={quote(_target(scope))}", 303)
        problem = ProblemError(401, "token", "give the server's token: Authorization: Bearer ...")
        return problem_response(problem, headers={"WWW-Authenticate": "Bearer"})

    def _foreign(self, scope: Scope, headers: Headers) -> ProblemError | None:
        """Return why a request may not come from where it comes, or None when it may."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0], scope):
            detail = "this server does not go by that name; use the address that it printed"
            return ProblemError(421, "host", detail)
        if _only_opens(scope, headers):
            return None
        origins = headers.getlist("origin")
        foreign = any(not _same(origin, hosts[0]) for origin in origins)
        if foreign or headers.get("sec-fetch-site", "none") not in _OURS:
            detail = "requests from other sites are not answered; open the server's own page"
            return ProblemError(403, "origin", detail)
        return None

    def _is_ours(self, host: str, scope: Scope) -> bool:
        name = _host_name(host)
        if name is None:
            return False
        return name in self._guarded.hosts or name == _own_address(scope)

    def _knows_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(given.strip(), self._guarded.token or ""):
            return True
        sessions = (value for field in headers.getlist("cookie") for value in _sessions(field))
        return any(_equal(session, self._session) for session in sessions)

    async def _login(self, receive: Receive) -> Response:
        """Give a client that knows the token a cookie, and redirect it to the page it asked for."""
        limits = self._guarded.limits
        try:
            body = await beginning(paced(receive, limits), limits, _MOST_FORM_BYTES + 1)
        except ProblemError as problem:
            return problem_response(problem)
        sent = b"" if body is None or body.more else body.data
        form = parse_qs(sent.decode("utf-8", "replace"))
        target = _safe_target(form.get("next", ["/"])[0])
        if not _equal(form.get("token", [""])[0], self._guarded.token or ""):
            return RedirectResponse(f"{LOGIN_PATH}?wrong=1&next={quote(target)}", 303)
        response = RedirectResponse(target, 303)
        response.set_cookie(COOKIE, self._session, httponly=True, samesite="strict", path="/")
        return response


def loopback_hosts(more: Iterable[str] = ()) -> frozenset[str]:
    """Return the names that this machine has for itself, and some more.

    Parameters
    ----------
    more : iterable of str, optional

    Returns
    -------
    frozenset of str
        Lower case.

    Examples
    --------
    >>> sorted(loopback_hosts(["Photos.local"]))
    ['127.0.0.1', '::1', 'localhost', 'photos.local']
    """
    return frozenset({"127.0.0.1", "localhost", "::1", *(name.lower() for name in more)})


def _host_name(host: str) -> str | None:
    """Return the name in a ``Host`` without its port, lower case; None where it is not valid."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.netloc != host or parts.username is not None or parts.path:
        return None
    return None if parts.hostname is None else parts.hostname.lower()


def _own_address(scope: Scope) -> str | None:
    """Return the IP address at which a request arrived: no attacker can let it point here."""
    server = scope.get("server")
    try:
        return None if server is None else str(ipaddress.ip_address(server[0]))
    except ValueError:
        return None


def _only_opens(scope: Scope, headers: Headers) -> bool:
    """Tell whether a browser asks for a page to show by itself, as when a link is followed."""
    opens = headers.get("sec-fetch-mode") == "navigate"
    whole = headers.get("sec-fetch-dest", "document") == "document"
    return scope["method"] in _SAFE_METHODS and opens and whole


def _same(origin: str, host: str) -> bool:
    scheme, separator, rest = origin.partition("://")
    return bool(separator) and scheme in ("http", "https") and rest.lower() == host.lower()


def _sessions(field: str) -> list[str]:
    """Return what a ``Cookie`` field gives as our cookie.

    Cookies have no ports: other programs on this host set theirs, with any text in them, and the
    library's own parser gives up at the first that does not please it.
    """
    parts = (part.partition("=") for part in field.split(";"))
    return [value.strip() for name, _, value in parts if name.strip() == COOKIE]


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8"))


def _target(scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    return str(scope["path"]) + (f"?{query}" if query else "")


def _safe_target(target: str) -> str:
    """Return a target where it is a path of this server, otherwise the first page."""
    inside = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if inside and target.isprintable() else "/"
