"""The embeddings of labelled pictures, one face of each, with an index as their cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesim_index.records import Box, FaceRecord, Float32Array, Int64Array, PictureFaces


class EmbeddingIndex(Protocol):
    """What is used of a `FaceIndex`."""

    def ingest(self, paths: Sequence[Path]) -> object:
        """Read pictures that are new or changed."""
        ...

    def picture_faces(self, paths: Sequence[Path]) -> list[PictureFaces | None]:
        """Return the faces of pictures; None for one that the index does not have."""
        ...

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        """Return stored embeddings, in the order asked."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PictureEmbeddings:
    """One face of each picture.

    Attributes
    ----------
    embeddings : ndarray of shape (n, dimension), float32
        Unit norm; zero where there is no face.
    has_face : ndarray of shape (n,), bool
    face_ids : ndarray of shape (n,), int64
        In the index that was asked; -1 where there is no face.
    """

    embeddings: Float32Array
    has_face: NDArray[np.bool_]
    face_ids: Int64Array


def central_face(faces: Sequence[FaceRecord], width_px: int, height_px: int) -> int:
    """Return which face a labelled picture is about.

    Collections such as LFW are cropped around the person they name.  So it is the face whose
    centre is nearest to the picture's, but a larger face outweighs some distance: the face with
    the largest ``area - 2 * squared distance``, which is the rule of insightface's detectors.

    Parameters
    ----------
    faces : sequence of FaceRecord
        At least one.
    width_px, height_px : int
        Of the picture.

    Returns
    -------
    int
        Index into `faces`; the first of equals.
    """

    def weight(box: Box) -> float:
        dx = box.x + box.w / 2.0 - width_px / 2.0
        dy = box.y + box.h / 2.0 - height_px / 2.0
        return box.w * box.h - 2.0 * (dx * dx + dy * dy)

    return max(range(len(faces)), key=lambda number: weight(faces[number].box))


def embeddings_of(index: EmbeddingIndex, paths: Sequence[Path]) -> PictureEmbeddings:
    """Return the embedding of the central face of each picture.

    Parameters
    ----------
    index : EmbeddingIndex
        Pictures that it does not have are ingested into it first.
    paths : sequence of Path
        Absolute.

    Returns
    -------
    PictureEmbeddings
        In the order of `paths`.

    Raises
    ------
    UsageError
        A picture does not exist.
    """
    known = index.picture_faces(paths)
    new = [path for path, picture in zip(paths, known, strict=True) if picture is None]
    if new:
        index.ingest(new)
        known = index.picture_faces(paths)
    face_ids = np.full(len(paths), -1, dtype=np.int64)
    for row, picture in enumerate(known):
        if picture is not None and picture.faces:
            chosen = central_face(picture.faces, picture.width_px, picture.height_px)
            face_ids[row] = picture.faces[chosen].face_id
    has_face = face_ids >= 0
    found = index.embeddings(face_ids[has_face])
    embeddings = np.zeros((len(paths), found.shape[1]), dtype=np.float32)
    embeddings[has_face] = found
    return PictureEmbeddings(embeddings, has_face, face_ids)
