"""What a human should look at first: doubtful faces of people, and people who may be one."""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration import Calibration
from facesim_index.catalog import people as catalog
from facesim_index.catalog import reading
from facesim_index.catalog.people import Assignments
from facesim_index.people_evidence import person_degree, summed, usable_curve
from facesim_index.prior import Prior, resolve_prior
from facesim_index.records import Float64Array, Int64Array
from facesim_index.store import Store, View

_ROWS_AT_ONCE = 512
_FACES_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class DoubtfulFace:
    """A face that its person's other faces hardly support.

    Attributes
    ----------
    person_id : int
    name : str or None
    face_id : int
    path : str
    degree : float
        Probability that it is one person's with all the others.
    """

    person_id: int
    name: str | None
    face_id: int
    path: str
    degree: float


@dataclass(frozen=True, slots=True)
class LikelyMerge:
    """Two people who may be one.

    Attributes
    ----------
    person_a, person_b : int
    name_a, name_b : str or None
    n_faces_a, n_faces_b : int
    degree : float
        Probability that all faces of both show one person.
    """

    person_a: int
    person_b: int
    name_a: str | None
    name_b: str | None
    n_faces_a: int
    n_faces_b: int
    degree: float


@dataclass(frozen=True, slots=True)
class Review:
    """What to look at.

    Attributes
    ----------
    doubtful : tuple of DoubtfulFace
        Least probable first; faces that a human confirmed are not among them.
    merges : tuple of LikelyMerge
        Most probable first; people that a human kept apart, who share a photo, or who are
        ignored are not among them.
    prior : float
    """

    doubtful: tuple[DoubtfulFace, ...]
    merges: tuple[LikelyMerge, ...]
    prior: float


@dataclass(frozen=True, slots=True)
class _People:
    """The people of an index and the sums of their faces' vectors."""

    ids: Int64Array
    sizes: Float64Array
    sums: Float64Array


def review_people(store: Store, *, top: int = 20, prior: Prior = "gallery") -> Review:
    """Return the most doubtful faces and the most likely merges.

    Parameters
    ----------
    store : Store
    top : int, default=20
        Most of each.
    prior : float or "gallery", default="gallery"

    Returns
    -------
    Review

    Raises
    ------
    CalibrationError
        There is no calibration that people can be told apart by.
    """
    curve = usable_curve(store.calibration())
    with store.view() as view:
        value = resolve_prior(store, view, curve, prior).value
        found = catalog.assignments(view.transaction)
        if not len(found.face_ids):
            return Review((), (), value)
        people = _sums(view, found, curve)
        doubtful = _doubtful(view, found, people, curve, value, top)
        merges = _merges(view, found, people, curve, value, top)
    return Review(doubtful, merges, value)


def _sums(view: View, found: Assignments, curve: Calibration) -> _People:
    ids, sizes = np.unique(found.person_ids, return_counts=True)
    order = np.argsort(found.person_ids, kind="stable")
    starts = np.searchsorted(found.person_ids[order], ids)
    sums = [
        summed(found.face_ids[order[start : start + size]], view, curve)
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
    ]
    return _People(ids, sizes.astype(np.float64), np.stack(sums))


def _doubtful(
    view: View, found: Assignments, people: _People, curve: Calibration, prior: float, top: int
) -> tuple[DoubtfulFace, ...]:
    place = np.searchsorted(people.ids, found.person_ids)
    asked = np.flatnonzero((people.sizes[place] > 1) & ~found.confirmed)
    degrees = np.empty(len(asked))
    for start in range(0, len(asked), _FACES_AT_ONCE):
        part = slice(start, start + _FACES_AT_ONCE)
        rows = asked[part]
        vectors = curve.head.transform(view.embeddings(found.face_ids[rows])).astype(np.float64)
        others = people.sizes[place[rows]] - 1.0
        rest = people.sums[place[rows]] - vectors
        means = np.einsum("ij,ij->i", vectors, rest) / others
        degrees[part] = person_degree(means, others, curve, prior=prior)
    worst = np.lexsort((asked, degrees))[:top]
    names = {row.person_id: row.name for row in catalog.persons(view.transaction, people.ids)}
    records = reading.faces(view.transaction, found.face_ids[asked[worst]])
    return tuple(
        DoubtfulFace(person, names[person], record.face_id, record.path, degree)
        for person, record, degree in zip(
            found.person_ids[asked[worst]].tolist(), records, degrees[worst].tolist(), strict=True
        )
    )


def _merges(
    view: View, found: Assignments, people: _People, curve: Calibration, prior: float, top: int
) -> tuple[LikelyMerge, ...]:
    rows = {row.person_id: row for row in catalog.persons(view.transaction, people.ids)}
    ignored = np.array([rows[person].ignored for person in people.ids.tolist()])
    barred = _barred(view, found, people)
    best: list[tuple[float, int, int]] = []
    for start in range(0, len(people.ids), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(people.ids))
        n_pairs = people.sizes[start:stop, None] * people.sizes[None]
        means = people.sums[start:stop] @ people.sums.T / n_pairs
        degrees = person_degree(means.ravel(), n_pairs.ravel(), curve, prior=prior)
        degrees = degrees.reshape(means.shape)
        here = np.arange(start, stop)
        degrees[here[:, None] >= np.arange(len(people.ids))] = -1.0
        degrees[:, ignored] = -1.0
        degrees[ignored[start:stop]] = -1.0
        for one, other in barred:
            if start <= one < stop:
                degrees[one - start, other] = -1.0
        flat = np.argpartition(-degrees.ravel(), min(top, degrees.size - 1))[:top]
        place = [np.unravel_index(int(number), degrees.shape) for number in flat]
        best += [(float(degrees[a, b]), start + int(a), int(b)) for a, b in place]
    best = sorted((entry for entry in best if entry[0] >= 0.0), key=lambda e: (-e[0], e[1], e[2]))
    named = [
        (degree, rows[int(people.ids[one])], rows[int(people.ids[other])])
        for degree, one, other in best[:top]
    ]
    return tuple(
        LikelyMerge(a.person_id, b.person_id, a.name, b.name, a.n_faces, b.n_faces, degree)
        for degree, a, b in named
    )


def _barred(view: View, found: Assignments, people: _People) -> set[tuple[int, int]]:
    """Return the places of people who cannot be one: kept apart, or seen in one photo."""
    place = np.searchsorted(people.ids, found.person_ids)
    row_of = {int(face): int(row) for face, row in zip(found.face_ids, place, strict=True)}
    a, b = reading.faces_of_same_images(view.transaction, found.face_ids)
    apart = [*zip(a.tolist(), b.tolist(), strict=True), *catalog.faces_apart(view.transaction)]
    pairs = set()
    for one, other in apart:
        if one in row_of and other in row_of and row_of[one] != row_of[other]:
            pairs.add((min(row_of[one], row_of[other]), max(row_of[one], row_of[other])))
    return pairs
