"""Labelled faces and pairs of them, with the scores of the pairs by any head."""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.calibration.heads import Head
from facesim_index.calibration.normalisation import Normalisation
from facesim_index.calibration.scorer import PLAIN, FaceVectors, Scorer, scorer_among
from facesim_index.errors import CalibrationError
from facesim_index.records import BoolArray, Float32Array, Float64Array, Int64Array

MAX_GENUINE_PAIRS = 2_000_000
MAX_IMPOSTOR_PAIRS = 20_000_000
"""At most so many pairs are used: each takes 24 bytes, and more of them say nothing new."""

_BLOCK_ROWS = 512


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFaces:
    """Embeddings of faces with their people.

    Attributes
    ----------
    embeddings : ndarray of shape (n, dimension), float32
        Unit norm.
    person : ndarray of shape (n,), int64
        The person of each face.
    pairs : ndarray of shape (n_pairs, 2), int64, or None
        The pairs that are labelled, as rows of the two faces; None stands for every pair.

    Examples
    --------
    >>> from facesim_index import LabelledFaces
    >>> from facesim_index.calibration.heads import COSINE
    >>> faces = LabelledFaces(index.embeddings(index.face_ids()), np.array([0, 0, 0, 1, 1, 2]))
    >>> scores = faces.scores(COSINE)
    >>> scores.genuine.round(2), scores.impostor.size
    (array([0.95, 0.95, 0.94, 0.94]), 11)
    """

    embeddings: Float32Array
    person: Int64Array
    pairs: Int64Array | None = None

    def scores(
        self,
        head: Head,
        *,
        normalisation: Normalisation | None = None,
        max_impostors: int | None = None,
    ) -> LabelledScores:
        """Return the scores of the labelled pairs by a head.

        Parameters
        ----------
        head : Head
        normalisation : Normalisation, optional
            Normalise the scores; the labelled faces themselves are the cohort.
        max_impostors : int, optional
            Use at most so many impostor pairs where every pair is labelled.  Which pairs are used
            does not depend on the head.

        Returns
        -------
        LabelledScores
        """
        scorer = scorer_among(self.embeddings, normalisation, head)
        if self.pairs is None:
            return every_pair(self.embeddings, self.person, scorer, max_impostors=max_impostors)[0]
        same = self.person[self.pairs[:, 0]] == self.person[self.pairs[:, 1]]
        return _listed_scores(self.embeddings, self.person, self.pairs, same, scorer)

    def only(self, wanted: BoolArray) -> "LabelledFaces":
        """Return some of the faces, and the labelled pairs among them.

        Parameters
        ----------
        wanted : ndarray of shape (n,), bool

        Returns
        -------
        LabelledFaces
        """
        pairs = None
        if self.pairs is not None:
            both = wanted[self.pairs].all(axis=1)
            pairs = (np.cumsum(wanted) - 1)[self.pairs[both]].astype(np.int64)
        return LabelledFaces(self.embeddings[wanted], self.person[wanted], pairs)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledData:
    """Labelled pairs, and where they come from.

    Attributes
    ----------
    name : str
        Of the folder or file.
    scores : LabelledScores
        The cosines of the pairs.
    n_pictures : int
        Number of pictures that the labels name; for a list of faces, the number of faces.
    n_without_face : int
        Number of these pictures in which no face was found.
    notes : tuple of str
        Which labels were left out, and why.
    faces : LabelledFaces or None
        The faces of the pairs.  Without them a head can neither be learned nor judged.

    Examples
    --------
    >>> from facesim_index import people_data
    >>> data = people_data(index, Path("people"))
    >>> data.name, data.n_pictures, data.scores.genuine.size, data.scores.impostor.size
    ('people', 24, 24, 252)
    """

    name: str
    scores: LabelledScores
    n_pictures: int
    n_without_face: int = 0
    notes: tuple[str, ...] = ()
    faces: LabelledFaces | None = None

    @property
    def missing_faces(self) -> str:
        """What is added to a message about too few pairs; empty if every picture has a face."""
        if not self.n_without_face:
            return ""
        return f" (no face was found in {self.n_without_face} of {self.n_pictures} pictures)"

    def scores_by(self, head: Head, normalisation: Normalisation | None = None) -> LabelledScores:
        """Return the scores of the pairs that a calibration takes.

        Parameters
        ----------
        head : Head
        normalisation : Normalisation, optional
            Of the calibration.

        Returns
        -------
        LabelledScores

        Raises
        ------
        CalibrationError
            The scores are no cosines, and there are no embeddings.
        """
        if not head.learned and normalisation is None:
            return self.scores
        if self.faces is None:
            raise CalibrationError(
                f"{self.name} has cosines only; a {head.kind} head or a normalised score needs the "
                "embeddings"
            )
        return self.faces.scores(head, normalisation=normalisation)


