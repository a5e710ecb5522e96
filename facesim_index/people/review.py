"""What a human should look at first: doubtful faces of people, and people who may be one."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.degree import cosine_at_degree
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.scorer import Scorer
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import Prior, resolve_prior
from facesim_index.people.evidence import (
    MIN_DETECTION,
    MIN_SIZE_PX,
    person_degree,
    summables,
    summed,
    usable_curve,
)
from facesim_index.records import FaceId, FaceRecord, Float32Array, Float64Array, Int64Array
from facesim_index.store.catalog import face_rows, people_rows
from facesim_index.store.catalog.people_rows import Assignments
from facesim_index.store.protocols import IndexView
from facesim_index.utils.notebook_hook import Shown

_ROWS_AT_ONCE = 512
_FACES_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class DoubtfulFace:
    """A face that is not much like the other faces of its person.

    Attributes
    ----------
    person_id : int
    name : str or None
        Of the person; None without a name.
    face_id : int
    path : str
        A file that shows the face.
    degree : float
        Probability that it shows one person with all the other faces.
    landmarks : ndarray of shape (5, 2), float32, or None
        In pixels of the upright picture, for cutting the face out of it.

    Examples
    --------
    >>> for face in index.people.review(top=2).doubtful:
    ...     print(face.person_id, Path(face.path).name, round(face.degree, 3))
    2 anna_and_ben.png 0.995
    2 ben.png 0.995
    """

    person_id: int
    name: str | None
    face_id: int
    path: str
    degree: float
    landmarks: Float32Array | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a likely merge: a person, or a face that is not assigned to anybody.

    Attributes
    ----------
    person_id : int or None
        None for a face.
    name : str or None
        Of the person; None without a name, and for a face.
    face_id : int or None
        None for a person.
    path : str
        A file that shows the face; empty for a person.
    n_faces : int
        How many faces the person has; 1 for a face.
    example : FaceRecord or None
        That face, or one of the person's, to show.
    """

    person_id: int | None
    name: str | None
    face_id: int | None
    path: str
    n_faces: int
    example: FaceRecord | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LikelyMerge:
    """Two people, or unassigned faces, who may be one person.

    Attributes
    ----------
    a, b : Side
        A person comes before a face.
    degree : float
        Probability that all faces of both show one person.

    Examples
    --------
    >>> new = index.people.split("Anna", [3])  # a mistake
    >>> for merge in index.people.review().merges:
    ...     print(merge.a.name, merge.b.person_id, round(merge.degree, 3))
    Anna 3 0.997
    """

    a: Side
    b: Side
    degree: float


@dataclass(frozen=True, slots=True)
class Review(Shown):
    """What a human should look at first.

    Attributes
    ----------
    doubtful : tuple of DoubtfulFace
        The least probable first, without faces that a human confirmed.
    merges : tuple of LikelyMerge
        The most probable first, as far as the evidence speaks for it.  People are left out who
        are ignored, share a photo, or were kept apart by a human.
    prior : float
        Probability, in (0, 1), of one person before looking.

    Examples
    --------
    >>> review = index.people.review()
    >>> len(review.doubtful), len(review.merges), round(review.prior, 2)
    (5, 0, 0.26)
    """

    doubtful: tuple[DoubtfulFace, ...]
    merges: tuple[LikelyMerge, ...]
    prior: float


@dataclass(frozen=True, slots=True)
class _Groups:
    """People, then unassigned faces, with the sums of their vectors.

    Attributes
    ----------
    ids : ndarray of shape (n,), int64
        Of people, then of faces.
    n_people : int
    sizes : ndarray of shape (n,), float64
        How many faces each has.
    sums : ndarray of shape (n, m), float32
        Of the summable vectors of those faces.
    scorer : Scorer
    """

    ids: Int64Array
    n_people: int
    sizes: Float64Array
    sums: Float32Array
    scorer: Scorer


def review_people(
    view: IndexView,
    *,
    top: int = 20,
    prior: Prior = "gallery",
    between: Callable[[], None] = lambda: None,
) -> Review:
    """Return the most doubtful faces and the most likely merges.

    Parameters
    ----------
    view : IndexView
    top : int, default=20
        Most of each.
    prior : float or "gallery", default="gallery"
        Probability, in (0, 1), of one person before looking.
    between : callable, optional
        Called between the parts of the work; what it raises ends it.

    Returns
    -------
    Review

    Raises
    ------
    CalibrationError
        There is no calibration, or it is of a kind by which people cannot be told apart; or the
        prior is not in (0, 1).
    """
    calibration = usable_curve(calibration_in_force(view))
    value = resolve_prior(view, calibration, prior).value
    found = people_rows.assignments(view.transaction)
    between()
    groups = _groups(view, found, scorer_of(view, calibration), between)
    doubtful = _doubtful(view, found, groups, calibration, value, top, between)
    merges = _merges(view, found, groups, calibration, value, top, between)
    return Review(doubtful, merges, value)


