"""The families of models that can be used, and which of them a graph belongs to.

A family is a small frozen dataclass beside its adapter, as `ScrfdFamily` is beside `Scrfd`.  It
knows a graph of its own by the declared inputs and outputs, says at which sizes pictures and faces
are shown to the network, and builds the adapter.  To add a family, write such a module and name
its family in `DETECTOR_FAMILIES` or `RECOGNISER_FAMILIES`; nothing else needs to know of it.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from facesim_index.engine.arcface import ArcFaceFamily
from facesim_index.engine.centerface import CenterFaceFamily
from facesim_index.engine.detection import CanvasGeometry, Detector
from facesim_index.engine.dlib.resnet import DlibFamily
from facesim_index.engine.face_engine import Recogniser
from facesim_index.engine.runtimes.network import Network
from facesim_index.engine.runtimes.onnx_graph import GraphShapes, declared_shapes, read_graph
from facesim_index.engine.scrfd import ScrfdFamily
from facesim_index.models.registry import published_dimension

if TYPE_CHECKING:
    from onnx import ModelProto


Adapter = TypeVar("Adapter", covariant=True)


class Family(Protocol[Adapter]):
    """A family of graphs that are fed, run and read in one way."""

    @property
    def title(self) -> str:
        """What one of them is called in a message, with its article."""
        ...

    def fits(self, shapes: GraphShapes) -> bool:
        """Tell whether a graph belongs to the family.

        Parameters
        ----------
        shapes : GraphShapes
            As the graph declares them.

        Returns
        -------
        bool
        """
        ...

    def build(
        self, model: "ModelProto", open_network: "Callable[[ModelProto], Network]"
    ) -> Adapter:
        """Make a detector or a recogniser of a graph, and try it once.

        Parameters
        ----------
        model : ModelProto
            Is changed.
        open_network : callable
            Makes a graph ready to run.

        Returns
        -------
        Detector or Recogniser

        Raises
        ------
        UnfitGraphError
            The graph does not belong to the family.
        Exception
            Whatever the runtime raises about a graph that it cannot run.
        """
        ...


class DetectorFamily(Family[Detector], Protocol):
    """A family of detectors of faces with five landmarks."""

    @property
    def canvas(self) -> CanvasGeometry:
        """At which sizes pictures are shown to it."""
        ...


class RecogniserFamily(Family[Recogniser], Protocol):
    """A family of recognisers of aligned faces."""

    @property
    def crop_side_px(self) -> int:
        """Side of the aligned crops that it is given."""
        ...

    @property
    def dimension(self) -> int:
        """How many numbers an embedding has."""
        ...


DETECTOR_FAMILIES: tuple[DetectorFamily, ...] = (ScrfdFamily(), CenterFaceFamily())
RECOGNISER_FAMILIES: tuple[RecogniserFamily, ...] = (ArcFaceFamily(), DlibFamily())


def detector_family(shapes: GraphShapes) -> DetectorFamily:
    """Return the family of detectors that a graph belongs to.

    Parameters
    ----------
    shapes : GraphShapes
        As the graph declares them.

    Returns
    -------
    DetectorFamily
        The first one where none fits: its `build` then says what is wrong with the graph.

    Examples
    --------
    >>> outputs = [("anchors", width) for width in (1, 1, 1, 4, 4, 4, 10, 10, 10)]
    >>> detector_family(GraphShapes([("n", 3, "height", "width")], outputs)).title
    'a SCRFD detector with landmarks'
    """
    return next((one for one in DETECTOR_FAMILIES if one.fits(shapes)), DETECTOR_FAMILIES[0])


def recogniser_family(shapes: GraphShapes) -> RecogniserFamily:
    """Return the family of recognisers that a graph belongs to.

    Parameters
    ----------
    shapes : GraphShapes
        As the graph declares them.

    Returns
    -------
    RecogniserFamily
        The first one where none fits: its `build` then says what is wrong with the graph.

    Examples
    --------
    >>> recogniser_family(GraphShapes([("n", 3, 112, 112)], [("n", 512)])).dimension
    512
    """
    return next((one for one in RECOGNISER_FAMILIES if one.fits(shapes)), RECOGNISER_FAMILIES[0])


def embedding_dimension(path: Path, sha256: str) -> int:
    """Return how many numbers an embedding of a recogniser has.

    Parameters
    ----------
    path : Path
        The recogniser's weights.  They are read only where the registry does not know them,
        because that takes long and imports a heavy library.
    sha256 : str
        Of that file, in hex.

    Returns
    -------
    int

    Raises
    ------
    ModelError
        The file had to be read and is not the one that was checked.
    """
    known = published_dimension(sha256)
    return _declared_dimension(path, sha256) if known is None else known


@functools.lru_cache(maxsize=16)
def _declared_dimension(path: Path, sha256: str) -> int:
    return recogniser_family(declared_shapes(read_graph(path, sha256))).dimension
