"""The contact sheet of a query: one picture with each query face and its matches.

The sheet is a stack of strips of one width: a header, one strip a query face, a footer.
"""

from pathlib import Path

from PIL import Image, ImageDraw

from facesim_index.display.drawing import PAPER, Colour, Pen
from facesim_index.display.file_crops import Crops, FileCrops
from facesim_index.errors import UsageError
from facesim_index.records import UInt8Array
from facesim_index.search.answers import FaceAnswer, Match, QueryAnswer
from facesim_index.utils.files import atomic_output
from facesim_index.utils.text import last_part

#: How many matches of a face are shown; the others are only counted.
MOST_MATCHES = 60

_MIN_COLUMNS, _MAX_COLUMNS = 3, 5

_INK: Colour = (28, 32, 38)
_FADED: Colour = (107, 114, 125)
_LINE: Colour = (222, 224, 227)
_EMPTY: Colour = (233, 235, 238)
# They differ in lightness as well as in hue, for any kind of colour blindness.
_LIKELY: Colour = (0, 104, 171)
_UNCERTAIN: Colour = (226, 148, 16)
_UNLIKELY: Colour = (160, 167, 176)
_NO_DEGREE: Colour = (88, 96, 108)


def draw_sheet(answer: QueryAnswer, crops: Crops, *, side_px: int = 160) -> Image.Image:
    """Draw the contact sheet of a query.

    Each query face stands at the left, its matches beside it in the order of their ranks;
    under a match stand its degree, as a number and as a bar, its file and its face id.

    Parameters
    ----------
    answer : QueryAnswer
    crops : callable
        Takes a path and landmarks, and returns the face's square RGB crop, or None.
    side_px : int, default=160
        Side of a face on the sheet, from 64 to 1024; everything else is in proportion.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Raises
    ------
    UsageError
        The side is below 64 or above 1024.
    """
    if not 64 <= side_px <= 1024:
        raise UsageError(f"a face on a sheet is from 64 to 1024 px wide, not {side_px}")
    pen = Pen(side_px)
    most = max((len(face.matches) for face in answer.faces), default=0)
    columns = min(max(most, _MIN_COLUMNS), _MAX_COLUMNS)
    # All query faces first: they are in one picture, which need not be read again for each.
    query_crops = [crops(answer.query, face.landmarks) for face in answer.faces]
    strips = [_header(pen, answer, columns)]
    for face, query_crop in zip(answer.faces, query_crops, strict=True):
        strips.append(_query_strip(pen, answer.query, face, query_crop, crops, columns))
    strips.append(_footer(pen, answer, columns))
    return _stacked(pen, strips)


def save_sheet(
    answer: QueryAnswer, path: Path, crops: Crops | None = None, *, side_px: int = 160
) -> None:
    """Write the contact sheet of a query as a PNG, whole or not at all.

    Parameters
    ----------
    answer : QueryAnswer
    path : Path
        An existing file is replaced.
    crops : callable, optional
        As in `draw_sheet`; the picture files are read when it is None.
    side_px : int, default=160
        From 64 to 1024.

    Raises
    ------
    UsageError
        The side is below 64 or above 1024.
    StorageError
        The file cannot be written.
    """
    sheet = draw_sheet(answer, crops or FileCrops(side_px), side_px=side_px)
    with atomic_output(path) as handle:
        sheet.save(handle, "PNG")


def _header(pen: Pen, answer: QueryAnswer, columns: int) -> Image.Image:
    width_px = pen.strip(columns, 1).width - 2 * pen.margin
    n_matches = sum(len(face.matches) for face in answer.faces)
    facts = [_counted(len(answer.faces), "face"), _counted(n_matches, "match", "matches")]
    if answer.calibration is not None:
        facts += [f"prior {answer.prior:.4g}", f"calibration {answer.calibration}"]
    small = pen.wrapped("  ·  ".join(facts), 14, width_px)
    if answer.note is not None:
        small += pen.wrapped(answer.note[:1].upper() + answer.note[1:], 14, width_px)
    strip = pen.strip(columns, pen.margin + pen.px(46) + pen.px(22) * len(small))
    title = f"Faces similar to {last_part(answer.query)}"
    y = pen.margin + pen.px(12)
    pen.text(strip, pen.margin, y, pen.fitted(title, 26, width_px), 26, _INK)
    for number, line in enumerate(small):
        y = pen.margin + pen.px(46) + pen.px(22) * number
        pen.text(strip, pen.margin, y, line, 14, _FADED)
    return strip


def _footer(pen: Pen, answer: QueryAnswer, columns: int) -> Image.Image:
    width_px = pen.strip(columns, 1).width - 2 * pen.margin
    meaning = (
        "cos is the cosine of the two embeddings: 1 for the same picture, about 0 for strangers. "
        "The bar shows it, too."
        if answer.calibration is None
        else "The degree is the probability that both faces show one person, given the prior. "
        "The bar shows it, too: blue from 90 %, orange from 50 %, grey below."
    )
    lines = pen.wrapped(meaning, 13, width_px)
    strip = pen.strip(columns, pen.px(20) * len(lines) + pen.margin)
    for number, line in enumerate(lines):
        pen.text(strip, pen.margin, pen.px(8) + pen.px(20) * number, line, 13, _FADED)
    return strip


