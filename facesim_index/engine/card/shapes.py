"""Which shapes a card computes: few of them, because each has a session of its own.

Planning a session takes a card some seconds, so every picture goes to the smallest of a few
canvases that holds it, and batches of a canvas have one size.  The canvases are masked: a picture
that is smaller sees nothing of what is beyond it, and its numbers are those of a canvas of its own.
"""

from dataclasses import dataclass

from facesim_index.engine.runtimes.card_graph import CardShape


@dataclass(frozen=True, slots=True)
class Place:
    """Where pictures are computed.

    Attributes
    ----------
    height_px, width_px : int
    batch : int
        How many at a time.  The last batch of a run, or one whose time has come, is filled up.
    masked : bool, default=True
        Pictures may be smaller.
    """

    height_px: int
    width_px: int
    batch: int
    masked: bool = True

    def shape(self, batch: int) -> CardShape:
        """Return the shape of a batch.

        Parameters
        ----------
        batch : int
            How many pictures at a time; less than `batch` where the memory of a card is short.

        Returns
        -------
        CardShape
        """
        return CardShape(batch, self.height_px, self.width_px, self.masked)


#: For overviews, small pictures, pictures that lie and stand, and square ones; the smallest first.
CANVASES = (
    Place(128, 128, 32),
    Place(256, 256, 32),
    Place(480, 640, 16),
    Place(640, 480, 16),
    Place(640, 640, 16),
)
_CROPS_AT_A_TIME = 32


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
    >>> canvas_place(448, 640)
    Place(height_px=480, width_px=640, batch=16, masked=True)
    >>> canvas_place(700, 64)
    Place(height_px=704, width_px=704, batch=4, masked=True)
    """
    for place in CANVASES:
        if place.height_px >= height_px and place.width_px >= width_px:
            return place
    # A detector of another geometry may show larger canvases than these.
    side_px = -(-max(height_px, width_px) // 64) * 64
    return Place(side_px, side_px, 4)


def crop_place(side_px: int) -> Place:
    """Return where the crops of faces are computed.

    Parameters
    ----------
    side_px : int

    Returns
    -------
    Place
    """
    return Place(side_px, side_px, _CROPS_AT_A_TIME, masked=False)
