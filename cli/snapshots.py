"""``facesim snapshot`` and ``facesim restore``."""

from pathlib import Path

import click

from .output import printable
from .state import State, pass_state

copy_option = click.option(
    "--copy",
    is_flag=True,
    help="Copy every file, even where hard links would do, so that damage to one does not reach "
    "the other.",
)


@click.command(epilog="Example: facesim snapshot /backup/faces-2026-07-04")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@copy_option
@pass_state
def snapshot(state: State, out: Path, copy: bool) -> None:
    """Keep the index as it is now in the folder OUT, which must not exist.

    An ingest may go on meanwhile.  Segments are hard-linked where the file system allows it.
    The whole snapshot is verified before it gets its name.
    """
    with state.open() as index:
        taken = index.snapshot(out, copy=copy)
    how = "hard links" if taken.linked == taken.segments and taken.linked else "copies"
    click.echo(
        f"{printable(taken.path)}: {taken.faces} faces, {taken.segments} segments ({how}), "
        f"{taken.bytes_total / 1e6:.1f} MB, generation {taken.generation}"
    )


@click.command(epilog="Example: facesim --index faces.facesim restore /backup/faces-2026-07-04")
@click.argument(
    "snapshot_folder",
    metavar="SNAPSHOT",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--force", is_flag=True, help="Let it take the place of the index that is there.")
@copy_option
@pass_state
def restore(state: State, snapshot_folder: Path, force: bool, copy: bool) -> None:
    """Make the index of a snapshot again.

    An index that is there is replaced with --force only, once the new one is verified and whole.
    Nothing is replaced where the folder holds anything else.
    """
    from facesim_index.index import FaceIndex

    restored = FaceIndex.restore(snapshot_folder, state.index, force=force, copy=copy)
    click.echo(
        f"{printable(restored.path)}: {restored.faces} faces, {restored.segments} segments, "
        f"generation {restored.generation}"
    )
