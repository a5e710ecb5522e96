"""How well the calibration in force fits the pictures of the index; found once a commit."""

import hashlib
import threading
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.fitting.labelled_data import every_pair
from facesim_index.calibration.judgement import no_calibration
from facesim_index.calibration.record import Calibration
from facesim_index.degrees.calibration_check import CalibrationCheck, check_index
from facesim_index.degrees.gallery import gallery_prior
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.errors import CalibrationError
from facesim_index.evaluation import plots
from facesim_index.metrics import curves
from facesim_index.metrics.curves import Reliability
from facesim_index.records import BoolArray, Float64Array, Int64Array
from facesim_index.store.catalog import people_rows
from facesim_index.store.protocols import IndexStore, IndexView
from facesim_index.web.guard.problems import ProblemError

LEAST_PAIRS = 20
_MOST_IMPOSTORS = 500_000
_EDGES = np.linspace(0.0, 1.0, 26)
_NAMES = ("one person", "two people")


@dataclass(frozen=True, slots=True)
class ConfirmedPairs:
    """How the degrees compare with the faces that a human confirmed.

    Attributes
    ----------
    n_people : int
        People with a confirmed face.
    n_genuine, n_impostor : int
        Pairs of their confirmed faces that show one person, and two people.
    reliability : Reliability
    svg : bytes
        `reliability` as a plot.
    """

    n_people: int
    n_genuine: int
    n_impostor: int
    reliability: Reliability
    svg: bytes


@dataclass(frozen=True, slots=True)
class CalibrationPage:
    """How well a calibration fits an index.

    Attributes
    ----------
    check : CalibrationCheck
    prior, prior_low, prior_high : float
        The share of genuine pairs in the index, in (0, 1), and its 95 % interval.
    confirmed : ConfirmedPairs or None
        None when too few faces are confirmed.
    """

    check: CalibrationCheck
    prior: float
    prior_low: float
    prior_high: float
    confirmed: ConfirmedPairs | None

    def plot(self) -> bytes:
        """Return the reliability diagram.

        Returns
        -------
        bytes
            SVG.

        Raises
        ------
        ProblemError
            There are too few confirmed faces for one; status 404.
        """
        if self.confirmed is None:
            detail = (
                f"too few faces are confirmed: a reliability diagram needs {LEAST_PAIRS} pairs of "
                "one person and as many of two; name, merge and move people first"
            )
            raise ProblemError(404, "too_few_labels", detail)
        return self.confirmed.svg


class CalibrationPages:
    """Checks the calibration of an index, and keeps the result until something changes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards `_kept` and matplotlib's settings
        self._kept: tuple[str, CalibrationPage] | None = None

    def page(self, store: IndexStore) -> CalibrationPage:
        """Return how well the calibration fits.

        Parameters
        ----------
        store : Store

        Returns
        -------
        CalibrationPage

        Raises
        ------
        CalibrationError
            There is no calibration for the engine of the index.
        """
        with self._lock, store.view() as view:
            calibration = calibration_in_force(view)
            if calibration is None:
                raise CalibrationError(no_calibration(view.identity))
            found = people_rows.assignments(view.transaction)
            confirmed = found.face_ids[found.confirmed], found.person_ids[found.confirmed]
            arrays = (view.living_faces(), *confirmed)  # the generation grows with every name, too
            digests = [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
            key = repr((view.location, calibration.name, calibration.knots, *digests))
            if self._kept is None or self._kept[0] != key:
                prior = gallery_prior(view, calibration)
                page = CalibrationPage(
                    check_index(view, calibration),
                    prior.share,
                    prior.low,
                    prior.high,
                    _confirmed_pairs(view, calibration, *confirmed),
                )
                self._kept = (key, page)
            return self._kept[1]


def _confirmed_pairs(
    view: IndexView, calibration: Calibration, face_ids: Int64Array, person_ids: Int64Array
) -> ConfirmedPairs | None:
    if len(face_ids) < 2:
        return None
    _, people = np.unique(person_ids, return_inverse=True)
    embeddings = view.embeddings(face_ids)
    scores, _ = every_pair(
        embeddings,
        people.astype(np.int64),
        scorer_of(view, calibration),
        max_impostors=_MOST_IMPOSTORS,
    )
    n_genuine, n_impostor = scores.genuine.size, scores.impostor.size
    if min(n_genuine, n_impostor) < LEAST_PAIRS:
        return None
    degree = degree_from_log10_lr(
        log10_lr(np.concatenate([scores.genuine, scores.impostor]), calibration)
    )
    same = np.arange(degree.size) < n_genuine
    bins = curves.reliability(degree, same)
    return ConfirmedPairs(
        int(people.max()) + 1, n_genuine, n_impostor, bins, _plot(degree, same, bins)
    )


def _plot(degree: Float64Array, same: BoolArray, bins: Reliability) -> bytes:
    best = curves.best_curve(degree, same)
    shares = [
        (name, curves.histogram(degree[chosen], _EDGES))
        for name, chosen in zip(_NAMES, (same, ~same), strict=True)
    ]
    return plots.draw_reliability(bins, best, _EDGES, shares)
