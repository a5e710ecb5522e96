"""The pages that take pictures: searching and comparing."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse

from facesim_index.errors import FacesimError
from facesim_index.search import QueryOptions
from facesim_index.web import wording
from facesim_index.web.page_route import Asked, PageRoute, page
from facesim_index.web.problems import ProblemError, problem_of
from facesim_index.web.replies import data_url
from facesim_index.web.service import Service
from facesim_index.web.shown import boxed_picture

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Prior = Literal["gallery", "0.5"]
PairPrior = Literal["0.5", "0.1", "0.01", "0.001", "0.0001", "0.000001"]

_TO_START_FROM = 18


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What can be chosen on the page of searches."""

    top: int = 12
    prior: Prior = "gallery"
    exclude_same_image: bool = False

    @property
    def open(self) -> bool:
        """Whether something was chosen."""
        return self != SearchOptions()

    def query(self) -> QueryOptions:
        """Return what is asked of the index."""
        prior = "gallery" if self.prior == "gallery" else float(self.prior)
        return QueryOptions(self.top, None, None, prior, self.exclude_same_image)


@dataclass(frozen=True, slots=True)
class AskedFor:
    """The face or person of the index that was searched for."""

    face_id: int | None
    address: str


@router.get("/")
def search_page(
    service: Asked,
    face: Annotated[int | None, Query(ge=1)] = None,
    person: Annotated[int | None, Query(ge=1)] = None,
    top: Annotated[int, Query(ge=1, le=1000)] = 12,
    prior: Prior = "gallery",
    exclude_same_image: bool = False,
) -> HTMLResponse:
    """Show where to choose a picture, or the answer to a search for a face or a person."""
    options = SearchOptions(top, prior, exclude_same_image)
    if face is not None:
        return _face_answer(service, face, options)
    if person is not None:
        return _person_answer(service, person, options)
    people = service.people(limit=_TO_START_FROM).people
    faces = () if people else service.sample_faces(_TO_START_FROM)
    return _search_page(service, options, people=people, faces=faces)


@router.post("/")
def search_picture(
    service: Asked,
    picture: Upload,
    top: Annotated[int, Form(ge=1, le=1000)] = 12,
    prior: Annotated[Prior, Form()] = "gallery",
    exclude_same_image: Annotated[bool, Form()] = False,
) -> HTMLResponse:
    """Show the faces that are most like those of a picture."""
    options = SearchOptions(top, prior, exclude_same_image)
    try:
        found = service.query_upload(picture, options.query(), pictures=True)
    except (ProblemError, FacesimError) as error:
        problem = problem_of(error)
        return _search_page(service, options, problem=problem)
    answer = found.answer
    seen = wording.count_text(len(answer.faces), "face")
    return _search_page(
        service,
        options,
        answer=answer,
        heading=f"{seen} in your picture",
        picture=None if found.preview is None else boxed_picture(found.preview),
        crops={face: data_url(jpeg) for face, jpeg in found.crops.items()},
    )


@router.get("/compare")
def compare_page(service: Asked) -> HTMLResponse:
    """Show where to choose two pictures."""
    return _compare_page(service, "0.5")


@router.post("/compare")
def compare_pictures(
    service: Asked,
    a: Upload,
    b: Upload,
    face_a: Annotated[int | None, Form(ge=0)] = None,
    face_b: Annotated[int | None, Form(ge=0)] = None,
    prior: Annotated[PairPrior, Form()] = "0.5",
) -> HTMLResponse:
    """Show how surely two pictures show one person."""
    try:
        found = service.compare_uploads(
            a, b, face_a=face_a, face_b=face_b, prior=float(prior), pictures=True
        )
    except (ProblemError, FacesimError) as error:
        return _compare_page(service, prior, problem=problem_of(error))
    previews = {"a": found.preview_a, "b": found.preview_b}
    pictures = {
        side: boxed_picture(preview) for side, preview in previews.items() if preview is not None
    }
    return _compare_page(service, prior, answer=found.comparison, pictures=pictures)


def _face_answer(service: Service, face_id: int, options: SearchOptions) -> HTMLResponse:
    answer = service.face_matches(face_id, options.query())
    owner = service.face(face_id)
    whose = wording.person_text(owner.person, owner.person_id)
    return _search_page(
        service,
        options,
        answer=answer,
        heading=f"Faces like this one of {whose}" if owner.person_id else "Faces like this one",
        asked=AskedFor(face_id, f"/faces/{face_id}"),
    )


def _person_answer(service: Service, person_id: int, options: SearchOptions) -> HTMLResponse:
    answer = service.person_matches(person_id, options.query())
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


def _search_page(
    service: Service,
    options: SearchOptions,
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
    prior: str,
    *,
    problem: ProblemError | None = None,
    **shown: object,
) -> HTMLResponse:
    error = None if problem is None else wording.sentence(problem.detail)
    status = 200 if problem is None else problem.status
    common = {"prior": prior, "error": error, "answer": None}
    return page("compare.html", service, "/compare", status, **{**common, **shown})
