"""How evaluations are written for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .calibration_text import score_name
from .output import printable, shown_path, write_table

if TYPE_CHECKING:
    from facesim_index.evaluation import Evaluation
    from facesim_index.identification import Identification

_COLUMNS = ("figure", "value", "95 % interval", "meaning")
_MOST_NAMED = 10


def write_evaluation(result: "Evaluation", without_face: Sequence[Path]) -> None:
    """Write the figures of a list of pairs."""
    _write_head(
        (
            ("list", printable(result.name)),
            (
                "pairs",
                f"{result.pairs:,}: {result.genuine:,} of one person, {result.impostor:,} of two; "
                f"{result.images:,} pictures of {result.people:,} people",
            ),
            ("engine", printable(result.engine)),
            (
                "calibration",
                "none for this engine: no degrees to judge"
                if result.calibration is None
                else printable(result.calibration),
            ),
            ("no face in", f"{result.images_without_face:,} pictures, {_pairs(result)}"),
        )
    )
    rows = [
        (
            "accuracy",
            f"{result.accuracy:.4f} ± {result.accuracy_se:.4f}",
            _interval(result, "accuracy"),
            _accuracy_meaning(result),
        ),
        ("threshold", f"{result.threshold:.4f}", "", _threshold_meaning(result)),
    ]
    if result.accuracy_by == "folds" and result.accuracy_at_degree is not None:
        meaning = "at degree 0.5 of the calibration"
        rows.append(_row(result, "accuracy_at_degree", result.accuracy_at_degree, meaning, 4))
    rows += [
        ("", f"{result.accuracy_best:.4f}", "", "at the best threshold for these very pairs"),
        _row(result, "auc", result.auc, "area under the ROC curve", 5),
        _row(result, "eer", result.eer, "both kinds of errors as frequent", 4),
        *(
            _row(result, f"tar_at_far {far}", tar, f"true accepts at FAR {far}", 4)
            for far, tar in result.tar_at_far.items()
        ),
        _row(result, "cllr", result.cllr, "cost of the evidence: 0 perfect, 1 useless", 4),
        _row(result, "cllr_min", result.cllr_min, "of the best curve for these very pairs", 4),
        _row(result, "ece", result.ece, "degrees against observed shares", 4),
        _row(result, "brier", result.brier, "mean squared error of the degrees", 5),
    ]
    write_table(_COLUMNS, rows, numeric=("value",))
    _write_without_face(without_face)


def write_identification(result: "Identification", without_face: Sequence[Path]) -> None:
    """Write the figures of a 1:N identification."""
    _write_head(
        (
            ("folder", printable(result.name)),
            ("people", f"{result.people:,} on {result.images:,} pictures"),
            ("enrolled", f"{result.enrolled:,}: one picture of everyone who has two or more"),
            (
                "searches",
                f"{result.mated_searches:,} for someone enrolled, {result.non_mated_searches:,} "
                "for someone who is not",
            ),
            ("engine", printable(result.engine)),
            ("no face in", f"{result.images_without_face:,} pictures"),
        )
    )
    rows = [
        _row(result, f"rank {rank}", share, f"the person is among the first {rank}", 4)
        for rank, share in result.rank.items()
    ]
    rows += [
        _row(
            result,
            f"fnir_at_fpir {fpir}",
            fnir,
            f"not found at {score_name(result.head)} {result.threshold_at_fpir[fpir]:.3f}, "
            f"where {float(fpir):.1%} of strangers are",
            4,
        )
        for fpir, fnir in result.fnir_at_fpir.items()
    ]
    write_table(_COLUMNS, rows, numeric=("value",))
    _write_without_face(without_face)


def _write_head(lines: Sequence[tuple[str, str]]) -> None:
    for label, value in lines:
        click.echo(f"{label:<12} {value}")
    click.echo()


def _row(
    result: "Evaluation | Identification",
    name: str,
    value: float | None,
    meaning: str,
    decimals: int,
) -> tuple[str, str, str, str]:
    shown = name.replace("tar_at_far", "tar at far").replace("fnir_at_fpir", "fnir at fpir")
    text = "-" if value is None else f"{value:.{decimals}f}"
    return (shown.replace("_", " "), text, _interval(result, name, decimals), meaning)


def _interval(result: "Evaluation | Identification", name: str, decimals: int = 4) -> str:
    if name not in result.intervals:
        return ""
    low, high = result.intervals[name]
    return f"{low:.{decimals}f} to {high:.{decimals}f}"


def _pairs(result: "Evaluation") -> str:
    count = result.pairs_without_face
    return f"hence {count:,} pairs that fail"


def _accuracy_meaning(result: "Evaluation") -> str:
    if result.accuracy_by == "degree":
        return "at degree 0.5 of the calibration"
    return f"{result.n_folds} folds, each at the best threshold of the others"


def _threshold_meaning(result: "Evaluation") -> str:
    if result.accuracy_by == "degree":
        return f"{score_name(result.head)} at which the degree is 0.5"
    return f"{score_name(result.head)}, mean over the folds"


def _write_without_face(paths: Sequence[Path]) -> None:
    if not paths:
        return
    click.echo("\nNo face was found in:")
    for path in paths[:_MOST_NAMED]:
        click.echo(f"  {shown_path(str(path))}")
    if len(paths) > _MOST_NAMED:
        click.echo(f"  and {len(paths) - _MOST_NAMED:,} more")
