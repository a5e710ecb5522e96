"""To which people the faces of an answer are assigned, and how surely the query shows them."""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.record import Calibration
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.errors import IndexDamagedError
from facesim_index.people.evidence import person_degree, summed
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.catalog import people_rows
from facesim_index.store.protocols import IndexView


@dataclass(frozen=True, slots=True)
class Whose:
    """The person that a face is assigned to.

    Attributes
    ----------
    person_id : int or None
        None when the face is not assigned to anybody.
    name : str or None
        None for a person without a name.
    degree : float or None
        Probability that the query face shows that person.  None without a calibration that can
        tell people apart, or when the person has no other face than those of the query picture.
    """

    person_id: int | None
    name: str | None
    degree: float | None


NOBODY = Whose(None, None, None)


def whose_faces(
    view: IndexView,
    query: Float32Array,
    face_ids: Int64Array,
    own: Int64Array,
    calibration: Calibration | None,
    prior: float,
) -> dict[int, Whose]:
    """Return the person of each face; omit faces that are not assigned to anybody.

    Parameters
    ----------
    view : IndexView
    query : ndarray of shape (dimension,), float32
        Embedding of the query face, of unit norm.
    face_ids : ndarray of shape (n,), int64
        Faces of the matches.
    own : ndarray of int64
        Faces of the query picture itself; they are not counted as evidence for a person.
    calibration : Calibration or None
        None leaves the degrees out.
    prior : float
        Probability, in (0, 1), of one person before looking.

    Returns
    -------
    dict of int to Whose
        By face id.

    Raises
    ------
    IndexDamagedError
        A row that assigns a face is not as it was written, or cannot be found by its person.
    """
    person_of = people_rows.whose(view.transaction, face_ids.tolist())
    if not person_of:
        return {}
    found = people_rows.assignments_of(view.transaction, set(person_of.values()))
    if not np.isin(list(person_of), found.face_ids).all():
        raise IndexDamagedError(
            "the catalog is damaged: not every face of a person is found; "
            "run `facesim verify --repair`"
        )
    names = people_rows.names(view.transaction, set(person_of.values()))
    degrees = _degrees(view, query, found, own, calibration, prior)
    people = {
        person_id: Whose(person_id, name, degrees.get(person_id))
        for person_id, name in names.items()
    }
    return {face_id: people[person_id] for face_id, person_id in person_of.items()}


def _degrees(
    view: IndexView,
    query: Float32Array,
    found: people_rows.Assignments,
    own: Int64Array,
    calibration: Calibration | None,
    prior: float,
) -> dict[int, float]:
    """Return the degree of each person who has a face outside the query picture.

    Where a partial view lost a part of the index, it is that of the faces which are left.
    """
    if calibration is None or calibration.head.kind == "weighted-l1":
        return {}
    others = ~np.isin(found.face_ids, own)
    if view.left_out:
        others &= np.isin(found.face_ids, view.living_faces())
    faces, owners = found.face_ids[others], found.person_ids[others]
    scorer = scorer_of(view, calibration)
    [vector] = scorer.opposite(scorer.summable(scorer.vectors(query[None])))
    told, counts = np.unique(owners, return_counts=True)
    means = [
        summed(faces[owners == person_id], view, scorer) @ vector / count
        for person_id, count in zip(told.tolist(), counts.tolist(), strict=True)
    ]
    degrees = person_degree(np.array(means), counts.astype(np.float64), calibration, prior=prior)
    return dict(zip(told.tolist(), degrees.tolist(), strict=True))
