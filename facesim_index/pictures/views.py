"""A picture as it is looked at: whole, or reduced where less than all its pixels will do.

A camera's picture has twelve million pixels, detection looks at 640 × 640, and a face is
recognised from 112 × 112.  JPEG can be decoded at a half, a quarter or an eighth of its size in a
fraction of the time.  What is found in a reduced view is told in pixels of the whole picture.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from facesim_index.errors import UsageError
from facesim_index.records import Float32Array, UInt8Array


@dataclass(frozen=True, slots=True)
class View:
    """The pixels of an upright picture, each standing for a square of the whole picture's.

    Attributes
    ----------
    rgb : ndarray of shape (height, width, 3), uint8
    size_px : tuple of int
        Width and height of the whole picture.
    reduction : int
        Side of the square, in pixels of the whole picture.
    origin_px : tuple of int
        Where the first square begins, from the left and from the top; negative where it
        reaches beyond the edge.
    """

    rgb: UInt8Array
    size_px: tuple[int, int]
    reduction: int = 1
    origin_px: tuple[int, int] = (0, 0)

    @classmethod
    def whole(cls, rgb: UInt8Array) -> "View":
        """Return the view of a picture that shows every pixel."""
        return cls(rgb, (rgb.shape[1], rgb.shape[0]))

    def points(self, points: Float32Array) -> Float32Array:
        """Return where points of the whole picture lie in `rgb`.

        Parameters
        ----------
        points : ndarray of shape (n, 2), float32
            x and y; the centre of a pixel has whole numbers.

        Returns
        -------
        ndarray of shape (n, 2), float32
        """
        if self.reduction == 1:
            return points
        origin = np.array(self.origin_px, dtype=np.float32)
        return np.asarray((points - origin + 0.5) / self.reduction - 0.5, dtype=np.float32)


class Pixels(Protocol):
    """A picture whose pixels can be had at several reductions, at a cost each time."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        ...

    @property
    def reductions(self) -> tuple[int, ...]:
        """What `view` accepts, ascending; the first is 1."""
        ...

    def view(self, reduction: int) -> View:
        """Return the picture reduced so far."""
        ...


class WholePicture:
    """Pixels that are there already, to be had whole only.

    Parameters
    ----------
    rgb : ndarray of shape (height, width, 3), uint8
        Upright, with at least one pixel.

    Raises
    ------
    UsageError
        The array is not an RGB picture.
    """

    reductions = (1,)

    def __init__(self, rgb: UInt8Array) -> None:
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
            raise UsageError(f"expected a picture of shape (h, w, 3), uint8, not {rgb.shape}")
        self._view = View.whole(rgb)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        return self._view.size_px

    def view(self, reduction: int) -> View:
        """Return the whole picture.

        Parameters
        ----------
        reduction : int
            1.
        """
        assert reduction == 1
        return self._view


def coarsest(pixels: Pixels, least_long_side_px: int) -> int:
    """Return the largest reduction that keeps the longer side at least so long.

    Parameters
    ----------
    pixels : Pixels
    least_long_side_px : int

    Returns
    -------
    int
        1 when even the whole picture is smaller.
    """
    longest_px = max(pixels.size_px)
    return max(r for r in pixels.reductions if r == 1 or longest_px >= r * least_long_side_px)
