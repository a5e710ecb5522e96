"""Uploaded pictures, read in worker processes; nothing of them is kept."""

import threading

from facesim_index.engine.base import EngineSettings
from facesim_index.engine.loading import engine_identity
from facesim_index.engine.local_reader import settings_for
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
    """Reads pictures with the engine of the index; loads none into this process.

    Parameters
    ----------
    index : OpenIndex
    engine : EngineSettings or None
        None: the engine that the index was built with.
    limits : Limits
    """

    def __init__(self, index: OpenIndex, engine: EngineSettings | None, limits: Limits) -> None:
        self._index = index
        self._engine = engine
        self._limits = limits
        self._lock = threading.Lock()
        self._workers: Workers[UploadTask, UploadReading] | None = None
        self._identity: EngineIdentity | None = None

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers there are now."""
        return () if self._workers is None else self._workers.worker_pids

    def read(self, data: bytes, *, pictures: bool) -> UploadReading:
        """Decode and embed a picture in a worker.

        Raises
        ------
        PictureError
            It has too many bytes, takes too long, or its worker died of it.
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
        """Refuse an index that was replaced by one of another engine meanwhile.

        Raises
        ------
        EngineMismatchError
        """
        if self._identity is not None:
            store.check_engine(self._identity)

    def close(self) -> None:
        """Stop the workers."""
        with self._lock:
            if self._workers is not None:
                self._workers.close()

    def _started(self) -> Workers[UploadTask, UploadReading]:
        """Return the workers, after giving them the engine of the index as it is now."""
        with self._lock, self._index.store() as store:
            if self._identity is None or self._identity.key != store.identity.key:
                settings = self._settings(store)
                identity = engine_identity(settings)
                store.check_engine(identity)
                if self._workers is not None:
                    self._workers.close()
                upload = UploadSettings(settings, self._limits.upload_pixels)
                self._workers = Workers(make_upload_reader, upload, usable_cores(), self._limits)
                self._identity = identity
            assert self._workers is not None
            return self._workers

    def _settings(self, store: IndexStore) -> EngineSettings:
        if self._engine is not None:
            return self._engine
        identity = store.identity
        return settings_for(store.model, "auto", identity.augment, identity.numerics)[0]
