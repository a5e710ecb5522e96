"""Multipart forms with pictures, read into memory only and no further than the limits allow."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.problems import ProblemError

Fields = TypeVar("Fields", bound=BaseModel)

_FIELDS_BYTES = 65_536
_MOST_FIELDS = 20


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, which otherwise puts larger files on the disk."""

    spool_max_size = 0  # no size at which a file would be put there


@dataclass(frozen=True, slots=True)
class Form:
    """A form that was sent.

    Attributes
    ----------
    files : dict of str to bytes
        The files by the names of their fields; the names of the client's files are dropped.
    fields : dict of str to str
        The other fields, without empty ones.
    """

    files: dict[str, bytes]
    fields: dict[str, str]


async def read_form(request: Request, limits: Limits, names: tuple[str, ...]) -> Form:
    """Read a form that must have files of these names.

    Parameters
    ----------
    request : Request
    limits : Limits
    names : tuple of str

    Returns
    -------
    Form

    Raises
    ------
    ProblemError
        The request has no such form, is too large, or takes too long to arrive.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise ProblemError(415, "form", "send the pictures as multipart/form-data")
    most_bytes = len(names) * limits.upload_bytes + _FIELDS_BYTES
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared) > most_bytes:
        raise _too_large(limits)
    stream = _bounded(request, most_bytes, limits)
    parser = _InMemoryParser(request.headers, stream, max_files=len(names), max_fields=_MOST_FIELDS)
    try:
        async with asyncio.timeout(limits.upload_s):
            parsed = await parser.parse()
    except TimeoutError:
        detail = f"the pictures did not come within {limits.upload_s:g} s"
        raise ProblemError(408, "slow_upload", detail) from None
    except MultiPartException as error:
        raise ProblemError(422, "form", f"the form cannot be read: {error.message}") from error
    try:
        files, fields = await _parts(parsed)
    finally:
        await parsed.close()
    _check_files(files, names)
    return Form(files, fields)


def checked_fields(kind: type[Fields], form: Form) -> Fields:
    """Return the fields of a form as a model has them.

    Parameters
    ----------
    kind : type
        The model.
    form : Form

    Returns
    -------
    BaseModel
        An instance of `kind`.

    Raises
    ------
    ProblemError
        A field is unknown, or its value is out of range.
    """
    try:
        return kind.model_validate(form.fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ProblemError(422, "validation", f"{where}: {first['msg']}") from None


async def _parts(parsed: FormData) -> tuple[dict[str, bytes], dict[str, str]]:
    files, fields = {}, {}
    for name, value in parsed.multi_items():
        if isinstance(value, UploadFile):
            files[name] = await value.read()
        elif value != "":
            fields[name] = value
    return files, fields


def _check_files(files: dict[str, bytes], names: tuple[str, ...]) -> None:
    for name in names:
        if name not in files:
            raise ProblemError(422, "form", f"the form has no picture called {name}")


async def _bounded(
    request: Request, most_bytes: int, limits: Limits
) -> AsyncGenerator[bytes, None]:
    n_bytes = 0
    async for chunk in request.stream():
        n_bytes += len(chunk)
        if n_bytes > most_bytes:
            raise _too_large(limits)
        yield chunk


def _too_large(limits: Limits) -> ProblemError:
    detail = f"a picture may have {limits.upload_bytes:,} bytes at most"
    return ProblemError(413, "too_large", detail)
