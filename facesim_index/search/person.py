"""Query by a person: find the faces of the index that are most likely that person's."""

from typing import TYPE_CHECKING

import numpy as np

from facesim_index.calibration.curve import bound_reached
from facesim_index.calibration.judgement import no_calibration
from facesim_index.calibration.scorer import Scorer
from facesim_index.degrees.cautions import Traits, pair_cautions, traits_of
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.prior import resolve_prior
from facesim_index.errors import CalibrationError
from facesim_index.people.clustering import UNASSIGNED
from facesim_index.people.evidence import (
    person_degree,
    person_log10_lr,
    summables,
    summed,
    usable_curve,
)
from facesim_index.people.membership import NOBODY, Whose
from facesim_index.records import BoolArray, FaceRecord, Float64Array, Int64Array
from facesim_index.search.answers import FaceAnswer, Match, QueryAnswer
from facesim_index.store.catalog import face_rows, people_rows
from facesim_index.store.catalog.people_rows import PersonRow
from facesim_index.store.protocols import IndexView

if TYPE_CHECKING:
    from facesim_index.search.queries import QueryOptions

_SPARE = 16
_MOST_LOOKED_AT = 64
"""Cautions look at so many faces of the person at most."""


def query_person(view: IndexView, person: PersonRow, options: "QueryOptions") -> QueryAnswer:
    """Return the faces that most likely show a person, the person's own faces included.

    A face is compared with all faces of the person except itself.  The cosine of a match is the
    mean of those cosines, and its degree is that of all those faces together.

    Parameters
    ----------
    view : IndexView
    person : PersonRow
    options : QueryOptions
        `exclude_same_image` leaves out the faces that are already the person's.

    Returns
    -------
    QueryAnswer
        Its query is the person's most typical face.

    Raises
    ------
    CalibrationError
        There is no calibration, or it is of a kind by which people cannot be told apart; or the
        prior is not in (0, 1).
    UsageError
        An option is out of range.
    """
    calibration = calibration_in_force(view)
    if calibration is None:
        raise CalibrationError(f"people cannot be looked for: {no_calibration(view.identity)}")
    usable_curve(calibration)
    options.check()
    own = people_rows.assignments_of(view.transaction, [person.person_id]).face_ids
    prior = resolve_prior(view, calibration, options.prior)
    scorer = scorer_of(view, calibration)
    total = summed(own, view, scorer)
    ids, cosines, means, n_pairs = _nearest(view, own, total, scorer, options)
    degrees = person_degree(means, n_pairs, calibration, prior=prior.value)
    evidence = person_log10_lr(means, n_pairs, calibration)
    bounded = bound_reached(np.clip(means, -1.0, 1.0), calibration) != 0
    order = np.lexsort((ids, -degrees))[: options.top]
    if options.min_degree is not None:
        order = order[degrees[order] >= options.min_degree]
    matches = _matches(
        view, ids[order], cosines[order], degrees[order], evidence[order], bounded[order], own
    )
    face = _typical(view, own, total, scorer)
    n_faces = face_rows.n_faces(view.transaction)
    return QueryAnswer(
        query=face.path,
        engine=str(view.identity),
        calibration=calibration.name,
        note=None,
        prior=prior.value,
        faces=(FaceAnswer(face.ordinal, face.box, face.landmarks, face.detection, matches),),
        prior_source=prior.source,
        prior_low=prior.low,
        prior_high=prior.high,
        n_faces=n_faces - (len(own) if options.exclude_same_image else 0),
        person_id=person.person_id,
        person=person.name,
    )


def _nearest(
    view: IndexView,
    own: Int64Array,
    total: Float64Array,
    scorer: Scorer,
    options: "QueryOptions",
) -> tuple[Int64Array, Float64Array, Float64Array, Float64Array]:
    """Return faces, their mean cosines and scores with the person's other faces, and their number.

    A head that is learned compares other vectors than the embeddings, which give the cosines.
    """
    mean = view.embeddings(own).sum(axis=0, dtype=np.float64)
    query = (mean / np.linalg.norm(mean)).astype(np.float32)
    hidden = own if options.exclude_same_image else None
    wanted = options.top + _SPARE
    [found] = view.search(query[None], wanted, excluded=hidden, exact=options.exact)
    itself = np.isin(found.face_ids, own)
    others = len(own) - itself.astype(np.float64)
    told = others > 0  # the only face of a person has nothing to be compared with
    face_ids, others = found.face_ids[told], others[told]

    def means(
        vectors: Float64Array, opposite: Float64Array, of_group: Float64Array
    ) -> Float64Array:
        with_itself = np.einsum("ij,ij->i", vectors, opposite)
        return (vectors @ of_group - np.where(itself[told], with_itself, 0.0)) / others

    plain = view.embeddings(face_ids).astype(np.float64)
    vectors = summables(face_ids, view, scorer)
    scores = means(vectors, scorer.opposite(vectors), scorer.opposite(total))
    return face_ids, means(plain, plain, mean), scores, others


def _matches(
    view: IndexView,
    ids: Int64Array,
    cosines: Float64Array,
    degrees: Float64Array,
    evidence: Float64Array,
    at_bound: BoolArray,
    own: Int64Array,
) -> tuple[Match, ...]:
    records = face_rows.faces(view.transaction, ids)
    cautions = pair_cautions(
        _traits(view, own[:_MOST_LOOKED_AT]).most(),
        traits_of(records, view.embeddings(ids), view.identity.key),
    )
    person_of = people_rows.whose(view.transaction, ids.tolist())
    rows = people_rows.persons(view.transaction, set(person_of.values()))
    names = {row.person_id: Whose(row.person_id, row.name, None) for row in rows}
    cosines = np.clip(cosines, -1.0, 1.0)
    return tuple(
        Match(
            rank=number + 1,
            face_id=face.face_id,
            path=face.path,
            paths=face.paths,
            box=face.box,
            landmarks=face.landmarks,
            cosine=float(cosines[number]),
            degree=float(degrees[number]),
            log10_lr=float(evidence[number]),
            same_image=False,
            at_bound=bool(at_bound[number]),
            person_id=whose.person_id,
            person=whose.name,
            caution=cautions[number],
        )
        for number, face in enumerate(records)
        for whose in (names.get(person_of.get(face.face_id, UNASSIGNED), NOBODY),)
    )


def _traits(view: IndexView, face_ids: Int64Array) -> Traits:
    records = face_rows.faces(view.transaction, face_ids)
    return traits_of(records, view.embeddings(face_ids), view.identity.key)


def _typical(view: IndexView, own: Int64Array, total: Float64Array, scorer: Scorer) -> FaceRecord:
    vectors = summables(own, view, scorer)
    best = own[[int((vectors @ scorer.opposite(total)).argmax())]]
    return face_rows.faces(view.transaction, best)[0]
