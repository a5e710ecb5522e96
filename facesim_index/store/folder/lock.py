"""One writer at a time, and the name of whoever it is."""

import contextlib
import datetime
import json
import logging
import os
import platform
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from facesim_index.errors import IndexLockedError, StorageError
from facesim_index.utils.permissions import make_file

LOCK_NAME = "LOCK"
HOLDER_NAME = "LOCK.holder"
HOLDER_LOOKS = 5
HOLDER_LOOK_S = 0.02

logger = logging.getLogger(__name__)


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
        The lock file cannot be made, as on a read-only medium.
    """

    def __init__(self, folder: Path) -> None:
        self._holder = folder / HOLDER_NAME
        self._lock = FileLock(folder / LOCK_NAME, blocking=False)
        try:
            with contextlib.suppress(FileExistsError):
                make_file(folder / LOCK_NAME)
            self._lock.acquire()
        except Timeout:
            raise IndexLockedError(
                f"{folder} is being written by {self._describe_holder()}; "
                "wait until it is done (reading is possible all the time)"
            ) from None
        except OSError as error:
            raise StorageError(f"cannot write to {folder}: {error.strerror or error}") from error
        with contextlib.suppress(OSError):
            self._holder.unlink(missing_ok=True)  # a dead process's
            make_file(self._holder)
            self._holder.write_text(json.dumps(_this_process()), encoding="utf-8")

    def release(self) -> None:
        """Let the next writer in."""
        with contextlib.suppress(OSError):
            self._holder.unlink()
        self._lock.release()

    def _describe_holder(self) -> str:
        for _ in range(HOLDER_LOOKS):
            try:
                holder = json.loads(self._holder.read_text(encoding="utf-8"))
                if _may_run(holder):
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
        holder = json.loads((folder / HOLDER_NAME).read_text(encoding="utf-8"))
        return _may_run(holder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _may_run(holder: dict[str, str | int]) -> bool:
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


def _this_process() -> dict[str, str | int]:
    words = [Path(sys.argv[0]).name, *sys.argv[1:3]] if sys.argv and sys.argv[0] else ["python"]
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "started": _started(os.getpid()),
        "command": " ".join(words).encode("ascii", "backslashreplace").decode(),
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
