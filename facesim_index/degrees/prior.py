"""The prior an answer uses: given by the user, or estimated from the gallery itself."""

from dataclasses import dataclass
from typing import Literal

from facesim_index.calibration.record import Calibration
from facesim_index.degrees.gallery import gallery_prior
from facesim_index.errors import CalibrationError
from facesim_index.store.protocols import IndexView

Prior = float | Literal["gallery"]
PriorSource = Literal["given", "gallery"]

EVEN_PRIOR = 0.5


@dataclass(frozen=True, slots=True)
class ResolvedPrior:
    """A prior as a number, and where it comes from.

    Attributes
    ----------
    value : float
        Probability, in (0, 1), that two faces show one person before they are looked at.
    source : {"given", "gallery"}
        Whether it was given, or estimated from the index's own scores.
    low, high : float or None
        95 % interval of an estimate; None for a prior that was given.

    Examples
    --------
    >>> prior = index.find_person(photos / "ben.png", min_degree=0.9).prior
    >>> round(prior.value, 2), prior.source
    (0.26, 'gallery')
    """

    value: float
    source: PriorSource
    low: float | None = None
    high: float | None = None


def resolve_prior(view: IndexView, calibration: Calibration | None, prior: Prior) -> ResolvedPrior:
    """Return the prior to use as a number.

    Parameters
    ----------
    view : IndexView
    calibration : Calibration or None
        The one in force.  Without one nothing can be estimated, and no degree needs a prior.
    prior : float or "gallery"
        A number in (0, 1); ``gallery`` estimates it from the scores of the index itself.

    Returns
    -------
    ResolvedPrior

    Raises
    ------
    CalibrationError
        The prior is not in (0, 1).
    """
    if prior != "gallery":
        if not 0.0 < prior < 1.0:
            raise CalibrationError(f"a prior is a probability between 0 and 1, not {prior}")
        return ResolvedPrior(prior, "given")
    if calibration is None:
        return ResolvedPrior(EVEN_PRIOR, "given")
    estimate = gallery_prior(view, calibration)
    return ResolvedPrior(estimate.share, "gallery", estimate.low, estimate.high)
