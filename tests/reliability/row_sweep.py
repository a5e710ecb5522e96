"""Change every value of every row in turn, and see that no answer is wrong in silence.

``python -m tests.reliability.row_sweep --seed 1 --count 300`` runs a campaign; a seed and a number
are enough to see one case again (``--only``).

In each case one value of one row is changed behind the back of its checksums, and then everything
is asked and done that facesim can.  An answer is *right* when it is that of the whole index, *told*
when it says that the index is damaged and what to do, and *wrong* otherwise, which must never be.
A change must besides leave every other row as it leaves it in the whole index, and the damage must
stay known until it is mended; what is refused must have changed nothing.
"""

import argparse
import collections
import logging
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

from facesim_index.config import CATALOG_NAME
from tests.reliability.full_index import make_full_index
from tests.reliability.row_damage import Damage, columns_of, n_rows
from tests.reliability.row_questions import (
    CHANGES,
    COMMANDS,
    METHODS,
    Answer,
    Ask,
    Place,
    ask_routes,
    is_whole,
    rows_of,
)

READS = {**COMMANDS, **METHODS}
IN_STEPS = ("ingest", "compact", "forget", "calibrate", "people cluster")
"""Commands of several commits: when a later one is refused, the earlier ones stay."""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one question in one case.

    Attributes
    ----------
    question : str
    outcome : {"right", "told", "wrong", "traceback"}
    why : str
    """

    question: str
    outcome: Literal["right", "told", "wrong", "traceback"]
    why: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the promise held."""
        return self.outcome in ("right", "told")


class Sweep:
    """A whole index, what it answers, and a place for copies of it that are damaged.

    Parameters
    ----------
    folder : Path
        Empty; everything is made in it.
    """

    def __init__(self, folder: Path) -> None:
        self._sound = folder / "sound"
        self._place = Place(folder / "index", folder / "photos", folder / "out")
        make_full_index(self._sound, self._place.photos)

    @property
    def catalog(self) -> Path:
        """The catalog of the whole index."""
        return self._sound / CATALOG_NAME

    def one_of_each(self) -> Iterator[Damage]:
        """Yield one change of each column of each table, of both kinds in turn."""
        number = 0
        for table, columns in columns_of(self.catalog).items():
            for column in columns:
                number += 1
                row = number % n_rows(self.catalog, table)
                yield Damage(table, column, row, ("edit", "byte")[number % 2], at=number)

    def at_random(self, seed: int) -> Iterator[Damage]:
        """Yield changes for ever, of each column as often as of any other."""
        chance = random.Random(seed)
        tables = columns_of(self.catalog).items()
        columns = [(table, column) for table, names in tables for column in names]
        while True:
            chance.shuffle(columns)
            for table, column in columns:
                row = chance.randrange(n_rows(self.catalog, table))
                kind: Literal["edit", "byte"] = "edit" if chance.random() < 0.5 else "byte"
                one_bit = chance.random() < 0.5
                flip = 1 << chance.randrange(8) if one_bit else chance.randrange(1, 256)
                yield Damage(table, column, row, kind, chance.randrange(64), flip)

    def ask(self, damage: Damage, *, routes: bool = True) -> list[Found] | None:
        """Ask a damaged copy everything; None when the damage changed nothing."""
        if not self._prepare(damage):
            return None
        found = [self._asked(name, ask) for name, ask in READS.items()]
        if routes:
            found += self._asked_routes()
        if is_whole(self._place.index):
            found.append(Found("verify", "wrong", "it says that every row is whole"))
        return found

    def change(self, damage: Damage) -> list[Found] | None:
        """Change damaged copies in every way; None when the damage changed nothing."""
        found = []
        for name, ask in CHANGES.items():
            if not self._prepare(damage):
                return None
            damaged = rows_of(self._place.index)
            hit = _differing(self._rows, damaged)
            judged = self._asked(name, ask)
            rows = rows_of(self._place.index)
            changed = _differing(rows, self._changes[name].rows) - hit
            if judged.outcome == "right" and changed:
                judged = Found(name, "wrong", f"other rows: {_some(changed)}")
            elif judged.outcome == "right" and is_whole(self._place.index):
                left = _differing(rows, self._changes[name].rows)
                if left:
                    judged = Found(name, "wrong", f"no longer known: {_some(left)}")
            elif judged.outcome == "told" and not name.startswith(IN_STEPS):
                halves = _differing(rows, damaged)
                if halves and changed:
                    judged = Found(name, "wrong", f"told, and changed: {_some(halves)}")
            found.append(judged)
        return found

    def _asked(self, name: str, ask: Ask) -> Found:
        _empty(self._place.out)
        try:
            answer = ask(self._place)
        except Exception:
            return Found(name, "traceback", traceback.format_exc())
        return _judged(name, (self._reads | self._changes)[name], answer)

    def _asked_routes(self) -> Iterator[Found]:
        try:
            answers = ask_routes(self._place)
        except Exception:
            yield Found("routes", "traceback", traceback.format_exc())
            return
        for name, answer in answers.items():
            yield _judged(name, self._routes[name], answer)

    @cached_property
    def _rows(self) -> dict[str, str]:
        return rows_of(self._sound)

    @cached_property
    def _reads(self) -> dict[str, Answer]:
        return self._of_the_whole(READS)

    @cached_property
    def _changes(self) -> dict[str, Answer]:
        return self._of_the_whole(CHANGES)

    @cached_property
    def _routes(self) -> dict[str, Answer]:
        return self._elsewhere(lambda: ask_routes(self._place))

    def _of_the_whole(self, asks: Mapping[str, Ask]) -> dict[str, Answer]:
        def ask_all() -> dict[str, Answer]:
            answers = {}
            for name, ask in asks.items():
                self._prepare(None)
                answers[name] = ask(self._place)
                assert not answers[name].failed, (name, answers[name])
            return answers

        return self._elsewhere(ask_all)

    def _elsewhere(self, ask: Callable[[], dict[str, Answer]]) -> dict[str, Answer]:
        """Ask the whole index in the place of the damaged one, which is put back."""
        aside = self._place.index.with_name("aside")
        is_used = self._place.index.exists()
        if is_used:
            self._place.index.rename(aside)
        self._prepare(None)
        try:
            return ask()
        finally:
            shutil.rmtree(self._place.index)
            if is_used:
                aside.rename(self._place.index)

    def _prepare(self, damage: Damage | None) -> bool:
        """Put a copy in its place, and damage it; tell whether that changed anything."""
        shutil.rmtree(self._place.index, ignore_errors=True)
        shutil.copytree(self._sound, self._place.index)
        _empty(self._place.out)
        return damage is None or damage.apply(self._place.index / CATALOG_NAME)


