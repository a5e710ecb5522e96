"""Degrees: probabilities that two faces show one person.

A calibration is a fitted, non-decreasing curve from the score of two embeddings to the base-10
logarithm of the likelihood ratio.  It belongs to the engine that made the embeddings.  The score is
the cosine, unless the calibration has a learned head::

    embeddings --head--> score --curve--> log10_lr --prior, Bayes' rule--> degree

Nothing here knows where a calibration is stored.
"""

import math

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.record import Calibration
from facesim_index.errors import CalibrationError
from facesim_index.metrics.odds import LN_10, logistic
from facesim_index.records import Float32Array, Float64Array

_HIGHEST_DEGREE = math.nextafter(1.0, 0.0)

# The lowest log10 likelihood ratio of each phrase of the verbal scale.
_SUPPORT = (
    (6.0, "extremely strong support"),
    (4.0, "very strong support"),
    (3.0, "strong support"),
    (2.0, "moderately strong support"),
    (1.0, "moderate support"),
    (math.log10(2.0), "weak support"),
)


def support_phrase(log10_lr: float) -> str:
    """Return the evidence in words, on the scale of the ENFSI guideline [1]_.

    Parameters
    ----------
    log10_lr : float
        Base-10 logarithm of a likelihood ratio; may be infinite.

    Returns
    -------
    str
        "weak support" from a likelihood ratio of 2, "moderate support" from 10, "moderately
        strong support" from 100, "strong support" from 1,000, "very strong support" from
        10,000, "extremely strong support" from 1,000,000; the same words with "against" for
        the inverse ratios; "no support either way" in between.

    Raises
    ------
    CalibrationError
        The log-likelihood ratio is not a number.

    References
    ----------
    .. [1] European Network of Forensic Science Institutes, "Guideline for Evaluative
       Reporting in Forensic Science", 2015.

    Examples
    --------
    >>> support_phrase(3.2)
    'strong support'
    >>> support_phrase(-1.5)
    'moderate support against'
    """
    if math.isnan(log10_lr):
        raise CalibrationError("a log-likelihood ratio is not a number")
    for least, phrase in _SUPPORT:
        if abs(log10_lr) >= least:
            return phrase if log10_lr > 0.0 else f"{phrase} against"
    return "no support either way"


def degree_from_log10_lr(log10_lr: Float64Array, *, prior: float = 0.5) -> Float64Array:
    """Return the probability of one person from the evidence and a prior, by Bayes' rule.

    The odds after looking are the odds before, times the likelihood ratio.

    Parameters
    ----------
    log10_lr : ndarray of any shape, float64
        Base-10 logarithms of likelihood ratios; infinities are allowed.
    prior : float, default=0.5
        Probability of a genuine pair before looking, in (0, 1).

    Returns
    -------
    degree : ndarray of the same shape, float64
        In (0, 1), never 0 or 1, because no evidence is beyond doubt.

    Raises
    ------
    CalibrationError
        The prior is not in (0, 1), or a log-likelihood ratio is not a number.

    Examples
    --------
    The score is 100 times as likely for genuine pairs, but only one pair in 101 is genuine:

    >>> degree_from_log10_lr(np.array([2.0]), prior=1 / 101)
    array([0.5])
    """
    if not 0.0 < prior < 1.0:
        raise CalibrationError(f"a prior is a probability between 0 and 1, not {prior}")
    log10_lr = np.asarray(log10_lr, dtype=np.float64)
    if log10_lr.size and math.isnan(log10_lr.min()):
        raise CalibrationError("a log-likelihood ratio is not a number")
    log10_odds_before = math.log10(prior) - math.log1p(-prior) / LN_10
    # One buffer all along: a block may have millions of cells.
    buffer = np.asarray(log10_lr + log10_odds_before)
    np.multiply(buffer, LN_10, out=buffer)
    logistic(buffer, out=buffer)
    return np.minimum(buffer, _HIGHEST_DEGREE, out=buffer)


def calibrated_degree(
    score: Float32Array | Float64Array, calibration: Calibration, *, prior: float = 0.5
) -> Float64Array:
    """Return the probability that each pair of faces shows one person.

    The score is mapped to a log-likelihood ratio by the fitted curve and to a probability
    by Bayes' rule with `prior` [1]_.  The curve is bounded by the evidence it was fitted on:
    it never claims more than that many pairs can show.

    Parameters
    ----------
    score : ndarray of any shape, float32 or float64
        Of unit-norm embeddings by the head of the calibration, in [-1, 1].
    calibration : Calibration
        Fitted for the same engine identity as the embeddings.
    prior : float, default=0.5
        Probability of a genuine pair before looking, in (0, 1).  The default suits one pair
        that is as likely genuine as not.  In a gallery, where almost every pair shows two
        people, it is far too high.

    Returns
    -------
    degree : ndarray of the same shape, float64
        In (0, 1); empty when `score` is.

    Raises
    ------
    CalibrationError
        A score is outside [-1, 1] by more than 1e-3, or not finite; or the prior is not
        in (0, 1).

    References
    ----------
    .. [1] N. Brümmer and J. du Preez, "Application-independent evaluation of
       speaker detection", Computer Speech & Language, 2006.

    Examples
    --------
    >>> from facesim_index.calibration.record import Evidence
    >>> evidence = Evidence("made up", 9, 99, 999, "2026-01-01")
    >>> calibration = Calibration("mine", "engine", "by hand", ((0.0, -2.0), (0.4, 4.0)), evidence)
    >>> calibrated_degree(np.array([0.2]), calibration).round(3)
    array([0.909])
    >>> calibrated_degree(np.array([0.2]), calibration, prior=1 / 101).round(3)
    array([0.091])
    """
    return degree_from_log10_lr(log10_lr(score, calibration), prior=prior)


def cosine_at_degree(degree: float, calibration: Calibration, *, prior: float = 0.5) -> float:
    """Return the lowest score that has at least a degree; without a learned head a cosine.

    ``score >= cosine_at_degree(degree, calibration, prior=prior)`` selects the same pairs as
    ``calibrated_degree(score, calibration, prior=prior) >= degree``, without computing degrees.

    Parameters
    ----------
    degree : float
        In [0, 1].
    calibration : Calibration
    prior : float, default=0.5
        Probability of a genuine pair before looking, in (0, 1).

    Returns
    -------
    float
        In [-1, 1], exact to 1e-12 and never too low; ``-inf`` when every score has the
        degree, ``inf`` when none has, because the evidence does not reach that far.

    Raises
    ------
    CalibrationError
        The degree is not in [0, 1] or the prior not in (0, 1).

    Examples
    --------
    >>> from facesim_index.calibration.record import Evidence
    >>> evidence = Evidence("made up", 9, 99, 999, "2026-01-01")
    >>> calibration = Calibration("mine", "engine", "by hand", ((0.0, -2.0), (0.4, 4.0)), evidence)
    >>> round(cosine_at_degree(10 / 11, calibration), 6)
    0.2
    """
    if not 0.0 <= degree <= 1.0:
        raise CalibrationError(f"a degree is a probability from 0 to 1, not {degree}")

    def has_degree(score: float) -> bool:
        return bool(calibrated_degree(np.array([score]), calibration, prior=prior)[0] >= degree)

    # The function that gives the degrees is bisected itself, so that rounding makes no difference.
    below, reached = calibration.knots[0][0], calibration.knots[-1][0]
    if has_degree(below):
        return -math.inf
    if not has_degree(reached):
        return math.inf
    while reached - below > 1e-12:
        middle = (below + reached) / 2.0
        below, reached = (below, middle) if has_degree(middle) else (middle, reached)
    return reached
