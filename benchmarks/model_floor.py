"""The time that the networks alone take: one process of the floor that ingest is measured by.

    python -m benchmarks.model_floor PROVIDER NUMERICS < LINES

Reads the paths of pictures up to an empty line, keeps the inputs that the networks get for
them, and says ``ready``.  For each further line, a number of seconds, it runs nothing but the
networks on those inputs for so long, in one thread, and prints how many pictures a second that
were.
"""

import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np

from facesim_index.engine.arcface import ArcFace
from facesim_index.engine.base import Provider
from facesim_index.engine.face_engine import InsightFaceEngine
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.engine.runtimes.network import Network
from facesim_index.engine.scrfd import Scrfd
from facesim_index.models.resolution import resolve
from facesim_index.pictures.decoding import decode
from facesim_index.pictures.views import WholePicture
from facesim_index.records import Float32Array, Numerics

Call = tuple[Callable[[Float32Array], list[Float32Array]], Float32Array]


class Recorder:
    """A network that also notes what it is given."""

    def __init__(self, network: Network, calls: list[Call]) -> None:
        self.network = network
        self.input_shapes, self.output_shapes = network.input_shapes, network.output_shapes
        self._calls = calls

    def run(self, blob: Float32Array) -> list[Float32Array]:
        """Note the input and run the network."""
        self._calls.append((self.network.run, np.array(blob)))
        return self.network.run(blob)


def main() -> None:
    """Serve the benchmark."""
    calls = record(cast("Provider", sys.argv[1]), cast("Numerics", sys.argv[2]))
    for run, blob in itertools.chain.from_iterable(calls):
        run(blob)
    print("ready", flush=True)
    for line in sys.stdin:
        print(pictures_a_second(calls, float(line)), flush=True)


def record(provider: Provider, numerics: Numerics) -> list[list[Call]]:
    """Return every picture's calls of the two networks."""
    settings = EngineSettings(model=resolve(), provider=provider, numerics=numerics)
    detector, recogniser, running = load_networks(settings)
    assert isinstance(detector, Scrfd)
    assert isinstance(recogniser, ArcFace)
    calls: list[Call] = []
    detector.network = Recorder(detector.network, calls)
    recogniser.network = Recorder(recogniser.network, calls)
    engine = InsightFaceEngine(
        settings.identity,
        running,
        detector,
        recogniser,
        min_detection=settings.min_detection,
        min_face_px=settings.min_face_px,
    )
    pictures = []
    for line in iter(sys.stdin.readline, "\n"):
        engine.embed_pictures([WholePicture(decode(Path(line.rstrip("\n")).read_bytes()).rgb)])
        pictures.append(calls[:])
        calls.clear()
    return pictures


def pictures_a_second(calls: list[list[Call]], duration_s: float) -> float:
    """Run the networks on one picture after the other for some seconds."""
    started = time.perf_counter()
    done, elapsed_s = 0, 0.0
    while elapsed_s < duration_s:
        for run, blob in calls[done % len(calls)]:
            run(blob)
        done += 1
        elapsed_s = time.perf_counter() - started
    return done / elapsed_s


if __name__ == "__main__":
    main()
