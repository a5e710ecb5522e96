"""The routes of /v1 that change the people; refused unless the server was started with --edit."""

from fastapi import APIRouter, Depends
from starlette.responses import Response

from facesim_index.web.api import documents, schemas
from facesim_index.web.api.documents import json_response, person_card_document
from facesim_index.web.api.openapi import problems
from facesim_index.web.api.parameters import (
    Apart,
    Cluster,
    Faces,
    Id,
    Merge,
    Move,
    PersonChange,
    Split,
)
from facesim_index.web.api.read_routes import Asks
from facesim_index.web.guard.problems import ProblemError
from facesim_index.web.service.service import Service


def may_edit(service: Asks) -> Service:
    """Refuse before the request is even looked at."""
    service.require_edit()
    return service


router = APIRouter(prefix="/v1", tags=["edit"], dependencies=[Depends(may_edit)])
jobs_router = APIRouter(prefix="/v1", tags=["read"])

_PROBLEMS = problems(404, 409, 503)


@router.patch("/people/{person_id}", response_model=schemas.Person, responses=_PROBLEMS)
def patch_person(service: Asks, person_id: Id, change: PersonChange) -> Response:
    """Name a person, or leave them out of lists."""
    given = change.model_fields_set
    if not given or ("ignored" in given and change.ignored is None):
        raise ProblemError(422, "validation", "give a name, or ignored as true or false")
    card = service.person(person_id)
    if "name" in given:
        card = service.name_person(person_id, change.name)
    if "ignored" in given:
        card = service.ignore_person(person_id, ignored=bool(change.ignored))
    return json_response(person_card_document(card))


@router.post("/people/merge", response_model=schemas.Person, responses=_PROBLEMS)
def post_merge(service: Asks, merge: Merge) -> Response:
    """Say that people are one; the first keeps its number and its name."""
    return json_response(person_card_document(service.merge_people(merge.people)))


@router.post("/people/{person_id}/split", response_model=schemas.Person, responses=_PROBLEMS)
def post_split(service: Asks, person_id: Id, split: Split) -> Response:
    """Say that some faces of a person are somebody else's; gives the new person."""
    return json_response(person_card_document(service.split_person(person_id, split.faces)))


@router.post("/people/move", response_model=schemas.Person, responses=_PROBLEMS)
def post_move(service: Asks, move: Move) -> Response:
    """Say whose faces are."""
    return json_response(person_card_document(service.move_faces(move.faces, move.person_id)))


@router.post("/people/confirm", status_code=204, response_class=Response, responses=_PROBLEMS)
def post_confirm(service: Asks, confirm: Faces) -> Response:
    """Say that faces are those of the people they are with."""
    service.keep_faces(confirm.faces)
    return Response(None, 204)


@router.post("/people/apart", response_model=schemas.KeptApart, responses=_PROBLEMS)
def post_apart(service: Asks, apart: Apart) -> Response:
    """Say that two people are not one."""
    return json_response({"faces": list(service.set_apart(apart.one, apart.other))})


@router.post("/people/undo", response_model=schemas.Undone, responses=_PROBLEMS)
def post_undo(service: Asks) -> Response:
    """Take the newest change to the people back."""
    return json_response({"action": service.undo()})


@router.post("/people/cluster", status_code=202, response_model=schemas.Job, responses=_PROBLEMS)
def post_cluster(service: Asks, cluster: Cluster) -> Response:
    """Begin to group the faces into people; ask after it with its job_id."""
    return json_response(documents.job_document(service.start_cluster(full=cluster.full)), 202)


@jobs_router.get("/jobs/{job_id}", response_model=schemas.Job, responses=problems(404))
def get_job(service: Asks, job_id: str) -> Response:
    """How far a job is."""
    return json_response(documents.job_document(service.job(job_id)))
