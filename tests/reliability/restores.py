"""Kill a snapshot and a restore at every step, and let the disk refuse each; look what is there.

The steps are the file operations that Python makes and, where ``strace`` is installed, the
system calls, those that SQLite makes too.  Afterwards there must be an index at the place, the old
or the new one, whole, and the next command must leave nothing behind.

Run ``python -m tests.reliability.restores --every-point --seed S``.
"""

import argparse
import errno
import logging
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before FAISS: a fork must not inherit threads

import numpy.ma  # noqa: F401 - numpy imports it late, and no file may be refused to it

from facesim_index.errors import FacesimError
from facesim_index.records import FaceId
from facesim_index.store.folder.snapshots import restore_snapshot, take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.utils import files
from tests.asking import verify
from tests.builders import commit_pictures, new_store, picture, unit_vectors
from tests.reliability.children import Ended, done, in_child
from tests.reliability.file_steps import Strike, arm
from tests.reliability.scenarios import Content, content
from tests.reliability.traced_calls import Call, calls_of, has_strace, struck_at

READS_OF_A_KIND = 2  # SQLite reads the same file a hundred times
ERRNOS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Deed:
    """A command that is disturbed: what it does in a folder, and which place it is about."""

    run: Callable[[Path], None]
    place: str
    begin: Callable[[Path], None] = lambda world: None


def _restore(world: Path) -> None:
    restore_snapshot(world / "s", world / "i", force=True)


def _restore_copies(world: Path) -> None:
    restore_snapshot(world / "s", world / "i", force=True, copy=True)


def _restore_in_two_steps(world: Path) -> None:
    real = files._renameat2
    files._renameat2 = lambda: None  # type: ignore[assignment]  # as on a system that cannot
    try:
        _restore(world)
    finally:
        files._renameat2 = real


def _snapshot(world: Path) -> None:
    take_snapshot(world / "i", world / "i2")


def _restore_anew(world: Path) -> None:
    restore_snapshot(world / "s", world / "i2")


DEEDS = {
    "restore --force": Deed(_restore, "i"),
    "restore --force --copy": Deed(_restore_copies, "i"),
    "restore --force in two steps": Deed(_restore_in_two_steps, "i"),
    "restore": Deed(_restore_anew, "i2"),
    "snapshot": Deed(_snapshot, "i2"),
}


class Stage:
    """A folder with an index ``i`` and a snapshot ``s`` of it as it was, made anew each time."""

    def __init__(self, folder: Path) -> None:
        self.world = folder / "world"
        self._start = folder / "start"
        self._start.mkdir(parents=True)
        done(self._prepare)
        self.reset()
        self.old, self.new = content(self.world / "i"), content(self.world / "s")
        assert self.old != self.new

    def _prepare(self) -> None:
        with new_store(self._start / "i") as store:
            for n in range(2):
                commit_pictures(store, {f"/p/{n}.jpg": picture(str(n), unit_vectors(3, n))})
        take_snapshot(self._start / "i", self._start / "s", copy=True)
        with FolderStore(self._start / "i", writable=True) as store:
            store.remove([], face_ids=[FaceId(1)])
            store.compact()
            commit_pictures(store, {"/p/2.jpg": picture("2", unit_vectors(2, 2))})

    def reset(self) -> None:
        """Put everything back to where it starts."""
        shutil.rmtree(self.world, ignore_errors=True)
        shutil.copytree(self._start, self.world, symlinks=True)

    def hidden(self) -> list[str]:
        """Return the names of what is left beside the places."""
        return sorted(path.name for path in self.world.glob(".*"))

    def check(self, name: str, ended: Ended) -> str:
        """See what a disturbed command has left; return in a word how it ended.

        Raises
        ------
        AssertionError
            Something is lost, or half there, or stays behind.
        """
        deed, failed = DEEDS[name], ended.result
        if ended.trace:
            assert isinstance(failed, FacesimError), ended.trace
            assert str(self.world) in str(failed), f"names no file: {failed}"
        killed = ended.signal == signal.SIGKILL
        two_steps = name.endswith("two steps")
        there = [content(self.world / place) for place in ("i", deed.place)]
        if two_steps and there[0] is None:
            assert killed or "finishes the restore" in str(failed), "nobody says where it is"
        else:
            assert there[0] in (self.old, self.new), "there is no index at the place"
        told = done(lambda: self._look(name, killed=killed))
        assert isinstance(told, str)
        if killed:
            return f"killed, {told}"
        return "refused" if ended.trace else "went on"

    def _look(self, name: str, *, killed: bool) -> str:
        deed = DEEDS[name]
        log = _Log()
        before = self.hidden()
        missing = not (self.world / "i").exists()
        index = self._whole(self.world / "i")  # any command that opens the place
        assert not missing or "finished the restore" in log.text(), "it is not said"
        told = "in between" if missing else "old" if index == self.old else "new"
        made = self.world / deed.place
        if deed.place != "i":
            assert index == self.old
            told = "made" if made.exists() else "not made"
            if made.exists():
                assert self._whole(made) == (self.old if name == "snapshot" else self.new)
        before = [name for name in before if name in self.hidden()]
        if deed.place != "i" and made.exists():
            shutil.rmtree(made)
        deed.run(self.world)
        expected = self.old if name == "snapshot" else self.new
        assert self._whole(made) == expected, "the next run ended otherwise"
        assert self.hidden() == [], f"left behind: {self.hidden()}"
        for left in before:
            assert left in log.text(), f"{left} is removed in silence"
        return told

    def _whole(self, index: Path) -> Content | None:
        with FolderStore(index) as store:
            problems = verify(store).problems
        assert not problems, problems
        return content(index)


