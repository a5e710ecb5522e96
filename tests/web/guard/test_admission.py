"""Which requests wait for which, and what happens to those whose client has gone."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from facesim_index.people.review import review_people
from facesim_index.store.folder.store import FolderStore
from facesim_index.web.guard.admission import Admission, Kind, Lanes, kind_of
from facesim_index.web.guard.lanes import Lane, LaneBounds, client_name
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.problems import ProblemError
from facesim_index.web.guard.receiving import FIRST_BYTES, MOST_BODY_BYTES
from tests.coloured_people import RED
from tests.example_pictures import fake_photo
from tests.web.serving import TIGHT, TestClient, app_of, service_of

KINDS = {
    Kind.STUDY: {
        "GET /v1/people/review",
        "GET /v1/calibration",
        "GET /v1/calibration/reliability.svg",
        "GET /index/calibration",
    },
    Kind.SEARCH: {
        "GET /v1/faces/{face_id}/matches",
        "GET /v1/people/{person_id}/matches",
        "GET /people/{person_id}",
    },
    Kind.UPLOAD: {"POST /v1/query", "POST /v1/compare", "POST /", "POST /compare"},
    Kind.EDIT: {
        "PATCH /v1/people/{person_id}",
        *(f"POST /v1/people/{what}" for what in ("merge", "move", "confirm", "apart", "undo")),
        *(f"POST /v1/people/{what}" for what in ("cluster", "{person_id}/split")),
    },
    Kind.PICTURE: {"GET /v1/faces/{face_id}/crop", "GET /v1/images/{image_id}/picture"},
    Kind.BROWSE: {
        *(f"GET /v1/{what}" for what in ("status", "people", "errors", "openapi.json")),
        *(f"GET /v1/{what}" for what in ("faces/{face_id}", "images/{image_id}")),
        *("GET /v1/people/{person_id}", "GET /v1/people/{person_id}/faces"),
        *("GET /v1/jobs/{job_id}", "GET /docs", "GET /", "GET /compare", "GET /people"),
        *("GET /people/review", "GET /faces/{face_id}", "GET /photos/{image_id}"),
        *("GET /index", "GET /login"),
    },
}


def scope_of(method: str, path: str, query: bytes = b"", client: str = "192.0.2.1") -> Scope:
    asked = {"type": "http", "method": method, "path": path, "query_string": query}
    return {**asked, "client": (client, 1), "headers": []}


def test_every_route_has_its_lane(shared_index: Path) -> None:
    """A new route must be named here: is it cheap?"""
    app = app_of(shared_index)
    app.state.service.close()
    found: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for route in app.routes:
        if isinstance(route, Route):
            for method in (route.methods or set()) - {"HEAD"}:
                found[kind_of(scope_of(method, route.path))].add(f"{method} {route.path}")
    assert found == KINDS


@pytest.mark.parametrize(
    ("path", "query", "kind"),
    [
        ("/people/review", b"ask=true", Kind.STUDY),
        ("/", b"face=1&top=3", Kind.SEARCH),
        ("/", b"person=1", Kind.SEARCH),
        ("/", b"top=3", Kind.BROWSE),
        ("/static/page.css", b"", Kind.BROWSE),
        ("/nowhere", b"", Kind.BROWSE),
    ],
)
def test_what_is_dear_depends_on_what_is_asked(path: str, query: bytes, kind: Kind) -> None:
    assert kind_of(scope_of("GET", path, query)) is kind


# Lanes


def test_places_are_given_in_the_order_of_arrival() -> None:
    async def play() -> list[int]:
        lane, order = Lane("full", LaneBounds(1, 20)), []

        async def work(number: int) -> None:
            place = await lane.enter(f"client {number % 3}")
            order.append(number)
            await asyncio.sleep(0)
            place.leave()
            place.leave()

        await asyncio.gather(*(work(number) for number in range(12)))
        assert lane.n_requests == 0
        return order

    assert asyncio.run(play()) == list(range(12))


def test_beyond_its_places_a_lane_refuses_and_one_client_never_has_all() -> None:
    async def play() -> None:
        lane = Lane("all is full", LaneBounds(2, 6))
        assert lane.bounds.of_one == 6
        mine = [asyncio.create_task(lane.enter("me")) for _ in range(6)]
        await asyncio.sleep(0)
        for client, places in (("me", 0), ("you", 2)):
            for _ in range(places):
                mine.append(asyncio.create_task(lane.enter(client)))
                await asyncio.sleep(0)
            with pytest.raises(ProblemError, match="all is full; try again in 5 s") as refused:
                await lane.enter(client)
            assert (refused.value.status, refused.value.code) == (503, "busy")
        for entered in mine:
            (await entered).leave()
        assert lane.n_requests == 0

    asyncio.run(play())


def test_one_client_does_not_work_in_all_places() -> None:
    async def play() -> None:
        lane = Lane("full", LaneBounds(3, 10, in_work_of_one=2))
        mine = [asyncio.create_task(lane.enter("me")) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert [task.done() for task in mine] == [True, True, False, False, False]
        yours = await asyncio.wait_for(lane.enter("you"), 1)
        for entered in mine:
            (await entered).leave()
        yours.leave()
        assert lane.n_requests == 0

    asyncio.run(play())


def test_a_wait_that_is_too_long_ends() -> None:
    async def play() -> None:
        lane = Lane("full", LaneBounds(1, 3, wait_s=0.05))
        place = await lane.enter("me")
        with pytest.raises(ProblemError, match="full"):
            await lane.enter("you")
        assert lane.n_requests == 1
        place.leave()
        (await lane.enter("you")).leave()

    asyncio.run(play())


def test_who_has_an_address_of_a_network_has_them_all() -> None:
    assert client_name("2001:db8:1:2::7") == client_name("2001:db8:1:2:ffff::8")
    assert client_name("2001:db8:1:2::7") != client_name("2001:db8:1:3::7")
    assert client_name("::ffff:192.0.2.7") == client_name("192.0.2.7")
    assert client_name("fe80::1%eth0") == client_name("fe80::2%eth0")
    assert client_name("no address: at all") == "no address: at all"


# The gate


class Held:
    """An application that answers when it is told to, and knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.goes_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["query_string"].decode())
        await self.goes_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Asking:
    """A client that asks for a study, and may hang up."""

    def __init__(self, gate: Admission, name: str, client: str) -> None:
        self.gone = asyncio.Event()
        self.status: int | None = None
        scope = scope_of("GET", "/v1/people/review", name.encode(), client)
        self.task = asyncio.create_task(gate(scope, self.receive, self.send))

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)


