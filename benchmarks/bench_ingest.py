"""Ingest beside the plain InsightFace loop, beside the networks alone, and its memory.

The peer is what people write themselves: ``FaceAnalysis`` with its defaults on the same weights,
``cv2.imread``, one picture at a time, on as many threads as its runtime takes.  It only
computes embeddings, and its models are loaded before the clock starts.  Ours is a whole
``FaceIndex.ingest`` of a new index: start of the workers, walk, hash, decode, detect, align,
recognise, commit.
"""

import contextlib
import itertools
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import Options, Row, interleaved, ratio_text, ratios
from benchmarks.ingest_pictures import camera_pictures, folder_of, ordinary_photos, small_pictures
from facesim_index import FaceIndex
from facesim_index.config import DEFAULT_INDEX
from facesim_index.engine.base import Provider
from facesim_index.engine.runtimes.openvino_network import openvino_obstacle
from facesim_index.models.resolution import resolve
from facesim_index.records import Numerics, UInt8Array
from facesim_index.utils.progress import ProgressUpdate
from facesim_index.utils.threads import usable_cores

PEER = "InsightFace loop"
#: Provider and numerics of each way to run ours; those of OpenVINO where they can.
WAYS: dict[str, tuple[Provider, Numerics]] = {
    "cpu": ("cpu", "fp32"),
    "openvino-bf16": ("openvino", "bf16"),
}
MEMORY_LIMIT_MB, MEMORY_GROWTH = 700.0, 1.1
FLOOR_LIMIT = 1.15
FLOOR_SECONDS = 5.0
WARM_UP_PICTURES = 64


@dataclass(frozen=True)
class Case:
    """A kind of pictures, and how many times as fast as the peer ingest shall be."""

    name: str
    pictures: Callable[[Options], Sequence[Path]]
    ours: int
    peers: int
    targets: dict[str, float] = field(default_factory=dict)


CASES = (
    Case(
        "small pictures (LFW, 250×250)",
        lambda options: small_pictures(options.data)[:1000],
        1000,
        100,
        {"cpu": 6.0, "openvino-bf16": 10.0},
    ),
    Case(
        "photos of 1 to 4 MP",
        lambda options: ordinary_photos(options.data),
        320,
        60,
        {"cpu": 3.5, "openvino-bf16": 6.0},
    ),
    Case(
        "JPEG of 12 MP",
        lambda options: camera_pictures(options.data, options.work, "JPEG"),
        160,
        32,
        {"cpu": 3.0, "openvino-bf16": 5.0},
    ),
    Case(
        "HEIC of 12 MP",
        lambda options: camera_pictures(options.data, options.work, "HEIF"),
        32,
        8,
    ),
)


def run(options: Options) -> list[Row]:
    """Measure everything.

    Returns
    -------
    list of Row
    """
    ways = ["cpu"]
    if not options.quick:
        ways += [way for way in WAYS if way != "cpu" and not openvino_obstacle("bf16")]
    rows = [row for case in CASES for row in speed(case, options, ways)]
    rows += [efficiency(options, way) for way in ways]
    return [*rows, *memory(options)]


# Speed


