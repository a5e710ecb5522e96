import asyncio
import io
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.types import Message

from facesim_index.errors import UsageError
from facesim_index.web.guard.limits import Limits
from facesim_index.web.service import uploads
from tests.coloured_people import GREEN, RED
from tests.example_pictures import fake_photo, png
from tests.web.handlers import CRASH, EAT, HANG, make_moody_reader
from tests.web.serving import ADDRESS, TIGHT, TestClient, app_of, client_of, noise, service_of

GOOD = fake_photo([RED])


@pytest.fixture
def index(shared_index: Path) -> Path:
    """Nothing here changes the index: that is what is tested."""
    return shared_index


def query(client: TestClient, data: bytes, **fields: str) -> tuple[int, str]:
    response = client.post("/v1/query", files={"picture": ("a", data)}, data=fields)
    return response.status_code, response.json().get("code", "")


# Bytes


def test_a_picture_with_too_many_bytes_is_refused(client: TestClient) -> None:
    most = TIGHT.upload_bytes
    assert query(client, GOOD + bytes(most - len(GOOD))) == (200, "")
    assert query(client, GOOD + bytes(most - len(GOOD) + 1)) == (413, "too_large")
    assert query(client, bytes(2 * most)) == (413, "too_large")
    files = {"a": ("a", GOOD), "b": ("b", bytes(most + 1))}
    assert client.post("/v1/compare", files=files).status_code == 413


