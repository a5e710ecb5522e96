"""Drawing in proportion: text in the letters of one font, rounded blocks and faces."""

import functools
import unicodedata

from PIL import Image, ImageDraw, ImageFont

from facesim_index.records import UInt8Array

Colour = tuple[int, int, int]

PAPER: Colour = (250, 250, 248)

_SMOOTHING = 4


class Pen:
    """Draws on strips of paper, in lengths that are given for faces of 160 px.

    Parameters
    ----------
    side_px : int
        Side of a face on the sheet; every other length is in proportion.

    Examples
    --------
    >>> pen = Pen(80)
    >>> pen.px(20)
    10
    >>> pen.strip(columns=3, height_px=50).size
    (398, 50)
    """

    def __init__(self, side_px: int) -> None:
        self.side = side_px
        self.gap, self.frame = self.px(20), self.px(4)
        self.margin = self.px(36)
        self.matches_x = self.margin + side_px + self.px(44)
        self._mask = functools.cache(self._rounded_mask)

    def px(self, length: float) -> int:
        """Return a length in pixels of this sheet.

        Parameters
        ----------
        length : float
            In pixels of a sheet with faces of 160 px.

        Returns
        -------
        int
            At least 1.
        """
        return max(1, round(length * self.side / 160))

    def strip(self, columns: int, height_px: int) -> Image.Image:
        """Return an empty strip of the sheet.

        Parameters
        ----------
        columns : int
            How many matches fit side by side, at least 1.
        height_px : int
            In pixels of this sheet.

        Returns
        -------
        PIL.Image.Image
            RGB.
        """
        width_px = self.matches_x + columns * (self.side + self.gap) - self.gap + self.margin
        return Image.new("RGB", (width_px, height_px), PAPER)

    def text(self, strip: Image.Image, x: int, y: int, text: str, size: float, ink: Colour) -> None:
        """Write one line of text.

        Parameters
        ----------
        strip : PIL.Image.Image
        x, y : int
            Left end and middle height of the line, in pixels of this sheet.
        text : str
            As `fitted` or `wrapped` returns it.
        size : float
            Of the letters, in pixels of a sheet with faces of 160 px.
        ink : tuple of three int
            Red, green and blue, in [0, 255].
        """
        font = _font(self.px(size))
        ImageDraw.Draw(strip).text((x, y), text, fill=ink, font=font, anchor="lm")

    def length(self, text: str, size: float) -> int:
        """Return the width of a line.

        Parameters
        ----------
        text : str
        size : float
            Of the letters, in pixels of a sheet with faces of 160 px.

        Returns
        -------
        int
            In pixels of this sheet.
        """
        return round(_font(self.px(size)).getlength(text))

    def fitted(self, text: str, size: float, width_px: int) -> str:
        """Return text that can be drawn in one line.

        Parameters
        ----------
        text : str
        size : float
            Of the letters, in pixels of a sheet with faces of 160 px.
        width_px : int
            The width to fit into, in pixels of this sheet.

        Returns
        -------
        str
            With an ellipsis for its middle where the whole text is too long.
        """
        text, font = _drawable(text), _font(self.px(size))
        shorter, kept = text, len(text)
        while kept > 2 and font.getlength(shorter) > width_px:
            kept -= 1
            shorter = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
        return shorter

    def wrapped(self, text: str, size: float, width_px: int) -> list[str]:
        """Return text that can be drawn, divided into lines at its spaces.

        Parameters
        ----------
        text : str
        size : float
            Of the letters, in pixels of a sheet with faces of 160 px.
        width_px : int
            The width to fit into, in pixels of this sheet.

        Returns
        -------
        list of str
            The lines; a word that is wider than a line has an ellipsis for its middle.
        """
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and _font(self.px(size)).getlength(_drawable(longer)) <= width_px:
                lines[-1] = _drawable(longer)
            else:
                lines.append(self.fitted(word, size, width_px))
        return lines

    def block(self, strip: Image.Image, box: tuple[int, int, int, int], colour: Colour) -> None:
        """Fill a box with rounded corners.

        Parameters
        ----------
        strip : PIL.Image.Image
        box : tuple of four int
            Left, top, width and height, in pixels of this sheet.
        colour : tuple of three int
            Red, green and blue, in [0, 255].
        """
        x, y, width, height = box
        mask = self._mask(width, height)
        strip.paste(Image.new("RGB", (width, height), colour), (x, y), mask)

    def face(self, strip: Image.Image, x: int, y: int, crop: UInt8Array) -> None:
        """Draw a crop with rounded corners.

        Parameters
        ----------
        strip : PIL.Image.Image
        x, y : int
            Left and top, in pixels of this sheet.
        crop : ndarray of shape (height, width, 3), uint8
            RGB; it is resized to the side of a face.
        """
        side = self.side
        image = Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS)
        strip.paste(image, (x, y), self._mask(side, side))

    def _rounded_mask(self, width: int, height: int) -> Image.Image:
        large = Image.new("L", (width * _SMOOTHING, height * _SMOOTHING))
        radius = min(self.px(9), width // 2, height // 2) * _SMOOTHING
        ImageDraw.Draw(large).rounded_rectangle(
            (0, 0, large.width - 1, large.height - 1), radius=radius, fill=255
        )
        return large.resize((width, height), Image.Resampling.LANCZOS)


@functools.cache
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(float(size_px))


def _drawable(text: str) -> str:
    """Return text in the letters that the font has: ``é`` as ``e``, anything else as ``?``."""
    plain = "".join(
        character
        for character in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(character)
    )
    return "".join(character if _has_glyph(character) else "?" for character in plain)


@functools.cache
def _has_glyph(character: str) -> bool:
    return (character.isascii() and character.isprintable()) or character in "…·’"
