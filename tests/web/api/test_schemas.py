"""Each response is validated against the shape that its route declares, before it is sent."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from fastapi.routing import APIRoute
from starlette.responses import Response
from typing_extensions import is_typeddict

from facesim_index.web.api import documents, edit_routes, read_routes
from facesim_index.web.service.service import Service
from tests.coloured_people import RED
from tests.example_pictures import fake_photo
from tests.web.serving import TestClient, app_of, client_of, service_of

PICTURE = fake_photo([RED])


@pytest.fixture
def reader(shared_index: Path) -> Iterator[TestClient]:
    """A client whose requests change nothing."""
    with client_of(app_of(shared_index)) as client:
        yield client


def without_a_key(part: object) -> bool:
    """Take a key out of the first of the innermost objects."""
    if isinstance(part, dict):
        if not any(without_a_key(value) for value in part.values()):
            del part[next(iter(part))]
        return True
    return isinstance(part, list | tuple) and any(map(without_a_key, part))


def with_a_wrong_type(part: object) -> bool:
    """Make a number a text, or a text a number, in the first of the innermost objects."""
    if isinstance(part, dict):
        if not any(with_a_wrong_type(value) for value in part.values()):
            name, value = next(iter(part.items()))
            part[name] = 1 if isinstance(value, str) else str(value)
        return True
    return isinstance(part, list | tuple) and any(map(with_a_wrong_type, part))


Spoil = Callable[[object], bool]
spoiled_ways = pytest.mark.parametrize("spoil", [without_a_key, with_a_wrong_type])


def spoil_documents(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, spoil: Spoil
) -> None:
    """Let a function of a module return documents that are not as their shapes say."""
    make = getattr(module, name)

    def spoiled(*args: object, **kwargs: object) -> object:
        document = make(*args, **kwargs)
        assert spoil(document)
        return document

    monkeypatch.setattr(module, name, spoiled)


def assert_not_sent(response: object) -> None:
    assert hasattr(response, "status_code")
    assert hasattr(response, "json")
    assert (response.status_code, response.json()["code"]) == (500, "internal")


@spoiled_ways
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/status", "server_document"),
        ("/v1/faces/1", "face_document"),
        ("/v1/faces/1/matches", "matches_document"),
        ("/v1/images/1", "picture_document"),
        ("/v1/people", "people_document"),
        ("/v1/people/review", "review_page_document"),
        ("/v1/people/1", "person_card_document"),
        ("/v1/people/1/faces", "faces_document"),
        ("/v1/people/1/matches", "matches_document"),
        ("/v1/errors", "errors_document"),
        ("/v1/calibration", "calibration_document"),
    ],
)
def test_a_wrong_document_is_not_sent(
    reader: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, name: str, spoil: Spoil
) -> None:
    assert reader.get(path).status_code == 200
    spoil_documents(monkeypatch, documents, name, spoil)
    assert_not_sent(reader.get(path))


@spoiled_ways
@pytest.mark.parametrize(
    ("path", "files", "name"),
    [
        ("/v1/query", ("picture",), "upload_document"),
        ("/v1/query?pictures=true", ("picture",), "preview_document"),
        ("/v1/compare", ("a", "b"), "upload_comparison_document"),
    ],
)
def test_a_wrong_answer_to_an_upload_is_not_sent(
    reader: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    files: tuple[str, ...],
    name: str,
    spoil: Spoil,
) -> None:
    spoil_documents(monkeypatch, documents, name, spoil)
    assert_not_sent(reader.post(path, files=dict.fromkeys(files, PICTURE)))


@spoiled_ways
@pytest.mark.parametrize(
    ("method", "path", "body", "name"),
    [
        ("PATCH", "/v1/people/1", {"name": "Rosa"}, "person_card_document"),
        ("POST", "/v1/people/merge", {"people": [1, 2]}, "person_card_document"),
        ("POST", "/v1/people/1/split", {"faces": [1]}, "person_card_document"),
        ("POST", "/v1/people/move", {"faces": [1], "person_id": None}, "person_card_document"),
        ("POST", "/v1/people/cluster", {}, "job_document"),
    ],
)
def test_a_wrong_answer_to_an_edit_is_not_sent(
    editor: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: object,
    name: str,
    spoil: Spoil,
) -> None:
    if path.endswith("split"):
        faces = editor.get("/v1/people/1/faces").json()["faces"]
        body = {"faces": [faces[0]["face_id"]]}
    spoil_documents(monkeypatch, edit_routes, name, spoil)
    assert_not_sent(editor.request(method, path, json=body))


def test_a_wrong_word_of_the_service_is_not_sent(
    editor: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "undo", lambda _self: 1)
    assert_not_sent(editor.post("/v1/people/undo"))
    monkeypatch.setattr(Service, "set_apart", lambda _self, _one, _other: ("1", "2"))
    assert_not_sent(editor.post("/v1/people/apart", json={"one": 1, "other": 2}))
    job_id = editor.post("/v1/people/cluster", json={}).json()["job_id"]
    job = service_of(editor)._jobs.get(job_id)
    monkeypatch.setattr(Service, "job", lambda _self, _job_id: job)
    spoil_documents(monkeypatch, edit_routes, "job_document", without_a_key)
    assert_not_sent(editor.get(f"/v1/jobs/{job_id}"))


def test_every_route_of_the_api_declares_what_it_returns() -> None:
    validated = []
    for route in (
        *read_routes.router.routes,
        *edit_routes.router.routes,
        *edit_routes.jobs_router.routes,
    ):
        assert isinstance(route, APIRoute)
        returned = inspect.signature(route.endpoint).return_annotation
        if route.response_model is None:
            assert returned is Response, route.path
            continue
        assert returned is route.response_model, route.path
        assert is_typeddict(returned), route.path
        assert returned.__pydantic_config__["strict"], route.path
        validated.append(route.path)
    assert len(validated) == 21
