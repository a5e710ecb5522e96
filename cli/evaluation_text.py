"""How evaluations are written for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import printable, shown_path, write_table

if TYPE_CHECKING:
    from facesim_index.evaluation.figure_table import FigureRow
    from facesim_index.evaluation.identification import Identification
    from facesim_index.evaluation.verification import Evaluation

_MOST_NAMED = 10


def write_evaluation(result: "Evaluation", without_face: Sequence[Path]) -> None:
    """Write the figures of a list of pairs."""
    from facesim_index.evaluation.figure_table import pair_facts, pair_figures

    _write(pair_facts(result), pair_figures(result), without_face)


def write_identification(result: "Identification", without_face: Sequence[Path]) -> None:
    """Write the figures of a 1:N identification."""
    from facesim_index.evaluation.figure_table import people_facts, people_figures

    _write(people_facts(result), people_figures(result), without_face)


def _write(
    facts: Sequence[tuple[str, str]], rows: Sequence["FigureRow"], without_face: Sequence[Path]
) -> None:
    from facesim_index.evaluation.figure_table import COLUMNS

    for label, value in facts:
        click.echo(f"{label:<12} {printable(value)}")
    click.echo()
    write_table(COLUMNS, rows, numeric=("value",))
    _write_without_face(without_face)


def _write_without_face(paths: Sequence[Path]) -> None:
    if not paths:
        return
    click.echo("\nNo face was found in:")
    for path in paths[:_MOST_NAMED]:
        click.echo(f"  {shown_path(str(path))}")
    if len(paths) > _MOST_NAMED:
        click.echo(f"  and {len(paths) - _MOST_NAMED:,} more")
