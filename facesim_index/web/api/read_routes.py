"""The routes of /v1 that only read."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from facesim_index.web.api import documents, schemas
from facesim_index.web.api.cursors import file_after, id_after, n_skipped, person_after
from facesim_index.web.api.dependencies import Asks
from facesim_index.web.api.forms import checked_fields, read_form
from facesim_index.web.api.openapi import form_description, problem_responses
from facesim_index.web.api.parameters import Asked, CompareAsked, Cursor, Id, Limit, UploadAsked
from facesim_index.web.api.responses import JsonResponse, jpeg_response, svg_response

router = APIRouter(prefix="/v1", tags=["read"], default_response_class=JsonResponse)

Pictures = Annotated[bool, Query(description="Also give reduced pictures and crops.")]
Known = Annotated[str | None, Header(alias="If-None-Match")]
JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}},
    304: {"description": "Unchanged."},
}


@router.get("/status", responses=problem_responses(503))
def get_status(service: Asks) -> schemas.Status:
    """What is in the index, and what goes on."""
    return documents.server_document(service.status())


@router.post(
    "/query",
    responses=problem_responses(408, 409, 413, 415, 422, 503),
    openapi_extra=form_description(UploadAsked, "picture"),
)
async def post_query(request: Request, service: Asks, pictures: Pictures = False) -> schemas.Answer:
    """The indexed faces most similar to those of an uploaded picture; nothing of it is kept."""
    form = await read_form(request, service.limits, ("picture",))
    asked = checked_fields(UploadAsked, form)
    found = await run_in_threadpool(
        service.query_upload,
        form.files["picture"],
        asked.options(face=asked.face),
        pictures=pictures,
    )
    return documents.upload_document(found)


@router.post(
    "/compare",
    responses=problem_responses(408, 409, 413, 415, 422, 503),
    openapi_extra=form_description(CompareAsked, "a", "b"),
)
async def post_compare(
    request: Request, service: Asks, pictures: Pictures = False
) -> schemas.Comparison:
    """How surely two uploaded pictures show one person; nothing of them is kept."""
    form = await read_form(request, service.limits, ("a", "b"))
    asked = checked_fields(CompareAsked, form)
    found = await run_in_threadpool(
        service.compare_uploads,
        form.files["a"],
        form.files["b"],
        face_a=asked.face_a,
        face_b=asked.face_b,
        prior=asked.prior,
        pictures=pictures,
    )
    return documents.upload_comparison_document(found)


@router.get("/faces/{face_id}", responses=problem_responses(404, 503))
def get_face(service: Asks, face_id: Id) -> schemas.Face:
    """An indexed face, and whose it is."""
    return documents.face_document(service.face(face_id))


@router.get(
    "/faces/{face_id}/crop",
    response_class=Response,
    responses={**JPEG, **problem_responses(404, 413, 422, 503)},
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
    responses=problem_responses(404, 409, 503),
)
def get_face_matches(
    service: Asks, face_id: Id, asked: Annotated[Asked, Query()], cursor: Cursor = None
) -> schemas.Answer:
    """The faces most similar to one of the index."""
    skip = n_skipped(cursor)
    answer = service.face_matches(face_id, asked.options(skip=skip))
    return documents.matches_document(answer, skip=skip, top=asked.top)


@router.get("/images/{image_id}", responses=problem_responses(404, 503))
def get_image(service: Asks, image_id: Id) -> schemas.Picture:
    """An indexed picture and its faces."""
    return documents.picture_document(service.image(image_id))


@router.get(
    "/images/{image_id}/picture",
    response_class=Response,
    responses={**JPEG, **problem_responses(404, 413, 422, 503)},
)
def get_image_picture(
    service: Asks,
    image_id: Id,
    side_px: Annotated[int, Query(ge=64, le=4096)] = 1600,
    known: Known = None,
) -> Response:
    """A picture, upright, its longer side reduced to so many pixels."""
    return jpeg_response(service.image_picture(image_id, side_px), known)


@router.get("/people", responses=problem_responses(503))
def get_people(
    service: Asks,
    min_faces: Annotated[int, Query(ge=1, le=1 << 31)] = 1,
    ignored: Annotated[bool, Query(description="Also those who are ignored.")] = False,
    named: Annotated[bool | None, Query(description="Only with a name, or only without.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.People:
    """The people, those with most faces first."""
    page = service.people(
        min_faces=min_faces,
        ignored=None if ignored else False,
        named=named,
        limit=limit,
        after=person_after(cursor),
    )
    return documents.people_document(page)


@router.get("/people/review", responses=problem_responses(409, 503))
def get_review(service: Asks, top: Annotated[int, Query(ge=1, le=1000)] = 20) -> schemas.Review:
    """The most doubtful faces, and the people who are most probably one."""
    return documents.review_page_document(service.review(top=top))


@router.get("/people/{person_id}", responses=problem_responses(404, 503))
def get_person(service: Asks, person_id: Id) -> schemas.Person:
    """A person."""
    return documents.person_card_document(service.person(person_id))


@router.get("/people/{person_id}/faces", responses=problem_responses(404, 503))
def get_person_faces(
    service: Asks, person_id: Id, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Faces:
    """The faces of a person, in the order of their ids."""
    page = service.person_faces(person_id, limit=limit, after=id_after(cursor))
    return documents.faces_document(page)


@router.get(
    "/people/{person_id}/matches",
    responses=problem_responses(404, 409, 503),
)
def get_person_matches(
    service: Asks, person_id: Id, asked: Annotated[Asked, Query()], cursor: Cursor = None
) -> schemas.Answer:
    """The faces that are most likely a person's."""
    skip = n_skipped(cursor)
    answer = service.person_matches(person_id, asked.options(skip=skip))
    return documents.matches_document(answer, skip=skip, top=asked.top)


@router.get("/errors", responses=problem_responses(503))
def get_errors(service: Asks, limit: Limit = 100, cursor: Cursor = None) -> schemas.Errors:
    """The files that could not be used, by path."""
    page = service.errors(limit=limit, after=file_after(cursor))
    return documents.errors_document(page)


@router.get("/calibration", responses=problem_responses(409, 503))
def get_calibration(service: Asks) -> schemas.Calibration:
    """Whether the calibration in force fits the pictures of the index."""
    return documents.calibration_document(service.calibration())


@router.get(
    "/calibration/reliability.svg",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}}}, **problem_responses(404, 409, 503)},
)
def get_reliability(service: Asks) -> Response:
    """What degrees claim, and what the faces that a human confirmed show."""
    return svg_response(service.calibration().plot())
