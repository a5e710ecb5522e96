"""What a writer finds of the faces of an index at its end, so that readers need not.

Whether the calibration fits is looked at with fewer faces than `facesim calibrate check` takes, so
that it costs a part of a second at any size of the index.
"""

import logging
from dataclasses import replace

import numpy as np

from facesim_index.calibration.record import Calibration
from facesim_index.degrees.calibration_check import CalibrationCheck, check_pairs
from facesim_index.degrees.gallery import refresh_gallery_prior
from facesim_index.degrees.gallery_scores import refresh_statistics, scorer_of
from facesim_index.degrees.impostors import SameImagePairs, across_pairs
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.errors import IndexDamagedError
from facesim_index.store.catalog import index_state, writing
from facesim_index.store.catalog.index_state import CalibrationVerdict
from facesim_index.store.protocols import CatalogView, IndexStore, IndexView

N_FACES = 1000
"""So many faces are drawn: half a million pairs, in which a false match rate of 1e-4 shows."""

_NO_PHOTOS = SameImagePairs(np.empty(0), np.empty(0, dtype=np.int64), 0, ())

logger = logging.getLogger(__name__)


def refresh_estimates(store: IndexStore) -> None:
    """Store what follows from the faces of an index as it is now, so that readers need not ask.

    That is the statistics of its faces, its prior, and whether its calibration fits.

    Call it after anything that changed the faces of the index or its calibration.  The generation
    stays as it is.  Damage is for `verify` to report, and no reason to fail here.

    Parameters
    ----------
    store : IndexStore
        Writable.
    """
    refresh_statistics(store)
    if refresh_gallery_prior(store) is None:
        return
    try:
        with store.view() as view:
            if stored_verdict(view) is not None:
                return
            calibration = calibration_in_force(view)
            prior = index_state.prior_estimate(view.transaction)
            if calibration is None or prior is None:
                return
            found = check_strangers(view, calibration)
    except IndexDamagedError as error:
        logger.warning("whether the calibration of %s fits: %s", store.location, error)
        return
    verdict = CalibrationVerdict(
        prior.generation, prior.curve_sha256, found.verdict, found.sentence
    )
    with store.write() as transaction:
        writing.put_calibration_verdict(transaction, verdict)


def check_strangers(view: IndexView, calibration: Calibration) -> CalibrationCheck:
    """Compare a calibration with some pairs of strangers of an index.

    Parameters
    ----------
    view : IndexView
    calibration : Calibration
        Fitted for the engine of the index.

    Returns
    -------
    CalibrationCheck
        Without pairs of one photo and groups of faces.
    """
    across = across_pairs(view, scorer_of(view, calibration), n_faces=N_FACES)
    return check_pairs(calibration, _NO_PHOTOS, replace(across, groups=()))


def stored_verdict(view: CatalogView) -> CalibrationVerdict | None:
    """Return whether the calibration in force fits, as the last writer found.

    Parameters
    ----------
    view : CatalogView

    Returns
    -------
    CalibrationVerdict or None
        None when nothing is known of this generation and this curve.
    """
    transaction = view.transaction
    found = index_state.calibration_verdict(transaction)
    prior = index_state.prior_estimate(transaction)
    generation = index_state.state(transaction).generation
    if found is None or prior is None:
        return None
    # The prior was stored just before, with the calibration that was in force.
    same = (found.generation, found.curve_sha256) == (prior.generation, prior.curve_sha256)
    return found if same and found.generation == generation else None
