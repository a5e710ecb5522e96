"""The two networks of a model as a card computes them: a session for each shape, few at a time."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from facesim_index.engine import families
from facesim_index.engine.arcface import ArcFaceFamily
from facesim_index.engine.card.shapes import Place
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
from facesim_index.engine.scrfd import INPUT_MEAN, INPUT_STD, LAYOUTS, ScrfdFamily
from facesim_index.errors import ModelError
from facesim_index.records import Float32Array, UInt8Array

logger = logging.getLogger(__name__)

#: Pixels of all sessions of a network together; beyond it the one that was used longest ago is
#: closed.  A pixel takes about 30 bytes of the card.
MOST_PIXELS = 64_000_000


class Session(Protocol):
    """A network that only ever sees one shape."""

    def run(self, canvases: list[UInt8Array]) -> Float32Array:
        """Return a row of numbers for each of at most a batch of pictures, or raise MemoryError."""
        ...


class ShapedNetwork:
    """A network with a session for each shape.

    Parameters
    ----------
    open_session : callable
        Makes the session of a shape; may raise MemoryError.
    one_by_one : bool, default=False
        The network cannot compute several pictures at a time.
    """

    def __init__(
        self, open_session: Callable[[CardShape], Session], *, one_by_one: bool = False
    ) -> None:
        self._open_session = open_session
        self._one_by_one = one_by_one
        self._sessions: OrderedDict[CardShape, Session] = OrderedDict()
        #: Batches that were too large for the memory of the card are not tried again.
        self._most: dict[Place, int] = {}

    def most(self, place: Place) -> int:
        """Return how many pictures are computed at a time.

        Parameters
        ----------
        place : Place

        Returns
        -------
        int
        """
        return self._batches(place)[-1]

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
            The card has not even enough memory for the smallest batch.
        """
        rows: list[Float32Array] = []
        while len(rows) < len(canvases):
            batches = self._batches(place)
            now = list(canvases[len(rows) : len(rows) + batches[-1]])
            shape = place.shape(len(now), batches)
            try:
                rows += list(self._session(shape).run(now))
            except MemoryError:
                # What the others hold may be just what is missing.
                self._sessions.clear()
                if shape.batch == batches[0]:
                    raise
                smaller = [size for size in batches if size < shape.batch]
                logger.warning(
                    "the card has not enough memory for %d pictures of %d x %d px at a time; "
                    "going on with %d",
                    *(shape.batch, shape.width_px, shape.height_px, smaller[-1]),
                )
                self._most[place] = smaller[-1]
        return rows

    def _batches(self, place: Place) -> list[int]:
        sizes = (1,) if self._one_by_one else (1, *place.batches)
        most = self._most.get(place, sizes[-1])
        return [size for size in sizes if size <= most]

    def _session(self, shape: CardShape) -> Session:
        session = self._sessions.get(shape)
        if session is None:
            while self._sessions and self._pixels() + _pixels(shape) > MOST_PIXELS:
                self._sessions.popitem(last=False)
            session = self._sessions[shape] = self._open_session(shape)
        self._sessions.move_to_end(shape)
        return session

    def _pixels(self) -> int:
        return sum(map(_pixels, self._sessions))


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
    """

    detector: Path
    detector_sha256: str
    recogniser: Path
    recogniser_sha256: str
    provider: str
    device: int


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
    """
    seen = read_graph(files.detector, files.detector_sha256)
    shapes = declared_shapes(seen)
    family = families.detector_family(shapes)
    known = read_graph(files.recogniser, files.recogniser_sha256)
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
    return CardNetworks(
        ShapedNetwork(
            lambda shape: CardSession(
                free_detector,
                shape,
                PixelScaling(INPUT_MEAN, INPUT_STD),
                files.provider,
                files.device,
            ),
            # Some published detectors join the rows of all pictures in one axis.
            one_by_one=any(len(axes) != 3 for axes in shapes.outputs),
        ),
        ShapedNetwork(
            lambda shape: CardSession(
                free_recogniser, shape, PixelScaling(mean, divisor), files.provider, files.device
            )
        ),
        geometry,
    )


def crop_place(side_px: int) -> Place:
    """Return where crops are computed.

    Parameters
    ----------
    side_px : int

    Returns
    -------
    Place

    Examples
    --------
    >>> crop_place(112).batches
    (4, 16, 32)
    """
    return Place(side_px, side_px)


def _pixels(shape: CardShape) -> int:
    return shape.batch * shape.height_px * shape.width_px
