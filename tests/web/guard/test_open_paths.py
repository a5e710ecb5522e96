"""Without the token only the login and the static files are open, and nothing beside them."""

from pathlib import Path

import pytest

from tests.web.serving import app_of, client_of

BESIDE = (
    *("/", "/s", "/st", "/stat", "/static", "/statics", "/static-notes", "/static.json"),
    *("/staticx/docs.js", "/STATIC/docs.js", "//static/docs.js", "/v1/static/docs.js"),
    *("/log", "/login/", "/logins", "/login/next"),
)


@pytest.mark.parametrize("path", BESIDE)
def test_what_lies_beside_the_open_paths_needs_the_token(shared_index: Path, path: str) -> None:
    with client_of(app_of(shared_index, token="a token of some length")) as client:
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "token")


@pytest.mark.parametrize("path", BESIDE)
def test_only_static_files_are_kept_by_a_browser(shared_index: Path, path: str) -> None:
    with client_of(app_of(shared_index)) as client:
        assert client.get("/static/docs.js").headers["cache-control"] == "no-cache"
        assert client.get(path, follow_redirects=False).headers["cache-control"] == "no-store"
