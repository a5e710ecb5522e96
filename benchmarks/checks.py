"""What it costs to check what a search reads: ``python -m benchmarks.checks``.

``python -m benchmarks.checks INDEX`` tells it of the rows of the catalog, in an index of
yours; it is only read.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np

from facesim_index.index import FaceIndex
from facesim_index.store.records import SegmentId
from facesim_index.store.segments.coarse import write_coarse
from facesim_index.store.segments.search import search_segments
from facesim_index.store.segments.segment import Segment
from facesim_index.store.segments.writer import write_segment
from facesim_index.store.sqlite.dialect import SqliteDialect

N_FACES = 100_000
N_QUERIES = 200
DIMENSION = 512
NOBODY = np.empty(0, dtype=np.int64)


def main() -> None:
    """Print the time of the first search of a segment and of later ones, checked and not."""
    rng = np.random.default_rng(1)
    people = rng.standard_normal((N_FACES // 10, DIMENSION)).astype(np.float32)
    vectors = np.repeat(people, 10, axis=0)
    vectors += 0.7 * rng.standard_normal(vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(N_FACES, dtype=np.int64) + 1
    with tempfile.TemporaryDirectory() as folder:
        info = write_segment(Path(folder), SegmentId(1), ids, [vectors], dimension=DIMENSION)
        path = Path(folder) / info.name
        whole = Segment(path)  # named: its vectors live as long as it does
        write_coarse(path, info.sha256, ids, whole.vectors)
        queries = vectors[rng.integers(0, N_FACES, N_QUERIES)]
        for exact in (False, True):
            for is_checked in (True, False, True, False):
                segment = Segment(path, info.sha256)
                segment._is_whole = not is_checked
                times = []
                for query in queries[: 20 if exact else N_QUERIES]:
                    start = time.perf_counter()
                    search_segments([segment], query[None], 10, NOBODY, exact=exact)
                    times.append(1e3 * (time.perf_counter() - start))
                print(
                    f"{N_FACES} faces, {'exact' if exact else 'coarse'}, "
                    f"{'checked' if is_checked else 'not checked'}: first {times[0]:.1f} ms, "
                    f"then median {statistics.median(times[1:]):.2f} ms, "
                    f"least {min(times[1:]):.2f} ms"
                )


def of_rows(folder: Path) -> None:
    """Print what it costs a query that every row is checked which it is answered with."""
    with FaceIndex.open(folder) as index:
        ids = index.face_ids()
        times: dict[bool, list[float]] = {True: [], False: []}
        for face_id in np.random.default_rng(1).choice(ids, N_QUERIES).tolist():
            for is_checked in (True, False):
                with contextlib.nullcontext() if is_checked else _unchecked():
                    start = time.perf_counter()
                    index.query(face_id=face_id, top=10)
                    times[is_checked].append(1e3 * (time.perf_counter() - start))
    for is_checked, found in times.items():
        word = "checked" if is_checked else "not checked"
        print(f"a query of {len(ids)} faces, rows {word}: median {statistics.median(found):.2f} ms")


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    """Let no row be checked for the length of the block."""
    names = ("require_whole", "require_complete", "require_whole_groups", "require_count")
    with contextlib.ExitStack() as patches:
        for name in names:
            patches.enter_context(patch.object(SqliteDialect, name, lambda *_: None))
        yield


if __name__ == "__main__":
    if sys.argv[1:]:
        of_rows(Path(sys.argv[1]))
    else:
        main()
