"""Query and compare: from a picture to faces, with the degree that they are one person's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.calibration.degree import Calibration
from facesim_index.calibration.heads import COSINE, Head
from facesim_index.calibration.judgement import Judgement, judge, no_calibration
from facesim_index.degrees.prior import Prior, resolve_prior
from facesim_index.engine.loading import FaceEngine
from facesim_index.engine.reading import read_picture
from facesim_index.errors import (
    CalibrationError,
    IndexDamagedError,
    NoFaceError,
    PictureError,
    UsageError,
)
from facesim_index.people.membership import NOBODY, Whose, whose_faces
from facesim_index.records import (
    Comparison,
    EmbeddedFace,
    EngineIdentity,
    FaceAnswer,
    FaceId,
    FaceRecord,
    Float32Array,
    Float64Array,
    Int64Array,
    Match,
    PictureReading,
    QueryAnswer,
)
from facesim_index.store.catalog import picture_rows
from facesim_index.store.segments.segment import Neighbours
from facesim_index.store.store import Store, View

CANDIDATES_PER_MATCH = 10
MIN_CANDIDATES = 200
"""A learned head orders these many faces, nearest by cosine, for each match that is wanted."""


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
        Only matches with at least this degree.
    prior : float or "gallery", default="gallery"
        Probability of a genuine pair before looking, in (0, 1); ``gallery`` estimates it from
        the scores of the index itself.
    exclude_same_image : bool, default=False
        Leave out the faces of the query picture itself.
    exact : bool, default=False
        Compare with every face of the index.  Otherwise a large segment chooses candidates by
        its coarse codes, which misses at most 2 in 10,000 of the matches; the cosines are exact
        either way.
    """

    top: int = 10
    face: int | None = None
    min_degree: float | None = None
    prior: Prior = "gallery"
    exclude_same_image: bool = False
    exact: bool = False


@dataclass(frozen=True, slots=True)
class _Query:
    """One face that is looked for."""

    number: int
    embedding: Float32Array
    face: EmbeddedFace | FaceRecord


def query_picture(
    store: Store, engine: FaceEngine, path: Path, options: QueryOptions | None = None
) -> QueryAnswer:
    """Return the indexed faces most similar to each face of a picture.

    Parameters
    ----------
    store : Store
    engine : FaceEngine
        The one the index was built with.
    path : Path
    options : QueryOptions, optional

    Returns
    -------
    QueryAnswer

    Raises
    ------
    EngineMismatchError
        The index was built with other weights.
    PictureError
        The picture cannot be read.
    NoFaceError
        It has no face.
    UsageError
        It has no face of that number, or an option is out of range.
    CalibrationError
        `min_degree` was given and there is no calibration, or the prior is not in (0, 1).
    """
    store.check_engine(engine.identity)
    return query_reading(store, read_faces(engine, path), str(path), options)


def query_reading(
    store: Store, picture: PictureReading, name: str, options: QueryOptions | None = None
) -> QueryAnswer:
    """Return the indexed faces most similar to each face of a picture that was read already.

    Parameters
    ----------
    store : Store
    picture : PictureReading
        By the engine the index was built with.
    name : str
        What the picture is called in the answer and in messages.
    options : QueryOptions, optional

    Returns
    -------
    QueryAnswer

    Raises
    ------
    PictureError, NoFaceError, UsageError, CalibrationError
        As `query_picture`.
    """
    options = options or QueryOptions()
    faces = list(enumerate(require_faces(picture, name).faces))
    if options.face is not None:
        faces = [faces[check_face(name, picture, options.face)]]
    queries = [_Query(number, face.embedding, face) for number, face in faces]
    with store.view(partial=True) as view:
        same = picture_rows.image_by_hash(view.transaction, picture.content_hash)
        own = (
            np.empty(0, dtype=np.int64)
            if same is None
            else picture_rows.faces_of_images(view.transaction, [same.image_id])
        )
        return _answer(store, view, name, queries, own, None, options)


