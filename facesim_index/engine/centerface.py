"""CenterFace: from canvases to the boxes and landmarks that the detector's network sees on them.

The network looks at every fourth place of a canvas [1]_.  For each it says how probable the centre
of a face is, how high and wide that face is, where in those four pixels its centre lies, and where
its landmarks are in its box.  Landmarks of one place are off by a twentieth of the distance of the
eyes, so those of the places around that saw the same face are averaged.

References
----------
.. [1] Y. Xu, W. Yan, H. Sun, G. Yang and J. Luo, "CenterFace: Joint Face Detection and Alignment
   Using Face as Point", 2019.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facesim_index.engine.detection import CanvasFaces, CanvasGeometry
from facesim_index.engine.runtimes.network import Network
from facesim_index.engine.runtimes.onnx_graph import (
    GraphShapes,
    UnfitGraphError,
    with_free_outputs,
    with_free_sides,
)
from facesim_index.records import Float32Array, Int64Array, UInt8Array

if TYPE_CHECKING:
    from onnx import ModelProto

CENTERFACE_CANVAS = CanvasGeometry(detail_px=640, overview_px=128, step_px=32)
#: Pixels of the canvas between two places that the network looks at.
_STRIDE_PX = 4
#: Numbers of a place in the outputs: probability, height and width, shifts, landmarks.
_CHANNELS = (1, 2, 2, 10)
#: Places with a lower score tell nothing about landmarks.
_LEAST_WITNESS = 0.3
#: Places whose boxes overlap by at least this saw the same face.
_SAME_VIEW_IOU = 0.5


@dataclass(frozen=True, slots=True)
class CenterFaceFamily:
    """The family of CenterFace detectors.

    Attributes
    ----------
    title : str
        What one of them is called in a message.
    canvas : CanvasGeometry
        At which sizes pictures are shown to it.
    """

    title: str = "a CenterFace detector"
    canvas: CanvasGeometry = CENTERFACE_CANVAS

    def fits(self, shapes: GraphShapes) -> bool:
        """Tell whether a graph declares the outputs of a CenterFace detector.

        Parameters
        ----------
        shapes : GraphShapes

        Returns
        -------
        bool

        Examples
        --------
        >>> outputs = [(10, channels, 8, 8) for channels in (1, 2, 2, 10)]
        >>> CenterFaceFamily().fits(GraphShapes([(10, 3, 32, 32)], outputs))
        True
        >>> CenterFaceFamily().fits(GraphShapes([("n", 3, 112, 112)], [("n", 512)]))
        False
        """
        return tuple(shape[1] for shape in shapes.outputs if len(shape) == 4) == _CHANNELS

    def build(
        self, model: "ModelProto", open_network: "Callable[[ModelProto], Network]"
    ) -> "CenterFace":
        """Make a detector of a graph, and try it once.

        Parameters
        ----------
        model : ModelProto
            Is changed.
        open_network : callable
            Makes a graph ready to run.

        Returns
        -------
        CenterFace

        Raises
        ------
        UnfitGraphError
            Its outputs are not those of a CenterFace detector.
        """
        network = open_network(with_free_sides(with_free_outputs(model)))
        side_px = self.canvas.overview_px
        outputs = network.run(np.zeros((1, 3, side_px, side_px), dtype=np.float32))
        places = side_px // _STRIDE_PX
        expected = [(1, channels, places, places) for channels in _CHANNELS]
        if [output.shape for output in outputs] != expected:
            raise UnfitGraphError(
                f"is not {self.title}: its outputs have the shapes "
                f"{[output.shape for output in outputs]}"
            )
        return CenterFace(network, self.canvas)


class CenterFace:
    """A detector of faces with five landmarks; satisfies `facesim_index.engine.detection.Detector`.

    Parameters
    ----------
    network : Network
        With four outputs: probabilities, sizes, shifts and landmarks.
    canvas : CanvasGeometry
        At which sizes pictures are shown to it.
    """

    def __init__(self, network: Network, canvas: CanvasGeometry) -> None:
        self.network = network
        self.canvas = canvas

    def detect(self, canvases: Sequence[UInt8Array], *, min_score: float) -> list[CanvasFaces]:
        """Find the faces on canvases, one canvas after the other.

        Parameters
        ----------
        canvases : sequence of ndarray of shape (height, width, 3), uint8
            In RGB.  Both sides are multiples of 32.
        min_score : float
            Places with a lower score are left out; in [0, 1].

        Returns
        -------
        list of CanvasFaces
            One for each canvas, in pixels of that canvas; a face is there once for every place
            that saw it.
        """
        return [self._detect(canvas, min_score) for canvas in canvases]

    def _detect(self, rgb: UInt8Array, min_score: float) -> CanvasFaces:
        blob = np.ascontiguousarray(rgb.transpose(2, 0, 1), dtype=np.float32)[None]
        probability, size, shift, landmarks = (output[0] for output in self.network.run(blob))
        row, column = np.nonzero(probability[0] >= min(min_score, _LEAST_WITNESS))
        # Vertical numbers come first, in sizes, shifts and landmarks alike.
        place = np.stack([row, column], axis=1).astype(np.float32)
        sides = np.exp(size[:, row, column].T) * _STRIDE_PX
        # A place is four pixels wide.  Pixel k is at k, where edges would say k + 0.5.
        centres = (place + shift[:, row, column].T + 0.5) * _STRIDE_PX - 0.5
        corners = centres - sides / 2
        within = landmarks[:, row, column].T.reshape(-1, 5, 2)
        boxes = np.hstack([corners, corners + sides])[:, [1, 0, 3, 2]]
        points = (within * sides[:, None] + corners[:, None])[..., ::-1]
        scores = probability[0, row, column]
        found = np.flatnonzero(scores >= min_score)
        return CanvasFaces(
            scores=scores[found],
            boxes=boxes[found].astype(np.float32),
            landmarks=_agreed_landmarks(found, boxes, points, scores),
        )


def _agreed_landmarks(
    found: Int64Array, boxes: Float32Array, points: Float32Array, scores: Float32Array
) -> Float32Array:
    """Return the mean landmarks of all places that saw the same face, weighted by their scores.

    Parameters
    ----------
    found : ndarray of shape (n_found,), int64
        The places that are asked about.
    boxes : ndarray of shape (n, 4), float32
    points : ndarray of shape (n, 5, 2), float32
    scores : ndarray of shape (n,), float32

    Returns
    -------
    ndarray of shape (n_found, 5, 2), float32
    """
    agreed = np.empty((found.size, 5, 2), dtype=np.float32)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for number, place in enumerate(found):
        low = np.maximum(boxes[place, :2], boxes[:, :2])
        high = np.minimum(boxes[place, 2:], boxes[:, 2:])
        shared = np.prod(np.maximum(high - low, 0.0), axis=1)
        same = shared >= _SAME_VIEW_IOU * (areas[place] + areas - shared)
        agreed[number] = np.average(points[same], axis=0, weights=scores[same])
    return agreed
