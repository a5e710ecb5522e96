"""Many damaged pictures through whole ingests, as the command line would read them."""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from facesim_index.engine.fake import FakeEngine
from facesim_index.engine.local_reader import WORKER_MEMORY_BYTES
from facesim_index.engine.reading import read_picture
from facesim_index.errors import PictureError
from facesim_index.ingest.run import Ingest
from facesim_index.ingest.targets import IngestOptions, resolve_targets
from facesim_index.pictures.decoding import use_one_thread
from facesim_index.pictures.views import Pixels, WholePicture
from facesim_index.records import EmbeddedFace, Failure, FailureCode, PictureReading
from facesim_index.store.catalog import picture_rows
from facesim_index.workers.pool import ItemFailed, PoolSettings, WorkerPool
from tests.builders import hash_here, new_store
from tests.example_pictures import fake_photo

SLICE = 500
SOUND = "sound.png"
_MOST_VALUES = 3_000_000  # larger pictures are only decoded: the fake engine is slow on them

MakeReader = Callable[[None], Callable[[Path], PictureReading | Failure]]

#: What must never come of a picture: each is a bug in a decoder, or in us, to be looked at.
ALARMING = (FailureCode.DECODER_CRASH, FailureCode.TIMEOUT, FailureCode.INTERNAL)


@dataclass
class Outcomes:
    """What came of each input.

    Attributes
    ----------
    by_format : dict
        For each suffix how often each outcome: ``ok``, ``no_face`` or a failure code.
    alarming : list of (str, str, str)
        Name of the input, its failure code and message.
    """

    by_format: dict[str, Counter[str]] = field(default_factory=dict)
    alarming: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def total(self) -> Counter[str]:
        """The outcomes of all formats together."""
        return sum(self.by_format.values(), Counter())

    def add(self, name: str, outcome: str, message: str) -> None:
        """Count one input."""
        suffix = Path(name).suffix.lstrip(".")
        self.by_format.setdefault(suffix, Counter())[outcome] += 1
        if outcome in ALARMING:
            self.alarming.append((name, outcome, message))


class LookingEngine(FakeEngine):
    """Decodes a picture in every way there is, and looks for faces where it is small."""

    def embed_pictures(self, pictures: Sequence[Pixels]) -> list[tuple[EmbeddedFace, ...]]:
        """Return the faces of the pictures as they were decoded whole."""
        return [self._look(picture) for picture in pictures]

    def _look(self, pixels: Pixels) -> tuple[EmbeddedFace, ...]:
        views = [pixels.view(reduction) for reduction in reversed(pixels.reductions)]
        for view in views:
            assert view.rgb.dtype == np.uint8
            assert view.rgb.shape[2:] == (3,)
            assert view.rgb.size
        whole = views[-1].rgb
        assert whole.shape[1::-1] == pixels.size_px
        if whole.size > _MOST_VALUES:
            return ()
        (faces,) = super().embed_pictures([WholePicture(whole)])
        return faces


def make_looking_reader(_: None) -> Callable[[Path], PictureReading | Failure]:
    """Return what reads a picture in a worker process as the ingest's own reader does."""
    use_one_thread()
    engine = LookingEngine()

    def read(path: Path) -> PictureReading | Failure:
        try:
            return read_picture(path, engine)
        except PictureError as error:
            return Failure(error.code, error.message)

    return read


def make_mortal_reader(_: None) -> Callable[[Path], PictureReading | Failure]:
    """Return a reader as above that does not survive a file whose name begins with "deadly"."""
    read = make_looking_reader(None)

    def read_or_die(path: Path) -> PictureReading | Failure:
        if path.name.startswith("deadly"):
            os._exit(70)
        return read(path)

    return read_or_die


@dataclass(frozen=True)
class ImpatientReader:
    """Reads pictures as `facesim_index.engine.local_reader.LocalReader` does, in a shorter time."""

    make_reader: MakeReader
    timeout_s: float
    workers: int
    memory_bytes: int

    def hash_files(
        self, groups: Iterable[Sequence[Path] | None]
    ) -> Generator[list[bytes | Failure] | None, None, None]:
        """Hash files in this process."""
        return hash_here(groups)

    def read(
        self, paths: Iterable[Path | None], should_stop: Callable[[], bool]
    ) -> Iterator[PictureReading | Failure | ItemFailed]:
        """Read pictures in worker processes."""
        bounds = PoolSettings(
            workers=self.workers, timeout_s=self.timeout_s, memory_limit_bytes=self.memory_bytes
        )
        with WorkerPool(self.make_reader, None, bounds) as pool:
            for _, outcome in pool.map_ordered(paths, should_stop=should_stop):
                yield outcome


def ingest_all(
    inputs: Mapping[str, bytes],
    outcomes: Outcomes,
    *,
    make_reader: MakeReader = make_looking_reader,
    timeout_s: float = 20.0,
    workers: int = 2,
    memory_bytes: int = WORKER_MEMORY_BYTES,
) -> None:
    """Ingest the inputs and a sound picture into a new index, and count what came of them.

    Raises
    ------
    AssertionError
        A file has no outcome, or the sound picture beside them was not indexed.
    """
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder).resolve() / "photos"
        photos.mkdir()
        for name, data in inputs.items():
            (photos / name).write_bytes(data)
        (photos / SOUND).write_bytes(fake_photo([(200, 20, 20)]))
        reader = ImpatientReader(make_reader, timeout_s, workers, memory_bytes)
        with new_store(Path(folder) / "i.facesim") as store:
            Ingest(store, resolve_targets([photos]), IngestOptions(), reader).run()
            with store.catalog.read() as transaction:
                known = picture_rows.folder_files(transaction, str(photos))
                failed = {Path(f.path).name: f for f in picture_rows.failed_files(transaction)}
        assert set(known) == {*inputs, SOUND}
        assert known[SOUND].status == "ok"
        for name in inputs:
            status, failure = known[name].status, failed.get(name)
            if failure is not None:
                outcomes.add(name, failure.code, failure.message)
            else:
                assert status is not None
                outcomes.add(name, status, "")


def run(
    numbers: range,
    make_input: Callable[[int], tuple[str, bytes]],
    *,
    on_slice: Callable[[Outcomes, int], None] = lambda outcomes, done: None,
    timeout_s: float = 20.0,
) -> Outcomes:
    """Ingest the inputs of these numbers, slice by slice.

    Parameters
    ----------
    numbers : range
    make_input : callable
        From a number to the name of the damaged picture and its bytes.
    on_slice : callable, optional
        Told the outcomes so far, and how many inputs that were.
    timeout_s : float, default=20.0
        What one picture may take.
    """
    outcomes = Outcomes()
    for start in range(0, len(numbers), SLICE):
        part = numbers[start : start + SLICE]
        inputs = {}
        for number in part:
            name, data = make_input(number)
            inputs[f"{number:08d}-{name}"] = data
        ingest_all(inputs, outcomes, timeout_s=timeout_s)
        on_slice(outcomes, start + len(part))
    return outcomes


def digest(pictures: Mapping[str, bytes]) -> str:
    """Return a short mark of the seed pictures, which other encoders write otherwise."""
    return hashlib.sha256(b"".join(pictures.values())).hexdigest()[:12]
