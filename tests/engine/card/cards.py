"""Cards for tests: the CPU as a card, and fake cards that fail."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.engine.base import SharedEngine
from facesim_index.engine.card.networks import (
    CardNetworks,
    Geometry,
    NetworkFiles,
    ShapedNetwork,
    open_networks,
)
from facesim_index.engine.card.served import serve
from facesim_index.engine.detection import CanvasGeometry
from facesim_index.engine.loading import EngineSettings, network_files
from facesim_index.engine.runtimes.card_graph import CardShape
from facesim_index.records import Float32Array, UInt8Array

SIDE_PX = 32
N_NUMBERS = 5
#: The grey level of a picture's first pixel says what a fake card does with it.
FINE, FATAL, DEADLY, HANGING, HUGE = 10, 100, 110, 120, 130


@dataclass(frozen=True, slots=True)
class CpuCardSettings(EngineSettings):
    """An engine whose networks the CPU computes in batches, as a card would."""

    @contextlib.contextmanager
    def shared(self) -> Iterator[SharedEngine]:
        """Start one process that computes for all workers."""
        with serve(self, [few_at_a_time(self)]) as shared:
            yield shared


def few_at_a_time(settings: EngineSettings) -> NetworkFiles:
    """Return what the CPU computes in small batches, which it fills up as a card does."""
    return dataclasses.replace(network_files(settings, 0), most_at_a_time=4)


@dataclass(frozen=True, slots=True)
class MortalFiles:
    """What networks are made of that die once, in the middle of a run."""

    files: NetworkFiles
    marker: Path
    batches: int


def open_mortal_networks(source: MortalFiles) -> CardNetworks:
    """Open the real networks; the first process ends after some batches of the detector."""
    networks = open_networks(source.files)
    if source.marker.exists():
        return networks
    left = [source.batches]
    run = networks.detector.run

    def run_for_a_while(place: object, canvases: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            source.marker.touch()
            os._exit(9)
        return run(place, canvases)  # type: ignore[arg-type]

    networks.detector.run = run_for_a_while  # type: ignore[method-assign, assignment]
    return networks


@dataclass(frozen=True, slots=True, kw_only=True)
class MortalCardSettings(EngineSettings):
    """As `CpuCardSettings`, with a card whose first process ends after some batches."""

    marker: Path

    @contextlib.contextmanager
    def shared(self) -> Iterator[SharedEngine]:
        """Start one process, and another one when it has ended."""
        files = MortalFiles(few_at_a_time(self), self.marker, 2)
        with serve(self, [files], make_networks=open_mortal_networks) as shared:
            yield shared


class FakeSession:
    """Answers each picture with its mean level, or does what its first pixel says."""

    def __init__(self, shape: CardShape, folder: Path) -> None:
        self._shape = shape
        self._folder = folder

    def run(self, canvases: list[UInt8Array]) -> Float32Array:
        """Return rows of equal numbers."""
        levels = [int(canvas.flat[0]) for canvas in canvases]
        for level in levels:
            with (self._folder / f"seen-{level}").open("a") as file:
                file.write(f"{len(canvases)}\n")
        times = {level: self._times(level) for level in levels}
        if HANGING in levels and times[HANGING] == 1:
            time.sleep(60)
        if FATAL in levels or (DEADLY in levels and times[DEADLY] == 1):
            raise RuntimeError("an illegal memory access was encountered")
        if HUGE in levels or self._shape.batch > 4:
            raise MemoryError("failed to allocate memory")
        return np.repeat(np.array(levels, dtype=np.float32)[:, np.newaxis], N_NUMBERS, axis=1)

    def _times(self, level: int) -> int:
        return len((self._folder / f"seen-{level}").read_text().splitlines())


def open_fake_networks(folder: Path) -> CardNetworks:
    """Make networks of fake sessions, which note what they see in a folder."""

    def network() -> ShapedNetwork:
        return ShapedNetwork(lambda shape: FakeSession(shape, folder), 32)

    return CardNetworks(network(), network(), Geometry(CanvasGeometry(640, 128, 32), 9, SIDE_PX))


def open_unfit_networks(_: None) -> CardNetworks:
    """End before anything can be computed."""
    os._exit(5)
