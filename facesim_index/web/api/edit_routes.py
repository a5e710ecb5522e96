"""The routes of /v1 that change the people; refused unless the server was started with --edit."""

from fastapi import APIRouter, Depends
from starlette.responses import Response

from facesim_index.web.api import schemas
from facesim_index.web.api.dependencies import Asks
from facesim_index.web.api.documents import job_document, person_card_document
from facesim_index.web.api.openapi import problem_responses
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
from facesim_index.web.api.responses import JsonResponse
from facesim_index.web.guard.problems import ProblemError
from facesim_index.web.service.service import Service


async def may_edit(service: Asks) -> Service:
    """Refuse an edit that the server does not allow, before anything else is looked at.

    Parameters
    ----------
    service : Service

    Returns
    -------
    Service

    Raises
    ------
    ProblemError
        The server only reads; status 403.
    """
    service.require_edit()
    return service


router = APIRouter(
    prefix="/v1",
    tags=["edit"],
    dependencies=[Depends(may_edit)],
    default_response_class=JsonResponse,
)
jobs_router = APIRouter(prefix="/v1", tags=["read"], default_response_class=JsonResponse)

_PROBLEMS = problem_responses(404, 409, 503)


@router.patch("/people/{person_id}", responses=_PROBLEMS)
def patch_person(service: Asks, person_id: Id, change: PersonChange) -> schemas.Person:
    """Name a person, or leave them out of lists."""
    given = change.model_fields_set
    if not given or ("ignored" in given and change.ignored is None):
        raise ProblemError(422, "validation", "give a name, or ignored as true or false")
    card = service.person(person_id)
    if "name" in given:
        card = service.name_person(person_id, change.name)
    if "ignored" in given:
        card = service.ignore_person(person_id, ignored=bool(change.ignored))
    return person_card_document(card)


@router.post("/people/merge", responses=_PROBLEMS)
def post_merge(service: Asks, merge: Merge) -> schemas.Person:
    """Say that people are one; the first keeps its number and its name."""
    return person_card_document(service.merge_people(merge.people))


@router.post("/people/{person_id}/split", responses=_PROBLEMS)
def post_split(service: Asks, person_id: Id, split: Split) -> schemas.Person:
    """Say that some faces of a person are somebody else's; gives the new person."""
    return person_card_document(service.split_person(person_id, split.faces))


@router.post("/people/move", responses=_PROBLEMS)
def post_move(service: Asks, move: Move) -> schemas.Person:
    """Say whose faces are."""
    return person_card_document(service.move_faces(move.faces, move.person_id))


@router.post("/people/confirm", status_code=204, response_class=Response, responses=_PROBLEMS)
def post_confirm(service: Asks, confirm: Faces) -> Response:
    """Say that faces are those of the people they are with."""
    service.keep_faces(confirm.faces)
    return Response(None, 204)


@router.post("/people/apart", responses=_PROBLEMS)
def post_apart(service: Asks, apart: Apart) -> schemas.KeptApart:
    """Say that two people are not one."""
    return {"faces": list(service.set_apart(apart.one, apart.other))}


@router.post("/people/undo", responses=_PROBLEMS)
def post_undo(service: Asks) -> schemas.Undone:
    """Take the newest change to the people back."""
    return {"action": service.undo()}


@router.post("/people/cluster", status_code=202, responses=_PROBLEMS)
def post_cluster(service: Asks, cluster: Cluster) -> schemas.Job:
    """Begin to group the faces into people; ask after it with its job_id."""
    return job_document(service.start_cluster(full=cluster.full))


@jobs_router.get("/jobs/{job_id}", responses=problem_responses(404))
def get_job(service: Asks, job_id: str) -> schemas.Job:
    """How far a job is."""
    return job_document(service.job(job_id))
