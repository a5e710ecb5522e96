"""Finding faces: one picture, two scales, one list of boxes and landmarks.

The picture is shown to the detector twice: at its own size, or shrunk to `CANVASES_PX[-1]`,
for the faces that are small in it, and at `OVERVIEW_PX` for those that fill it, which the
detector does not see at the larger scale.  Only these few input sizes ever occur, so that
memory does not grow with odd picture sizes.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from facesim_index.records import Box, Float32Array, UInt8Array
from facesim_index.views import View

#: Sides of the square inputs on which a picture is shown at its own size where it fits.
CANVASES_PX = (320, 640)
#: A reduced view of a picture is looked at when its longer side is no shorter than this.
#: Scaling it to the canvas then averages pixels, and landmarks move less than when a view of
#: just the canvas' size is shown.
LEAST_VIEW_PX = 1024
#: Side of the input to which every picture is scaled for faces that fill the frame.
OVERVIEW_PX = 128


class Detector(Protocol):
    """What finds faces on a canvas; `facesim_index.scrfd.Scrfd` does."""

    def forward(
        self, rgb: UInt8Array, threshold: float
    ) -> tuple[list[Float32Array], list[Float32Array], list[Float32Array]]:
        """Return scores (n, 1), boxes (n, 4) and landmarks (n, 5, 2) of each stride."""
        ...

    def nms(self, dets: Float32Array) -> list[int]:
        """Return the rows of (x0, y0, x1, y1, score) to keep, best first."""
        ...


@dataclass(frozen=True, slots=True)
class Detection:
    """A face that was found, before anything else is known of it.

    Attributes
    ----------
    box : Box
        Within the picture.
    landmarks : ndarray of shape (5, 2), float32
        Not clipped: an eye may lie outside the picture.
    score : float
        The detector's, in [0, 1].
    """

    box: Box
    landmarks: Float32Array
    score: float


def find_faces(
    view: View, detector: Detector, *, min_score: float, min_face_px: float
) -> list[Detection]:
    """Find the faces of a picture, left to right.

    Parameters
    ----------
    view : View
        Of any size of at least one pixel.
    detector : Detector
    min_score : float
        Detections below it are dropped.
    min_face_px : float
        Faces whose box, within the picture, has a shorter side are dropped.

    Returns
    -------
    list of Detection
        By ``box.x``, then ``box.y``; in pixels of the whole picture.
    """
    rgb = view.rgb
    detail = _fitted(rgb, CANVASES_PX[-1]) if max(rgb.shape[:2]) > CANVASES_PX[-1] else rgb
    side_px = min(side for side in CANVASES_PX if side >= max(detail.shape[:2]))
    overview = _fitted(detail, OVERVIEW_PX)
    passes = [
        _detect(detail, side_px, detector, min_score, view),
        _detect(overview, OVERVIEW_PX, detector, min_score, view),
    ]
    boxes = np.vstack([found[0] for found in passes])
    landmarks = np.vstack([found[1] for found in passes])
    keep = detector.nms(boxes)
    boxes, landmarks = boxes[keep], landmarks[keep]
    limits = np.array([*view.size_px, *view.size_px], dtype=np.float32)
    faces = [
        Detection(_box(corners), points, float(score))
        for corners, points, score in zip(
            np.clip(boxes[:, :4], 0, limits), landmarks, boxes[:, 4], strict=True
        )
    ]
    least_px = max(min_face_px, 1.0)  # A box outside the picture is clipped to nothing.
    large = [face for face in faces if min(face.box.w, face.box.h) >= least_px]
    return sorted(large, key=lambda face: (face.box.x, face.box.y))


def _fitted(rgb: UInt8Array, side_px: int) -> UInt8Array:
    """Scale a picture such that its longer side becomes `side_px`."""
    height_px, width_px = rgb.shape[:2]
    scale = side_px / max(height_px, width_px)
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size, interpolation=how), dtype=np.uint8)


def _detect(
    shown: UInt8Array,
    side_px: int,
    detector: Detector,
    min_score: float,
    view: View,
) -> tuple[Float32Array, Float32Array]:
    """Run the detector once and return its findings in pixels of the whole picture.

    Parameters
    ----------
    shown : ndarray of shape (height, width, 3), uint8
        The view, scaled to fit on the canvas.
    side_px : int
        Side of the canvas.
    detector : Detector
    min_score : float
    view : View
        What is shown.

    Returns
    -------
    boxes : ndarray of shape (n, 5), float32
        x0, y0, x1, y1, score.
    landmarks : ndarray of shape (n, 5, 2), float32
    """
    height_px, width_px = shown.shape[:2]
    canvas = np.zeros((side_px, side_px, 3), dtype=np.uint8)
    canvas[:height_px, :width_px] = shown
    scores, boxes, landmarks = (np.vstack(part) for part in detector.forward(canvas, min_score))
    covered_px = [view.rgb.shape[1] * view.reduction, view.rgb.shape[0] * view.reduction]
    enlargement = np.array([covered_px[0] / width_px, covered_px[1] / height_px], dtype=np.float32)
    origin = np.array(view.origin_px, dtype=np.float32)
    # Scaling keeps pixel *edges* in place, and the centre of pixel k lies at k + 0.5.
    points = (landmarks.reshape(-1, 5, 2) + 0.5) * enlargement - 0.5 + origin
    corners = (boxes.reshape(-1, 2, 2) + 0.5) * enlargement - 0.5 + origin
    rows = np.hstack([corners.reshape(-1, 4), scores.reshape(-1, 1)])
    return rows.astype(np.float32), points.astype(np.float32)


def _box(corners: Float32Array) -> Box:
    x0, y0, x1, y1 = (float(value) for value in corners)
    return Box(x0, y0, x1 - x0, y1 - y0)
