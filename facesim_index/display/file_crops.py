"""Faces cut out of picture files, at no more cost than an ingest may have for the same pictures.

What lies in a file may have changed since it was ingested.  So a picture is decoded in this process
only if it surely costs little, and by a worker otherwise, as for a query.
"""

import functools
import weakref
from collections.abc import Callable
from pathlib import Path

from facesim_index.display.crops import crop_face
from facesim_index.engine.local_reader import one_worker, plain_content
from facesim_index.errors import PictureError, UsageError
from facesim_index.pictures.decoding import decode, use_one_thread
from facesim_index.pictures.files import read_bytes
from facesim_index.pictures.views import View
from facesim_index.records import Failure, Float32Array, UInt8Array
from facesim_index.workers.pool import ItemFailed, WorkerPool

Crops = Callable[[str, Float32Array], UInt8Array | None]

_Face = tuple[str, Float32Array]


def crop_from_file(path: str, landmarks: Float32Array, side_px: int) -> UInt8Array | None:
    """Return the upright crop of a face in a picture file, with some room around it.

    Parameters
    ----------
    path : str
    landmarks : ndarray of shape (5, 2), float32
        In pixels of the picture.
    side_px : int
        Side of the crop, at least 1.

    Returns
    -------
    ndarray of shape (side_px, side_px, 3), uint8, or None
        None when the file or the face in it cannot be read.
    """
    return FileCrops(side_px)(path, landmarks)


class FileCrops:
    """Cuts crops from picture files as `crop_from_file` does; called with a path and landmarks.

    A picture is read once for faces that are asked for one after the other.

    Parameters
    ----------
    side_px : int
        Side of the crops, at least 1.
    """

    def __init__(self, side_px: int) -> None:
        self._side_px = side_px
        self._plain = functools.lru_cache(maxsize=1)(_plain_pixels)
        self._pool: WorkerPool[_Face, UInt8Array | Failure | None] | None = None
        self._given_up: set[str] = set()  # a further try might take as long as the first

    def __call__(self, path: str, landmarks: Float32Array) -> UInt8Array | None:
        """Return the crop of a face, None when the file or the face in it cannot be read."""
        if path in self._given_up:
            return None
        try:
            rgb = self._plain(path)
        except PictureError:
            self._given_up.add(path)
            return None
        if rgb is not None:
            return _crop(rgb, landmarks, self._side_px)
        crop = self._cut_aside(path, landmarks)
        if isinstance(crop, ItemFailed | Failure):
            self._given_up.add(path)
            return None
        return crop

    def _cut_aside(
        self, path: str, landmarks: Float32Array
    ) -> UInt8Array | Failure | ItemFailed | None:
        if self._pool is None:
            self._pool = one_worker(make_cropper, self._side_px)
            weakref.finalize(self, self._pool.kill)
        [(_, outcome)] = list(self._pool.map_ordered([(path, landmarks)]))
        return outcome


def make_cropper(side_px: int) -> Callable[[_Face], UInt8Array | Failure | None]:
    """Return what cuts crops in a worker process.

    Parameters
    ----------
    side_px : int
        Side of the crops.

    Returns
    -------
    callable
        Takes a path with landmarks, and returns the crop; None for landmarks that make no sense,
        or why the picture cannot be read.
    """
    use_one_thread()
    pixels = functools.lru_cache(maxsize=1)(_pixels)

    def cut(face: _Face) -> UInt8Array | Failure | None:
        path, landmarks = face
        try:
            return _crop(pixels(path), landmarks, side_px)
        except PictureError as error:
            return Failure(error.code, error.message)

    return cut


def _plain_pixels(path: str) -> UInt8Array | None:
    """Return the pixels of a picture that costs little; None for any other."""
    content = plain_content(Path(path))
    return None if content is None else decode(content[0]).rgb


def _pixels(path: str) -> UInt8Array:
    return decode(read_bytes(Path(path))[0]).rgb


def _crop(rgb: UInt8Array, landmarks: Float32Array, side_px: int) -> UInt8Array | None:
    try:
        return crop_face(View.whole(rgb), landmarks, side_px)
    except UsageError:
        return None
