"""People whose faces are much like those of somebody else: relatives, above all.

A face is *like* a person when the evidence speaks for their being one, however little: the rule is
that of a person's degree (`people.evidence`).  A face is like one stranger in a
thousand; that half of a person's faces are like the same one happens seven times in 100,000.

The work is bounded, whatever the size of the index.  No more than `FACES_OF_ONE` faces of a person
are looked at, and no other people than those who have a face among the nearest of these.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.record import Calibration
from facesim_index.calibration.scorer import FaceVectors, Scorer
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.people.evidence import person_log10_lr, usable_curve
from facesim_index.records import Int64Array
from facesim_index.store.catalog import face_rows, people_rows
from facesim_index.store.protocols import IndexView

LEAST_ALIKE, LEAST_SHARE = 3, 0.5
"""So many faces of a person, and such a share of them, are like the other person."""

FACES_OF_ONE = 64
NEAREST = 256
_PEOPLE_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class LookAlike:
    """Somebody whom many faces of a person look like, too.

    Attributes
    ----------
    person_id : int
        The other person.
    name : str or None
        None for a person without a name.
    n_alike : int
        How many of the person's faces are like the other one.
    n_faces : int
        Of so many.
    apart : bool
        That they are two people is known: a photo shows both, or a human said so.

    Examples
    --------
    >>> from facesim_index import LookAlike
    >>> sister = LookAlike(12, "Bea", n_alike=28, n_faces=40, apart=False)
    >>> print(f"looks like {sister.name}, too: {sister.n_alike} of {sister.n_faces} faces")
    looks like Bea, too: 28 of 40 faces
    """

    person_id: int
    name: str | None
    n_alike: int
    n_faces: int
    apart: bool


def look_alikes(view: IndexView, person_id: int, *, top: int = 5) -> tuple[LookAlike, ...]:
    """Return the people whom at least half of a person's faces look like, too.

    Parameters
    ----------
    view : IndexView
    person_id : int
    top : int, default=5
        Most of them.

    Returns
    -------
    tuple of LookAlike
        Those first whom most faces are like.  Without people who are ignored, and without
        people who have one face only.  Empty for a person with fewer than `LEAST_ALIKE` faces.

    Raises
    ------
    CalibrationError
        There is no calibration, or it is of a kind by which people cannot be told apart.
    """
    calibration = usable_curve(calibration_in_force(view))
    own = people_rows.assignments_of(view.transaction, [person_id]).face_ids
    if len(own) < LEAST_ALIKE:
        return ()
    scorer, looked_at = scorer_of(view, calibration), _spread(own)
    others = _others(view, looked_at, own)
    counts = _counts(view, looked_at, others, scorer, calibration)
    least = max(LEAST_ALIKE, LEAST_SHARE * len(looked_at))
    found = sorted(
        (other for other, count in counts.items() if count >= least),
        key=lambda other: (-counts[other], other),
    )
    rows = [row for row in people_rows.persons(view.transaction, found) if not row.ignored]
    shown = sorted(rows, key=lambda row: found.index(row.person_id))[:top]
    apart = _apart(view, own, {row.person_id: others[row.person_id] for row in shown})
    return tuple(
        LookAlike(
            row.person_id,
            row.name,
            counts[row.person_id],
            len(looked_at),
            row.person_id in apart,
        )
        for row in shown
    )


def faces_alike(
    faces: FaceVectors,
    others: FaceVectors,
    starts: Int64Array,
    scorer: Scorer,
    calibration: Calibration,
) -> Int64Array:
    """Return how many faces of a person are like each of other people.

    Parameters
    ----------
    faces : FaceVectors
        Of the person.
    others : FaceVectors
        Of the other people, one person after the other.
    starts : ndarray of shape (n,), int64
        At which row the faces of each of those people begin; the first is 0.
    scorer : Scorer
    calibration : Calibration

    Returns
    -------
    ndarray of shape (n,), int64
        For so many faces the evidence speaks for one person with all faces of the other.

    Examples
    --------
    >>> from facesim_index.calibration.record import Evidence
    >>> from facesim_index.calibration.scorer import PLAIN
    >>> knots, evidence = ((0.1, -2.0), (0.5, 2.0)), Evidence("made up", 2, 9, 9, "2026-01-01")
    >>> curve = Calibration("made up", "engine", "by hand", knots, evidence)
    >>> mother = FaceVectors(np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]))
    >>> daughter_and_guest = FaceVectors(np.array([[0.96, 0.28], [-0.6, 0.8], [-1.0, 0.0]]))
    >>> faces_alike(mother, daughter_and_guest, np.array([0, 1]), PLAIN, curve)
    array([2, 1])
    """
    sizes = np.diff(starts, append=len(others)).astype(np.float64)
    sums = np.add.reduceat(scorer.pair_scores(faces.double(), others.double()), starts, axis=1)
    n_pairs = np.broadcast_to(sizes, sums.shape)
    counts = (person_log10_lr(sums / sizes, n_pairs, calibration) > 0.0).sum(axis=0)
    return np.asarray(counts, dtype=np.int64)


def _spread(face_ids: Int64Array) -> Int64Array:
    """Return some faces of a person, evenly spread over all, early and late ones."""
    n_faces = len(face_ids)
    if n_faces <= FACES_OF_ONE:
        return face_ids
    return face_ids[np.arange(FACES_OF_ONE) * n_faces // FACES_OF_ONE]


def _counts(
    view: IndexView,
    looked_at: Int64Array,
    others: dict[int, Int64Array],
    scorer: Scorer,
    calibration: Calibration,
) -> dict[int, int]:
    """Return how many of the faces looked at are like each of the others."""
    vectors = _vectors(view, scorer, looked_at)
    people = sorted(others)
    counts: dict[int, int] = {}
    for start in range(0, len(people), _PEOPLE_AT_ONCE):
        part = people[start : start + _PEOPLE_AT_ONCE]
        some = [_spread(others[person]) for person in part]
        starts = np.cumsum([0, *(len(faces) for faces in some[:-1])], dtype=np.int64)
        theirs = _vectors(view, scorer, np.concatenate(some))
        alike = faces_alike(vectors, theirs, starts, scorer, calibration)
        counts |= dict(zip(part, alike.tolist(), strict=True))
    return counts


def _vectors(view: IndexView, scorer: Scorer, face_ids: Int64Array) -> FaceVectors:
    return scorer.vectors(view.embeddings(face_ids), face_ids)


def _others(view: IndexView, looked_at: Int64Array, own: Int64Array) -> dict[int, Int64Array]:
    """Return the faces of each other person of two or more who has one among the nearest."""
    nearest = view.search(view.embeddings(looked_at), NEAREST, excluded=own)
    near = np.unique(np.concatenate([found.face_ids for found in nearest]))
    owners = people_rows.whose(view.transaction, near.tolist())
    if not owners:
        return {}
    found = people_rows.assignments_of(view.transaction, sorted(set(owners.values())))
    by_person = np.argsort(found.person_ids, kind="stable")
    people, counts = np.unique(found.person_ids, return_counts=True)
    parts = np.split(found.face_ids[by_person], np.cumsum(counts)[:-1])
    listed = zip(people.tolist(), parts, strict=True)
    return {person: faces for person, faces in listed if len(faces) > 1}


def _apart(view: IndexView, own: Int64Array, others: dict[int, Int64Array]) -> set[int]:
    """Return those of some people who are surely not the person that has its `own` faces."""
    shown, beside = face_rows.faces_of_same_images(view.transaction, own)
    pairs = [*zip(shown.tolist(), beside.tolist(), strict=True)]
    mine = set(own.tolist())
    pairs += people_rows.faces_apart(view.transaction)
    strange = {b if a in mine else a for a, b in pairs if (a in mine) != (b in mine)}
    together: NDArray[np.int64] = np.array(sorted(strange), dtype=np.int64)
    return {person for person, faces in others.items() if np.isin(faces, together).any()}
