"""SCRFD: from a canvas to the boxes and landmarks that the detector's network sees on it.

The same numbers, bit for bit, as insightface's class of that name gives; but only the few
anchors that pass the threshold are turned into boxes, not all 16,800 of a canvas of 640 px.
"""

from functools import cache
from typing import Protocol

import cv2
import numpy as np

from facesim_index.records import Float32Array, UInt8Array

#: Anchors at each place, and the strides of the outputs, by the number of outputs.
LAYOUTS: dict[int, tuple[int, tuple[int, ...]]] = {
    9: (2, (8, 16, 32)),
    15: (1, (8, 16, 32, 64, 128)),
}
INPUT_MEAN, INPUT_STD = 127.5, 128.0
_SAME_FACE_IOU = 0.4


class Network(Protocol):
    """A network that is ready to run."""

    def run(self, blob: Float32Array) -> list[Float32Array]:
        """Return its outputs for one input of shape (n, 3, height, width)."""
        ...


class Scrfd:
    """A detector of faces with five landmarks.

    Parameters
    ----------
    network : Network
        With 9 or 15 outputs: scores of each stride, then boxes, then landmarks.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    def forward(
        self, rgb: UInt8Array, threshold: float
    ) -> tuple[list[Float32Array], list[Float32Array], list[Float32Array]]:
        """Find the faces on a canvas.

        Parameters
        ----------
        rgb : ndarray of shape (height, width, 3), uint8
            Both sides are multiples of the largest stride.
        threshold : float
            Least score.

        Returns
        -------
        scores, boxes, landmarks : list of ndarray
            For each stride, of shapes (n, 1), (n, 4) and (n, 5, 2); in pixels of the canvas.
        """
        height_px, width_px = rgb.shape[:2]
        mean = (INPUT_MEAN, INPUT_MEAN, INPUT_MEAN)
        shown = cv2.dnn.blobFromImage(rgb, 1.0 / INPUT_STD, (width_px, height_px), mean)
        blob = np.asarray(shown, dtype=np.float32)
        outputs = [output.reshape(-1, output.shape[-1]) for output in self.network.run(blob)]
        per_place, strides = LAYOUTS[len(outputs)]
        found = []
        for scores, distances, offsets, stride in zip(
            outputs[: len(strides)],
            outputs[len(strides) : 2 * len(strides)],
            outputs[2 * len(strides) :],
            strides,
            strict=True,
        ):
            rows = np.flatnonzero(scores[:, 0] >= threshold)
            places = _anchors(height_px // stride, width_px // stride, stride, per_place)[rows]
            reach = distances[rows] * stride
            boxes = np.hstack([places - reach[:, :2], places + reach[:, 2:]])
            points = places[:, np.newaxis, :] + (offsets[rows] * stride).reshape(-1, 5, 2)
            found.append((scores[rows], boxes, points))
        return [part[0] for part in found], [part[1] for part in found], [part[2] for part in found]

    def nms(self, dets: Float32Array) -> list[int]:
        """Return which detections to keep, best first, of each face one.

        Parameters
        ----------
        dets : ndarray of shape (n, 5), float32
            x0, y0, x1, y1, score.

        Returns
        -------
        list of int
            Rows whose boxes overlap by no more than an intersection over union of 0.4.
        """
        x0, y0, x1, y1, scores = dets.T
        areas = (x1 - x0 + 1) * (y1 - y0 + 1)
        order = np.argsort(-scores, kind="stable")
        keep = []
        while order.size:
            best, others = order[0], order[1:]
            keep.append(int(best))
            width = np.minimum(x1[best], x1[others]) - np.maximum(x0[best], x0[others]) + 1
            height = np.minimum(y1[best], y1[others]) - np.maximum(y0[best], y0[others]) + 1
            shared = np.maximum(0.0, width) * np.maximum(0.0, height)
            union = areas[best] + areas[others] - shared
            order = others[shared / union <= _SAME_FACE_IOU]
        return keep


@cache
def _anchors(rows: int, columns: int, stride: int, per_place: int) -> Float32Array:
    """Return where the anchors of a stride are, (x, y) a row.  Few canvases ever occur."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32) * stride
    places = np.stack([x, y], axis=-1).reshape(-1, 2)
    return np.repeat(places, per_place, axis=0)
