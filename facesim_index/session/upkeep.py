"""Look after an index: what is in it, whether it is whole, and what shall be forgotten."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from facesim_index.config import default_index
from facesim_index.degrees.gallery import refresh_gallery_prior
from facesim_index.display import notebook as notebook  # draws what a notebook shows
from facesim_index.engine.loading import engine_identity
from facesim_index.engine.local_reader import read_all
from facesim_index.records import (
    AnyPath,
    FaceId,
)
from facesim_index.session.session import IndexSession
from facesim_index.store.catalog import audit_log, picture_rows
from facesim_index.store.catalog.audit_log import AuditLine
from facesim_index.store.opening import restore_snapshot, take_snapshot
from facesim_index.store.records import FailedFile, Snapshot, Verdict
from facesim_index.upkeep import forgetting, repairs
from facesim_index.upkeep.repairs import Repair
from facesim_index.upkeep.status import IndexStatus, index_status


class UpkeepMethods(IndexSession):
    """The methods of `FaceIndex` that look after the index itself."""

    def status(self) -> IndexStatus:
        """Return what is in the index."""
        with self._read() as rows:
            return index_status(self._opened, rows)

    def errors(self) -> Iterator[FailedFile]:
        """Yield every file that could not be used, by path."""
        with self._read() as rows:
            yield from picture_rows.failed_files(rows.transaction)

    def audit(self) -> tuple[AuditLine, ...]:
        """Return when something was forgotten and how much, oldest first; never what."""
        with self._read() as rows:
            return audit_log.lines(rows.transaction)

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
        with self._writer() as store:
            where = [Path(path).expanduser() for path in paths]
            ids = [FaceId(face_id) for face_id in face_ids]
            forgotten = forgetting.forget(store, where, ids, secure=secure)
            refresh_gallery_prior(store)
            return forgotten

    def compact(self) -> None:
        """Rewrite the index without what was removed, in as few segments as may be."""
        with self._writer() as store:
            store.compact()
            refresh_gallery_prior(store)

    def verify(self) -> Verdict:
        """Compare every file and row of the index with what was recorded."""
        return self._opened.check()

    def repair(self, *, workers: int | None = None) -> Repair:
        """Verify, and mend what can be mended from the pictures.

        Returns
        -------
        Repair
        """
        with self._writer() as store:
            verdict = store.check()
            settings, _ = self._engine_settings()
            settings = dataclasses.replace(settings, min_detection=0.02, min_face_px=1)
            store.check_engine(engine_identity(settings))
            read = functools.partial(read_all, settings, workers, lambda: False)
            repaired = repairs.repair(store, verdict, read)
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
