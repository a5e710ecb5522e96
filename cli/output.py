"""How results are written: tables for people, JSON and CSV for programs."""

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facesim_index.utils.text import Cell, csv_line, json_text
from facesim_index.utils.text import count_text as count_text
from facesim_index.utils.text import degree_text as degree_text
from facesim_index.utils.text import printable as printable

if TYPE_CHECKING:
    from rich.table import Table

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to write the result.",
)

spreadsheet_option = click.option(
    "--spreadsheet-safe",
    is_flag=True,
    help="Write CSV that can be opened in a spreadsheet: a sign that could begin a formula or "
    "steer a terminal is written as an escape such as \\x3d, a backslash twice.",
)


def shown_path(path: str) -> str:
    """Return a path for people.

    Parameters
    ----------
    path : str

    Returns
    -------
    str
        Relative where the path is below the working folder.
    """
    try:
        return printable(str(Path(path).relative_to(Path.cwd())))
    except (ValueError, OSError):
        return printable(path)


def write_json(document: object) -> None:
    """Write one JSON document to standard output.

    Parameters
    ----------
    document : object
        What `json.dumps` takes.
    """
    _write(json_text(document, indent=2).encode("utf-8") + b"\n")


def write_csv(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, spreadsheet_safe: bool
) -> None:
    """Write a table as CSV to standard output.

    Parameters
    ----------
    columns : sequence of str
    rows : iterable of sequence of str, int, float, bool or None
    spreadsheet_safe : bool
        Write text that neither a spreadsheet takes for a formula nor a terminal for a command;
        to a terminal it is always written so.
    """
    safe = spreadsheet_safe or sys.stdout.isatty()
    _write(csv_line(columns))
    for row in rows:
        _write(csv_line(row, spreadsheet_safe=safe))


def csv_cells(document: Mapping[str, object], columns: Sequence[str]) -> tuple[Cell, ...]:
    """Return some values of a JSON document as cells of CSV.

    Parameters
    ----------
    document : mapping of str to object
    columns : sequence of str
        Keys of the document; their values are texts, numbers, truth values or None.

    Returns
    -------
    tuple of str, int, float or None
        Truth values are the words ``true`` and ``false``, as in JSON.

    Raises
    ------
    TypeError
        A value is a list or an object.

    Examples
    --------
    >>> csv_cells({"face_id": 7, "confirmed": True, "name": None}, ("name", "confirmed"))
    (None, 'true')
    """
    return tuple(_cell(document[column]) for column in columns)


def _cell(value: object) -> Cell:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a cell of CSV holds one value, not {value!r}")


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[str] = ()
) -> None:
    """Write a table for people to standard output; it is never cut to the terminal's width.

    Parameters
    ----------
    columns : sequence of str
    rows : iterable of sequence of str
    numeric : iterable of str, optional
        The columns that are aligned at the right.
    """
    from rich.table import Table

    right = set(numeric)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column, justify="right" if column in right else "left", no_wrap=True, overflow="ignore"
        )
    for row in rows:
        table.add_row(*map(printable, row))
    _print_table(table)


def _print_table(table: "Table") -> None:
    from rich.console import Console
    from rich.text import Text

    for column in table.columns:
        column._cells = [Text(cell) if isinstance(cell, str) else cell for cell in column._cells]
    console = Console(width=max(10_000, shutil.get_terminal_size().columns))
    with console.capture() as capture:
        console.print(table, soft_wrap=True)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def number_text(value: float | None, decimals: int) -> str:
    """Return a number for people.

    Parameters
    ----------
    value : float or None
    decimals : int
        At least 0.

    Returns
    -------
    str
        A dash for None.

    Examples
    --------
    >>> number_text(0.12345, 2), number_text(None, 2)
    ('0.12', '-')
    """
    return "-" if value is None else f"{value:.{decimals}f}"


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
