"""How a finished folder gets its name, and takes the place of another, in one step.

A snapshot and a restored index are made in a hidden folder beside their place, the work folder::

    .NAME.facesim-1a2b3c4d/
      LOCK    held by the process that works here, so that others can tell what was left behind
      PLACE   JSON: the whole name of the place
      new/    what is being made; once it has changed places with an index, that index
      old/    an index on its way out, where the two cannot change places in one step

Where the system and the file system can (Linux, most local disks), `new` and the index at the
place change places in one step, so that at every moment there is a whole index.  Elsewhere the
old index is renamed to `old`, then `new` to the place.  Only in between there is none; whoever
opens the place next finds both, `old` and `new`, and does the second step (`enter`).

What a process that was killed left here is removed by the next snapshot or restore at the same
place.  Nothing is removed but what is exactly ours (`layout.contents`).
"""

import contextlib
import errno
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from facesim_index.config import CATALOG_NAME, SEGMENTS_NAME
from facesim_index.errors import StorageError, UsageError
from facesim_index.store.folder.layout import contents, require_plain
from facesim_index.store.folder.lock import (
    LOCK_NAME,
    NoLocksError,
    SystemLock,
    may_run,
    this_process,
)
from facesim_index.utils.files import (
    exchange,
    read_regular,
    rename_to_free,
    short_name,
    sync_folder,
)
from facesim_index.utils.permissions import FOLDER_MODE, make_file

PLACE_NAME = "PLACE"
_TRIES = 100
_TOKEN = re.compile(r"[0-9a-f]{8}")
_MOST_BYTES = 1 << 16  # of PLACE
_LOOKS, _LOOK_S = 50, 0.02  # while another process is between its two steps
_SHOWN = 5

logger = logging.getLogger(__name__)


