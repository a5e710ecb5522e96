"""Views of a picture: the whole of it, or all of it reduced in size.

A camera's picture has twelve million pixels, detection looks at 640 × 640, and a face is
recognised from 112 × 112.  A JPEG can be decoded at a half, a quarter or an eighth of its size in
a fraction of the time.  Places that are found in a reduced view are given in pixels of the whole
picture.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from facesim_index.errors import UsageError
from facesim_index.records import Float32Array, UInt8Array


@dataclass(frozen=True, slots=True)
class View:
    """The pixels of an upright picture, each of which covers a square of the whole picture.

    Attributes
    ----------
    rgb : ndarray of shape (height, width, 3), uint8
    size_px : tuple of int
        Width and height of the whole picture.
    reduction : int, default=1
        Side of the square, in pixels of the whole picture.
    origin_px : tuple of int, default=(0, 0)
        Where the first square begins, from the left and from the top, in pixels of the whole
        picture; negative where it reaches beyond the edge.
    """

    rgb: UInt8Array
    size_px: tuple[int, int]
    reduction: int = 1
    origin_px: tuple[int, int] = (0, 0)

    @classmethod
    def whole(cls, rgb: UInt8Array) -> "View":
        """Return the view of a picture that shows every pixel.

        Parameters
        ----------
        rgb : ndarray of shape (height, width, 3), uint8

        Returns
        -------
        View

        Examples
        --------
        >>> View.whole(np.zeros((300, 200, 3), dtype=np.uint8)).size_px
        (200, 300)
        """
        return cls(rgb, (rgb.shape[1], rgb.shape[0]))

    def points(self, points: Float32Array) -> Float32Array:
        """Return where points of the whole picture lie in `rgb`.

        Parameters
        ----------
        points : ndarray of shape (n, 2), float32
            x and y in pixels of the whole picture; the centre of a pixel has whole numbers.

        Returns
        -------
        ndarray of shape (n, 2), float32
            x and y in pixels of `rgb`.

        Examples
        --------
        >>> view = View(np.zeros((150, 100, 3), dtype=np.uint8), (200, 300), reduction=2)
        >>> view.points(np.array([[10.5, 20.5]], dtype=np.float32)).tolist()
        [[5.0, 10.0]]
        """
        if self.reduction == 1:
            return points
        origin = np.array(self.origin_px, dtype=np.float32)
        return np.asarray((points - origin + 0.5) / self.reduction - 0.5, dtype=np.float32)


class Pixels(Protocol):
    """A picture that can be decoded at several reductions, which takes time at each call."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        ...

    @property
    def reductions(self) -> tuple[int, ...]:
        """The reductions that `view` accepts, ascending; the first is 1."""
        ...

    def view(self, reduction: int) -> View:
        """Return the picture at a reduction.

        Parameters
        ----------
        reduction : int
            One of `reductions`.

        Returns
        -------
        View

        Raises
        ------
        PictureError
            The picture turned out to be damaged.
        """
        ...


class WholePicture:
    """A picture that is decoded already, at its full size only; satisfies `Pixels`.

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
            Must be 1.

        Returns
        -------
        View
        """
        assert reduction == 1
        return self._view


def coarsest(pixels: Pixels, least_long_side_px: int) -> int:
    """Return the largest reduction that keeps a picture at least at a given size.

    Parameters
    ----------
    pixels : Pixels
    least_long_side_px : int
        What the longer side of the reduced picture must have, in its own pixels.

    Returns
    -------
    int
        One of ``pixels.reductions``; 1 when even the whole picture is smaller.

    Examples
    --------
    >>> coarsest(WholePicture(np.zeros((300, 200, 3), dtype=np.uint8)), 100)
    1
    """
    longest_px = max(pixels.size_px)
    return max(r for r in pixels.reductions if r == 1 or longest_px >= r * least_long_side_px)
