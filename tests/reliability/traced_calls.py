"""The system calls of a child, at which ``strace`` can kill it or let the system refuse.

It reaches what Python's own file operations do not: what SQLite and FAISS do.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.children import Ended, in_child

CHANGING = frozenset(
    {
        *("write", "pwrite64", "writev", "pwritev", "fsync", "fdatasync", "ftruncate", "fallocate"),
        *("mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2"),
        *("link", "linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat"),
    }
)
_READING = frozenset(
    {
        *("open", "openat", "read", "pread64", "getdents64", "stat", "lstat", "fstat"),
        *("newfstatat", "statx"),
    }
)
_RANDOM = re.compile(r"(?<=facesim-)[0-9a-f]{8}|(?<=\.)[a-z0-9_]{8}(?= |$)")
_LINE = re.compile(r"(\w+)\(")
_PATIENCE_S = 30


@dataclass(frozen=True, slots=True)
class Call:
    """One system call of a run: the how-manieth of its name, and whether it changes a file."""

    name: str
    number: int
    changes: bool
    words: str

    @property
    def kind(self) -> str:
        """What calls of one kind share: the name, and the file but for random letters."""
        return f"{self.name} {_RANDOM.sub('.', self.words)}"

    def __str__(self) -> str:
        return f"{self.name} {self.number}, {self.words}"


def has_strace() -> bool:
    """Tell whether system calls can be struck at here."""
    return sys.platform == "linux" and shutil.which("strace") is not None


def calls_of(work: Callable[[], object], root: Path) -> list[Call]:
    """Return the calls of an undisturbed run that are about files below a folder."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "calls"
        ended = _traced(work, ["-y", "-s", "0", "-o", str(log)])
        assert not ended.trace, ended.trace
        lines = log.read_text(errors="replace").splitlines()
    seen: Counter[str] = Counter()
    calls = []
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        name = found[1]
        seen[name] += 1
        if str(root) in line:
            changes = name in CHANGING or "O_CREAT" in line
            words = " ".join(part.removeprefix(str(root)) for part in _paths(line, root))
            calls.append(Call(name, seen[name], changes, words))
    return calls


def struck_at(
    work: Callable[[], object], call: Call, fault: str, *, lasting: bool = False
) -> Ended:
    """Run something in a child, with a fault at a call, or from that call on at all of its name.

    Parameters
    ----------
    work : callable
    call : Call
    fault : str
        As ``strace --inject`` takes it: ``signal=KILL`` or ``error=EIO``.
    lasting : bool, default=False
        But for ``write``, by which the child tells how it ended.
    """
    when = f"{call.number}{'+' if lasting and call.name != 'write' else ''}"
    return _traced(work, ["-o", os.devnull, "-e", f"inject={call.name}:{fault}:when={when}"])


def _paths(line: str, root: Path) -> list[str]:
    return re.findall(rf"{re.escape(str(root))}[^\">,]*", line)[:2]


def _traced(work: Callable[[], object], options: list[str]) -> Ended:
    """Run something in a child once ``strace`` has hold of it."""
    traced = ",".join(sorted(CHANGING | _READING))
    command = ["strace", "--quiet=all", "-e", f"trace={traced}", "-e", "signal=none", *options]

    def hold_and_work() -> object:
        parent = os.getpid()
        tracer = subprocess.Popen([*command, "-p", str(parent)])
        end = time.monotonic() + _PATIENCE_S
        while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
            assert tracer.poll() is None, "strace did not start"
            assert time.monotonic() < end, "strace did not come"
            time.sleep(0.002)
        return work()

    return in_child(hold_and_work)
