"""Which methods a path has: any other is answered with 405, and with those that there are."""

import re
from collections.abc import Iterable, Mapping

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from facesim_index.web.guard.problems import ProblemError, problem_response

_OF_FILES = frozenset({"GET", "HEAD"})


class MethodCheck:
    """Refuses methods that a path does not have, before any route is chosen.

    A router takes the first route that fits: without this, ``PATCH /v1/people/undo`` would be a
    request to change the person called "undo".

    Parameters
    ----------
    app : ASGI application
        Answers the requests that are let through, also those of paths that do not exist.
    routes : iterable of BaseRoute
        All routes of the application.
    more : mapping of str to frozenset of str, optional
        Methods of paths that are answered elsewhere.

    Raises
    ------
    TypeError
        A route is neither a path nor a mount.
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Iterable[BaseRoute],
        more: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self._app = app
        self._fixed: dict[str, frozenset[str]] = dict(more or {})
        self._patterns: dict[re.Pattern[str], frozenset[str]] = {}
        for route in routes:
            if isinstance(route, Mount):
                self._patterns[route.path_regex] = _OF_FILES
            elif isinstance(route, Route):
                methods = frozenset(route.methods or ())
                if route.param_convertors:
                    known = self._patterns.get(route.path_regex, frozenset())
                    self._patterns[route.path_regex] = known | methods
                else:
                    known = self._fixed.get(route.path, frozenset())
                    self._fixed[route.path] = known | methods
            else:  # such as a router in a router, whose paths would not be checked
                raise TypeError(f"a route of a kind whose methods are not known: {route}")

    def allowed(self, path: str) -> frozenset[str]:
        """Return the methods of a path.

        Parameters
        ----------
        path : str

        Returns
        -------
        frozenset of str
            Empty for a path that does not exist.
        """
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed
        found = [methods for pattern, methods in self._patterns.items() if pattern.match(path)]
        return frozenset().union(*found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Parameters
        ----------
        scope : Scope
        receive : Receive
        send : Send
            As ASGI defines them.
        """
        if scope["type"] == "http":
            allowed = self.allowed(scope["path"])
            if allowed and scope["method"] not in allowed:
                told = ", ".join(sorted(allowed))
                problem = ProblemError(405, "method_not_allowed", f"use {told} for this path")
                response = problem_response(problem, headers={"Allow": told})
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)
