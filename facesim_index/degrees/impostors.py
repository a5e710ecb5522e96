"""Impostor pairs without labels: an index is full of them.

- **Two faces in one photo** are two people, almost always.  The exceptions (a mirror, a collage,
  one face found twice) are left out as far as they can be recognised.  Of the remaining pairs the
  most similar are kept for a look.
- **Two faces of different photos** are mostly two people: all but the share of genuine pairs,
  which have high cosines.

Both kinds are needed.  People in one photo share its light, and often their family, age and
origin, which makes them more alike than strangers are.  On LFW, where the calibration fits by its
own labels, pairs of one photo reach the cosine of a false match rate of 0.001 eighteen times as
often as that rate says; the same faces, paired across photos, 1.4 times.
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.heads import COSINE
from facesim_index.calibration.scorer import PLAIN, Scorer
from facesim_index.metrics.linking import linked_people
from facesim_index.records import Box, FaceRecord, Float64Array, Int64Array
from facesim_index.store.catalog import face_rows
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
class AcrossPairs:
    """Pairs of faces of two pictures, which mostly show two people.

    Attributes
    ----------
    score : ndarray of shape (n_pairs,), float64
        By the head of the calibration, in [-1, 1].
    people : ndarray of shape (n_pairs, 2), int64
        A number for the person on each side; faces that are almost certainly one person share it.
    n_left_out : int
        Pairs that more probably show one person than two.
    """

    score: Float64Array
    people: Int64Array
    n_left_out: int


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
    view: IndexView, scorer: Scorer = PLAIN, *, one_person: float, certain: float, seed: int = 0
) -> AcrossPairs:
    """Pair faces of an index, drawn at random, with those of other pictures.

    Parameters
    ----------
    view : IndexView
    scorer : Scorer, default=PLAIN
        Makes a score of two faces.
    one_person : float
        Pairs with at least this score are left out: more probably they show one person than two.
    certain : float
        Faces with at least this score are taken for one person when people are counted.
    seed : int, default=0
        Draws `MAX_FACES` faces where there are more.

    Returns
    -------
    AcrossPairs
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(face_rows.face_ids(view.transaction))[:MAX_FACES])
    faces = face_rows.faces(view.transaction, chosen)
    image = np.array([face.image_id for face in faces], dtype=np.int64)
    made = scorer.vectors(view.embeddings(chosen), chosen)
    first, second = np.triu_indices(chosen.size, 1)
    score = np.clip(scorer.pair_scores(made, made), -1.0, 1.0)[first, second].astype(np.float64)
    linked = np.flatnonzero(score >= certain)
    person = linked_people(np.stack((first[linked], second[linked]), axis=1), chosen.size)
    other = image[first] != image[second]
    impostor = other & (score < one_person)
    people = np.stack((person[first[impostor]], person[second[impostor]]), axis=1)
    return AcrossPairs(score[impostor], people, int((other & ~impostor).sum()))


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
