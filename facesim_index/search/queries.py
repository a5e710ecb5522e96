"""Query: from a picture or a face to the most similar faces, with the degree of each."""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.judgement import Judgement, judge, no_calibration
from facesim_index.calibration.scorer import Scorer, normalised
from facesim_index.degrees.cautions import Traits, pair_cautions, traits_of
from facesim_index.degrees.gallery_scores import GalleryStatistics, scorer_of
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import Prior, resolve_prior
from facesim_index.errors import CalibrationError, IndexDamagedError, UsageError
from facesim_index.people.membership import NOBODY, Whose, whose_faces
from facesim_index.records import (
    EmbeddedFace,
    FaceId,
    FaceRecord,
    Float32Array,
    Float64Array,
    Int64Array,
    PictureReading,
)
from facesim_index.search.answers import FaceAnswer, Match, QueryAnswer
from facesim_index.search.one_picture import check_face, require_faces
from facesim_index.store.catalog import face_rows, picture_rows
from facesim_index.store.protocols import IndexView
from facesim_index.store.records import Neighbours

CANDIDATES_PER_MATCH = 10
MIN_CANDIDATES = 200
"""For each match that is wanted, and in all at least, so many faces that are nearest by cosine are
scored by a learned head."""

NORMALISED_PER_MATCH = 3
MIN_NORMALISED = 32
"""The same for normalised scores, whose order is nearly that of the cosines."""


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What a query shall answer.

    Attributes
    ----------
    top : int, default=10
        Most matches for each face, at least 1.
    face : int, optional
        Only this face of the query picture, left to right, from 0.
    min_degree : float, optional
        Only matches with at least this degree, in [0, 1].
    prior : float or "gallery", default="gallery"
        Probability, in (0, 1), that two faces show one person before they are looked at;
        ``gallery`` estimates it from the scores of the index itself.
    exclude_same_image : bool, default=False
        Leave out the faces of the query picture itself.
    exact : bool, default=False
        Compare with every face of the index.  Otherwise a large segment chooses candidates by
        its coarse codes, which misses at most 2 in 10,000 of the matches.  The cosines are exact
        either way.
    """

    top: int = 10
    face: int | None = None
    min_degree: float | None = None
    prior: Prior = "gallery"
    exclude_same_image: bool = False
    exact: bool = False

    def check(self) -> None:
        """Refuse what is out of range.

        Raises
        ------
        UsageError
            It names the option.
        """
        if self.top < 1:
            raise UsageError(f"top must be at least 1, not {self.top}")
        if self.min_degree is not None and not 0.0 <= self.min_degree <= 1.0:
            raise UsageError(f"min_degree must be from 0 to 1, not {self.min_degree}")


@dataclass(frozen=True, slots=True)
class _Query:
    """One face that is looked for."""

    number: int
    embedding: Float32Array
    face: EmbeddedFace | FaceRecord


def query_reading(
    view: IndexView, picture: PictureReading, name: str, options: QueryOptions | None = None
) -> QueryAnswer:
    """Return the indexed faces most similar to each face of a picture that was read already.

    Parameters
    ----------
    view : IndexView
    picture : PictureReading
        By the engine that the index was built with.
    name : str
        What the picture is called in the answer and in messages.
    options : QueryOptions, optional

    Returns
    -------
    QueryAnswer

    Raises
    ------
    PictureError
        The picture could not be read.
    NoFaceError
        It has no face.
    UsageError
        It has no face of that number, or an option is out of range.
    CalibrationError
        `min_degree` was given and there is no calibration, or the prior is not in (0, 1).
    """
    options = options or QueryOptions()
    options.check()
    faces = list(enumerate(require_faces(picture, name).faces))
    if options.face is not None:
        faces = [faces[check_face(name, picture, options.face)]]
    queries = [_Query(number, face.embedding, face) for number, face in faces]
    same = picture_rows.image_by_hash(view.transaction, picture.content_hash)
    own = (
        np.empty(0, dtype=np.int64)
        if same is None
        else face_rows.faces_of_images(view.transaction, [same.image_id])
    )
    return _answer(view, name, queries, own, None, options)


def query_face(
    view: IndexView, face_id: FaceId, options: QueryOptions | None = None
) -> QueryAnswer:
    """Return the indexed faces most similar to one that is in the index itself.

    Parameters
    ----------
    view : IndexView
    face_id : FaceId
    options : QueryOptions, optional
        `face` must be None.

    Returns
    -------
    QueryAnswer
        Without the face itself.

    Raises
    ------
    UsageError
        There is no such face, or an option is out of range.
    CalibrationError
        `min_degree` was given and there is no calibration, or the prior is not in (0, 1).
    """
    options = options or QueryOptions()
    options.check()
    found = face_rows.faces(view.transaction, face_rows.as_ids([face_id], view.location))
    if not found:
        raise UsageError(f"there is no face {face_id} in {view.location}")
    face = found[0]
    own = face_rows.faces_of_images(view.transaction, [face.image_id])
    embedding = view.embeddings(np.array([face_id], dtype=np.int64))[0]
    query = _Query(face.ordinal, embedding, face)
    return _answer(view, face.path, [query], own, face_id, options)


def _answer(
    view: IndexView,
    name: str,
    queries: list[_Query],
    own: Int64Array,
    itself: FaceId | None,
    options: QueryOptions,
) -> QueryAnswer:
    calibration = calibration_in_force(view)
    if calibration is None and options.min_degree is not None:
        raise CalibrationError(f"min_degree cannot be used: {no_calibration(view.identity)}")
    hidden = own if options.exclude_same_image else own[own == (itself or 0)]
    embeddings = np.stack([query.embedding for query in queries])
    scorer = scorer_of(view, calibration)
    found = _nearest(view, embeddings, options, hidden, scorer, itself)
    prior = resolve_prior(view, calibration, options.prior)
    n_left_out = view.n_left_out()
    n_faces = face_rows.n_faces(view.transaction) - len(hidden) - n_left_out
    return QueryAnswer(
        query=name,
        engine=str(view.identity),
        calibration=calibration.name if calibration else None,
        note=None if calibration else no_calibration(view.identity),
        prior=prior.value,
        faces=tuple(
            FaceAnswer(
                face=query.number,
                box=query.face.box,
                landmarks=query.face.landmarks,
                detection=query.face.detection,
                matches=matches_of(
                    view,
                    neighbours,
                    judge(neighbours.cosines, calibration, prior=prior.value, scores=scores),
                    own,
                    n_faces,
                    options.min_degree,
                    whose_faces(
                        view, query.embedding, neighbours.face_ids, own, calibration, prior.value
                    ),
                    traits_of([query.face], query.embedding[None], view.identity.key),
                ),
            )
            for query, (neighbours, scores) in zip(queries, found, strict=True)
        ),
        prior_source=prior.source,
        prior_low=prior.low,
        prior_high=prior.high,
        n_faces=n_faces,
        n_left_out=n_left_out,
        damaged_segments=view.left_out,
    )


def _nearest(
    view: IndexView,
    embeddings: Float32Array,
    options: QueryOptions,
    hidden: Int64Array,
    scorer: Scorer,
    itself: FaceId | None,
) -> list[tuple[Neighbours, Float64Array]]:
    """Return the faces with the highest scores, and those; ties by face id.

    The index is searched by cosine.  Where the scores are others, many more faces than are wanted
    are found by cosine, and scored exactly.
    """
    wanted = options.top
    if scorer.head.learned:
        wanted = max(MIN_CANDIDATES, CANDIDATES_PER_MATCH * options.top)
    elif not scorer.plain:
        wanted = max(MIN_NORMALISED, NORMALISED_PER_MATCH * options.top)
    found = view.search(embeddings, wanted, excluded=hidden, exact=options.exact)
    if scorer.plain:
        return [(neighbours, neighbours.cosines) for neighbours in found]
    best = []
    for query, near in zip(embeddings, found, strict=True):
        scores = scores_with(view, scorer, query, near, itself)
        order = np.lexsort((near.face_ids, -scores))[: options.top]
        best.append((Neighbours(near.face_ids[order], near.cosines[order]), scores[order]))
    return best


def scores_with(
    view: IndexView,
    scorer: Scorer,
    query: Float32Array,
    near: Neighbours,
    itself: FaceId | None = None,
) -> Float64Array:
    """Return the exact scores of one face with faces of an index.

    Parameters
    ----------
    view : IndexView
    scorer : Scorer
        Of that view.
    query : ndarray of shape (dimension,), float32
        Unit norm.
    near : Neighbours
        The faces, and their exact cosines with the query.
    itself : int, optional
        The face of the index that the query is.

    Returns
    -------
    ndarray of shape (n,), float64
        In [-1, 1].
    """
    source = scorer.source
    if not isinstance(source, GalleryStatistics):
        left = scorer.vectors(query[None])
        right = scorer.vectors(view.embeddings(near.face_ids), near.face_ids)
        return scorer.listed_scores(left, right)
    known = None if itself is None else np.array([itself], dtype=np.int64)
    of_query = scorer.factors(query[None], known)
    return normalised(near.cosines, of_query, source.factors_of(near.face_ids))


def matches_of(
    view: IndexView,
    neighbours: Neighbours,
    judgements: list[Judgement],
    own: Int64Array,
    n_faces: int,
    min_degree: float | None,
    people: dict[int, Whose],
    query: Traits,
) -> tuple[Match, ...]:
    """Return the matches that neighbours make, with their records and judgements.

    Parameters
    ----------
    view : IndexView
    neighbours : Neighbours
        Most similar first.
    judgements : list of Judgement
        One for each neighbour.
    own : ndarray of int64
        Faces of the picture that the query face is in.
    n_faces : int
        How many faces were searched.
    min_degree : float or None
        Leave out matches with a lower degree, in [0, 1].
    people : dict of int to Whose
        By face id, the person that a face is assigned to; unassigned faces are left out.
    query : Traits
        Of the query face.

    Returns
    -------
    tuple of Match
        In the order of the neighbours.

    Raises
    ------
    IndexDamagedError
        An embedding belongs to no face of the catalog, or a row is not as it was written.
    """
    records = face_rows.faces(view.transaction, neighbours.face_ids)
    if len(records) != len(neighbours.face_ids):
        raise IndexDamagedError(
            "an embedding belongs to no face of the catalog; run `facesim verify --repair`"
        )
    own_traits = traits_of(records, view.embeddings(neighbours.face_ids), view.identity.key)
    matches = [
        Match(
            rank=rank,
            face_id=face.face_id,
            path=face.path,
            paths=face.paths,
            box=face.box,
            landmarks=face.landmarks,
            cosine=judgement.cosine,
            degree=judgement.degree,
            log10_lr=judgement.log10_lr,
            same_image=face.face_id in own,
            degree_low=judgement.degree_low,
            degree_high=judgement.degree_high,
            fmr=judgement.fmr,
            expected_strangers=None if judgement.fmr is None else judgement.fmr * n_faces,
            at_bound=judgement.at_bound,
            person_id=whose.person_id,
            person=whose.name,
            person_degree=whose.degree,
            caution=caution,
        )
        for rank, (face, judgement, whose, caution) in enumerate(
            zip(
                records,
                judgements,
                (people.get(face.face_id, NOBODY) for face in records),
                pair_cautions(query, own_traits),
                strict=True,
            ),
            start=1,
        )
    ]
    if min_degree is None:
        return tuple(matches)
    return tuple(match for match in matches if (match.degree or 0.0) >= min_degree)
