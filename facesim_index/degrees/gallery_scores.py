"""Scores of the faces of an index: normalised by the index itself.

The statistics of a face follow from its embedding and the cohort of the index
(`calibration.normalisation`).  The cohort is drawn from the living faces in a way that depends on
their ids alone: from the first so many faces by id, those whose ids have the lowest hash values; it
stays the same until the index has grown by a quarter.

A writer stores the cohort and the statistics at its end (`refresh_statistics`).  They are no more
than remembered: where some are not there, because a writer was killed or the index is an old one,
whoever asks computes the same.  The cohort of a large index is kept although some faces were
removed since; it is drawn anew when a tenth of it is gone.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.normalisation import COHORT_SIZE, Cohort, Normalisation
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.scorer import PLAIN, Scorer, scorer_by
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.errors import DamagedSegmentError, IndexDamagedError
from facesim_index.records import BoolArray, Float32Array, Float64Array, Int64Array
from facesim_index.store.catalog import cohort_rows
from facesim_index.store.catalog.cohort_rows import StoredCohort
from facesim_index.store.protocols import IndexStore, IndexView

GROWTH = 1.25
"""The cohort is drawn anew when the index has so many times as many faces."""

_DRAWN_ANEW = 20_000  # faces, whose statistics take less than a second
_LEAST_LEFT = 0.9
_FACES_AT_ONCE = 65_536
_HASH_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HASH_SHIFT = np.uint64(29)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The cohort of an index, remembered while the index is open."""

    key: str
    face_ids: Int64Array
    cohort: Cohort


@dataclass(frozen=True, slots=True, eq=False)
class GalleryStatistics:
    """The statistics of faces among those of an index.

    Attributes
    ----------
    cohort : Cohort
    view : IndexView
    stored : bool
        Whether those of this cohort may be stored.
    """

    cohort: Cohort
    view: IndexView
    stored: bool

    @property
    def normalisation(self) -> Normalisation:
        """How the scores are normalised."""
        return self.cohort.normalisation

    def statistics(
        self, embeddings: Float32Array, face_ids: Int64Array | None = None
    ) -> Float32Array:
        """Return middle and top of each face.

        Parameters
        ----------
        embeddings : ndarray of shape (n, dimension), float32
            Unit norm.
        face_ids : ndarray of shape (n,), int64, optional
            Of faces of the index.

        Returns
        -------
        statistics : ndarray of shape (n, 2), float32
        """
        if face_ids is None or not self.stored:
            return self.cohort.statistics(embeddings)
        return self._known(face_ids, lambda unknown: embeddings[unknown])

    def factors_of(self, face_ids: Int64Array) -> Float64Array:
        """Return slope and offset of faces of the index; embeddings are read where they must be.

        Parameters
        ----------
        face_ids : ndarray of shape (n,), int64

        Returns
        -------
        factors : ndarray of shape (n, 2), float64
        """

        def read(unknown: BoolArray) -> Float32Array:
            return self.view.embeddings(face_ids[unknown])

        if self.stored:
            return self.normalisation.factors(self._known(face_ids, read))
        return self.normalisation.factors(self.cohort.statistics(self.view.embeddings(face_ids)))

    def _known(
        self, face_ids: Int64Array, embeddings: Callable[[BoolArray], Float32Array]
    ) -> Float32Array:
        told = cohort_rows.statistics(self.view.transaction, face_ids)
        unknown: BoolArray = np.isnan(told[:, 0])
        if unknown.any():
            told[unknown] = self.cohort.statistics(embeddings(unknown))
        return told


def scorer_of(view: IndexView, calibration: Calibration | None) -> Scorer:
    """Return what makes the scores that a calibration takes, of faces of an index.

    Parameters
    ----------
    view : IndexView
    calibration : Calibration or None
        None gives plain cosines.

    Returns
    -------
    Scorer
    """
    if calibration is None:
        return PLAIN
    return scorer_by(
        calibration.head, calibration.normalisation, lambda given: _statistics(view, given)
    )


