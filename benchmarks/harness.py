"""What every benchmark shares: fair rounds, the machine it ran on, and the table of its figures.

A benchmark is a module ``benchmarks/bench_NAME.py`` with ``run(options: Options) -> list[Row]``;
``benchmarks/run.py`` runs it and writes its table to the terminal and to a dated file.
"""

import datetime
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("facesim_index", "numpy", "faiss-cpu", "onnxruntime-gpu", "opencv-python-headless")


@dataclass(frozen=True)
class Options:
    """What a run was asked for.

    Attributes
    ----------
    data : Path
        Folder with ``lfw_dev`` and ``photos``.
    work : Path
        Where generated data and indexes are kept between runs; outside the repository.
    quick : bool
        Less data and fewer rounds: a look, not a figure to quote.
    rounds : int
        Interleaved rounds of everything that is compared.
    """

    data: Path
    work: Path
    quick: bool
    rounds: int


@dataclass(frozen=True)
class Row:
    """One figure of a benchmark.

    Attributes
    ----------
    name : str
        What was measured, with its unit.
    ours : str
    peer : str
        What the peer needs for the same, and which peer; empty when there is none.
    ratio : str
        Ours over the peer's, as `ratio_text` gives it; empty when there is none.
    target : str
    met : bool or None
        None where there is no target.
    """

    name: str
    ours: str
    peer: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None


def seconds(task: Callable[[], object]) -> float:
    """Return how long a task takes by the wall clock."""
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def interleaved(tasks: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """Run tasks in turn, round by round, so that a noisy minute hits all of them alike.

    Parameters
    ----------
    tasks : mapping of str to callable
        Each returns its own measurement, usually `seconds` of something.
    rounds : int

    Returns
    -------
    dict of str to list of float
        One measurement a round, in the order of the rounds.
    """
    measured: dict[str, list[float]] = {name: [] for name in tasks}
    names = list(tasks)
    for number in range(rounds):
        # Each round begins with another task: none always follows the same neighbour.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            measured[name].append(tasks[name]())
    return measured


def ratios(slow: Sequence[float], fast: Sequence[float]) -> list[float]:
    """Return how many times as long the one took as the other, round by round."""
    return [a / b for a, b in zip(slow, fast, strict=True)]


def ratio_text(values: Sequence[float]) -> str:
    """Return the median of some ratios with their range."""
    return f"{statistics.median(values):.2f}x ({min(values):.2f} to {max(values):.2f})"


def machine() -> str:
    """Return the machine and the versions in two lines, without anything private."""
    cpu = _cpu_name()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in PACKAGES if _installed(name)
    )
    return (
        f"{cpu}, {cores} cores, {memory_gb:.0f} GiB, {platform.system()} {platform.release()}\n"
        f"Python {platform.python_version()}, {versions}"
    )


def table(rows: Sequence[Row]) -> str:
    """Return figures as a Markdown table."""
    lines = [
        "| figure | ours | peer | ratio | target | met |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        met = "" if row.met is None else ("yes" if row.met else "**no**")
        cells = (row.name, row.ours, row.peer, row.ratio, row.target, met)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_result(folder: Path, name: str, rows: Sequence[Row], *, quick: bool) -> Path:
    """Add the table of a benchmark to the dated file of this machine; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    slug = "".join(c if c.isalnum() else "-" for c in _cpu_name().lower()).strip("-")
    path = folder / f"{datetime.date.today().isoformat()}-{slug}.md"
    if not path.exists():
        path.write_text(f"# {datetime.date.today().isoformat()}\n\n{machine()}\n", "utf-8")
    now = datetime.datetime.now().strftime("%H:%M")
    kind = " (quick: a look, not a figure to quote)" if quick else ""
    with path.open("a", encoding="utf-8") as handle:
        handle.write(f"\n## {name}, {now}{kind}\n\n{table(rows)}\n")
    return path


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
