"""How well the calibration in force fits the pictures of the index; looked at once a commit."""

import threading
from dataclasses import dataclass

from facesim_index.answers import no_calibration
from facesim_index.calibration_check import CalibrationCheck, check_index
from facesim_index.errors import CalibrationError
from facesim_index.gallery import gallery_prior
from facesim_index.store import Store


@dataclass(frozen=True, slots=True)
class CalibrationPage:
    """What is said of a calibration.

    Attributes
    ----------
    check : CalibrationCheck
    prior, prior_low, prior_high : float
        The share of genuine pairs in the index, and its 95 % interval.
    """

    check: CalibrationCheck
    prior: float
    prior_low: float
    prior_high: float


class CalibrationPages:
    """Checks the calibration of an index, and remembers what was found until it changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[tuple[str, int, str], CalibrationPage] | None = None

    def page(self, store: Store) -> CalibrationPage:
        """Return how well the calibration fits.

        Raises
        ------
        CalibrationError
            There is none.
        """
        with self._lock, store.view() as view:
            curve = store.calibration(view)
            if curve is None:
                raise CalibrationError(no_calibration(store.identity))
            key = (str(store.catalog.path), view.generation, repr((curve.name, curve.knots)))
            if self._kept is None or self._kept[0] != key:
                prior = gallery_prior(store, view, curve)
                check = check_index(view, curve, prior.share)
                self._kept = (key, CalibrationPage(check, prior.share, prior.low, prior.high))
            return self._kept[1]
