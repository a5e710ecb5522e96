"""What every theme of `FaceIndex` stands on: the open store, its views, and the engine."""

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from facesim_index.engine.base import EngineSettings, FaceEngine, Provider
from facesim_index.engine.loading import engine_identity, load_engine
from facesim_index.engine.local_reader import settings_for
from facesim_index.records import Augment, EngineIdentity, Numerics
from facesim_index.store.opening import open_store
from facesim_index.store.protocols import CatalogView, IndexStore, IndexView
from facesim_index.utils.threads import usable_cores


class IndexSession:
    """An index that is opened when it is first asked something, and the engine for its queries.

    Parameters
    ----------
    folder : Path
        The index; it need not exist yet.
    model : str, Path or None
        Pack name or folder of ONNX files; None for the one the index was built with.
    provider : {"auto", "cpu", "cuda", "openvino"}
    engine : EngineSettings or None
        Everything about the engine at once, instead of `model` and `provider`.
    augment : {"none", "flip"} or None
    numerics : {"fp32", "bf16"} or None
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: str | Path | None,
        provider: Provider,
        engine: EngineSettings | None,
        augment: Augment | None,
        numerics: Numerics | None,
    ) -> None:
        self._folder = folder
        self._model = model
        self._provider = provider
        self._settings = engine
        self._augment = augment
        self._numerics = numerics
        self._loaded: FaceEngine | None = None
        self._store: IndexStore | None = None
        self._held_rows: CatalogView | None = None
        self._held_view: IndexView | None = None

    @property
    def path(self) -> Path:
        """The index's folder."""
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
        """Refuse an engine whose embeddings may not be compared with those of the index.

        Parameters
        ----------
        identity : EngineIdentity

        Raises
        ------
        EngineMismatchError
            The message names the options that choose the index's engine.
        """
        self._opened.check_engine(identity)

    @property
    def model(self) -> str | Path | None:
        """Pack name or folder of the weights in use; None for the default."""
        if self._model is None and self._store is not None:
            return self._store.model
        return self._model

    @property
    def augment(self) -> Augment:
        """What is embedded of each face: ``flip`` for its mirror image too, else ``none``."""
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
        """Hold the index as it is at this moment, for several questions.

        Every question is answered from one moment anyway.  Ask the object that this gives, and
        the answers of all questions in the block fit together, whatever is committed, forgotten
        or compacted meanwhile.

        Parameters
        ----------
        embeddings : bool, default=True
            False holds the rows only, which is enough for lists of faces and files, and can be
            done where embeddings are damaged.

        Yields
        ------
        FaceIndex
            Not to be used after the block.

        Raises
        ------
        IndexDamagedError
            Embeddings are missing or are not whole.

        Examples
        --------
        >>> with index.moment() as now:  # doctest: +SKIP
        ...     chosen = now.face_ids(under="~/Pictures/2021")
        ...     frame = now.matrix(chosen)
        """
        held = copy.copy(self)
        with contextlib.ExitStack() as views:
            if embeddings:
                held._held_view = held._held_rows = views.enter_context(self._view())
            else:
                held._held_rows = views.enter_context(self._read())
            yield held

    def close(self) -> None:
        """Let go of every file."""
        if self._store is not None:
            self._store.close()
            self._store = None

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
        """Give the rows of one moment: the one that is held, else now."""
        if self._held_rows is not None:
            yield self._held_rows
            return
        with self._opened.read() as rows:
            yield rows

    @contextlib.contextmanager
    def _view(self, *, partial: bool = False) -> Iterator[IndexView]:
        """Give rows and embeddings of one moment: the one that is held, else now."""
        if self._held_view is not None:
            yield self._held_view
            return
        with self._opened.view(partial=partial) as view:
            yield view

    def _writer(self) -> IndexStore:
        return open_store(self._folder, writable=True)

    @property
    def _engine(self) -> FaceEngine:
        """The engine for queries, on all cores; loaded when it is first needed."""
        if self._loaded is None:
            settings, _ = self._engine_settings()
            self._opened.check_engine(engine_identity(settings))
            self._loaded = load_engine(dataclasses.replace(settings, threads=usable_cores()))
        return self._loaded

    def _engine_settings(self) -> tuple[EngineSettings, str]:
        """Return the engine to use, and the name under which its weights are found again."""
        if self._settings is not None:
            model = self._settings.model
            settings = dataclasses.replace(
                self._settings, augment=self.augment, numerics=self.numerics
            )
            return settings, str(model.detector.parent) if model else "fake"
        return settings_for(self.model, self._provider, self.augment, self.numerics)
