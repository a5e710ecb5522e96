"""``facesim calibrate``: fit degrees on your own labels, check them, and choose among them."""

import contextlib
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from facesim_index.export.documents import check_document

from .calibration_text import (
    LIST_COLUMNS,
    LIST_NUMERIC,
    fit_document,
    head_notes,
    list_document,
    list_row,
    write_check,
    write_curve,
    write_fit,
)
from .output import printable, write_json, write_table
from .state import State, pass_state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facesim_index.calibration.fitting.labelled_data import LabelledData
    from facesim_index.calibration.normalisation import Normalisation
    from facesim_index.index import FaceIndex
    from facesim_index.records import Float32Array, Int64Array, PictureFaces

MethodChoice = Literal["auto", "logistic", "isotonic", "beta"]
HeadChoice = Literal["auto", "cosine", "weighted-l1", "product", "contrastive"]

FIT_OPTIONS = (
    "pairs",
    "images",
    "people",
    "cache",
    "method",
    "head",
    "force",
    "name",
    "no_use",
    "as_json",
)


def label_options(command: "Callable[..., None]") -> "Callable[..., None]":
    """Add the options that say where labels are."""
    for option in reversed(
        (
            click.option(
                "--pairs",
                metavar="FILE",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="Labelled pairs: LFW's format, or CSV path_a,path_b,same, or CSV "
                "face_a,face_b,same with face ids of the index.",
            ),
            click.option(
                "--images",
                metavar="FOLDER",
                type=click.Path(exists=True, file_okay=False, path_type=Path),
                help="Where the pictures of --pairs are.",
            ),
            click.option(
                "--people",
                metavar="FOLDER",
                type=click.Path(exists=True, file_okay=False, path_type=Path),
                help="Pictures in one folder a person; every pair of them is used.",
            ),
            click.option(
                "--cache",
                metavar="INDEX",
                type=click.Path(file_okay=False, path_type=Path),
                help="Keep the embeddings of the labelled pictures in this index.",
            ),
        )
    ):
        command = option(command)
    return command


