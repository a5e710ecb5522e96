"""SCRFD: from canvases to the boxes and landmarks that the detector's network sees on them.

The same numbers, bit for bit, as insightface's class of that name gives; but only the few
anchors that pass the threshold are turned into boxes, not all 16,800 of a canvas of 640 px.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facesim_index.engine.detection import CanvasFaces, CanvasGeometry
from facesim_index.engine.runtimes.network import Network
from facesim_index.engine.runtimes.onnx_graph import GraphShapes, UnfitGraphError, with_free_outputs
from facesim_index.records import Float32Array, UInt8Array

if TYPE_CHECKING:
    from onnx import ModelProto

#: Anchors at each place, and the strides of the outputs, by the number of outputs.
LAYOUTS: dict[int, tuple[int, tuple[int, ...]]] = {
    9: (2, (8, 16, 32)),
    15: (1, (8, 16, 32, 64, 128)),
}
INPUT_MEAN, INPUT_STD = 127.5, 128.0
SCRFD_CANVAS = CanvasGeometry(detail_px=640, overview_px=128, step_px=32)
#: Numbers of an anchor in the outputs: those of all strides for the scores come first, then
#: those for the boxes, then those for the landmarks.
_WIDTHS = (1, 4, 10)


@dataclass(frozen=True, slots=True)
class ScrfdFamily:
    """The family of SCRFD detectors with landmarks.

    Attributes
    ----------
    title : str
        What one of them is called in a message.
    canvas : CanvasGeometry
        At which sizes pictures are shown to it; the steps are longer for one of five strides.
    """

    title: str = "a SCRFD detector with landmarks"
    canvas: CanvasGeometry = SCRFD_CANVAS

    def fits(self, shapes: GraphShapes) -> bool:
        """Tell whether a graph declares the outputs of a SCRFD detector with landmarks.

        Parameters
        ----------
        shapes : GraphShapes

        Returns
        -------
        bool

        Examples
        --------
        >>> outputs = [("anchors", width) for width in (1, 1, 1, 4, 4, 4, 10, 10, 10)]
        >>> ScrfdFamily().fits(GraphShapes([("n", 3, "height", "width")], outputs))
        True
        >>> ScrfdFamily().fits(GraphShapes([("n", 3, 112, 112)], [("n", 512)]))
        False
        """
        _, strides = LAYOUTS.get(len(shapes.outputs), (0, ()))
        expected = [width for width in _WIDTHS for _ in strides]
        return bool(strides) and [shape[-1] for shape in shapes.outputs if shape] == expected

    def build(
        self, model: "ModelProto", open_network: "Callable[[ModelProto], Network]"
    ) -> "Scrfd":
        """Make a detector of a graph, and try it once.

        Parameters
        ----------
        model : ModelProto
            Is changed.
        open_network : callable
            Makes a graph ready to run.

        Returns
        -------
        Scrfd

        Raises
        ------
        UnfitGraphError
            Its outputs are not those of a SCRFD detector with landmarks.
        """
        network = open_network(with_free_outputs(model))
        side_px = self.canvas.overview_px
        outputs = network.run(np.zeros((1, 3, side_px, side_px), dtype=np.float32))
        per_place, strides = LAYOUTS.get(len(outputs), (0, ()))
        anchors = [per_place * (side_px // stride) ** 2 for stride in strides]
        expected = [(rows, width) for width in _WIDTHS for rows in anchors]
        if not anchors or [output.shape[-2:] for output in outputs] != expected:
            raise UnfitGraphError(
                f"is not {self.title}: its outputs have the shapes "
                f"{[output.shape for output in outputs]}"
            )
        # The network rounds up where a stride does not divide a side, and anchors would shift.
        step_px = max(self.canvas.step_px, *strides)
        return Scrfd(network, dataclasses.replace(self.canvas, step_px=step_px))


class Scrfd:
    """A detector of faces with five landmarks; satisfies `facesim_index.engine.detection.Detector`.

    Parameters
    ----------
    network : Network
        With 9 or 15 outputs: scores of each stride, then boxes, then landmarks.
    canvas : CanvasGeometry
        At which sizes pictures are shown to it.
    """

    def __init__(self, network: Network, canvas: CanvasGeometry) -> None:
        self.network = network
        self.canvas = canvas

    def detect(self, canvases: Sequence[UInt8Array], *, min_score: float) -> list[CanvasFaces]:
        """Find the faces on canvases, one canvas after the other.

        A processor gains nothing from running canvases together, and their sizes differ.

        Parameters
        ----------
        canvases : sequence of ndarray of shape (height, width, 3), uint8
            In RGB.  Both sides are multiples of the largest stride.
        min_score : float
            Anchors with a lower score are left out; in [0, 1].

        Returns
        -------
        list of CanvasFaces
            One for each canvas, in pixels of that canvas; a face is there once for every anchor
            that saw it.
        """
        return [self._detect(canvas, min_score) for canvas in canvases]

    def _detect(self, rgb: UInt8Array, min_score: float) -> CanvasFaces:
        height_px, width_px = rgb.shape[:2]
        mean = (INPUT_MEAN, INPUT_MEAN, INPUT_MEAN)
        shown = cv2.dnn.blobFromImage(rgb, 1.0 / INPUT_STD, (width_px, height_px), mean)
        blob = np.asarray(shown, dtype=np.float32)
        outputs = [output.reshape(-1, output.shape[-1]) for output in self.network.run(blob)]
        return canvas_faces(outputs, (height_px, width_px), min_score=min_score)


def canvas_faces(
    outputs: Sequence[Float32Array],
    size_px: tuple[int, int],
    *,
    min_score: float,
    within: tuple[int, ...] | None = None,
) -> CanvasFaces:
    """Return what the outputs of the network say of a canvas.

    Parameters
    ----------
    outputs : sequence of ndarray of shape (n_anchors, n), float32
        Of each stride the scores, then the boxes, then the landmarks.
    size_px : tuple of int
        Height and width of what the network saw.
    min_score : float
        Anchors with a lower score are left out; in [0, 1].
    within : tuple of int, optional
        Height and width of the canvas, where the network saw something larger: anchors beyond it
        are left out.

    Returns
    -------
    CanvasFaces
    """
    height_px, width_px = size_px
    per_place, strides = LAYOUTS[len(outputs)]
    found = []
    for scores, distances, offsets, stride in zip(
        outputs[: len(strides)],
        outputs[len(strides) : 2 * len(strides)],
        outputs[2 * len(strides) :],
        strides,
        strict=True,
    ):
        rows = np.flatnonzero(scores[:, 0] >= min_score)
        places = _anchors(height_px // stride, width_px // stride, stride, per_place)[rows]
        if within is not None and within != size_px:
            inside = np.all(places < (within[1], within[0]), axis=1)
            rows, places = rows[inside], places[inside]
        reach = distances[rows] * stride
        boxes = np.hstack([places - reach[:, :2], places + reach[:, 2:]])
        points = places[:, np.newaxis, :] + (offsets[rows] * stride).reshape(-1, 5, 2)
        found.append((scores[rows, 0], boxes, points))
    return CanvasFaces(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


@cache
def _anchors(rows: int, columns: int, stride: int, per_place: int) -> Float32Array:
    """Return where the anchors of a stride are, (x, y) a row.  Few canvases ever occur."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32) * stride
    places = np.stack([x, y], axis=-1).reshape(-1, 2)
    return np.repeat(places, per_place, axis=0)
