"""Crops and reduced pictures of what is indexed, made in worker processes and kept in memory."""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

from facesim_index.errors import PictureError
from facesim_index.pictures.decoding import MAX_PIXELS
from facesim_index.records import Failure, FailureCode
from facesim_index.utils.threads import usable_cores
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.problems import ProblemError
from facesim_index.web.service.picture_worker import CropTask, make_cropper
from facesim_index.web.service.workers import Workers

Key = tuple[str, int, str]

_GONE = {FailureCode.LOST: "picture_gone", FailureCode.CHANGING: "picture_changed"}


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A picture to send.

    Attributes
    ----------
    data : bytes
    etag : str
        Always the same for the same picture: what an id shows never changes.
    """

    data: bytes
    etag: str


class Crops:
    """Makes crops, and keeps those that were asked for last.

    The caller must look up each time whether a face is still there, and `drop` it when it is not.

    Parameters
    ----------
    limits : Limits
    """

    def __init__(self, limits: Limits) -> None:
        self._limit_bytes = limits.crops_bytes
        self._workers = Workers(make_cropper, MAX_PIXELS, usable_cores(), limits)
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._n_bytes = 0

    def get(self, kind: str, number: int, task: CropTask) -> Jpeg:
        """Return a crop, from memory or made anew.

        Parameters
        ----------
        kind : {"face", "image"}
        number : int
            Id of the face or picture that is shown.
        task : CropTask

        Returns
        -------
        Jpeg

        Raises
        ------
        ProblemError
            No file shows the picture any more; status 404.
        PictureError, PipelineError
            It cannot be decoded.
        """
        key = (kind, number, _digest(task))
        etag = f'"{key[2]}"'
        with self._lock:
            data = self._kept.get(key)
            if data is not None:
                self._kept.move_to_end(key)
                return Jpeg(data, etag)
        made = self._workers.run(task)
        if isinstance(made, Failure):
            if made.code in _GONE:
                detail = f"the picture cannot be shown: {made.message}"
                raise ProblemError(404, _GONE[made.code], detail)
            raise PictureError(made.code, f"the picture cannot be shown: {made.message}")
        self._keep(key, made)
        return Jpeg(made, etag)

    def drop(self, kind: str, number: int) -> None:
        """Forget every crop of a face or a picture that is gone.

        Parameters
        ----------
        kind : {"face", "image"}
        number : int
        """
        with self._lock:
            for key in [key for key in self._kept if key[:2] == (kind, number)]:
                self._n_bytes -= len(self._kept.pop(key))

    def kept(self, kind: str) -> set[int]:
        """Return of which faces or pictures a crop is kept.

        Parameters
        ----------
        kind : {"face", "image"}

        Returns
        -------
        set of int
            Their ids.
        """
        with self._lock:
            return {number for known, number, _ in self._kept if known == kind}

    def close(self) -> None:
        """Stop the workers."""
        self._workers.close()

    def _keep(self, key: Key, data: bytes) -> None:
        with self._lock:
            self._n_bytes += len(data) - len(self._kept.pop(key, b""))
            self._kept[key] = data
            while self._n_bytes > self._limit_bytes:
                _, old = self._kept.popitem(last=False)
                self._n_bytes -= len(old)


def _digest(task: CropTask) -> str:
    """Return a digest of what is shown: an id may name another face in another index."""
    landmarks = b"" if task.landmarks is None else task.landmarks.tobytes()
    whole = hashlib.sha256(task.content_hash + landmarks + str(task.side_px).encode("ascii"))
    return whole.hexdigest()[:32]
