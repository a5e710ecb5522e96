"""An ingest of a folder in which nothing changed, beside a bare walk of it.

The folder has 100,000 files in a thousand folders.  All have the bytes of one small picture, so
that the first ingest, which is not measured, takes seconds; what an unchanged file costs does
not depend on its content.  The peer lists every folder and asks for every file's stamp, which
is the least that can be done to know that nothing changed.
"""

import os
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Options, Row, interleaved, ratio_text, ratios, seconds
from facesim_index import FaceIndex
from facesim_index.config import DEFAULT_INDEX
from facesim_index.engine.fake import FakeEngineSettings

N_FILES, N_QUICK = 100_000, 10_000
FILES_A_FOLDER = 100
LIMIT = 3.0


def run(options: Options) -> list[Row]:
    """Measure both in turn.

    Returns
    -------
    list of Row
    """
    n = N_QUICK if options.quick else N_FILES
    folder = options.work / f"rescan-{n}"
    make_files(folder, n, next((options.data / "lfw_dev" / "images").rglob("*.jpg")).read_bytes())
    with known(options.work / f"rescan-{n}-index" / DEFAULT_INDEX, folder) as index:
        tasks = {
            "ours": lambda: seconds(lambda: check(index.ingest(folder).files_unchanged, n)),
            "walk": lambda: seconds(lambda: check(sum(1 for _ in stamps(str(folder))), n)),
        }
        measured = interleaved(tasks, rounds=options.rounds)
    found = ratios(measured["ours"], measured["walk"])
    ours_s, walk_s = (statistics.median(measured[name]) for name in ("ours", "walk"))
    return [
        Row(
            f"unchanged folder of {n:,} files",
            f"{ours_s:.2f} s",
            f"{walk_s:.2f} s (os.scandir and a stat for each file)",
            ratio_text(found),
            f"≤ {LIMIT:g}x",
            statistics.median(found) <= LIMIT,
        )
    ]


def make_files(folder: Path, n: int, content: bytes) -> None:
    """Write the files, where they are missing."""
    if folder.is_dir() and sum(1 for _ in stamps(str(folder))) == n:
        return
    shutil.rmtree(folder, ignore_errors=True)
    for first in range(0, n, FILES_A_FOLDER):
        part = folder / f"{first // FILES_A_FOLDER:04d}"
        part.mkdir(parents=True)
        for number in range(first, min(first + FILES_A_FOLDER, n)):
            (part / f"picture-{number:06d}.jpg").write_bytes(content)


def known(path: Path, folder: Path) -> FaceIndex:
    """Return an index that knows the folder's files; the engine plays no part in it."""
    index = FaceIndex.open(path, create=True, engine=FakeEngineSettings())
    index.ingest(folder, workers=1)
    return index


def stamps(folder: str) -> Iterator[tuple[str, int, int]]:
    """Walk a folder and yield each file with its size and time."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from stamps(entry.path)
            else:
                status = entry.stat()
                yield entry.path, status.st_size, status.st_mtime_ns


def check(found: int, expected: int) -> None:
    """Stop when something else was measured than what was meant."""
    if found != expected:
        raise RuntimeError(f"{found} files instead of {expected}")
