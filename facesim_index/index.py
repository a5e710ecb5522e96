"""`FaceIndex`: everything that facesim does with an index, from Python."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from facesim_index.config import default_index
from facesim_index.degrees.verdicts import refresh_estimates
from facesim_index.display import notebook as notebook  # draws what a notebook shows
from facesim_index.engine.base import EngineSource, Provider
from facesim_index.engine.local_reader import LocalReader
from facesim_index.errors import IndexNotFoundError
from facesim_index.ingest.folders import open_folders
from facesim_index.ingest.run import Ingest, IngestSummary
from facesim_index.ingest.scanning import Scan, scan
from facesim_index.ingest.targets import IngestOptions
from facesim_index.records import AnyPath, Augment, Numerics
from facesim_index.session.calibration_book import CalibrationBook
from facesim_index.session.exports import ExportMethods
from facesim_index.session.people_book import PeopleBook
from facesim_index.session.queries import QueryMethods
from facesim_index.session.upkeep import UpkeepMethods
from facesim_index.store.opening import open_or_create_store, open_store
from facesim_index.utils.progress import Progress, ignore


class FaceIndex(QueryMethods, ExportMethods, UpkeepMethods):
    """An index of faces on disk: everything that facesim does with one.

    Make one with `FaceIndex.open`.  Any number of processes may read it at the same time, also
    while one writes.  The methods that write (`ingest`, `forget`, `compact`, `repair`, and those of
    `people` and `calibrations`) hold the writer's lock only while they run.  A method that needs an
    index raises `IndexNotFoundError` while there is none yet.

    Examples
    --------
    >>> from facesim_index import FaceIndex
    >>> with FaceIndex.open("new.facesim", create=True) as index:
    ...     summary = index.ingest("photos")
    ...     answer = index.query("photos/anna_1.png", top=2)
    ...     for match in answer.faces[0].matches:
    ...         print(Path(match.path).name, round(match.degree, 3))
    anna_1.png 0.997
    anna_and_ben.png 0.995
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
        engine: EngineSource | None = None,
    ) -> Self:
        """Open an index.

        Parameters
        ----------
        path : path-like, optional
            The folder of the index; by default ``$FACESIM_INDEX``, else ``faces.facesim``.
        create : bool, default=False
            Accept that there is none yet; the first `ingest` makes it.
        model : str or Path, optional
            Pack name or folder of ONNX files; by default the one the index was built with.
        provider : {"auto", "cpu", "cuda", "openvino"}, default="auto"
            What the networks run on.  ``auto`` takes the CPU.  ``cuda`` pays for an `ingest` of
            thousands of pictures: the card needs seconds to start.  ``openvino`` runs the
            recogniser only.
        augment : {"none", "flip"}, optional
            ``flip`` embeds each face together with its mirror image.  By default what the index was
            built with, and ``none`` for a new one.
        numerics : {"fp32", "bf16"}, optional
            ``bf16`` lets the recogniser compute in bfloat16, on the provider ``openvino``.  By
            default what the index was built with, and ``fp32`` for a new one.
        engine : EngineSource, optional
            Everything about the engine at once, instead of `model` and `provider`.  Where `augment`
            and `numerics` are given too, they replace the engine's.

        Returns
        -------
        FaceIndex
            To be closed; best used in a ``with`` block.

        Raises
        ------
        IndexNotFoundError
            There is no index and `create` is False, or the folder holds something else.
        IndexVersionError
            A newer facesim wrote it.

        Examples
        --------
        >>> from facesim_index import FaceIndex
        >>> with FaceIndex.open("holiday.facesim") as index:
        ...     index.status().counts["faces"]
        6
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
        """The people of the index: who there is, and what a human says of them."""
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
        """Find the faces in folders of pictures and in single pictures, and index them.

        Pictures that are already indexed and unchanged are skipped.  It may be interrupted at any
        moment; when it is run again, it goes on where it stopped.

        Parameters
        ----------
        paths : path-like or sequence of path-like
            Folders, which are searched at any depth, and pictures.
        options : IngestOptions, optional
            By default nothing is left out, and nothing is dropped from the index.
        workers : int, optional
            Worker processes; by default one for each core that this process may use.
        min_detection : float, default=0.5
            Leave out faces with a lower detection score; in (0, 1].
        min_face_px : int, default=20
            Leave out faces whose box has a side shorter than this, in pixels of the full picture.
        progress : callable, optional
            Called often with a `ProgressUpdate`.
        should_stop : callable, optional
            Called often, without arguments.  Once it returns True, what was read is committed and
            the run ends.

        Returns
        -------
        IngestSummary

        Raises
        ------
        UsageError
            No path was given, one does not exist, or an option is out of range.
        EngineMismatchError
            The index was built with another engine.
        IndexLockedError
            Another process is writing.
        ModelError
            The engine's weights are missing or damaged.
        ProviderError
            The provider that was asked for does not run here.
        StorageError
            The index could not be written; what was committed before stays.
        PipelineError
            The worker processes cannot run; what was read before stays.

        Examples
        --------
        >>> summary = index.ingest("people")
        >>> summary.files_new, summary.faces_added
        (24, 24)
        >>> index.ingest("people").files_unchanged
        24
        """
        listed = [paths] if isinstance(paths, str | os.PathLike) else paths
        options = options or IngestOptions()
        with open_folders(listed, follow_symlinks=options.follow_symlinks) as folders:
            settings, name = self._engine_settings()
            settings = dataclasses.replace(
                settings,
                min_detection=min_detection,
                min_face_px=min_face_px,
                provider=settings.running_provider(),
            )
            targets = folders.resolve(listed, should_stop)
            with open_or_create_store(self._folder, settings.identity, name) as store:
                ingest = Ingest(
                    store,
                    targets,
                    options,
                    LocalReader(settings, workers),
                    folders=folders,
                    progress=progress,
                    should_stop=should_stop,
                )
                summary = ingest.run()
                refresh_estimates(store)
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
        """Count what `ingest` would find, and change nothing.

        Parameters
        ----------
        paths : path-like or sequence of path-like
            Folders, which are searched at any depth, and pictures.
        options : IngestOptions, optional
            As for `ingest`.
        progress : callable, optional
            Called often with a `ProgressUpdate`.
        should_stop : callable, optional
            Called often, without arguments.  Once it returns True, the scan ends.

        Returns
        -------
        Scan

        Raises
        ------
        UsageError
            No path was given, or one does not exist.

        Examples
        --------
        >>> found = index.scan(["photos", "people"])
        >>> found.files_unchanged, found.files_new
        (7, 24)
        """
        listed = [paths] if isinstance(paths, str | os.PathLike) else paths
        options = options or IngestOptions()
        with open_folders(listed, follow_symlinks=options.follow_symlinks) as folders:
            return scan(
                self._store,
                folders.resolve(listed, should_stop),
                options,
                folders=folders,
                progress=progress,
                should_stop=should_stop,
            )
