"""Group the faces of an index into people, and keep to what is known of them.

A face that a human assigned stays where it is.  `cluster_people` lets the other faces join the
people that there are, and makes new people of faces that are alike.  With `full` it first
forgets what it found before; afterwards numbers and names go where most of the faces go.  A face
that is like no other is not assigned to anybody: a person has at least two faces, unless a human
made it of one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.degree import cosine_at_degree
from facesim_index.calibration.record import Calibration
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import Prior, resolve_prior
from facesim_index.errors import UsageError
from facesim_index.pairs.blocks import load
from facesim_index.pairs.links import nearest_links
from facesim_index.people.clustering import UNASSIGNED, Known, cluster
from facesim_index.people.evidence import MIN_DETECTION, MIN_SIZE_PX, person_log10_lr, usable_curve
from facesim_index.records import Float64Array, Int64Array
from facesim_index.store.catalog import people_rows
from facesim_index.store.catalog.people_rows import Assignments, Change, PersonRow
from facesim_index.store.protocols import IndexStore, IndexView
from facesim_index.utils.progress import Progress, ProgressUpdate, ignore

LINK_DEGREE = 0.05
"""Groups are compared when two of their faces have at least this degree."""


@dataclass(frozen=True, slots=True)
class PeopleOptions:
    """How faces are grouped into people.

    Attributes
    ----------
    full : bool, default=False
        Group every face anew except those that a human assigned; otherwise only the faces that
        are not assigned to anybody.
    min_degree : float, default=0.5
        Two groups are merged when the probability that they show one person is at least this; in
        (0, 1).
    min_detection : float, default=0.6
        Leave out faces with a lower detection score, in [0, 1], unless a human assigned them.
    min_size_px : float, default=24
        Leave out faces with a shorter side, unless a human assigned them.
    prior : float or "gallery", default="gallery"
        Probability, in (0, 1), that two faces show one person before they are looked at;
        ``gallery`` estimates it from the scores of the index itself.

    Examples
    --------
    >>> from facesim_index import PeopleOptions
    >>> strict = PeopleOptions(full=True, min_degree=0.9)
    >>> index.people.cluster(strict).people
    2
    """

    full: bool = False
    min_degree: float = 0.5
    min_detection: float = MIN_DETECTION
    min_size_px: float = MIN_SIZE_PX
    prior: Prior = "gallery"


@dataclass(frozen=True, slots=True)
class PeopleSummary:
    """What came of grouping the faces of an index.

    Attributes
    ----------
    people, people_new : int
        How many people there are now, and how many of them were not there before.
    faces_joined : int
        Faces that were assigned now, or were assigned to another person before.
    faces_released : int
        Faces that were assigned before, and are not any more.
    faces_placed : int
        Faces that are assigned to a person now.
    faces_alone : int
        Faces that are like no other.
    faces_waiting : int
        Faces that were left out because of `min_detection` or `min_size_px`.
    names_lost : tuple of str
        Names of people whose faces all went to people with another name.
    prior : float
        Probability, in (0, 1), of one person before looking.

    Examples
    --------
    >>> from facesim_index import PeopleOptions
    >>> summary = index.people.cluster(PeopleOptions(full=True))
    >>> summary.people, summary.faces_placed, summary.faces_alone, summary.names_lost
    (2, 5, 1, ())
    """

    people: int
    people_new: int
    faces_joined: int
    faces_released: int
    faces_placed: int
    faces_alone: int
    faces_waiting: int
    names_lost: tuple[str, ...]
    prior: float


@dataclass(frozen=True, slots=True)
class _Faces:
    """The faces to group: first those that are free to go anywhere, then those that are bound."""

    ids: Int64Array
    images: Int64Array
    person: Int64Array
    bound: NDArray[np.bool_]
    n_free: int
    n_waiting: int


def cluster_people(
    store: IndexStore, options: PeopleOptions | None = None, *, progress: Progress = ignore
) -> PeopleSummary:
    """Group the faces of an index into people; it can be undone.

    Parameters
    ----------
    store : IndexStore
        Writable.
    options : PeopleOptions, optional
    progress : callable, optional
        Called now and then with a `ProgressUpdate`.

    Returns
    -------
    PeopleSummary

    Raises
    ------
    CalibrationError
        There is no calibration, or it is of a kind by which people cannot be told apart.
    UsageError
        An option is out of range.
    """
    options = options or PeopleOptions()
    if not 0.0 < options.min_degree < 1.0:
        raise UsageError(f"min_degree must be between 0 and 1, not {options.min_degree}")
    if not 0.0 <= options.min_detection <= 1.0:
        raise UsageError(f"min_detection must be from 0 to 1, not {options.min_detection}")
    if not 0.0 <= options.min_size_px < math.inf:
        raise UsageError(f"min_size_px must be 0 or more pixels, not {options.min_size_px}")
    with store.view() as view:
        calibration = usable_curve(calibration_in_force(view))
        prior = resolve_prior(view, calibration, options.prior).value
        before = people_rows.assignments(view.transaction)
        known = people_rows.persons(view.transaction)
        faces = _faces(view, before, options)

        def on_rows(done: int) -> None:
            progress(ProgressUpdate("comparing faces", done, faces.n_free))

        labels = _labels(view, faces, calibration, prior, options.min_degree, on_rows)
    after = _people_of_labels(faces, labels, known)
    return _store_people(store, faces, after, before, known, prior)


def _faces(view: IndexView, before: Assignments, options: PeopleOptions) -> _Faces:
    ids, images, bars = people_rows.face_bars(view.transaction)
    person = np.full(len(ids), UNASSIGNED, dtype=np.int64)
    place = np.searchsorted(ids, before.face_ids)
    person[place] = before.person_ids
    bound = np.zeros(len(ids), dtype=np.bool_)
    bound[place] = before.confirmed | (not options.full)
    good = (bars[:, 0] >= options.min_detection) & (bars[:, 1] >= options.min_size_px)
    free = good & ~bound
    chosen = np.concatenate([np.flatnonzero(free), np.flatnonzero(bound)])
    return _Faces(
        ids[chosen],
        images[chosen],
        person[chosen],
        bound[chosen],
        int(free.sum()),
        int((~good & ~bound).sum()),
    )


def _labels(
    view: IndexView,
    faces: _Faces,
    calibration: Calibration,
    prior: float,
    min_degree: float,
    on_rows: Callable[[int], None],
) -> Int64Array:
    """Return a label for each of the faces: the row of one face of its person."""
    loaded = load(faces.ids, view, scorer_of(view, calibration))
    least = cosine_at_degree(min(LINK_DEGREE, min_degree), calibration, prior=prior)
    links = nearest_links(loaded, least, n_new=faces.n_free, on_rows=on_rows)

    def evidence(means: Float64Array, n_pairs: Float64Array) -> Float64Array:
        return person_log10_lr(means, n_pairs, calibration)

    known = Known(
        np.where(faces.bound, faces.person, UNASSIGNED),
        _marks(faces, people_rows.faces_apart(view.transaction)),
    )
    enough = math.log10(1.0 - prior) - math.log10(prior)
    enough += math.log10(min_degree) - math.log10(1.0 - min_degree)
    return cluster(loaded, links, known, evidence, enough)


def _marks(faces: _Faces, apart: list[tuple[int, int]]) -> dict[int, set[int]]:
    """Return the marks of faces: of a photo with several faces, and of two that are kept apart."""
    _, photo, counts = np.unique(faces.images, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(counts[photo] > 1)
    marks: dict[int, set[int]] = {row: {int(photo[row])} for row in shared.tolist()}
    row_of = {int(face): row for row, face in enumerate(faces.ids.tolist())} if apart else {}
    for number, (one, other) in enumerate(apart, start=1):
        if one in row_of and other in row_of:
            marks.setdefault(row_of[one], set()).add(-number)
            marks.setdefault(row_of[other], set()).add(-number)
    return marks


def _people_of_labels(faces: _Faces, labels: Int64Array, known: list[PersonRow]) -> Int64Array:
    """Return the person of each face, `UNASSIGNED` for none; new people have ids below that."""
    _, group = np.unique(labels, return_inverse=True)
    size = np.bincount(group, minlength=0)
    owner = np.full(len(size), UNASSIGNED, dtype=np.int64)
    owner[group[faces.bound]] = faces.person[faces.bound]
    taken = set(owner[owner != UNASSIGNED].tolist())
    kept = {row.person_id for row in known if row.name is not None or row.ignored}
    loose = (faces.person != UNASSIGNED) & ~faces.bound
    pairs, counts = np.unique(
        np.stack([group[loose], faces.person[loose]], axis=1), axis=0, return_counts=True
    )
    claims = sorted(
        zip(pairs[:, 0].tolist(), pairs[:, 1].tolist(), counts.tolist(), strict=True),
        key=lambda claim: (claim[1] not in kept, -claim[2], claim[1]),
    )
    for number, person, _ in claims:
        lone = size[number] < 2 and person not in kept
        if owner[number] == UNASSIGNED and person not in taken and not lone:
            owner[number] = person
            taken.add(person)
    fresh = np.flatnonzero((owner == UNASSIGNED) & (size > 1))
    owner[fresh] = UNASSIGNED - 1 - np.arange(len(fresh))
    return np.asarray(owner[group], dtype=np.int64)


def _store_people(
    store: IndexStore,
    faces: _Faces,
    after: Int64Array,
    before: Assignments,
    known: list[PersonRow],
    prior: float,
) -> PeopleSummary:
    released = np.setdiff1d(before.face_ids, faces.ids[after != UNASSIGNED])
    new_people = np.unique(after[after < UNASSIGNED])[::-1]
    changed = (after != UNASSIGNED) & (after != faces.person)
    people = {row.person_id: row.name for row in known}
    if len(released) or changed.any():
        with store.write() as transaction:
            change = Change(transaction, "cluster")
            made = change.new_people([None] * len(new_people))
            ids = dict(zip(new_people.tolist(), made, strict=True))
            named = np.array([ids.get(int(who), int(who)) for who in after[changed]], np.int64)
            change.release(released)
            change.assign(faces.ids[changed], named, people_rows.MACHINE)
            change.close()
    left = {row.person_id for row in known} & set(after[after > UNASSIGNED].tolist())
    return PeopleSummary(
        people=len(left) + len(new_people),
        people_new=len(new_people),
        faces_joined=int(changed.sum()),
        faces_released=len(released),
        faces_placed=int((after != UNASSIGNED).sum()),
        faces_alone=int((after == UNASSIGNED).sum()),
        faces_waiting=faces.n_waiting,
        names_lost=tuple(sorted(n for i, n in people.items() if n is not None and i not in left)),
        prior=prior,
    )
