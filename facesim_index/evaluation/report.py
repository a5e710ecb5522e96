"""The report of an evaluation: a page that contains everything, and its plots as files beside it.

``FOLDER/report.html`` loads nothing from elsewhere: pictures are data URIs, and there are no
scripts and no fonts to fetch.  ``FOLDER/plots/`` has the same plots as SVG files.
"""

import base64
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from facesim_index.calibration.record import Calibration
from facesim_index.errors import StorageError, UsageError
from facesim_index.evaluation.figure_table import (
    COLUMNS,
    FigureRow,
    pair_facts,
    pair_figures,
    people_facts,
    people_figures,
)
from facesim_index.evaluation.identification import Identification, Searches
from facesim_index.evaluation.report_faces import (
    FaceCards,
    Gallery,
    pair_galleries,
    people_galleries,
    shown_name,
)
from facesim_index.evaluation.report_plots import PLOT_NAMES, Plot, pair_plots, people_plots
from facesim_index.evaluation.verification import Evaluation, LabelledPictures
from facesim_index.labels.embeddings import EmbeddingIndex
from facesim_index.utils.files import atomic_output
from facesim_index.utils.text import printable
from facesim_index.version import __version__

PAGE_NAME = "report.html"
PLOTS_NAME = "plots"

_TEMPLATE = "report.html"
#: By this a page of ours is known.
_SIGNATURE = b'<meta name="generator" content="facesim evaluate --report">'
_SIGNATURE_WITHIN_BYTES = 1000
_PLOT_FILES = frozenset(f"{name}.svg" for name in PLOT_NAMES)
_MOST_NAMED = 200


@dataclass(frozen=True, slots=True)
class ReportOrigin:
    """Where a report comes from.

    Attributes
    ----------
    command : str
        The command line that was typed.
    written : datetime
        When it was written; only minutes are shown.
    images : Path or None
        The folder of the pictures, resolved.  Names of pictures are shown relative to it.
    """

    command: str
    written: datetime
    images: Path | None


@dataclass(frozen=True, slots=True)
class Report:
    """What the page of a report shows, from top to bottom.

    Attributes
    ----------
    title : str
    facts : sequence of (str, str)
        What was evaluated, as labels and texts.
    rows : sequence of FigureRow
        The table of figures.
    notes : sequence of str
        How to read the table.
    plots : sequence of Plot
    galleries : sequence of Gallery
        The worst errors.
    without_face : sequence of str
        Names of the pictures in which no face was found.
    origin : ReportOrigin
    """

    title: str
    facts: Sequence[tuple[str, str]]
    rows: Sequence[FigureRow]
    notes: Sequence[str]
    plots: Sequence[Plot]
    galleries: Sequence[Gallery]
    without_face: Sequence[str]
    origin: ReportOrigin