def _query_strip(
    pen: Pen,
    query: str,
    face: FaceAnswer,
    query_crop: UInt8Array | None,
    crops: Crops,
    columns: int,
) -> Image.Image:
    """Draw one query face with its matches in a grid beside it."""
    shown = face.matches[:MOST_MATCHES]
    left_out = len(face.matches) - len(shown)
    row_px = pen.side + pen.px(92)
    n_rows = max(1, -(-len(shown) // columns))
    strip = pen.strip(columns, n_rows * row_px + (pen.px(24) if left_out else 0) - pen.px(10))
    _query_face(pen, strip, query, face, query_crop)
    if not shown:
        y = pen.side // 2
        pen.text(strip, pen.matches_x, y - pen.px(12), "No match", 20, _INK)
        reason = "The index has no face that this query asks for."
        pen.text(strip, pen.matches_x, y + pen.px(14), reason, 14, _FADED)
    for number, match in enumerate(shown):
        row, column = divmod(number, columns)
        x = pen.matches_x + column * (pen.side + pen.gap)
        _match(pen, strip, (x, pen.frame + row * row_px), match, crops)
    if left_out:
        y = n_rows * row_px
        pen.text(strip, pen.matches_x, y, f"and {left_out} more, not shown", 14, _FADED)
    return strip


def _query_face(
    pen: Pen, strip: Image.Image, query: str, face: FaceAnswer, crop: UInt8Array | None
) -> None:
    frame, x = pen.frame, pen.margin
    side = pen.side + 2 * frame
    pen.block(strip, (x - frame, 0, side, side), _INK)
    _crop_or_reason(pen, strip, (x, frame), crop, query)
    _tag(pen, strip, (x + pen.px(8), frame + pen.px(8)), "query", _INK, PAPER)
    y = pen.side + pen.px(27)
    pen.text(strip, x, y, f"face {face.face} in the picture", 15, _INK)
    size = f"{face.box.w:.0f} x {face.box.h:.0f} px"
    pen.text(strip, x, y + pen.px(20), size, 13, _FADED)


def _match(
    pen: Pen, strip: Image.Image, place: tuple[int, int], match: Match, crops: Crops
) -> None:
    x, y = place
    found = (crops(path, match.landmarks) for path in match.paths or (match.path,))
    crop = next((crop for crop in found if crop is not None), None)
    _crop_or_reason(pen, strip, place, crop, match.path)
    _tag(pen, strip, (x + pen.px(8), y + pen.px(8)), str(match.rank), PAPER, _INK)
    y += pen.side + pen.px(9)
    height = pen.px(6)
    pen.block(strip, (x, y, pen.side, height), _EMPTY)
    filled = round(
        pen.side * min(max(match.cosine if match.degree is None else match.degree, 0), 1)
    )
    pen.block(strip, (x, y, max(filled, height), height), _colour(match.degree))
    pen.text(strip, x, y + pen.px(22), _degree_text(match), 19, _INK)
    name = pen.fitted(last_part(match.path), 13, pen.side)
    pen.text(strip, x, y + pen.px(42), name, 13, _INK)
    about = f"face id {match.face_id}" + ("  ·  same picture" if match.same_image else "")
    pen.text(strip, x, y + pen.px(59), about, 12, _FADED)


def _crop_or_reason(
    pen: Pen, strip: Image.Image, place: tuple[int, int], crop: UInt8Array | None, path: str
) -> None:
    x, y = place
    if crop is not None:
        pen.face(strip, x, y, crop)
        return
    pen.block(strip, (x, y, pen.side, pen.side), _EMPTY)
    reason = "cannot be read" if _exists(path) else "file is gone"
    pen.text(
        strip, x + (pen.side - pen.length(reason, 14)) // 2, y + pen.side // 2, reason, 14, _FADED
    )


def _tag(
    pen: Pen, strip: Image.Image, place: tuple[int, int], text: str, ground: Colour, ink: Colour
) -> None:
    x, y = place
    width = pen.length(text, 13) + pen.px(14)
    pen.block(strip, (x, y, width, pen.px(20)), ground)
    pen.text(strip, x + pen.px(7), y + pen.px(10), text, 13, ink)


def _stacked(pen: Pen, strips: list[Image.Image]) -> Image.Image:
    """Return one picture of all strips, with lines between them."""
    above, below = pen.px(18), pen.px(26)
    height = sum(strip.height for strip in strips) + (above + below) * (len(strips) - 1)
    sheet = Image.new("RGB", (strips[0].width, height), PAPER)
    y = 0
    for number, strip in enumerate(strips):
        if number:
            line = (pen.margin, y + above, sheet.width - pen.margin, y + above)
            ImageDraw.Draw(sheet).line(line, fill=_LINE, width=pen.px(1))
            y += above + below
        sheet.paste(strip, (0, y))
        y += strip.height
    return sheet


def _colour(degree: float | None) -> Colour:
    if degree is None:
        return _NO_DEGREE
    return _LIKELY if degree >= 0.9 else _UNCERTAIN if degree >= 0.5 else _UNLIKELY


def _degree_text(match: Match) -> str:
    """Return the degree in per cent, never rounded to certainty; the cosine without one."""
    if match.degree is None:
        return f"cos {match.cosine:.2f}"
    if match.degree > 0.999:
        return "> 99.9 %"
    return "< 0.1 %" if match.degree < 0.001 else f"{100 * match.degree:.1f} %"


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
