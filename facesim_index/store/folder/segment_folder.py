"""The segment files of an index, in one folder beside its catalog.

Only the catalog says which of them exist.  A file that no row names is left over from a commit
that did not happen, or from a merge that did.
"""

import contextlib
import logging
import os
import re
import stat
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesim_index.config import SEGMENTS_NAME
from facesim_index.errors import DamagedSegmentError, IndexDamagedError, StorageError
from facesim_index.records import EmbeddedFace, Int64Array
from facesim_index.store.catalog import index_state
from facesim_index.store.records import SegmentId, SegmentInfo
from facesim_index.store.segments.coarse import coarse_path, read_coarse, wants_coarse, write_coarse
from facesim_index.store.segments.segment import Segment
from facesim_index.store.segments.writer import check_embeddings, write_segment
from facesim_index.store.sqlite import row_checks
from facesim_index.store.sqlite.connection import Catalog
from facesim_index.utils.files import total_bytes
from facesim_index.utils.permissions import make_folder

# Segments and coarse codes, and those that a killed process was writing.
_FILE = re.compile(r"[0-9]{6,}\.(faiss|coarse)|\.[0-9]{6,}\.(faiss|coarse)\.[a-z0-9_]+")

logger = logging.getLogger(__name__)


def is_segment_file(name: str) -> bool:
    """Tell whether a name is that of a segment or of coarse codes, whole or half written."""
    return _FILE.fullmatch(name) is not None


def is_file_name(name: object) -> bool:
    """Tell whether what a catalog names is a file in a folder, and not somewhere else."""
    return (
        isinstance(name, str)
        and name == Path(name).name
        and name not in ("", ".", "..")
        and "\0" not in name
    )


