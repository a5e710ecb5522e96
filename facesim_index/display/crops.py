"""The upright crop of a face for people to look at: more of it than the recogniser sees."""

import math

import numpy as np

from facesim_index.engine.alignment import aligned_crop, similarity_transform
from facesim_index.pictures.views import Pixels, View
from facesim_index.records import Float32Array, UInt8Array

# How much more of the picture a crop shows than the recogniser sees, in each direction.
_ZOOM_OUT = 1.35
# How far below the recogniser's crop its middle is, in distances from eyes to mouth.
_MOVE_DOWN = 0.2


def crop_face(view: View, landmarks: Float32Array, side_px: int) -> UInt8Array:
    """Cut a face out of a picture, upright, with some room around it.

    Parameters
    ----------
    view : View
        The picture, perhaps reduced.
    landmarks : ndarray of shape (5, 2), float32
        In pixels of the whole picture.
    side_px : int
        Side of the crop, at least 1.

    Returns
    -------
    ndarray of shape (side_px, side_px, 3), uint8
        Black beyond the picture's edge.

    Raises
    ------
    UsageError
        The landmarks are not those of a face.
    """
    return aligned_crop(view.rgb, view.points(_with_room(landmarks)), side_px=side_px)


def crop_reduction(pixels: Pixels, landmarks: Float32Array, side_px: int) -> int:
    """Return how far a picture may be reduced before a crop of a face loses detail.

    Parameters
    ----------
    pixels : Pixels
    landmarks : ndarray of shape (5, 2), float32
        In pixels of the whole picture.
    side_px : int
        Side of the crop, at least 1.

    Returns
    -------
    int
        One of `Pixels.reductions`: how many times smaller each side may become.

    Raises
    ------
    UsageError
        The landmarks are not those of a face.
    """
    matrix = similarity_transform(_with_room(landmarks), side_px)
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    return max(r for r in pixels.reductions if r == 1 or r * scale <= 1.0)


def _with_room(landmarks: Float32Array) -> Float32Array:
    """Return the landmarks of a larger face, so that its crop shows more around this one."""
    middle = landmarks.mean(axis=0)
    down = landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)
    moved = middle + (landmarks - middle) * _ZOOM_OUT + down * _MOVE_DOWN
    return np.asarray(moved, dtype=np.float32)
