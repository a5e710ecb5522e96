"""``facesim evaluate``: the published protocols on labelled pictures."""

import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .engine_options import augment_option, numerics_option
from .evaluation_text import write_evaluation, write_identification
from .interrupts import INTERRUPTED_EXIT_CODE, graceful_interrupt
from .output import printable, shown_path, write_json
from .progress_bar import progress_bar
from .state import TYPED, Augment, Numerics, State, pass_state

if TYPE_CHECKING:
    from facesim_index.calibration.heads import Head
    from facesim_index.calibration.normalisation import Normalisation
    from facesim_index.calibration.record import Calibration
    from facesim_index.evaluation.report import ReportOrigin
    from facesim_index.index import FaceIndex
    from facesim_index.records import EngineIdentity

CACHE_SUFFIX = ".evaluation.facesim"


@dataclasses.dataclass(frozen=True, slots=True)
class _Options:
    """What was asked for."""

    pairs: Path | None
    images: Path | None
    people: Path | None
    lfw: bool
    folds: bool
    cache: Path | None
    model: str | None
    report: Path | None
    augment: Augment | None
    numerics: Numerics | None

    @property
    def pictures(self) -> Path | None:
        """The folder of the pictures, where one was named."""
        return self.people or self.images


@dataclasses.dataclass(frozen=True, slots=True)
class _Judged:
    """What is evaluated: embeddings, their engine, and the calibration in force."""

    index: "FaceIndex"
    engine: "EngineIdentity"
    calibration: "Calibration | None"

    @property
    def head(self) -> "Head":
        """What makes the scores that are judged."""
        from facesim_index.calibration.heads import COSINE

        return COSINE if self.calibration is None else self.calibration.head

    @property
    def normalisation(self) -> "Normalisation | None":
        """By which those scores are normalised."""
        return None if self.calibration is None else self.calibration.normalisation


@click.command(epilog="Example: facesim evaluate pairs.txt --images lfw --protocol lfw")
@click.argument(
    "pairs", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--images",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the pictures of PAIRS are.  [default for CSV: the folder of PAIRS]",
)
@click.option(
    "--people",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Instead of PAIRS: one folder a person, each to be found among all others (1:N).",
)
@click.option(
    "--protocol",
    type=click.Choice(["lfw"]),
    help="lfw: insist on the folds of the list.  [default: use them where there are any]",
)
@click.option("--folds", is_flag=True, help="Divide a list without folds into ten.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to write the result.",
)
@click.option(
    "--report",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Also write a page with figures, plots and the worst errors, FOLDER/report.html.",
)
@click.option(
    "--cache",
    "--cache-index",
    metavar="INDEX",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the embeddings of the pictures in this index, so that the next evaluation takes "
    f"seconds.  [default: ./NAME{CACHE_SUFFIX}, NAME being that of the pictures' folder]",
)
@click.option(
    "--model",
    metavar="PACK|FOLDER",
    help="Weights to evaluate.  [default: those of the index in use, if there is one]",
)
@augment_option("that of the index in use, if there is one, else none")
@numerics_option("those of the index in use, if there is one, else fp32")
@pass_state
def evaluate(
    state: State,
    pairs: Path | None,
    images: Path | None,
    people: Path | None,
    protocol: Literal["lfw"] | None,
    folds: bool,
    output_format: str,
    report: Path | None,
    cache: Path | None,
    model: str | None,
    augment: Augment | None,
    numerics: Numerics | None,
) -> None:
    """Measure accuracy, and how true degrees are, on labelled pictures.

    PAIRS is a list in LFW's format (pairs.txt, pairsDevTest.txt) or CSV path_a,path_b,same.
    The calibration that is judged is the one in force in the index in use (see --index); without
    an index, the one that comes with the package.

    Of each picture the face nearest the centre counts, weighted by size.  A picture without a
    face is a failure, not left out.
    """
    options = _Options(
        pairs, images, people, protocol == "lfw", folds, cache, model, report, augment, numerics
    )
    _check_usage(options)
    if report is not None:
        from facesim_index.evaluation.report import check_report_folder

        check_report_folder(report)
    as_json = output_format == "json"
    if options.people is None:
        _evaluate_pairs(state, options, as_json=as_json)
    else:
        _evaluate_people(state, options, as_json=as_json)


def _check_usage(options: _Options) -> None:
    if (options.pairs is None) == (options.people is None):
        raise click.UsageError("give either a list of PAIRS or --people FOLDER")
    if options.people is not None and (options.images or options.lfw or options.folds):
        raise click.UsageError("--images, --protocol and --folds belong to a list of PAIRS")
    if options.lfw and options.folds:
        raise click.UsageError("give either --protocol lfw or --folds")


def _evaluate_pairs(state: State, options: _Options, *, as_json: bool) -> None:
    from facesim_index.evaluation.verification import evaluate_pairs, score_pairs
    from facesim_index.labels.pair_lists import read_pairs

    assert options.pairs is not None
    listed = read_pairs(options.pairs, options.images)
    if options.lfw and not listed.n_folds:
        raise click.UsageError(
            f"{options.pairs} has no folds, as the protocol of LFW has them; --folds makes some"
        )
    with _judged(state, options, listed.paths) as judged:
        labelled = score_pairs(
            judged.index, listed, options.pairs.name, judged.head, judged.normalisation
        )
        result = evaluate_pairs(labelled, judged.calibration, judged.engine, folds=options.folds)
        if options.report is not None:
            from facesim_index.evaluation.report import pair_report, write_report

            origin = _origin(options.images or options.pairs.parent)
            report = pair_report(judged.index, labelled, (result, judged.calibration), origin)
            page = write_report(options.report, report)
            state.say(f"Wrote {printable(str(page))}")
    if as_json:
        write_json(dataclasses.asdict(result))
    else:
        write_evaluation(result, labelled.without_face)


