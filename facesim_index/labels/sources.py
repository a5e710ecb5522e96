"""Scores of labelled pairs of pictures or faces, with the people they show.

There are three kinds of labels: a folder with one folder for each person (every pair of its
pictures), a list of pairs of pictures, and a list of pairs of faces that are in an index.
"""

from pathlib import Path

import numpy as np

from facesim_index.calibration.fitting.labelled_data import LabelledData, LabelledFaces, every_pair
from facesim_index.calibration.heads import COSINE
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.labels.embeddings import EmbeddingIndex, PictureEmbeddings, embeddings_of
from facesim_index.labels.face_pairs import read_face_pairs
from facesim_index.labels.pair_lists import contradicted, listed_people, people_folder, read_pairs
from facesim_index.metrics.linking import linked_people
from facesim_index.records import Int64Array
from facesim_index.store.protocols import IndexView


def people_data(index: EmbeddingIndex, folder: Path) -> LabelledData:
    """Return every pair of the pictures of a folder with one folder for each person.

    Parameters
    ----------
    index : EmbeddingIndex
        Keeps the embeddings.  Pictures that it does not have are added to it.
    folder : Path
        As for `people_folder`.

    Returns
    -------
    LabelledData

    Raises
    ------
    UsageError
        There is no such folder, or no picture of a person in it.

    Examples
    --------
    >>> from facesim_index import people_data
    >>> data = people_data(index, Path("people"))
    >>> data.n_pictures, data.n_without_face, data.scores.genuine.size
    (24, 0, 24)
    """
    people = people_folder(folder)
    found = embeddings_of(index, list(people))
    _, person = np.unique(list(people.values()), return_inverse=True)
    return _every_pair(folder.resolve().name, found, person.astype(np.int64).ravel())


def picture_pairs_data(index: EmbeddingIndex, file: Path, images: Path | None) -> LabelledData:
    """Return the pairs of a list of pairs of pictures.

    Where every label agrees that each folder holds one person, the person on every picture is
    known.  Then every pair of the pictures is used, not only the listed ones.  Otherwise the
    listed pairs are used, and pictures that genuine pairs link show one person.

    Parameters
    ----------
    index : EmbeddingIndex
        As for `people_data`.
    file : Path
        As for `read_pairs`.
    images : Path or None
        The folder of the pictures, as for `read_pairs`.

    Returns
    -------
    LabelledData

    Raises
    ------
    UsageError
        As `read_pairs`.
    CalibrationError
        As `listed_people`.

    Examples
    --------
    >>> from facesim_index import picture_pairs_data
    >>> data = picture_pairs_data(index, Path("picture_pairs.csv"), Path("people"))
    >>> data.name, data.n_pictures
    ('picture_pairs.csv', 9)
    """
    listed = read_pairs(file, images)
    people = listed_people(listed, file)
    found = embeddings_of(index, listed.paths)
    if people.by_folder:
        return _every_pair(file.name, found, people.person)
    rows = people.rows
    usable = found.has_face[rows].all(axis=1)
    # One picture under two names, or against itself, says nothing about faces.
    usable &= found.face_ids[rows[:, 0]] != found.face_ids[rows[:, 1]]
    faces = LabelledFaces(found.embeddings, people.person, rows[usable])
    return LabelledData(
        name=file.name,
        scores=faces.scores(COSINE),
        n_pictures=found.has_face.size,
        n_without_face=int((~found.has_face).sum()),
        faces=faces,
    )


def face_pairs_data(view: IndexView, file: Path) -> LabelledData:
    """Return the labelled pairs of a list of faces that are in an index.

    Only the list says who is one person: faces that genuine pairs link, directly or through
    others, are of one person.

    Parameters
    ----------
    view : IndexView
        Of the index whose face ids the list names.
    file : Path
        As for `read_face_pairs`.

    Returns
    -------
    LabelledData

    Raises
    ------
    UsageError
        As `read_face_pairs`; or a face is not in the index.
    CalibrationError
        Two faces are said to be of two people, but other lines link them.
    """
    pairs, same = read_face_pairs(file)
    faces, place = np.unique(pairs, return_inverse=True)
    unknown = faces[~np.isin(faces, view.living_faces())]
    if unknown.size:
        raise UsageError(f"{file}: there is no face {unknown[0]} in the index")
    place = place.reshape(-1, 2).astype(np.int64)
    person = linked_people(place[same], faces.size)
    wrong = contradicted(place, same, person)
    if wrong is not None:
        a, b = faces[wrong]
        raise CalibrationError(
            f"{file}: faces {a} and {b} are said to be two people, but other lines link them "
            "as one; correct the labels"
        )
    labelled = LabelledFaces(view.embeddings(faces), person, place)
    return LabelledData(file.name, labelled.scores(COSINE), int(faces.size), faces=labelled)


def _every_pair(name: str, found: PictureEmbeddings, person: Int64Array) -> LabelledData:
    """Return every pair of the pictures of some people."""
    chosen, notes = _distinct(found, person)
    faces = LabelledFaces(found.embeddings[chosen], person[chosen])
    scores, more = every_pair(faces.embeddings, faces.person)
    return LabelledData(
        name=name,
        scores=scores,
        n_pictures=found.has_face.size,
        n_without_face=int((~found.has_face).sum()),
        notes=(*notes, *more),
        faces=faces,
    )


def _distinct(found: PictureEmbeddings, person: Int64Array) -> tuple[Int64Array, tuple[str, ...]]:
    """Return the pictures that have a face, without copies and without disputed pictures.

    Of exact copies of one picture only the first is taken, and none when they are under the names
    of two people.
    """
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
