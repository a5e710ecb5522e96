"""What all pages have in common: the frame around them, and a page for each error."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from facesim_index.errors import FacesimError
from facesim_index.web.api.dependencies import service_of
from facesim_index.web.guard.problems import ProblemError, problem_of
from facesim_index.web.pages import wording
from facesim_index.web.pages.rendering import render
from facesim_index.web.service.service import Service

_TITLES = {403: "Not allowed", 404: "Not found", 503: "The index cannot be read"}


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that tells on a page what went wrong.

        Returns
        -------
        callable
            Takes a request and returns a coroutine of its response.
        """
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            try:
                return await handle(request)
            except (ProblemError, FacesimError) as error:
                problem = problem_of(error)
                title = _TITLES.get(problem.status, "This did not work")
                shown = {"title": title, "detail": wording.sentence(problem.detail)}
                return page("problem.html", service_of(request), "", problem.status, **shown)

        return handle_page


def page(
    template: str, service: Service, section: str, status: int = 200, /, **shown: object
) -> HTMLResponse:
    """Return a page.

    Parameters
    ----------
    template : str
        File name of a template.
    service : Service
    section : str
        Address of the part of the site that the page belongs to, such as "/people"; empty for
        none.
    status : int, default=200
        HTTP status.
    **shown : object
        What the template shows beside the frame, by the names that it uses.

    Returns
    -------
    HTMLResponse
    """
    frame = {"edit": service.edit, "section": section, "index_path": str(service.folder)}
    return HTMLResponse(render(template, **frame, **shown), status)
