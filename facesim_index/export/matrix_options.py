"""Which number a matrix has for each pair of faces, and how it is written."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from facesim_index.calibration.record import Calibration
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.export.csv_cells import MAX_DECIMALS

ScoreKind = Literal["cosine", "degree", "log10_lr", "fmr"]

_NAMES = {"degree": "a degree", "log10_lr": "a likelihood ratio", "fmr": "a false match rate"}
_MOST_UNITS = 20_000_000


@dataclass(frozen=True, slots=True)
class MatrixOptions:
    """Which number is given for each pair of faces, and how it is written.

    Attributes
    ----------
    value : {"degree", "cosine", "log10_lr", "fmr"}
        `fmr` is the false match rate at the score of the pair.
    prior : float, default=0.5
        Probability of a genuine pair before looking, in (0, 1); degrees depend on it.
    min_degree : float, optional
        Leave out pairs whose degree is lower, before rounding; for `write_long` only.
    decimals : int, default=5
        Of the text, from 1 to 6.  False match rates always have three digits and an exponent.

    Examples
    --------
    >>> from facesim_index import MatrixOptions
    >>> index.matrix([1, 2], MatrixOptions(value="log10_lr")).round(2)
    face_id     1     2
    face_id
    1        3.00  2.78
    2        2.78  3.00
    """

    value: ScoreKind = "degree"
    prior: float = 0.5
    min_degree: float | None = None
    decimals: int = 5


def check_options(options: MatrixOptions, calibration: Calibration | None) -> None:
    """Refuse options that are out of range, do not fit together, or need another calibration.

    Parameters
    ----------
    options : MatrixOptions
    calibration : Calibration or None
        The one that degrees would be made with.

    Raises
    ------
    UsageError
        An option is out of range.
    CalibrationError
        The value needs a calibration, or one with false match rates.
    """
    if options.value not in get_args(ScoreKind):
        raise UsageError(
            f"value must be one of {', '.join(get_args(ScoreKind))}, not {options.value}"
        )
    if not 1 <= options.decimals <= MAX_DECIMALS:
        raise UsageError(f"decimals must be from 1 to {MAX_DECIMALS}, not {options.decimals}")
    if not 0.0 < options.prior < 1.0:
        raise UsageError(f"a prior is a probability between 0 and 1, not {options.prior}")
    if options.min_degree is not None and not 0.0 <= options.min_degree <= 1.0:
        raise UsageError(f"min_degree must be from 0 to 1, not {options.min_degree}")
    if calibration is None and (options.value != "cosine" or options.min_degree is not None):
        what = "a degree" if options.value == "cosine" else _NAMES[options.value]
        raise CalibrationError(
            f"{what} needs a calibration for the index's engine, and there is none; make one "
            "with `facesim calibrate`, or export cosines with `--value cosine`"
        )
    if calibration is None:
        return
    if options.value == "fmr" and not calibration.false_matches:
        raise CalibrationError(f"the calibration {calibration.name} has no false match rates")
    if (
        options.value == "log10_lr"
        and furthest_evidence(calibration) * 10**options.decimals > _MOST_UNITS
    ):
        raise UsageError(f"log10_lr has at most 5 decimals, not {options.decimals}")


def furthest_evidence(calibration: Calibration) -> int:
    """Return the whole number that no log10 likelihood ratio of a curve passes."""
    return math.ceil(max(1.0, *(abs(value) for _, value in calibration.knots)))
