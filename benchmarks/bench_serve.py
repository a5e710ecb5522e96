"""How long `facesim serve` takes to answer when eight clients ask it all the time.

A real server on loopback, in a process of its own; the clients are threads of this one, each
with a connection that it keeps, and each asks as soon as it has its answer.
"""

import contextlib
import http.client
import json
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks.bench_cli import N_FACES, generated_index
from benchmarks.harness import Options, Row
from benchmarks.vectors import who_is_who
from facesim_index.records import FaceId
from facesim_index.search.queries import query_face
from facesim_index.store.catalog import face_rows
from facesim_index.store.catalog.people_rows import MACHINE, Change
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.segments.search import one_thread

N_CLIENTS = 8
SECONDS, QUICK_SECONDS = 30.0, 5.0
WARM_UP_S = 2.0
N_ALONE = 100
TARGET_MS = 100


def run(options: Options) -> list[Row]:
    """Return what the clients waited for, beside the same queries in one process."""
    bare = generated_index(options)
    seconds = QUICK_SECONDS if options.quick else SECONDS
    return [
        *_rows(f"{N_FACES:,} faces", bare, seconds),
        *_rows(f"{N_FACES:,} faces, each somebody's", grouped(bare), seconds),
    ]


def _rows(what: str, folder: Path, seconds: float) -> list[Row]:
    with serving(folder) as (host, port):
        ask_for(host, port, WARM_UP_S)
        taken_ms, errors = ask_for(host, port, seconds)
    p50, p95, p99 = np.percentile(taken_ms, (50, 95, 99))
    alone_ms = _alone_ms(folder)
    asked = f"GET /v1/faces/ID/matches of {what}, {N_CLIENTS} clients for {seconds:g} s"
    return [
        Row(
            f"{asked}: 95th percentile, ms",
            f"{p95:.0f} (median {p50:.0f}, 99th percentile {p99:.0f}, longest {max(taken_ms):.0f})",
            f"{alone_ms:.1f} (median of one in this process, alone)",
            target=f"at most {TARGET_MS}",
            met=bool(p95 <= TARGET_MS),
        ),
        Row(
            f"{asked}: answers without an error",
            f"{len(taken_ms) - len(errors):,} of {len(taken_ms):,}, "
            f"{len(taken_ms) / seconds:.0f} a second",
            target="all",
            met=not errors,
        ),
    ]


def grouped(bare: Path) -> Path:
    """Return a copy of an index in which the faces are those of people, made when needed."""
    folder = bare.with_name(bare.name.replace("cli-", "serve-"))
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(bare, unfinished)
        who = who_is_who(N_FACES)
        with FolderStore(unfinished, writable=True) as store, store.catalog.write() as transaction:
            change = Change(transaction, "benchmark")
            people = np.array(change.new_people([None] * (int(who.max()) + 1)), dtype=np.int64)
            change.assign(face_rows.face_ids(transaction), people[who], MACHINE)
            change.close()
        unfinished.rename(folder)
    return folder


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, int]]:
    """Run a server over an index, and give its address."""
    words = [sys.executable, "-m", "facesim_index", "--index", str(folder), "serve", "--port", "0"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = ""
        while (found := re.search(r"at (http://\S+)\n", said)) is None:
            line = process.stderr.readline()
            if not line:
                raise RuntimeError(f"the server did not start: {said}")
            said += line
        address = urlsplit(found[1])
        yield str(address.hostname), int(address.port or 80)
    finally:
        process.terminate()
        process.wait()


def ask_for(host: str, port: int, seconds: float) -> tuple[list[float], list[str]]:
    """Return how many milliseconds each answer took, and what was wrong with some."""
    taken_ms: list[list[float]] = [[] for _ in range(N_CLIENTS)]
    errors: list[str] = []
    until = time.monotonic() + seconds
    clients = [
        threading.Thread(target=_ask, args=(host, port, number, until, taken_ms[number], errors))
        for number in range(N_CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return [taken for ours in taken_ms for taken in ours], errors


def _ask(
    host: str, port: int, number: int, until: float, taken_ms: list[float], errors: list[str]
) -> None:
    rng = np.random.default_rng(number)
    connection = http.client.HTTPConnection(host, port)
    try:
        while time.monotonic() < until:
            face_id = int(rng.integers(1, N_FACES + 1))
            started = time.perf_counter()
            connection.request("GET", f"/v1/faces/{face_id}/matches")
            response = connection.getresponse()
            body = response.read()
            taken_ms.append(1e3 * (time.perf_counter() - started))
            if response.status != 200 or len(json.loads(body)["faces"][0]["matches"]) != 10:
                errors.append(body.decode())
    except OSError as error:
        errors.append(str(error))
    finally:
        connection.close()


def _alone_ms(folder: Path) -> float:
    """Return the median time of a query when nobody else asks."""
    rng = np.random.default_rng(0)
    taken = []
    with FolderStore(folder) as store, one_thread():
        for face_id in rng.integers(1, N_FACES + 1, N_ALONE + 1).tolist():
            started = time.perf_counter()
            with store.view(partial=True) as view:
                query_face(view, FaceId(face_id))
            taken.append(1e3 * (time.perf_counter() - started))
    return statistics.median(taken[1:])
