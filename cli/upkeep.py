"""Looking after an index: status, errors, compact, verify; and the doctor."""

import dataclasses
import sys

import click

from facesim_index.export.documents import error_document, status_document

from .output import (
    format_option,
    printable,
    shown_path,
    spreadsheet_option,
    write_csv,
    write_json,
    write_table,
)
from .state import State, pass_state


@click.command(epilog="Example: facesim status --json")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@pass_state
def status(state: State, as_json: bool) -> None:
    """Tell what is in the index."""
    with state.open() as index:
        found = index.status()
    for message in found.damage:
        click.echo(f"Warning: what follows may be wrong: {printable(message)}", err=True)
    if as_json:
        write_json(status_document(found))
        return
    unknown = "unknown" if found.damage else "none for this engine: no degrees"
    counts = found.counts
    rows = [
        ("index", printable(found.path)),
        ("made", f"{found.created_at}, generation {found.generation}"),
        ("engine", found.engine),
        ("model", printable(found.model)),
        ("calibration", printable(found.calibration or unknown)),
        *(("root", f"{shown_path(path)} (ingested {when})") for path, when in found.roots),
        ("files", _with(counts["files"], missing=counts["files_missing"])),
        (
            "pictures",
            _with(
                counts["images"],
                **{
                    "with faces": counts["images_ok"],
                    "without": counts["images_without_face"],
                    "failed": counts["images_failed"] + counts["files_unreadable"],
                },
            ),
        ),
        (
            "faces",
            _with(
                counts["faces"],
                **{"removed, not compacted": counts["faces_removed_not_compacted"]},
            ),
        ),
        ("people", _people(counts)),
        ("segments", f"{found.segments} ({_megabytes(found.bytes_segments)})"),
        ("catalog", _megabytes(found.bytes_catalog)),
    ]
    for name, value in rows:
        click.echo(f"{name:<12} {printable(value)}")
    if found.calibration_verdict == "claims_too_much":
        state.say(found.calibration_sentence or "")
    if found.interrupted:
        state.say("The last ingest did not finish; run it again to go on where it stopped.")
    if found.traces_left:
        state.say("A secure forget did not finish; `facesim compact` finishes it.")


@click.command(epilog="Example: facesim errors --format csv > errors.csv")
@format_option
@spreadsheet_option
@pass_state
def errors(state: State, output_format: str, spreadsheet_safe: bool) -> None:
    """List the files that could not be used, and why."""
    with state.open() as index:
        listed = [error_document(file) for file in index.errors()]
    failed = [(file["path"], file["code"], file["message"]) for file in listed]
    if output_format == "json":
        write_json(listed)
    elif output_format == "csv":
        write_csv(("path", "code", "message"), failed, spreadsheet_safe=spreadsheet_safe)
    elif failed:
        write_table(
            ("reason", "picture", "message"),
            [(code, shown_path(path), printable(message)) for path, code, message in failed],
        )
    else:
        state.say("No file failed.")


@click.command(epilog="Example: facesim compact")
@pass_state
def compact(state: State) -> None:
    """Erase what was removed, and merge small segments.  Readers are not disturbed."""
    with state.open() as index:
        before = index.status()
        index.compact()
        after = index.status()
    size_before = before.bytes_segments + before.bytes_catalog
    size_after = after.bytes_segments + after.bytes_catalog
    click.echo(
        f"{before.segments} segments became {after.segments}, "
        f"{_megabytes(size_before)} became {_megabytes(size_after)}"
    )


@click.command(epilog="Example: facesim verify --repair")
@click.option("--repair", is_flag=True, help="Mend what can be mended from the pictures.")
@pass_state
def verify(state: State, repair: bool) -> None:
    """Check that every segment and row is whole.

    Exits 0 when all are, 1 with a list when not.  With --repair, pictures whose embeddings are
    damaged are read again, and rows of the catalog are put back by their checksums.
    """
    if repair:
        _mend_log(state)
    with state.open() as index:
        problems = index.verify().problems
        for problem in problems:
            click.echo(f"{printable(problem.what)}: {printable(problem.message)}")
        if not problems:
            click.echo("every segment and row is whole")
            return
        if repair:
            mended = index.repair()
            click.echo(
                f"{mended.faces_mended} faces mended, {mended.faces_lost} lost "
                "because their picture is gone or changed"
            )
            if mended.rows_mended or mended.rows_taken_out:
                click.echo(
                    f"{mended.rows_mended} rows of the catalog put back, "
                    f"{len(mended.rows_taken_out)} taken out"
                )
            for row in mended.rows_taken_out:
                click.echo(f"taken out: {printable(row)}")
            for path in mended.lost_paths:
                click.echo(f"lost: {shown_path(path)}")
            if mended.lost_paths:
                state.say("Those that are still there come back with the next ingest.")
            problems = index.verify().problems
        else:
            state.say("`facesim verify --repair` mends what the pictures still show.")
    if problems:
        sys.exit(1)


@click.command(epilog="Example: facesim doctor")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON list.")
@pass_state
def doctor(state: State, as_json: bool) -> None:
    """Check this environment and say how to mend it.

    Runtimes, the provider that will really run, weights and their hashes, SQLite, disk.  Exits 1
    when there is a problem.
    """
    from facesim_index.doctor import examine

    checks = examine(state.index)
    if as_json:
        write_json([dataclasses.asdict(check) for check in checks])
    else:
        for check in checks:
            click.echo(f"{check.status:<8} {check.name:<13} {printable(check.message)}")
            if check.mend:
                click.echo(f"{'':<8} {'':<13} mend: {printable(check.mend)}")
    if any(check.status == "problem" for check in checks):
        sys.exit(1)


def _mend_log(state: State) -> None:
    from facesim_index.config import default_index
    from facesim_index.store.opening import mend_to_open

    folder = default_index() if state.index is None else state.index.expanduser()
    told = mend_to_open(folder)
    if told:
        click.echo(f"{printable(told)}: goes on from the last commit that is whole")
        state.say("Ingest again what was added last; forget again what was forgotten last.")


def _with(total: int, **parts: int) -> str:
    """Return a total with those of its parts that are not zero."""
    named = ", ".join(f"{count} {name}" for name, count in parts.items() if count)
    return f"{total} ({named})" if named else str(total)


def _people(counts: dict[str, int]) -> str:
    """Return how many people there are, and how many faces are theirs."""
    people = _with(counts["people"], named=counts["people_named"], ignored=counts["people_ignored"])
    if not counts["people"]:
        return people
    return f"{people}: {counts['faces_of_people']} faces; {counts['faces_of_nobody']} are nobody's"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