class _Log(logging.Handler):
    """Keeps what the package says."""

    def __init__(self) -> None:
        super().__init__()
        self._said: list[str] = []
        logging.getLogger("facesim_index").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())

    def text(self) -> str:
        """Return everything said so far."""
        return "\n".join(self._said)


@dataclass(slots=True)
class Figures:
    """What a campaign did."""

    struck: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Campaign:
    """Strikes at steps of the commands, and judges what is left.

    Parameters
    ----------
    folder : Path
    seed : int
    every_point : bool
        Strike at each occurrence of each step; else at each rename, for what is between two of
        them, and at one, drawn, of each other kind.
    """

    def __init__(self, folder: Path, seed: int, *, every_point: bool) -> None:
        self.figures = Figures()
        self._stage = Stage(folder)
        self._generator = random.Random(seed)
        self._every_point = every_point

    def strike_at_steps(self, name: str) -> None:
        """Kill and refuse at the file operations that Python makes."""
        world = self._stage.world

        def trace() -> list[str]:
            steps: list[str] = []
            arm(world, lambda _, kind, __: steps.append(kind))
            DEEDS[name].run(world)
            return steps

        self._stage.reset()
        steps = done(trace)
        assert isinstance(steps, list)
        for number in self._chosen(steps):
            self._try(name, f"killed at step {number}, {steps[number]}", _killing(number))
        for number in self._chosen(steps):
            reason = self._generator.choice(ERRNOS)
            for lasting in (False, True):
                where = f"{errno.errorcode[reason]} {'from' if lasting else 'at'} step {number}"
                strike = _refusing(number, reason, lasting=lasting)
                self._try(name, f"{where}, {steps[number]}", strike)

    def strike_at_calls(self, name: str) -> None:
        """Kill and refuse at the system calls, of SQLite too."""
        self._stage.reset()
        calls = calls_of(lambda: DEEDS[name].run(self._stage.world), self._stage.world)
        changing = [call for call in calls if call.changes]
        for call in self._chosen_calls(changing):
            self._try_call(name, call, f"killed at {call}", "signal=KILL", lasting=False)
        for call in (*self._chosen_calls(changing), *self._chosen_reads(calls)):
            reason = errno.errorcode[self._generator.choice(ERRNOS)]
            lasting = self._generator.random() < 0.5
            where = f"{reason} {'from' if lasting else 'at'} {call}"
            self._try_call(name, call, where, f"error={reason}", lasting=lasting)

    def _try(self, name: str, where: str, strike: Strike) -> None:
        self._stage.reset()

        def work() -> None:
            arm(self._stage.world, strike)
            DEEDS[name].run(self._stage.world)

        self._judge(name, where, in_child(work))

    def _try_call(self, name: str, call: Call, where: str, fault: str, *, lasting: bool) -> None:
        self._stage.reset()
        ended = struck_at(lambda: DEEDS[name].run(self._stage.world), call, fault, lasting=lasting)
        self._judge(name, where, ended)

    def _judge(self, name: str, where: str, ended: Ended) -> None:
        self.figures.struck[name] += 1
        try:
            self.figures.outcomes[self._stage.check(name, ended)] += 1
        except AssertionError as error:
            why = str(error).strip().splitlines() or ["wrong"]
            self.figures.failures.append(f"{name}, {where}: {why[-1]}")
            sys.stdout.write(f"{self.figures.failures[-1]}\n")
            sys.stdout.flush()

    def _chosen(self, steps: Sequence[str]) -> list[int]:
        if self._every_point:
            return list(range(len(steps)))
        chosen: list[int] = []
        for kind in sorted(set(steps)):
            alike = [n for n, step in enumerate(steps) if step == kind]
            chosen += alike if kind.startswith("rename") else [self._generator.choice(alike)]
        return chosen

    def _chosen_calls(self, calls: Sequence[Call]) -> list[Call]:
        return [calls[number] for number in self._chosen([call.name for call in calls])]

    def _chosen_reads(self, calls: Sequence[Call]) -> list[Call]:
        kinds: dict[str, list[Call]] = {}
        for call in calls:
            if not call.changes:
                kinds.setdefault(call.kind if self._every_point else call.name, []).append(call)
        most = READS_OF_A_KIND if self._every_point else 1
        return [
            call
            for alike in kinds.values()
            for call in self._generator.sample(alike, min(most, len(alike)))
        ]


