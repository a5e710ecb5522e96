"""Connections come before the guard: how many there may be, and how long one may do nothing."""

import contextlib
import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesim_index.web.guard.connections import ConnectionBounds, connection_bounds
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.log_limit import limited_log
from facesim_index.web.server import make_server
from tests.web.serving import app_of

HEAD = b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n"
LIMITS = Limits(connections=8, connections_of_one=6, head_s=1.0, pace_s=0.5)


@contextlib.contextmanager
def served(index: Path, limits: Limits = LIMITS) -> Iterator[int]:
    """Run a server in a thread, and give its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, limited_log() as log:
        server = make_server(app_of(index, limits=limits), limits, log)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


def connect(port: int, source: str = "127.0.0.1", sent: bytes = b"") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
    made.sendall(sent)
    return made


def status_of(made: socket.socket) -> int:
    response = http.client.HTTPResponse(made)
    response.begin()
    response.read()
    return response.status


def closed_after_s(made: socket.socket, *, sent: bytes = b"") -> float:
    """Return after how long a connection is closed, while more is sent now and then."""
    started = time.monotonic()
    made.settimeout(0.05)
    while time.monotonic() - started < 10:
        try:
            made.sendall(sent)
            if not made.recv(65_536):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - started


@pytest.mark.parametrize("begun", [b"", b"G", HEAD, b"POST /v1/query HTTP/1.1\r\n"])
@pytest.mark.parametrize("more", [b"", b"x"])
def test_without_a_whole_head_a_connection_is_closed_soon(
    shared_index: Path, begun: bytes, more: bytes
) -> None:
    with served(shared_index) as port, connect(port, sent=begun) as made:
        assert 0.8 < closed_after_s(made, sent=more) < 5


def test_what_still_comes_after_an_answer_does_not_keep_a_connection(shared_index: Path) -> None:
    head = HEAD.replace(b"GET", b"PUT") + b"Content-Length: 1000000\r\n\r\n"
    with served(shared_index) as port, connect(port, sent=head) as made:
        assert status_of(made) == 405
        assert closed_after_s(made, sent=b"x") < 5


def test_an_answer_that_nobody_fetches_is_given_up(shared_index: Path) -> None:
    """More is asked for than the system keeps for a client that reads nothing."""
    head = HEAD.replace(b"/v1/status", b"/static/swagger/swagger-ui-bundle.js") + b"\r\n"
    with served(shared_index) as port, socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(("127.0.0.1", port))
        made.sendall(20 * head)
        time.sleep(3)
        n_bytes = 0
        with contextlib.suppress(ConnectionResetError):
            while part := made.recv(1 << 20):
                n_bytes += len(part)
        assert n_bytes < 20 * 1_000_000
        with connect(port, sent=HEAD + b"\r\n") as other:
            assert status_of(other) == 200


def test_an_answer_that_is_fetched_slowly_comes_whole(shared_index: Path) -> None:
    head = HEAD.replace(b"/v1/status", b"/static/swagger/swagger-ui-bundle.js")
    with served(shared_index) as port, socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(("127.0.0.1", port))
        made.sendall(head + b"Connection: close\r\n\r\n")
        n_bytes = 0
        while part := made.recv(20_000):
            n_bytes += len(part)
            time.sleep(0.02)
        assert n_bytes > 1_000_000


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
def test_a_new_connection_takes_the_place_of_an_idle_one(shared_index: Path, source: str) -> None:
    with served(shared_index, Limits(connections=8, connections_of_one=6)) as port:
        idle = [connect(port, source) for _ in range(40)]
        for _ in range(10):
            with connect(port, sent=HEAD + b"\r\n") as made:
                assert status_of(made) == 200
        for made in idle[:30]:
            assert closed_after_s(made) < 1
            made.close()
        for made in idle[30:]:
            made.close()


def test_a_client_that_has_too_many_closes_its_own(shared_index: Path) -> None:
    with served(shared_index, Limits(connections=8, connections_of_one=6)) as port:
        mine = connect(port, "127.0.0.3")
        theirs = [connect(port, "127.0.0.2") for _ in range(20)]
        mine.sendall(HEAD + b"\r\n")
        assert status_of(mine) == 200
        for made in (mine, *theirs):
            made.close()


def test_the_bounds_leave_files_for_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for files, expected in (
        (resource.RLIM_INFINITY, ConnectionBounds(320, 256, 128)),
        (1024, ConnectionBounds(320, 256, 128)),
        (256, ConnectionBounds(128, 128, 32)),
        (16, ConnectionBounds(8, 8, 4)),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert connection_bounds(Limits()) == expected


def test_what_clients_cause_is_told_a_few_times(
    shared_index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with served(shared_index) as port:
        for _ in range(60):
            with connect(port, sent=b"\x00\r\n\r\n") as made:
                made.recv(100)
    told = [record.getMessage() for record in caplog.records]
    assert told.count("Invalid HTTP request received.") == 10
    [left_out] = [text for text in told if "left out" in text]
    assert left_out == (
        "50 messages of uvicorn.error were left out: Invalid HTTP request received."
    )


def test_a_client_that_hangs_up_leaves_no_traceback(
    shared_index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kind = b"Content-Type: multipart/form-data; boundary=x\r\n"
    with served(shared_index) as port:
        for path in (b"/v1/query", b"/", b"/v1/people/move"):
            head = HEAD.replace(b"GET /v1/status", b"POST " + path)
            for body in (b"", b"x", bytes(70_000)):
                with connect(port, sent=head + kind + b"Content-Length: 100000\r\n\r\n" + body):
                    time.sleep(0.05)
        with connect(port, sent=HEAD + b"\r\n") as made:
            assert status_of(made) == 200
    assert not [record for record in caplog.records if record.exc_info]
