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
        In (0, 1).
    source : {"given", "gallery"}
    low, high : float or None
        95 % interval of an estimate.
    """

    value: float
    source: PriorSource
    low: float | None = None
    high: float | None = None


def resolve_prior(view: IndexView, calibration: Calibration | None, prior: Prior) -> ResolvedPrior:
    """Return the prior to use.

    Parameters
    ----------
    view : IndexView
    calibration : Calibration or None
        The one in force; without one nothing can be estimated, nor is a prior of any use.
    prior : float or "gallery"

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
