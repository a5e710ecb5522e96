import asyncio
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from starlette.types import Message, Scope

from facesim_index.cli.main import main
from facesim_index.errors import UsageError
from facesim_index.web.guard.receiving import MOST_BODY_BYTES
from facesim_index.web.guard.security import CSP, loopback_hosts
from facesim_index.web.server import check_address, is_loopback
from tests.coloured_people import RED
from tests.example_pictures import fake_photo
from tests.web.serving import TestClient, app_of, client_of

TOKEN = "a token of some length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
UPLOAD = {"picture": fake_photo([RED])}
EVIL = "http://evil.example"
OURS = "http://127.0.0.1:8321"


def code(client: TestClient, path: str = "/v1/status", **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.get(path, headers=named)
    return response.status_code, response.json().get("code", "")


@pytest.fixture
def index(shared_index: Path) -> Path:
    """Nothing here changes the index: that is what is tested."""
    return shared_index


@pytest.fixture
def guarded(index: Path) -> Iterator[TestClient]:
    """A client of a server with a token, which it does not know."""
    with client_of(app_of(index, token=TOKEN)) as client:
        yield client


# Host: a name that an attacker points at this machine


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8321", "LOCALHOST:9", "[::1]:8321"])
def test_our_own_names_are_answered(client: TestClient, host: str) -> None:
    assert code(client, Host=host) == (200, "")


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8321", "127.0.0.1.evil.example", "localhost.evil"),
        *("", "user@127.0.0.1", "127.0.0.1/x", "127.0.0.1:x", "[::1", "127.0.0.2", "0.0.0.0"),
    ],
)
def test_another_host_is_refused(client: TestClient, host: str) -> None:
    assert code(client, Host=host) == (421, "host")
    assert code(client, "/static/docs.js", Host=host) == (421, "host")


def test_the_address_that_a_request_came_in_on_is_ours(index: Path) -> None:
    app = app_of(index)
    with client_of(app):
        for server, host, expected in (
            (("192.0.2.7", 8321), b"192.0.2.7:8321", 200),
            (("192.0.2.7", 8321), b"192.0.2.8:8321", 421),
            (("evil.example", 8321), b"evil.example:8321", 421),
            (None, b"192.0.2.7", 421),
        ):
            sent = asyncio.run(answer(app, {"server": server}, [(b"host", host)]))
            assert sent[0]["status"] == expected
    assert ipaddress.ip_address("192.0.2.7").is_private


def test_two_hosts_or_none_are_refused(index: Path) -> None:
    app = app_of(index)
    with client_of(app):
        for hosts in ([], [(b"host", b"127.0.0.1"), (b"host", b"evil.example")]):
            assert asyncio.run(answer(app, {}, hosts))[0]["status"] == 421


