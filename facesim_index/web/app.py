"""The application: every route, every limit, and the guard around them all."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from facesim_index.engine.base import EngineSource
from facesim_index.errors import FacesimError
from facesim_index.version import __version__
from facesim_index.web.api import docs_page, edit_routes, read_routes
from facesim_index.web.api.openapi import describe
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.methods import MethodCheck
from facesim_index.web.guard.problems import answer_errors
from facesim_index.web.guard.security import LOGIN_METHODS, LOGIN_PATH, Guard, Guarded
from facesim_index.web.pages import routes
from facesim_index.web.service.service import Service

STATIC_FOLDER = Path(__file__).parent / "static"

_UPLOADS_AT_ONCE = 4
_TIDY_S = 5.0
_ABOUT = (
    "Which faces in an index of photos are alike, and how sure that is. Every path names things "
    "by the ids that other answers give; errors are problem documents (RFC 9457)."
)


class FacesimApp(FastAPI):
    """FastAPI with the guard outermost: even its own error pages go through it."""

    guarded = Guarded(frozenset())

    def build_middleware_stack(self) -> ASGIApp:
        """Return the whole application.

        Returns
        -------
        ASGI application
        """
        app = super().build_middleware_stack()
        return Guard(MethodCheck(app, self.routes, {LOGIN_PATH: LOGIN_METHODS}), self.guarded)


def create_app(
    index_path: Path,
    *,
    edit: bool = False,
    token: str | None = None,
    hosts: frozenset[str],
    engine: EngineSource | None = None,
    limits: Limits | None = None,
) -> FastAPI:
    """Make the application that serves an index.

    Parameters
    ----------
    index_path : Path
    edit : bool, default=False
        Allow what changes the people.
    token : str, optional
        The secret that a client must know; by default none is asked for.
    hosts : frozenset of str
        Names by which this server may be called, lower case, without ports.
    engine : EngineSource, optional
        Which engine reads uploads; by default the one that the index was built with.
    limits : Limits, optional
        By default `Limits()`.

    Returns
    -------
    FastAPI
        Its ``state.service`` is the `Service` that the routes ask.
    """
    service = Service(index_path, edit=edit, engine=engine, limits=limits)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        tidying = asyncio.create_task(_tidy(service))
        try:
            yield
        finally:
            tidying.cancel()
            service.close()

    app = FacesimApp(
        title="facesim",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.guarded = Guarded(hosts, token)
    app.state.service = service
    app.state.uploads = asyncio.Semaphore(_UPLOADS_AT_ONCE)
    answer_errors(app)
    describe(app)
    for router in (
        read_routes.router,
        edit_routes.router,
        edit_routes.jobs_router,
        docs_page.router,
        routes.router,
    ):
        # Not included, which would build every route anew for each application: a third of a
        # second at its first request.
        app.router.routes.extend(router.routes)
    app.mount(docs_page.SWAGGER_PATH, StaticFiles(directory=docs_page.SWAGGER_FOLDER))
    app.mount("/static", StaticFiles(directory=STATIC_FOLDER))
    return app


async def _tidy(service: Service) -> None:
    while True:
        await asyncio.sleep(_TIDY_S)
        with contextlib.suppress(FacesimError):  # the next request tells what is wrong
            await run_in_threadpool(service.refresh)
