"""Labels from folders: each folder is named after the person that its pictures show."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.errors import UsageError
from facesim_index.labels.embeddings import central_face
from facesim_index.records import FaceRecord
from facesim_index.store.catalog import face_rows, people_rows
from facesim_index.store.protocols import IndexView

_FACES_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class FolderLabels:
    """Whom the pictures in the folders of a folder show.

    Attributes
    ----------
    faces : dict of str to tuple of int
        For the name of each folder, in their order, the faces that show that person.
    n_ambiguous : int
        Faces left out because two folders claim them.
    n_kept : int
        Faces left out because a human assigned them to somebody else before.

    Examples
    --------
    >>> summary = index.ingest("people")
    >>> labels = index.people.confirm_folder(Path("people"))
    >>> list(labels.faces)[:3], labels.faces["Dana"], labels.n_ambiguous
    (['Dana', 'Emil', 'Fay'], (7, 8, 9), 0)
    """

    faces: dict[str, tuple[int, ...]]
    n_ambiguous: int
    n_kept: int


def folder_labels(view: IndexView, folder: Path) -> FolderLabels:
    """Return which faces show the people that the folders of a folder are named after.

    In a picture with one face it is that one.  Among several faces it is the one most like the
    person's other pictures; where there are none, the most central.

    Parameters
    ----------
    view : IndexView
        The pictures must be in it already.
    folder : Path
        Holds one folder for each person; pictures at any depth below it show that person.

    Returns
    -------
    FolderLabels

    Raises
    ------
    UsageError
        There is no folder in it.
    """
    where = folder.expanduser().resolve()
    try:
        names = sorted(entry.name for entry in where.iterdir() if entry.is_dir())
    except OSError as error:
        raise UsageError(f"cannot look into {folder}: {error.strerror or error}") from error
    if not names:
        raise UsageError(f"{folder} has no folders; make one for each person, with its name")
    below = _faces_below(view, where)
    chosen = {name: _faces_of_person(view, below.get(name, [])) for name in names}
    known = {row.person_id: row.name for row in people_rows.persons(view.transaction)}
    found = people_rows.assignments(view.transaction)
    said = {
        face: known[person]
        for face, person in zip(
            found.face_ids[found.confirmed].tolist(),
            found.person_ids[found.confirmed].tolist(),
            strict=True,
        )
    }
    claims = Counter(face for faces in chosen.values() for face in faces)
    labels: dict[str, tuple[int, ...]] = {}
    n_kept = 0
    for name, faces in chosen.items():
        clear = [face for face in faces if claims[face] == 1]
        free = [face for face in clear if _same_name(said.get(face, name), name)]
        n_kept += len(clear) - len(free)
        if free:
            labels[name] = tuple(free)
    return FolderLabels(labels, sum(count > 1 for count in claims.values()), n_kept)


def _same_name(known: str | None, name: str) -> bool:
    return known is not None and known.casefold() == name.casefold()


def _faces_below(view: IndexView, where: Path) -> dict[str, list[int]]:
    """Return the faces of the pictures in each folder of a folder, asking for all of them once."""
    start = f"{str(where).rstrip(os.sep)}{os.sep}"
    found: dict[str, list[int]] = {}
    ids = face_rows.face_ids(view.transaction, under=where)
    for row in range(0, len(ids), _FACES_AT_ONCE):
        for face in face_rows.faces(view.transaction, ids[row : row + _FACES_AT_ONCE]):
            below = [path[len(start) :] for path in face.paths if path.startswith(start)]
            for name in {path.partition(os.sep)[0] for path in below}:
                found.setdefault(name, []).append(face.face_id)
    return found


def _faces_of_person(view: IndexView, ids: list[int]) -> list[int]:
    """Return, for each picture of some faces, the face that shows the person."""
    pictures: dict[int, list[FaceRecord]] = {}
    for face in face_rows.faces(view.transaction, np.array(ids, dtype=np.int64)):
        pictures.setdefault(face.image_id, []).append(face)
    alone = [faces[0].face_id for faces in pictures.values() if len(faces) == 1]
    several = [faces for faces in pictures.values() if len(faces) > 1]
    if not alone:
        return [_most_central(view, faces) for faces in several]
    mean = view.embeddings(np.array(alone, dtype=np.int64)).mean(axis=0)
    best = []
    for faces in several:
        mine = np.array([face.face_id for face in faces], dtype=np.int64)
        best.append(int(mine[(view.embeddings(mine) @ mean).argmax()]))
    return [*(int(face) for face in alone), *best]


def _most_central(view: IndexView, faces: list[FaceRecord]) -> int:
    picture = face_rows.picture_faces(view.transaction, Path(faces[0].path))
    width, height = (0, 0) if picture is None else (picture.width_px, picture.height_px)
    return int(faces[central_face(faces, width, height)].face_id)
