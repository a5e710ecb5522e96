"""``facesim forget`` and ``facesim audit``."""

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .option_types import FaceNumber, FiniteRange, PatientPath, parse_number
from .output import (
    degree_text,
    format_option,
    number_text,
    printable,
    shown_path,
    write_csv,
    write_json,
    write_table,
)
from .query import gallery_prior_option
from .state import State, pass_state

if TYPE_CHECKING:
    from facesim_index.degrees.prior import Prior
    from facesim_index.index import FaceIndex
    from facesim_index.search.appearances import Appearances

AUDIT_COLUMNS = ("at", "files", "faces", "secure", "finished")


@dataclass(frozen=True, slots=True)
class _Person:
    """Whom to forget, and how."""

    image: str
    min_degree: float
    face: int | None
    prior: "Prior"
    pictures: bool
    secure: bool


@click.command(
    epilog="Example: facesim forget ~/Pictures/private; facesim forget --face-id 3 8; "
    "facesim forget --match me.jpg --min-degree 0.9 --secure"
)
@click.argument(
    "paths", nargs=-1, type=click.Path(), metavar="PATH... | --face-id ID... | --match IMAGE"
)
@click.option(
    "--face-id", "face_ids", type=FaceNumber(), multiple=True, help="Forget faces by their ids."
)
@click.option(
    "--match",
    "image",
    metavar="IMAGE",
    type=PatientPath(exists=True, dir_okay=False),
    help="Forget the person of this picture wherever they appear.",
)
@click.option(
    "--min-degree",
    type=FiniteRange(0, 1, min_open=True),
    help="With --match: only faces of at least this degree.",
)
@click.option(
    "--face", type=click.IntRange(0), help="With --match: the person's face in IMAGE, from 0."
)
@gallery_prior_option
@click.option(
    "--pictures", is_flag=True, help="With --match: forget the whole pictures, not only the faces."
)
@click.option(
    "--secure", is_flag=True, help="Leave no trace of what is forgotten in any file of the index."
)
@click.option("--dry-run", is_flag=True, help="With --match: only show what would be forgotten.")
@click.option("--yes", is_flag=True, help="With --match: do not ask.")
@pass_state
def forget(
    state: State,
    paths: tuple[str, ...],
    face_ids: tuple[int, ...],
    image: str | None,
    min_degree: float | None,
    face: int | None,
    prior: "Prior",
    pictures: bool,
    secure: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove pictures and folders, faces, or a person, from the index.

    No file on disk is touched.  A forgotten face stays forgotten; a forgotten picture that is
    still on disk is found again by the next ingest of its folder.

    With --match every face is shown that reaches the degree, and nothing is forgotten before
    that was confirmed.

    With --secure the index is rewritten at once without the embeddings, boxes, paths and hashes
    of what is forgotten.  Of a face whose picture stays, the picture's own path and hash stay.
    Backups, snapshots and the disk itself may keep what they had.
    """
    if image is None:
        if min_degree is not None or face is not None or pictures or dry_run:
            raise click.UsageError("--min-degree, --face, --pictures and --dry-run need --match")
        _forget_named(state, paths, face_ids, secure=secure)
        return
    if paths or face_ids:
        raise click.UsageError("give either paths, or --face-id, or --match")
    if min_degree is None:
        raise click.UsageError("--match needs --min-degree, such as 0.9")
    if not (yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: say --yes, or --dry-run to look first")
    person = _Person(image, min_degree, face, prior, pictures, secure)
    with state.open() as index:
        state.notice_licence(index.model)
        _forget_person(state, index, person, dry_run=dry_run, yes=yes)


@click.command(epilog="Example: facesim audit")
@format_option
@pass_state
def audit(state: State, output_format: str) -> None:
    """List when something was forgotten, and how much; never what.

    A secure forget that was interrupted is not finished; the next command that writes
    finishes it.
    """
    with state.open() as index:
        lines = index.audit()
    if output_format == "json":
        write_json([dataclasses.asdict(line) for line in lines])
        return
    rows = [
        (line.at, str(line.files), str(line.faces), _word(line.secure), _word(line.finished))
        for line in lines
    ]
    if output_format == "csv":
        write_csv(AUDIT_COLUMNS, rows, spreadsheet_safe=False)  # numbers and yes or no
    elif rows:
        write_table(AUDIT_COLUMNS, rows, numeric=("files", "faces"))
    else:
        state.say("Nothing was ever forgotten.")


def _forget_named(
    state: State, paths: tuple[str, ...], face_ids: tuple[int, ...], *, secure: bool
) -> None:
    if not paths and not face_ids:
        raise click.UsageError("name a picture, a folder, a --face-id or a --match to forget")
    if face_ids:
        face_ids += tuple(_face_id(word) for word in paths)
        paths = ()
    with state.open() as index:
        _forget(state, index, paths, face_ids, secure=secure)


def _forget_person(
    state: State, index: "FaceIndex", person: _Person, *, dry_run: bool, yes: bool
) -> None:
    found = index.find_person(
        person.image, min_degree=person.min_degree, face=person.face, prior=person.prior
    )
    _show(found)
    if not found.matches:
        return
    paths = sorted({path for match in found.matches for path in match.paths})
    if dry_run:
        state.say("Nothing was forgotten.")
        return
    if not yes and not click.confirm(_question(found, paths, person), err=True):
        click.echo("Nothing was forgotten.", err=True)
        sys.exit(1)
    if person.pictures:
        _forget(state, index, tuple(paths), (), secure=person.secure)
    else:
        ids = tuple(match.face_id for match in found.matches)
        _forget(state, index, (), ids, secure=person.secure)


def _forget(
    state: State,
    index: "FaceIndex",
    paths: tuple[str, ...],
    face_ids: tuple[int, ...],
    *,
    secure: bool,
) -> None:
    removed = index.forget(paths, face_ids=face_ids, secure=secure)
    click.echo(f"forgot {removed.files} files and {removed.faces} faces")
    if secure:
        state.say("No file of the index holds them any more.")
    elif removed.faces:
        state.say(
            "They are never found again; `facesim compact` erases their embeddings, and "
            "--secure all traces."
        )


def _show(found: "Appearances") -> None:
    if not found.matches:
        click.echo(f"none of {found.n_faces} faces reaches the degree {found.min_degree:g}")
        return
    write_table(
        ("degree", "cosine", "face", "picture"),
        [
            (
                degree_text(match.degree),
                number_text(match.cosine, 3),
                str(match.face_id),
                shown_path(match.path)
                + (f"  (+{len(match.paths) - 1} copies)" if len(match.paths) > 1 else ""),
            )
            for match in found.matches
        ],
        numeric=("degree", "cosine", "face"),
    )
    click.echo(
        f"{len(found.matches)} of {found.n_faces} faces reach the degree {found.min_degree:g}, "
        f"at prior {found.prior.value:.3g}"
    )


def _question(found: "Appearances", paths: list[str], person: _Person) -> str:
    if person.pictures:
        what = f"these {len(paths)} pictures, with every face in them"
    else:
        what = f"these {len(found.matches)} faces"
    return f"Forget {what}{', leaving no trace' if person.secure else ''}?"


def _word(value: bool) -> str:
    return "yes" if value else "no"


def _face_id(word: str) -> int:
    number = parse_number(word)
    if number is None:
        raise click.UsageError(f"{printable(word)!r} is no face id; forget paths without --face-id")
    return number
