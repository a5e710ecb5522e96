"""Parts of the HTML that notebooks show; the colours can be read on light and on dark pages.

Parameters called text are plain text, whatever is in them; all others that go into the HTML as
they are must be HTML already, such as what these functions return.
"""

import base64
import html
import io
from collections.abc import Iterable, Sequence

from PIL import Image

from facesim_index.utils.text import last_part, printable

SIDE_PX = 96
"""Side of a face on the page."""

FAINT = "rgba(128,128,128,.25)"
"""The colour of lines and empty areas."""

NO_PICTURE = (
    f'<div style="width:{SIDE_PX}px;height:{SIDE_PX}px;border-radius:6px;background:{FAINT};'
    'display:flex;align-items:center;justify-content:center;text-align:center">no picture</div>'
)
"""What stands in the place of a face whose picture cannot be read."""

_LIKELY, _UNCERTAIN, _UNLIKELY = "#2f8fd0", "#d98a0b", "#9aa1ab"
# Jupyter sets formulas between dollar signs, but not in names inside these classes.
_PAGE = "tex2jax_ignore mathjax_ignore"


def text_html(text: str) -> str:
    """Return text as HTML that shows nothing but this text.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> text_html("<b>")
    '&lt;b&gt;'
    """
    return html.escape(printable(text))


def line_html(text: str, *, strong: bool = False) -> str:
    """Return a paragraph.

    Parameters
    ----------
    text : str
    strong : bool, default=False
        In bold letters.

    Returns
    -------
    str
    """
    shown = f"<b>{text_html(text)}</b>" if strong else text_html(text)
    return f'<div style="margin:4px 0;max-width:60em">{shown}</div>'


def faded_html(text: str) -> str:
    """Return text in a paler colour.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> faded_html("face 7")
    '<span style="opacity:.7">face 7</span>'
    """
    return f'<span style="opacity:.7">{text_html(text)}</span>'


def left_out_html(count: int) -> str:
    """Return a line that says how many more there are.

    Parameters
    ----------
    count : int

    Returns
    -------
    str
        Empty where `count` is 0 or less.
    """
    return line_html(f"and {count} more, not shown") if count > 0 else ""


def file_name_html(path: str) -> str:
    """Return the last part of a path, which shows the whole path when it is pointed at.

    Parameters
    ----------
    path : str

    Returns
    -------
    str

    Examples
    --------
    >>> file_name_html("/photos/me.jpg")
    '<span title="/photos/me.jpg">me.jpg</span>'
    """
    return f'<span title="{text_html(path)}">{text_html(last_part(path))}</span>'


def picture_html(picture: Image.Image) -> str:
    """Return a square picture, shown with a side of `SIDE_PX`.

    Parameters
    ----------
    picture : PIL.Image.Image
        RGB.

    Returns
    -------
    str
        With the picture as a JPEG inside.
    """
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=80)
    encoded = base64.b64encode(data.getvalue()).decode("ascii")
    return (
        f'<img src="data:image/jpeg;base64,{encoded}" alt="face" width="{SIDE_PX}" '
        f'height="{SIDE_PX}" style="border-radius:6px;display:block;margin:0">'
    )


def bar_html(degree: float | None, low: float | None, high: float | None) -> str:
    """Return a degree as a bar, with its 95 % interval as a thin line.

    Parameters
    ----------
    degree : float or None
        In [0, 1].
    low, high : float or None
        Ends of the interval, in [0, 1]; no line is drawn where one is None.

    Returns
    -------
    str
        Empty without a degree.
    """
    if degree is None:
        return ""
    colour = _LIKELY if degree >= 0.9 else _UNCERTAIN if degree >= 0.5 else _UNLIKELY
    interval = ""
    if low is not None and high is not None:
        interval = (
            f'<div style="position:absolute;left:{100 * low:.2f}%;top:3px;height:2px;'
            f"width:{100 * (high - low):.2f}%;min-width:2px;background:currentColor;"
            'opacity:.7"></div>'
        )
    return (
        f'<div style="position:relative;width:{SIDE_PX}px;height:8px;margin:2px 0;'
        f'border-radius:4px;background:{FAINT};overflow:hidden"><div style="height:8px;'
        f'width:{100 * degree:.2f}%;background:{colour}"></div>{interval}</div>'
    )


def card_html(picture: str, *lines: str) -> str:
    """Return a picture with lines below it.

    Parameters
    ----------
    picture : str
        HTML.
    *lines : str
        HTML.

    Returns
    -------
    str
    """
    below = "".join(f'<div style="overflow-wrap:anywhere">{line}</div>' for line in lines)
    return f'<div style="width:{SIDE_PX + 16}px">{picture}{below}</div>'


def row_html(parts: Iterable[str]) -> str:
    """Return parts side by side, in several lines where there is no room in one.

    Parameters
    ----------
    parts : iterable of str
        HTML.

    Returns
    -------
    str
    """
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(parts)}</div>'


def facts_html(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values.

    Parameters
    ----------
    rows : iterable of (str, str)
        Text.

    Returns
    -------
    str
    """
    cells = "".join(
        f'<tr><th style="text-align:left">{text_html(name)}</th>'
        f'<td style="text-align:left">{text_html(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><tbody>{cells}</tbody></table>"


def table_html(heads: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """Return a table with a head.

    Parameters
    ----------
    heads : sequence of str
        Text.
    rows : iterable of sequence of str or int
        Text; as many cells as there are heads.

    Returns
    -------
    str
    """
    head = "".join(f'<th style="text-align:left">{text_html(name)}</th>' for name in heads)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="text-align:left">{text_html(str(cell))}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def page_html(*parts: str) -> str:
    """Return parts as one page.

    Parameters
    ----------
    *parts : str
        HTML.

    Returns
    -------
    str
    """
    return f'<div class="{_PAGE}" style="font-size:13px;line-height:1.4">{"".join(parts)}</div>'
