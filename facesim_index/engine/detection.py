"""Finding faces: one picture, two scales, one list of boxes and landmarks.

The picture is shown to the detector twice: at its own size, or shrunk, for the faces that are
small in it, and as a small overview for those that fill it, which the detector does not see at
the larger scale.  `CanvasGeometry` gives the sizes.  Each time the detector gets a canvas just
large enough, whose sides are multiples of a step, so that few input sizes ever occur and memory
does not grow with odd ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from facesim_index.pictures.views import View
from facesim_index.records import Box, Float32Array, UInt8Array

#: Two boxes that overlap by more than this intersection over union are of one face.
SAME_FACE_IOU = 0.4


@dataclass(frozen=True, slots=True)
class CanvasGeometry:
    """At which sizes a picture is shown to a detector.

    Attributes
    ----------
    detail_px : int
        Longer side to which a picture is shrunk for its small faces.  A smaller one is shown as it
        is.
    overview_px : int
        Longer side to which every picture is scaled for faces that fill the frame.
    step_px : int
        The sides of a canvas are multiples of this, the detector's largest stride.
    """

    detail_px: int
    overview_px: int
    step_px: int


@dataclass(frozen=True, slots=True)
class CanvasFaces:
    """What a detector sees on one canvas, in pixels of that canvas.

    Attributes
    ----------
    scores : ndarray of shape (n,), float32
        In [0, 1], in no order.
    boxes : ndarray of shape (n, 4), float32
        x0, y0, x1, y1; not clipped.
    landmarks : ndarray of shape (n, 5, 2), float32
        Left eye, right eye, nose tip, left and right mouth corner as seen in the picture.
    """

    scores: Float32Array
    boxes: Float32Array
    landmarks: Float32Array


class Detector(Protocol):
    """What finds faces on canvases; `facesim_index.engine.scrfd.Scrfd` does."""

    @property
    def canvas(self) -> CanvasGeometry:
        """At which sizes pictures are shown to it."""
        ...

    def detect(self, canvases: Sequence[UInt8Array], *, min_score: float) -> list[CanvasFaces]:
        """Find the faces on canvases; what is seen on one does not depend on the others.

        Parameters
        ----------
        canvases : sequence of ndarray of shape (height, width, 3), uint8
            In RGB; their sides are multiples of ``canvas.step_px``, and may differ.
        min_score : float
            Least score, in [0, 1].

        Returns
        -------
        list of CanvasFaces
            One for each canvas.  A face may be there more than once.
        """
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
        The picture, of at least one pixel.
    detector : Detector
    min_score : float
        Detections with a lower score are dropped; in [0, 1].
    min_face_px : float
        Faces whose box, within the picture, has a shorter side are dropped; in pixels of the
        whole picture, at least 0.

    Returns
    -------
    list of Detection
        By ``box.x``, then ``box.y``; in pixels of the whole picture.
    """
    (faces,) = find_faces_together([view], detector, min_score=min_score, min_face_px=min_face_px)
    return faces


def find_faces_together(
    views: Sequence[View], detector: Detector, *, min_score: float, min_face_px: float
) -> list[list[Detection]]:
    """Find the faces of pictures, all of which the detector is shown in one call.

    Parameters
    ----------
    views : sequence of View
    detector : Detector
    min_score, min_face_px : float
        As for `find_faces`.

    Returns
    -------
    list of list of Detection
        Of each picture what `find_faces` returns.
    """
    scales = [_scales(view, detector.canvas) for view in views]
    canvases = [shown.canvas(detector.canvas.step_px) for both in scales for shown in both]
    seen = detector.detect(canvases, min_score=min_score)
    return [
        _merged(view, both, seen[2 * number : 2 * number + 2], min_face_px)
        for number, (view, both) in enumerate(zip(views, scales, strict=True))
    ]


def _scales(view: View, geometry: CanvasGeometry) -> "tuple[_Scaled, _Scaled]":
    """Return the two scales at which a picture is shown."""
    detail = _Scaled.of(view.rgb)
    if max(view.rgb.shape[:2]) > geometry.detail_px:
        detail = detail.fitted(geometry.detail_px)
    return detail, detail.fitted(geometry.overview_px)


def _merged(
    view: View,
    scales: "tuple[_Scaled, _Scaled]",
    seen: Sequence[CanvasFaces],
    min_face_px: float,
) -> list[Detection]:
    """Return the faces of one picture, each once, of what was seen at its scales."""
    passes = [_in_picture(found, shown, view) for found, shown in zip(seen, scales, strict=True)]
    boxes = np.vstack([found[0] for found in passes])
    landmarks = np.vstack([found[1] for found in passes])
    keep = non_maximum_suppression(boxes)
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


def non_maximum_suppression(rows: Float32Array) -> list[int]:
    """Keep one detection for each face: the one with the highest score.

    Parameters
    ----------
    rows : ndarray of shape (n, 5), float32
        x0, y0, x1, y1 in pixels, and the score.

    Returns
    -------
    list of int
        The rows to keep, highest score first.  No two of their boxes overlap by more than an
        intersection over union of `SAME_FACE_IOU`.

    Examples
    --------
    >>> here, nearly_here, there = [0, 0, 9, 9, 0.8], [1, 0, 9, 9, 0.9], [20, 0, 29, 9, 0.7]
    >>> non_maximum_suppression(np.array([here, nearly_here, there], dtype=np.float32))
    [1, 2]
    """
    x0, y0, x1, y1, scores = rows.T
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
        order = others[shared / union <= SAME_FACE_IOU]
    return keep


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

    def canvas(self, step_px: int) -> UInt8Array:
        """Return the picture on the smallest black canvas whose sides are multiples of a step."""
        height_px, width_px = self.rgb.shape[:2]
        sides_px = [-(-side_px // step_px) * step_px for side_px in (height_px, width_px)]
        canvas = np.zeros((*sides_px, 3), dtype=np.uint8)
        canvas[:height_px, :width_px] = self.rgb
        return canvas

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


def _in_picture(seen: CanvasFaces, shown: _Scaled, view: View) -> tuple[Float32Array, Float32Array]:
    """Return what was seen on a canvas in pixels of the whole picture.

    Parameters
    ----------
    seen : CanvasFaces
    shown : _Scaled
        What was on that canvas: the view, scaled.
    view : View

    Returns
    -------
    boxes : ndarray of shape (n, 5), float32
        x0, y0, x1, y1, score.
    landmarks : ndarray of shape (n, 5, 2), float32
    """
    enlargement = np.array(shown.pixel_px, dtype=np.float32) * view.reduction
    origin = np.array(view.origin_px, dtype=np.float32)
    # Scaling keeps pixel *edges* in place, and the centre of pixel k lies at k + 0.5.
    points = (seen.landmarks + 0.5) * enlargement - 0.5 + origin
    corners = (seen.boxes.reshape(-1, 2, 2) + 0.5) * enlargement - 0.5 + origin
    rows = np.hstack([corners.reshape(-1, 4), seen.scores.reshape(-1, 1)])
    return rows.astype(np.float32), points.astype(np.float32)


def _box(corners: Float32Array) -> Box:
    x0, y0, x1, y1 = (float(value) for value in corners)
    return Box(x0, y0, x1 - x0, y1 - y0)
