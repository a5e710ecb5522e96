"""One writer at a time, and the name of whoever it is."""

import contextlib
import datetime
import errno
import json
import os
import platform
import stat
import sys
import time
import weakref
from pathlib import Path

from facesim_index.errors import IndexLockedError, StorageError
from facesim_index.utils.files import NO_FOLLOW, kind_of, read_regular
from facesim_index.utils.permissions import make_file

LOCK_NAME = "LOCK"
HOLDER_NAME = "LOCK.holder"
HOLDER_LOOKS = 5
HOLDER_LOOK_S = 0.02
_MOST_BYTES = 1 << 16  # of a holder's file


class NoLocksError(OSError):
    """The file system cannot lock files."""


if sys.platform == "win32":
    from filelock import FileLock, Timeout

    class SystemLock:
        """As below; Windows renames no folder of which a file is open."""

        def __init__(self, path: Path) -> None:
            self._lock = FileLock(path, blocking=False)
            with contextlib.suppress(FileExistsError):
                make_file(path)
            try:
                self._lock.acquire()
            except Timeout:
                raise BlockingIOError(errno.EAGAIN, "is locked", str(path)) from None

        def is_in_place(self) -> bool:
            """Tell that the file at the path is the one that is locked."""
            return True

        def release(self) -> None:
            """Let the next one in."""
            self._lock.release()

else:
    import fcntl

    _TRIES = 100
    #: How a system says that somebody else has the lock; anything else says that there is none.
    _TAKEN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)

    class SystemLock:
        """A lock of the operating system on a file, held until `release` or the process' end.

        A forked child does not have it: neither its life nor its end means anything for it.

        Parameters
        ----------
        path : Path
            The file, which is made if there is none.  A link is not followed.

        Raises
        ------
        BlockingIOError
            Somebody else has it, in another process or in this one.
        NoLocksError
        OSError
            The file cannot be made or opened.
        """

        def __init__(self, path: Path) -> None:
            self._path = path
            self._descriptor = -1
            for _ in range(_TRIES):
                try:
                    with contextlib.suppress(FileExistsError):
                        make_file(path)
                    self._descriptor = _opened(path)
                except FileNotFoundError:
                    if path.parent.is_dir():
                        continue  # removed between the two steps
                    raise
                try:
                    _lock(self._descriptor, path)
                except BaseException:
                    self.forget()
                    raise
                # A folder that was replaced since the file was opened has taken its lock along.
                if self.is_in_place():
                    _held.add(self)
                    return
                self.forget()
            raise BlockingIOError(errno.EAGAIN, "is replaced again and again", str(path))

        def is_in_place(self) -> bool:
            """Tell whether the file at the path is the one that is locked, by this process."""
            try:
                there, ours = os.lstat(self._path), os.fstat(self._descriptor)
            except OSError:
                return False
            return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

        def release(self) -> None:
            """Let the next one in."""
            if self._descriptor >= 0:
                with contextlib.suppress(OSError):
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.forget()

        def forget(self) -> None:
            """Close the file, as in a forked child: whoever else has it open keeps the lock."""
            _held.discard(self)
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    _held: "weakref.WeakSet[SystemLock]" = weakref.WeakSet()

    def _forget_all() -> None:
        for lock in tuple(_held):
            lock.forget()

    os.register_at_fork(after_in_child=_forget_all)

    def _opened(path: Path) -> int:
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"{path.name} is {kind_of(mode)} instead of a file")
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | NO_FOLLOW)

    def _lock(descriptor: int, path: Path) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                raise BlockingIOError(errno.EAGAIN, "is locked", str(path)) from None
            raise NoLocksError(error.errno, error.strerror, str(path)) from error


class WriterLock:
    """The writer's lock of one index, held until `release`.

    The operating system holds it, so that it ends with the process, however that ends.
    A small file beside it names the holder, for the message to whoever comes second.

    Parameters
    ----------
    folder : Path
        The index.

    Raises
    ------
    IndexLockedError
        Another process, or another handle of this one, is writing; says which.
    StorageError
        The lock file cannot be made, as on a read-only medium, or its file system cannot lock.
    """

    def __init__(self, folder: Path) -> None:
        self._holder = folder / HOLDER_NAME
        try:
            self._lock = SystemLock(folder / LOCK_NAME)
        except BlockingIOError:
            raise IndexLockedError(
                f"{folder} is being written by {self._describe_holder()}; "
                "wait until it is done (reading is possible all the time)"
            ) from None
        except NoLocksError as error:
            raise StorageError(
                f"{folder} cannot be written: its file system cannot lock files "
                f"({error.strerror}), and without a lock two writers would spoil the index; nobody "
                "is writing. Keep it on a local disk (reading is possible where it is)"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot write to {folder}: {error.strerror or error}") from error
        with contextlib.suppress(OSError):
            self._holder.unlink(missing_ok=True)  # a dead process's
            make_file(self._holder)
            self._holder.write_text(json.dumps(this_process()), encoding="utf-8")

    def release(self) -> None:
        """Let the next writer in.

        In a forked child, or where another folder has come to the path, nothing is done there.
        """
        if self._lock.is_in_place():
            with contextlib.suppress(OSError):
                self._holder.unlink()
        self._lock.release()

    def _describe_holder(self) -> str:
        for _ in range(HOLDER_LOOKS):
            try:
                holder = json.loads(read_regular(self._holder, _MOST_BYTES))
                if may_run(holder):
                    return (
                        f"process {holder['pid']} on {holder['host']} "
                        f"({holder['command']}, since {holder['since']})"
                    )
            except (OSError, ValueError, KeyError, TypeError):
                pass
            # Whoever took the lock this moment has not yet written who it is.
            time.sleep(HOLDER_LOOK_S)
        return "another process"


def is_held(folder: Path) -> bool:
    """Tell whether somebody is writing to an index, as far as the holder's file tells.

    Takes no lock, so that a writer who comes at this moment is not refused.

    Parameters
    ----------
    folder : Path
        The index.
    """
    try:
        holder = json.loads(read_regular(folder / HOLDER_NAME, _MOST_BYTES))
        return may_run(holder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def may_run(holder: dict[str, str | int]) -> bool:
    """Tell whether a holder may be the one of now, not one that died with its file left behind.

    Process ids are used again: it is the same process only if it started at the same time.
    """
    if holder["host"] != platform.node():
        return True
    return holder.get("started", "") == _started(int(holder["pid"]))


def _started(pid: int) -> str:
    """Return when a process started, in ticks since the system did; empty where unknown."""
    if not Path("/proc/self/stat").exists():
        return ""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return words.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "gone"


def this_process() -> dict[str, str | int]:
    """Return who this process is, for others to find in a file."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:3]] if sys.argv and sys.argv[0] else ["python"]
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "started": _started(os.getpid()),
        "command": " ".join(words).encode("ascii", "backslashreplace").decode(),
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
