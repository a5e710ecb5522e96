"""From labels to scores: those of pairs of pictures or faces, with who they show.

Three ways in: a folder with one folder a person (every pair of its pictures), a list of pairs
of pictures, and a list of pairs of faces that are in an index.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.calibration.heads import COSINE, Head
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.labels.embeddings import EmbeddingIndex, PictureEmbeddings, embeddings_of
from facesim_index.labels.face_pairs import BoolArray, linked_people, read_face_pairs
from facesim_index.labels.pair_lists import people_folder, read_pairs
from facesim_index.records import Float32Array, Float64Array, Int64Array
from facesim_index.store.store import View

MAX_GENUINE_PAIRS = 2_000_000
MAX_IMPOSTOR_PAIRS = 20_000_000
"""More pairs than these are not looked at: 24 bytes each, and they say nothing new."""

_BLOCK_ROWS = 512


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFaces:
    """Embeddings, with who they show.

    Attributes
    ----------
    embeddings : ndarray of shape (n, dimension), float32
        Unit norm.
    person : ndarray of shape (n,), int64
    pairs : ndarray of shape (n_pairs, 2), int64, or None
        Rows of the pairs that count; None: every pair.
    """

    embeddings: Float32Array
    person: Int64Array
    pairs: Int64Array | None = None

    def scores(self, head: Head, *, max_impostors: int | None = None) -> LabelledScores:
        """Return the scores of the pairs by a head; which pairs does not depend on it.

        Parameters
        ----------
        head : Head
        max_impostors : int, optional
            Look at no more of every pair.

        Returns
        -------
        LabelledScores
        """
        if self.pairs is None:
            return every_pair(self.embeddings, self.person, head, max_impostors=max_impostors)[0]
        same = self.person[self.pairs[:, 0]] == self.person[self.pairs[:, 1]]
        return _listed_scores(self.embeddings, self.person, self.pairs, same, head)

    def only(self, wanted: BoolArray) -> "LabelledFaces":
        """Return some of the faces, and the pairs that are all of them."""
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
        By cosine.
    n_pictures : int
        That the labels name; of a list of faces, how many faces.
    n_without_face : int
        Of them, those in which no face was found.
    notes : tuple of str
        What was left out, and why.
    faces : LabelledFaces or None
        What the scores were made of; without them a head can neither be learned nor judged.
    """

    name: str
    scores: LabelledScores
    n_pictures: int
    n_without_face: int = 0
    notes: tuple[str, ...] = ()
    faces: LabelledFaces | None = None

    def scores_by(self, head: Head) -> LabelledScores:
        """Return the scores of the pairs by a head.

        Raises
        ------
        CalibrationError
            There are no embeddings to make them of.
        """
        if not head.learned:
            return self.scores
        if self.faces is None:
            raise CalibrationError(
                f"{self.name} has cosines only; a {head.kind} head needs the embeddings"
            )
        return self.faces.scores(head)


def people_data(index: EmbeddingIndex, folder: Path) -> LabelledData:
    """Return every pair of the pictures of a folder with one folder a person.

    Parameters
    ----------
    index : EmbeddingIndex
        Keeps the embeddings; pictures that it does not have are ingested.
    folder : Path

    Returns
    -------
    LabelledData

    Raises
    ------
    UsageError
        There are no pictures in it.
    """
    people = people_folder(folder)
    paths = list(people)
    found = embeddings_of(index, paths)
    _, person = np.unique([people[path] for path in paths], return_inverse=True)
    person = person.astype(np.int64).ravel()
    chosen, notes = _distinct(found, person)
    faces = LabelledFaces(found.embeddings[chosen], person[chosen])
    scores, more = every_pair(faces.embeddings, faces.person)
    return LabelledData(
        name=folder.resolve().name,
        scores=scores,
        n_pictures=len(paths),
        n_without_face=int((~found.has_face).sum()),
        notes=(*notes, *more),
        faces=faces,
    )


