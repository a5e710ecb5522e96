"""Figures of a calibration on people it was not fitted on."""

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.record import Calibration, HeldOutCheck
from facesim_index.metrics import scoring
from facesim_index.records import Float32Array, Float64Array

_FALSE_MATCH_RATES = (1e-3, 1e-4)
_MIN_FALSE_MATCHES = 10


def check_curve(
    calibration: Calibration,
    genuine_cosine: Float32Array | Float64Array,
    impostor_cosine: Float32Array | Float64Array,
    *,
    data: str,
    n_people: int,
) -> HeldOutCheck:
    """Measure a calibration on labelled pairs of people it was not fitted on.

    Parameters
    ----------
    calibration : Calibration
    genuine_cosine, impostor_cosine : ndarray of shape (n_pairs,)
        Scores, by the head of the calibration, of pairs that show one person, and two.
    data : str
    n_people : int
        As for `held_out_figures`.

    Returns
    -------
    HeldOutCheck
        Figures are rounded to 5 decimals.

    Raises
    ------
    CalibrationError
        A class has no pair, or a score is not finite or not in [-1, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from facesim_index.calibration.record import Evidence
    >>> evidence = Evidence("made up", 9, 99, 999, "2026-01-01")
    >>> calibration = Calibration("mine", "engine", "by hand", ((0.0, -2.0), (0.4, 4.0)), evidence)
    >>> genuine, impostor = np.array([0.3, 0.4]), np.array([0.0, 0.1])
    >>> check_curve(calibration, genuine, impostor, data="four pairs", n_people=5).cllr
    0.10387
    """
    return held_out_figures(
        (log10_lr(genuine_cosine, calibration), log10_lr(impostor_cosine, calibration)),
        (genuine_cosine, impostor_cosine),
        data=data,
        n_people=n_people,
    )


def held_out_figures(
    claims: tuple[Float64Array, Float64Array],
    scores: tuple[Float32Array | Float64Array, Float32Array | Float64Array],
    *,
    data: str,
    n_people: int,
    cllr: float | None = None,
) -> HeldOutCheck:
    """Return the figures of what was claimed of genuine and of impostor pairs.

    Parameters
    ----------
    claims : (ndarray of shape (n_genuine,), ndarray of shape (n_impostor,)), float64
        Log10 likelihood ratios; they are counted, and `ece` and `cllr` are of them.
    scores : (ndarray of shape (m_genuine,), ndarray of shape (m_impostor,))
        Scores, higher for more similar, of these pairs or of more pairs of the same people; the
        other figures are of them.
    data : str
        Which pairs these are, for people.
    n_people : int
        How many people the pairs show.
    cllr : float, optional
        The Cllr in bits, where it was measured in another way: not only on `claims`.

    Returns
    -------
    HeldOutCheck
        Rates and costs are rounded to 5 decimals.

    Raises
    ------
    CalibrationError
        A class has no pair.

    Examples
    --------
    >>> import numpy as np
    >>> claims = np.array([2.0, 3.0]), np.array([-2.0, -1.0])
    >>> scores = np.array([0.3, 0.4]), np.array([0.0, 0.1])
    >>> held_out_figures(claims, scores, data="four pairs", n_people=5).ece
    0.02727
    """
    genuine_lr, impostor_lr = claims
    genuine, impostor = scores
    ece = scoring.expected_calibration_error(
        degree_from_log10_lr(genuine_lr), degree_from_log10_lr(impostor_lr)
    )
    return HeldOutCheck(
        data=data,
        n_people=n_people,
        n_genuine=int(genuine_lr.size),
        n_impostor=int(impostor_lr.size),
        cllr=round(scoring.cllr(genuine_lr, impostor_lr) if cllr is None else cllr, 5),
        min_cllr=round(scoring.min_cllr(genuine, impostor), 5),
        ece=round(ece, 5),
        eer=round(scoring.equal_error_rate(genuine, impostor), 5),
        true_match_rates=tuple(
            (fmr, round(scoring.true_match_rate(genuine, impostor, fmr=fmr), 5))
            for fmr in _FALSE_MATCH_RATES
            if fmr * impostor.size >= _MIN_FALSE_MATCHES
        ),
    )