def check_report_folder(folder: Path) -> None:
    """Make sure that a report can be written without touching anything else.

    Parameters
    ----------
    folder : Path
        May be missing, empty, or hold an earlier report and nothing else.  Hidden files are
        ignored.

    Raises
    ------
    UsageError
        There is something else in it, or it is not a folder.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; name another one for the report")
    entries = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    foreign = entries - {PAGE_NAME, PLOTS_NAME}
    if entries and not _is_our_page(folder / PAGE_NAME):
        foreign = entries
    plots = folder / PLOTS_NAME
    if not foreign and plots.is_dir():
        foreign = {f"{PLOTS_NAME}/{path.name}" for path in plots.iterdir()}
        foreign -= {f"{PLOTS_NAME}/{name}" for name in _PLOT_FILES}
    if foreign:
        raise UsageError(
            f"{folder} has something that is not a report, such as {min(foreign)}; "
            "name a new folder"
        )


def pair_report(
    index: EmbeddingIndex,
    labelled: LabelledPictures,
    judged: tuple[Evaluation, Calibration | None],
    origin: ReportOrigin,
) -> Report:
    """Put together the report of a list of pairs.

    Parameters
    ----------
    index : EmbeddingIndex
        Has the faces of the pictures.
    labelled : LabelledPictures
    judged : (Evaluation, Calibration or None)
        The figures of these pairs, and the calibration whose degrees they judge.
    origin : ReportOrigin

    Returns
    -------
    Report
    """
    result, calibration = judged
    cards = FaceCards(index, origin.images)
    return Report(
        title=f"Evaluation of {result.name}",
        facts=_facts_of_pairs(result, calibration),
        rows=pair_figures(result),
        notes=_pair_notes(calibration),
        plots=pair_plots(labelled, result, calibration),
        galleries=pair_galleries(labelled, result.threshold, calibration, cards),
        without_face=[shown_name(path, origin.images) for path in labelled.without_face],
        origin=origin,
    )


def people_report(
    index: EmbeddingIndex, searches: Searches, result: Identification, origin: ReportOrigin
) -> Report:
    """Put together the report of a 1:N identification.

    Parameters
    ----------
    index : EmbeddingIndex
        Has the faces of the pictures.
    searches : Searches
    result : Identification
        The figures of these searches.
    origin : ReportOrigin

    Returns
    -------
    Report
    """
    return Report(
        title=f"Identification among the people of {result.name}",
        facts=people_facts(result),
        rows=people_figures(result),
        notes=(
            "Intervals are from drawing people anew with replacement, the enrolled staying.",
            "A picture without a face is a failure: an enrolled one is never found, a searched "
            "one finds nobody.",
        ),
        plots=people_plots(searches, result),
        galleries=people_galleries(searches, FaceCards(index, origin.images)),
        without_face=[shown_name(path, origin.images) for path in searches.without_face],
        origin=origin,
    )


def write_report(folder: Path, report: Report) -> Path:
    """Write the page of a report, and its plots as files beside it.

    Parameters
    ----------
    folder : Path
        Created where it is not there; an earlier report in it is replaced.
    report : Report

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    UsageError
        The folder has something else in it.
    StorageError
        It cannot be written.
    """
    check_report_folder(folder)
    html = _render(report)
    plots = folder / PLOTS_NAME
    try:
        plots.mkdir(parents=True, exist_ok=True)
        # The page first, because by the page the folder is known as a report.
        with atomic_output(folder / PAGE_NAME) as handle:
            handle.write(html)
        for name in sorted(_PLOT_FILES - {f"{plot.name}.svg" for plot in report.plots}):
            (plots / name).unlink(missing_ok=True)
        for plot in report.plots:
            with atomic_output(plots / f"{plot.name}.svg") as handle:
                handle.write(plot.svg)
    except OSError as error:
        raise StorageError(f"cannot write the report in {folder}: {error.strerror}") from error
    return folder / PAGE_NAME


def _facts_of_pairs(result: Evaluation, calibration: Calibration | None) -> list[tuple[str, str]]:
    facts = pair_facts(result)
    if calibration is not None:
        on = calibration.evidence
        fitted = (
            f"on {on.data}, {on.fitted_on}: {on.n_people:,} people, {on.n_genuine:,} pairs of "
            f"one person and {on.n_impostor:,} of two"
        )
        place = [label for label, _ in facts].index("calibration") + 1
        facts.insert(place, ("fitted", fitted))
    return facts


def _pair_notes(calibration: Calibration | None) -> list[str]:
    notes = [
        "Intervals are from drawing people, not pairs, anew with replacement.",
        "A pair with a picture without a face is a failure: wrong at every threshold, matched at "
        "none, and no evidence.",
    ]
    if calibration is not None:
        notes.append(
            "Degrees are at prior 0.5. Cllr, ECE and Brier are too good where the calibration was "
            "fitted on people of this list."
        )
    return notes


def _render(report: Report) -> bytes:
    """Return the page; texts from users and files, such as file names, are escaped."""
    import jinja2

    surroundings = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source = importlib.resources.files(__package__).joinpath(_TEMPLATE)
    template = surroundings.from_string(source.read_text(encoding="utf-8"))
    html = template.render(
        page=report,
        columns=COLUMNS,
        most_named=_MOST_NAMED,
        plot_uris={plot.name: _svg_uri(plot.svg) for plot in report.plots},
        command=report.origin.command,
        written=report.origin.written.isoformat(sep=" ", timespec="minutes"),
        version=__version__,
    )
    return html.encode("utf-8")


def _svg_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def _is_our_page(page: Path) -> bool:
    try:
        with page.open("rb") as handle:
            return _SIGNATURE in handle.read(_SIGNATURE_WITHIN_BYTES)
    except OSError:
        return False
