"""The embeddings of labelled pictures, one face of each; an index keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesim_index.records import Box, FaceRecord, Float32Array, Int64Array, PictureFaces


class EmbeddingIndex(Protocol):
    """The methods of a `FaceIndex` that are needed here."""

    def ingest(self, paths: Sequence[Path]) -> object:
        """Read pictures that are new or changed.

        Parameters
        ----------
        paths : sequence of Path
            Absolute.

        Returns
        -------
        object
            Not used here.
        """
        ...

    def picture_faces(self, paths: Sequence[Path]) -> list[PictureFaces | None]:
        """Return the faces of pictures.

        Parameters
        ----------
        paths : sequence of Path
            Absolute.

        Returns
        -------
        list of PictureFaces or None
            In the order of `paths`; None for a picture that the index does not have.
        """
        ...

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        """Return stored embeddings.

        Parameters
        ----------
        face_ids : ndarray of shape (n,), int64

        Returns
        -------
        ndarray of shape (n, dimension), float32
            Unit norm, in the order of `face_ids`.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PictureEmbeddings:
    """One face of each picture.

    Attributes
    ----------
    embeddings : ndarray of shape (n, dimension), float32
        Unit norm; zero where there is no face.
    has_face : ndarray of shape (n,), bool
        Whether a face was found in each picture.
    face_ids : ndarray of shape (n,), int64
        Ids of the faces in the index; -1 where there is no face.
    """

    embeddings: Float32Array
    has_face: NDArray[np.bool_]
    face_ids: Int64Array


def central_face(faces: Sequence[FaceRecord], width_px: int, height_px: int) -> int:
    """Return which face a labelled picture is about.

    Collections such as LFW are cropped around the person they name.  So the face is chosen by its
    distance from the centre of the picture and by its size: it is the one with the largest
    ``area - 2 * squared distance``, in pixels.  This is the rule of the detectors of insightface.

    Parameters
    ----------
    faces : sequence of FaceRecord
        At least one.
    width_px, height_px : int
        Of the picture.

    Returns
    -------
    int
        Index into `faces`; the first one among equals.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> small, large = (
    ...     SimpleNamespace(box=Box(x, 40.0, side, side)) for x, side in ((0.0, 10.0), (45.0, 20.0))
    ... )
    >>> central_face([small, large], width_px=100, height_px=100)
    1
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
        Pictures that it does not have are added to it first.
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