def cohort_faces(living: Int64Array) -> Int64Array:
    """Return the faces that the cohort is made of.

    Parameters
    ----------
    living : ndarray of int64
        Ids of the faces of an index, ascending.

    Returns
    -------
    ndarray of int64, ascending
        At most `COHORT_SIZE`.

    Examples
    --------
    >>> len(cohort_faces(np.arange(1, 101))), len(cohort_faces(np.arange(1, 100_001)))
    (100, 2000)
    """
    if len(living) <= COHORT_SIZE:
        return living
    size = COHORT_SIZE
    while size * GROWTH <= len(living):
        size = int(size * GROWTH)
    first = living[:size]
    mixed = first.astype(np.uint64) * _HASH_MULTIPLIER
    mixed = (mixed ^ (mixed >> _HASH_SHIFT)) * _HASH_MULTIPLIER
    return np.sort(first[np.argsort(mixed, kind="stable")[:COHORT_SIZE]])


def refresh_statistics(store: IndexStore) -> None:
    """Store the statistics of the faces of an index that are not stored yet.

    The generation stays as it is: they follow from the faces that are there.

    Parameters
    ----------
    store : IndexStore
        Writable.
    """
    with store.read() as rows:
        calibration = calibration_in_force(rows)
    if calibration is None or calibration.normalisation is None:
        return
    try:
        with store.view() as view:
            drawn = _in_use(view, calibration.normalisation)
            if drawn is None:
                living = view.living_faces()
                drawn = StoredCohort(
                    calibration.normalisation.key, len(living), cohort_faces(living)
                )
                with store.write() as transaction:
                    cohort_rows.put_cohort(transaction, drawn)
        with store.view() as view:
            source = _statistics(view, calibration.normalisation)
            for face_ids, embeddings in view.blocks(_FACES_AT_ONCE):
                told = cohort_rows.statistics(view.transaction, face_ids)
                unknown = np.isnan(told).any(axis=1)
                if unknown.any():
                    found = source.cohort.statistics(embeddings[unknown])
                    _put(store, drawn, face_ids[unknown], found)
    except IndexDamagedError as error:
        logger.warning("statistics of the faces of %s: %s", store.location, error)


def _put(
    store: IndexStore, drawn: StoredCohort, face_ids: Int64Array, statistics: Float32Array
) -> None:
    """Store statistics, unless the cohort that they are of is another by now."""
    with store.write() as transaction:
        if drawn.is_same_as(cohort_rows.cohort(transaction)):
            cohort_rows.put_statistics(transaction, face_ids, statistics)


def _in_use(view: IndexView, normalisation: Normalisation) -> StoredCohort | None:
    """Return the stored cohort if it is still good for the index as it is."""
    stored = cohort_rows.cohort(view.transaction)
    if stored is None or stored.method != normalisation.key or view.left_out:
        return None
    living = view.living_faces()
    if len(living) <= _DRAWN_ANEW:
        return stored if np.array_equal(stored.face_ids, cohort_faces(living)) else None
    grown = len(living) / max(1, stored.n_faces)
    whole = len(stored.face_ids) >= _LEAST_LEFT * COHORT_SIZE
    return stored if whole and 1.0 / GROWTH < grown < GROWTH else None


def _statistics(view: IndexView, normalisation: Normalisation) -> GalleryStatistics:
    """Return the statistics of a view; those of what is left where a partial view lost a part."""
    while True:
        n_left_out = len(view.left_out)
        try:
            return _statistics_of_whole(view, normalisation)
        except DamagedSegmentError:
            if len(view.left_out) == n_left_out:
                raise


def _statistics_of_whole(view: IndexView, normalisation: Normalisation) -> GalleryStatistics:
    stored = _in_use(view, normalisation)
    face_ids = cohort_faces(view.living_faces()) if stored is None else stored.face_ids
    cohort = view.memory.recall(
        _Drawn,
        lambda known: known.key == normalisation.key and np.array_equal(known.face_ids, face_ids),
        lambda: _Drawn(
            normalisation.key, face_ids, Cohort(normalisation, view.embeddings(face_ids))
        ),
    ).cohort
    return GalleryStatistics(cohort, view, stored is not None)
