"""Every path says 405 to a method that it does not have, and which it has."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import Mount, Route

from tests.web.serving import TestClient, app_of, client_of

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FACE")
TOKEN = "a token of some length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def paths_of(app: FastAPI) -> dict[str, set[str]]:
    """Return a path for each that the routes have, and its methods, by the routes alone."""
    found: dict[str, set[str]] = {}
    for route in app.routes:
        if isinstance(route, Route):
            found.setdefault(re.sub(r"{\w+}", "1", route.path), set()).update(route.methods or ())
        elif isinstance(route, Mount):
            found[f"{route.path}/nothing"] = {"GET", "HEAD"}
        else:
            raise AssertionError(route)
    return found


@pytest.fixture
def editor(shared_index: Path) -> Iterator[TestClient]:
    """A client of a server that may change people; only methods that do nothing are tried."""
    with client_of(app_of(shared_index, edit=True)) as client:
        yield client


def test_every_path_tells_which_methods_it_has(editor: TestClient) -> None:
    assert isinstance(editor.app, FastAPI)
    paths = paths_of(editor.app)
    assert len(paths) > 30
    assert paths["/"] == {"GET", "POST"}
    paths["/login"] |= {"POST"}
    wrong = []
    for path, allowed in paths.items():
        for method in METHODS:
            if method in allowed:
                continue
            answer = editor.request(method, path)
            told = set(answer.headers.get("allow", "").split(", "))
            if (answer.status_code, told) != (405, allowed):
                wrong.append((method, path, answer.status_code, told))
    assert not wrong


def test_the_problem_says_what_to_use(editor: TestClient) -> None:
    answer = editor.patch("/v1/people/undo", json={"name": "x"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert "content-security-policy" in answer.headers
    assert editor.delete("/v1/people/1").headers["allow"] == "GET, PATCH"


def test_a_method_that_a_path_has_is_not_in_the_way(editor: TestClient) -> None:
    assert editor.get("/v1/people/review").status_code == 200
    assert editor.get("/v1/people/1").status_code == 200
    assert editor.patch("/v1/people/1", json={}).status_code == 422
    assert editor.get("/v1/people/none").status_code == 422
    assert editor.patch("/nowhere").status_code == 404


def test_with_a_token_the_login_has_two_methods(shared_index: Path) -> None:
    with client_of(app_of(shared_index, token=TOKEN)) as client:
        for method in METHODS:
            answer = client.request(method, "/login", headers=BEARER)
            if method in ("GET", "POST"):
                assert answer.status_code in (200, 303)
            else:
                assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
        assert client.patch("/v1/people/undo").status_code == 401