def doubtful_faces(
    view: IndexView, person_id: int, *, prior: Prior = "gallery"
) -> list[tuple[FaceId, float]]:
    """Return the faces of a person that no human confirmed, the least probable first.

    Parameters
    ----------
    view : IndexView
    person_id : int
    prior : float or "gallery", default="gallery"
        Probability, in (0, 1), of one person before looking.

    Returns
    -------
    list of (FaceId, float)
        With the probability that the face shows one person with all the others; empty for a
        person of one face.

    Raises
    ------
    CalibrationError
        There is no calibration, or it is of a kind by which people cannot be told apart; or the
        prior is not in (0, 1).
    """
    calibration = usable_curve(calibration_in_force(view))
    value = resolve_prior(view, calibration, prior).value
    found = people_rows.assignments_of(view.transaction, [person_id])
    others = np.float64(len(found.face_ids) - 1)
    asked = found.face_ids[~found.confirmed]
    if others < 1 or not len(asked):
        return []
    scorer = scorer_of(view, calibration)
    total = summed(found.face_ids, view, scorer)
    parts = [asked[i : i + _FACES_AT_ONCE] for i in range(0, len(asked), _FACES_AT_ONCE)]
    degrees = np.concatenate(
        [_support(part, total[None], others, view, scorer, calibration, value) for part in parts]
    )
    order = np.lexsort((asked, degrees))
    return [(FaceId(int(asked[i])), float(degrees[i])) for i in order]


def _groups(
    view: IndexView, found: Assignments, scorer: Scorer, between: Callable[[], None]
) -> _Groups:
    people, sizes = np.unique(found.person_ids, return_counts=True)
    order = np.argsort(found.person_ids, kind="stable")
    starts = np.searchsorted(found.person_ids[order], people)
    face_ids, _, bars = people_rows.face_bars(view.transaction)
    good = (bars[:, 0] >= MIN_DETECTION) & (bars[:, 1] >= MIN_SIZE_PX)
    lone = np.setdiff1d(face_ids[good], found.face_ids, assume_unique=True)
    sums = [
        summables(lone[start : start + _FACES_AT_ONCE], view, scorer).astype(np.float32)
        for start in range(0, max(1, len(lone)), _FACES_AT_ONCE)
    ]
    if len(people):
        parts = zip(starts.tolist(), sizes.tolist(), strict=True)
        of_people = []
        for start, size in parts:
            between()
            faces = found.face_ids[order[start : start + size]]
            of_people.append(summed(faces, view, scorer))
        sums.insert(0, np.stack(of_people).astype(np.float32))
    return _Groups(
        np.concatenate([people, lone]),
        len(people),
        np.concatenate([sizes, np.ones(len(lone))]).astype(np.float64),
        np.concatenate(sums),
        scorer,
    )


def _doubtful(
    view: IndexView,
    found: Assignments,
    groups: _Groups,
    calibration: Calibration,
    prior: float,
    top: int,
    between: Callable[[], None],
) -> tuple[DoubtfulFace, ...]:
    people = groups.ids[: groups.n_people]
    place = np.searchsorted(people, found.person_ids)
    asked = np.flatnonzero((groups.sizes[place] > 1) & ~found.confirmed)
    degrees = np.empty(len(asked))
    for start in range(0, len(asked), _FACES_AT_ONCE):
        between()
        part = slice(start, start + _FACES_AT_ONCE)
        rows = asked[part]
        others = groups.sizes[place[rows]] - 1.0
        sums = groups.sums[place[rows]]
        asked_ids = found.face_ids[rows]
        degrees[part] = _support(asked_ids, sums, others, view, groups.scorer, calibration, prior)
    worst = np.lexsort((asked, degrees))[:top]
    names = {row.person_id: row.name for row in people_rows.persons(view.transaction, people)}
    records = face_rows.faces(view.transaction, found.face_ids[asked[worst]])
    return tuple(
        DoubtfulFace(person, names[person], record.face_id, record.path, degree, record.landmarks)
        for person, record, degree in zip(
            found.person_ids[asked[worst]].tolist(), records, degrees[worst].tolist(), strict=True
        )
    )


