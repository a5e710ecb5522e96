"""The index that a server answers from: opened once, and again when another replaces it."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facesim_index.errors import IndexDamagedError, IndexVersionError, StorageError
from facesim_index.store.opening import index_stamp, open_store
from facesim_index.store.protocols import IndexStore

_Stamp = tuple[int, int]


@dataclass(slots=True, eq=False)
class _Handle:
    store: IndexStore
    file: _Stamp
    users: int = 0


class OpenIndex:
    """The store of an index, for many threads at a time.

    A folder that was replaced (`facesim restore --force`) is noticed at the next request; requests
    that still read the old one may finish.

    Parameters
    ----------
    folder : Path
        The index.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._handle: _Handle | None = None

    @contextlib.contextmanager
    def store(self) -> Iterator[IndexStore]:
        """Open the index that is in the folder now, for the length of the block.

        Yields
        ------
        IndexStore
            Shared with other threads; it must not be closed.

        Raises
        ------
        IndexNotFoundError, IndexDamagedError, StorageError
            The index is gone, or cannot be read.
        IndexVersionError
            A newer facesim has upgraded the index meanwhile.
        """
        handle = self._take()
        try:
            yield handle.store
        except (IndexDamagedError, StorageError) as error:
            _refuse_newer(handle.store, error)
            raise
        finally:
            self._give_back(handle)

    def close(self) -> None:
        """Let go of the index."""
        with self._lock:
            self._retire()

    def _take(self) -> _Handle:
        with self._lock:
            file = index_stamp(self.folder)
            if self._handle is not None and self._handle.file != file:
                self._retire()
            if self._handle is None:
                # The file from before opening: the next request notices if another replaced it.
                self._handle = _Handle(open_store(self.folder), file or (0, 0))
            self._handle.users += 1
            return self._handle

    def _give_back(self, handle: _Handle) -> None:
        with self._lock:
            handle.users -= 1
            if handle is not self._handle and not handle.users:
                handle.store.close()

    def _retire(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None and not handle.users:
            handle.store.close()


def _refuse_newer(store: IndexStore, error: Exception) -> None:
    """Raise an error of its own for a catalog of a newer facesim, which looks damaged to us."""
    with contextlib.suppress(IndexDamagedError, StorageError):
        newer = store.newer_schema()
        if newer is not None:
            raise IndexVersionError(
                f"{store.location} was upgraded by a newer facesim ({newer}); start the server "
                "with that version"
            ) from error
