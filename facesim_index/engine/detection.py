"""Finding faces: one picture, two scales, one list of boxes and landmarks.

The picture is shown to the detector twice: at its own size, or shrunk to `DETAIL_PX`, for the
faces that are small in it, and at `OVERVIEW_PX` for those that fill it, which the detector does
not see at the larger scale.  Each time it gets a canvas just large enough: sides are multiples
of `STEP_PX`, so that few input sizes ever occur and memory does not grow with odd ones.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from facesim_index.pictures.views import View
from facesim_index.records import Box, Float32Array, UInt8Array

#: Longer side to which a picture is shrunk for its small faces.  A smaller one is shown as it is.
DETAIL_PX = 640
#: Longer side to which every picture is scaled for faces that fill the frame.
OVERVIEW_PX = 128
#: The sides of the detector's inputs are multiples of this, its largest stride.
STEP_PX = 32


class Detector(Protocol):
    """What finds faces on a canvas; `facesim_index.engine.scrfd.Scrfd` does."""

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
    detail = _Scaled.of(view.rgb)
    if max(view.rgb.shape[:2]) > DETAIL_PX:
        detail = detail.fitted(DETAIL_PX)
    passes = [
        _detect(shown, detector, min_score, view) for shown in (detail, detail.fitted(OVERVIEW_PX))
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


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A view, scaled.

    Attributes
    ----------
    rgb : ndarray of shape (height, width, 3), uint8
    pixel_px : tuple of float
        Width and height that one of its pixels covers, in pixels of the view.
    """

    rgb: UInt8Array
    pixel_px: tuple[float, float]

    @classmethod
    def of(cls, rgb: UInt8Array) -> "_Scaled":
        return cls(rgb, (1.0, 1.0))

    def fitted(self, side_px: int) -> "_Scaled":
        """Scale such that the longer side becomes `side_px`.

        Halving averages blocks of four pixels, which OpenCV does twenty times as fast as
        averaging at any other scale; what is left is less than a half.
        """
        shown = self
        while max(shown.rgb.shape[:2]) >= 2 * side_px and min(shown.rgb.shape[:2]) >= 2:
            shown = shown._halved()
        height_px, width_px = shown.rgb.shape[:2]
        scale = side_px / max(height_px, width_px)
        return shown._resized(max(1, round(width_px * scale)), max(1, round(height_px * scale)))

    def _halved(self) -> "_Scaled":
        """Average blocks of four pixels; an odd last row or column is left out."""
        height_px, width_px = (side // 2 for side in self.rgb.shape[:2])
        whole = _Scaled(self.rgb[: 2 * height_px, : 2 * width_px], self.pixel_px)
        return whole._resized(width_px, height_px, cv2.INTER_AREA)

    def _resized(self, width_px: int, height_px: int, how: int = cv2.INTER_LINEAR) -> "_Scaled":
        rgb = np.asarray(cv2.resize(self.rgb, (width_px, height_px), interpolation=how))
        before_px = self.rgb.shape[1::-1]
        pixel_px = (
            self.pixel_px[0] * before_px[0] / width_px,
            self.pixel_px[1] * before_px[1] / height_px,
        )
        return _Scaled(rgb.astype(np.uint8, copy=False), pixel_px)


def _detect(
    shown: _Scaled, detector: Detector, min_score: float, view: View
) -> tuple[Float32Array, Float32Array]:
    """Run the detector once and return its findings in pixels of the whole picture.

    Parameters
    ----------
    shown : _Scaled
        The view, scaled.
    detector : Detector
    min_score : float
    view : View

    Returns
    -------
    boxes : ndarray of shape (n, 5), float32
        x0, y0, x1, y1, score.
    landmarks : ndarray of shape (n, 5, 2), float32
    """
    height_px, width_px = shown.rgb.shape[:2]
    canvas = np.zeros((_in_steps(height_px), _in_steps(width_px), 3), dtype=np.uint8)
    canvas[:height_px, :width_px] = shown.rgb
    scores, boxes, landmarks = (np.vstack(part) for part in detector.forward(canvas, min_score))
    enlargement = np.array(shown.pixel_px, dtype=np.float32) * view.reduction
    origin = np.array(view.origin_px, dtype=np.float32)
    # Scaling keeps pixel *edges* in place, and the centre of pixel k lies at k + 0.5.
    points = (landmarks.reshape(-1, 5, 2) + 0.5) * enlargement - 0.5 + origin
    corners = (boxes.reshape(-1, 2, 2) + 0.5) * enlargement - 0.5 + origin
    rows = np.hstack([corners.reshape(-1, 4), scores.reshape(-1, 1)])
    return rows.astype(np.float32), points.astype(np.float32)


def _in_steps(side_px: int) -> int:
    """Return the shortest side of a canvas that has room for a side."""
    return -(-side_px // STEP_PX) * STEP_PX


def _box(corners: Float32Array) -> Box:
    x0, y0, x1, y1 = (float(value) for value in corners)
    return Box(x0, y0, x1 - x0, y1 - y0)
