"""Where the time of an ingest goes: processor time of each stage, for one picture.

    python -m benchmarks.ingest_stages DATA WORK

Reads pictures of three sizes as one worker does, and commits them as the parent does, all in
this process and one thread.  Prints one column for each size, in milliseconds of processor time.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from benchmarks.ingest_pictures import camera_pictures, ordinary_photos, small_pictures
from facesim_index.engine import face_engine
from facesim_index.engine import reading as embedding
from facesim_index.engine.base import FaceEngine
from facesim_index.engine.loading import EngineSettings
from facesim_index.engine.runtimes.network import Network
from facesim_index.models.resolution import resolve
from facesim_index.pictures.decoding import JpegFile, use_one_thread
from facesim_index.pictures.files import hash_file
from facesim_index.pictures.folder_walk import FoundFolder, WalkOptions, walk
from facesim_index.records import Float32Array, PictureReading
from facesim_index.store.catalog import picture_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import Batch, FileLink

P = ParamSpec("P")
R = TypeVar("R")

STAGES = (
    "walk: list and stat",
    "hash in the parent",
    "is the content known",
    "read the file",
    "hash in the worker",
    "decode",
    "detect: network",
    "detect: scale, decode boxes, merge",
    "align and measure",
    "recognise: network",
    "recognise: prepare, normalise",
    "commit",
)


class Stopwatch:
    """Processor time by stage; what runs inside another stage is taken off that one."""

    def __init__(self) -> None:
        self.ms: defaultdict[str, float] = defaultdict(float)
        self._inside = [0.0]

    def timed(self, stage: str, function: Callable[P, R]) -> Callable[P, R]:
        """Return a function that does the same and adds its time to a stage."""

        def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            self._inside.append(0.0)
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = time.process_time() - started
                self.ms[stage] += 1e3 * (elapsed - self._inside.pop())
                self._inside[-1] += elapsed

        return measured


class TimedNetwork:
    """A network whose runs are timed."""

    def __init__(self, network: Network, stage: str, watch: Stopwatch) -> None:
        self._run = watch.timed(stage, network.run)

    def run(self, blob: Float32Array) -> list[Float32Array]:
        """Run it."""
        return self._run(blob)


def main() -> None:
    """Print the table."""
    data, work = Path(sys.argv[1]), Path(sys.argv[2])
    columns = {
        "LFW 250×250": small_pictures(data)[:300],
        "1 to 4 MP": ordinary_photos(data) * 5,
        "12 MP": camera_pictures(data, work, "JPEG") * 4,
    }
    engine = EngineSettings(model=resolve(), provider="cpu").load()
    use_one_thread()
    watch = Stopwatch()
    instrument(engine, watch)
    found: dict[str, dict[str, float]] = {}
    for name, paths in columns.items():
        for path in paths[:20]:
            embedding.read_picture(path, engine)
        watch.ms.clear()
        measure(paths, engine, watch)
        found[name] = {stage: watch.ms[stage] / len(paths) for stage in STAGES}
    print(f"| stage, ms of one core a picture | {' | '.join(columns)} |")
    print("|---|" + "---:|" * len(columns))
    for stage in STAGES:
        print(f"| {stage} | {' | '.join(f'{found[name][stage]:.2f}' for name in columns)} |")
    print(f"| all | {' | '.join(f'{sum(found[name].values()):.2f}' for name in columns)} |")


def instrument(engine: FaceEngine, watch: Stopwatch) -> None:
    """Replace the functions of the stages by timed ones."""
    assert isinstance(engine, face_engine.InsightFaceEngine)
    for owner, name, stage in (
        (embedding, "read_bytes", "read the file"),
        (embedding, "content_hash", "hash in the worker"),
        (embedding, "open_picture", "decode"),
        (JpegFile, "view", "decode"),
        (face_engine, "find_faces", "detect: scale, decode boxes, merge"),
        (face_engine, "_crops", "align and measure"),
        (face_engine, "_embedded_face", "align and measure"),
        (face_engine.InsightFaceEngine, "_embed", "recognise: prepare, normalise"),
    ):
        setattr(owner, name, watch.timed(stage, getattr(owner, name)))
    detector, recogniser = engine._detector, engine._recogniser
    for model, stage in ((detector, "detect: network"), (recogniser, "recognise: network")):
        network = cast("Network", vars(model)["network"])
        vars(model)["network"] = TimedNetwork(network, stage, watch)


def measure(paths: Sequence[Path], engine: FaceEngine, watch: Stopwatch) -> None:
    """Read and commit some pictures once, as an ingest does."""
    with tempfile.TemporaryDirectory() as folder:
        identity = EngineSettings(model=resolve()).identity
        with FolderStore.open_or_create(
            Path(folder) / "stages.facesim", identity, "stages"
        ) as store:
            list_folders(paths, watch)
            readings: dict[bytes, PictureReading] = {}
            links = []
            for number, path in enumerate(paths):
                digest = watch.timed("hash in the parent", hash_file)(path)
                watch.timed("is the content known", is_known)(store, digest)
                reading_of = embedding.read_picture(path, engine)
                readings[digest] = reading_of
                links.append(FileLink(folder, f"{number}.jpg", reading_of.stamp, digest))
            watch.timed("commit", store.commit)(Batch(list(readings.values()), links))


def list_folders(paths: Sequence[Path], watch: Stopwatch) -> None:
    """Walk the pictures' folders, as often as an ingest does: twice."""
    before = watch.ms["walk: list and stat"]
    files = 0
    for _ in range(2):
        for folder in {path.parent for path in paths}:
            files += watch.timed("walk: list and stat", count_files)(folder)
    spent = watch.ms["walk: list and stat"] - before
    watch.ms["walk: list and stat"] = before + 2 * spent * len(paths) / files


def count_files(folder: Path) -> int:
    """Walk a folder."""
    found = walk(folder, WalkOptions())
    return sum(len(part.files) for part in found if isinstance(part, FoundFolder))


def is_known(store: FolderStore, digest: bytes) -> bool:
    """Ask the catalog for a content, as the ingest does."""
    with store.catalog.read() as transaction:
        return picture_rows.image_by_hash(transaction, digest) is not None


if __name__ == "__main__":
    main()
