"""The description of the API: OpenAPI 3.0, which the Swagger UI that comes along can show."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from facesim_index.web.api.schemas import Problem
from facesim_index.web.guard.problems import MEDIA_TYPE

VERSION = "3.0.3"
_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how the problems of a route are described."""
    return {
        status: {"model": Problem, "content": {MEDIA_TYPE: _PROBLEM}}
        for status in sorted({*statuses, 400, 401, 403, 421, 422, 500})
    }


def form_of(fields: type[BaseModel], *files: str) -> dict[str, Any]:
    """Return how a form with pictures and some fields is described."""
    schema = fields.model_json_schema()
    pictures = {name: {"type": "string", "format": "binary"} for name in files}
    schema["properties"] = {**pictures, **schema["properties"]}
    schema["required"] = list(files)
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def describe(app: FastAPI) -> None:
    """Let an application describe itself in this version."""

    def openapi() -> dict[str, Any]:
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

    app.openapi = openapi  # type: ignore[method-assign]


def _older(part: Any) -> Any:
    """Say in the words of OpenAPI 3.0 what is said in those of 3.1."""
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
    return older


def _nullable(choices: list[dict[str, Any]]) -> dict[str, Any]:
    rest = [choice for choice in choices if choice != {"type": "null"}]
    if len(rest) == 1 and "$ref" not in rest[0]:
        return {**rest[0], "nullable": True}
    return {"anyOf": rest, "nullable": True} if len(rest) > 1 else {"allOf": rest, "nullable": True}