def speed(case: Case, options: Options, ways: Sequence[str]) -> Iterator[Row]:
    """Compare the time a picture takes, ours and the peer's, in turn."""
    pictures = case.pictures(options)
    share = 4 if options.quick else 1
    n, n_peer = case.ours // share, max(len(pictures) // 100, case.peers // share)
    folder = folder_of(pictures, options.work / f"{slug(case.name)}-{n}", n)
    peers_pictures = itertools.cycle(pictures)
    spent: dict[str, list[float]] = {name: [] for name in (*ways, PEER)}
    tasks: dict[str, Callable[[], float]] = {
        way: lambda way=way: (  # type: ignore[misc]
            counted(lambda: ingest_s(options, folder, way), spent[way], n)
        )
        for way in ways
    }
    tasks[PEER] = lambda: counted(
        lambda: peer_s(list(itertools.islice(peers_pictures, n_peer))), spent[PEER], n_peer
    )
    peer_s(pictures[:2])  # its sessions are made and warm
    measured = interleaved(tasks, rounds=options.rounds)
    for way in ways:
        found = ratios(measured[PEER], measured[way])
        target = case.targets.get(way)
        yield Row(
            f"{case.name}, {way}: pictures/s",
            per_second(measured[way]),
            f"{per_second(measured[PEER])} ({PEER})",
            ratio_text(found),
            f"≥ {target:g}x" if target else "",
            statistics.median(found) >= target if target else None,
        )
        yield Row(
            f"{case.name}, {way}: processor time a picture",
            f"{1e3 * statistics.median(spent[way]):.0f} ms",
            f"{1e3 * statistics.median(spent[PEER]):.0f} ms ({PEER})",
            ratio_text(ratios(spent[PEER], spent[way])),
        )


def counted(task: Callable[[], float], spent: list[float], n: int) -> float:
    """Return what a picture took of the time a task returns, and note the processor time of it."""
    before = processor_s()
    elapsed_s = task()
    spent.append((processor_s() - before) / n)
    return elapsed_s / n


def processor_s() -> float:
    """Return the processor time of this process and the ones it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def ingest_s(options: Options, folder: Path, way: str) -> float:
    """Return how long a whole ingest of a folder into a new index takes."""
    started = time.perf_counter()
    with new_index(options, way) as index:
        summary = index.ingest(folder)
    assert summary.images_read == summary.files_seen, "some pictures were known"
    assert not summary.images_failed, "some pictures failed"
    return time.perf_counter() - started


@contextlib.contextmanager
def new_index(options: Options, way: str) -> Iterator[FaceIndex]:
    """Open an index that does not exist yet, and remove it in the end."""
    path = options.work / f"ingest-{way}" / DEFAULT_INDEX
    shutil.rmtree(path, ignore_errors=True)
    provider, numerics = WAYS[way]
    with FaceIndex.open(path, create=True, provider=provider, numerics=numerics) as index:
        yield index
    shutil.rmtree(path, ignore_errors=True)


def peer_s(pictures: Sequence[Path]) -> float:
    """Return how long the plain loop takes for some pictures."""
    analysis = face_analysis()
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in pictures:
            analysis.get(read_bgr(path))  # type: ignore[attr-defined]
    return time.perf_counter() - started


def read_bgr(path: Path) -> UInt8Array:
    """Read a picture as people do: OpenCV, and pillow-heif for what OpenCV cannot read."""
    if path.suffix == ".heic":
        import pillow_heif

        return np.asarray(pillow_heif.open_heif(path, bgr_mode=True), dtype=np.uint8)
    return np.asarray(cv2.imread(str(path)), dtype=np.uint8)


@cache
def face_analysis() -> object:
    """Return insightface's own pipeline with its defaults, on our two weight files alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from insightface.app import FaceAnalysis

        model = resolve()
        folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"facesim-peer-{os.getuid()}"
        folder.mkdir(exist_ok=True)
        for path in (model.detector, model.recogniser):
            if not (folder / path.name).exists():
                shutil.copy(path, folder / path.name)
        # Without CUDA its defaults end on the CPU too, after pages of errors.
        analysis = FaceAnalysis(name=str(folder), providers=["CPUExecutionProvider"])
        analysis.prepare(ctx_id=0)
    return analysis


# Efficiency


