"""Impostor pairs without labels: an index is full of them.

- **Two faces in one photo** are two people, almost always.  The exceptions (a mirror, a collage,
  one face found twice) are left out as far as they can be recognised.  Of the remaining pairs the
  most similar are kept for a look.
- **Two faces of different photos** are mostly two people.  Faces that seem to be one person, by
  scores that stand out from the others of the same faces, make no pair: see
  `degrees.apparent_people`.  What a human said of faces goes before that.

Both kinds are needed.  People in one photo share its light, and often their family, age and
origin, which makes them more alike than strangers are.  On LFW, where the calibration fits by its
own labels, pairs of one photo reach the cosine of a false match rate of 0.001 seventeen times as
often as that rate says; the same faces, paired across photos, 1.4 times.
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.heads import COSINE
from facesim_index.calibration.kinds import shipped_probe
from facesim_index.calibration.scorer import PLAIN, Scorer
from facesim_index.degrees.apparent_people import apparent_people
from facesim_index.degrees.face_groups import StrArray, group_names
from facesim_index.records import BoolArray, Box, FaceRecord, Float64Array, Int64Array
from facesim_index.store.catalog import face_rows, people_rows
from facesim_index.store.protocols import IndexView

SAME_FACE_COSINE = 0.8
SAME_FACE_OVERLAP = 0.3
"""Two faces of one picture may be one face found twice if their cosine is above this, or if their
boxes share more than this part of the smaller one."""

N_HIGHEST = 5
MAX_FACES = 1500
_FACES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class SameImagePair:
    """Two faces of one picture.

    Attributes
    ----------
    face_a, face_b : int
        Face ids, the lower one first.
    path : str
        A file that shows them.
    cosine : float
        In [-1, 1].
    """

    face_a: int
    face_b: int
    path: str
    cosine: float


@dataclass(frozen=True, slots=True, eq=False)
class SameImagePairs:
    """Pairs of two faces of one picture, which almost always show two people.

    Attributes
    ----------
    score : ndarray of shape (n_pairs,), float64
        By the head of the calibration, in [-1, 1].
    image : ndarray of shape (n_pairs,), int64
        Ids of the pictures.
    n_doubtful : int
        Pairs that were left out because they may show one face twice.
    highest : tuple of SameImagePair
        The most similar of the pairs by cosine, worth a look.
    """

    score: Float64Array
    image: Int64Array
    n_doubtful: int
    highest: tuple[SameImagePair, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PairGroup:
    """The pairs of which both faces belong to one group of faces.

    Attributes
    ----------
    name : str
    n_faces : int
    chosen : ndarray of shape (n_pairs,), bool
        Which of the pairs that were made.
    n_missed : int
        As for `AcrossPairs`.
    """

    name: str
    n_faces: int
    chosen: BoolArray
    n_missed: int


@dataclass(frozen=True, slots=True, eq=False)
class AcrossPairs:
    """Pairs of faces of two pictures, which mostly show two people.

    Attributes
    ----------
    score : ndarray of shape (n_pairs,), float64
        By the head of the calibration, in [-1, 1].
    people : ndarray of shape (n_pairs, 2), int64
        A number for the person on each side; faces that seem to be one person share it.
    n_left_out : int
        Pairs that seem to show one person, or may.
    n_missed : int, default=0
        As many pairs of one person may be among the others all the same.
    groups : tuple of PairGroup, default=()
        Pairs within groups of faces.
    """

    score: Float64Array
    people: Int64Array
    n_left_out: int
    n_missed: int = 0
    groups: tuple[PairGroup, ...] = ()


def same_image_pairs(view: IndexView, scorer: Scorer = PLAIN) -> SameImagePairs:
    """Return every pair of faces of one picture of an index.

    Pairs that may show one face twice are left out: so alike that no two people are
    (`SAME_FACE_COSINE`), or with boxes that share much of the smaller one (`SAME_FACE_OVERLAP`).

    Parameters
    ----------
    view : IndexView
    scorer : Scorer, default=PLAIN
        Makes a score of two faces.

    Returns
    -------
    SameImagePairs
    """
    scores, images = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    highest: list[SameImagePair] = []
    n_doubtful = 0
    living = face_rows.face_ids(view.transaction)
    for start in range(0, living.size, _FACES_AT_ONCE):
        first, second = face_rows.faces_of_same_images(
            view.transaction, living[start : start + _FACES_AT_ONCE]
        )
        # A pair counts once: with the part that holds its lower id.
        first, second = first[first < second], second[first < second]
        if not first.size:
            continue
        ids, place = np.unique(np.concatenate((first, second)), return_inverse=True)
        a, b = place[: first.size], place[first.size :]
        faces = face_rows.faces(view.transaction, ids)
        embeddings = view.embeddings(ids)
        cosine = np.clip(COSINE.listed_scores(embeddings[a], embeddings[b]), -1.0, 1.0)
        score = cosine
        if not scorer.plain:
            made = scorer.vectors(embeddings, ids)
            score = scorer.listed_scores(made[a], made[b])
        images_of = np.array([face.image_id for face in faces], dtype=np.int64)
        good = (cosine <= SAME_FACE_COSINE) & (_overlap(faces, a, b) <= SAME_FACE_OVERLAP)
        n_doubtful += int((~good).sum())
        scores.append(score[good])
        images.append(images_of[a[good]])
        top = np.flatnonzero(good)[np.argsort(-cosine[good], kind="stable")[:N_HIGHEST]]
        highest += [
            SameImagePair(int(first[n]), int(second[n]), faces[a[n]].path, float(cosine[n]))
            for n in top
        ]
    highest.sort(key=lambda pair: -pair.cosine)
    return SameImagePairs(
        score=np.concatenate(scores),
        image=np.concatenate(images),
        n_doubtful=n_doubtful,
        highest=tuple(highest[:N_HIGHEST]),
    )


def across_pairs(
    view: IndexView, scorer: Scorer = PLAIN, *, n_faces: int = MAX_FACES, seed: int = 0
) -> AcrossPairs:
    """Pair faces of an index, drawn at random, with those of other pictures and other people.

    Parameters
    ----------
    view : IndexView
    scorer : Scorer, default=PLAIN
        Makes a score of two faces.
    n_faces : int, optional
        So many faces are drawn where there are more.
    seed : int, default=0
        Draws the faces.

    Returns
    -------
    AcrossPairs
    """
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.permutation(view.living_faces())[:n_faces])
    faces = face_rows.faces(view.transaction, ids)
    image = np.array([face.image_id for face in faces], dtype=np.int64)
    return impostor_pairs(
        scores_among(view, ids, scorer),
        image=image,
        known=_known_people(view, ids),
        names=group_names(faces, view.embeddings(ids), shipped_probe(view.identity.key)),
    )


def impostor_pairs(
    scores: Float64Array, *, image: Int64Array, known: Int64Array, names: StrArray
) -> AcrossPairs:
    """Choose the pairs of two people of different pictures, as far as the scores tell.

    As many pairs of one person may have been missed as there are pairs which are one person's only
    two faces, or are left out because they may show one person: where so many were noticed, another
    part was not.

    Parameters
    ----------
    scores : ndarray of shape (n, n), float64
        Symmetric; of every two faces.
    image : ndarray of shape (n,), int64
        The picture of each face.
    known : ndarray of shape (n,), int64
        The person of each face as a human said, -1 for one of which nobody said anything.
    names : ndarray of shape (n, n_properties), str
        The groups of each face, one by each property.

    Returns
    -------
    AcrossPairs
    """
    found = apparent_people(scores, image=image, known=known)
    person = found.person
    other = np.triu(image[:, None] != image, 1)
    one = person[:, None] == person
    said_two = (known[:, None] >= 0) & (known >= 0) & (known[:, None] != known)
    doubtful = found.doubtful[person[:, None], person] & other & ~said_two
    impostor = other & ~one & ~doubtful
    twos = np.bincount(person, minlength=1)[person] == 2
    missed = (other & one & twos[:, None] & (known < 0)) | doubtful
    first, second = np.nonzero(impostor)
    groups = []
    for column in names.T:
        for name in np.unique(column):
            inside = column == name
            if 0 < inside.sum() < len(inside):
                within = np.ix_(inside, inside)
                chosen = inside[first] & inside[second]
                n_missed = int(missed[within].sum())
                groups.append(PairGroup(str(name), int(inside.sum()), chosen, n_missed))
    return AcrossPairs(
        score=scores[first, second],
        people=np.stack((person[first], person[second]), axis=1),
        n_left_out=int(other.sum()) - first.size,
        n_missed=int(missed.sum()),
        groups=tuple(groups),
    )


def scores_among(view: IndexView, face_ids: Int64Array, scorer: Scorer) -> Float64Array:
    """Return the score of every two of some faces; the one place where a check makes scores.

    Parameters
    ----------
    view : IndexView
    face_ids : ndarray of shape (n,), int64
    scorer : Scorer

    Returns
    -------
    ndarray of shape (n, n), float64
        In [-1, 1].
    """
    made = scorer.vectors(view.embeddings(face_ids), face_ids)
    return np.clip(scorer.pair_scores(made, made), -1.0, 1.0).astype(np.float64)


def _known_people(view: IndexView, ids: Int64Array) -> Int64Array:
    """Return the person of each face as a human said, -1 where nobody did."""
    found = people_rows.assignments_among(view.transaction, ids.tolist())
    known = np.full(len(ids), -1, dtype=np.int64)
    place = np.searchsorted(ids, found.face_ids)
    known[place[found.confirmed]] = found.person_ids[found.confirmed]
    return known


def _overlap(faces: list[FaceRecord], a: Int64Array, b: Int64Array) -> Float64Array:
    """Return the part of the smaller box of each pair that lies in the other one."""
    box = np.array([_edges(face.box) for face in faces], dtype=np.float64)
    first, second = box[a], box[b]
    shared = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    area = np.prod(box[:, 2:] - box[:, :2], axis=1)
    smaller = np.maximum(np.minimum(area[a], area[b]), 1e-9)
    return np.asarray(np.prod(np.maximum(shared, 0.0), axis=1) / smaller, dtype=np.float64)


def _edges(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.x + box.w, box.y + box.h
