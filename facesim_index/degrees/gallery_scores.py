"""Scores of the faces of an index: normalised by the index itself.

The statistics of a face follow from its embedding and the cohort of the index
(`calibration.normalisation`).  The cohort is drawn from the living faces in a way that depends on
their ids alone, and it is drawn anew only when the index has grown by a quarter: from the first
so many faces by id, those whose ids have the lowest hash values.
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.normalisation import COHORT_SIZE, Cohort, Normalisation
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.scorer import PLAIN, Scorer
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.protocols import IndexView

GROWTH = 1.25
"""The cohort is drawn anew when the index has so many times as many faces."""

_HASH_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HASH_SHIFT = np.uint64(29)


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
    """

    cohort: Cohort
    view: IndexView

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
        return self.cohort.statistics(embeddings, face_ids)


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
    if calibration.normalisation is None:
        return Scorer(calibration.head)
    return Scorer(calibration.head, GalleryStatistics(_cohort(view, calibration), view))


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


def _cohort(view: IndexView, calibration: Calibration) -> Cohort:
    normalisation = calibration.normalisation
    assert normalisation is not None
    face_ids = cohort_faces(view.living_faces())
    return view.memory.recall(
        _Drawn,
        lambda known: known.key == normalisation.key and np.array_equal(known.face_ids, face_ids),
        lambda: _Drawn(
            normalisation.key, face_ids, Cohort(normalisation, view.embeddings(face_ids))
        ),
    ).cohort