def _judged(name: str, sound: Answer, answer: Answer) -> Found:
    if answer.tells_damage:
        return Found(name, "told", answer.said)
    if answer.failed != sound.failed:
        return Found(name, "wrong", f"it failed: {answer.said or answer.text}")
    if answer.text != sound.text:
        return Found(name, "wrong", _first_difference(answer.text, sound.text))
    return Found(name, "right")


def _first_difference(text: str, other: str) -> str:
    at = next((n for n, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), 0)
    start = max(0, at - 40)
    return f"{text[start : at + 60]!r}, not {other[start : at + 60]!r}"


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {key for key in {*one, *other} if one.get(key) != other.get(key)}


def _some(keys: set[str]) -> str:
    return ", ".join(sorted(keys)[:5])


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def main() -> int:
    """Run a campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300, help="values to change")
    parser.add_argument("--first", type=int, default=0, help="number to begin with")
    parser.add_argument("--only", type=int, help="run this number alone")
    options = parser.parse_args()
    logging.getLogger("facesim_index").addHandler(logging.NullHandler())
    figures: collections.Counter[str] = collections.Counter()
    bad: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="facesim-sweep-") as folder:
        sweep = Sweep(Path(folder))
        numbered = enumerate(sweep.at_random(options.seed))
        for number, damage in islice(numbered, options.first, options.first + options.count):
            if options.only in (None, number):
                found = [*(sweep.ask(damage) or ()), *(sweep.change(damage) or ())]
                figures["cases" if found else "cases that change nothing"] += 1
                figures.update(f"answers {one.outcome}" for one in found)
                for one in found:
                    if not one.is_good:
                        bad[f"{one.outcome}: {one.question}"] += 1
                        where = f"--seed {options.seed} --only {number}: {damage}"
                        sys.stdout.write(f"{where}: {one.question}: {one.outcome}: {one.why}\n")
                        sys.stdout.flush()
    sys.stdout.write(f"row_sweep: seed {options.seed}\n")
    for name, count in (*sorted(figures.items()), *bad.most_common()):
        sys.stdout.write(f"  {name:<40} {count}\n")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
