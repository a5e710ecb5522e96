"""The routes of /v1 that only read."""

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from facesim_index.export.documents import answer_document
from facesim_index.search.answers import QueryAnswer
from facesim_index.web.api import documents, schemas
from facesim_index.web.api.cursors import place_of
from facesim_index.web.api.documents import jpeg_response, json_response
from facesim_index.web.api.forms import read_form, upload_turn
from facesim_index.web.api.openapi import form_of, problems
from facesim_index.web.api.parameters import Asked, CompareAsked, Cursor, Id, Limit, UploadAsked
from facesim_index.web.guard.problems import ProblemError
from facesim_index.web.service.service import Service

Fields = TypeVar("Fields", bound=BaseModel)

router = APIRouter(prefix="/v1", tags=["read"])


def service_of(request: Request) -> Service:
    """Return the service that a request is for."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Asks = Annotated[Service, Depends(service_of)]
Pictures = Annotated[bool, Query(description="Also give reduced pictures and crops.")]
Known = Annotated[str | None, Header(alias="If-None-Match")]
JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}},
    304: {"description": "Unchanged."},
}


@router.get("/status", response_model=schemas.Status, responses=problems(503))
def get_status(service: Asks) -> Response:
    """What is in the index, and what goes on."""
    return json_response(documents.server_document(service.status()))


@router.post(
    "/query",
    response_model=schemas.Answer,
    responses=problems(408, 409, 413, 415, 422, 503),
    openapi_extra=form_of(UploadAsked, "picture"),
)
async def post_query(request: Request, service: Asks, pictures: Pictures = False) -> Response:
    """The indexed faces most similar to those of an uploaded picture; nothing of it is kept."""
    async with upload_turn(request, service.limits):
        form = await read_form(request, service.limits, ("picture",))
        asked = _checked(UploadAsked, form.fields)
        found = await run_in_threadpool(
            service.query_upload,
            form.files["picture"],
            asked.options(face=asked.face),
            pictures=pictures,
        )
    return json_response(documents.upload_document(found))


@router.post(
    "/compare",
    response_model=schemas.Comparison,
    responses=problems(408, 409, 413, 415, 422, 503),
    openapi_extra=form_of(CompareAsked, "a", "b"),
)
async def post_compare(request: Request, service: Asks, pictures: Pictures = False) -> Response:
    """How surely two uploaded pictures show one person; nothing of them is kept."""
    async with upload_turn(request, service.limits):
        form = await read_form(request, service.limits, ("a", "b"))
        asked = _checked(CompareAsked, form.fields)
        found = await run_in_threadpool(
            service.compare_uploads,
            form.files["a"],
            form.files["b"],
            face_a=asked.face_a,
            face_b=asked.face_b,
            prior=asked.prior,
            pictures=pictures,
        )
    return json_response(documents.upload_comparison_document(found))


@router.get("/faces/{face_id}", response_model=schemas.Face, responses=problems(404, 503))
def get_face(service: Asks, face_id: Id) -> Response:
    """An indexed face, and whose it is."""
    return json_response(documents.face_document(service.face(face_id)))


@router.get(
    "/faces/{face_id}/crop",
    response_class=Response,
    responses={**JPEG, **problems(404, 413, 422, 503)},
)
def get_face_crop(
    service: Asks,
    face_id: Id,
    side_px: Annotated[int, Query(ge=64, le=512)] = 160,
    known: Known = None,
) -> Response:
    """The upright crop of a face; 404 as soon as the face is forgotten."""
    return jpeg_response(service.face_crop(face_id, side_px), known)


@router.get(
    "/faces/{face_id}/matches",
    response_model=schemas.Answer,
    responses=problems(404, 409, 503),
)
def get_face_matches(
    service: Asks, face_id: Id, asked: Annotated[Asked, Query()], cursor: Cursor = None
) -> Response:
    """The faces most similar to one of the index."""
    skip = _skipped(cursor)
    answer = service.face_matches(face_id, asked.options(skip=skip))
    return _matches_response(answer, skip, asked.top)


@router.get("/images/{image_id}", response_model=schemas.Picture, responses=problems(404, 503))
def get_image(service: Asks, image_id: Id) -> Response:
    """An indexed picture and its faces."""
    return json_response(documents.picture_document(service.image(image_id)))


@router.get(
    "/images/{image_id}/picture",
    response_class=Response,
    responses={**JPEG, **problems(404, 413, 422, 503)},
)
def get_image_picture(
    service: Asks,
    image_id: Id,
    side_px: Annotated[int, Query(ge=64, le=4096)] = 1600,
    known: Known = None,
) -> Response:
    """A picture, upright, its longer side reduced to so many pixels."""
    return jpeg_response(service.image_picture(image_id, side_px), known)


@router.get("/people", response_model=schemas.People, responses=problems(503))
def get_people(
    service: Asks,
    min_faces: Annotated[int, Query(ge=1, le=1 << 31)] = 1,
    ignored: Annotated[bool, Query(description="Also those who are ignored.")] = False,
    named: Annotated[bool | None, Query(description="Only with a name, or only without.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The people, those with most faces first."""
    place = None if cursor is None else place_of(cursor, (int, int))
    after = None if place is None else (int(place[0]), int(place[1]))
    page = service.people(
        min_faces=min_faces,
        ignored=None if ignored else False,
        named=named,
        limit=limit,
        after=after,
    )
    return json_response(documents.people_document(page))


