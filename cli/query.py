"""``facesim query`` and ``facesim compare``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facesim_index.export.documents import answer_document, box_document, comparison_document
from facesim_index.utils.text import Cell

from .engine_options import augment_option, numerics_option
from .option_types import FaceNumber, FiniteRange, PatientPath, parse_number
from .output import (
    count_text,
    degree_text,
    format_option,
    number_text,
    printable,
    shown_path,
    spreadsheet_option,
    write_csv,
    write_json,
    write_table,
)
from .state import Augment, Numerics, State, pass_state

if TYPE_CHECKING:
    from facesim_index.degrees.prior import Prior
    from facesim_index.search.answers import Comparison, Match, QueryAnswer

CSV_COLUMNS = (
    *("face", "rank", "degree", "log10_lr", "cosine", "face_id", "same_image", "path"),
    *("x", "y", "w", "h"),
    *("degree_low", "degree_high", "fmr", "expected_strangers", "at_bound"),
    *("person_id", "person", "person_degree", "caution"),
)


def parse_prior(text: str) -> "Prior":
    """Return a probability between 0 and 1, or the word ``gallery``."""
    if text == "gallery":
        return "gallery"
    try:
        prior = float(text)
    except ValueError:
        prior = 0.0
    if not 0.0 < prior < 1.0:
        raise click.BadParameter(f"{text!r} is neither a number between 0 and 1 nor gallery")
    return prior


gallery_prior_option = click.option(
    "--prior",
    type=parse_prior,
    metavar="P|gallery",
    default="gallery",
    show_default=True,
    help="Probability, before looking, that two faces show one person; `gallery` estimates it "
    "from the index's own scores.",
)


TABLE_COLUMNS = (
    *("rank", "degree", "log10 LR", "strangers", "cosine", "face"),
    *("support", "picture"),
)
PERSON_COLUMNS = ("person", "degree for it")


@click.command(epilog="Example: facesim query me.jpg --top 5 --sheet matches.png")
@click.argument("image", required=False, type=PatientPath(exists=True, dir_okay=False))
@click.option(
    "--face-id", type=FaceNumber(), help="Look for a face of the index instead of a picture."
)
@click.option("--person", metavar="NAME|NUMBER", help="Look for a person of the index.")
@click.option(
    "--top", type=click.IntRange(1), default=10, show_default=True, help="Matches for each face."
)
@click.option("--face", type=click.IntRange(0), help="Only this face of the picture, from 0.")
@click.option("--min-degree", type=FiniteRange(0, 1), help="Only matches of this degree.")
@gallery_prior_option
@click.option(
    "--exclude-same-image",
    is_flag=True,
    help="Leave out the query picture itself, or the faces that are already the person's.",
)
@click.option(
    "--exact", is_flag=True, help="Compare with every face, however long a large index takes."
)
@format_option
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="Also draw the matches as a contact sheet.",
)
@spreadsheet_option
@pass_state
def query(
    state: State,
    image: str | None,
    face_id: int | None,
    person: str | None,
    top: int,
    face: int | None,
    min_degree: float | None,
    prior: "Prior",
    exclude_same_image: bool,
    exact: bool,
    output_format: str,
    sheet: Path | None,
    spreadsheet_safe: bool,
) -> None:
    """Find the faces most similar to those of a picture.

    Every face of the picture is answered, left to right.  The degree of a match is the
    probability that both faces show one person, given the prior; strangers is how many faces
    of other people are expected at or above it in an index of this size.

    Where `facesim people` knows whose a match is, it is told, with the degree for that person:
    the probability that the query face is theirs, from all their faces together.  With
    --person every degree is of that kind, and the cosine is the mean over the person's faces.
    """
    if [image, face_id, person].count(None) != 2:
        raise click.UsageError("give one of IMAGE, --face-id and --person")
    with state.open() as index:
        state.notice_licence(index.model)
        answer = index.query(
            image,
            face_id=face_id,
            person=None if person is None else who(person),
            top=top,
            face=face,
            min_degree=min_degree,
            prior=prior,
            exclude_same_image=exclude_same_image,
            exact=exact,
        )
    if output_format == "json":
        write_json(answer_document(answer))
    elif output_format == "csv":
        write_csv(CSV_COLUMNS, _csv_rows(answer), spreadsheet_safe=spreadsheet_safe)
    else:
        _write_tables(answer)
    if answer.note:
        state.say(f"Note: {answer.note}")
    if answer.damaged_segments:
        click.echo(
            f"Warning: the index is damaged: {answer.n_left_out} faces were left out "
            f"({', '.join(map(printable, answer.damaged_segments))}); "
            "`facesim verify --repair` mends it",
            err=True,
        )
    if sheet is not None:
        from facesim_index.display.sheet import save_sheet

        save_sheet(answer, sheet)
        state.say(f"Wrote {printable(str(sheet))}")


@click.command(epilog="Example: facesim compare passport.jpg visitor.jpg")
@click.argument("a", type=PatientPath(exists=True, dir_okay=False))
@click.argument("b", type=PatientPath(exists=True, dir_okay=False))
@click.option("--face-a", type=click.IntRange(0), help="Face of A, from 0.  [default: largest]")
@click.option("--face-b", type=click.IntRange(0), help="Face of B, from 0.  [default: largest]")
@click.option(
    "--prior",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Probability, before looking, that both pictures show one person.",
)
@click.option("--model", metavar="PACK|FOLDER", help="Weights (`facesim models list`).")
@augment_option("none")
@numerics_option("fp32")
@click.option(
    "--calibration",
    metavar="FILE.json",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Make the degree with a calibration of your own, as `facesim calibrate export` writes it."
    "  [default: the one that comes with the package]",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to write the result.",
)
@pass_state
def compare(
    state: State,
    a: str,
    b: str,
    face_a: int | None,
    face_b: int | None,
    prior: float,
    model: str | None,
    augment: Augment | None,
    numerics: Numerics | None,
    calibration: Path | None,
    output_format: str,
) -> None:
    """Tell how surely two pictures show one person.

    The largest face of each is compared, unless an option picks another.  Needs no index.
    """
    from facesim_index.search.comparison import compare as compare_pictures

    state.notice_licence(model)
    comparison = compare_pictures(
        a,
        b,
        face_a=face_a,
        face_b=face_b,
        prior=prior,
        model=model,
        augment=augment,
        numerics=numerics,
        calibration=calibration,
        engine=state.engine,
    )
    if output_format == "json":
        write_json(comparison_document(comparison))
    else:
        _write_comparison(comparison)
    if comparison.note:
        state.say(f"Note: {comparison.note}")


def _csv_rows(answer: "QueryAnswer") -> Iterator[tuple[Cell, ...]]:
    for face in answer.faces:
        for match in face.matches:
            yield (
                face.face,
                match.rank,
                match.degree,
                None if match.log10_lr is None else round(match.log10_lr, 4),
                round(match.cosine, 6),
                match.face_id,
                str(match.same_image).lower(),
                match.path,
                *box_document(match.box),
                match.degree_low,
                match.degree_high,
                match.fmr,
                match.expected_strangers,
                str(match.at_bound).lower(),
                match.person_id,
                match.person,
                match.person_degree,
                " ".join(match.caution),
            )


def _write_tables(answer: "QueryAnswer") -> None:
    for face in answer.faces:
        x, y, w, h = (round(value) for value in box_document(face.box))
        asked = "" if answer.person_id is None else f"{person_text(answer)}, for instance "
        click.echo(
            f"{asked}face {face.face} of {shown_path(answer.query)} "
            f"({w}×{h} px at {x},{y}, detection {face.detection:.2f})"
        )
        if face.matches:
            known = any(match.person_id is not None for match in face.matches)
            extra = PERSON_COLUMNS[: (answer.person_id is None) + 1] if known else ()
            write_table(
                (*TABLE_COLUMNS[:-1], *extra, TABLE_COLUMNS[-1]),
                [_table_row(match, len(extra)) for match in face.matches],
                numeric=(*TABLE_COLUMNS[:-2], PERSON_COLUMNS[1]),
            )
        else:
            click.echo("no match")
        click.echo()
    if answer.calibration:
        _write_legend(answer)
    _write_cautions(answer)


def who(text: str) -> int | str:
    """Return the number or the name of a person that was typed."""
    number = parse_number(text)
    return text if number is None else number


def person_text(known: "Match | QueryAnswer") -> str:
    """Return a person for people: the name, else the number."""
    if known.person is not None:
        return printable(known.person)
    return "-" if known.person_id is None else f"person {known.person_id}"


def _table_row(match: "Match", n_extra: int) -> tuple[str, ...]:
    from facesim_index.calibration.degree import support_phrase

    return (
        str(match.rank),
        degree_text(match.degree),
        number_text(match.log10_lr, 2) + ("*" if match.at_bound else ""),
        count_text(match.expected_strangers),
        number_text(match.cosine, 3),
        str(match.face_id),
        "-" if match.log10_lr is None else support_phrase(match.log10_lr),
        *(person_text(match), degree_text(match.person_degree))[:n_extra],
        shown_path(match.path)
        + (f"  (+{len(match.paths) - 1} copies)" if len(match.paths) > 1 else "")
        + ("  (the query picture)" if match.same_image else "")
        + (f"  (caution: {', '.join(match.caution)})" if match.caution else ""),
    )


def _write_legend(answer: "QueryAnswer") -> None:
    estimated = ""
    if answer.prior_low is not None and answer.prior_high is not None:
        estimated = (
            f", the share of genuine pairs estimated from this index "
            f"({answer.prior_low:.2g} to {answer.prior_high:.2g})"
        )
    click.echo(f"degree: probability of one person, at prior {answer.prior:.3g}{estimated}")
    if answer.person_id is not None:
        click.echo(
            "cosine: the mean over the person's faces; the degree is of all of them together"
        )
    else:
        click.echo(
            f"strangers: faces of other people expected at or above this, among {answer.n_faces}"
        )
    if any(match.person_degree is not None for face in answer.faces for match in face.matches):
        click.echo("degree for it: probability of that person, from all their faces together")
    if any(match.at_bound for face in answer.faces for match in face.matches):
        name = printable(answer.calibration or "")
        click.echo(f"*: as far as the evidence of the calibration {name} reaches")


def _write_cautions(answer: "QueryAnswer") -> None:
    """Say what the codes of the matches mean."""
    from facesim_index.degrees.cautions import Caution, caution_sentence

    found = {code for face in answer.faces for match in face.matches for code in match.caution}
    for code in Caution:
        if code in found:
            click.echo(f"caution {code}: {caution_sentence(code)}")


def _write_comparison(comparison: "Comparison") -> None:
    from facesim_index.degrees.cautions import caution_sentence

    rows = [
        ("degree", degree_text(comparison.degree) + _interval_text(comparison)),
        ("log10 LR", number_text(comparison.log10_lr, 2) + _support_text(comparison)),
        ("FMR", "-" if comparison.fmr is None else f"{comparison.fmr:.2g}"),
        ("cosine", number_text(comparison.cosine, 3)),
        ("prior", f"{comparison.prior:g}"),
        ("A", _face_text(comparison.path_a, comparison.face_a, comparison.n_faces_a)),
        ("B", _face_text(comparison.path_b, comparison.face_b, comparison.n_faces_b)),
        ("calibration", comparison.calibration or "-"),
    ]
    rows[1:1] = [("caution", caution_sentence(code)) for code in comparison.caution]
    for name, value in rows:
        click.echo(f"{name:<12} {printable(value)}")


def _interval_text(comparison: "Comparison") -> str:
    low, high = comparison.degree_low, comparison.degree_high
    if low is None or high is None:
        return ""
    return f" (95 % interval {degree_text(low)} to {degree_text(high)})"


def _support_text(comparison: "Comparison") -> str:
    from facesim_index.calibration.degree import support_phrase

    if comparison.log10_lr is None:
        return ""
    bound = "; as far as the calibration's evidence reaches" if comparison.at_bound else ""
    return f" ({support_phrase(comparison.log10_lr)}{bound})"


def _face_text(path: str, face: int, n_faces: int) -> str:
    return f"{shown_path(path)} (face {face} of {n_faces})"
