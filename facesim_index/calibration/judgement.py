"""From scores to everything an answer says of them: evidence, degree, error rates."""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.curve import (
    bound_reached,
    false_match_rate,
    log10_lr,
    log10_lr_interval,
)
from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.record import Calibration
from facesim_index.records import EngineIdentity, Float64Array


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of one pair; None where the calibration does not know.

    Attributes
    ----------
    cosine : float
        The plain one, whatever the calibration is of.
    degree, degree_low, degree_high : float or None
        Probability of one person at the prior, and its 95 % interval.
    log10_lr : float or None
    fmr : float or None
    at_bound : bool
    """

    cosine: float
    degree: float | None = None
    degree_low: float | None = None
    degree_high: float | None = None
    log10_lr: float | None = None
    fmr: float | None = None
    at_bound: bool = False


def judge(
    cosines: Float64Array,
    calibration: Calibration | None,
    *,
    prior: float,
    scores: Float64Array | None = None,
) -> list[Judgement]:
    """Return what a calibration says of pairs of faces.

    Parameters
    ----------
    cosines : ndarray of shape (n,), float64
    calibration : Calibration or None
        None: nothing but the cosines is said.
    prior : float
        In (0, 1).
    scores : ndarray of shape (n,), float64, optional
        By the head of the calibration; the cosines by default.

    Returns
    -------
    list of Judgement

    Raises
    ------
    CalibrationError
        The prior is not in (0, 1).
    """
    if calibration is None:
        return [Judgement(cosine) for cosine in cosines.tolist()]
    scores = cosines if scores is None else scores
    evidence = log10_lr(scores, calibration)
    low, high = log10_lr_interval(scores, calibration)
    degree = degree_from_log10_lr(evidence, prior=prior)
    degree_low, degree_high = _degree_or_nan(low, prior), _degree_or_nan(high, prior)
    fmr = false_match_rate(scores, calibration)
    at_bound = bound_reached(scores, calibration) != 0
    return [
        Judgement(
            cosine=float(cosines[i]),
            degree=float(degree[i]),
            degree_low=_known(float(degree_low[i])),
            degree_high=_known(float(degree_high[i])),
            log10_lr=float(evidence[i]),
            fmr=_known(float(fmr[i])),
            at_bound=bool(at_bound[i]),
        )
        for i in range(cosines.size)
    ]


def no_calibration(identity: EngineIdentity) -> str:
    """Return the sentence that explains why there are no degrees."""
    return (
        f"there is no calibration for the engine {identity}, so cosines are given without "
        "degrees; a degree is never guessed"
    )


def _degree_or_nan(evidence: Float64Array, prior: float) -> Float64Array:
    """Return degrees; where the evidence is not known, neither is the degree."""
    known = np.isfinite(evidence)
    degrees = np.full(evidence.shape, np.nan)
    degrees[known] = degree_from_log10_lr(evidence[known], prior=prior)
    return degrees


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
