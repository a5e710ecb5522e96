"""Clients that want to keep a server from answering, and others that ask it honestly meanwhile.

A real ``facesim serve`` with a token, whose review takes a second of a core.  Each attack is played
for a part of the time, once from another address than the honest clients' and once from theirs.

Run ``python -m tests.reliability.server_attacks --seed 1 --seconds 120``.
"""

import argparse
import contextlib
import http.client
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np

from tests.coloured_people import DARK_RED
from tests.example_pictures import fake_photo
from tests.reliability.server_attackers import ATTACKS, Attack, Target
from tests.web.serving import make_index, make_photos

TOKEN = "a token of some length"
HONEST, ELSEWHERE = "127.0.0.1", "127.0.0.2"
PATIENCE_S = 60.0
N_HONEST = 3

RUN = """
import sys
import time
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.web.service import service
from tests.builders import FAKE

review = service.review_people

def slow_review(*args, **options):
    between = options.get("between", time.thread_time)
    until = time.thread_time() + 1.0
    while time.thread_time() < until:
        between()
    return review(*args, **options)

service.review_people = slow_review
main(sys.argv[1:], obj=State(engine=FAKE))
"""
FOREIGN = 'a={"x": 1}; b; c="never closed'


@dataclass
class Heard:
    """What the honest clients heard during one attack."""

    taken_s: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    tried_again: int = 0

    def worst_s(self) -> float:
        """Return the longest wait for a cheap answer."""
        return max(max(taken) for what, taken in self.taken_s.items() if what in CHEAP)

    def line(self) -> str:
        """Return the figures of each kind of request."""
        parts = []
        for what, taken in sorted(self.taken_s.items()):
            p50, p95 = 1e3 * np.percentile(taken, (50, 95))
            parts.append(f"{what} {p50:.0f}/{p95:.0f}/{1e3 * max(taken):.0f} ms ({len(taken)})")
        refused = ", ".join(f"{what} {n}" for what, n in sorted(self.refused.items())) or "none"
        return (
            f"{', '.join(parts)}; told to come back: {refused}; "
            f"asked again on a new connection: {self.tried_again}; failed: {len(self.failed)}"
        )


@dataclass(frozen=True)
class Served:
    """A running server and the file that its messages go to."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def resident_kib(self) -> int:
        """Return how much memory the server's own process has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])

    def n_files(self) -> int:
        """Return how many files and sockets the server has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Run a server over a small index, its log in a file."""
    index = make_index(folder / "i.facesim", make_photos(folder / "photos"))
    log = folder / "log"
    words = ["--index", str(index), "serve", "--port", "0", "--token", TOKEN, "--edit"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, *words],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=Path(__file__).resolve().parents[2],
            preexec_fn=_few_files,
        )
    try:
        deadline = time.monotonic() + 30
        while not (found := re.search(r"at http://127.0.0.1:(\d+)/\n", log.read_text("utf-8"))):
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Served(process, int(found[1]), log)
    finally:
        process.kill()
        process.wait()