def picture_pairs_data(index: EmbeddingIndex, file: Path, images: Path | None) -> LabelledData:
    """Return the pairs of a list of pairs of pictures.

    Where the pictures are in one folder a person, as every label of the list agrees, the list
    tells who is on each of them: then every pair of its pictures is used.  Else the listed pairs
    are, and who is one person follows from the genuine ones among them.

    Parameters
    ----------
    index : EmbeddingIndex
        Keeps the embeddings; pictures that it does not have are ingested.
    file : Path
        As for `labels.read_pairs`.
    images : Path or None
        Where the pictures are.

    Returns
    -------
    LabelledData

    Raises
    ------
    UsageError
        The list cannot be read.
    CalibrationError
        Its labels contradict each other.
    """
    listed = read_pairs(file, images)
    paths = listed.paths
    place_of = {path: place for place, path in enumerate(paths)}
    pairs = np.array(
        [(place_of[pair.path_a], place_of[pair.path_b]) for pair in listed.pairs], dtype=np.int64
    ).reshape(-1, 2)
    same = np.array([pair.same for pair in listed.pairs], dtype=np.bool_)
    found = embeddings_of(index, paths)
    n_without_face = int((~found.has_face).sum())
    _, person = np.unique([str(path.parent) for path in paths], return_inverse=True)
    person = person.astype(np.int64).ravel()
    if np.array_equal(person[pairs[:, 0]] == person[pairs[:, 1]], same):
        chosen, notes = _distinct(found, person)
        faces = LabelledFaces(found.embeddings[chosen], person[chosen])
        scores, more = every_pair(faces.embeddings, faces.person)
        return LabelledData(file.name, scores, len(paths), n_without_face, (*notes, *more), faces)
    person = linked_people(pairs[same], len(paths))
    wrong = np.flatnonzero(~same & (person[pairs[:, 0]] == person[pairs[:, 1]]))
    if wrong.size:
        a, b = (paths[place] for place in pairs[wrong[0]])
        raise CalibrationError(
            f"{file}: {a} and {b} are said to be two people, but other lines link them as one; "
            "correct the labels"
        )
    usable = found.has_face[pairs].all(axis=1)
    # One picture under two names, or against itself, says nothing about faces.
    usable &= found.face_ids[pairs[:, 0]] != found.face_ids[pairs[:, 1]]
    faces = LabelledFaces(found.embeddings, person, pairs[usable])
    return LabelledData(file.name, faces.scores(COSINE), len(paths), n_without_face, faces=faces)


def every_pair(
    embeddings: Float32Array,
    person: Int64Array,
    head: Head = COSINE,
    *,
    seed: int = 0,
    max_impostors: int | None = None,
) -> tuple[LabelledScores, tuple[str, ...]]:
    """Return the scores of every pair of pictures, in bounded memory.

    With very many pictures, the impostor pairs are those of as many pictures, drawn at random,
    as make `MAX_IMPOSTOR_PAIRS`; and of people with very many pictures, as few are drawn as
    make `MAX_GENUINE_PAIRS` in all.

    Parameters
    ----------
    embeddings : ndarray of shape (n_pictures, dimension), float32
        Unit norm.
    person : ndarray of shape (n_pictures,), int64
        Whom each picture shows.
    head : Head, default=COSINE
        Which pairs are looked at does not depend on it.
    seed : int, default=0
    max_impostors : int, optional
        By default `MAX_IMPOSTOR_PAIRS`.

    Returns
    -------
    scores : LabelledScores
    notes : tuple of str
        Which pairs were not looked at, when some were not.
    """
    rng = np.random.default_rng(seed)
    made = head.transform(embeddings)
    notes = []
    rows, most = _few_of_each(person, rng)
    if rows.size < person.size:
        notes.append(
            f"of people with more than {most} pictures, {most} drawn at random make the genuine "
            "pairs"
        )
    genuine, genuine_person = _genuine_pairs(made[rows], person[rows], head)
    most = _most_pictures(max_impostors or MAX_IMPOSTOR_PAIRS)
    rows = np.arange(person.size)
    if person.size > most:
        rows = np.sort(rng.permutation(person.size)[:most])
        notes.append(
            f"{most} of the {person.size} pictures, drawn at random, make the impostor pairs"
        )
    impostor, impostor_people = _impostor_pairs(made[rows], person[rows], head)
    return LabelledScores(genuine, genuine_person, impostor, impostor_people), tuple(notes)


