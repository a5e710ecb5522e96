"""Cookies of other programs on the same host come with ours, whatever is in them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.serving import TestClient, app_of, client_of

TOKEN = "a token of some length"
FOREIGN = (
    'a={"x": 1}',
    "b",
    "",
    "=",
    "=nameless",
    'c="never closed',
    'd="quoted; not the end"',
    "e=1, 2",
    "f=ü",
    "päth=1",
    "g[0]=1",
    "h=a=b=c",
    "$Version=1",
    "expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "secure",
    "facesim_session=of another server on this host",
    "facesim_sessions=x",
    "i=" + "x" * 10_000,
)


@pytest.fixture
def guarded(shared_index: Path) -> Iterator[TestClient]:
    """A client of a server with a token, which keeps no cookies by itself."""
    with client_of(app_of(shared_index, token=TOKEN)) as client:
        yield client


def entered(client: TestClient) -> str:
    answer = client.post("/login", data={"token": TOKEN})
    client.cookies.clear()
    return str(answer.headers["set-cookie"]).split(";")[0]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_login_holds_beside_any_other_cookie(guarded: TestClient, foreign: str) -> None:
    ours = entered(guarded)
    for cookies in (f"{foreign}; {ours}", f"{ours}; {foreign}", f"{foreign};{ours};{foreign}"):
        headers = {"Cookie": cookies.encode("utf-8")}
        assert guarded.get("/v1/status", headers=headers).status_code == 200, cookies


@pytest.mark.parametrize("foreign", FOREIGN)
def test_another_cookie_lets_nobody_in(guarded: TestClient, foreign: str) -> None:
    session = entered(guarded).partition("=")[2]
    for cookies in (foreign, f"x={session}; {foreign}", f"facesim_session={session[:-1]}"):
        headers = {"Cookie": cookies.encode("utf-8")}
        assert guarded.get("/v1/status", headers=headers).status_code == 401, cookies


def test_cookies_in_several_fields_are_read(guarded: TestClient) -> None:
    fields = [("Cookie", 'a={"x": 1}'), ("Cookie", entered(guarded))]
    assert guarded.get("/v1/status", headers=fields).status_code == 200