class WorkFolder:
    """A hidden folder beside a place, in which what shall be there is made.

    Attributes
    ----------
    path : Path
        The folder.
    new, old : Path
        See the module.
    """

    def __init__(self, path: Path, lock: SystemLock | None) -> None:
        self.path = path
        self.new = path / "new"
        self.old = path / "old"
        self._lock = lock
        self._holds_index = False  # that was at the place

    @classmethod
    def make(cls, place: Path) -> Self:
        """Make one for a place, with an empty folder `new`.

        Raises
        ------
        OSError
            The system refused.
        """
        for _ in range(_TRIES):
            path = place.parent / f"{_prefix(place)}{secrets.token_hex(4)}"
            path.mkdir(mode=FOLDER_MODE)
            work = cls(path, None)
            try:
                with contextlib.suppress(NoLocksError):  # then PLACE tells who works here
                    work._lock = SystemLock(path / LOCK_NAME)
                _write_place(path, place)
                work.new.mkdir(mode=FOLDER_MODE)
                return work
            except (BlockingIOError, FileNotFoundError):
                work.leave()  # somebody took it for left behind, before it was locked
            except BaseException:
                work.remove()
                raise
        raise OSError(errno.EAGAIN, f"folders beside {place} are removed again and again")

    def put(self, place: Path) -> None:
        """Give `new` its name, which nothing may have.

        Raises
        ------
        UsageError
            Something has.
        OSError
            The system refused.
        """
        sync_folder(self.new)
        try:
            rename_to_free(self.new, place)
        except FileExistsError:
            raise UsageError(f"{place} exists; name a folder that does not exist") from None
        _sync_both(self.path, place.parent)

    def replace(self, place: Path) -> None:
        """Let `new` and the index at a place change places; that one is still to be removed.

        Raises
        ------
        OSError
            The system refused; the old index is at the place, or the message says where.
        """
        sync_folder(self.new)
        self._holds_index = True  # from here on it may: an interrupt can come at any moment
        try:
            if not exchange(self.new, place):
                self._replace_in_two_steps(place)
        except OSError:
            self._holds_index = self.old.exists()
            raise
        _sync_both(self.path, place.parent)

    def finish(self, place: Path) -> bool:
        """Do the second step of a replacement that was interrupted; tell whether there was one.

        Raises
        ------
        OSError
            The system refused.
        """
        if not self.is_between_steps() or os.path.lexists(place):
            return False
        self.new.rename(place)
        return True  # `remove` flushes it

    def is_between_steps(self) -> bool:
        """Tell whether an index was moved out of its place, and the new one not yet into it."""
        return all(path.is_dir() and not path.is_symlink() for path in (self.new, self.old))

    def remove(self) -> None:
        """Remove the folder with all that is ours in it, and let go of its lock.

        What is not ours, or cannot be removed, stays, and a warning names it.
        """
        try:
            _sync_both(self.path, self.path.parent)  # or a power cut might bring it back
            left = [path for folder in (self.new, self.old) for path in _remove_index(folder)]
            if not left:
                for name in (PLACE_NAME, LOCK_NAME):
                    (self.path / name).unlink(missing_ok=True)
                self.path.rmdir()
        except OSError as error:
            logger.warning(
                "%s could not be removed (%s); the next snapshot or restore at its place tries "
                "again",
                self.path,
                error.strerror or error,
            )
        else:
            for path in left:
                logger.warning("%s is no part of an index and was left there: see to it", path)
        finally:
            self.leave()

    def give_up(self) -> None:
        """Remove the folder, unless an index from the place may be in it: then say where."""
        if not self._holds_index:
            self.remove()
            return
        logger.warning(
            "%s may hold the index that was replaced; the next snapshot or restore at its place "
            "removes it",
            self.path,
        )
        self.leave()

    def leave(self) -> None:
        """Let go of the folder, and leave it as it is."""
        if self._lock is not None:
            self._lock.release()

    def _replace_in_two_steps(self, place: Path) -> None:
        place.rename(self.old)
        try:
            _sync_both(self.path, place.parent)
            self.new.rename(place)
        except BaseException as error:
            self._put_back(place, error)
            raise

    def _put_back(self, place: Path, error: BaseException) -> None:
        try:
            if not os.path.lexists(place):
                self.old.rename(place)
        except OSError as again:
            reason = getattr(error, "strerror", None) or error
            raise StorageError(
                f"cannot write {place}: {reason}; the index that was there is in {self.old}, and "
                f"the next facesim command at {place} finishes the restore"
            ) from again


def enter(place: Path) -> None:
    """See that the index at a place can be used: finish what was interrupted, refuse links in it.

    Parameters
    ----------
    place : Path
        An index, or where one shall be; it may be a link to that.

    Raises
    ------
    IndexDamagedError
        One of the names of an index is something else there; see `layout.require_plain`.
    StorageError
        The system refused.
    """
    if not os.path.isdir(place):  # noqa: PTH112 - asked at every opening
        with contextlib.suppress(RuntimeError):  # links that lead in a circle
            _finish(place.resolve())
    require_plain(place)


def remove_left(place: Path) -> None:
    """Remove the work folders that processes which were killed have left beside a place.

    Parameters
    ----------
    place : Path
        No link.

    Raises
    ------
    StorageError
        The system does not let us look.
    """
    for work in _left(place):
        try:
            holds_index = work.is_between_steps()
        except OSError as error:
            work.leave()
            reason = error.strerror or error
            raise StorageError(f"cannot look at {work.path}: {reason}") from error
        if holds_index:
            logger.warning(
                "%s holds an index that an interrupted restore had moved out of %s; look at it "
                "yourself, then remove it",
                work.old,
                place,
            )
            work.leave()
        else:
            work.remove()
            if not work.path.exists():
                logger.warning("removed %s, left by a process that was interrupted", work.path)


def advice_on_left(place: Path) -> str:
    """Name what was left beside a place where there is no index, as the end of a message."""
    try:
        place = place.resolve()
    except (OSError, RuntimeError):
        return ""
    left = [path for path in _paths(place) if not _is_another_place(path, place)]
    moved = [path / "old" for path in left if os.path.isfile(path / "old" / CATALOG_NAME)]  # noqa: PTH113 - may refuse
    if moved:
        return f"; the index that was there is in {moved[0]}: move it back"
    if left:
        return (
            f"; {left[0]} beside it was left by a snapshot or restore that was interrupted, unless "
            "one is at work: the next one at that place removes it"
        )
    return ""