@click.group(
    invoke_without_command=True,
    epilog="Example: facesim calibrate --people ~/Pictures/by-person",
)
@label_options
@click.option(
    "--method",
    type=click.Choice(["auto", "logistic", "isotonic", "beta"]),
    default="auto",
    show_default=True,
    help="How to fit; auto takes the one that is best on people left out of the fit.",
)
@click.option(
    "--head",
    type=click.Choice(["auto", "cosine", "weighted-l1", "product", "contrastive"]),
    default="cosine",
    show_default=True,
    help="What makes a score of two embeddings: their cosine, or a head learned from the labels. "
    "auto takes a learned one when it is better on people left out, by more than chance.",
)
@click.option(
    "--force", is_flag=True, help="Take the given --head also when it is no better than the cosine."
)
@click.option("--name", help="Name of the calibration.  [default: that of the file or folder]")
@click.option("--no-use", is_flag=True, help="Only store it; degrees stay as they are.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@click.pass_context
def calibrate(
    ctx: click.Context,
    pairs: Path | None,
    images: Path | None,
    people: Path | None,
    cache: Path | None,
    method: MethodChoice,
    head: HeadChoice,
    force: bool,
    name: str | None,
    no_use: bool,
    as_json: bool,
) -> None:
    """Fit degrees on your own labelled pictures.

    The fitted calibration is kept with the index, and its degrees are made with it from now on.
    The one that comes with the package stays available: `facesim calibrate use default`.
    """
    if ctx.invoked_subcommand is not None:
        given = [
            option
            for option in FIT_OPTIONS
            if ctx.get_parameter_source(option) is not click.core.ParameterSource.DEFAULT
        ]
        if given:
            raise click.UsageError(
                f"give the options of {ctx.invoked_subcommand} after its name, not before"
            )
        return
    from facesim_index.calibration.fitting.calibrating import fit_calibration

    state = ctx.ensure_object(State)
    _check_labels(pairs, images, people)
    if force and head in ("auto", "cosine"):
        raise click.UsageError("--force belongs to a learned head: --head weighted-l1, ...")
    if pairs is None and people is None:
        raise click.UsageError("say where the labels are: --people FOLDER or --pairs FILE")
    with state.open() as index:
        name = name or _default_name(pairs, people)
        index.calibrations.check_name(name)
        labelled = _labelled(state, index, (pairs, images, people), cache)
        fit = fit_calibration(
            labelled,
            index.identity,
            name=name,
            method=None if method == "auto" else method,
            in_force=index.calibration(),
            head=head,
            force=force,
            normalisation=_normalisation(index),
        )
        index.calibrations.keep(fit.calibration, use=not no_use)
    if as_json:
        write_json(fit_document(fit, labelled, used=not no_use))
    else:
        write_fit(fit, labelled, used=not no_use)
    for note in (*fit.notes, *head_notes(fit)):
        state.say(f"Note: {note}")
    if fit.in_force_cllr is not None and fit.in_force_cllr < fit.held_out_cllr:
        before = printable(fit.in_force or "")
        state.say(
            f"Note: {before}, in force before, does better on these pairs, unless it was fitted "
            f"on them; `facesim calibrate use {before}` chooses it"
        )


def _normalisation(index: "FaceIndex") -> "Normalisation | None":
    """Return how scores are normalised for the engine of an index, as far as that is known."""
    from facesim_index.calibration.shipped import shipped_calibration

    shipped = shipped_calibration(index.identity.key)
    return None if shipped is None else shipped.normalisation


@calibrate.command("list", epilog="Example: facesim calibrate list --json")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON list.")
@pass_state
def list_command(state: State, as_json: bool) -> None:
    """List the calibrations that can be chosen; * marks the one in force."""
    with state.open() as index:
        entries = index.calibrations.listed()
    if as_json:
        write_json([list_document(entry) for entry in entries])
    elif entries:
        write_table(LIST_COLUMNS, [list_row(entry) for entry in entries], numeric=LIST_NUMERIC)
    else:
        state.say("There is none for this engine: cosines are given without degrees.")


@calibrate.command(epilog="Example: facesim calibrate use default")
@click.argument("name")
@pass_state
def use(state: State, name: str) -> None:
    """Make degrees with another calibration from now on.

    `default` is the one that comes with the package.
    """
    with state.open() as index:
        calibration = index.calibrations.use(name)
    click.echo(f"degrees are now made with {printable(calibration.name)}")


@calibrate.command(epilog="Example: facesim calibrate show --json")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, as `export` does.")
@pass_state
def show(state: State, name: str | None, as_json: bool) -> None:
    """Show a calibration and its evidence; the one in force by default."""
    from facesim_index.calibration.document import to_json

    with state.open() as index:
        calibration = index.calibrations.named(name)
    if as_json:
        write_json(json.loads(to_json(calibration)))
    else:
        write_curve(calibration)


@calibrate.command(epilog="Example: facesim calibrate export holiday holiday.json")
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))
@pass_state
def export(state: State, name: str, file: Path) -> None:
    """Write a calibration to a JSON file; - is standard output."""
    from facesim_index.calibration.document import to_json
    from facesim_index.utils.files import atomic_output

    with state.open() as index:
        data = to_json(index.calibrations.named(name)).encode()
    if str(file) == "-":
        sys.stdout.buffer.write(data)
        return
    with atomic_output(file) as handle:
        handle.write(data)
    state.say(f"Wrote {printable(str(file))}")


@calibrate.command("import", epilog="Example: facesim calibrate import holiday.json --use")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Keep it under this name.  [default: its own]")
@click.option("--use", "use_it", is_flag=True, help="Make degrees with it from now on.")
@pass_state
def import_command(state: State, file: Path, name: str | None, use_it: bool) -> None:
    """Keep a calibration that `export` wrote; it must be for the index's engine."""
    from facesim_index.degrees.kept_calibrations import read_calibration

    with state.open() as index:
        calibration = read_calibration(file)
        calibration = dataclasses.replace(calibration, name=name or calibration.name)
        index.calibrations.keep(calibration, use=use_it)
    click.echo(f"kept {printable(calibration.name)}" + (", and used from now on" if use_it else ""))


