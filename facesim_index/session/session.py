"""The base of `FaceIndex`: the open store, the moment that is held, and the engine."""

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from facesim_index.engine.base import EngineSource, Provider
from facesim_index.engine.loading import settings_for
from facesim_index.engine.local_reader import OnePictureReader
from facesim_index.records import Augment, EngineIdentity, Numerics
from facesim_index.store.opening import open_store
from facesim_index.store.protocols import CatalogView, IndexStore, IndexView
from facesim_index.utils.threads import usable_cores


class IndexSession:
    """Hold an index open, and load the engine for its queries when one is first needed.

    The index, too, is opened when it is first asked something.

    Parameters
    ----------
    folder : Path
        The folder of the index; it need not exist yet.
    model : str, Path or None
        Pack name or folder of ONNX files; None for the one the index was built with.
    provider : {"auto", "cpu", "cuda", "openvino"}
        What the networks run on; ``auto`` chooses among those that work here.
    engine : EngineSource or None
        Everything about the engine at once, instead of `model` and `provider`.
    augment : {"none", "flip"} or None
        None for what the index was built with.
    numerics : {"fp32", "bf16"} or None
        None for what the index was built with.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: str | Path | None,
        provider: Provider,
        engine: EngineSource | None,
        augment: Augment | None,
        numerics: Numerics | None,
    ) -> None:
        self._folder = folder
        self._model = model
        self._provider = provider
        self._settings = engine
        self._augment = augment
        self._numerics = numerics
        self._reader: OnePictureReader | None = None
        self._store: IndexStore | None = None
        self._held_rows: CatalogView | None = None
        self._held_view: IndexView | None = None

    @property
    def path(self) -> Path:
        """The folder of the index, as it was given."""
        return self._folder

    @property
    def identity(self) -> EngineIdentity:
        """The engine whose embeddings the index holds.

        Raises
        ------
        IndexNotFoundError
            There is no index yet.
        """
        return self._opened.identity

    def check_engine(self, identity: EngineIdentity) -> None:
        """Refuse an engine whose embeddings must not be compared with those of the index.

        Parameters
        ----------
        identity : EngineIdentity
            Of the engine in question.

        Raises
        ------
        EngineMismatchError
            It is another engine; the message names the options that choose the index's own.
        IndexNotFoundError
            There is no index yet.

        Examples
        --------
        >>> import dataclasses
        >>> index.check_engine(index.identity)
        >>> index.check_engine(dataclasses.replace(index.identity, augment="flip"))
        Traceback (most recent call last):
            ...
        facesim_index.errors.EngineMismatchError: holiday.facesim was built with ...
        """
        self._opened.check_engine(identity)

    @property
    def model(self) -> str | Path | None:
        """Pack name or folder of the weights in use; None for the default pack."""
        if self._model is None and self._store is not None:
            return self._store.model
        return self._model

    @property
    def augment(self) -> Augment:
        """What is embedded of each face: ``flip`` if its mirror image is too, else ``none``."""
        if self._augment is not None:
            return self._augment
        if self._settings is not None:
            return self._settings.augment
        return "none" if self._store is None else self._store.identity.augment

    @property
    def numerics(self) -> Numerics:
        """What the recogniser computes in: ``bf16`` for bfloat16, else ``fp32``."""
        if self._numerics is not None:
            return self._numerics
        if self._settings is not None:
            return self._settings.numerics
        return "fp32" if self._store is None else self._store.identity.numerics

    @contextlib.contextmanager
    def moment(self, *, embeddings: bool = True) -> Iterator[Self]:
        """Hold the index as it is at this moment, so that several answers fit together.

        Each single question is answered from one moment anyway.  Ask several questions of the
        object that this gives, and all of them are answered from the same moment, whatever another
        process commits, forgets or compacts meanwhile.  Its `people` and `calibrations` answer from
        the present all the same.

        Parameters
        ----------
        embeddings : bool, default=True
            Also hold the embeddings.  False holds the rows only: enough for lists of faces and
            files, and possible where embeddings are damaged.

        Yields
        ------
        FaceIndex
            Only for use inside the block.

        Raises
        ------
        IndexDamagedError
            Embeddings are missing, or are not what was written.
        IndexNotFoundError
            There is no index yet.

        Examples
        --------
        >>> with index.moment() as now:
        ...     chosen = now.face_ids(under=photos)
        ...     frame = now.matrix(chosen)
        >>> frame.shape
        (6, 6)
        """
        held = copy.copy(self)
        with contextlib.ExitStack() as views:
            if embeddings:
                held._held_view = held._held_rows = views.enter_context(self._view())
            else:
                held._held_rows = views.enter_context(self._read())
            yield held

    def close(self) -> None:
        """Close every file of the index, and end the process that read pictures, if there is one.

        The next question opens it again.  At the end of a ``with`` block it is closed in any case.

        Examples
        --------
        >>> index.close()
        >>> index.face_ids()
        array([1, 2, 3, 4, 5, 6])
        """
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._reader is not None:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _opened(self) -> IndexStore:
        if self._store is None:
            self._store = open_store(self._folder)
        return self._store

    @contextlib.contextmanager
    def _read(self) -> Iterator[CatalogView]:
        """Give the rows of the moment that is held, or else of now."""
        if self._held_rows is not None:
            yield self._held_rows
            return
        with self._opened.read() as rows:
            yield rows

    @contextlib.contextmanager
    def _view(self, *, partial: bool = False) -> Iterator[IndexView]:
        """Give the rows and embeddings of the moment that is held, or else of now."""
        if self._held_view is not None:
            yield self._held_view
            return
        with self._opened.view(partial=partial) as view:
            yield view

    def _writer(self) -> IndexStore:
        return open_store(self._folder, writable=True)

    @property
    def _pictures(self) -> OnePictureReader:
        """What reads the pictures of queries, on all cores; its engine is loaded when needed."""
        if self._reader is None:
            settings, _ = self._engine_settings()
            self._opened.check_engine(settings.identity)
            settings = dataclasses.replace(settings, threads=usable_cores())
            self._reader = OnePictureReader(settings)
        return self._reader

    def _engine_settings(self) -> tuple[EngineSource, str]:
        """Return the engine to use, and the name under which its weights are found again."""
        if self._settings is not None:
            settings = dataclasses.replace(
                self._settings, augment=self.augment, numerics=self.numerics
            )
            return settings, settings.weights_name
        return settings_for(self.model, self._provider, self.augment, self.numerics)
