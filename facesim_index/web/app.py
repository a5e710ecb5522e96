"""The application: every route, every limit, and the guard around them all."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from facesim_index.engine.base import EngineSource
from facesim_index.errors import FacesimError
from facesim_index.utils.threads import usable_cores
from facesim_index.version import __version__
from facesim_index.web.api import docs_page, edit_routes, read_routes
from facesim_index.web.api.openapi import describe
from facesim_index.web.guard.admission import Admission, Lanes
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.methods import MethodCheck
from facesim_index.web.guard.problems import answer_errors
from facesim_index.web.guard.security import LOGIN_METHODS, LOGIN_PATH, Guard, Guarded
from facesim_index.web.pages import routes, search_routes
from facesim_index.web.service.service import Service

STATIC_FOLDER = Path(__file__).parent / "static"

_MORE_THREADS = 16  # to send files, and to tidy
_TIDY_S = 5.0
_ABOUT = (
    "Which faces in an index of photos are alike, and how sure that is. Every path names things "
    "by the ids that other answers give; errors are problem documents (RFC 9457)."
)


class FacesimApp(FastAPI):
    """FastAPI with the guard outermost: even its own error pages go through it."""

    guarded = Guarded(frozenset())
    lanes = Lanes(Limits(), 1)

    def build_middleware_stack(self) -> ASGIApp:
        """Return the whole application.

        Returns
        -------
        ASGI application
        """
        app: ASGIApp = super().build_middleware_stack()
        app = Admission(app, self.lanes, self.guarded.limits)
        app = MethodCheck(app, self.routes, {LOGIN_PATH: LOGIN_METHODS})
        return Guard(app, self.guarded)


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
    limits = limits or Limits()
    service = Service(index_path, edit=edit, engine=engine, limits=limits)
    lanes = Lanes(limits, usable_cores())

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # Enough for all lanes: nobody who has a place waits for a thread.
        threads = anyio.to_thread.current_default_thread_limiter()
        threads.total_tokens = lanes.n_threads + _MORE_THREADS
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
    app.guarded = Guarded(hosts, token, limits)
    app.lanes = lanes
    app.state.service = service
    answer_errors(app)
    describe(app)
    for router in (
        read_routes.router,
        edit_routes.router,
        edit_routes.jobs_router,
        docs_page.router,
        search_routes.router,
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