def _evaluate_people(state: State, options: _Options, *, as_json: bool) -> None:
    from facesim_index.evaluation.identification import evaluate_people, search_people
    from facesim_index.labels.pair_lists import people_folder

    assert options.people is not None
    paths = list(people_folder(options.people))
    with _judged(state, options, paths) as judged:
        searches = search_people(judged.index, options.people, judged.head, judged.normalisation)
        name = options.people.resolve().name
        result = evaluate_people(searches, name, judged.engine)
        if options.report is not None:
            from facesim_index.evaluation.report import people_report, write_report

            report = people_report(judged.index, searches, result, _origin(options.people))
            page = write_report(options.report, report)
            state.say(f"Wrote {printable(str(page))}")
    if as_json:
        write_json(dataclasses.asdict(result))
    else:
        write_identification(result, searches.without_face)


def _origin(images: Path) -> "ReportOrigin":
    """Return where a report comes from: what was typed, when, and the folder of the pictures."""
    from facesim_index.evaluation.report import ReportOrigin

    words = click.get_current_context().meta.get(TYPED, ())
    command = shlex.join(("facesim", *words))
    return ReportOrigin(command, datetime.now().astimezone(), images.expanduser().resolve())


@contextlib.contextmanager
def _judged(state: State, options: _Options, paths: Sequence[Path]) -> Iterator[_Judged]:
    """Open what has the embeddings of the pictures, after reading those that are new."""
    from facesim_index.errors import IndexNotFoundError

    with contextlib.ExitStack() as closing:
        own: FaceIndex | None = None
        with contextlib.suppress(IndexNotFoundError):
            own = closing.enter_context(state.open())
        if own is not None and _serves(own, options, paths):
            index = own
        else:
            index = closing.enter_context(_cache(state, options, own))
            _ingest(state, index, paths)
        identity = index.identity
        source = own if own is not None and own.identity.key == identity.key else index
        yield _Judged(index, identity, source.calibration())


def _cache(state: State, options: _Options, own: "FaceIndex | None") -> "FaceIndex":
    """Open the index that keeps the embeddings, by the engine asked for or that of `own`."""
    from facesim_index.index import FaceIndex

    model = options.model or (str(own.model) if own and own.model else None)
    augment = options.augment or (own.augment if own else None)
    numerics = options.numerics or (own.numerics if own else None)
    marks = [mark for mark in (augment, numerics) if mark not in (None, "none", "fp32")]
    folder = _cache_folder(state, options, model, marks, exists=own is not None)
    return FaceIndex.open(
        folder,
        create=True,
        model=model,
        augment=augment,
        numerics=numerics,
        engine=state.engine,
    )


def _serves(own: "FaceIndex", options: _Options, paths: Sequence[Path]) -> bool:
    """Tell whether the index in use has all the pictures already."""
    if options.model is not None or options.cache is not None:
        return False
    if options.augment not in (None, own.augment) or options.numerics not in (None, own.numerics):
        return False
    # Most indexes know none of them: one look is enough.
    return own.picture_faces(paths[:1]) != [None] and None not in own.picture_faces(paths)


def _cache_folder(
    state: State, options: _Options, model: str | None, marks: Sequence[str], *, exists: bool
) -> Path:
    """Return which index keeps the embeddings; one that is in use is not filled with them."""
    pictures = options.pictures
    if options.cache is not None:
        folder = options.cache
    elif state.index is not None and not exists:
        folder = state.index
    else:
        assert pictures is not None or options.pairs is not None
        name = (pictures or Path(options.pairs or "").resolve().parent).resolve().name
        weights = f".{Path(model).name}" if model else ""
        marked = "".join(f".{mark}" for mark in marks)
        folder = Path(f"{name}{weights}{marked}{CACHE_SUFFIX}")
    if pictures is not None and folder.resolve().is_relative_to(pictures.resolve()):
        raise click.UsageError(
            f"the embeddings would be kept among the pictures, in {folder}; "
            "say with --cache where else"
        )
    return folder


def _ingest(state: State, index: "FaceIndex", paths: Sequence[Path]) -> None:
    state.notice_licence(index.model)
    if not index.path.exists():
        state.say(f"The embeddings are kept in {shown_path(str(index.path.resolve()))}.")
    stop_message = "Stopping: committing what is finished (Ctrl-C again stops at once) ..."
    with (
        graceful_interrupt(stop_message) as should_stop,
        progress_bar(quiet=state.quiet) as progress,
    ):
        summary = index.ingest(paths, progress=progress, should_stop=should_stop)
    if summary.interrupted:
        state.say("Interrupted.  What was finished is kept; run the same command to go on.")
        sys.exit(INTERRUPTED_EXIT_CODE)