def test_a_body_without_end_is_not_read_to_it(client: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        while sent < 100 * TIGHT.upload_bytes:
            sent += 100_000
            yield bytes(100_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = client.post("/v1/query", content=endless(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


# Pixels


def test_a_picture_with_too_many_pixels_is_not_decoded(client: TestClient) -> None:
    stream = io.BytesIO()
    Image.new("L", (1001, 1000)).save(stream, "PNG")
    assert query(client, stream.getvalue()) == (413, "too_large")
    assert query(client, png(np.zeros((1000, 1000, 3), dtype=np.uint8))) == (422, "no_face")


# Time


def test_a_body_that_does_not_come_is_given_up(index: Path) -> None:
    limits = Limits(upload_s=0.2)
    app = app_of(index, limits=limits)
    started = time.monotonic()
    status, body = asyncio.run(slow_upload(app))
    assert status == 408
    assert b"slow_upload" in body
    assert time.monotonic() - started < 20
    app.state.service.close()


async def slow_upload(app: FastAPI) -> tuple[int, bytes]:
    """Return what an application answers to an upload of which only the beginning comes."""
    parts = [b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n']
    sent: list[Message] = []

    async def receive() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": True}
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/query",
        "raw_path": b"/v1/query",
        "root_path": "",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8321),
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"multipart/form-data; boundary=x"),
        ],
    }
    await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


@pytest.fixture
def moody(index: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client of a server whose pictures may hang, crash or eat memory."""
    monkeypatch.setattr(uploads, "make_upload_reader", make_moody_reader)
    limits = Limits(picture_s=3.0, worker_bytes=1 << 30, wait_s=60.0)
    with client_of(app_of(index, limits=limits)) as client:
        yield client


def test_a_picture_that_hangs_costs_its_request_only(moody: TestClient) -> None:
    assert query(moody, GOOD) == (200, "")
    outcomes: list[tuple[int, str]] = []

    def hang() -> None:
        response = moody.post("/v1/query", files={"picture": HANG})
        outcomes.append((response.status_code, response.json()["detail"]))

    hanging = threading.Thread(target=hang)
    hanging.start()
    for _ in range(3):
        assert moody.get("/v1/faces/1/matches").status_code == 200
        assert moody.get("/v1/faces/1/crop").status_code == 200
    hanging.join()
    assert outcomes == [(422, "the picture was given up: no result within 3 s")]
    assert query(moody, GOOD) == (200, "")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [(CRASH, 422, "decoder_crash"), (EAT, 413, "out_of_memory")],
)
def test_a_picture_that_kills_its_worker_costs_its_request_only(
    moody: TestClient, data: bytes, status: int, code: str
) -> None:
    assert query(moody, data) == (status, code)
    assert query(moody, GOOD) == (200, "")
    files = {"a": ("a", GOOD), "b": ("b", data)}
    response = moody.post("/v1/compare", files=files)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert query(moody, GOOD) == (200, "")


def test_when_all_workers_hang_the_next_is_told_to_wait(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "make_upload_reader", make_moody_reader)
    monkeypatch.setattr(uploads, "usable_cores", lambda: 1)
    limits = Limits(picture_s=6.0, wait_s=0.5)
    with client_of(app_of(index, limits=limits)) as client:
        assert query(client, GOOD) == (200, "")
        hanging = threading.Thread(target=lambda: query(client, HANG))
        hanging.start()
        time.sleep(1.0)
        response = client.post("/v1/query", files={"picture": GOOD})
        assert (response.status_code, response.json()["code"]) == (503, "busy")
        assert response.headers["retry-after"]
        hanging.join()
        assert query(client, GOOD) == (200, "")


def test_stopping_the_server_does_not_wait_for_a_picture(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "make_upload_reader", make_moody_reader)
    outcomes: list[tuple[int, str]] = []
    with client_of(app_of(index, limits=Limits(picture_s=500.0))) as client:
        service = service_of(client)
        assert query(client, GOOD) == (200, "")
        workers = service._uploads._workers
        assert workers is not None
        pids = [pid for pool in workers._pools for pid in pool.worker_pids]
        hanging = threading.Thread(target=lambda: outcomes.append(query(client, HANG)))
        hanging.start()
        time.sleep(0.5)
        service.close()
        hanging.join(30)
    assert not hanging.is_alive()
    assert outcomes == [(503, "workers")]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# Forms


def test_pictures_that_are_none_are_told_of(client: TestClient) -> None:
    assert query(client, b"no picture") == (422, "unsupported")
    assert query(client, b"") == (422, "empty")
    assert query(client, GOOD[:-30]) == (422, "truncated")
    assert query(client, fake_photo([GREEN], side_px=20)) == (422, "no_face")


def test_fields_are_checked(client: TestClient) -> None:
    for fields in (
        {"top": "0"},
        {"top": "many"},
        {"prior": "1.5"},
        {"prior": "nan"},
        {"face": "-1"},
        {"min_degree": "2"},
        {"unknown": "1"},
    ):
        assert query(client, GOOD, **fields) == (422, "validation")
    assert query(client, GOOD, prior="gallery", top="1", face="", min_degree="") == (200, "")
    files = {"a": ("a", GOOD), "b": ("b", GOOD)}
    wrong = client.post("/v1/compare", files=files, data={"prior": "0"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "validation")


def test_a_form_that_is_none_is_told_of(client: TestClient) -> None:
    for content, kind, expected in (
        (b"{}", "application/json", (415, "form")),
        (b"x", "multipart/form-data", (422, "form")),
        (b"x", "multipart/form-data; boundary=y", (422, "form")),
        (b"--y--\r\n", "multipart/form-data; boundary=y", (422, "form")),
    ):
        response = client.post("/v1/query", content=content, headers={"Content-Type": kind})
        assert (response.status_code, response.json()["code"]) == expected
    other = client.post("/v1/query", files={"photo": GOOD})
    assert (other.status_code, other.json()["code"]) == (422, "form")
    text = client.post("/v1/query", data={"picture": "text"}, files={"x": b""})
    assert (text.status_code, text.json()["code"]) == (422, "form")
    many = [("picture", GOOD)] * 3
    assert client.post("/v1/query", files=many).json()["code"] == "form"


# Nothing is kept


def test_nothing_of_an_upload_is_stored(
    index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not even for a moment: what would put a part of a form on the disk is forbidden."""

    def forbidden(*_: object) -> None:
        raise AssertionError("an upload was about to be written to the disk")

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", forbidden)
    monkeypatch.setattr(tempfile, "TemporaryFile", forbidden)
    before = {path: path.stat().st_size for path in index.rglob("*")}
    rgb = noise(800, 600)
    rgb[:96, :96] = 0
    rgb[32:64, 32:64] = RED
    large = png(rgb)
    assert len(large) > 1_400_000
    name = "who-is-this.png"
    caplog.set_level(logging.DEBUG)
    with client_of(app_of(index)) as client:
        for data, expected in ((large, 200), (large[:-40], 422), (GOOD, 200), (b"rubbish", 422)):
            files = {"picture": (name, data, "image/png")}
            response = client.post("/v1/query?pictures=true", files=files)
            assert response.status_code == expected
            assert name not in response.text
            assert response.headers["cache-control"] == "no-store"
            both = {"a": (name, data), "b": (name, data)}
            assert client.post("/v1/compare?pictures=true", files=both).status_code == expected
        assert service_of(client)._crops._n_bytes == 0
    assert list(temporary.iterdir()) == []
    after = {path: path.stat().st_size for path in index.rglob("*")}
    assert {path: size for path, size in after.items() if "-shm" not in path.name} == {
        path: size for path, size in before.items() if "-shm" not in path.name
    } | {path: 0 for path in after if path.name.endswith("-wal")}
    assert name not in caplog.text
    assert "rubbish" not in caplog.text


def test_limits_are_positive() -> None:
    with pytest.raises(UsageError, match="picture_s must be positive"):
        Limits(picture_s=0)


def test_an_upload_is_cut_off_before_its_form_is_read(index: Path) -> None:
    """A length that is told too large is refused before anything is sent."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app_of(index))
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            headers = {
                "Content-Type": "multipart/form-data; boundary=x",
                "Content-Length": str(10 * TIGHT.upload_bytes),
            }
            return await client.post("/v1/query", content=b"", headers=headers)

    response = asyncio.run(ask())
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
