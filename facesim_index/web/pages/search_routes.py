"""The pages that take pictures: searching and comparing."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from facesim_index.errors import FacesimError
from facesim_index.web.api.dependencies import Asks
from facesim_index.web.api.documents import data_url
from facesim_index.web.api.forms import Form, checked_fields, read_form
from facesim_index.web.api.parameters import MOST_IDS, MOST_MATCHES, CompareAsked, UploadAsked
from facesim_index.web.guard.problems import ProblemError, problem_of
from facesim_index.web.pages import wording
from facesim_index.web.pages.route import PageRoute, page
from facesim_index.web.pages.view_models import boxed_picture
from facesim_index.web.service.service import Service

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_TO_START_FROM = 18


class SearchAsked(UploadAsked):
    """The options of a search on its page, where more matches fit than in a terminal."""

    top: int = Field(12, ge=1, le=MOST_MATCHES)

    @property
    def chosen(self) -> bool:
        """Whether an option differs from its default."""
        return self != _NOTHING_CHOSEN


_NOTHING_CHOSEN = SearchAsked.model_validate({})


class PageAsked(SearchAsked):
    """The parameters in the address of the page of searches."""

    face: int | None = Field(None, ge=1, le=MOST_IDS, description="A face of the index.")
    person: int | None = Field(None, ge=1, le=MOST_IDS)


@dataclass(frozen=True, slots=True)
class AskedFor:
    """The face or person of the index that a search started from.

    Attributes
    ----------
    face_id : int or None
        The face that is shown; None for a person without faces.
    address : str
        The page of the face or the person.
    """

    face_id: int | None
    address: str


@router.get("/")
def search_page(service: Asks, asked: Annotated[PageAsked, Query()]) -> HTMLResponse:
    """Show where to choose a picture, or the answer to a search for a face or a person.

    Parameters
    ----------
    service : Service
    asked : PageAsked

    Returns
    -------
    HTMLResponse
    """
    options = SearchAsked.model_validate(asked.model_dump(exclude={"face", "person"}))
    if asked.face is not None:
        return _face_answer(service, asked.face, options)
    if asked.person is not None:
        return _person_answer(service, asked.person, options)
    people = service.people(limit=_TO_START_FROM).people
    faces = () if people else service.sample_faces(_TO_START_FROM)
    return _search_page(service, options, people=people, faces=faces)


@router.post("/")
async def search_picture(request: Request, service: Asks) -> HTMLResponse:
    """Show the faces that are most like those of a picture.

    Parameters
    ----------
    request : Request
        With a form that has the picture.
    service : Service

    Returns
    -------
    HTMLResponse
    """
    options = _NOTHING_CHOSEN
    try:
        form = await read_form(request, service.limits, ("picture",))
        options = checked_fields(SearchAsked, form)
        return await run_in_threadpool(_picture_answer, service, form, options)
    except (ProblemError, FacesimError) as error:
        return await run_in_threadpool(_search_page, service, options, problem=problem_of(error))


@router.get("/compare")
def compare_page(service: Asks) -> HTMLResponse:
    """Show where to choose two pictures.

    Parameters
    ----------
    service : Service

    Returns
    -------
    HTMLResponse
    """
    return _compare_page(service, 0.5)


@router.post("/compare")
async def compare_pictures(request: Request, service: Asks) -> HTMLResponse:
    """Show how surely two pictures show one person.

    Parameters
    ----------
    request : Request
        With a form that has the pictures.
    service : Service

    Returns
    -------
    HTMLResponse
    """
    asked = CompareAsked.model_validate({})
    try:
        form = await read_form(request, service.limits, ("a", "b"))
        asked = checked_fields(CompareAsked, form)
        return await run_in_threadpool(_comparison, service, form, asked)
    except (ProblemError, FacesimError) as error:
        return _compare_page(service, asked.prior, problem=problem_of(error))


def _picture_answer(service: Service, form: Form, options: SearchAsked) -> HTMLResponse:
    found = service.query_upload(form.files["picture"], options.options(), pictures=True)
    seen = wording.count_text(len(found.answer.faces), "face")
    return _search_page(
        service,
        options,
        answer=found.answer,
        heading=f"{seen} in your picture",
        picture=None if found.preview is None else boxed_picture(found.preview),
        crops={face: data_url(jpeg) for face, jpeg in found.crops.items()},
    )


def _face_answer(service: Service, face_id: int, options: SearchAsked) -> HTMLResponse:
    answer = service.face_matches(face_id, options.options())
    owner = service.face(face_id)
    whose = f" of {wording.person_text(owner.person, owner.person_id)}" if owner.person_id else ""
    return _search_page(
        service,
        options,
        answer=answer,
        heading=f"Faces like this one{whose}",
        asked=AskedFor(face_id, f"/faces/{face_id}"),
    )


def _person_answer(service: Service, person_id: int, options: SearchAsked) -> HTMLResponse:
    answer = service.person_matches(person_id, options.options())
    person = service.person(person_id)
    who = wording.person_text(person.row.name, person_id)
    return _search_page(
        service,
        options,
        answer=answer,
        heading=f"Faces that are most probably of {who}",
        asked=AskedFor(person.cover_face_id, f"/people/{person_id}"),
        is_person=True,
    )


def _comparison(service: Service, form: Form, asked: CompareAsked) -> HTMLResponse:
    found = service.compare_uploads(
        form.files["a"],
        form.files["b"],
        face_a=asked.face_a,
        face_b=asked.face_b,
        prior=asked.prior,
        pictures=True,
    )
    previews = {"a": found.preview_a, "b": found.preview_b}
    pictures = {
        side: boxed_picture(preview) for side, preview in previews.items() if preview is not None
    }
    return _compare_page(service, asked.prior, answer=found.comparison, pictures=pictures)


def _search_page(
    service: Service,
    options: SearchAsked,
    *,
    problem: ProblemError | None = None,
    **shown: object,
) -> HTMLResponse:
    nothing: dict[str, object] = {
        **{"answer": None, "asked": None, "picture": None, "crops": {}, "heading": ""},
        **{"is_person": False, "people": (), "faces": ()},
    }
    error, status = _error_and_status(problem)
    common = {"options": options, "error": error, "n_faces": service.n_faces()}
    return page("search.html", service, "/", status, **{**nothing, **common, **shown})


def _compare_page(
    service: Service,
    prior: float,
    *,
    problem: ProblemError | None = None,
    **shown: object,
) -> HTMLResponse:
    error, status = _error_and_status(problem)
    common = {"prior": prior, "error": error, "answer": None}
    return page("compare.html", service, "/compare", status, **{**common, **shown})


def _error_and_status(problem: ProblemError | None) -> tuple[str | None, int]:
    if problem is None:
        return None, 200
    return wording.sentence(problem.detail), problem.status
