"""Judgements of pairs of faces: evidence, degree and error rates, from scores."""

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
    """The judgement of one pair of faces; None where the calibration has no such figure.

    Attributes
    ----------
    cosine : float
        The plain cosine, whatever head the calibration has; in [-1, 1].
    degree : float or None
        Probability of one person at the prior, in (0, 1).
    degree_low, degree_high : float or None
        The 95 % interval of `degree`.
    log10_lr : float or None
        Base-10 logarithm of the likelihood ratio.
    fmr : float or None
        How often two different people have at least such a score, in (0, 1].
    at_bound : bool
        Whether `log10_lr` is the strongest claim of the calibration.
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
    """Judge pairs of faces by a calibration.

    Parameters
    ----------
    cosines : ndarray of shape (n,), float64
        In [-1, 1].
    calibration : Calibration or None
        Without one a judgement has only the cosine.
    prior : float
        Probability of a genuine pair before looking, in (0, 1).
    scores : ndarray of shape (n,), float64, optional
        Scores by the head of the calibration; by default the cosines.

    Returns
    -------
    list of Judgement

    Raises
    ------
    CalibrationError
        The prior is not in (0, 1), or a score is not in [-1, 1].

    Examples
    --------
    >>> judge(np.array([0.5]), None, prior=0.5)[0].cosine
    0.5
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
    """Return the sentence that explains why there are no degrees.

    Parameters
    ----------
    identity : EngineIdentity
        Of the engine for which there is no calibration.

    Returns
    -------
    str

    Examples
    --------
    >>> no_calibration(EngineIdentity("mine", "a" * 64, "b" * 64, 3, 512)).partition(",")[0]
    'there is no calibration for the engine mine (detector aaaaaaaa'
    """
    return (
        f"there is no calibration for the engine {identity}, so cosines are given without "
        "degrees; a degree is never guessed"
    )


def _degree_or_nan(evidence: Float64Array, prior: float) -> Float64Array:
    """Return degrees, NaN where the evidence is NaN."""
    known = np.isfinite(evidence)
    degrees = np.full(evidence.shape, np.nan)
    degrees[known] = degree_from_log10_lr(evidence[known], prior=prior)
    return degrees


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
