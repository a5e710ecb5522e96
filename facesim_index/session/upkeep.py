"""Look after an index: what is in it, whether it is whole, and what is to be forgotten."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from facesim_index.config import default_index
from facesim_index.degrees.verdicts import refresh_estimates
from facesim_index.display import notebook as notebook  # draws what a notebook shows
from facesim_index.engine.local_reader import LocalReader
from facesim_index.records import AnyPath, FaceId
from facesim_index.session.session import IndexSession
from facesim_index.store.catalog import audit_log, picture_rows
from facesim_index.store.catalog.audit_log import AuditLine
from facesim_index.store.opening import restore_snapshot, take_snapshot
from facesim_index.store.records import FailedFile, Snapshot, Verdict
from facesim_index.upkeep import forgetting, repairs
from facesim_index.upkeep.repairs import Repair
from facesim_index.upkeep.status import IndexStatus, index_status

logger = logging.getLogger(__name__)


class UpkeepMethods(IndexSession):
    """The methods of `FaceIndex` that look after the index itself."""

    def status(self) -> IndexStatus:
        """Return what is in the index.

        Returns
        -------
        IndexStatus

        Examples
        --------
        >>> status = index.status()
        >>> status.counts["files"], status.counts["faces"], status.counts["people"]
        (7, 6, 2)
        """
        with self._read() as rows:
            return index_status(self._opened, rows)

    def errors(self) -> Iterator[FailedFile]:
        """Yield the files that could not be used.

        Yields
        ------
        FailedFile
            In the order of the paths.

        Notes
        -----
        Where rows about such files are damaged, that is logged as an error; the other files are
        yielded all the same.

        Examples
        --------
        >>> for failed in index.errors():
        ...     print(Path(failed.path).name, failed.code, "-", failed.message)
        broken.jpg unsupported - not a picture in a format that can be read
        """
        with self._read() as rows:
            files, damage = picture_rows.sound_failed_files(rows.transaction)
        for message in damage:
            logger.error("files may be left out: %s", message)
        yield from files

    def audit(self) -> tuple[AuditLine, ...]:
        """Return when something was forgotten, and how much; never what.

        Returns
        -------
        tuple of AuditLine
            Oldest first.

        Examples
        --------
        >>> index.forget([photos / "carla.png"])
        Forgotten(files=1, faces=1)
        >>> [(line.files, line.faces) for line in index.audit()]
        [(1, 1)]
        """
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

        A face that was forgotten by its id never comes back.  A picture that was forgotten comes
        back when its folder is ingested again, if it is still on disk.  The embeddings are erased
        by the next `compact`; `secure` erases everything at once.

        Parameters
        ----------
        paths : sequence of path-like
            Pictures or folders; they need not be on disk any more.
        face_ids : sequence of int
            Single faces.
        secure : bool, default=False
            Leave no trace of what is forgotten in any file of the index.

        Returns
        -------
        Forgotten

        Raises
        ------
        UsageError
            A path or a face is not in the index; nothing is removed then.
        IndexLockedError
            Another process is writing.
        StorageError
            With `secure`: it is forgotten, but traces are left, because a reader still needs the
            index as it was, or the disk refused; the message says what to do.
        IndexDamagedError
            With `secure`: it is forgotten, but traces are left, because a segment cannot be read;
            the message says what to do.

        Examples
        --------
        >>> index.forget([photos / "carla.png"], face_ids=[1])
        Forgotten(files=1, faces=2)
        >>> index.face_ids()
        array([2, 3, 4, 5])
        """
        with self._writer() as store:
            where = [Path(path).expanduser() for path in paths]
            ids = [FaceId(face_id) for face_id in face_ids]
            forgotten = forgetting.forget(store, where, ids, secure=secure)
            refresh_estimates(store)
            return forgotten

    def compact(self) -> None:
        """Rewrite the embeddings without those that were removed, in as few segments as possible.

        Raises
        ------
        IndexLockedError
            Another process is writing.
        IndexDamagedError
            A segment that must be rewritten is damaged: repair the index first.
        StorageError
            The disk refused.

        Examples
        --------
        >>> forgotten = index.forget(face_ids=[1])
        >>> index.compact()
        >>> index.status().counts["faces_removed_not_compacted"]
        0
        """
        with self._writer() as store:
            store.compact()
            refresh_estimates(store)

    def verify(self) -> Verdict:
        """Compare every file and row of the index with what was recorded of it.

        Returns
        -------
        Verdict

        Examples
        --------
        >>> index.verify().problems
        ()
        """
        return self._opened.check()

    def repair(self, *, workers: int | None = None) -> Repair:
        """Verify the index, and make lost parts again from the pictures.

        Parameters
        ----------
        workers : int, optional
            Worker processes that read pictures; by default one for each core that this process may
            use.

        Returns
        -------
        Repair

        Raises
        ------
        IndexLockedError
            Another process is writing.
        IndexDamagedError
            The catalog itself is damaged beyond repair: restore it from a snapshot.
        EngineMismatchError
            The index was built with another engine than the one at hand.
        ModelError
            The engine's weights are missing or damaged.

        Examples
        --------
        >>> repair = index.repair()
        >>> repair.faces_mended, repair.faces_lost
        (0, 0)
        """
        with self._writer() as store:
            verdict = store.check()
            settings, _ = self._engine_settings()
            settings = dataclasses.replace(settings, min_detection=0.02, min_face_px=1)
            store.check_engine(settings.identity)
            repaired = repairs.repair(store, verdict, LocalReader(settings, workers))
            refresh_estimates(store)
            return repaired

    def snapshot(self, out: AnyPath, *, copy: bool = False) -> Snapshot:
        """Copy the index as it is at this moment into a new folder, while others may write.

        Parameters
        ----------
        out : path-like
            A folder that does not exist yet, in one that does.
        copy : bool, default=False
            Copy the segments also where hard links to them would do.

        Returns
        -------
        Snapshot

        Raises
        ------
        UsageError
            `out` exists.
        IndexDamagedError
            A part of the index is missing or damaged; nothing was made.
        StorageError
            The disk refused.

        Examples
        --------
        >>> snapshot = index.snapshot("monday")
        >>> Path(snapshot.path).name, snapshot.faces
        ('monday', 6)
        """
        return take_snapshot(self._folder, Path(out).expanduser(), copy=copy)

    @staticmethod
    def restore(
        snapshot: AnyPath, path: AnyPath | None = None, *, force: bool = False, copy: bool = False
    ) -> Snapshot:
        """Restore an index from a snapshot, which stays as it is.

        Parameters
        ----------
        snapshot : path-like
            A folder that `snapshot` made.
        path : path-like, optional
            The folder of the index; by default ``$FACESIM_INDEX``, else ``faces.facesim``.
        force : bool, default=False
            Replace an index that is there.
        copy : bool, default=False
            Copy the segments also where hard links to them would do.

        Returns
        -------
        Snapshot
            As it is in its new place.

        Raises
        ------
        UsageError
            `snapshot` is not a snapshot, or there is an index already and `force` is False.
        IndexNotFoundError
            The folder holds something else than an index; it is not replaced.
        IndexLockedError
            Another process is writing to the index that is there.
        IndexDamagedError
            A part of the snapshot is missing or damaged; nothing was made.
        StorageError
            The disk refused.

        Examples
        --------
        >>> from facesim_index import FaceIndex
        >>> snapshot = index.snapshot("monday")
        >>> FaceIndex.restore("monday", "again.facesim").faces
        6
        """
        folder = default_index() if path is None else Path(path).expanduser()
        return restore_snapshot(Path(snapshot).expanduser(), folder, force=force, copy=copy)
