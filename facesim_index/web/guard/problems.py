"""Errors as ``application/problem+json`` (RFC 9457): what happened, and what to do about it."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ConfigDict, with_config
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on only

from facesim_index import errors
from facesim_index.records import FailureCode
from facesim_index.utils.text import json_text

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

#: First match counts, so the more special errors come first.
_STATUSES: tuple[tuple[type[errors.FacesimError], int, str], ...] = (
    (errors.NoFaceError, 422, "no_face"),
    (errors.PictureError, 422, "picture"),
    (errors.UsageError, 422, "usage"),
    (errors.CalibrationError, 409, "calibration"),
    (errors.IndexLockedError, 409, "index_locked"),
    (errors.IndexNotFoundError, 503, "index_not_found"),
    (errors.IndexVersionError, 503, "index_version"),
    (errors.IndexDamagedError, 503, "index_damaged"),
    (errors.EngineMismatchError, 503, "engine_mismatch"),
    (errors.ModelError, 503, "model"),
    (errors.ProviderError, 503, "provider"),
    (errors.StorageError, 503, "storage"),
    (errors.PipelineError, 503, "workers"),
)
_TOO_LARGE = frozenset({FailureCode.TOO_LARGE, FailureCode.OUT_OF_MEMORY})


@with_config(ConfigDict(use_attribute_docstrings=True))
class Problem(TypedDict):
    """Why a request failed (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    """What happened and what to do, for a person."""
    code: str
    """For programs; never renamed."""


class ProblemError(Exception):
    """A request that is answered with a problem.

    Parameters
    ----------
    status : int
        HTTP status.
    code : str
        For programs; never renamed.
    detail : str
        What happened and what to do, for a person.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class NotFoundError(ProblemError):
    """Nothing in the index has the id that was asked for.

    Parameters
    ----------
    detail : str
        What is missing, for a person.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(404, "not_found", detail)


class GoneError(Exception):
    """The client has hung up: nobody waits for the answer to its request."""


def problem_of(error: Exception) -> ProblemError:
    """Return the problem with which an error is answered.

    Parameters
    ----------
    error : Exception

    Returns
    -------
    ProblemError
        Status 500 and no details for an error that no request should cause: its message may tell
        about the inside of the server.

    Examples
    --------
    >>> problem = problem_of(errors.NoFaceError("the picture has no face"))
    >>> problem.status, problem.code
    (422, 'no_face')
    """
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, errors.PictureError):
        status = 413 if error.code in _TOO_LARGE else 422
        return ProblemError(status, error.code.value, str(error))
    for kind, status, code in _STATUSES:
        if isinstance(error, kind):
            return ProblemError(status, code, str(error))
    return ProblemError(500, "internal", "something went wrong here; the server's log tells what")


def problem_document(problem: ProblemError) -> Problem:
    """Return a problem as its JSON document.

    Parameters
    ----------
    problem : ProblemError

    Returns
    -------
    Problem

    Examples
    --------
    >>> document = problem_document(ProblemError(404, "not_found", "there is no face 7"))
    >>> document["title"], document["status"], document["code"]
    ('Not Found', 404, 'not_found')
    """
    return {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
    }


def problem_response(
    problem: ProblemError,
    *,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, object] | None = None,
) -> Response:
    """Return the response to a request that failed.

    Parameters
    ----------
    problem : ProblemError
    headers : mapping of str to str, optional
        Header fields of the response.
    more : mapping of str to object, optional
        More members of the document.

    Returns
    -------
    Response
    """
    text = json_text({**problem_document(problem), **(more or {})})
    return Response(text, problem.status, dict(headers or {}), MEDIA_TYPE)


def answer_errors(app: FastAPI) -> None:
    """Let an application answer every error with a problem.

    Parameters
    ----------
    app : FastAPI
        It gets a handler for each kind of error.
    """

    async def on_problem(_request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        retry = {"Retry-After": "5"} if problem.status == 503 else None
        return problem_response(problem, headers=retry)

    async def on_invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        told = [
            {"where": ".".join(map(str, one["loc"])), "message": str(one["msg"])}
            for one in error.errors()
        ]
        first = told[0] if told else {"where": "request", "message": "cannot be used"}
        problem = ProblemError(422, "validation", f"{first['where']}: {first['message']}")
        return problem_response(problem, more={"errors": told})

    async def on_http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = HTTPStatus(error.status_code).name.lower()
        problem = ProblemError(error.status_code, code, str(error.detail))
        return problem_response(problem, headers=error.headers)

    async def on_gone(_request: Request, _error: Exception) -> Response:
        return Response(None, 400)  # to nobody

    async def on_unexpected(_request: Request, error: Exception) -> Response:
        return problem_response(problem_of(error))

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(errors.FacesimError, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(GoneError, on_gone)
    app.add_exception_handler(Exception, on_unexpected)
