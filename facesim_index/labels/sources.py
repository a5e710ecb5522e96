"""From labels to scores: those of pairs of pictures or faces, with who they show.

Three ways in: a folder with one folder a person (every pair of its pictures), a list of pairs
of pictures, and a list of pairs of faces that are in an index.
"""

from pathlib import Path

import numpy as np

from facesim_index.calibration.fitting.labelled_data import LabelledData, LabelledFaces, every_pair
from facesim_index.calibration.heads import COSINE
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.labels.embeddings import EmbeddingIndex, PictureEmbeddings, embeddings_of
from facesim_index.labels.face_pairs import read_face_pairs
from facesim_index.labels.pair_lists import people_folder, read_pairs
from facesim_index.metrics.linking import linked_people
from facesim_index.records import Int64Array
from facesim_index.store.protocols import IndexView


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


def face_pairs_data(view: IndexView, file: Path) -> LabelledData:
    """Return the labelled pairs of a list of faces that are in an index.

    Who is one person follows from the list alone: faces that are linked by genuine pairs,
    directly or over others.

    Parameters
    ----------
    view : IndexView
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
    unknown = faces[~np.isin(faces, view.living_faces())]
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
