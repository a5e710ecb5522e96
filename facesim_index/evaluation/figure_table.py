"""The figures of an evaluation as a table of texts, for the terminal and the report."""

from typing import NamedTuple

from facesim_index.evaluation.identification import Identification
from facesim_index.evaluation.verification import Evaluation
from facesim_index.utils.text import score_name

COLUMNS = ("figure", "value", "95 % interval", "meaning")


class FigureRow(NamedTuple):
    """A row of the table, in the order of `COLUMNS`.

    Attributes
    ----------
    figure : str
        Name of the figure.
    value : str
    interval : str
        Its 95 % interval; empty when there is none.
    meaning : str
        What the figure says, in words.
    """

    figure: str
    value: str
    interval: str
    meaning: str


def pair_facts(result: Evaluation) -> list[tuple[str, str]]:
    """Return what was evaluated in a list of pairs, as labels and texts.

    Parameters
    ----------
    result : Evaluation

    Returns
    -------
    list of (str, str)
        Label and text of each fact.
    """
    return [
        ("list", result.name),
        (
            "pairs",
            f"{result.pairs:,}: {result.genuine:,} of one person, {result.impostor:,} of two; "
            f"{result.images:,} pictures of {result.people:,} people",
        ),
        ("engine", result.engine),
        ("calibration", result.calibration or "none for this engine: no degrees to judge"),
        (
            "no face in",
            f"{result.images_without_face:,} pictures, "
            f"hence {result.pairs_without_face:,} pairs that fail",
        ),
    ]


def people_facts(result: Identification) -> list[tuple[str, str]]:
    """Return what was evaluated in an identification, as labels and texts.

    Parameters
    ----------
    result : Identification

    Returns
    -------
    list of (str, str)
        Label and text of each fact.
    """
    return [
        ("folder", result.name),
        ("people", f"{result.people:,} on {result.images:,} pictures"),
        ("enrolled", f"{result.enrolled:,}: one picture of everyone who has two or more"),
        (
            "searches",
            f"{result.mated_searches:,} for someone enrolled, {result.non_mated_searches:,} "
            "for someone who is not",
        ),
        ("engine", result.engine),
        ("no face in", f"{result.images_without_face:,} pictures"),
    ]


def pair_figures(result: Evaluation) -> list[FigureRow]:
    """Return the figures of a list of pairs.

    Parameters
    ----------
    result : Evaluation

    Returns
    -------
    list of FigureRow
    """
    rows = [
        FigureRow(
            "accuracy",
            f"{result.accuracy:.4f} ± {result.accuracy_se:.4f}",
            _interval(result, "accuracy"),
            _accuracy_meaning(result),
        ),
        FigureRow("threshold", f"{result.threshold:.4f}", "", _threshold_meaning(result)),
    ]
    if result.accuracy_by == "folds" and result.accuracy_at_degree is not None:
        meaning = "at degree 0.5 of the calibration"
        rows.append(_row(result, "accuracy_at_degree", result.accuracy_at_degree, meaning))
    best = f"{result.accuracy_best:.4f}"
    return [
        *rows,
        FigureRow("", best, "", "at the best threshold for these very pairs"),
        _row(result, "auc", result.auc, "area under the ROC curve", 5),
        _row(result, "eer", result.eer, "both kinds of errors as frequent"),
        *(
            _row(result, f"tar_at_far {far}", tar, f"true accepts at FAR {far}")
            for far, tar in result.tar_at_far.items()
        ),
        _row(result, "cllr", result.cllr, "cost of the evidence: 0 perfect, 1 useless"),
        _row(result, "cllr_min", result.cllr_min, "of the best curve for these very pairs"),
        _row(result, "ece", result.ece, "degrees against observed shares"),
        _row(result, "brier", result.brier, "mean squared error of the degrees", 5),
    ]


def people_figures(result: Identification) -> list[FigureRow]:
    """Return the figures of a 1:N identification.

    Parameters
    ----------
    result : Identification

    Returns
    -------
    list of FigureRow
    """
    return [
        *(
            _row(result, f"rank {rank}", share, f"the person is among the first {rank}")
            for rank, share in result.rank.items()
        ),
        *(
            _row(
                result,
                f"fnir_at_fpir {fpir}",
                fnir,
                f"not found at {score_name(result.head)} {result.threshold_at_fpir[fpir]:.3f}, "
                f"where {float(fpir):.1%} of strangers are",
            )
            for fpir, fnir in result.fnir_at_fpir.items()
        ),
    ]


def _row(
    result: Evaluation | Identification,
    name: str,
    value: float | None,
    meaning: str,
    decimals: int = 4,
) -> FigureRow:
    shown = name.replace("tar_at_far", "tar at far").replace("fnir_at_fpir", "fnir at fpir")
    text = "-" if value is None else f"{value:.{decimals}f}"
    return FigureRow(shown.replace("_", " "), text, _interval(result, name, decimals), meaning)


def _interval(result: Evaluation | Identification, name: str, decimals: int = 4) -> str:
    if name not in result.intervals:
        return ""
    low, high = result.intervals[name]
    return f"{low:.{decimals}f} to {high:.{decimals}f}"


def _accuracy_meaning(result: Evaluation) -> str:
    if result.accuracy_by == "degree":
        return "at degree 0.5 of the calibration"
    return f"{result.n_folds} folds, each at the best threshold of the others"


def _threshold_meaning(result: Evaluation) -> str:
    if result.accuracy_by == "degree":
        return f"{score_name(result.head)} at which the degree is 0.5"
    return f"{score_name(result.head)}, mean over the folds"