def query_face(store: Store, face_id: FaceId, options: QueryOptions | None = None) -> QueryAnswer:
    """Return the indexed faces most similar to one that is in the index itself.

    Parameters
    ----------
    store : Store
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
        As `query_picture`.
    """
    options = options or QueryOptions()
    with store.view(partial=True) as view:
        found = picture_rows.faces(view.transaction, np.array([face_id], dtype=np.int64))
        if not found:
            raise UsageError(f"there is no face {face_id} in {store.folder}")
        face = found[0]
        own = picture_rows.faces_of_images(view.transaction, [face.image_id])
        embedding = view.embeddings(np.array([face_id], dtype=np.int64))[0]
        query = _Query(face.ordinal, embedding, face)
        return _answer(store, view, face.path, [query], own, face_id, options)


def compare_pictures(
    engine: FaceEngine,
    path_a: Path,
    path_b: Path,
    curve: Calibration | None,
    *,
    face_a: int | None = None,
    face_b: int | None = None,
    prior: float = 0.5,
) -> Comparison:
    """Return the degree that a face of one picture and a face of another are one person's.

    Parameters
    ----------
    engine : FaceEngine
    path_a, path_b : Path
    curve : Calibration or None
        For this engine.
    face_a, face_b : int, optional
        Which face, left to right, from 0; the largest when None.
    prior : float, default=0.5

    Returns
    -------
    Comparison

    Raises
    ------
    PictureError, NoFaceError, UsageError, CalibrationError
    """
    return compare_readings(
        engine.identity,
        (read_faces(engine, path_a), read_faces(engine, path_b)),
        (str(path_a), str(path_b)),
        curve,
        faces=(face_a, face_b),
        prior=prior,
    )


def compare_readings(
    identity: EngineIdentity,
    pictures: tuple[PictureReading, PictureReading],
    names: tuple[str, str],
    curve: Calibration | None,
    *,
    faces: tuple[int | None, int | None] = (None, None),
    prior: float = 0.5,
) -> Comparison:
    """Return the degree that two pictures that were read already show one person.

    Parameters
    ----------
    identity : EngineIdentity
        Of the engine that read them.
    pictures : tuple of PictureReading
    names : tuple of str
        What they are called in the comparison and in messages.
    curve : Calibration or None
    faces : tuple of int or None
        As for `compare_pictures`.
    prior : float, default=0.5

    Returns
    -------
    Comparison

    Raises
    ------
    PictureError, NoFaceError, UsageError, CalibrationError
    """
    a, b = (require_faces(picture, name) for picture, name in zip(pictures, names, strict=True))
    number_a, number_b = (
        _largest(picture) if face is None else check_face(name, picture, face)
        for picture, name, face in zip(pictures, names, faces, strict=True)
    )
    chosen_a, chosen_b = a.faces[number_a], b.faces[number_b]
    product = chosen_a.embedding.astype(np.float64) @ chosen_b.embedding.astype(np.float64)
    cosine = np.clip([product], -1.0, 1.0)
    scores = None
    if curve is not None and curve.head.learned:
        scores = face_scores(curve.head, chosen_a.embedding, chosen_b.embedding[None])
    [judgement] = judge(cosine, curve, prior=prior, scores=scores)
    return Comparison(
        path_a=names[0],
        path_b=names[1],
        face_a=number_a,
        face_b=number_b,
        n_faces_a=len(a.faces),
        n_faces_b=len(b.faces),
        box_a=chosen_a.box,
        box_b=chosen_b.box,
        cosine=judgement.cosine,
        degree=judgement.degree,
        log10_lr=judgement.log10_lr,
        prior=prior,
        engine=str(identity),
        calibration=curve.name if curve else None,
        note=None if curve else no_calibration(identity),
        degree_low=judgement.degree_low,
        degree_high=judgement.degree_high,
        fmr=judgement.fmr,
        at_bound=judgement.at_bound,
        landmarks_a=chosen_a.landmarks,
        landmarks_b=chosen_b.landmarks,
    )