def _killing(wanted: int) -> Strike:
    def strike(number: int, _: str, __: Path) -> None:
        if number == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return strike


def _refusing(wanted: int, reason: int, *, lasting: bool) -> Strike:
    def strike(number: int, kind: str, path: Path) -> None:
        if number == wanted or (lasting and number > wanted):
            if kind.startswith("sql"):
                raise sqlite3.OperationalError("disk I/O error")
            raise OSError(reason, os.strerror(reason), str(path))

    return strike


def campaign(seed: int, *, every_point: bool, calls: bool = True, only: str = "") -> Figures:
    """Strike at the commands whose names begin with `only`; see `Campaign`."""
    with tempfile.TemporaryDirectory() as folder:
        made = Campaign(Path(folder).resolve(), seed, every_point=every_point)
        for name in [name for name in DEEDS if name.startswith(only)]:
            made.strike_at_steps(name)
            if calls and has_strace():
                made.strike_at_calls(name)
        return made.figures


def main() -> None:
    """Run a campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--every-point", action="store_true")
    parser.add_argument("--no-calls", action="store_true", help="strike at no system calls")
    parser.add_argument("--only", default="", help="commands whose names begin with this")
    chosen = parser.parse_args()
    logging.getLogger("facesim_index").addHandler(logging.NullHandler())
    logging.getLogger("facesim_index").propagate = False
    sys.stdout.write(f"restores: seed {chosen.seed}\n")
    if not has_strace():
        sys.stdout.write("without strace: the steps of Python only\n")
    sys.stdout.flush()
    started = time.monotonic()
    figures = campaign(
        chosen.seed, every_point=chosen.every_point, calls=not chosen.no_calls, only=chosen.only
    )
    sys.stdout.write(
        f"{figures.struck.total()} faults, {len(figures.failures)} not survived; "
        f"{time.monotonic() - started:.0f} s\n"
    )
    for kind in ("struck", "outcomes"):
        for name, n in sorted(getattr(figures, kind).items()):
            sys.stdout.write(f"  {name}: {n}\n")
    sys.exit(bool(figures.failures))


if __name__ == "__main__":
    main()
