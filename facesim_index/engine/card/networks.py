"""The two networks of a model as a card computes them: a session for each shape, few at a time."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from facesim_index.engine import families
from facesim_index.engine.arcface import ArcFaceFamily
from facesim_index.engine.card.shapes import CANVASES, Place, crop_place
from facesim_index.engine.detection import CanvasGeometry
from facesim_index.engine.runtimes.card_graph import CardShape, PixelScaling
from facesim_index.engine.runtimes.card_session import CardSession
from facesim_index.engine.runtimes.onnx_graph import (
    declared_shapes,
    read_graph,
    recogniser_scaling,
    with_free_outputs,
    with_quick_prelu,
)
from facesim_index.engine.runtimes.probe import probe_provider
from facesim_index.engine.scrfd import INPUT_MEAN, INPUT_STD, LAYOUTS, ScrfdFamily
from facesim_index.errors import ModelError
from facesim_index.records import Float32Array, UInt8Array

logger = logging.getLogger(__name__)

#: More would delay the plan that is wanted first.
_PLANS_AT_A_TIME = 2


class Session(Protocol):
    """A network that only ever sees one shape."""

    def run(self, canvases: list[UInt8Array]) -> Float32Array:
        """Return a row of numbers for each of at most a batch of pictures, or raise MemoryError."""
        ...


class ShapedNetwork:
    """A network with a session for each place, and one size of batches in each.

    Parameters
    ----------
    open_session : callable
        Makes the session of a shape; may raise MemoryError.
    most_at_a_time : int
        No batch is larger than this.
    """

    def __init__(self, open_session: Callable[[CardShape], Session], most_at_a_time: int) -> None:
        self._open_session = open_session
        self._most_at_a_time = most_at_a_time
        self._sessions: dict[Place, Future[Session]] = {}
        #: Where batches were too large for the memory of the card.
        self._smaller: dict[Place, int] = {}

    def most(self, place: Place) -> int:
        """Return how many pictures are computed at a time.

        Parameters
        ----------
        place : Place

        Returns
        -------
        int
        """
        return self._smaller.get(place, min(place.batch, self._most_at_a_time))

    def prepare(self, places: Sequence[Place], blank: Callable[[Place], UInt8Array]) -> None:
        """Begin to plan sessions before they are wanted, because a plan takes seconds.

        Parameters
        ----------
        places : sequence of Place
            What is likely to be wanted first goes first.
        blank : callable
            Makes a picture of a place.
        """

        def plan(place: Place) -> Session:
            session = self._open_session(place.shape(self.most(place)))
            session.run([blank(place)])
            return session

        threads = ThreadPoolExecutor(_PLANS_AT_A_TIME)
        self._sessions.update((place, threads.submit(plan, place)) for place in places)
        threads.shutdown(wait=False)

    def run(self, place: Place, canvases: Sequence[UInt8Array]) -> list[Float32Array]:
        """Run the network on pictures that are computed in one place.

        Parameters
        ----------
        place : Place
        canvases : sequence of ndarray of shape (height, width, 3), uint8

        Returns
        -------
        list of ndarray of shape (n_numbers,), float32
            One for each canvas.

        Raises
        ------
        MemoryError
            The card has not even enough memory for one picture.
        """
        rows: list[Float32Array] = []
        while len(rows) < len(canvases):
            batch = self.most(place)
            try:
                some = list(canvases[len(rows) : len(rows) + batch])
                rows.extend(self._session(place, batch).run(some))
            except MemoryError:
                # What the other sessions hold may be just what is missing.
                self._sessions.clear()
                if batch == 1:
                    raise
                self._smaller[place] = batch // 2
                logger.warning(
                    "the card has not enough memory for %d pictures of %d x %d px at a time; "
                    "going on with %d",
                    *(batch, place.width_px, place.height_px, batch // 2),
                )
        return rows

    def _session(self, place: Place, batch: int) -> Session:
        if place not in self._sessions:
            opened: Future[Session] = Future()
            opened.set_result(self._open_session(place.shape(batch)))
            self._sessions[place] = opened
        return self._sessions[place].result()


@dataclass(frozen=True, slots=True)
class NetworkFiles:
    """What a card's process loads.

    Attributes
    ----------
    detector, recogniser : Path
    detector_sha256, recogniser_sha256 : str
        In hex.
    provider : {"cpu", "cuda"}
    device : int
        Number of the card, from 0.
    most_at_a_time : int, default=32
        No batch is larger than this.
    """

    detector: Path
    detector_sha256: str
    recogniser: Path
    recogniser_sha256: str
    provider: str
    device: int
    most_at_a_time: int = 32


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the clients of a card must know of its networks.

    Attributes
    ----------
    canvas : CanvasGeometry
        At which sizes pictures are shown to the detector.
    n_outputs : int
        Outputs of the detector, a key of `facesim_index.engine.scrfd.LAYOUTS`.
    crop_side_px : int
    """

    canvas: CanvasGeometry
    n_outputs: int
    crop_side_px: int


