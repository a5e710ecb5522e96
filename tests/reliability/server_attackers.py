"""What attackers of a server do, each until it is told to stop; see `server_attacks`."""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

N_IDLE = 1100
N_TRICKLING = 40
N_ABANDONED = 60
N_UNREAD = 60
N_ASKED = 20
_ROUND_S = 0.5


@dataclass(frozen=True, slots=True)
class Target:
    """What is attacked, from which address, and by which random choices."""

    port: int
    token: str
    source: str
    seed: int

    def connect(self) -> socket.socket:
        """Return a new connection that blocks for a second at most."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.settimeout(1.0)
        made.bind((self.source, 0))
        try:
            made.connect(("127.0.0.1", self.port))
        except OSError:
            made.close()
            raise
        return made

    def head(self, method: str, path: str, *more: str, token: bool = True) -> bytes:
        """Return the head of a request."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *more]
        if token:
            lines.append(f"Authorization: Bearer {self.token}")
        return "\r\n".join([*lines, "", ""]).encode()


Attack = Callable[[Target, threading.Event], None]


def abandon(target: Target, stop: threading.Event) -> None:
    """Ask for the review many times and hang up each time; some stay."""
    rng = random.Random(target.seed)
    staying: list[socket.socket] = []
    head = target.head("GET", "/people/review?ask=true")
    while not stop.is_set():
        for _ in range(N_ABANDONED):
            with contextlib.suppress(OSError):
                made = target.connect()
                made.sendall(head)
                if rng.random() < 0.05:
                    staying.append(made)
                else:
                    made.close()
        while len(staying) > 6:
            staying.pop(0).close()
        stop.wait(_ROUND_S)
    _close(staying)


def abandon_cheap(target: Target, stop: threading.Event) -> None:
    """Ask for everything else and hang up each time."""
    rng = random.Random(target.seed)
    paths = ("/people", "/v1/faces/1/crop?side_px=", "/v1/faces/1/matches", "/people/1", "/index")
    while not stop.is_set():
        for _ in range(N_ABANDONED):
            path = rng.choice(paths)
            path += str(rng.randrange(64, 512)) if path.endswith("=") else ""
            with contextlib.suppress(OSError), target.connect() as made:
                made.sendall(target.head("GET", path))
        stop.wait(_ROUND_S)


def idle(target: Target, stop: threading.Event) -> None:
    """Hold as many connections as there may be, without a token: silent, or with half a head."""
    rng = random.Random(target.seed)
    beginnings = (b"", b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    _hold(target, stop, N_IDLE, lambda: rng.choice(beginnings), lambda: rng.choice((b"", b"x")))


def trickle_uploads(target: Target, stop: threading.Event) -> None:
    """Send pictures, a byte at a time."""
    more = "Content-Type: multipart/form-data; boundary=x", "Content-Length: 1000000"
    part = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    paths = ("/v1/query", "/", "/v1/compare", "/compare")
    rng = random.Random(target.seed)

    def beginning() -> bytes:
        return target.head("POST", rng.choice(paths), *more) + part

    _hold(target, stop, N_TRICKLING, beginning, lambda: b"x")


def trickle_bodies(target: Target, stop: threading.Event) -> None:
    """Send changes and logins, a byte at a time; the logins need no token."""
    rng = random.Random(target.seed)
    more = "Content-Type: application/json", "Content-Length: 8000"

    def beginning() -> bytes:
        if rng.random() < 0.5:
            return target.head("POST", "/login", *more, token=False)
        return target.head("POST", "/v1/people/move", *more)

    _hold(target, stop, 3 * N_TRICKLING, beginning, lambda: b" ")


def read_nothing(target: Target, stop: threading.Event) -> None:
    """Ask for more than the system keeps for a client, without a token, and fetch nothing of it."""
    head = N_ASKED * target.head("GET", "/static/swagger/swagger-ui-bundle.js", token=False)
    _hold(target, stop, N_UNREAD, lambda: head, lambda: b"", reads=False)


def garble(target: Target, stop: threading.Event) -> None:
    """Send what is no HTTP, heads without end, and foreign names, without a token."""
    rng = random.Random(target.seed)
    while not stop.is_set():
        for _ in range(N_ABANDONED):
            sent = rng.choice(
                [
                    rng.randbytes(200) + b"\r\n\r\n",
                    b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000,
                    target.head("GET", "/people", "Host: evil.example", token=False),
                    target.head("GET", "/", "Connection: upgrade", "Upgrade: websocket"),
                    target.head("POST", "/v1/query", "Content-Length: 100") + b"half",
                    target.head("POST", "/v1/people/move", "Content-Length: 100") + b"half",
                ]
            )
            with contextlib.suppress(OSError), target.connect() as made:
                made.sendall(sent)
        stop.wait(_ROUND_S)


def _hold(
    target: Target,
    stop: threading.Event,
    n_held: int,
    beginning: Callable[[], bytes],
    more: Callable[[], bytes],
    *,
    reads: bool = True,
) -> None:
    """Keep so many connections, each begun in one way and continued in another."""
    held: list[socket.socket] = []
    while not stop.is_set():
        round_ends = time.monotonic() + _ROUND_S
        while len(held) < n_held and time.monotonic() < round_ends and not stop.is_set():
            with contextlib.suppress(OSError):
                made = target.connect()
                held.append(made)
                made.sendall(beginning())
                made.setblocking(False)
        held = [one for one in held if _goes_on(one, more(), reads=reads)]
        stop.wait(max(0.0, round_ends - time.monotonic()))
    _close(held)


def _goes_on(held: socket.socket, sent: bytes, *, reads: bool) -> bool:
    """Send more on a connection; tell whether the server still has it."""
    try:
        if reads and not held.recv(65_536):
            held.close()
            return False
    except BlockingIOError:
        pass
    except OSError:
        held.close()
        return False
    try:
        held.send(sent)
    except BlockingIOError:
        pass
    except OSError:
        held.close()
        return False
    return True


def _close(held: list[socket.socket]) -> None:
    for one in held:
        one.close()


ATTACKS: dict[str, Attack] = {
    "abandoned reviews": abandon,
    "abandoned cheap requests": abandon_cheap,
    "1,100 idle connections": idle,
    "trickling uploads": trickle_uploads,
    "trickling bodies": trickle_bodies,
    "answers that nobody fetches": read_nothing,
    "garbage": garble,
}