class SegmentFolder:
    """The segments of one index: opened once, written, and removed when nobody names them.

    Parameters
    ----------
    catalog : Catalog
        Of the index; the segments lie in the folder ``segments`` beside its file.
    dimension : int
        Length of an embedding.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, catalog: Catalog, dimension: int) -> None:
        self.path = catalog.path.parent / SEGMENTS_NAME
        self._catalog = catalog
        self._dimension = dimension
        self._opening = threading.Lock()  # many threads may read from one index
        self._opened: dict[str, Segment] = {}
        # What a writer has opened, so that it writes and removes nowhere else.
        self._places: dict[Path, tuple[int, int] | None] = {}

    def close(self) -> None:
        """Let go of the files."""
        self._opened.clear()

    def path_of(self, segment: SegmentInfo) -> Path:
        """Return where a segment's file is.

        Raises
        ------
        IndexDamagedError
            The catalog names a file outside the index: it is not as we wrote it.
        """
        if not is_file_name(segment.name):
            raise IndexDamagedError(
                f"{self._catalog.path} names the segment {segment.name}, which would lie outside "
                "the index; do not use it"
            )
        return self.path / segment.name

    def open(self, infos: Sequence[SegmentInfo]) -> tuple[Segment, ...]:
        """Return opened segments.

        Raises
        ------
        DamagedSegmentError
            One is missing or is not whole.
        """
        return self.usable(infos, partial=False, sure=True)[0]

    def usable(
        self, infos: Sequence[SegmentInfo], *, partial: bool, sure: bool
    ) -> tuple[tuple[Segment, ...], tuple[str, ...]]:
        """Return opened segments, and the names of those that a partial view does without.

        Parameters
        ----------
        infos : sequence of SegmentInfo
        partial : bool
            Leave damaged segments out instead of raising.
        sure : bool
            A file that is missing is damage.

        Raises
        ------
        DamagedSegmentError
            A segment is not whole, and `partial` is False.
        FileNotFoundError
            A file is missing, and `sure` is False.
        """
        opened = {}
        left_out = []
        with self._opening:
            for info in infos:
                try:
                    opened[info.name] = self._open(info, sure=sure)
                except DamagedSegmentError as error:
                    if not partial:
                        raise
                    logger.warning("%s; its faces are left out", error)
                    left_out.append(info.name)
            self._opened = opened
        return tuple(opened.values()), tuple(left_out)

    def write(
        self, segment_id: SegmentId, ids: Int64Array, embeddings: Iterable[NDArray[np.floating]]
    ) -> SegmentInfo:
        """Write a segment file; it belongs to the index once the catalog names it.

        Its coarse codes come first too, so that no crash parts a large segment from them.

        Parameters
        ----------
        segment_id : SegmentId
        ids : ndarray of shape (n,), int64, ascending
        embeddings : iterable of ndarray of shape (n_rows, dimension)
            Blocks of unit-norm rows, in the order of `ids`.
        """
        self.require_in_place()
        info = write_segment(self.path, segment_id, ids, embeddings, dimension=self._dimension)
        self.require_in_place()  # or the catalog would name a file that is in another folder
        if wants_coarse(info.n_rows, self._dimension):
            self._write_coarse(info)
        return info

    def write_faces(
        self, segment_id: SegmentId, ids: Int64Array, faces: Sequence[EmbeddedFace]
    ) -> SegmentInfo:
        """Write the embeddings of faces as a segment, after seeing that they are sound."""
        embeddings = np.stack([face.embedding for face in faces])
        check_embeddings(embeddings, self._dimension)
        return self.write(segment_id, ids, [embeddings])

    def write_missing_coarse(self) -> None:
        """Give every large segment the coarse codes that it lacks, or that are damaged.

        They follow from the segment: no commit depends on them, so this comes after it.
        """
        with self._catalog.read() as transaction:
            segments = index_state.segment_infos(transaction)
        for info in segments:
            if wants_coarse(info.n_rows, self._dimension):
                try:
                    lacking = read_coarse(self.path_of(info), info.sha256).sums is None
                except (FileNotFoundError, IndexDamagedError):
                    lacking = True
                if lacking:
                    self._write_coarse(info)

    def drop_files(self, segments: Sequence[SegmentInfo]) -> None:
        """Remove the files of segments that the catalog does not name any more.

        Where a reader's mapping forbids that (Windows), the next writer's start tries again.

        Raises
        ------
        StorageError
            Another folder is at the path: what lies there is not removed.
        """
        self.require_in_place()
        for segment in segments:
            self._opened.pop(segment.name, None)
            path = self.path_of(segment)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                coarse_path(path).unlink(missing_ok=True)

    def remove_leftovers(self, *, strict: bool = False) -> None:
        """Remove segment files that the catalog does not name.

        What has no name of ours, or is no file, is somebody else's and stays.

        Parameters
        ----------
        strict : bool, default=False
            Raise a `StorageError` when one cannot be removed.

        Raises
        ------
        StorageError
            The folder cannot be used, or with `strict` a file cannot be removed.
        """
        with self._catalog.read() as transaction:
            if any(row_checks.wrong_rows(transaction, "segment")):
                logger.warning("no file is removed while the names of segments are damaged")
                return
            paths = [self.path_of(segment) for segment in index_state.segment_infos(transaction)]
        named = {named.name for path in paths for named in (path, coarse_path(path))}
        try:
            make_folder(self.path)
            found = [path for path in self.path.iterdir() if _is_ours(path)]
        except OSError as error:
            raise StorageError(f"cannot use {self.path}: {error.strerror or error}") from error
        for path in found:
            if path.name not in named:
                logger.info("removing %s, left over from an interrupted run", path)
                try:
                    path.unlink()
                except OSError as error:
                    if strict:
                        raise StorageError(
                            f"cannot remove {path}: {error.strerror or error}; end what uses it, "
                            "then run `facesim compact`"
                        ) from error

    def remember_place(self) -> None:
        """Remember the folders that are open, for `require_in_place`."""
        folder = self._catalog.path.parent
        self._places = {path: _identity(path) for path in (folder, self.path, self._catalog.path)}

    def require_in_place(self) -> None:
        """Refuse to go on where another folder, or none, has come to the path of the index.

        The catalog is open and moves with its folder; segments are written by their path.

        Raises
        ------
        StorageError
        """
        for path, identity in self._places.items():
            if identity is not None and _identity(path) != identity:
                raise StorageError(
                    f"{path} was moved or replaced while it was written to; the index that was "
                    "opened is whole where it is now, with all that was committed: name that "
                    "place, or put it back, and run the command again"
                )

    def size_bytes(self) -> int:
        """Return how many bytes the files of all segments have."""
        return total_bytes(self.path.glob("*"))

    def _write_coarse(self, info: SegmentInfo) -> None:
        """Write a segment's coarse codes; without them it is only searched more slowly."""
        try:
            path = self.path_of(info)
            segment = Segment(path, info.sha256)  # named: its vectors live as long as it does
            segment.require_whole()
            write_coarse(path, info.sha256, segment.face_ids, segment.vectors)
        except (StorageError, IndexDamagedError, FileNotFoundError) as error:
            logger.warning("the coarse codes of %s were not written: %s", info.name, error)

    def _open(self, info: SegmentInfo, *, sure: bool) -> Segment:
        segment = self._opened.get(info.name)
        if segment is None:
            try:
                segment = Segment(self.path_of(info), info.sha256)
            except FileNotFoundError as error:
                if not sure:
                    raise
                raise DamagedSegmentError(
                    info.name, f"{error} is missing; run `facesim verify --repair`"
                ) from error
            segment.check(info)
        return segment


def _is_ours(path: Path) -> bool:
    """Tell whether a file in the folder is a segment's, by its name."""
    return is_segment_file(path.name) and stat.S_ISREG(path.lstat().st_mode)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file or folder from another at its path; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked at every commit
    except OSError:
        return None
    return found.st_dev, found.st_ino
