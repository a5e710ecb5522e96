"""The pages for people: each is HTML from a template, and asks the same `Service` as the API."""

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from facesim_index.errors import CalibrationError
from facesim_index.web.api.cursors import cursor_of, file_after, id_after, person_after
from facesim_index.web.api.dependencies import Asks
from facesim_index.web.api.parameters import Cursor, Id
from facesim_index.web.pages import wording
from facesim_index.web.pages.reliability_diagram import diagram_of
from facesim_index.web.pages.route import PageRoute, page
from facesim_index.web.pages.view_models import questions
from facesim_index.web.service.answers import ServerStatus

Show = Literal["", "named", "unnamed", "ignored"]

_PEOPLE_AT_ONCE = 60
_FACES_AT_ONCE = 120
_FILES_AT_ONCE = 100
_QUESTIONS = 20
_DOUBTFUL, _MOST_DOUBTFUL = 0.9, 60

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/people")
def people_page(service: Asks, show: Show = "", cursor: Cursor = None) -> HTMLResponse:
    """Show the people, those with most faces first.

    Parameters
    ----------
    service : Service
    show : {"", "named", "unnamed", "ignored"}, default=""
        Only the people with a name, without one, or who are ignored; by default all who are not
        ignored.
    cursor : str, optional
        Where the page before ended; by default the first page is shown.

    Returns
    -------
    HTMLResponse
    """
    found = service.people(
        named={"named": True, "unnamed": False}.get(show),
        ignored=show == "ignored",
        limit=_PEOPLE_AT_ONCE,
        after=person_after(cursor),
    )
    return page(
        "people.html",
        service,
        "/people",
        n_faces=service.n_faces(),
        counts=service.status().people,
        people=found.people,
        next=None if found.next is None else cursor_of(*found.next),
        show=show,
    )


@router.get("/people/review")
def review_page(service: Asks, ask: bool = False) -> HTMLResponse:
    """Show the questions on people, or a page that asks for them, because finding them takes time.

    Parameters
    ----------
    service : Service
    ask : bool, default=False
        Look for the questions.

    Returns
    -------
    HTMLResponse
    """
    counts = service.status().people
    there = counts["people"] > 0
    found = []
    if ask and there:
        found = questions(service.review(top=_QUESTIONS), service.some_faces_of)
    return page(
        "review.html",
        service,
        "/people",
        questions=found,
        asked=ask or not there,
        counts=counts,
    )


@router.get("/people/{person_id}")
def person_page(service: Asks, person_id: Id, cursor: Cursor = None) -> HTMLResponse:
    """Show the faces of a person, the doubtful ones first.

    Parameters
    ----------
    service : Service
    person_id : int
    cursor : str, optional
        Where the page before ended; by default the first page is shown.

    Returns
    -------
    HTMLResponse
    """
    after = id_after(cursor)
    found = service.person_faces(person_id, limit=_FACES_AT_ONCE, after=after)
    doubtful = service.doubtful_faces(person_id, below=_DOUBTFUL)[:_MOST_DOUBTFUL]
    apart = {card.face.face_id for card, _ in doubtful}
    return page(
        "person.html",
        service,
        "/people",
        person=service.person(person_id),
        faces=[card for card in found.faces if card.face.face_id not in apart],
        doubtful=doubtful if after is None else [],
        next=None if found.next is None else cursor_of(found.next),
    )


@router.get("/faces/{face_id}")
def face_page(service: Asks, face_id: Id) -> Response:
    """Lead from a face to its photo.

    Parameters
    ----------
    service : Service
    face_id : int

    Returns
    -------
    RedirectResponse
    """
    image_id = service.face(face_id).face.image_id
    return RedirectResponse(f"/photos/{image_id}#face-{face_id}", 303)


@router.get("/photos/{image_id}")
def photo_page(service: Asks, image_id: Id) -> HTMLResponse:
    """Show a photo, and who is in it.

    Parameters
    ----------
    service : Service
    image_id : int

    Returns
    -------
    HTMLResponse
    """
    card = service.image(image_id)
    return page("photo.html", service, "/people", picture=card.picture, faces=card.faces)


@router.get("/index")
def index_page(service: Asks, cursor: Cursor = None) -> HTMLResponse:
    """Show what is in the index, and what could not be used.

    Parameters
    ----------
    service : Service
    cursor : str, optional
        Where the page before ended; by default the first page is shown.

    Returns
    -------
    HTMLResponse
    """
    failed = service.errors(limit=_FILES_AT_ONCE, after=file_after(cursor))
    status = service.status()
    return page(
        "index.html",
        service,
        "/index",
        status=status,
        n_faces=status.index.counts["faces"],
        numbers=_numbers(status),
        facts=_facts(status),
        errors=failed.files,
        next=None if failed.next is None else cursor_of(*failed.next),
    )


@router.get("/index/calibration")
def calibration_page(service: Asks) -> HTMLResponse:
    """Show whether the degrees fit the pictures of the index.

    Parameters
    ----------
    service : Service

    Returns
    -------
    HTMLResponse
    """
    shown: dict[str, object] = {"error": None, "check": None, "diagram": None, "confirmed": None}
    try:
        found = service.calibration()
    except CalibrationError as error:
        shown["error"] = wording.sentence(str(error))
    else:
        shown |= {"check": found.check, "diagram": diagram_of(found.check.across)}
        shown["confirmed"] = found.confirmed
    return page("calibration.html", service, "/index", **shown)


@router.get("/login")
def login_page(service: Asks, next: str = "/", wrong: bool = False) -> HTMLResponse:
    """Ask for the token.

    Parameters
    ----------
    service : Service
    next : str, default="/"
        The page that is shown after the login.
    wrong : bool, default=False
        The token that was given before was wrong.

    Returns
    -------
    HTMLResponse
    """
    return page("login.html", service, "", next=next, wrong=wrong)


def _numbers(status: ServerStatus) -> list[tuple[str, int]]:
    counts, people = status.index.counts, status.people
    return [
        ("faces", counts["faces"]),
        ("pictures", counts["images"]),
        ("people", people["people"]),
        ("with a name", people["named"]),
        ("faces of people", people["faces"]),
        ("files not usable", counts["images_failed"] + counts["files_unreadable"]),
    ]


def _facts(status: ServerStatus) -> list[tuple[str, str]]:
    index = status.index
    return [
        ("Engine", index.engine),
        ("Model", index.model),
        ("Calibration", index.calibration or "none"),
        ("Segments", f"{index.segments} ({wording.size_text(index.bytes_segments)})"),
        ("Catalog", wording.size_text(index.bytes_catalog)),
        ("Made", wording.moment_text(index.created_at)),
        ("Commits", f"{index.generation:,}"),
        *(("Damage", message) for message in index.damage),
    ]
