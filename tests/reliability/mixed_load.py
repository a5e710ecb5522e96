"""A server that edits, asked by four readers, beside another process that writes.

Over the API people are named, grouped, merged and taken back, and looked at by four readers at
the same time; another process ingests, forgets and compacts.  The server must stay alive, no
answer may be of two moments, and the index must be whole at the end.

Run ``python -m tests.reliability.mixed_load --seconds 600 --seed S``.
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from facesim_index.errors import IndexLockedError
from facesim_index.people.grouping import cluster_people
from facesim_index.store.folder.store import FolderStore
from tests.asking import verify
from tests.builders import commit_pictures, new_store, picture, unit_vectors
from tests.coloured_people import put_curve
from tests.reliability.concurrency import write_once
from tests.web.process import serving

N_READERS = 4
N_PICTURES = 60
_SOMETIMES = frozenset({"not_found", "index_locked", "job_running", "calibration"})
"""What may be answered while others edit and write; anything else but an answer is a fault."""
_WRITE = """
import sys
from pathlib import Path
from tests.reliability.mixed_load import write_for
print(write_for(Path(sys.argv[1]), float(sys.argv[2])))
"""


@dataclass(slots=True)
class Figures:
    """What a run did.

    Attributes
    ----------
    answers : Counter
        How often each kind of request was answered.
    refusals : Counter
        How often one was refused for a reason that this load makes.
    rounds : int
        How often the other process wrote.
    faults : list of str
    """

    answers: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    faults: list[str] = field(default_factory=list)


class Load:
    """What the threads of one run share.

    Parameters
    ----------
    address : str
        Of the server.
    end : float
        When to stop, by the monotonic clock.
    """

    def __init__(self, address: str, end: float) -> None:
        self.figures = Figures()
        self._address = address
        self._end = end
        self._lock = threading.Lock()

    def repeat(self, work: Callable[[httpx.Client, random.Random], None], seed: int) -> None:
        """Do something again and again until the end, or the first fault."""
        chance = random.Random(seed)
        with httpx.Client(base_url=self._address, timeout=60) as client:
            while time.monotonic() < self._end and not self.figures.faults:
                try:
                    work(client, chance)
                except (httpx.HTTPError, AssertionError) as error:
                    with self._lock:
                        self.figures.faults.append(f"{type(error).__name__}: {error}")

    def ask(self, client: httpx.Client, method: str, path: str, **body: object) -> httpx.Response:
        """Send a request, and count what came of it."""
        answer = client.request(method, path, json=body or None)
        kind = f"{method} {re.sub(r'/[0-9]+', '/N', path.partition('?')[0])}"
        with self._lock:
            if answer.is_success:
                self.figures.answers[kind] += 1
            elif (code := answer.json().get("code")) in _SOMETIMES:
                self.figures.refusals[code] += 1
            else:
                self.figures.faults.append(f"{kind}: {answer.status_code} {answer.text}")
        return answer

    def read(self, client: httpx.Client, chance: random.Random) -> None:
        """Look at the index as the pages do."""
        counts = self.ask(client, "GET", "/v1/status").json()["counts"]
        assert counts["faces"] >= N_PICTURES, f"there are only {counts} left"
        person = self._anybody(client, chance)
        self.ask(client, "GET", f"/v1/people/{person}")
        faces = self.ask(client, "GET", f"/v1/people/{person}/faces").json().get("faces")
        if faces:
            self.ask(client, "GET", f"/v1/faces/{faces[0]['face_id']}")
            self.ask(client, "GET", f"/v1/faces/{faces[0]['face_id']}/matches?top=5")

    def _anybody(self, client: httpx.Client, chance: random.Random) -> int:
        people = self.ask(client, "GET", "/v1/people?limit=50").json().get("people", [])
        assert people, "there is nobody left"
        return int(chance.choice(people)["person_id"])

    def edit(self, client: httpx.Client, chance: random.Random) -> None:
        """Change the people in one way or another."""
        person = self._anybody(client, chance)
        if chance.random() < 0.1:
            self.ask(client, "POST", "/v1/people/cluster", full=chance.random() < 0.5)
            return
        name = f"n{chance.randrange(10**6)}"
        named = self.ask(client, "PATCH", f"/v1/people/{person}", name=name)
        if named.is_success and chance.random() < 0.2:  # so that the first grouping stays
            self.ask(client, "POST", "/v1/people/undo")


def write_for(folder: Path, seconds: float) -> int:
    """Ingest, forget and compact again and again; return how often."""
    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        try:
            write_once(folder, rounds)
        except IndexLockedError:
            time.sleep(0.01)
        else:
            rounds += 1
            time.sleep(0.2)  # or nobody else ever gets the lock
    return rounds


def make_index(folder: Path) -> None:
    """Make an index with people, which the other process leaves alone."""
    with new_store(folder) as store:
        pictures = {
            f"/kept/{n}.jpg": picture(f"kept {n}", unit_vectors(2, n % 20))
            for n in range(N_PICTURES)
        }
        commit_pictures(store, pictures)
        put_curve(store)
        cluster_people(store)


def run(folder: Path, seconds: float, seed: int) -> Figures:
    """Let a server, its readers and editors, and a writer beside it work for a time."""
    make_index(folder)
    with serving(folder, "--edit") as server:
        load = Load(server.address, time.monotonic() + seconds)
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITE, str(folder), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        works = [*[load.read] * N_READERS, *[load.edit] * 2]
        threads = [
            threading.Thread(target=load.repeat, args=(work, seed + n))
            for n, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if load.figures.faults:
            writer.terminate()
        load.figures.rounds = int(writer.communicate()[0] or -1)
        if server.process.poll() is not None:
            load.figures.faults.append(f"the server ended: {server.process.returncode}")
    with _opened_when_free(folder) as store:
        load.figures.faults += [str(problem) for problem in verify(store).problems]
    return load.figures


def _opened_when_free(folder: Path) -> FolderStore:
    """Open an index for writing; a grouping that outlives its server may still hold the lock."""
    end = time.monotonic() + 60
    while True:
        try:
            return FolderStore(folder, writable=True)
        except IndexLockedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def main() -> None:
    """Run it and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--seconds", type=float, default=60)
    chosen = parser.parse_args()
    sys.stdout.write(f"mixed_load: seed {chosen.seed}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        figures = run(Path(folder) / "i.facesim", chosen.seconds, chosen.seed)
    sys.stdout.write(
        f"{figures.answers.total()} answers to 4 readers and 2 editors × {chosen.seconds:.0f} s, "
        f"{figures.refusals.total()} refused because of each other, {figures.rounds} rounds of "
        f"writing beside them, {len(figures.faults)} faults\n"
    )
    for kind, count in sorted({**figures.answers, **figures.refusals}.items()):
        sys.stdout.write(f"  {kind}: {count}\n")
    for fault in figures.faults:
        sys.stdout.write(f"  fault: {fault}\n")
    sys.exit(bool(figures.faults))


if __name__ == "__main__":
    main()
