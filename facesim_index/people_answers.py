"""Whose the faces of an answer are, and how surely the query face is that person's."""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration import Calibration
from facesim_index.catalog import people as catalog
from facesim_index.errors import IndexDamagedError
from facesim_index.people_evidence import person_degree, summed
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store import View


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose a face is.

    Attributes
    ----------
    person_id : int or None
    name : str or None
    degree : float or None
        Probability that the query face is that person's; None without a calibration that can
        tell, or when the person has no other face than those of the query picture.
    """

    person_id: int | None
    name: str | None
    degree: float | None


NOBODY = Whose(None, None, None)


def whose_faces(
    view: View,
    query: Float32Array,
    face_ids: Int64Array,
    own: Int64Array,
    curve: Calibration | None,
    prior: float,
) -> dict[int, Whose]:
    """Return whose faces are, those of nobody left out.

    Parameters
    ----------
    view : View
    query : ndarray of shape (dimension,), float32
        Embedding of the query face.
    face_ids : ndarray of int64
        Of the matches.
    own : ndarray of int64
        Faces that say nothing new of the query face: those of its own picture.
    curve : Calibration or None
    prior : float

    Raises
    ------
    IndexDamagedError
        A row that says so is not as it was written, or is not found by its person.
    """
    person_of = catalog.whose(view.transaction, face_ids.tolist())
    found = catalog.assignments_of(view.transaction, set(person_of.values()))
    if not np.isin(list(person_of), found.face_ids).all():
        raise IndexDamagedError(
            "the catalog is damaged: not every face of a person is found; "
            "run `facesim verify --repair`"
        )
    people = {}
    for row in catalog.persons(view.transaction, set(person_of.values())):
        faces = np.setdiff1d(found.face_ids[found.person_ids == row.person_id], own)
        degree = _degree(view, query, faces, curve, prior)
        people[row.person_id] = Whose(row.person_id, row.name, degree)
    return {face_id: people[person_id] for face_id, person_id in person_of.items()}


def _degree(
    view: View, query: Float32Array, faces: Int64Array, curve: Calibration | None, prior: float
) -> float | None:
    """Return the probability that a face is that of the person whose faces these are."""
    if curve is None or curve.head.kind == "weighted-l1" or not len(faces):
        return None
    total = summed(faces, view, curve)
    mean = total @ curve.head.transform(query[None])[0].astype(np.float64) / len(faces)
    n_pairs = np.array([len(faces)], dtype=np.float64)
    return float(person_degree(np.array([mean]), n_pairs, curve, prior=prior)[0])
