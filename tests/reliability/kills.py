"""Kill every command at every fault point and at random moments; check the index each time.

Run ``python -m tests.reliability.kills --seed S --kills N``; the same seed kills at the same
fault points, and as nearly at the same moments as the machine allows.  With ``--in-calls`` the
kills are in the system calls that SQLite makes, in the middle of a write too, and in those of the
recovery that follows; that needs a C compiler.
"""

import argparse
import contextlib
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before FAISS: a fork must not inherit threads

from facesim_index.config import CATALOG_NAME
from facesim_index.store.folder.store import FolderStore
from tests.asking import verify
from tests.reliability.children import done, in_child
from tests.reliability.fault_points import PROTOCOL, Reached, arm
from tests.reliability.scenarios import SCENARIOS, Content, content, copy_folder, make_small
from tests.reliability.system_calls import Calls, busy_log, can_compile, is_loaded, load


@dataclass(slots=True)
class Undisturbed:
    """What a command does when nobody disturbs it: its points, and what the index says there."""

    points: list[str]
    before: list[Content | None]
    seconds: float

    @property
    def final(self) -> Content | None:
        """What the index says at the end."""
        return self.before[-1]


class Stage:
    """One scenario in a folder of its own, that can be played again and again."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.scenario = SCENARIOS[name]
        self.index, self.photos = folder / "i.facesim", folder / "photos"
        self._start, self._seen = folder / "start.facesim", folder / "seen.facesim"
        folder.mkdir()
        self.scenario.prepare(self.index, self.photos)
        copy_folder(self.index, self._start)
        self.reached = Reached()
        self.calls = Calls()
        self.run()  # so that no child has to import and to compile what this process can give it

    def reset(self) -> None:
        """Put the index back to where the scenario starts."""
        copy_folder(self._start, self.index)
        self.reached.count = 0

    def run(self) -> None:
        """Run the command in this process."""
        self.scenario.run(self.index, self.photos)

    def trace(self) -> Undisturbed:
        """Run it undisturbed; return the points passed and the content before each."""
        self.reset()

        def work() -> tuple[list[str], list[Content | None]]:
            points: list[str] = []
            before: list[Content | None] = []

            def look(_: int, name: str, __: Path) -> None:
                points.append(name)
                copy_folder(self.index, self._seen)  # a reader would leave a log where none is
                before.append(content(self._seen))

            arm(self.index, self.reached, look)
            self.run()
            before.append(content(self.index))
            return points, before

        told = done(work)
        assert isinstance(told, tuple)
        points, before = told
        self.reset()
        started = time.monotonic()
        done(self.run)
        return Undisturbed(points, before, time.monotonic() - started)

    def killed_at(self, number: int) -> None:
        """Run it, and kill it before a point."""
        self.reset()

        def strike(reached: int, _: str, __: Path) -> None:
            if reached == number:
                os.kill(os.getpid(), signal.SIGKILL)

        def work() -> None:
            arm(self.index, self.reached, strike)
            self.run()

        ended = in_child(work)
        assert ended.signal == signal.SIGKILL, f"point {number} was not reached: {ended.trace}"

    def killed_after(self, seconds: float) -> bool:
        """Run it, and kill it after a time; tell whether it was still running."""
        self.reset()

        def work() -> None:
            arm(self.index, self.reached, lambda *_: None)
            self.run()

        return in_child(work, kill_after_s=seconds).signal == signal.SIGKILL

    def n_calls(self) -> int:
        """Run it undisturbed; return how many system calls SQLite makes on the catalog."""
        self.reset()

        def work() -> None:
            self.calls.arm(self.index)
            with busy_log():
                self.run()

        done(work)
        return self.calls.count

    def killed_in_call(self, number: int, *, half: bool) -> None:
        """Run it, and kill it in a system call, before it or in the middle of a write."""
        self.reset()

        def work() -> None:
            arm(self.index, self.reached, lambda *_: None)
            self.calls.arm(self.index, kill_at=number, half=half)
            with busy_log():
                self.run()

        ended = in_child(work)
        assert ended.signal == signal.SIGKILL, f"call {number} was not reached: {ended.trace}"

    def killed_in_recovery(self, number: int, *, half: bool, writable: bool) -> bool:
        """Open the index, and kill that in a system call; tell whether it came so far."""

        def work() -> None:
            self.calls.arm(self.index, kill_at=number, half=half)
            if (self.index / CATALOG_NAME).exists():
                with busy_log():
                    FolderStore(self.index, writable=writable).close()

        ended = in_child(work)
        assert not ended.trace, ended.trace
        return ended.signal == signal.SIGKILL

    def check(
        self, allowed: list[Content | None], final: Content | None, *, codes_may_lack: bool = False
    ) -> None:
        """Check the index as a fault left it, and that the next run completes it.

        A disk that refuses coarse codes costs nothing but speed: with `codes_may_lack` their
        absence is not counted.  All of it is done in this process: a child would have to build
        anew what this one has at hand, and that takes longer than the checks themselves.
        """
        try:
            found = content(self.index)
            assert found in allowed, "what was reported is lost, or half of a batch is there"
            if found is not None:
                self.check_whole(found, codes_may_lack)
            self.run()
            found = content(self.index)
            assert found == final, "the next run ended otherwise"
            leftovers = self.check_whole(found, codes_may_lack)
            assert leftovers == set(), "leftovers remain"
        except AssertionError:
            raise
        except Exception:
            raise AssertionError(traceback.format_exc()) from None

    def check_whole(self, found: Content | None, codes_may_lack: bool) -> set[str]:
        """Check that the index opens without repair, is sound and has no face twice.

        Return the files of the index that nothing names.
        """
        with FolderStore(self.index) as store:
            problems = [
                problem
                for problem in verify(store).problems
                if not (codes_may_lack and problem.what.endswith(".coarse"))
            ]
            assert not problems, problems
            with store.view() as view:
                named = {f"{Path(str(segment._path)).stem}" for segment in view.segments}
        assert found is not None
        keys = [face[:2] for face in found["faces"]]
        assert len(set(keys)) == len(keys), "a face is there twice"
        return {
            path.name for path in (self.index / "segments").iterdir() if path.stem not in named
        } | {path.name for path in self.index.glob("*.new*")}


@dataclass(slots=True)
class Figures:
    """What a campaign did."""

    kills: int = 0
    in_recovery: int = 0
    too_late: int = 0
    by_scenario: Counter[str] = field(default_factory=Counter)
    reached: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)


def campaign(
    seed: int, n_kills: int, *, every_point: bool, seconds: float = 1e9, only: str = ""
) -> Figures:
    """Kill at fault points, then at random moments, until there were `n_kills`.

    Parameters
    ----------
    seed : int
    n_kills : int
    every_point : bool
        Kill at each occurrence of each point; else at one occurrence, drawn, of each name in
        each scenario.
    seconds : float
        Start no kill after that time.
    only : str
        Play the scenarios whose names begin with this.
    """
    make_small()
    generator, figures = random.Random(seed), Figures()
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        chosen = [name for name in SCENARIOS if name.startswith(only)]
        stages = [Stage(name, Path(folder) / str(n)) for n, name in enumerate(chosen)]
        traces = [stage.trace() for stage in stages]
        for stage, trace in zip(stages, traces, strict=True):
            for number in _chosen(trace.points, generator, every_point):
                figures.reached.add(trace.points[number])
                _count(figures, stage, f"at point {number}, {trace.points[number]}")
                stage.killed_at(number)
                with _judged(figures):
                    stage.check([trace.before[number]], trace.final)
        while figures.kills < n_kills and time.monotonic() < end:
            stage, trace = generator.choice(list(zip(stages, traces, strict=True)))
            moment = generator.uniform(0, trace.seconds)
            if not stage.killed_after(moment):
                figures.too_late += 1
                continue
            _count(figures, stage, f"{moment:.4f} s after the start")
            at = stage.reached.count
            with _judged(figures):
                stage.check(trace.before[max(0, at - 1) : at + 1], trace.final)
    return figures


def campaign_in_calls(seed: int, n_kills: int, *, seconds: float = 1e9, only: str = "") -> Figures:
    """Kill in system calls of SQLite, and after that now and then in those of the recovery.

    Parameters
    ----------
    seed : int
    n_kills : int
    seconds : float
        Start no kill after that time.
    only : str
        Play the scenarios whose names begin with this.
    """
    make_small()
    generator, figures = random.Random(seed), Figures()
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        chosen = [name for name in SCENARIOS if name.startswith(only)]
        stages = [Stage(name, Path(folder) / str(n)) for n, name in enumerate(chosen)]
        played = [(stage, stage.trace(), stage.n_calls()) for stage in stages]
        while figures.kills < n_kills and time.monotonic() < end:
            stage, trace, n_calls = generator.choice(played)
            number, half = generator.randrange(n_calls), generator.random() < 0.5
            _count(figures, stage, f"in call {number} of {n_calls}{', half done' if half else ''}")
            stage.killed_in_call(number, half=half)
            at = stage.reached.count
            allowed = trace.before[max(0, at - 1) : at + 1]
            with _judged(figures):
                for _ in range(generator.choice([0, 1, 1, 2])):
                    again, writable = generator.randrange(25), generator.random() < 0.5
                    if writable and stage.name == "migrations":
                        allowed = [*allowed, trace.final]  # to open an old index is to upgrade it
                    if stage.killed_in_recovery(again, half=half, writable=writable):
                        figures.in_recovery += 1
                        figures.failures[-1] += f", then in call {again} of the recovery"
                stage.check(allowed, trace.final)
    return figures


def _chosen(points: list[str], generator: random.Random, every_point: bool) -> list[int]:
    if every_point:
        return list(range(len(points)))
    return [
        generator.choice([n for n, name in enumerate(points) if name == wanted])
        for wanted in sorted(set(points))
    ]


def _count(figures: Figures, stage: Stage, where: str) -> None:
    figures.kills += 1
    figures.by_scenario[stage.name] += 1
    figures.failures.append(f"{stage.name}, killed {where}")


@contextlib.contextmanager
def _judged(figures: Figures) -> Iterator[None]:
    """Check in the block what the last kill has left; a failed check is kept and told."""
    try:
        yield
    except AssertionError as error:
        figures.failures[-1] += f": {error}"
        sys.stdout.write(f"{figures.failures[-1]}\n")
    else:
        figures.failures.pop()


def main() -> None:
    """Run a campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--every-point", action="store_true")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--only", default="", help="scenarios whose names begin with this")
    parser.add_argument("--in-calls", action="store_true", help="kill in SQLite's system calls")
    chosen = parser.parse_args()
    if chosen.in_calls:
        _run_in_calls(chosen.seed, chosen.kills, chosen.seconds, chosen.only)
    logging.disable(logging.WARNING)
    sys.stdout.write(f"kills: seed {chosen.seed}\n")
    sys.stdout.flush()
    started = time.monotonic()
    figures = campaign(
        chosen.seed,
        chosen.kills,
        every_point=chosen.every_point,
        seconds=chosen.seconds,
        only=chosen.only,
    )
    missed = sorted(PROTOCOL - figures.reached)
    sys.stdout.write(
        f"{figures.kills} kills, {len(figures.failures)} not survived; "
        f"{len(PROTOCOL) - len(missed)} of {len(PROTOCOL)} steps of the protocol reached, "
        f"{len(figures.reached)} kinds of fault point in all; "
        f"{figures.too_late} runs ended before their kill; "
        f"{time.monotonic() - started:.0f} s\n"
    )
    for name, n in figures.by_scenario.items():
        sys.stdout.write(f"  {name}: {n}\n")
    for name in () if chosen.only else missed:
        sys.stdout.write(f"  never reached: {name}\n")
    sys.exit(bool(figures.failures or (missed and not chosen.only)))


def _run_in_calls(seed: int, n_kills: int, seconds: float, only: str) -> NoReturn:
    """Run the campaign in system calls, print its figures and end."""
    if not can_compile():
        sys.stdout.write("kills in system calls: not here, for there is no C compiler\n")
        sys.exit(0)
    if not is_loaded():
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(load(Path(folder)))
    logging.disable(logging.WARNING)
    sys.stdout.write(f"kills in system calls: seed {seed}\n")
    sys.stdout.flush()
    started = time.monotonic()
    figures = campaign_in_calls(seed, n_kills, seconds=seconds, only=only)
    sys.stdout.write(
        f"{figures.kills} kills in system calls, {figures.in_recovery} more in the recovery after "
        f"them, {len(figures.failures)} not survived; {time.monotonic() - started:.0f} s\n"
    )
    for name, n in figures.by_scenario.items():
        sys.stdout.write(f"  {name}: {n}\n")
    sys.exit(bool(figures.failures))


if __name__ == "__main__":
    main()
