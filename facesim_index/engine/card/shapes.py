"""Which shapes a card computes: few of them, because each has a session of its own.

Most pictures of a collection have one of a handful of canvases, which are computed exactly as they
are.  Any other one goes to the smallest masked canvas that holds it.  That is a third slower, and
the numbers are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from facesim_index.engine.runtimes.card_graph import CardShape

#: Height and width of the canvases that are computed as they are: overviews, small pictures, and
#: the pictures of cameras (4:3, 3:2, 16:9, 5:4 and square), each in both directions.
PLAIN_CANVASES = frozenset(
    {(128, 128), (96, 128), (128, 96), (256, 256), (640, 640)}
    | {(short, 640) for short in (384, 448, 480, 512)}
    | {(640, short) for short in (384, 448, 480, 512)}
)
MASKED_SIDES_PX = (128, 256, 448, 640)

#: Pictures at a time.  The last batch of a run, or one whose time has come, is filled up.
SMALL_BATCHES = (4, 16, 32)
LARGE_BATCHES = (2, 8, 16)
_SMALL_PX = 256 * 256


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture is computed, whatever the size of the batch.

    Attributes
    ----------
    height_px, width_px : int
    masked : bool
        It is larger than the picture.
    """

    height_px: int
    width_px: int
    masked: bool = False

    @property
    def batches(self) -> tuple[int, ...]:
        """The sizes of its batches, ascending."""
        small = self.height_px * self.width_px <= _SMALL_PX
        return SMALL_BATCHES if small else LARGE_BATCHES

    def shape(self, n_pictures: int, batches: Sequence[int]) -> CardShape:
        """Return the smallest shape that holds some pictures.

        Parameters
        ----------
        n_pictures : int
            At most the largest of the batches.
        batches : sequence of int
            Sizes of batches, ascending.

        Returns
        -------
        CardShape

        Examples
        --------
        >>> Place(256, 256).shape(5, (4, 16, 32)).batch
        16
        """
        batch = next(size for size in batches if size >= n_pictures)
        return CardShape(batch, self.height_px, self.width_px, self.masked)


def canvas_place(height_px: int, width_px: int) -> Place:
    """Return where a canvas is computed.

    Parameters
    ----------
    height_px, width_px : int

    Returns
    -------
    Place

    Examples
    --------
    >>> canvas_place(480, 640)
    Place(height_px=480, width_px=640, masked=False)
    >>> canvas_place(224, 160)
    Place(height_px=256, width_px=256, masked=True)
    >>> canvas_place(700, 64)
    Place(height_px=704, width_px=704, masked=True)
    """
    if (height_px, width_px) in PLAIN_CANVASES:
        return Place(height_px, width_px)
    longer_px = max(height_px, width_px)
    # A detector of another geometry may show larger canvases than these.
    side_px = next(
        (side for side in MASKED_SIDES_PX if side >= longer_px), -(-longer_px // 64) * 64
    )
    return Place(side_px, side_px, masked=True)