def test_work_of_clients_that_have_gone_is_not_begun() -> None:
    async def play() -> None:
        held = Held()
        lanes = Lanes(Limits(), 2)
        gate = Admission(held, lanes, Limits())
        first = Asking(gate, "first", "192.0.2.1")
        await asyncio.sleep(0.01)
        for number in range(60):
            gone = Asking(gate, f"gone {number}", "192.0.2.2")
            await asyncio.sleep(0)
            gone.gone.set()
            await asyncio.wait_for(gone.task, 1)
            assert gone.status is None
        stays = Asking(gate, "stays", "192.0.2.3")
        await asyncio.sleep(0.01)
        assert held.asked == ["first"]
        held.goes_on.set()
        await asyncio.gather(first.task, stays.task)
        assert held.asked == ["first", "stays"]
        assert (first.status, stays.status) == (200, 200)
        assert lanes[Kind.STUDY].n_requests == 0

    asyncio.run(play())


async def hung_up() -> Message:
    return {"type": "http.disconnect"}


def test_who_waits_long_with_a_whole_body_is_not_slow() -> None:
    """Not the client makes the server wait."""

    async def play() -> None:
        limits = Limits(pace_s=0.05)
        held, lanes, statuses = Held(), Lanes(limits, 2), []
        gate = Admission(held, lanes, limits)
        places = [await lanes[Kind.EDIT].enter("others") for _ in range(2)]
        bodies = [{"type": "http.request", "body": b"{}", "more_body": False}]

        async def receive() -> Message:
            if bodies:
                return bodies.pop()
            await asyncio.sleep(3600)
            raise AssertionError

        async def send(message: Message) -> None:
            statuses.append(message.get("status"))

        asking = asyncio.create_task(gate(scope_of("POST", "/v1/people/undo"), receive, send))
        await asyncio.sleep(0.3)
        for place in places:
            place.leave()
        held.goes_on.set()
        await asking
        assert statuses[0] == 200

    asyncio.run(play())


# The server


