"""`FaceIndex` and `compare`: everything facesim does, from Python."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Literal, Self

import numpy as np

from facesim_index.calibration.record import Calibration
from facesim_index.config import default_index
from facesim_index.degrees.gallery import refresh_gallery_prior
from facesim_index.degrees.prior import Prior, resolve_prior
from facesim_index.display import notebook as notebook  # draws what a notebook shows
from facesim_index.engine.base import EngineSource, FaceEngine, Provider
from facesim_index.engine.loading import settings_for
from facesim_index.engine.local_reader import LocalReader
from facesim_index.errors import IndexNotFoundError, UsageError
from facesim_index.export import matches
from facesim_index.export import matrix as matrices
from facesim_index.export.matrix import MatrixBlock, MatrixOptions
from facesim_index.ingest.run import Ingest, IngestSummary
from facesim_index.ingest.scanning import Scan, scan
from facesim_index.ingest.targets import IngestOptions, resolve_targets
from facesim_index.people.book import PeopleBook
from facesim_index.people.edits import Who
from facesim_index.people.edits import find_person as person_of
from facesim_index.records import (
    AnyPath,
    Augment,
    FaceId,
    FaceRecord,
    Float32Array,
    Int64Array,
    Numerics,
    PictureFaces,
)
from facesim_index.search import person as people_search
from facesim_index.search import queries
from facesim_index.search.answers import QueryAnswer
from facesim_index.search.appearances import Appearances, find_person
from facesim_index.search.queries import QueryOptions
from facesim_index.store.catalog import audit_log, face_rows, picture_rows
from facesim_index.store.catalog.audit_log import AuditLine
from facesim_index.store.records import FailedFile
from facesim_index.store.store import Store
from facesim_index.upkeep import forgetting, repairs, verification
from facesim_index.upkeep.repairs import Repair
from facesim_index.upkeep.snapshots import Snapshot, restore_snapshot, take_snapshot
from facesim_index.upkeep.status import IndexStatus, index_status
from facesim_index.upkeep.verification import Verdict
from facesim_index.utils.progress import Progress, ignore
from facesim_index.utils.threads import usable_cores

if TYPE_CHECKING:
    import pandas


FACES_PER_READ = 4096


class FaceIndex:
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
        self._loaded: FaceEngine | None = None
        self._store: Store | None = None

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
        engine : EngineSource, optional
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
            index._store = Store(folder)
        except IndexNotFoundError:
            if not create:
                raise
        return index

    @property
    def people(self) -> PeopleBook:
        """Who is in the index."""
        return PeopleBook(self._folder, lambda: self._opened)

    @property
    def path(self) -> Path:
        """The index's folder."""
        return self._folder

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
            provider=settings.running_provider(),
        )
        with Store.open_or_create(self._folder, settings.identity, name) as store:
            ingest = Ingest(
                store,
                targets,
                options or IngestOptions(),
                LocalReader(settings, workers),
                progress=progress,
                should_stop=should_stop,
            )
            summary = ingest.run()
            refresh_gallery_prior(store)
        if self._store is None:
            self._store = Store(self._folder)
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

    def query(
        self,
        picture: AnyPath | None = None,
        *,
        face_id: int | None = None,
        person: Who | None = None,
        top: int = 10,
        face: int | None = None,
        min_degree: float | None = None,
        prior: Prior = "gallery",
        exclude_same_image: bool = False,
        exact: bool = False,
    ) -> QueryAnswer:
        """Return the indexed faces most similar to those of a picture, or to an indexed face.

        Parameters
        ----------
        picture : path-like, optional
        face_id : int, optional
            A face of this index instead of a picture.
        person : int or str, optional
            A person of this index, by number or name, instead of a picture.
        top : int, default=10
            Most matches for each face.
        face : int, optional
            Only this face of the picture, left to right, from 0.
        min_degree : float, optional
            Only matches with at least this degree, in [0, 1].
        prior : float or "gallery", default="gallery"
            Probability of a genuine pair before looking, in (0, 1); ``gallery`` estimates it
            from the scores of the index itself.
        exclude_same_image : bool, default=False
            Leave out the faces of the query picture itself, or those that are the person's.
        exact : bool, default=False
            Compare with every face of the index, which takes longer in a large one; otherwise
            at most 2 in 10,000 of the matches are missed.  Cosines are exact either way.

        Returns
        -------
        QueryAnswer

        Raises
        ------
        UsageError, PictureError, NoFaceError, CalibrationError, EngineMismatchError, ModelError
        """
        options = QueryOptions(top, face, min_degree, prior, exclude_same_image, exact)
        if [picture, face_id, person].count(None) != 2:
            raise UsageError("give either a picture, a face_id or a person to query")
        if picture is not None:
            path = Path(picture).expanduser()
            return queries.query_picture(self._opened, self._engine, path, options)
        if face is not None:
            raise UsageError("face chooses among the faces of a picture; a face_id is one face")
        if person is not None:
            with self._opened.catalog.read() as transaction:
                found = person_of(transaction, person)
            return people_search.query_person(self._opened, found, options)
        return queries.query_face(self._opened, FaceId(face_id or 0), options)

    def prior(self, prior: Prior = "gallery") -> float:
        """Return the prior that an answer uses.

        Parameters
        ----------
        prior : float or "gallery", default="gallery"

        Returns
        -------
        float
            The share of genuine pairs in this index, estimated from its own scores; 0.5 when
            there is no calibration.  A number is checked and returned.

        Raises
        ------
        CalibrationError
            The number is not in (0, 1).
        """
        with self._opened.view() as view:
            calibration = self._opened.calibration()
            return resolve_prior(self._opened, view, calibration, prior).value

    def calibration(self) -> Calibration | None:
        """Return the calibration that degrees are made with; None when there is none."""
        return self._opened.calibration()

    def face_ids(self, *, under: AnyPath | None = None) -> Int64Array:
        """Return the ids of all faces, ascending; with `under`, of pictures at or below a path."""
        where = None if under is None else Path(under).expanduser().resolve()
        with self._opened.catalog.read() as transaction:
            return face_rows.face_ids(transaction, under=where)

    def face_records(self, face_ids: Int64Array | None = None) -> Iterator[FaceRecord]:
        """Yield the records of faces, of all faces by default, in the order of `face_ids`."""
        ids = self.face_ids() if face_ids is None else face_ids
        for start in range(0, len(ids), FACES_PER_READ):
            with self._opened.catalog.read() as transaction:
                found = face_rows.faces(transaction, ids[start : start + FACES_PER_READ])
            yield from found

    def picture_faces(self, paths: Sequence[Path]) -> list[PictureFaces | None]:
        """Return the faces of pictures by the absolute paths of their files.

        Parameters
        ----------
        paths : sequence of Path

        Returns
        -------
        list of PictureFaces or None
            None for a file that is not in the index, or could not be read.
        """
        if self._store is None:
            return [None for _ in paths]
        with self._store.catalog.read() as transaction:
            return [face_rows.picture_faces(transaction, path) for path in paths]

    def faces(self, *, under: AnyPath | None = None) -> "pandas.DataFrame":
        """Return one row for each face.

        Parameters
        ----------
        under : path-like, optional
            Only faces in pictures at or below this path.

        Returns
        -------
        pandas.DataFrame
            Columns as in ``facesim export faces``.
        """
        import pandas

        from facesim_index.export.face_table import COLUMNS, row

        records = self.face_records(self.face_ids(under=under))
        return pandas.DataFrame([row(record) for record in records], columns=list(COLUMNS))

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        """Return stored embeddings, shape (n, dimension), unit norm, in the order asked.

        Raises
        ------
        UsageError
            One of the faces does not exist.
        """
        ids = self.check_face_ids(face_ids)
        with self._opened.view() as view:
            return view.embeddings(ids)

    def matrix(
        self,
        face_ids: Int64Array | Sequence[int] | None = None,
        options: MatrixOptions | None = None,
    ) -> "pandas.DataFrame":
        """Return the pairwise similarities of faces as one frame.

        For many faces use `matrix_blocks`, whose memory does not grow with their square.

        Parameters
        ----------
        face_ids : sequence of int, optional
            All faces by default.
        options : MatrixOptions, optional
            By default degrees at the index's own prior; see `prior`.

        Returns
        -------
        pandas.DataFrame
            Index and columns are the face ids.
        """
        ids = self.check_face_ids(self.face_ids() if face_ids is None else face_ids)
        with self._opened.view() as view:
            return matrices.matrix_frame(
                ids, view, options or MatrixOptions(prior=self.prior()), self._opened.calibration()
            )

    def matrix_blocks(
        self,
        face_ids: Int64Array | Sequence[int] | None = None,
        options: MatrixOptions | None = None,
    ) -> Iterator[MatrixBlock]:
        """Yield the pairwise similarities of faces in blocks of rows.

        Parameters
        ----------
        face_ids : sequence of int, optional
            All faces by default.
        options : MatrixOptions, optional

        Yields
        ------
        MatrixBlock
            Some rows against all columns.
        """
        ids = self.check_face_ids(self.face_ids() if face_ids is None else face_ids)
        with self._opened.view() as view:
            yield from matrices.matrix_blocks(
                ids, view, options or MatrixOptions(prior=self.prior()), self._opened.calibration()
            )

    def write_matrix(
        self,
        out: BinaryIO,
        face_ids: Int64Array | Sequence[int] | None = None,
        options: MatrixOptions | None = None,
        *,
        layout: Literal["wide", "long"] = "wide",
        on_rows: Callable[[int], None] | None = None,
    ) -> None:
        """Write the pairwise similarities of faces as CSV, in bounded memory.

        Parameters
        ----------
        out : BinaryIO
        face_ids : sequence of int, optional
            All faces by default.
        options : MatrixOptions, optional
        layout : {"wide", "long"}, default="wide"
        on_rows : callable, optional
            Told now and then how many rows are written.

        Raises
        ------
        CalibrationError
            Degrees are asked for and there is no calibration for the engine.
        UsageError
            A face does not exist, or the options do not fit together.
        """
        ids = self.check_face_ids(self.face_ids() if face_ids is None else face_ids)
        write = matrices.write_wide if layout == "wide" else matrices.write_long
        calibration = self._opened.calibration()
        with self._opened.view() as view:
            write(
                out,
                ids,
                view,
                options or MatrixOptions(prior=self.prior()),
                calibration,
                on_rows=on_rows,
            )

    def write_matches(
        self,
        out: BinaryIO,
        *,
        min_degree: float,
        prior: Prior = "gallery",
        under: AnyPath | None = None,
        spreadsheet_safe: bool = False,
        on_rows: Callable[[int], None] | None = None,
    ) -> int:
        """Write every pair of faces with at least a degree as CSV, with the paths.

        Parameters
        ----------
        out : BinaryIO
        min_degree : float
            In [0, 1].
        prior : float or "gallery", default="gallery"
            As for `query`.
        under : path-like, optional
            Only faces in pictures at or below this path.
        spreadsheet_safe : bool, default=False
            Write paths such that no spreadsheet takes a part of one for a formula.
        on_rows : callable, optional
            Told now and then with how many faces all later ones are compared.

        Returns
        -------
        int
            How many pairs were written.

        Raises
        ------
        CalibrationError
            There is no calibration for the engine.
        UsageError
            The degree is not in [0, 1].
        """
        ids = self.face_ids(under=under)
        calibration = self._opened.calibration()
        with self._opened.view() as view:
            return matches.write_matches(
                out,
                ids,
                view,
                lambda found: {record.face_id: record.path for record in self.face_records(found)},
                calibration,
                min_degree=min_degree,
                prior=resolve_prior(self._opened, view, calibration, prior).value,
                spreadsheet_safe=spreadsheet_safe,
                on_rows=on_rows,
            )

    def check_face_ids(self, face_ids: Int64Array | Sequence[int]) -> Int64Array:
        """Return ids as an array, after seeing that each is a face of this index.

        Raises
        ------
        UsageError
            One is not.
        """
        ids = np.asarray(face_ids, dtype=np.int64)
        unknown = ids[~np.isin(ids, self.face_ids())]
        if len(unknown):
            raise UsageError(f"there is no face {unknown[0]} in {self._folder}")
        return ids

    def status(self) -> IndexStatus:
        """Return what is in the index."""
        return index_status(self._opened)

    def errors(self) -> Iterator[FailedFile]:
        """Yield every file that could not be used, by path."""
        with self._opened.catalog.read() as transaction:
            yield from picture_rows.failed_files(transaction)

    def find_person(
        self,
        picture: AnyPath,
        *,
        min_degree: float,
        face: int | None = None,
        prior: Prior = "gallery",
    ) -> Appearances:
        """Return every indexed face that shows the person of a picture at least so surely.

        Unlike `query` it leaves none out: every face is compared, and all that reach the
        degree are returned.

        Parameters
        ----------
        picture : path-like
        min_degree : float
            In (0, 1].
        face : int, optional
            Which face of the picture, left to right, from 0; needed where it shows several.
        prior : float or "gallery", default="gallery"
            As for `query`.

        Returns
        -------
        Appearances

        Raises
        ------
        UsageError, PictureError, NoFaceError, CalibrationError, EngineMismatchError, ModelError
        """
        return find_person(
            self._opened,
            self._engine,
            Path(picture).expanduser(),
            min_degree=min_degree,
            face=face,
            prior=prior,
        )

    def forget(
        self,
        paths: Sequence[AnyPath] = (),
        *,
        face_ids: Sequence[int] = (),
        secure: bool = False,
    ) -> forgetting.Forgotten:
        """Remove pictures, folders or faces from the index.

        A forgotten face stays forgotten.  A forgotten picture that is still on disk is found
        again by the next ingest of its folder.  `compact` then erases the embeddings;
        `secure` erases everything at once.

        Parameters
        ----------
        paths : sequence of path-like
            Pictures or folders; they need not be on disk any more.
        face_ids : sequence of int
        secure : bool, default=False
            Leave no trace of what is forgotten in any file of the index.

        Returns
        -------
        Forgotten

        Raises
        ------
        UsageError
            Nothing of a path, or no face of an id, is in the index.
        StorageError, IndexDamagedError
            With `secure`: it is forgotten, but traces are left; the message says what to do.
        """
        with Store(self._folder, writable=True) as store:
            where = [Path(path).expanduser() for path in paths]
            ids = [FaceId(face_id) for face_id in face_ids]
            forgotten = forgetting.forget(store, where, ids, secure=secure)
            refresh_gallery_prior(store)
            return forgotten

    def audit(self) -> tuple[AuditLine, ...]:
        """Return when something was forgotten and how much, oldest first; never what."""
        with self._opened.catalog.read() as transaction:
            return audit_log.lines(transaction)

    def compact(self) -> None:
        """Rewrite the index without what was removed, in as few segments as may be."""
        with Store(self._folder, writable=True) as store:
            store.compact()
            refresh_gallery_prior(store)

    def verify(self) -> Verdict:
        """Compare every file and row of the index with what was recorded."""
        return verification.verify(self._opened)

    def repair(self, *, workers: int | None = None) -> Repair:
        """Verify, and mend what can be mended from the pictures.

        Returns
        -------
        Repair
        """
        with Store(self._folder, writable=True) as store:
            verdict = verification.verify(store)
            settings, _ = self._engine_settings()
            settings = dataclasses.replace(settings, min_detection=0.02, min_face_px=1)
            store.check_engine(settings.identity)
            repaired = repairs.repair(store, verdict, LocalReader(settings, workers))
            refresh_gallery_prior(store)
            return repaired

    def snapshot(self, out: AnyPath, *, copy: bool = False) -> Snapshot:
        """Keep the index as it is at this moment in a folder of its own, while others write.

        Parameters
        ----------
        out : path-like
            A folder that does not exist yet.
        copy : bool, default=False
            Copy the segments instead of linking them where that can be done.

        Returns
        -------
        Snapshot

        Raises
        ------
        UsageError, IndexDamagedError, StorageError
        """
        return take_snapshot(self._folder, Path(out).expanduser(), copy=copy)

    @staticmethod
    def restore(
        snapshot: AnyPath, path: AnyPath | None = None, *, force: bool = False, copy: bool = False
    ) -> Snapshot:
        """Make an index of a snapshot.

        Parameters
        ----------
        snapshot : path-like
        path : path-like, optional
            The index's folder; by default ``$FACESIM_INDEX``, else ``faces.facesim``.
        force : bool, default=False
            Let it take the place of an index that is there.
        copy : bool, default=False
            As for `snapshot`.

        Returns
        -------
        Snapshot

        Raises
        ------
        UsageError, IndexNotFoundError, IndexLockedError, IndexDamagedError, StorageError
        """
        folder = default_index() if path is None else Path(path).expanduser()
        return restore_snapshot(Path(snapshot).expanduser(), folder, force=force, copy=copy)

    @property
    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(self._folder)
        return self._store

    @property
    def _engine(self) -> FaceEngine:
        """The engine for queries, on all cores; loaded when it is first needed."""
        if self._loaded is None:
            settings, _ = self._engine_settings()
            self._opened.check_engine(settings.identity)
            self._loaded = dataclasses.replace(settings, threads=usable_cores()).load()
        return self._loaded

    def _engine_settings(self) -> tuple[EngineSource, str]:
        """Return the engine to use, and the name under which its weights are found again."""
        if self._settings is not None:
            settings = dataclasses.replace(
                self._settings, augment=self.augment, numerics=self.numerics
            )
            return settings, settings.weights_name
        return settings_for(self.model, self._provider, self.augment, self.numerics)
