"""What it costs to check what a search reads: ``python -m benchmarks.checks``."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from facesim_index.records import SegmentId
from facesim_index.vectors import Segment, write_segment
from facesim_index.vectors_coarse import write_coarse
from facesim_index.vectors_search import search_segments

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


if __name__ == "__main__":
    main()