def _finish(place: Path) -> None:
    """Do the second step of a restore that was interrupted between its two, if there is one."""
    for _ in range(_LOOKS):
        if os.path.lexists(place) or not _paths(place):
            return
        for work in _left(place):
            if _finish_one(work, place):
                return
        if not any(os.path.isdir(path / "old") for path in _paths(place)):  # noqa: PTH112
            return
        time.sleep(_LOOK_S)  # another process is at it


def _finish_one(work: WorkFolder, place: Path) -> bool:
    """Do that with one work folder; tell whether it was such a restore."""
    try:
        is_finished = work.finish(place)
    except OSError as error:
        work.leave()
        raise StorageError(
            f"cannot put the restored index in place at {place}: {error.strerror or error}; it "
            f"is in {work.new}, and the one that was there in {work.old}"
        ) from error
    if not is_finished:
        work.leave()
        return False
    logger.warning(
        "finished the restore of %s that was interrupted: the index of the snapshot is in place, "
        "and the one that was there is removed",
        place,
    )
    work.remove()
    return True


def _left(place: Path) -> Iterator[WorkFolder]:
    """Yield the work folders of a place at which nobody works, locked."""
    for path in _paths(place):
        if _is_another_place(path, place):
            continue
        try:
            yield WorkFolder(path, SystemLock(path / LOCK_NAME))
        except NoLocksError:
            if not _may_be_worked_at(path):
                yield WorkFolder(path, None)
        except OSError:
            continue  # somebody is at work, or nothing can be done here


def _paths(place: Path) -> list[Path]:
    """Return the work folders beside a place, and beside others whose names begin alike."""
    prefix = _prefix(place)
    try:
        with os.scandir(place.parent) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if entry.name.startswith(prefix)
                and _TOKEN.fullmatch(entry.name[len(prefix) :])
                and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


def _prefix(place: Path) -> str:
    return f".{short_name(place.name)}.facesim-"


def _write_place(folder: Path, place: Path) -> None:
    make_file(folder / PLACE_NAME)
    document = {"place": place.name, **this_process()}
    (folder / PLACE_NAME).write_text(json.dumps(document), encoding="utf-8")


def _told(folder: Path) -> dict[str, str | int]:
    """Return what PLACE says; nothing where it was only begun."""
    try:
        document = json.loads(read_regular(folder / PLACE_NAME, _MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _may_be_worked_at(folder: Path) -> bool:
    """Tell whether the process that began a work folder may still run, where no lock tells."""
    try:
        return may_run(_told(folder))
    except (KeyError, TypeError, ValueError):
        return False


def _is_another_place(folder: Path, place: Path) -> bool:
    """Tell whether a work folder is that of another place whose name begins alike."""
    return _told(folder).get("place", place.name) != place.name


def _remove_index(folder: Path) -> list[Path]:
    """Remove what is ours of an index, and its folder when nothing is left; return the rest."""
    if not folder.is_dir() or folder.is_symlink():
        return [folder] if os.path.lexists(folder) else []
    found = contents(folder)
    if found.unnamed:
        names = ", ".join(path.name for path in found.unnamed[:_SHOWN])
        more = ", …" if len(found.unnamed) > _SHOWN else ""
        logger.warning("removing segments that no catalog names with %s: %s%s", folder, names, more)
    for path in found.ours:
        path.unlink()
    for inner in (folder / SEGMENTS_NAME, folder):
        with contextlib.suppress(OSError):  # what is left is foreign, and is told
            inner.rmdir()
    return list(found.foreign) or ([folder] if folder.exists() else [])


def _sync_both(one: Path, other: Path) -> None:
    sync_folder(other)
    sync_folder(one)