def face_pairs_data(view: View, file: Path) -> LabelledData:
    """Return the labelled pairs of a list of faces that are in an index.

    Who is one person follows from the list alone: faces that are linked by genuine pairs,
    directly or over others.

    Parameters
    ----------
    view : View
        Of the index whose face ids the list names.
    file : Path
        CSV with the columns ``face_a,face_b,same``.

    Returns
    -------
    LabelledData

    Raises
    ------
    UsageError
        The file cannot be read, or names a face that is not in the index.
    CalibrationError
        Its labels contradict each other.
    """
    pairs, same = read_face_pairs(file)
    faces, place = np.unique(pairs, return_inverse=True)
    living = np.concatenate([np.empty(0, np.int64), *(part.face_ids for part in view.segments)])
    unknown = faces[~np.isin(faces, np.setdiff1d(living, view.removed))]
    if unknown.size:
        raise UsageError(f"{file}: there is no face {unknown[0]} in the index")
    place = place.reshape(-1, 2).astype(np.int64)
    person = linked_people(place[same], faces.size)
    apart = place[~same]
    wrong = np.flatnonzero(person[apart[:, 0]] == person[apart[:, 1]])
    if wrong.size:
        a, b = faces[apart[wrong[0]]]
        raise CalibrationError(
            f"{file}: faces {a} and {b} are said to be two people, but other lines link them "
            "as one; correct the labels"
        )
    labelled = LabelledFaces(view.embeddings(faces), person, place)
    return LabelledData(file.name, labelled.scores(COSINE), int(faces.size), faces=labelled)


def _listed_scores(
    embeddings: Float32Array,
    person: Int64Array,
    pairs: Int64Array,
    same: BoolArray,
    head: Head,
) -> LabelledScores:
    """Return the scores of listed pairs, each pair once."""
    _, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    pairs, same = pairs[first], same[first]
    made = head.transform(embeddings)
    score = np.empty(len(pairs), dtype=np.float64)
    for start in range(0, len(pairs), _BLOCK_ROWS * 8):
        part = slice(start, start + _BLOCK_ROWS * 8)
        score[part] = head.listed_scores(made[pairs[part, 0]], made[pairs[part, 1]])
    of_pair = person[pairs]
    np.clip(score, -1.0, 1.0, out=score)  # Rounding of stored embeddings lets some pass 1.
    return LabelledScores(score[same], of_pair[same, 0], score[~same], of_pair[~same])


def _distinct(found: PictureEmbeddings, person: Int64Array) -> tuple[Int64Array, tuple[str, ...]]:
    """Choose the pictures that have a face; copies once, and not under two people's names."""
    with_face = np.flatnonzero(found.has_face)
    _, first, face = np.unique(found.face_ids[with_face], return_index=True, return_inverse=True)
    lowest = np.full(first.size, np.iinfo(np.int64).max)
    highest = np.full(first.size, -1)
    np.minimum.at(lowest, face, person[with_face])
    np.maximum.at(highest, face, person[with_face])
    chosen = np.sort(with_face[first[lowest == highest]])
    notes = []
    n_disputed = int((lowest != highest).sum())
    n_copies = with_face.size - first.size - n_disputed
    if n_disputed:
        notes.append(f"{n_disputed} pictures are under the names of two people: left out")
    if n_copies > 0:
        notes.append(f"{n_copies} pictures are exact copies of others: counted once")
    return chosen, tuple(notes)


def _few_of_each(person: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, int]:
    """Draw at most so many pictures of each person that the genuine pairs are not too many."""
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
    made: Float32Array, person: Int64Array, head: Head
) -> tuple[Float64Array, Int64Array]:
    order = np.argsort(person, kind="stable")
    people, starts = np.unique(person[order], return_index=True)
    scores, of_person = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    for number, start, stop in zip(people, starts, [*starts[1:], person.size], strict=True):
        if stop - start < 2:
            continue
        mine = made[order[start:stop]].astype(np.float64)
        score = np.clip(head.pair_scores(mine, mine), -1.0, 1.0)[np.triu_indices(stop - start, 1)]
        scores.append(score)
        of_person.append(np.full(score.size, number, dtype=np.int64))
    return np.concatenate(scores), np.concatenate(of_person)


def _impostor_pairs(
    made: Float32Array, person: Int64Array, head: Head
) -> tuple[Float64Array, Int64Array]:
    """Every pair of two people, a block of rows at a time into arrays of the final size."""
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
        scores[part] = head.pair_scores(made[start:stop], made[start:])[row, column]
        people[part, 0] = person[start + row]
        people[part, 1] = person[start + column]
        filled = part.stop
    return np.clip(scores, -1.0, 1.0, out=scores), people
