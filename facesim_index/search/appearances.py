"""Every face of an index that shows one person: not the best few, but all of them."""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.judgement import judge, no_calibration
from facesim_index.calibration.record import Calibration
from facesim_index.degrees.cautions import traits_of
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import Prior, ResolvedPrior, resolve_prior
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.people.membership import whose_faces
from facesim_index.records import (
    EmbeddedFace,
    Float32Array,
    Float64Array,
    Int64Array,
    PictureReading,
)
from facesim_index.search.answers import Match
from facesim_index.search.one_picture import check_face
from facesim_index.search.queries import matches_of, scores_with
from facesim_index.store.catalog import face_rows, picture_rows
from facesim_index.store.protocols import CatalogView, IndexView
from facesim_index.store.records import Neighbours

_FACES_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True)
class Appearances:
    """Where a person appears.

    Attributes
    ----------
    query : str
        The picture that shows the person.
    face : int
        Number of the person's face in it, left to right, from 0.
    min_degree : float
        In (0, 1].
    prior : ResolvedPrior
    n_faces : int
        How many faces were compared: all that there are.
    matches : tuple of Match
        All that reach the degree, most similar first.

    Examples
    --------
    >>> found = index.find_person(photos / "ben.png", min_degree=0.9)
    >>> found.n_faces, [Path(match.path).name for match in found.matches]
    (6, ['ben.png', 'anna_and_ben.png'])
    """

    query: str
    face: int
    min_degree: float
    prior: ResolvedPrior
    n_faces: int
    matches: tuple[Match, ...]


def check_least_degree(min_degree: float) -> None:
    """Refuse a least degree with which nobody can be found.

    Parameters
    ----------
    min_degree : float
        Should be in (0, 1].

    Raises
    ------
    UsageError
        It is not in (0, 1].
    """
    if not 0.0 < min_degree <= 1.0:
        raise UsageError(f"the least degree must be above 0 and at most 1, not {min_degree}")


def find_appearances(
    view: IndexView,
    picture: PictureReading,
    name: str,
    *,
    min_degree: float,
    face: int | None = None,
    prior: Prior = "gallery",
) -> Appearances:
    """Return every indexed face that shows the person of a picture, down to a given degree.

    Every face is compared exactly, those of the picture itself too.

    Parameters
    ----------
    view : IndexView
    picture : PictureReading
        By the engine that the index was built with; it shows a face.
    name : str
        What the picture is called in the answer and in messages.
    min_degree : float
        In (0, 1].
    face : int, optional
        Number of the person's face in the picture, left to right, from 0.
    prior : float or "gallery", default="gallery"
        Probability, in (0, 1), that two faces show one person before they are looked at.

    Returns
    -------
    Appearances

    Raises
    ------
    UsageError
        The picture shows several faces and `face` does not say which, or it has no face of that
        number; or the degree is out of range.
    CalibrationError
        There is no calibration for the engine, or the prior is not in (0, 1).
    """
    check_least_degree(min_degree)
    calibration = require_calibration(view)
    number, shown = _person(name, picture, face)
    resolved = resolve_prior(view, calibration, prior)
    ids = face_rows.face_ids(view.transaction)
    cosines, scores = _compared(view, ids, shown.embedding, calibration)
    degrees = degree_from_log10_lr(log10_lr(scores, calibration), prior=resolved.value)
    found = np.flatnonzero(degrees >= min_degree)
    found = found[np.lexsort((ids[found], -scores[found]))]
    same = picture_rows.image_by_hash(view.transaction, picture.content_hash)
    own = face_rows.faces_of_images(view.transaction, [same.image_id] if same else [])
    judged = judge(cosines[found], calibration, prior=resolved.value, scores=scores[found])
    near = Neighbours(ids[found], cosines[found])
    whose = whose_faces(view, shown.embedding, near.face_ids, own, calibration, resolved.value)
    traits = traits_of([shown], shown.embedding[None], view.identity.key)
    matches = matches_of(view, near, judged, own, len(ids), None, whose, traits)
    return Appearances(name, number, min_degree, resolved, len(ids), matches)


def require_calibration(view: CatalogView) -> Calibration:
    """Return the calibration in force of an index that must have one.

    Parameters
    ----------
    view : CatalogView
        Of that index.

    Returns
    -------
    Calibration

    Raises
    ------
    CalibrationError
        There is none for its engine.
    """
    calibration = calibration_in_force(view)
    if calibration is None:
        raise CalibrationError(f"nobody can be found by degree: {no_calibration(view.identity)}")
    return calibration


def _person(name: str, picture: PictureReading, face: int | None) -> tuple[int, EmbeddedFace]:
    """Return which face of a picture is meant; never guess among several."""
    if face is None and len(picture.faces) > 1:
        raise UsageError(
            f"{name} shows {len(picture.faces)} faces; say which with --face, "
            f"from 0 to {len(picture.faces) - 1}, left to right"
        )
    number = check_face(name, picture, face or 0)
    return number, picture.faces[number]


def _compared(
    view: IndexView, ids: Int64Array, query: Float32Array, calibration: Calibration
) -> tuple[Float64Array, Float64Array]:
    """Return the cosines of faces with one, and their scores."""
    scorer = scorer_of(view, calibration)
    cosines = np.empty(len(ids))
    scores = cosines if scorer.plain else np.empty(len(ids))
    for start in range(0, len(ids), _FACES_AT_ONCE):
        part = slice(start, start + _FACES_AT_ONCE)
        cosines[part] = view.cosines(ids[part], query)
        if not scorer.plain:
            near = Neighbours(ids[part], cosines[part])
            scores[part] = scores_with(view, scorer, query, near)
    return cosines, scores