@router.get("/people/review", response_model=schemas.Review, responses=problems(409, 503))
def get_review(service: Asks, top: Annotated[int, Query(ge=1, le=1000)] = 20) -> Response:
    """The most doubtful faces, and the people who are most probably one."""
    return json_response(documents.review_page_document(service.review(top=top)))


@router.get("/people/{person_id}", response_model=schemas.Person, responses=problems(404, 503))
def get_person(service: Asks, person_id: Id) -> Response:
    """A person."""
    return json_response(documents.person_card_document(service.person(person_id)))


@router.get("/people/{person_id}/faces", response_model=schemas.Faces, responses=problems(404, 503))
def get_person_faces(
    service: Asks, person_id: Id, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """The faces of a person, in the order of their ids."""
    after = None if cursor is None else int(place_of(cursor, (int,))[0])
    page = service.person_faces(person_id, limit=limit, after=after)
    return json_response(documents.faces_document(page))


@router.get(
    "/people/{person_id}/matches",
    response_model=schemas.Answer,
    responses=problems(404, 409, 503),
)
def get_person_matches(
    service: Asks, person_id: Id, asked: Annotated[Asked, Query()], cursor: Cursor = None
) -> Response:
    """The faces that are most likely a person's."""
    skip = _skipped(cursor)
    answer = service.person_matches(person_id, asked.options(skip=skip))
    return _matches_response(answer, skip, asked.top)


@router.get("/errors", response_model=schemas.Errors, responses=problems(503))
def get_errors(service: Asks, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The files that could not be used, by path."""
    place = None if cursor is None else place_of(cursor, (str, str))
    after = None if place is None else (str(place[0]), str(place[1]))
    return json_response(documents.errors_document(service.errors(limit=limit, after=after)))


@router.get("/calibration", response_model=schemas.Calibration, responses=problems(409, 503))
def get_calibration(service: Asks) -> Response:
    """Whether the calibration in force fits the pictures of the index."""
    return json_response(documents.calibration_document(service.calibration()))


@router.get(
    "/calibration/reliability.svg",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}}}, **problems(404, 409, 503)},
)
def get_reliability(service: Asks) -> Response:
    """What degrees claim, and what the faces that a human confirmed show."""
    return documents.svg_response(service.calibration().plot())


def _skipped(cursor: str | None) -> int:
    skip = 0 if cursor is None else int(place_of(cursor, (int,))[0])
    if not 0 <= skip <= documents.MOST_SKIPPED:
        raise ProblemError(422, "cursor", "the cursor is none that this list gave; begin anew")
    return skip


def _matches_response(answer: QueryAnswer, skip: int, top: int) -> Response:
    part, cursor = documents.part_of(answer, skip=skip, top=top)
    return json_response({**answer_document(part), "next": cursor})


def _checked(kind: type[Fields], fields: dict[str, str]) -> Fields:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ProblemError(422, "validation", f"{where}: {first['msg']}") from None
