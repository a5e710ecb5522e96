"""``facesim people``: who is in the photos."""

from typing import TYPE_CHECKING

import click

from facesim_index.export.documents import (
    grouping_document,
    look_alike_document,
    person_document,
    person_face_document,
    review_document,
)

from .option_types import FaceNumber, FiniteRange
from .output import (
    csv_cells,
    degree_text,
    format_option,
    printable,
    shown_path,
    spreadsheet_option,
    write_csv,
    write_json,
    write_table,
)
from .progress_bar import progress_bar
from .query import gallery_prior_option, who
from .state import State, pass_state

if TYPE_CHECKING:
    from facesim_index.degrees.prior import Prior
    from facesim_index.index import FaceIndex
    from facesim_index.people.grouping import PeopleSummary
    from facesim_index.people.look_alikes import LookAlike
    from facesim_index.people.review import Review, Side
    from facesim_index.store.catalog.people_rows import PersonRow

LIST_COLUMNS = ("person", "name", "faces", "pictures", "confirmed", "ignored")
FACE_COLUMNS = ("face_id", "confirmed", "path", "x", "y", "w", "h")
REVIEW_COLUMNS = (
    *("question", "degree", "person", "name", "face_id"),
    *("other_person", "other_name", "other_face_id"),
)

person_argument = click.argument("person", metavar="PERSON")


@click.group(epilog="Example: facesim people cluster && facesim people list")
def people() -> None:
    """Group faces into people, name them, and mend what is wrong.

    PERSON is a number or a name, as `facesim people list` shows them.  Whatever these commands
    change can be taken back with `facesim people undo`.
    """


@people.command(epilog="Example: facesim people cluster")
@click.option(
    "--full",
    is_flag=True,
    help="Group all anew but what a human said; numbers and names are kept by majority.",
)
@click.option(
    "--min-degree",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Groups are one person when that is at least so probable.",
)
@click.option(
    "--min-detection",
    type=FiniteRange(0, 1),
    default=0.6,
    show_default=True,
    help="Faces of a lower detection score wait outside.",
)
@click.option(
    "--min-face-px",
    type=FiniteRange(0),
    default=24,
    show_default=True,
    help="Smaller faces wait outside.",
)
@gallery_prior_option
@click.option("--json", "as_json", is_flag=True, help="Write the summary as one JSON object.")
@pass_state
def cluster(
    state: State,
    full: bool,
    min_degree: float,
    min_detection: float,
    min_face_px: float,
    prior: "Prior",
    as_json: bool,
) -> None:
    """Group the faces of the index into people.

    New faces join the people there are, and new people get new numbers.  Two faces of one photo
    are two people, and a face stays where a human put it.
    """
    from facesim_index.people.grouping import PeopleOptions

    options = PeopleOptions(full, min_degree, min_detection, min_face_px, prior)
    with state.open() as index, progress_bar(quiet=state.quiet) as progress:
        summary = index.people.cluster(options, progress=progress)
    if as_json:
        write_json(grouping_document(summary))
    else:
        _tell_summary(summary)
    for name in summary.names_lost:
        state.say(
            f"The faces of {printable(name)} went to others; `facesim people undo` brings back."
        )


@people.command("list", epilog="Example: facesim people list --min-faces 3")
@click.option("--all", "with_ignored", is_flag=True, help="Also those who are ignored.")
@click.option("--min-faces", type=click.IntRange(1), default=1, help="Only with so many faces.")
@format_option
@spreadsheet_option
@pass_state
def list_(
    state: State, with_ignored: bool, min_faces: int, output_format: str, spreadsheet_safe: bool
) -> None:
    """List the people, those with most faces first."""
    with state.open() as index:
        rows = index.people.everyone(ignored=with_ignored, min_faces=min_faces)
    if output_format == "json":
        write_json([person_document(row) for row in rows])
    elif output_format == "csv":
        cells_of_rows = [_list_row(row) for row in rows]
        write_csv(LIST_COLUMNS, cells_of_rows, spreadsheet_safe=spreadsheet_safe)
    elif rows:
        columns = LIST_COLUMNS if with_ignored else LIST_COLUMNS[:-1]
        cells = [
            (
                str(row.person_id),
                "-" if row.name is None else printable(row.name),
                str(row.n_faces),
                str(row.n_pictures),
                str(row.n_confirmed),
                "yes" if row.ignored else "",
            )[: len(columns)]
            for row in rows
        ]
        write_table(columns, cells, numeric=("person", "faces", "pictures", "confirmed"))
    else:
        state.say("There is nobody yet; `facesim people cluster` groups the faces.")


