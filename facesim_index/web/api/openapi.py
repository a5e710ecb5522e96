"""The description of the API: OpenAPI 3.0, which the Swagger UI that comes along can show."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from facesim_index.web.guard.problems import MEDIA_TYPE, Problem

VERSION = "3.0.3"
_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how the problems of a route are described.

    Parameters
    ----------
    *statuses : int
        HTTP statuses of the route's own problems; those that every route may have are added.

    Returns
    -------
    dict of int to dict
        As ``responses`` of a FastAPI route takes it.

    Examples
    --------
    >>> list(problem_responses(404))
    [400, 401, 403, 404, 421, 422, 500]
    """
    return {
        status: {"model": Problem, "content": {MEDIA_TYPE: _PROBLEM}}
        for status in sorted({*statuses, 400, 401, 403, 421, 422, 500})
    }


def form_description(fields: type[BaseModel], *files: str) -> dict[str, Any]:
    """Return how a form with pictures and some fields is described.

    Parameters
    ----------
    fields : type
        Model of the fields.
    *files : str
        Names of the pictures, all of which must be sent.

    Returns
    -------
    dict of str to object
        As ``openapi_extra`` of a FastAPI route takes it.
    """
    schema = fields.model_json_schema()
    pictures = {name: {"type": "string", "format": "binary"} for name in files}
    schema["properties"] = {**pictures, **schema["properties"]}
    schema["required"] = list(files)
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def describe(app: FastAPI) -> None:
    """Let an application describe itself in this version of OpenAPI.

    Parameters
    ----------
    app : FastAPI
        Its ``openapi`` method is replaced.
    """

    def description() -> dict[str, Any]:
        if not app.openapi_schema:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                openapi_version=VERSION,
                description=app.description,
                routes=app.routes,
            )
            app.openapi_schema = _older(schema)
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]


def _older(part: Any) -> Any:
    """Convert a part of an OpenAPI 3.1 description to 3.0."""
    if isinstance(part, list):
        return [_older(item) for item in part]
    if not isinstance(part, dict):
        return part
    older = {name: _older(value) for name, value in part.items()}
    choices = older.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        older.update(_nullable(older.pop("anyOf")))
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(older.get(bound), int | float) and not isinstance(older[bound], bool):
            older[limit], older[bound] = older[bound], True
    if "const" in older and not isinstance(older["const"], Mapping):
        older["enum"] = [older.pop("const")]
    items = older.get("prefixItems")
    if isinstance(items, list) and items and all(item == items[0] for item in items):
        del older["prefixItems"]
        older = {"items": items[0], **older}
    return older


def _nullable(choices: list[dict[str, Any]]) -> dict[str, Any]:
    rest = [choice for choice in choices if choice != {"type": "null"}]
    if len(rest) == 1 and "$ref" not in rest[0]:
        return {**rest[0], "nullable": True}
    return {"anyOf": rest, "nullable": True} if len(rest) > 1 else {"allOf": rest, "nullable": True}
