"""One writer and eight readers for a time: nobody waits, and every answer is whole.

The writer ingests, forgets and compacts in a loop.  Each picture has two faces, so an index
with one of them is half of a batch; each reader compares what a search found with the very
rows of its own snapshot, and every embedding with what the fake engine gives.

Run ``python -m tests.reliability.concurrency --seconds 60``.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import multiprocessing

import numpy as np

from facesim_index.engine.fake import fake_embedding
from facesim_index.store.catalog import face_rows, index_state, picture_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.upkeep.forgetting import forget
from tests.builders import commit_pictures, new_store, picture

N_READERS = 8
PICTURES_PER_BATCH = 4


@dataclass(frozen=True, slots=True)
class Told:
    """What one process did: rounds, and resident memory after a quarter and at the end."""

    rounds: int
    quarter_kib: int
    end_kib: int


def colours(number: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the colours of the two people in a picture."""
    return (number % 256, number // 256, 8), (number % 256, number // 256, 200)


def write_once(folder: Path, number: int) -> None:
    with new_store(folder) as store:
        for batch in range(4):
            first = (number * 4 + batch) * PICTURES_PER_BATCH % 2000
            commit_pictures(
                store,
                {
                    f"/p/{n % 40}.jpg": picture(str(n), map(fake_embedding, colours(n)))
                    for n in range(first, first + PICTURES_PER_BATCH)
                },
            )
        with store.catalog.read() as transaction:
            known = picture_rows.files_under(transaction, Path(f"/p/{number % 40}.jpg"))
        if known:
            forget(store, [Path(f"/p/{number % 40}.jpg")], [])
        if number % 3 == 0:
            store.compact()


def _read_once(folder: Path, number: int) -> None:
    with FolderStore(folder) as store, store.view() as view:
        living = face_rows.face_ids(view.transaction)
        records = face_rows.faces(view.transaction, living)
        assert len(living) == index_state.counts(view.transaction)["faces"]
        hashes = picture_rows.content_hashes(view.transaction, [face.image_id for face in records])
        per_picture: dict[int, int] = {}
        for face in records:
            per_picture[face.image_id] = per_picture.get(face.image_id, 0) + 1
        assert set(per_picture.values()) <= {2}, "half of a picture"
        expected = np.stack(
            [
                fake_embedding(colours(int(hashes[face.image_id].rstrip(b".")))[face.ordinal])
                for face in records
            ]
        )
        vectors = view.embeddings(living)
        np.testing.assert_array_equal(vectors, expected.astype(np.float16).astype(np.float32))
        asked = number % len(living)
        [found] = view.search(vectors[asked : asked + 1], 5)
        cosines = vectors @ vectors[asked]
        best = np.sort(cosines)[::-1][: len(found.cosines)]
        np.testing.assert_allclose(found.cosines, best, atol=2e-3)
        assert np.isin(found.face_ids, living).all(), "a face that is not there"


def _loop(work: Callable[[Path, int], None], folder: Path, seconds: float) -> Told:
    started, rounds, quarter = time.monotonic(), 0, 0
    while time.monotonic() - started < seconds or not rounds:
        work(folder, rounds)
        rounds += 1
        if not quarter and time.monotonic() - started >= seconds / 4:
            quarter = _resident_kib()
    return Told(rounds, quarter or _resident_kib(), _resident_kib())


def _write_for(folder: Path, seconds: float) -> Told:
    return _loop(write_once, folder, seconds)


def _read_for(folder: Path, seconds: float) -> Told:
    return _loop(_read_once, folder, seconds)


def _resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def run(folder: Path, seconds: float, *, readers: int = N_READERS) -> tuple[Told, list[Told]]:
    """Let one writer and some readers work; return what each did, or raise what failed."""
    write_once(folder, 0)
    context: SpawnContext = multiprocessing.get_context("spawn")
    with context.Pool(readers + 1) as pool:
        writer = pool.apply_async(_write_for, (folder, seconds))
        others = [pool.apply_async(_read_for, (folder, seconds)) for _ in range(readers)]
        return writer.get(), [other.get() for other in others]


def main() -> None:
    """Run it and print what each did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        writer, readers = run(Path(folder) / "i.facesim", seconds)
    growth = max(told.end_kib - told.quarter_kib for told in [writer, *readers]) / 1024
    sys.stdout.write(
        f"1 writer and {len(readers)} readers × {seconds:.0f} s: {writer.rounds} rounds of "
        f"writing, {sum(told.rounds for told in readers)} snapshots checked; memory grew by "
        f"{growth:.1f} MiB at most after the first quarter\n"
    )


if __name__ == "__main__":
    main()
