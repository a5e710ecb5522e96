"""Uploaded pictures, read in worker processes; nothing of them is kept."""

import threading

from facesim_index.engine.base import EngineSource
from facesim_index.engine.loading import settings_for
from facesim_index.errors import PictureError
from facesim_index.records import EngineIdentity, FailureCode
from facesim_index.store.protocols import IndexStore
from facesim_index.utils.threads import usable_cores
from facesim_index.web.guard.limits import Limits
from facesim_index.web.service.open_index import OpenIndex
from facesim_index.web.service.picture_worker import (
    UploadReading,
    UploadSettings,
    UploadTask,
    make_upload_reader,
)
from facesim_index.web.service.workers import Workers


class Uploads:
    """Reads pictures with the engine of the index, which only worker processes load.

    Parameters
    ----------
    index : OpenIndex
    engine : EngineSource or None
        None for the engine that the index was built with.
    limits : Limits
    """

    def __init__(self, index: OpenIndex, engine: EngineSource | None, limits: Limits) -> None:
        self._index = index
        self._engine = engine
        self._limits = limits
        self._lock = threading.Lock()
        self._workers: Workers[UploadTask, UploadReading] | None = None
        self._identity: EngineIdentity | None = None

    def read(self, data: bytes, *, pictures: bool) -> UploadReading:
        """Decode and embed a picture in a worker.

        Parameters
        ----------
        data : bytes
            Of the picture's file.
        pictures : bool
            Also make a reduced picture, and a crop of each face.

        Returns
        -------
        UploadReading

        Raises
        ------
        PictureError
            The picture has too many bytes, takes too long, or its worker died of it.
        ProblemError
            No worker was free for a long time; status 503.
        EngineMismatchError, ModelError, ProviderError, PipelineError
            No engine that fits the index can be loaded.
        """
        if len(data) > self._limits.upload_bytes:
            raise PictureError(
                FailureCode.TOO_LARGE,
                f"the picture has {len(data):,} bytes, more than the limit of "
                f"{self._limits.upload_bytes:,}",
            )
        return self._started().run(UploadTask(data, pictures))

    def check(self, store: IndexStore) -> None:
        """Refuse an index that was replaced by one of another engine after a picture was read.

        Parameters
        ----------
        store : IndexStore
            The index that is to be searched.

        Raises
        ------
        EngineMismatchError
            Its engine is not the one that reads pictures.
        """
        if self._identity is not None:
            store.check_engine(self._identity)

    def close(self) -> None:
        """Stop the workers."""
        with self._lock:
            if self._workers is not None:
                self._workers.close()

    def _started(self) -> Workers[UploadTask, UploadReading]:
        """Return the workers, started with the engine that the index has now."""
        with self._lock, self._index.store() as store:
            if self._identity is None or self._identity.key != store.identity.key:
                settings = self._settings(store)
                identity = settings.identity
                store.check_engine(identity)
                if self._workers is not None:
                    self._workers.close()
                upload = UploadSettings(settings, self._limits.upload_pixels)
                self._workers = Workers(make_upload_reader, upload, usable_cores(), self._limits)
                self._identity = identity
            assert self._workers is not None
            return self._workers

    def _settings(self, store: IndexStore) -> EngineSource:
        if self._engine is not None:
            return self._engine
        identity = store.identity
        return settings_for(store.model, "auto", identity.augment, identity.numerics)[0]
