"""`FaceIndex`: everything that facesim does with an index, from Python."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from facesim_index.config import default_index
from facesim_index.degrees.gallery import refresh_gallery_prior
from facesim_index.display import notebook as notebook  # draws what a notebook shows
from facesim_index.engine.base import EngineSettings, Provider
from facesim_index.engine.loading import engine_identity
from facesim_index.engine.local_reader import read_all, running_provider
from facesim_index.errors import IndexNotFoundError
from facesim_index.ingest.run import Ingest, IngestSummary
from facesim_index.ingest.scanning import Scan, scan
from facesim_index.ingest.targets import IngestOptions, resolve_targets
from facesim_index.records import (
    AnyPath,
    Augment,
    Numerics,
)
from facesim_index.session.calibration_book import CalibrationBook
from facesim_index.session.exports import ExportMethods
from facesim_index.session.people_book import PeopleBook
from facesim_index.session.queries import QueryMethods
from facesim_index.session.upkeep import UpkeepMethods
from facesim_index.store.opening import open_or_create_store, open_store
from facesim_index.utils.progress import Progress, ignore


class FaceIndex(QueryMethods, ExportMethods, UpkeepMethods):
    """An index of faces on disk.

    Make one with `FaceIndex.open`.  Reading needs no lock and never disturbs a writer; the
    methods that write (`ingest`, `forget`, `compact`, `repair`) hold the writer's lock only
    while they run.

    Examples
    --------
    >>> with FaceIndex.open("holiday.facesim", create=True) as index:  # doctest: +SKIP
    ...     summary = index.ingest(["~/Pictures"])
    ...     answer = index.query("me.jpg", top=5)
    ...     for match in answer.faces[0].matches:
    ...         print(match.degree, match.path)
    """

    @classmethod
    def open(
        cls,
        path: AnyPath | None = None,
        *,
        create: bool = False,
        model: str | Path | None = None,
        provider: Provider = "auto",
        augment: Augment | None = None,
        numerics: Numerics | None = None,
        engine: EngineSettings | None = None,
    ) -> Self:
        """Open an index.

        Parameters
        ----------
        path : path-like, optional
            The index's folder; by default ``$FACESIM_INDEX``, else ``faces.facesim``.
        create : bool, default=False
            Allow that there is none yet; the first `ingest` makes it.
        model : str or Path, optional
            Pack name or folder of ONNX files; by default the one the index was built with.
        provider : {"auto", "cpu", "cuda", "openvino"}, default="auto"
        augment : {"none", "flip"}, optional
            ``flip`` embeds each face and its mirror image together; by default what the index
            was built with, and ``none`` for a new one.
        numerics : {"fp32", "bf16"}, optional
            ``bf16`` lets the recogniser compute in bfloat16, on the provider ``openvino``; by
            default what the index was built with, and ``fp32`` for a new one.
        engine : EngineSettings, optional
            Everything about the engine at once, instead of `model` and `provider`; `augment` and
            `numerics`, where they are given too, replace the engine's.

        Returns
        -------
        FaceIndex

        Raises
        ------
        IndexNotFoundError
            There is no index and `create` is False, or the folder holds something else.
        IndexVersionError
            A newer facesim wrote it.
        """
        folder = default_index() if path is None else Path(path).expanduser()
        index = cls(
            folder,
            model=model,
            provider=provider,
            engine=engine,
            augment=augment,
            numerics=numerics,
        )
        try:
            index._store = open_store(folder)
        except IndexNotFoundError:
            if not create:
                raise
        return index

    @property
    def people(self) -> PeopleBook:
        """Who is in the index."""
        return PeopleBook(lambda: self._opened, self._writer)

    @property
    def calibrations(self) -> CalibrationBook:
        """The calibrations that the degrees of the index can be made with."""
        return CalibrationBook(lambda: self._opened, self._writer)

    def ingest(
        self,
        paths: Sequence[AnyPath] | AnyPath,
        options: IngestOptions | None = None,
        *,
        workers: int | None = None,
        min_detection: float = 0.5,
        min_face_px: int = 20,
        progress: Progress = ignore,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> IngestSummary:
        """Find the faces in folders of pictures, and single pictures, and index them.

        What is already indexed and unchanged is skipped.  It may be interrupted at any
        moment, and goes on where it stopped when it is run again.

        Parameters
        ----------
        paths : path-like or sequence of path-like
        options : IngestOptions, optional
        workers : int, optional
            Worker processes; by default one for each core that this process may use.
        min_detection : float, default=0.5
            Least detection score, in (0, 1].
        min_face_px : int, default=20
            Least length of the shorter side of a face.
        progress : callable, optional
        should_stop : callable, optional
            Asked often; once it is true, what was read is committed and the run ends.

        Returns
        -------
        IngestSummary

        Raises
        ------
        UsageError, EngineMismatchError, IndexLockedError, ModelError, StorageError, PipelineError
        """
        targets = resolve_targets([paths] if isinstance(paths, str | os.PathLike) else paths)
        settings, name = self._engine_settings()
        settings = dataclasses.replace(
            settings,
            min_detection=min_detection,
            min_face_px=min_face_px,
            provider=running_provider(settings),
        )
        with open_or_create_store(self._folder, engine_identity(settings), name) as store:
            ingest = Ingest(
                store,
                targets,
                options or IngestOptions(),
                functools.partial(read_all, settings, workers, should_stop),
                progress=progress,
                should_stop=should_stop,
            )
            summary = ingest.run()
            refresh_gallery_prior(store)
        if self._store is None:
            self._store = open_store(self._folder)
        return summary

    def scan(
        self,
        paths: Sequence[AnyPath] | AnyPath,
        options: IngestOptions | None = None,
        *,
        progress: Progress = ignore,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Scan:
        """Tell what `ingest` would find, and change nothing.

        Returns
        -------
        Scan
        """
        targets = resolve_targets([paths] if isinstance(paths, str | os.PathLike) else paths)
        return scan(
            self._store,
            targets,
            options or IngestOptions(),
            progress=progress,
            should_stop=should_stop,
        )