def every_pair(
    embeddings: Float32Array,
    person: Int64Array,
    scorer: Scorer = PLAIN,
    *,
    seed: int = 0,
    max_impostors: int | None = None,
) -> tuple[LabelledScores, tuple[str, ...]]:
    """Return the scores of every pair of pictures, in bounded memory.

    Of very many pictures, so many are drawn at random for impostor pairs that there are at most
    `MAX_IMPOSTOR_PAIRS`.  Of people with very many pictures, so many are drawn for genuine pairs
    that there are at most `MAX_GENUINE_PAIRS`.

    Parameters
    ----------
    embeddings : ndarray of shape (n_pictures, dimension), float32
        Unit norm.
    person : ndarray of shape (n_pictures,), int64
        The person on each picture.
    scorer : Scorer, default=PLAIN
        Makes the scores; which pairs are used does not depend on it.
    seed : int, default=0
        Of the random numbers.
    max_impostors : int, optional
        By default `MAX_IMPOSTOR_PAIRS`.

    Returns
    -------
    scores : LabelledScores
    notes : tuple of str
        Which pairs were not used, when some were not.

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], np.float32)
    >>> scores, notes = every_pair(vectors, np.array([1, 1, 2]))
    >>> scores.genuine.round(3), scores.impostor.round(3), notes
    (array([0.6]), array([0. , 0.8]), ())
    """
    rng = np.random.default_rng(seed)
    made = scorer.vectors(embeddings)
    notes = []
    rows, most = _few_of_each(person, rng)
    if rows.size < person.size:
        notes.append(
            f"of people with more than {most} pictures, {most} drawn at random make the genuine "
            "pairs"
        )
    genuine, genuine_person = _genuine_pairs(made[rows], person[rows], scorer)
    most = _most_pictures(max_impostors or MAX_IMPOSTOR_PAIRS)
    rows = np.arange(person.size)
    if person.size > most:
        rows = np.sort(rng.permutation(person.size)[:most])
        notes.append(
            f"{most} of the {person.size} pictures, drawn at random, make the impostor pairs"
        )
    impostor, impostor_people = _impostor_pairs(made[rows], person[rows], scorer)
    return LabelledScores(genuine, genuine_person, impostor, impostor_people), tuple(notes)


def _listed_scores(
    embeddings: Float32Array,
    person: Int64Array,
    pairs: Int64Array,
    same: BoolArray,
    scorer: Scorer,
) -> LabelledScores:
    """Return the scores of listed pairs, each pair once."""
    _, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    pairs, same = pairs[first], same[first]
    made = scorer.vectors(embeddings)
    score = np.empty(len(pairs), dtype=np.float64)
    for start in range(0, len(pairs), _BLOCK_ROWS * 8):
        part = slice(start, start + _BLOCK_ROWS * 8)
        score[part] = scorer.listed_scores(made[pairs[part, 0]], made[pairs[part, 1]])
    of_pair = person[pairs]
    np.clip(score, -1.0, 1.0, out=score)  # Stored embeddings are rounded: some scores pass 1.
    return LabelledScores(score[same], of_pair[same, 0], score[~same], of_pair[~same])


def _few_of_each(person: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, int]:
    """Draw pictures of each person, so few that there are at most `MAX_GENUINE_PAIRS`."""
    counts = np.unique(person, return_counts=True)[1]
    most = int(counts.max(initial=0))
    while most > 2 and _n_genuine(np.minimum(counts, most)) > MAX_GENUINE_PAIRS:
        most = max(2, most * 19 // 20)
    order = rng.permutation(person.size)
    order = order[np.argsort(person[order], kind="stable")]
    starts = np.flatnonzero(np.diff(person[order], prepend=-1))
    rank = np.arange(person.size) - np.repeat(starts, np.diff(np.append(starts, person.size)))
    return np.sort(order[rank < most]), most


def _n_genuine(counts: Int64Array) -> int:
    return int((counts * (counts - 1) // 2).sum())


def _most_pictures(n_pairs: int) -> int:
    """Return how many pictures have at most so many pairs."""
    return int((1.0 + np.sqrt(1.0 + 8.0 * n_pairs)) / 2.0)


def _genuine_pairs(
    made: FaceVectors, person: Int64Array, scorer: Scorer
) -> tuple[Float64Array, Int64Array]:
    order = np.argsort(person, kind="stable")
    people, starts, counts = np.unique(person[order], return_index=True, return_counts=True)
    scores, of_person = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    for number, start, stop in zip(people, starts, starts + counts, strict=True):
        if stop - start < 2:
            continue
        mine = made[order[start:stop]].double()
        score = np.clip(scorer.pair_scores(mine, mine), -1.0, 1.0)[np.triu_indices(stop - start, 1)]
        scores.append(score)
        of_person.append(np.full(score.size, number, dtype=np.int64))
    return np.concatenate(scores), np.concatenate(of_person)


def _impostor_pairs(
    made: FaceVectors, person: Int64Array, scorer: Scorer
) -> tuple[Float64Array, Int64Array]:
    """Return the scores of every pair of two people, computed a block of rows at a time."""
    size = person.size
    counts = np.unique(person, return_counts=True)[1]
    n_pairs = size * (size - 1) // 2 - _n_genuine(counts)
    scores = np.empty(n_pairs, dtype=np.float64)
    people = np.empty((n_pairs, 2), dtype=np.int64)
    filled = 0
    for start in range(0, size, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, size)
        wanted = np.arange(start, stop)[:, None] < np.arange(start, size)[None, :]
        wanted &= person[start:stop, None] != person[None, start:]
        row, column = np.nonzero(wanted)
        part = slice(filled, filled + row.size)
        scores[part] = scorer.pair_scores(made[start:stop], made[start:])[row, column]
        people[part, 0] = person[start + row]
        people[part, 1] = person[start + column]
        filled = part.stop
    return np.clip(scores, -1.0, 1.0, out=scores), people