@people.command(epilog="Example: facesim people show Anna")
@person_argument
@format_option
@spreadsheet_option
@pass_state
def show(state: State, person: str, output_format: str, spreadsheet_safe: bool) -> None:
    """Show the faces of a person, and who looks much like it."""
    with state.open() as index:
        found, faces = index.people.show(who(person))
        asked = output_format != "csv"
        alike = _look_alikes(state, index, found.person_id) if asked else None
    listed = [person_face_document(face) for face in faces]
    if output_format == "json":
        told = None if alike is None else [look_alike_document(other) for other in alike]
        write_json({**person_document(found), "looks_like": told, "list": listed})
    elif output_format == "csv":
        rows = [csv_cells(face, FACE_COLUMNS) for face in listed]
        write_csv(FACE_COLUMNS, rows, spreadsheet_safe=spreadsheet_safe)
    else:
        click.echo(f"{_named(found)}: {found.n_faces} faces in {found.n_pictures} pictures")
        cells = [
            (str(face["face_id"]), "yes" if face["confirmed"] else "", shown_path(face["path"]))
            for face in listed
        ]
        for other in alike or ():
            click.echo(_alike_text(found, other))
        write_table(("face", "confirmed", "picture"), cells, numeric=("face",))


@people.command(epilog="Example: facesim people name 7 Anna")
@person_argument
@click.argument("name", required=False)
@click.option("--remove", is_flag=True, help="Take the name away.")
@pass_state
def name(state: State, person: str, name: str | None, remove: bool) -> None:
    """Give a person a name."""
    if (name is None) != remove:
        raise click.UsageError("give either NAME or --remove")
    with state.open() as index:
        _tell(index.people.name(who(person), name))


@people.command(epilog="Example: facesim people merge Anna 12")
@click.argument("persons", nargs=-1, required=True, metavar="PERSON OTHER...")
@pass_state
def merge(state: State, persons: tuple[str, ...]) -> None:
    """Say that people are one.  The first keeps its number and its name."""
    with state.open() as index:
        _tell(index.people.merge(*(who(person) for person in persons)))


@people.command(epilog="Example: facesim people split Anna 4711 4712")
@person_argument
@click.argument("face_ids", nargs=-1, required=True, type=FaceNumber(), metavar="FACE_ID...")
@pass_state
def split(state: State, person: str, face_ids: tuple[int, ...]) -> None:
    """Say that some faces of a person are somebody else's: a new person."""
    with state.open() as index:
        _tell(index.people.split(who(person), face_ids))


@people.command(epilog="Example: facesim people move 4711 --to Bert")
@click.argument("face_ids", nargs=-1, required=True, type=FaceNumber(), metavar="FACE_ID...")
@click.option("--to", "person", metavar="PERSON|new", required=True, help="Whose they are.")
@pass_state
def move(state: State, face_ids: tuple[int, ...], person: str) -> None:
    """Say whose faces are; the word new makes a person of them."""
    with state.open() as index:
        _tell(index.people.move(face_ids, None if person == "new" else who(person)))


@people.command(epilog="Example: facesim people apart Anna 12")
@click.argument("one", metavar="PERSON")
@click.argument("other", metavar="OTHER")
@pass_state
def apart(state: State, one: str, other: str) -> None:
    """Say that two people are not one: no grouping makes one of them, no review asks again."""
    with state.open() as index:
        index.people.apart(who(one), who(other))
    click.echo(f"{printable(one)} and {printable(other)} are two people")


@people.command(epilog="Example: facesim people ignore 12")
@person_argument
@click.option("--not", "undone", is_flag=True, help="Do not ignore any longer.")
@pass_state
def ignore(state: State, person: str, undone: bool) -> None:
    """Leave a person out of lists: a stranger, a poster, a statue."""
    with state.open() as index:
        _tell(index.people.ignore(who(person), ignored=not undone))


