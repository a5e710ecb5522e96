"""The record of a calibration, with the evidence it was fitted on."""

import datetime
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.heads import COSINE, Head
from facesim_index.calibration.normalisation import Normalisation
from facesim_index.errors import CalibrationError

NORMALISED = "normalised cosine"
"""What normalised scores of the cosine are called."""


@dataclass(frozen=True, slots=True)
class HeldOutCheck:
    """Figures of a curve on people it was not fitted on, both classes having the same weight.

    Attributes
    ----------
    data : str
        Which pairs, for people.
    n_people, n_genuine, n_impostor : int
        Number of people, of genuine and of impostor pairs.
    cllr : float
        Cost of the likelihood ratios in bits: 0 is perfect, 1 is no information.
    min_cllr : float
        Cllr of the best non-decreasing curve, which is fitted on these very pairs.
    ece : float
        Expected calibration error of the degrees at prior 0.5, in [0, 1]; see
        `scoring.expected_calibration_error`.
    eer : float
        Equal error rate of the scores, in [0, 1].
    true_match_rates : tuple of (float, float)
        False match rates, each with the true match rate at it; only false match rates of at least
        ten impostor pairs.

    Examples
    --------
    >>> from facesim_index import fit_calibration, people_data
    >>> data = people_data(index, Path("people"))
    >>> [check] = fit_calibration(data, index.identity, name="mine").calibration.evidence.checks
    >>> check.data, check.n_people, check.eer
    ('cross-validation in 4 folds of people', 8, 0.0)
    """

    data: str
    n_people: int
    n_genuine: int
    n_impostor: int
    cllr: float
    min_cllr: float
    ece: float
    eer: float
    true_match_rates: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The data that a calibration was fitted on, and its figures on other people.

    Attributes
    ----------
    data : str
        Name of the labelled pictures.
    n_people, n_genuine, n_impostor : int
        Number of people, of genuine and of impostor pairs that the final curve was fitted on.
    fitted_on : str
        ISO 8601 date.
    checks : tuple of HeldOutCheck
        Figures of curves that were fitted in the same way without the people of the check; may
        be empty.

    Raises
    ------
    CalibrationError
        A number is not positive, or the date is not an ISO 8601 date.

    Examples
    --------
    >>> evidence = index.calibration().evidence
    >>> evidence.data, evidence.n_people, evidence.n_genuine, evidence.n_impostor
    ('made up', 40, 300, 7000)
    """

    data: str
    n_people: int
    n_genuine: int
    n_impostor: int
    fitted_on: str
    checks: tuple[HeldOutCheck, ...] = ()

    def __post_init__(self) -> None:
        if min(self.n_people, self.n_genuine, self.n_impostor) < 1:
            raise CalibrationError("evidence needs people, genuine pairs and impostor pairs")
        try:
            datetime.date.fromisoformat(self.fitted_on)
        except ValueError as error:
            raise CalibrationError(f"fitted_on is not a date: {self.fitted_on!r}") from error


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted curve from score to log10 likelihood ratio, with its evidence.

    The head of the calibration makes the score of two faces from their embeddings.  The score is
    their cosine, unless another head was learned.

    Attributes
    ----------
    name : str
        Shown to people.
    engine_key : str
        `EngineIdentity.key` of the engine whose embeddings the curve is for.
    method : str
        How the knots were fitted, in words.
    knots : tuple of (float, float)
        Score (ascending, in [-1, 1]) and log10 likelihood ratio (non-decreasing).  The curve is
        linear between knots and constant outside them: the first and the last value are the
        strongest claims that the evidence supports.
    evidence : Evidence
    band : tuple of (float, float), default=()
        Low and high end of the 95 % interval of the log10 likelihood ratio at each knot.  The
        interval contains the value of the knot, and neither end ever decreases.  Empty when no
        interval is known.
    false_matches : tuple of (float, float), default=()
        Score (ascending) and log10 of the share of impostor pairs with at least that score
        (non-increasing, at most 0).  The curve is linear between them and constant outside: the
        last value is the lowest rate that the evidence can show.  Empty when the rates are not
        known.
    head : Head, default=COSINE
        Makes a score of two embeddings.
    normalisation : Normalisation, optional
        By which scores are normalised before they come to the curve; only those of the cosine are.

    Raises
    ------
    CalibrationError
        A field is not as described above.

    Examples
    --------
    >>> calibration = index.calibration()
    >>> calibration.name, calibration.knots
    ('example', ((-1.0, -3.0), (0.0, -2.0), (0.5, 1.0), (1.0, 3.0)))
    """

    name: str
    engine_key: str
    method: str
    knots: tuple[tuple[float, float], ...]
    evidence: Evidence
    band: tuple[tuple[float, float], ...] = ()
    false_matches: tuple[tuple[float, float], ...] = ()
    head: Head = COSINE
    normalisation: Normalisation | None = None

    @property
    def score_kind(self) -> str:
        """What the scores are: "cosine", "normalised cosine", or the kind of a learned head."""
        return self.head.kind if self.normalisation is None else NORMALISED

    def __post_init__(self) -> None:
        if self.normalisation is not None and self.head.learned:
            raise CalibrationError("the scores of a learned head cannot be normalised")
        if not (self.name and self.engine_key):
            raise CalibrationError("a calibration needs a name and an engine key")
        if len(self.knots) < 2:
            raise CalibrationError(f"calibration {self.name!r} needs two knots or more")
        self._require_scores(self.knots, "a knot")
        steps = np.diff(np.array(self.knots, dtype=np.float64), axis=0)
        if (steps[:, 0] <= 0.0).any() or (steps[:, 1] < 0.0).any():
            raise CalibrationError(
                f"the knots of calibration {self.name!r} must have ascending scores and "
                "log10 likelihood ratios that never decrease"
            )
        if self.band:
            self._require_band()
        if self.false_matches:
            self._require_false_matches()

    def _require_scores(self, pairs: tuple[tuple[float, float], ...], what: str) -> None:
        values = np.array(pairs, dtype=np.float64)
        if not np.isfinite(values).all() or np.abs(values[:, 0]).max() > 1.0:
            raise CalibrationError(
                f"calibration {self.name!r} has {what} that is not finite or not in [-1, 1]"
            )

    def _require_band(self) -> None:
        band = np.array(self.band, dtype=np.float64)
        if len(self.band) != len(self.knots) or not np.isfinite(band).all():
            raise CalibrationError(
                f"the band of calibration {self.name!r} must have a finite interval for each knot"
            )
        value = np.array(self.knots, dtype=np.float64)[:, 1]
        if (
            (band[:, 0] > value).any()
            or (band[:, 1] < value).any()
            or (np.diff(band, axis=0) < 0.0).any()
        ):
            raise CalibrationError(
                f"the band of calibration {self.name!r} must hold its curve and never decrease"
            )

    def _require_false_matches(self) -> None:
        self._require_scores(self.false_matches, "a false match rate")
        rates = np.array(self.false_matches, dtype=np.float64)
        steps = np.diff(rates, axis=0)
        if rates[0, 1] > 0.0 or (steps[:, 0] <= 0.0).any() or (steps[:, 1] > 0.0).any():
            raise CalibrationError(
                f"the false match rates of calibration {self.name!r} must have ascending scores "
                "and logarithms that are at most 0 and never increase"
            )
