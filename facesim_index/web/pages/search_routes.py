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
    """What can be chosen on the page of searches; more matches fit on it than in a terminal."""

    top: int = Field(12, ge=1, le=MOST_MATCHES)

    @property
    def chosen(self) -> bool:
        """Something was chosen."""
        return self != _NOTHING_CHOSEN


_NOTHING_CHOSEN = SearchAsked.model_validate({})


class PageAsked(SearchAsked):
    """What an address of the page of searches asks for."""

    face: int | None = Field(None, ge=1, le=MOST_IDS, description="A face of the index.")
    person: int | None = Field(None, ge=1, le=MOST_IDS)


@dataclass(frozen=True, slots=True)
class AskedFor:
    """The face of the index by which was searched, and where more of it is."""

    face_id: int | None
    address: str


@router.get("/")
def search_page(service: Asks, asked: Annotated[PageAsked, Query()]) -> HTMLResponse:
    """Show where to choose a picture, or the answer to a search for a face or a person."""
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
    """Show the faces that are most like those of a picture."""
    options = _NOTHING_CHOSEN
    try:
        async with request.app.state.uploads:
            form = await read_form(request, service.limits, ("picture",))
            options = checked_fields(SearchAsked, form)
            return await run_in_threadpool(_picture_answer, service, form, options)
    except (ProblemError, FacesimError) as error:
        return await run_in_threadpool(_search_page, service, options, problem=problem_of(error))


@router.get("/compare")
def compare_page(service: Asks) -> HTMLResponse:
    """Show where to choose two pictures."""
    return _compare_page(service, 0.5)


@router.post("/compare")
async def compare_pictures(request: Request, service: Asks) -> HTMLResponse:
    """Show how surely two pictures show one person."""
    asked = CompareAsked.model_validate({})
    try:
        async with request.app.state.uploads:
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
    error = None if problem is None else wording.sentence(problem.detail)
    status = 200 if problem is None else problem.status
    common = {"options": options, "error": error, "n_faces": service.n_faces()}
    return page("search.html", service, "/", status, **{**nothing, **common, **shown})


def _compare_page(
    service: Service,
    prior: float,
    *,
    problem: ProblemError | None = None,
    **shown: object,
) -> HTMLResponse:
    error = None if problem is None else wording.sentence(problem.detail)
    status = 200 if problem is None else problem.status
    common = {"prior": prior, "error": error, "answer": None}
    return page("compare.html", service, "/compare", status, **{**common, **shown})