def test_a_review_ends_when_its_client_hangs_up(
    shared_index: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds: list[int] = []

    def endless(*_: object, between: Callable[[], None], **__: object) -> None:
        while len(rounds) < 1000:
            rounds.append(1)
            time.sleep(0.01)
            between()

    monkeypatch.setattr("facesim_index.web.service.service.review_people", endless)
    app = app_of(shared_index)
    for path in ("/people/review", "/v1/people/review"):
        rounds.clear()
        asyncio.run(hung_up_after(app, path, 0.2))
        assert 3 < len(rounds) < 500, path
    app.state.service.close()
    assert not [record for record in caplog.records if record.exc_info]


async def hung_up_after(app: FastAPI, path: str, seconds: float) -> None:
    """Ask an application for something, and hang up while it works."""

    async def receive() -> Message:
        await asyncio.sleep(seconds)
        return await hung_up()

    async def send(message: Message) -> None:
        assert message.get("status", 400) == 400

    await app(whole_scope("GET", path, b"ask=true"), receive, send)


def test_the_work_of_a_review_can_be_ended(shared_index: Path) -> None:
    """By what is called between its parts."""

    class EnoughError(Exception):
        pass

    n_calls = 0

    def count() -> None:
        nonlocal n_calls
        n_calls += 1

    def end() -> None:
        if next(left) == 0:
            raise EnoughError

    with FolderStore(shared_index) as store, store.view() as view:
        review_people(view, between=count)
        assert n_calls >= 4
        for n_before in range(n_calls):
            left = iter(range(n_before, -1, -1))
            with pytest.raises(EnoughError):
                review_people(view, between=end)


@pytest.fixture
def index(shared_index: Path) -> Path:
    """Nothing here changes the index."""
    return shared_index


@pytest.fixture
def studying(client: TestClient) -> Iterator[TestClient]:
    """A client of a server in which a study goes on until the end of the test."""
    with service_of(client)._studies:
        yield client


def test_cheap_requests_do_not_wait_for_dear_ones(studying: TestClient) -> None:
    asking = [
        threading.Thread(target=studying.get, args=("/people/review?ask=true",)) for _ in range(3)
    ]
    for one in asking:
        one.start()
    for path in ("/v1/status", "/people", "/v1/faces/1/crop", "/v1/faces/1/matches", "/photos/1"):
        assert studying.get(path).status_code == 200
    upload = studying.post("/v1/query", files={"picture": fake_photo([RED])})
    assert upload.status_code == 200
    refused = studying.get("/v1/people/review")
    assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    assert refused.headers["retry-after"] == "5"
    assert refused.headers["cache-control"] == "no-store"
    service_of(studying)._studies.release()
    for one in asking:
        one.join(30)
    assert not any(one.is_alive() for one in asking)
    assert studying.get("/v1/people/review").status_code == 200
    service_of(studying)._studies.acquire()


def test_a_page_takes_pictures_as_large_as_the_api_does(client: TestClient) -> None:
    """What comes after a picture's end is not looked at."""
    picture = fake_photo([RED])
    picture += bytes(TIGHT.upload_bytes - len(picture))
    assert len(picture) + 200 > MOST_BODY_BYTES
    for path, names in (("/", ("picture",)), ("/compare", ("a", "b"))):
        answer = client.post(path, files=dict.fromkeys(names, picture))
        assert answer.status_code == 200, answer.text


def test_a_long_body_of_a_change_is_read_whole(editor: TestClient) -> None:
    body = b'{"faces": [' + b"1, " * FIRST_BYTES + b'1], "person_id": 99}'
    kind = {"Content-Type": "application/json"}
    answer = editor.post("/v1/people/move", content=body, headers=kind)
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "there is no person 99 in the index",
    )


def test_a_body_that_trickles_in_is_given_up(index: Path) -> None:
    limits = Limits(pace_s=0.2)
    app = app_of(index, edit=True, limits=limits)
    for path in ("/v1/people/move", "/v1/query", "/", "/v1/people/undo"):
        assert asyncio.run(trickled(app, path)) == 408, path
    app.state.service.close()


async def trickled(app: FastAPI, path: str) -> int:
    """Return the status that an application answers to a body that comes byte by byte."""
    statuses = []

    async def receive() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    await app(whole_scope("POST", path), receive, send)
    status = statuses[0]
    assert isinstance(status, int)
    return status


def whole_scope(method: str, path: str, query: bytes = b"") -> Scope:
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=x")]
    asgi = {"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""}
    more = {"raw_path": path.encode(), "headers": headers, "server": ("127.0.0.1", 8321)}
    return {**scope_of(method, path, query), **asgi, **more}
