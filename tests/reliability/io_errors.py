"""Let the disk refuse at every fault point; the command must fail cleanly, or go on.

Run ``python -m tests.reliability.io_errors --seed S``.
"""

import argparse
import errno
import logging
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from facesim_index.errors import FacesimError
from tests.reliability.children import Ended, in_child
from tests.reliability.fault_points import arm
from tests.reliability.kills import Stage, Undisturbed
from tests.reliability.scenarios import SCENARIOS, make_small

ERRNOS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EDQUOT)
SQL_REASONS = (
    "disk I/O error",
    "database or disk is full",
    "attempt to write a readonly database",
    "unable to open database file",
)


def refused_at(stage: Stage, number: int, reason: int, *, lasting: bool) -> Ended:
    """Run a scenario whose disk refuses one step, or (`lasting`) all from that step on."""
    stage.reset()

    def strike(reached: int, name: str, path: Path) -> None:
        if reached == number or (lasting and reached > number):
            if name.startswith("sql"):
                raise sqlite3.OperationalError(SQL_REASONS[reason % len(SQL_REASONS)])
            raise OSError(reason, os.strerror(reason), str(path))

    def work() -> None:
        arm(stage.index, stage.reached, strike)
        stage.run()

    return in_child(work)


def judge(stage: Stage, trace: Undisturbed, number: int, ended: Ended) -> str:
    """Return how the run ended: ``refused`` or ``went on``; assert that it ended well."""
    if isinstance(ended.result, FacesimError):
        assert str(stage.index) in str(ended.result), f"names no file: {ended.result}"
    else:
        assert not ended.trace, ended.trace
    stage.check(trace.before[number:], trace.final, codes_may_lack="coarse" in trace.points[number])
    return "refused" if ended.trace else "went on"


def campaign(seed: int, *, every_point: bool, only: str = "") -> tuple[Counter[str], list[str]]:
    """Let the disk refuse at each kind of fault point of each scenario, or at every point.

    Only in scenarios whose names begin with `only`.
    """
    make_small()
    generator = random.Random(seed)
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        chosen = [name for name in SCENARIOS if name.startswith(only)]
        for n, scenario in enumerate(chosen):
            stage = Stage(scenario, Path(folder) / str(n))
            trace = stage.trace()
            numbers = list(range(len(trace.points)))
            if not every_point:
                kinds = sorted(set(trace.points))
                numbers = [
                    generator.choice([k for k in numbers if trace.points[k] == kind])
                    for kind in kinds
                ]
            for number in numbers:
                reason, lasting = generator.choice(ERRNOS), generator.random() < 0.5
                ended = refused_at(stage, number, reason, lasting=lasting)
                try:
                    outcomes[judge(stage, trace, number, ended)] += 1
                except AssertionError as error:
                    failures.append(
                        f"{scenario}, {errno.errorcode[reason]} at point {number}, "
                        f"{trace.points[number]}{', lasting' if lasting else ''}: {error}"
                    )
                    sys.stdout.write(f"{failures[-1]}\n")
                    sys.stdout.flush()
    return outcomes, failures


def main() -> None:
    """Run a campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--every-point", action="store_true")
    parser.add_argument("--only", default="", help="scenarios whose names begin with this")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    sys.stdout.write(f"io_errors: seed {chosen.seed}\n")
    sys.stdout.flush()
    started = time.monotonic()
    outcomes, failures = campaign(chosen.seed, every_point=chosen.every_point, only=chosen.only)
    sys.stdout.write(
        f"{outcomes.total() + len(failures)} errors: {outcomes['refused']} ended the command "
        f"cleanly, {outcomes['went on']} did not matter, {len(failures)} were not survived; "
        f"{time.monotonic() - started:.0f} s\n"
    )
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