def _few_files() -> None:
    """Let the server have as many open files as most systems allow."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most), most))


# What the honest clients ask for

UPLOAD = (
    b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    + fake_photo([DARK_RED])
    + b"\r\n--x--\r\n"
)
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
ASKED = {
    "status": ("GET", "/v1/status"),
    "people": ("GET", "/people"),
    "crop": ("GET", "/v1/faces/1/crop"),
    "search": ("GET", "/v1/faces/1/matches"),
    "photo": ("GET", "/photos/1"),
    "upload": ("POST", "/v1/query"),
    "name": ("PATCH", "/v1/people/1"),
    "login": ("POST", "/login"),
    "review": ("GET", "/people/review?ask=true"),
}
CHEAP = ("status", "people", "crop", "search", "photo", "name", "login")


def ask(connection: http.client.HTTPConnection, what: str) -> tuple[int, str]:
    """Ask for one thing; return the status and the cookie that was given."""
    method, path = ASKED[what]
    headers, body = {"Authorization": f"Bearer {TOKEN}", "Cookie": FOREIGN}, b""
    if what == "upload":
        headers, body = headers | FORM, UPLOAD
    elif what == "name":
        headers, body = headers | {"Content-Type": "application/json"}, b'{"name": "Rosa"}'
    elif what == "login":
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = f"token={quote(TOKEN)}&next=/people".encode()
    connection.request(method, path, body or None, headers)
    response = connection.getresponse()
    response.read()
    return response.status, response.getheader("set-cookie", "").split(";")[0]


def ask_for(served: Served, seed: int, until_s: float, heard: Heard, lock: threading.Lock) -> None:
    """Ask for this and that, one after the other, on a connection that is kept if it lasts."""
    rng = random.Random(seed)
    names = [*ASKED] if seed % N_HONEST == 0 else [name for name in ASKED if name != "review"]
    kept = connect(served)
    while time.monotonic() < until_s:
        what = rng.choice(names)
        started, again = time.monotonic(), False
        try:
            try:
                status, cookie = ask(kept, what)
            except (http.client.RemoteDisconnected, ConnectionError):
                kept.close()  # as a browser does with a connection that was idle
                kept, again = connect(served), True
                status, cookie = ask(kept, what)
            if what == "login":
                headers = {"Cookie": f"{FOREIGN}; {cookie}"}
                kept.request("GET", "/v1/people", headers=headers)
                answer = kept.getresponse()
                answer.read()
                status = answer.status if status == 303 else status
        except (http.client.HTTPException, OSError) as error:
            with lock:
                heard.failed.append(f"{what}: {error!r}")
            kept.close()
            kept = connect(served)
            continue
        taken_s = time.monotonic() - started
        with lock:
            heard.tried_again += again
            if status == 200:
                heard.taken_s.setdefault(what, []).append(taken_s)
            elif status == 503:
                heard.refused[what] = heard.refused.get(what, 0) + 1
            else:
                heard.failed.append(f"{what}: {status}")
        if rng.random() < 0.5:
            kept.close()
            kept = connect(served)
        time.sleep(0.02)
    kept.close()


def connect(served: Served) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(HONEST, served.port, PATIENCE_S, (HONEST, 0))


def play(served: Served, attack: Attack, source: str, seed: int, seconds: float) -> Heard:
    """Let honest clients ask while one attack goes on; return what they heard."""
    heard, lock, stop = Heard(), threading.Lock(), threading.Event()
    target = Target(served.port, TOKEN, source, seed)
    attacker = threading.Thread(target=attack, args=(target, stop))
    attacker.start()
    time.sleep(min(2.0, seconds / 4))
    until_s = time.monotonic() + seconds
    clients = [
        threading.Thread(target=ask_for, args=(served, N_HONEST * seed + n, until_s, heard, lock))
        for n in range(N_HONEST)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    stop.set()
    attacker.join()
    return heard


def run(folder: Path, seed: int, seconds: float) -> Iterator[tuple[str, str, Heard, Served]]:
    """Play each attack from elsewhere and from the honest clients' own address."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    each_s = seconds / (2 * len(ATTACKS))
    with serving(folder) as served:
        for name, attack in ATTACKS.items():
            for source in (ELSEWHERE, HONEST):
                heard = play(served, attack, source, seed, each_s)
                yield name, source, heard, served


def main() -> None:
    """Run it and print what the honest clients heard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    sys.stdout.write(
        f"seed {options.seed}; median/95th percentile/longest of the honest clients' answers\n"
    )
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, source, heard, served in run(Path(folder), options.seed, options.seconds):
            own = "own address" if source == HONEST else "other address"
            sys.stdout.write(
                f"{name}, from {own}: {heard.line()}; log {served.log.stat().st_size:,} bytes, "
                f"memory {served.resident_kib() // 1024} MiB, {served.n_files()} files open\n"
            )
            for failure in sorted(set(heard.failed))[:3]:
                sys.stdout.write(f"  failed: {failure}\n")
            sys.stdout.flush()
            failed += len(heard.failed)
    sys.stdout.write(f"{failed} honest requests failed\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