def efficiency(options: Options, way: str) -> Row:
    """Compare ingest, once its workers run, with the networks alone on all cores."""
    pictures = small_pictures(options.data)[: 300 if options.quick else 1500]
    folder = folder_of(pictures, options.work / f"floor-{len(pictures)}", len(pictures))
    with floor_processes(way, pictures[:100]) as floor:
        tasks = {
            "ours": lambda: warm_s_a_picture(options, folder, way),
            "floor": lambda: 1.0 / floor(),
        }
        measured = interleaved(tasks, rounds=options.rounds)
    found = ratios(measured["ours"], measured["floor"])
    return Row(
        f"time over that of the networks alone, LFW, {way}",
        per_second(measured["ours"]) + " pictures/s",
        per_second(measured["floor"]) + " pictures/s (networks alone, one thread a core)",
        ratio_text(found),
        f"≤ {FLOOR_LIMIT:g}x",
        statistics.median(found) <= FLOOR_LIMIT,
    )


def warm_s_a_picture(options: Options, folder: Path, way: str) -> float:
    """Return what a picture takes from the first ones on until everything is committed."""
    began: list[tuple[float, int]] = []

    def note(update: ProgressUpdate) -> None:
        if not began and update.stage == "reading pictures" and update.done >= WARM_UP_PICTURES:
            began.append((time.perf_counter(), update.done))

    with new_index(options, way) as index:
        summary = index.ingest(folder, progress=note)
    ended = time.perf_counter()
    (started, done) = began[0]
    return (ended - started) / (summary.images_read - done)


@contextlib.contextmanager
def floor_processes(way: str, pictures: Sequence[Path]) -> Iterator[Callable[[], float]]:
    """Start one process a core that runs the networks alone; yields how to ask for their rate."""
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.model_floor", *WAYS[way]]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=one_thread)
        for _ in range(usable_cores())
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("".join(f"{path}\n" for path in pictures) + "\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n", "the networks could not be run"

    def rate() -> float:
        for process in processes:
            assert process.stdin
            process.stdin.write(f"{FLOOR_SECONDS}\n")
            process.stdin.flush()
        return sum(float(process.stdout.readline()) for process in processes if process.stdout)

    try:
        yield rate
    finally:
        for process in processes:
            process.communicate()


# Memory


def memory(options: Options) -> Iterator[Row]:
    """Measure the largest memory of all processes, for few and for many pictures."""
    few, many = (250, 1000) if options.quick else (1000, 20_000)
    pictures = small_pictures(options.data)
    peaks = []
    for n in (few, many):
        folder = folder_of(pictures, options.work / f"memory-{n}", n)
        peaks.append(peak_mb(options, folder))
        yield Row(
            f"peak memory of all processes, {n:,} pictures, 2 workers",
            f"{peaks[-1]:.0f} MB",
            target=f"≤ {MEMORY_LIMIT_MB:.0f} MB",
            met=peaks[-1] <= MEMORY_LIMIT_MB,
        )
    yield Row(
        f"growth of that from {few:,} to {many:,} pictures",
        f"{peaks[1] / peaks[0]:.2f}x",
        target=f"≤ {MEMORY_GROWTH:g}x",
        met=peaks[1] <= MEMORY_GROWTH * peaks[0],
    )


def peak_mb(options: Options, folder: Path) -> float:
    """Run the command and return the largest resident memory of it and its workers together."""
    path = options.work / "memory" / DEFAULT_INDEX
    shutil.rmtree(path, ignore_errors=True)
    command = [
        *(sys.executable, "-m", "facesim_index", "-q", "--index", str(path)),
        *("ingest", "--workers", "2", "--provider", "cpu", str(folder)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        time.sleep(0.05)
        peak = max(peak, sum(resident_mb(pid) for pid in (process.pid, *children(process.pid))))
    assert process.returncode == 0, "the ingest failed"
    shutil.rmtree(path, ignore_errors=True)
    return peak


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    with contextlib.suppress(OSError):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return []


def resident_mb(pid: int) -> float:
    """Return the memory of a process that is not swapped out; 0 when it is gone."""
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        return pages * resource.getpagesize() / 1e6
    return 0.0


def per_second(seconds: Sequence[float]) -> str:
    """Return the median of some times as a rate."""
    return f"{1.0 / statistics.median(seconds):.1f}"


def slug(name: str) -> str:
    """Return a name for a folder."""
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in name).split())