@dataclass(frozen=True, slots=True)
class CardNetworks:
    """The detector and the recogniser of one card.

    Attributes
    ----------
    detector, recogniser : ShapedNetwork
    geometry : Geometry
    """

    detector: ShapedNetwork
    recogniser: ShapedNetwork
    geometry: Geometry


def can_batch(files: NetworkFiles) -> bool:
    """Tell whether the networks are of families that a card computes in batches.

    Parameters
    ----------
    files : NetworkFiles

    Returns
    -------
    bool

    Raises
    ------
    ModelError
        A file is not the one that was checked.
    """
    seen = declared_shapes(read_graph(files.detector, files.detector_sha256))
    known = declared_shapes(read_graph(files.recogniser, files.recogniser_sha256))
    return isinstance(families.detector_family(seen), ScrfdFamily) and isinstance(
        families.recogniser_family(known), ArcFaceFamily
    )


def open_networks(files: NetworkFiles) -> CardNetworks:
    """Read the graphs of a model; sessions are opened when a shape is first wanted.

    Parameters
    ----------
    files : NetworkFiles

    Returns
    -------
    CardNetworks

    Raises
    ------
    ModelError
        A file cannot be used, or is of a family that is not computed in batches.
    ProviderError
        The provider does not run here.
    """
    # It also finds the libraries of CUDA, for the whole process.
    probe_provider(files.provider)
    seen = read_graph(files.detector, files.detector_sha256)
    known = read_graph(files.recogniser, files.recogniser_sha256)
    shapes = declared_shapes(seen)
    family = families.detector_family(shapes)
    recogniser_family = families.recogniser_family(declared_shapes(known))
    if not isinstance(family, ScrfdFamily) or not isinstance(recogniser_family, ArcFaceFamily):
        raise ModelError(f"{files.detector.parent} is of a family that no card computes in batches")
    mean, divisor = recogniser_scaling(known)
    free_detector, free_recogniser = with_free_outputs(seen), with_free_outputs(known)
    if files.provider == "cpu":
        free_recogniser = with_quick_prelu(free_recogniser)  # On a card it is the slower one.
    _, strides = LAYOUTS[len(shapes.outputs)]
    step_px = max(family.canvas.step_px, *strides)
    geometry = Geometry(
        CanvasGeometry(family.canvas.detail_px, family.canvas.overview_px, step_px),
        len(shapes.outputs),
        recogniser_family.crop_side_px,
    )
    # Some published detectors join the rows of all pictures in one axis.
    one_by_one = any(len(axes) != 3 for axes in shapes.outputs)
    detector = ShapedNetwork(
        lambda shape: CardSession(
            free_detector, shape, PixelScaling(INPUT_MEAN, INPUT_STD), files.provider, files.device
        ),
        1 if one_by_one else files.most_at_a_time,
    )
    recogniser = ShapedNetwork(
        lambda shape: CardSession(
            free_recogniser, shape, PixelScaling(mean, divisor), files.provider, files.device
        ),
        files.most_at_a_time,
    )
    if files.provider == "cuda":
        recogniser.prepare([crop_place(geometry.crop_side_px)], _blank)
        detector.prepare(CANVASES, _blank)
    return CardNetworks(detector, recogniser, geometry)


def _blank(place: Place) -> UInt8Array:
    return np.zeros((place.height_px, place.width_px, 3), dtype=np.uint8)