async def answer(
    app: FastAPI, more: dict[str, object], headers: list[tuple[bytes, bytes]]
) -> list[Message]:
    """Return what an application sends to a bare request for the status."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/v1/status",
        "raw_path": b"/v1/status",
        "root_path": "",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8321),
        "headers": headers,
        **more,
    }
    await app(scope, receive, send)
    return sent


# Origin: the page of another site


def test_requests_of_other_sites_are_refused(client: TestClient) -> None:
    for origin in (EVIL, "null", "http://127.0.0.1:9999", "http://localhost:8321", "file://"):
        assert code(client, Origin=origin) == (403, "origin")
        response = client.post("/v1/query", files=UPLOAD, headers={"Origin": origin})
        assert (response.status_code, response.json()["code"]) == (403, "origin")
    assert code(client, Origin=OURS) == (200, "")
    assert client.post("/v1/query", files=UPLOAD, headers={"Origin": OURS}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_browser_says_comes_from_elsewhere_is_refused(client: TestClient, site: str) -> None:
    for mode, dest in (("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe")):
        headers = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": mode, "Sec_Fetch_Dest": dest}
        assert code(client, **headers) == (403, "origin")
    opened = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert code(client, **opened) == (200, "")
    headers = {name.replace("_", "-"): value for name, value in opened.items()}
    posted = client.post("/v1/query", files=UPLOAD, headers=headers)
    assert (posted.status_code, posted.json()["code"]) == (403, "origin")


def test_our_own_pages_may_ask(client: TestClient) -> None:
    for site in ("same-origin", "none"):
        assert code(client, Sec_Fetch_Site=site, Sec_Fetch_Mode="cors") == (200, "")


def test_an_edit_from_another_site_changes_nothing(editor: TestClient) -> None:
    for headers in ({"Origin": EVIL}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        response = editor.patch("/v1/people/1", json={"name": "Eve"}, headers=headers)
        assert response.status_code in (403, 421)
    assert editor.get("/v1/people/1").json()["name"] is None


def test_no_other_site_is_allowed_to_read(client: TestClient) -> None:
    response = client.options(
        "/v1/status", headers={"Origin": EVIL, "Access-Control-Request-Method": "GET"}
    )
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]


# Token


@pytest.mark.parametrize(
    "path",
    ["/v1/status", "/v1/faces/1/crop", "/v1/people", "/v1/openapi.json", "/docs", "/", "/nowhere"],
)
def test_without_the_token_nothing_is_shown(guarded: TestClient, path: str) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic " + TOKEN},
        {"Cookie": f"facesim_session={TOKEN}"},
        {"Cookie": "facesim_session="},
        {"Cookie": '"'},
    ):
        response = guarded.get(path, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "token")
        assert response.headers["www-authenticate"] == "Bearer"


def test_who_knows_the_token_is_let_in(guarded: TestClient) -> None:
    assert guarded.get("/v1/status", headers=BEARER).status_code == 200
    assert guarded.get("/static/docs.js").status_code == 200
    posted = guarded.post("/v1/query", files=UPLOAD)
    assert (posted.status_code, posted.json()["code"]) == (401, "token")


def test_a_browser_is_led_to_the_login_and_back(guarded: TestClient) -> None:
    led = guarded.get("/photos/1?x=1", headers={"Accept": "text/html"})
    assert (led.status_code, led.headers["location"]) == (303, "/login?next=/photos/1%3Fx%3D1")
    form = {"token": TOKEN, "next": "/photos/1?x=1"}
    entered = guarded.post("/login", data=form, headers={"Origin": OURS})
    assert (entered.status_code, entered.headers["location"]) == (303, "/photos/1?x=1")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/v1/status").status_code == 200


def test_a_wrong_token_gives_no_cookie(guarded: TestClient) -> None:
    for form in ({"token": "wrong"}, {"token": ""}, {}, {"token": TOKEN * 1000}):
        refused = guarded.post("/login", data=form)
        assert refused.headers["location"].startswith("/login?wrong=1")
        assert "set-cookie" not in refused.headers
    assert guarded.get("/v1/status").status_code == 401


def test_a_login_from_another_site_is_refused(guarded: TestClient) -> None:
    response = guarded.post("/login", data={"token": TOKEN}, headers={"Origin": EVIL})
    assert (response.status_code, "set-cookie" in response.headers) == (403, False)


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil", "x", ""])
def test_a_login_leads_nowhere_else(guarded: TestClient, target: str) -> None:
    response = guarded.post("/login", data={"token": TOKEN, "next": target})
    assert response.headers["location"] == "/"


def test_a_cookie_is_of_one_run(index: Path, guarded: TestClient) -> None:
    cookie = guarded.post("/login", data={"token": TOKEN}).headers["set-cookie"].split(";")[0]
    with client_of(app_of(index, token=TOKEN)) as later:
        assert later.get("/v1/status", headers={"Cookie": cookie}).status_code == 401


def test_without_a_token_there_is_no_login(client: TestClient) -> None:
    assert client.get("/login").headers["location"] == "/"


# Edit

EDITS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("PATCH", "/v1/people/1", {"name": "Rosa"}),
    ("POST", "/v1/people/merge", {"people": [1, 2]}),
    ("POST", "/v1/people/1/split", {"faces": [2]}),
    ("POST", "/v1/people/move", {"faces": [1], "person_id": 1}),
    ("POST", "/v1/people/confirm", {"faces": [1]}),
    ("POST", "/v1/people/apart", {"one": 1, "other": 2}),
    ("POST", "/v1/people/undo", {}),
    ("POST", "/v1/people/cluster", {"full": True}),
)


@pytest.mark.parametrize(("method", "path", "body"), EDITS)
def test_nothing_is_changed_without_edit(
    client: TestClient, method: str, path: str, body: dict[str, object]
) -> None:
    before = client.get("/v1/people").json(), client.get("/v1/status").json()["undo"]
    response = client.request(method, path, json=body)
    assert (response.status_code, response.json()["code"]) == (403, "read_only")
    assert (client.get("/v1/people").json(), client.get("/v1/status").json()["undo"]) == before


def test_every_route_that_changes_something_is_known_here(client: TestClient) -> None:
    described = client.get("/v1/openapi.json").json()["paths"]
    changing = {
        (method.upper(), path)
        for path, methods in described.items()
        for method in methods
        if method != "get"
    } - {("POST", "/v1/query"), ("POST", "/v1/compare")}
    tried = {(method, path.replace("/1", "/{person_id}")) for method, path, _ in EDITS}
    assert changing == tried


# What goes out


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/status", 200),
        ("GET", "/v1/faces/1/crop", 200),
        ("GET", "/v1/openapi.json", 200),
        ("GET", "/docs", 200),
        ("GET", "/static/docs.js", 200),
        ("GET", "/static/swagger/swagger-ui.css", 200),
        ("GET", "/v1/faces/999", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/static/nowhere", 404),
        ("DELETE", "/v1/status", 405),
        ("POST", "/v1/query", 415),
        ("POST", "/v1/people/undo", 403),
    ],
)
def test_every_answer_is_sealed(client: TestClient, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-security-policy"] == CSP
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cache-control"] in ("no-store", "no-cache", "private, no-cache")
    assert "set-cookie" not in response.headers


def test_refusals_are_sealed_too(client: TestClient, guarded: TestClient) -> None:
    for response in (
        client.get("/v1/status", headers={"Host": "evil.example"}),
        client.get("/v1/status", headers={"Origin": EVIL}),
        guarded.get("/v1/status"),
        guarded.post("/login", data={"token": "wrong"}),
    ):
        assert response.headers["content-security-policy"] == CSP
        assert response.headers["cache-control"] == "no-store"


def test_nothing_comes_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "//" not in page.replace("<!DOCTYPE", "")
    assert "<script>" not in page
    assert "style=" not in page
    script = client.get("/static/docs.js").text
    assert "//" not in script


# What comes in


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/swagger/../../app.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/swagger/%2e%2e%2f__init__.py",
        "/v1/faces/..%2f..%2fetc%2fpasswd/crop",
        "/v1/images/%2fetc%2fpasswd/picture",
    ],
)
def test_no_path_leads_out(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code in (404, 422)
    assert "import" not in response.text
    assert "root:" not in response.text


def test_no_request_names_a_path(client: TestClient) -> None:
    """Nothing that a client may send is a path, by the API's own description."""
    described = client.get("/v1/openapi.json").json()
    asked = {
        parameter["name"]
        for methods in described["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
    }
    assert asked == {
        *("face_id", "image_id", "person_id", "job_id", "side_px", "If-None-Match", "cursor"),
        *("top", "min_degree", "prior", "exclude_same_image", "limit", "pictures"),
        *("min_faces", "ignored", "named"),
    }


def test_a_body_that_is_too_large_is_not_read(editor: TestClient) -> None:
    body = b'{"faces": [' + b"1," * (MOST_BODY_BYTES // 2) + b'1], "person_id": null}'
    response = editor.post(
        "/v1/people/move", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


# Where it listens


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    check_address(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "photos.example", ""])
def test_another_address_needs_a_token(host: str, index: Path) -> None:
    with pytest.raises(UsageError, match="give --token or --generate-token"):
        check_address(host, None)
    check_address(host, TOKEN)
    result = CliRunner().invoke(main, ["--index", str(index), "serve", "--host", host])
    assert result.exit_code == 2
    assert "--generate-token" in result.stderr


def test_a_short_token_is_refused(index: Path) -> None:
    for host in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(UsageError, match="16 characters"):
            check_address(host, "short")


def test_names_are_lower_case() -> None:
    assert loopback_hosts(("Photos.Example",)) >= {"photos.example", "localhost"}