def _support(
    face_ids: Int64Array,
    sums: Float32Array | Float64Array,
    others: Float64Array | np.float64,
    view: IndexView,
    scorer: Scorer,
    calibration: Calibration,
    prior: float,
) -> Float64Array:
    """Return the probability that each face shows one person with the others of its group.

    `sums` are the sums of the groups with the faces themselves, `others` counts the other faces.
    """
    vectors = summables(face_ids, view, scorer)
    means = np.einsum("ij,ij->i", vectors, scorer.opposite(sums - vectors)) / others
    return person_degree(means, np.broadcast_to(others, means.shape), calibration, prior=prior)


def _merges(
    view: IndexView,
    found: Assignments,
    groups: _Groups,
    calibration: Calibration,
    prior: float,
    top: int,
    between: Callable[[], None],
) -> tuple[LikelyMerge, ...]:
    people = groups.ids[: groups.n_people]
    rows = {row.person_id: row for row in people_rows.persons(view.transaction, people)}
    ignored = np.zeros(len(groups.ids), dtype=np.bool_)
    ignored[: len(people)] = [rows[person].ignored for person in people.tolist()]
    one, other, degrees = _likely(
        groups, _barred(view, found, groups), ignored, calibration, prior, top, between
    )
    places = np.union1d(one, other)
    examples = _examples(view, found, groups, places)

    def side(place: int) -> Side:
        number, example = int(groups.ids[place]), examples[place]
        if place >= groups.n_people:
            return Side(None, None, number, example.path, 1, example)
        return Side(number, rows[number].name, None, "", rows[number].n_faces, example)

    return tuple(
        LikelyMerge(side(a), side(b), degree)
        for a, b, degree in zip(one.tolist(), other.tolist(), degrees.tolist(), strict=True)
    )


def _examples(
    view: IndexView, found: Assignments, groups: _Groups, places: Int64Array
) -> dict[int, FaceRecord]:
    """Return one face of each group: the unassigned face itself, or the first of a person."""
    faces = groups.ids[places].copy()
    of_people = places < groups.n_people
    order = np.argsort(found.person_ids, kind="stable")
    first = np.searchsorted(found.person_ids[order], faces[of_people])
    faces[of_people] = found.face_ids[order[first]]
    return dict(zip(places.tolist(), face_rows.faces(view.transaction, faces), strict=True))


def _likely(
    groups: _Groups,
    barred: set[tuple[int, int]],
    ignored: NDArray[np.bool_],
    calibration: Calibration,
    prior: float,
    top: int,
    between: Callable[[], None],
) -> tuple[Int64Array, Int64Array, Float64Array]:
    """Return the places and degrees of groups that may be one person, the most probable first."""
    least = cosine_at_degree(
        0.5, calibration, prior=0.5
    )  # from here on evidence is for, not against
    best: list[tuple[float, int, int]] = []
    means_of: Float32Array = np.divide(groups.sums, groups.sizes[:, None], dtype=np.float32)
    opposite = groups.scorer.opposite(means_of)
    for start in range(0, len(groups.ids), _ROWS_AT_ONCE):
        between()
        means = np.asarray(means_of[start : start + _ROWS_AT_ONCE] @ opposite.T, np.float32)
        row, column = np.nonzero(means >= least)
        later = (row + start < column) & ~ignored[row + start] & ~ignored[column]
        row, column = row[later], column[later]
        n_pairs = groups.sizes[row + start] * groups.sizes[column]
        degrees = person_degree(means[row, column], n_pairs, calibration, prior=prior)
        places = zip(degrees.tolist(), (row + start).tolist(), column.tolist(), strict=True)
        best += [entry for entry in places if entry[1:] not in barred]
        best = sorted(best, key=lambda entry: (-entry[0], entry[1:]))[:top]
    return (
        np.array([entry[1] for entry in best], dtype=np.int64),
        np.array([entry[2] for entry in best], dtype=np.int64),
        np.array([entry[0] for entry in best], dtype=np.float64),
    )


def _barred(view: IndexView, found: Assignments, groups: _Groups) -> set[tuple[int, int]]:
    """Return the pairs of groups that cannot be one person: kept apart, or seen in one photo."""
    place = np.searchsorted(groups.ids[: groups.n_people], found.person_ids)
    group_of = dict(zip(found.face_ids.tolist(), place.tolist(), strict=True))
    lone = groups.ids[groups.n_people :].tolist()
    group_of |= {face: groups.n_people + number for number, face in enumerate(lone)}
    faces = np.array(sorted(group_of), dtype=np.int64)
    a, b = face_rows.faces_of_same_images(view.transaction, faces)
    apart = [*zip(a.tolist(), b.tolist(), strict=True), *people_rows.faces_apart(view.transaction)]
    return {
        (min(group_of[one], group_of[other]), max(group_of[one], group_of[other]))
        for one, other in apart
        if one != other and one in group_of and other in group_of
    }
