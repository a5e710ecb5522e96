"""``facesim ingest``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .engine_options import augment_option, numerics_option, provider_option
from .interrupts import INTERRUPTED_EXIT_CODE, graceful_interrupt
from .option_types import FiniteRange, UnseenPath
from .output import printable, write_json
from .progress_bar import progress_bar
from .state import Augment, Numerics, Provider, State, pass_state

if TYPE_CHECKING:
    from facesim_index.index import FaceIndex
    from facesim_index.ingest.run import IngestSummary
    from facesim_index.ingest.scanning import Scan

SUMMARY_FIELDS = (
    "files_seen",
    "files_new",
    "files_changed",
    "files_unchanged",
    "files_duplicate",
    "files_removed",
    "images_embedded",
    "images_without_face",
    "images_failed",
    "faces_added",
    "faces_total",
    "elapsed_s",
    "images_per_s",
)


@click.command(epilog="Example: facesim ingest ~/Pictures --exclude 'thumbnails/' --prune")
@click.argument("paths", nargs=-1, type=UnseenPath())
@click.option(
    "--people",
    "people_folder",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Ingest a folder that has one folder for each person, named after them, and say that "
    "its pictures show them (`facesim people`).",
)
@click.option(
    "--workers", type=click.IntRange(1, 1024), help="Processes.  [default: one for each core]"
)
@click.option(
    "--model",
    metavar="PACK|FOLDER",
    help="Weights: a pack's name or a folder of ONNX files (`facesim models list`).  The public "
    "InsightFace packs are for non-commercial research only.  [default: the index's own]",
)
@provider_option()
@augment_option("the index's own; none for a new index")
@numerics_option("the index's own; fp32 for a new index")
@click.option(
    "--min-detection",
    type=FiniteRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Least detection score of a face.",
)
@click.option(
    "--min-face-px",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="Least length of a face's shorter side.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Leave out names or relative paths; a trailing / means folders only.  Repeatable.",
)
@click.option("--follow-symlinks", is_flag=True, help="Follow links below the given folders.")
@click.option("--retry-errors", is_flag=True, help="Read again what failed before.")
@click.option("--prune", is_flag=True, help="Drop what is no longer on disk.")
@click.option(
    "--checksum",
    is_flag=True,
    help="Compare contents, not only sizes and times: read every file, and index again those that "
    "differ.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what there is to do.")
@click.option("--json", "as_json", is_flag=True, help="Write the summary as one JSON object.")
@pass_state
def ingest(
    state: State,
    paths: tuple[str, ...],
    people_folder: Path | None,
    workers: int | None,
    model: str | None,
    provider: Provider,
    augment: Augment | None,
    numerics: Numerics | None,
    min_detection: float,
    min_face_px: int,
    exclude: tuple[str, ...],
    follow_symlinks: bool,
    retry_errors: bool,
    prune: bool,
    checksum: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Find and index the faces in folders of photos.

    Single photos may be given too.  What is known and unchanged is skipped.  It can be stopped
    at any moment and run again: nothing is lost or done twice.  A photo that cannot be read
    never stops the run; it is listed by `facesim errors`.
    """
    from facesim_index.ingest.targets import IngestOptions

    if people_folder is not None:
        paths += (str(people_folder),)
    if not paths:
        raise click.UsageError("name folders or photos to ingest")
    options = IngestOptions(exclude, follow_symlinks, retry_errors, prune, checksum)
    with state.open(
        create=True, model=model, provider=provider, augment=augment, numerics=numerics
    ) as index:
        if dry_run:
            with progress_bar(quiet=state.quiet) as progress:
                found = index.scan(paths, options, progress=progress)
            _tell_scan(found, prune=prune, as_json=as_json)
            return
        state.notice_licence(index.model)
        stop_message = "Stopping: committing what is finished (Ctrl-C again stops at once) ..."
        with (
            graceful_interrupt(stop_message) as should_stop,
            progress_bar(quiet=state.quiet) as progress,
        ):
            summary = index.ingest(
                paths,
                options,
                workers=workers,
                min_detection=min_detection,
                min_face_px=min_face_px,
                progress=progress,
                should_stop=should_stop,
            )
        if people_folder is not None and not summary.interrupted:
            _label(state, index, people_folder)
        status = index.status()
    for warning in summary.warnings:
        state.say(f"Warning: {printable(warning)}")
    _tell_summary(summary, prune=prune, as_json=as_json)
    if summary.interrupted:
        state.say("Interrupted.  What was finished is committed; run the same command to go on.")
        sys.exit(INTERRUPTED_EXIT_CODE)
    if status.calibration_verdict == "claims_too_much":
        state.say(status.calibration_sentence or "")
    if summary.images_failed:
        state.say("Some pictures could not be used: `facesim errors` lists them.")


def _label(state: State, index: "FaceIndex", folder: Path) -> None:
    labels = index.people.confirm_folder(folder)
    n_faces = sum(len(faces) for faces in labels.faces.values())
    state.say(f"{n_faces} faces are those of {len(labels.faces)} people, by their folders")
    if labels.n_ambiguous:
        state.say(f"{labels.n_ambiguous} faces are claimed by several folders, and left out")
    if labels.n_kept:
        state.say(f"{labels.n_kept} faces stay whose they were said to be before")


def _tell_summary(summary: "IngestSummary", *, prune: bool, as_json: bool) -> None:
    values = {name: getattr(summary, name) for name in SUMMARY_FIELDS}
    if as_json:
        values["elapsed_s"] = round(summary.elapsed_s, 3)
        values["images_per_s"] = round(summary.images_per_s, 2)
        write_json(values)
        return
    removed = "dropped from the index" if prune else "missing on disk"
    click.echo(
        f"{summary.files_seen} pictures seen: {summary.files_new} new, "
        f"{summary.files_changed} changed, {summary.files_unchanged} unchanged"
        + (f"; {summary.files_removed} {removed}" if summary.files_removed else "")
    )
    click.echo(
        f"{summary.images_read} read in {summary.elapsed_s:.1f} s "
        f"({summary.images_per_s:.1f}/s): {summary.images_embedded} with faces, "
        f"{summary.images_without_face} without, {summary.images_failed} failed"
        + (f"; {summary.files_duplicate} copies not read twice" if summary.files_duplicate else "")
    )
    click.echo(f"{summary.faces_added} faces added, {summary.faces_total} in the index")


def _tell_scan(found: "Scan", *, prune: bool, as_json: bool) -> None:
    for warning in found.warnings:
        click.echo(f"Warning: {printable(warning)}", err=True)
    if as_json:
        write_json(
            {
                "files_seen": found.files_seen,
                "files_new": found.files_new,
                "files_changed": found.files_changed,
                "files_unchanged": found.files_unchanged,
                "files_removed": len(found.gone),
                "files_to_read": found.to_read,
            }
        )
        return
    removed = "would be dropped" if prune else "missing on disk"
    click.echo(
        f"{found.files_seen} pictures seen: {found.files_new} new, {found.files_changed} changed, "
        f"{found.files_unchanged} unchanged, {len(found.gone)} {removed}"
    )
    click.echo(f"{found.to_read} would be looked into; nothing was written")
