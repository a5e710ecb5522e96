"""The index that a server answers from: opened once, and anew when another takes its place."""

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

    A folder that was replaced (`facesim restore --force`) is noticed at the next request; who
    still reads the old one may finish.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._handle: _Handle | None = None

    @contextlib.contextmanager
    def store(self) -> Iterator[IndexStore]:
        """Give the index as it is there now for the length of the block.

        Raises
        ------
        IndexNotFoundError, IndexDamagedError, StorageError
            It is gone, or cannot be read.
        IndexVersionError
            A newer facesim has upgraded it meanwhile.
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
                # The file that was there before: if another has come since, the next one sees it.
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
    """Tell of a catalog that a newer facesim has upgraded: it looks damaged to us."""
    with contextlib.suppress(IndexDamagedError, StorageError):
        newer = store.newer_schema()
        if newer is not None:
            raise IndexVersionError(
                f"{store.location} was upgraded by a newer facesim ({newer}); start the server "
                "with that version"
            ) from error
