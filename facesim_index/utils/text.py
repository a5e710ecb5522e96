"""Text from file names and labels made safe to show, and numbers as text for people."""

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import PurePath

Cell = str | int | float | bool | None

#: A sign that begins a formula, at the start of a cell.  A cell may also start behind a sign that
#: another program takes for the end of the cell before.
_FORMULA = re.compile("""(^|[,;|"'])( *)([=+@\uff0b\uff0d\uff1d\uff20-])""")
_ESCAPE = re.compile(r"\\(\\|n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
_PERHAPS_NOT_PRINTABLE = re.compile(r"[^\x00-\x7e]")  # JSON itself escapes the rest
_SHORT_ESCAPES = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}


def printable(text: str) -> str:
    r"""Return text with everything that could steer a terminal or a page shown as an escape.

    Parameters
    ----------
    text : str
        Such as a file name, which may hold any character, and bytes that are not UTF-8.

    Returns
    -------
    str

    Examples
    --------
    >>> print(printable("a\x1b[31m name\udce9"))
    a\x1b[31m name\udce9
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def json_text(document: object, *, indent: int | None = None, allow_nan: bool = True) -> str:
    r"""Return a document as JSON in which every character can be shown.

    Anything else in a text is an escape, also a byte of a file name that is not UTF-8: the byte
    e9 is ``\udce9``, as Python's file functions take it.

    Parameters
    ----------
    document : object
        What `json.dumps` takes.
    indent : int, optional
        How many spaces a level is indented; by default everything is in one line.
    allow_nan : bool, default=True
        Write ``NaN``, ``Infinity`` and ``-Infinity``, which JSON does not have.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        A number is infinite or NaN, and `allow_nan` is false.

    Examples
    --------
    >>> print(json_text({"name": "Rosé \udce9"}))
    {"name": "Rosé \udce9"}
    """
    text = json.dumps(document, ensure_ascii=False, indent=indent, allow_nan=allow_nan)
    if text.isascii() and "\x7f" not in text:  # quick, also where pictures are in it
        return text
    return _PERHAPS_NOT_PRINTABLE.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def spreadsheet_text(text: str) -> str:
    r"""Return text that no spreadsheet takes for a formula or for several cells.

    Whatever is not printable becomes an escape, and so does a ``=``, ``+``, ``-`` or ``@`` where
    a cell begins, or where it might begin for a program that separates cells by another sign [1]_.
    A backslash is doubled, so that nothing is lost: `original_text` restores the text.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Valid Unicode, without control characters.

    References
    ----------
    .. [1] OWASP, "CSV Injection".  The apostrophe advised there cannot be told from one that was
       in the name.

    Examples
    --------
    >>> print(spreadsheet_text("=1+1"))
    \x3d1+1
    """
    escaped = printable(text.replace("\\", "\\\\"))
    return _FORMULA.sub(lambda found: found[1] + found[2] + _escape(found[3]), escaped)


def original_text(cell: str) -> str:
    """Return the text from which `spreadsheet_text` made a cell.

    Parameters
    ----------
    cell : str

    Returns
    -------
    str

    Examples
    --------
    >>> original_text(spreadsheet_text("=1+1"))
    '=1+1'
    """
    return _ESCAPE.sub(
        lambda found: _SHORT_ESCAPES.get(found[1]) or chr(int(found[1][1:], 16)), cell
    )


def csv_line(cells: Sequence[Cell], *, spreadsheet_safe: bool = False) -> bytes:
    r"""Return one line of CSV.

    Parameters
    ----------
    cells : sequence of str, int, float, bool or None
    spreadsheet_safe : bool, default=False
        Write text as `spreadsheet_text` returns it; otherwise names keep their very bytes.

    Returns
    -------
    bytes
        With a line feed at the end.

    Examples
    --------
    >>> csv_line([7, "a, b", None, 0.5])
    b'7,"a, b",,0.5\n'
    """
    if spreadsheet_safe:
        cells = [spreadsheet_text(cell) if isinstance(cell, str) else cell for cell in cells]
    line = io.StringIO()
    # With this end of line, a cell with a line feed or a lone carriage return is put in quotes.
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n").encode("utf-8", "surrogateescape") + b"\n"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def last_part(path: str) -> str:
    """Return the last part of a path.

    Parameters
    ----------
    path : str

    Returns
    -------
    str
        The path itself where it has no parts.

    Examples
    --------
    >>> last_part("/photos/me.jpg"), last_part("/")
    ('me.jpg', '/')
    """
    return PurePath(path).name or path


def degree_text(degree: float | None) -> str:
    """Return a degree for people, with four decimals.

    Parameters
    ----------
    degree : float or None
        In [0, 1].

    Returns
    -------
    str
        Never a claim of certainty; a dash for None.

    Examples
    --------
    >>> degree_text(0.98765), degree_text(1.0), degree_text(0.0), degree_text(None)
    ('0.9877', '>0.9999', '<0.0001', '-')
    """
    if degree is None:
        return "-"
    if degree >= 0.99995:
        return ">0.9999"
    if degree < 0.00005:
        return "<0.0001"
    return f"{degree:.4f}"


def count_text(expected: float | None) -> str:
    """Return an expected number for people, with two digits.

    Parameters
    ----------
    expected : float or None
        At least 0.

    Returns
    -------
    str
        Never a plain zero; a dash for None.

    Examples
    --------
    >>> count_text(0.0), count_text(0.123), count_text(1234.5), count_text(None)
    ('<0.01', '0.12', '1234', '-')
    """
    if expected is None:
        return "-"
    if expected < 0.01:
        return "<0.01"
    return f"{expected:.2g}" if expected < 100 else f"{expected:.0f}"


def score_name(head: str) -> str:
    """Return what the scores of a similarity head are called.

    Parameters
    ----------
    head : str
        `Calibration.score_kind`.

    Returns
    -------
    str
        "cosine", or "score" for a normalised one or a learned head.

    Examples
    --------
    >>> score_name("cosine"), score_name("product")
    ('cosine', 'score')
    """
    return "cosine" if head == "cosine" else "score"
