"""Geometry of one face: from five landmarks to an upright crop, and its pose and sharpness.

Landmarks are the left eye, right eye, nose tip, left and right mouth corner *as seen in the
picture*, in pixels of the upright picture, x to the right and y down.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesim_index.errors import UsageError
from facesim_index.records import Float64Array, UInt8Array

#: Side of the square crop that ArcFace recognisers are given.
ARCFACE_SIDE_PX = 112

#: Where ArcFace recognisers were trained to see the five landmarks in a crop of 112×112 px.
ARCFACE_LANDMARKS: NDArray[np.float32] = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    dtype=np.float32,
)
ARCFACE_LANDMARKS.setflags(write=False)


@dataclass(frozen=True, slots=True, eq=False)
class CropTemplate:
    """Where a recogniser wants to see a face in its crops.

    Attributes
    ----------
    side_px : int
        Side of the square crop for which the landmarks are given.
    landmarks : ndarray of shape (5, 2), float32
        In pixels of that crop.
    """

    side_px: int
    landmarks: NDArray[np.float32]


ARCFACE_TEMPLATE = CropTemplate(ARCFACE_SIDE_PX, ARCFACE_LANDMARKS)

#: Bilinear sampling reads 2×2 pixels, so below this scale it skips pixels and aliases.
_ALIASING_SCALE = 0.5
#: Bounds the memory for landmarks that are absurdly far apart.
_MAX_BLOCK_PX = 256
#: OpenCV's warps address their source with signed 16-bit integers.
_WARP_LIMIT_PX = 32766
#: Distance between the pupils over the depth from them to the nose tip, of an average head.
_PUPILS_OVER_NOSE_DEPTH = 2.0


def similarity_transform(
    landmarks: ArrayLike,
    side_px: int = ARCFACE_SIDE_PX,
    template: CropTemplate = ARCFACE_TEMPLATE,
) -> Float64Array:
    """Return the similarity that best carries `landmarks` onto a template.

    Least squares over rotation, uniform scale and translation, without reflection [1]_.  In
    the plane that problem is linear in the two numbers of the rotated scale, hence solved
    directly.

    Parameters
    ----------
    landmarks : array_like of shape (5, 2)
        Landmarks in the picture, in pixels.
    side_px : int, default=112
        Side of the square crop, at least 1; the template is scaled with it.
    template : CropTemplate, default=ARCFACE_TEMPLATE
        Where the landmarks shall lie.

    Returns
    -------
    matrix : ndarray of shape (2, 3), float64
        Picture pixels to crop pixels.

    Raises
    ------
    UsageError
        The landmarks are not five finite points, or no similarity brings them near a face.

    References
    ----------
    .. [1] S. Umeyama, "Least-squares estimation of transformation parameters between two
       point patterns", IEEE Transactions on Pattern Analysis and Machine Intelligence, 1991.

    Examples
    --------
    A face of twice the size of the template, moved by 10 px, is halved and moved back.

    >>> matrix = similarity_transform(2 * ARCFACE_LANDMARKS + 10)
    >>> np.allclose(matrix, [[0.5, 0.0, -5.0], [0.0, 0.5, -5.0]], atol=1e-6)
    True
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise UsageError(f"expected five finite landmarks, shape (5, 2), not {points.tolist()}")
    wanted = template.landmarks.astype(np.float64) * (side_px / template.side_px)
    source_centre, target_centre = points.mean(axis=0), wanted.mean(axis=0)
    source, target = points - source_centre, wanted - target_centre
    spread = float((source**2).sum())
    if spread == 0.0:
        raise UsageError(f"the five landmarks coincide at {source_centre.tolist()}")
    # The two numbers are scale * cos(angle) and scale * sin(angle).
    cosine = float((source * target).sum()) / spread
    sine = float((source[:, 0] * target[:, 1] - source[:, 1] * target[:, 0]).sum()) / spread
    if math.hypot(cosine, sine) == 0.0:
        raise UsageError(f"the landmarks {points.tolist()} have nothing of a face's shape")
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, target_centre - linear @ source_centre])


def aligned_crop(
    rgb: UInt8Array,
    landmarks: ArrayLike,
    *,
    side_px: int = ARCFACE_SIDE_PX,
    template: CropTemplate = ARCFACE_TEMPLATE,
) -> UInt8Array:
    """Cut a face out, turned and scaled so that its landmarks lie on a template.

    A face at most twice as large as the crop is warped bilinearly, as insightface does it.
    A larger one is first reduced by averaging whole pixel blocks, because a bilinear warp
    would skip pixels and alias.

    Parameters
    ----------
    rgb : ndarray of shape (height, width, 3), uint8
        The upright picture; what lies outside it is black.
    landmarks : array_like of shape (5, 2)
        Landmarks of the face in that picture, in pixels.
    side_px : int, default=112
        Side of the crop, at least 1; the template is scaled with it.
    template : CropTemplate, default=ARCFACE_TEMPLATE
        Where the landmarks shall lie.

    Returns
    -------
    crop : ndarray of shape (side_px, side_px, 3), uint8
        In the channel order of `rgb`.

    Raises
    ------
    UsageError
        The landmarks are not five finite points, or no similarity brings them near a face.

    Examples
    --------
    >>> grey = np.full((300, 200, 3), 128, dtype=np.uint8)
    >>> aligned_crop(grey, ARCFACE_LANDMARKS + 20).shape
    (112, 112, 3)
    """
    matrix = similarity_transform(landmarks, side_px, template)
    block_px = 1
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    if scale < _ALIASING_SCALE:
        block_px = math.floor(min(1.0 / scale, _MAX_BLOCK_PX))
    if block_px > 1 or max(rgb.shape[:2]) > _WARP_LIMIT_PX:
        rgb, matrix = _reduced_surroundings(rgb, matrix, side_px, block_px)
    return _warped(rgb, matrix, side_px)