@people.command(epilog="Example: facesim people undo")
@pass_state
def undo(state: State) -> None:
    """Take the newest change to the people back."""
    with state.open() as index:
        action = index.people.undo()
    if action is None:
        raise click.ClickException("there is nothing to undo")
    click.echo(f"took back: {action}")


@people.command(epilog="Example: facesim people review --top 10")
@click.option(
    "--top", type=click.IntRange(1), default=20, show_default=True, help="Most of each kind."
)
@gallery_prior_option
@format_option
@spreadsheet_option
@pass_state
def review(
    state: State, top: int, prior: "Prior", output_format: str, spreadsheet_safe: bool
) -> None:
    """List what is most doubtful: faces that may be wrong, people who may be one."""
    with state.open() as index:
        found = index.people.review(top=top, prior=prior)
    if output_format == "json":
        write_json(review_document(found))
    elif output_format == "csv":
        rows = [csv_cells(item, REVIEW_COLUMNS) for item in review_document(found)["questions"]]
        write_csv(REVIEW_COLUMNS, rows, spreadsheet_safe=spreadsheet_safe)
    else:
        _write_review(found)


def _look_alikes(
    state: State, index: "FaceIndex", person_id: int
) -> "tuple[LookAlike, ...] | None":
    """Return who looks like a person; None where that cannot be told."""
    from facesim_index.errors import CalibrationError, DamagedSegmentError

    try:
        return index.people.look_alikes(person_id)
    except CalibrationError:
        return None
    except DamagedSegmentError as error:
        state.say(f"Who looks like that person cannot be told: {error}")
        return None


def _alike_text(person: "PersonRow", other: "LookAlike") -> str:
    told = f"looks like {_named(other)}, too: {other.n_alike} of {other.n_faces} faces"
    if other.apart:
        return f"{told}; they are two people"
    return (
        f"{told}; if they are two people: facesim people apart {person.person_id} {other.person_id}"
    )


def _write_review(found: "Review") -> None:
    click.echo("Is this face that person's?  If not: facesim people move FACE --to PERSON|new")
    write_table(
        ("degree", "person", "face", "picture"),
        [
            (
                degree_text(item.degree),
                _who_text(item.person_id, item.name),
                str(item.face_id),
                shown_path(item.path),
            )
            for item in found.doubtful
        ],
        numeric=("degree", "face"),
    )
    click.echo()
    click.echo("Are these one person?  Then: facesim people merge A B, or move FACE --to A|new")
    click.echo("If not, of two people: facesim people apart A B")
    write_table(
        ("degree", "A", "faces", "B", "faces of B", "picture"),
        [
            (
                degree_text(item.degree),
                _side_text(item.a),
                str(item.a.n_faces),
                _side_text(item.b),
                str(item.b.n_faces),
                shown_path(item.b.path) if item.b.path else "",
            )
            for item in found.merges
        ],
        numeric=("degree", "faces", "faces of B"),
    )


def _side_text(side: "Side") -> str:
    if side.person_id is None:
        return f"face {side.face_id}"
    return _who_text(side.person_id, side.name)


def _tell_summary(summary: "PeopleSummary") -> None:
    people = "person" if summary.people == 1 else "people"
    click.echo(
        f"{summary.people} {people} ({summary.people_new} new): {summary.faces_placed} faces, "
        f"{summary.faces_joined} of them joined now"
        + (f", {summary.faces_released} released" if summary.faces_released else "")
    )
    click.echo(
        f"{summary.faces_alone} faces are like nobody else's, {summary.faces_waiting} wait below "
        f"the bar of quality; degrees at prior {summary.prior:.3g}"
    )


def _list_row(row: "PersonRow") -> tuple[int | str | None, ...]:
    counts = row.n_faces, row.n_pictures, row.n_confirmed
    return row.person_id, row.name, *counts, str(row.ignored).lower()


def _tell(row: "PersonRow") -> None:
    ignored = ", ignored" if row.ignored else ""
    click.echo(f"{_named(row)}: {row.n_faces} faces in {row.n_pictures} pictures{ignored}")


def _named(row: "PersonRow | LookAlike") -> str:
    return f"person {row.person_id}" + ("" if row.name is None else f", {printable(row.name)}")


def _who_text(person_id: int, name: str | None) -> str:
    return f"person {person_id}" if name is None else f"{printable(name)} ({person_id})"