def _answer(
    store: Store,
    view: View,
    name: str,
    queries: list[_Query],
    own: Int64Array,
    itself: FaceId | None,
    options: QueryOptions,
) -> QueryAnswer:
    if options.top < 1:
        raise UsageError(f"top must be at least 1, not {options.top}")
    curve = store.calibration(view)
    if curve is None and options.min_degree is not None:
        raise CalibrationError(f"min_degree cannot be used: {no_calibration(store.identity)}")
    hidden = own if options.exclude_same_image else own[own == (itself or 0)]
    embeddings = np.stack([query.embedding for query in queries])
    head = COSINE if curve is None else curve.head
    found = _nearest(view, embeddings, options, hidden, head)
    prior = resolve_prior(store, view, curve, options.prior)
    n_left_out = view.n_left_out()
    n_faces = picture_rows.n_faces(view.transaction) - len(hidden) - n_left_out
    return QueryAnswer(
        query=name,
        engine=str(store.identity),
        calibration=curve.name if curve else None,
        note=None if curve else no_calibration(store.identity),
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
                    judge(neighbours.cosines, curve, prior=prior.value, scores=scores),
                    own,
                    n_faces,
                    options.min_degree,
                    whose_faces(
                        view, query.embedding, neighbours.face_ids, own, curve, prior.value
                    ),
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
    view: View, embeddings: Float32Array, options: QueryOptions, hidden: Int64Array, head: Head
) -> list[tuple[Neighbours, Float64Array]]:
    """Return the faces most alike by a head, and their scores; ties by face id.

    A learned head scores the nearest faces by cosine exactly, far more than are wanted.
    """
    wanted = options.top
    if head.learned:
        wanted = max(MIN_CANDIDATES, CANDIDATES_PER_MATCH * options.top)
    found = view.search(embeddings, wanted, excluded=hidden, exact=options.exact)
    if not head.learned:
        return [(neighbours, neighbours.cosines) for neighbours in found]
    best = []
    for query, near in zip(embeddings, found, strict=True):
        scores = face_scores(head, query, view.embeddings(near.face_ids))
        order = np.lexsort((near.face_ids, -scores))[: options.top]
        best.append((Neighbours(near.face_ids[order], near.cosines[order]), scores[order]))
    return best


def face_scores(head: Head, query: Float32Array, others: Float32Array) -> Float64Array:
    """Return the exact scores of one face with others."""
    left, right = head.transform(query[None]), head.transform(others)
    return np.clip(head.listed_scores(left, right), -1.0, 1.0)


def matches_of(
    view: View,
    neighbours: Neighbours,
    judgements: list[Judgement],
    own: Int64Array,
    n_faces: int,
    min_degree: float | None,
    people: dict[int, Whose],
) -> tuple[Match, ...]:
    """Return neighbours with their records and what is said of them, in order."""
    records = picture_rows.faces(view.transaction, neighbours.face_ids)
    if len(records) != len(neighbours.face_ids):
        raise IndexDamagedError(
            "an embedding belongs to no face of the catalog; run `facesim verify --repair`"
        )
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
        )
        for rank, (face, judgement, whose) in enumerate(
            zip(
                records,
                judgements,
                (people.get(face.face_id, NOBODY) for face in records),
                strict=True,
            ),
            start=1,
        )
    ]
    if min_degree is None:
        return tuple(matches)
    return tuple(match for match in matches if (match.degree or 0.0) >= min_degree)


def read_faces(engine: FaceEngine, path: Path) -> PictureReading:
    """Read a picture that must show a face; whatever is wrong with it is raised."""
    try:
        picture = read_picture(path, engine)
    except PictureError as error:
        raise PictureError(error.code, f"{path}: {error.message}") from error
    return require_faces(picture, str(path))


def require_faces(picture: PictureReading, name: str) -> PictureReading:
    """Return the reading of a picture that must show a face; what is wrong with it is raised."""
    if picture.failure is not None:
        raise PictureError(picture.failure.code, f"{name}: {picture.failure.message}")
    if not picture.faces:
        raise NoFaceError(f"no face found in {name}; try a picture in which it is larger")
    return picture


def check_face(name: str, picture: PictureReading, number: int) -> int:
    """Return the number of a face, after seeing that the picture has one of that number."""
    if not 0 <= number < len(picture.faces):
        raise UsageError(
            f"{name} has no face {number}; how many it has: {len(picture.faces)} "
            "(numbered from 0, left to right)"
        )
    return number


def _largest(picture: PictureReading) -> int:
    return max(
        range(len(picture.faces)),
        key=lambda number: picture.faces[number].box.w * picture.faces[number].box.h,
    )