def pose_deg(landmarks: ArrayLike) -> tuple[float, float]:
    """Estimate yaw and roll of the head from the five landmarks.

    Roll is the slope of the line through the eyes.  Yaw follows from the nose tip's distance
    to the middle of eyes and mouth, along the eye line, under weak perspective: with the
    nose tip ``d`` in front of eyes that are ``2 w`` apart, a turn by ``yaw`` moves the tip by
    ``d sin(yaw)`` and brings the eyes to ``2 w cos(yaw)``.  The ratio ``2 w / d`` is taken
    as 2.0 for everyone, so yaw ranks poses well and is only roughly an angle.

    Parameters
    ----------
    landmarks : array_like of shape (5, 2)
        Landmarks in the picture, in pixels.

    Returns
    -------
    yaw_deg, roll_deg : float
        Yaw in [-90, 90], positive when the nose points to the right of the upright face;
        roll in (-180, 180], positive clockwise.

    Examples
    --------
    >>> pose_deg([(0, 0), (2, 0), (1, 1), (0, 2), (2, 2)])
    (0.0, 0.0)
    >>> yaw_deg, roll_deg = pose_deg([(0, 0), (2, 0), (2, 1), (0, 2), (2, 2)])
    >>> round(yaw_deg), roll_deg
    (45, 0.0)
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = np.asarray(landmarks, dtype=np.float64)
    eye_line = right_eye - left_eye
    pupils_px = math.hypot(*eye_line)
    roll_deg = math.degrees(math.atan2(eye_line[1], eye_line[0]))
    if pupils_px == 0.0:
        return 0.0, roll_deg
    middle = (left_eye + right_eye + left_mouth + right_mouth) / 4
    offset_px = float((nose - middle) @ eye_line) / pupils_px
    yaw_deg = math.degrees(math.atan2(offset_px * _PUPILS_OVER_NOSE_DEPTH, pupils_px))
    return yaw_deg, roll_deg


def sharpness(crop: UInt8Array) -> float:
    """Return the variance of the Laplacian of the crop's grey values.

    Parameters
    ----------
    crop : ndarray of shape (side, side, 3), uint8
        An aligned crop in RGB; values are comparable only between crops of one side.

    Returns
    -------
    sharpness : float
        At least 0, for a crop of one colour; higher is sharper.

    Examples
    --------
    >>> sharpness(np.full((112, 112, 3), 77, dtype=np.uint8))
    0.0
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def _warped(rgb: UInt8Array, matrix: Float64Array, side_px: int) -> UInt8Array:
    crop = cv2.warpAffine(rgb, matrix, (side_px, side_px), borderValue=(0, 0, 0))
    return np.asarray(crop, dtype=np.uint8)


def _reduced_surroundings(
    rgb: UInt8Array, matrix: Float64Array, side_px: int, block_px: int
) -> tuple[UInt8Array, Float64Array]:
    """Return the part of the picture that a crop sees, reduced by whole blocks of pixels.

    Parameters
    ----------
    rgb : ndarray of shape (height, width, 3), uint8
    matrix : ndarray of shape (2, 3), float64
        Picture pixels to crop pixels.
    side_px, block_px : int
        Sides of the crop, and of the block that becomes one pixel.

    Returns
    -------
    reduced : ndarray of shape (height', width', 3), uint8
        One black pixel when the crop lies wholly outside the picture.
    reduced_matrix : ndarray of shape (2, 3), float64
        Reduced pixels to crop pixels.
    """
    height_px, width_px = rgb.shape[:2]
    corners = np.array([[0, 0], [side_px, 0], [0, side_px], [side_px, side_px]], dtype=np.float64)
    seen = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    margin_px = 2 * block_px
    x0, y0 = np.clip(seen.min(axis=0) - margin_px, 0, (width_px, height_px)).astype(int)
    x1, y1 = np.clip(seen.max(axis=0) + margin_px, 0, (width_px, height_px)).astype(int)
    if x1 <= x0 or y1 <= y0:
        return np.zeros((1, 1, 3), dtype=np.uint8), matrix
    part = rgb[y0:y1, x0:x1]
    # Whole blocks only: what is missing at the right and below is outside, hence black.
    fill_x, fill_y = -(x1 - x0) % block_px, -(y1 - y0) % block_px
    part = np.pad(part, ((0, fill_y), (0, fill_x), (0, 0)))
    size = (part.shape[1] // block_px, part.shape[0] // block_px)
    reduced = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    # The centre of reduced pixel k lies at x0 + block_px * k + (block_px - 1) / 2.
    to_picture = np.array(
        [
            [block_px, 0.0, x0 + (block_px - 1) / 2],
            [0.0, block_px, y0 + (block_px - 1) / 2],
            [0.0, 0.0, 1.0],
        ]
    )
    return reduced, matrix @ to_picture