@calibrate.command(epilog="Example: facesim calibrate drop holiday")
@click.argument("name")
@pass_state
def drop(state: State, name: str) -> None:
    """Remove a calibration from the index.

    When it was in force, degrees are made with the one that comes with the package again.
    """
    with state.open() as index:
        calibration = index.calibrations.drop(name)
    click.echo(f"dropped {printable(name)}")
    if calibration is None:
        state.say("There is none for this engine now: cosines are given without degrees.")
    else:
        state.say(f"Degrees are made with {printable(calibration.name)}.")


@calibrate.command(epilog="Example: facesim calibrate check")
@label_options
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@pass_state
def check(
    state: State,
    pairs: Path | None,
    images: Path | None,
    people: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Tell whether the calibration in force fits these pictures.

    Two faces in one photo are two people, almost always, and most pairs across photos are
    strangers: how often such pairs score high is compared with how often the calibration says.
    Labels add to that.  Exits 1 when it claims too much.
    """
    _check_labels(pairs, images, people)
    with state.open() as index:
        index.calibrations.named()  # without one, say so before any picture is read
        labelled = None
        if pairs is not None or people is not None:
            labelled = _labelled(state, index, (pairs, images, people), cache)
        result = index.calibrations.check(labelled)
    if as_json:
        write_json(check_document(result))
    else:
        write_check(result)
    if result.verdict == "claims_too_much":
        sys.exit(1)


def _check_labels(pairs: Path | None, images: Path | None, people: Path | None) -> None:
    if pairs is not None and people is not None:
        raise click.UsageError("give either --pairs or --people")
    if images is not None and pairs is None:
        raise click.UsageError("--images says where the pictures of --pairs are")


def _labelled(
    state: State,
    index: "FaceIndex",
    labels: tuple[Path | None, Path | None, Path | None],
    cache: Path | None,
) -> "LabelledData":
    """Embed what the labels name; the index itself is never filled with it."""
    from facesim_index.labels.face_pairs import names_faces
    from facesim_index.labels.sources import people_data, picture_pairs_data

    pairs, images, people = labels
    if pairs is not None and names_faces(pairs):
        return index.calibrations.labelled_faces(pairs)
    with _OwnOrCache(state, index, cache) as embedded:
        if people is not None:
            return people_data(embedded, people)
        assert pairs is not None
        return picture_pairs_data(embedded, pairs, images)


class _OwnOrCache:
    """The index where it has all the pictures already, else another one that is filled.

    Without a folder for that one, it is gone afterwards.
    """

    def __init__(self, state: State, index: "FaceIndex", cache: Path | None) -> None:
        self._state = state
        self._own = index
        self._used = index
        self._cache = cache
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> "_OwnOrCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def picture_faces(self, paths: "Sequence[Path]") -> "list[PictureFaces | None]":
        found = self._used.picture_faces(paths)
        if self._used is self._own and any(picture is None for picture in found):
            self._open_cache()
            found = self._used.picture_faces(paths)
        return found

    def ingest(self, paths: "Sequence[Path]") -> object:
        from .progress_bar import progress_bar

        self._state.notice_licence(self._own.model)
        with progress_bar(quiet=self._state.quiet) as progress:
            return self._used.ingest(paths, progress=progress)

    def embeddings(self, face_ids: "Int64Array") -> "Float32Array":
        return self._used.embeddings(face_ids)

    def _open_cache(self) -> None:
        from facesim_index.errors import IndexNotFoundError
        from facesim_index.index import FaceIndex

        folder = self._cache
        if folder is None:
            folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory())) / "cache"
            self._state.say(
                "The embeddings of the labelled pictures are not kept; --cache INDEX keeps them."
            )
        elif folder.resolve() == self._own.path.resolve():
            return
        # Filled already, it may never be asked to read a picture, which would tell.
        with contextlib.suppress(IndexNotFoundError), FaceIndex.open(folder) as cache:
            cache.check_engine(self._own.identity)
        self._used = self._closing.enter_context(
            FaceIndex.open(
                folder,
                create=True,
                model=self._own.model,
                augment=self._own.augment,
                numerics=self._own.numerics,
                engine=self._state.engine,
            )
        )


def _default_name(pairs: Path | None, people: Path | None) -> str:
    return people.resolve().name if people is not None else pairs.stem if pairs else ""
