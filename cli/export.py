"""``facesim export``: matrices and tables of everything, as CSV."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import click

from facesim_index.utils.text import csv_line

from .option_types import FiniteRange, parse_number
from .output import printable, spreadsheet_option
from .progress_bar import progress_bar
from .query import gallery_prior_option
from .state import State, pass_state

if TYPE_CHECKING:
    from facesim_index.degrees.prior import Prior
    from facesim_index.index import FaceIndex
    from facesim_index.records import Int64Array

out_argument = click.argument(
    "out", metavar="OUT.csv", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True)
)


@click.group(epilog="Example: facesim export matrix sim.csv")
def export() -> None:
    """Write similarity matrices or the faces to CSV.

    - as the name of the file is standard output.
    """


@export.command(epilog="Example: facesim export matrix pairs.csv --layout long --min-degree 0.9")
@out_argument
@click.option(
    "--value",
    type=click.Choice(["degree", "cosine", "log10_lr", "fmr"]),
    default="degree",
    show_default=True,
    help="What to write for each pair: log10_lr is the evidence, fmr the false match rate.",
)
@gallery_prior_option
@click.option(
    "--layout",
    type=click.Choice(["wide", "long"]),
    default="wide",
    show_default=True,
    help="A square table, or one line for each pair.",
)
@click.option(
    "--min-degree", type=FiniteRange(0, 1), help="Only pairs of this degree (long layout)."
)
@click.option(
    "--under", metavar="PATH", type=click.Path(), help="Only faces of pictures at or below a path."
)
@click.option(
    "--face-ids",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Only these faces: a text file, one id a line.",
)
@click.option("--decimals", type=click.IntRange(1, 6), default=5, show_default=True)
@pass_state
def matrix(
    state: State,
    out: Path,
    value: Literal["degree", "cosine", "log10_lr", "fmr"],
    prior: "Prior",
    layout: str,
    min_degree: float | None,
    under: str | None,
    face_ids: str | None,
    decimals: int,
) -> None:
    """Write the similarity of every pair of faces.

    wide: face ids are the header and the first column.  long: face_a,face_b,value for
    a < b, largest first within face_a.  Any number of faces fits into memory.
    """
    from facesim_index.export.matrix_options import MatrixOptions
    from facesim_index.utils.progress import ProgressUpdate

    with state.open() as index, index.moment() as now:
        ids = _chosen(now, under, face_ids)
        options = MatrixOptions(
            value=value,
            prior=now.prior(prior) if value == "degree" or min_degree is not None else 0.5,
            min_degree=min_degree,
            decimals=decimals,
        )
        with progress_bar(quiet=state.quiet) as progress, _output(out) as handle:

            def on_rows(done: int) -> None:
                progress(ProgressUpdate("writing rows", done, len(ids)))

            now.write_matrix(
                handle, ids, options, layout="wide" if layout == "wide" else "long", on_rows=on_rows
            )
    at_prior = f", degrees at prior {options.prior:.3g}" if value == "degree" else ""
    state.say(f"Wrote {_named(out)}: {len(ids)} faces{at_prior}")


@export.command(epilog="Example: facesim export matches same.csv --min-degree 0.9")
@out_argument
@click.option(
    "--min-degree",
    type=FiniteRange(0, 1),
    required=True,
    metavar="P",
    help="Every pair of at least this degree.",
)
@gallery_prior_option
@click.option(
    "--under", metavar="PATH", type=click.Path(), help="Only faces of pictures at or below a path."
)
@spreadsheet_option
@pass_state
def matches(
    state: State,
    out: Path,
    min_degree: float,
    prior: "Prior",
    under: str | None,
    spreadsheet_safe: bool,
) -> None:
    """Write every pair of faces that is alike: who may be one person, in which pictures.

    One line for each pair, face_a < face_b, with the degree, log10 likelihood ratio, false
    match rate, cosine, both paths and cautions.  All pairs of the index are compared.
    """
    from facesim_index.utils.progress import ProgressUpdate

    with state.open() as index, index.moment() as now:
        n_faces = len(_chosen(now, under, None))
        given = now.prior(prior)
        with progress_bar(quiet=state.quiet) as progress, _output(out) as handle:

            def on_rows(done: int) -> None:
                progress(ProgressUpdate("comparing faces", done, n_faces))

            n_pairs = now.write_matches(
                handle,
                min_degree=min_degree,
                prior=given,
                under=under,
                spreadsheet_safe=spreadsheet_safe or _to_terminal(out),
                on_rows=on_rows,
            )
    state.say(
        f"Wrote {_named(out)}: {n_pairs} pairs of {n_faces} faces, degrees at prior {given:.3g}"
    )


@export.command(epilog="Example: facesim export faces faces.csv")
@out_argument
@click.option(
    "--under", metavar="PATH", type=click.Path(), help="Only faces of pictures at or below a path."
)
@click.option(
    "--face-ids",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Only these faces: a text file, one id a line.",
)
@spreadsheet_option
@pass_state
def faces(
    state: State, out: Path, under: str | None, face_ids: str | None, spreadsheet_safe: bool
) -> None:
    """Write one row for each face: where it is, its picture, landmarks and quality."""
    from facesim_index.export.face_table import COLUMNS, row

    safe = spreadsheet_safe or _to_terminal(out)
    with state.open() as index, index.moment(embeddings=False) as now:
        ids = _chosen(now, under, face_ids)
        with _output(out) as handle:
            handle.write(csv_line(COLUMNS))
            for record in now.face_records(ids):
                handle.write(csv_line(row(record), spreadsheet_safe=safe))
    state.say(f"Wrote {_named(out)}: {len(ids)} faces")


@export.command(epilog="Example: facesim export people people.csv")
@out_argument
@click.option("--all", "with_ignored", is_flag=True, help="Also those who are ignored.")
@spreadsheet_option
@pass_state
def people(state: State, out: Path, with_ignored: bool, spreadsheet_safe: bool) -> None:
    """Write one row for each face that is somebody's: whose, where, in which picture.

    It says who is in which picture, so the file is for its owner alone, whatever the umask.
    """
    from facesim_index.people.table import COLUMNS

    safe = spreadsheet_safe or _to_terminal(out)
    count = 0
    with state.open() as index, _output(out, private=True) as handle:
        handle.write(csv_line(COLUMNS))
        for row in index.people.table(ignored=with_ignored):
            handle.write(csv_line(row, spreadsheet_safe=safe))
            count += 1
    state.say(f"Wrote {_named(out)}: {count} faces")


@export.command(epilog="Example: facesim export sidecars names")
@click.argument(
    "folder", required=False, type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER"
)
@click.option("--beside", is_flag=True, help="Write beside the pictures, not below a FOLDER.")
@pass_state
def sidecars(state: State, folder: Path | None, beside: bool) -> None:
    """Write the names of people as XMP files, as photo managers read them.

    One file for each picture that shows someone with a name, photo.jpg.xmp, with the face
    regions of the Metadata Working Group.  No picture is changed, and no sidecar of another
    program is replaced.  Below a FOLDER they are for their owner alone; beside the pictures,
    for those who may read the picture.
    """
    if (folder is None) != beside:
        raise click.UsageError("give either FOLDER or --beside")
    with state.open() as index:
        done = index.people.write_sidecars(folder)
    click.echo(f"wrote {done.written} sidecars with {done.regions} names")
    for name in done.foreign:
        state.say(f"Left alone, made by another program: {printable(name)}")
    for name in done.missing:
        state.say(f"Not there any more: {printable(name)}")


def _chosen(index: "FaceIndex", under: str | None, face_ids: str | None) -> "Int64Array":
    """Return the ids of the faces that the options choose."""
    import numpy as np

    from facesim_index.errors import UsageError

    ids = index.face_ids(under=under)
    if under is not None and not len(ids):
        raise UsageError(f"no face of a picture at or below {under} is in {index.path}")
    if face_ids is None:
        return ids
    listed = index.check_face_ids(_read_ids(face_ids))
    return np.unique(listed[np.isin(listed, ids)])


def _read_ids(name: str) -> list[int]:
    with click.open_file(name, encoding="utf-8", errors="replace") as lines:
        ids = []
        for number, line in enumerate(lines, start=1):
            word = line.split(",")[0].strip()
            if not word or (number == 1 and word == "face_id"):
                continue
            face_id = parse_number(word)
            if face_id is None:
                raise click.UsageError(f"{name}, line {number}: {printable(word)!r} is no face id")
            ids.append(face_id)
    if not ids:
        raise click.UsageError(f"{name} has no face ids; write one id a line")
    return ids


@contextlib.contextmanager
def _output(out: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Open standard output, or a file that appears only when it is whole."""
    from facesim_index.utils.files import atomic_output

    if str(out) == "-":
        yield sys.stdout.buffer
        return
    with atomic_output(out, private=private) as handle:
        yield handle


def _to_terminal(out: Path) -> bool:
    """Tell whether a person will read it, whose terminal no name shall steer."""
    return str(out) == "-" and sys.stdout.isatty()


def _named(out: Path) -> str:
    return "to standard output" if str(out) == "-" else printable(str(out))
