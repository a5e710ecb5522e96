"""Search in ten million generated faces: 10 GB of embeddings, made once.  Runs when named only.

A process of its own opens the segments and asks, so that its memory is that of a search alone.
The peer is FAISS's flat index over the first million of the vectors, times ten: all of them in
single precision would take 20 GB.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import faiss
import numpy as np

from benchmarks.bench_search import ADD_AT_ONCE, TOP, recall_at
from benchmarks.harness import Options, Row, seconds
from benchmarks.vectors import DIMENSION, open_segments, query_faces
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.segments.search import search_segments
from facesim_index.store.segments.segment import Segment, file_sha256

N_FACES, N_FLAT = 10_000_000, 1_000_000
N_QUERIES = 200
TARGET_MS, TARGET_MB, TARGET_RECALL = 150, 3000, 0.995
NEEDED_BYTES = 14 << 30
NOBODY = np.empty(0, dtype=np.int64)


def run(options: Options) -> list[Row]:
    """Return the figures of single queries, of what they find, and of memory."""
    folder = options.work / f"search-{N_FACES}"
    asked = folder / "asked.npz"
    if not asked.exists():
        options.work.mkdir(parents=True, exist_ok=True)
        assert shutil.disk_usage(options.work).free > NEEDED_BYTES, "needs 14 GB of disk"
        _make(folder, asked)
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_search_large", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    found = json.loads(told)
    with np.load(asked) as saved:
        flat_ms = _flat_ms(folder, saved["queries"][:9]) * N_FACES / N_FLAT
    p50_ms = statistics.median(found["ms"])
    name = f"{N_FACES:,} faces"
    return [
        Row(
            f"{name}, one query, p50 ms (largest {max(found['ms']):.0f})",
            f"{p50_ms:.1f}",
            f"{flat_ms:.0f} (IndexFlatIP of {N_FLAT:,}, times ten)",
            f"{flat_ms / p50_ms:.1f}x",
            f"at most {TARGET_MS}",
            p50_ms <= TARGET_MS,
        ),
        Row(
            f"{name}, recall@{TOP} of {N_QUERIES} queries",
            f"{found['recall']:.5f}",
            target=f"at least {TARGET_RECALL}",
            met=found["recall"] >= TARGET_RECALL,
        ),
        Row(
            f"{name}, resident memory of the process, MB",
            f"{found['anonymous_mb'] + found['file_mb']:.0f}: {found['anonymous_mb']:.0f} of its "
            f"own, {found['file_mb']:.0f} of mapped files",
            target=f"at most {TARGET_MB}",
            met=found["anonymous_mb"] + found["file_mb"] <= TARGET_MB,
        ),
        Row(
            f"{name}, processor time of one query, ms (load average {found['load']:.1f})",
            f"{found['processor_ms']:.0f}",
        ),
        Row(f"{name}, opening the segments and their codes, s", f"{found['open_s']:.1f}"),
    ]


def _make(folder: Path, asked: Path) -> None:
    """Make the segments, the queries and their exact answers."""
    segments = open_segments(folder, N_FACES)
    queries, _ = query_faces(N_FACES, N_QUERIES)
    expected = _exact_answers(segments, queries)
    temporary = asked.with_suffix(".new.npz")
    np.savez(temporary, queries=queries, expected=expected)
    temporary.rename(asked)


def _exact_answers(segments: list[Segment], queries: Float32Array) -> Int64Array:
    """Return the ids of the nearest faces by plain products, block by block."""
    best = np.full((len(queries), TOP), -2.0, dtype=np.float64)
    ids = np.full((len(queries), TOP), -1, dtype=np.int64)
    for segment in segments:
        for start in range(0, len(segment.vectors), ADD_AT_ONCE):
            part = slice(start, start + ADD_AT_ONCE)
            cosines = queries @ segment.vectors[part].astype(np.float32).T
            near = np.argpartition(cosines, -TOP, axis=1)[:, -TOP:]
            values = np.hstack([best, np.take_along_axis(cosines, near, axis=1)])
            named = np.hstack([ids, segment.face_ids[part][near]])
            order = np.argsort(-values, axis=1, kind="stable")[:, :TOP]
            best = np.take_along_axis(values, order, axis=1)
            ids = np.take_along_axis(named, order, axis=1)
    return ids


def _flat_ms(folder: Path, queries: Float32Array) -> float:
    flat = faiss.IndexFlatIP(DIMENSION)
    for path in sorted(folder.glob("*.faiss")):
        segment = Segment(path)  # kept: it owns what its embeddings are a view of
        vectors = segment.vectors[: N_FLAT - flat.ntotal]
        for start in range(0, len(vectors), ADD_AT_ONCE):
            flat.add(vectors[start : start + ADD_AT_ONCE].astype(np.float32))
        if flat.ntotal == N_FLAT:
            break
    return 1e3 * statistics.median(
        seconds(lambda query=query: flat.search(query[None], TOP))  # type: ignore[misc]
        for query in queries
    )


def ask(folder: Path) -> None:
    """Ask every query by itself and print what it took, found and kept in memory."""
    with np.load(folder / "asked.npz") as saved:
        queries, expected = saved["queries"], saved["expected"]
    paths = sorted(folder.glob("*.faiss"))
    hashes = [file_sha256(path) for path in paths]
    segments: list[Segment] = []

    def open_all() -> None:
        for path, sha256 in zip(paths, hashes, strict=True):
            segments.append(Segment(path, sha256))
            segments[-1].coarse()

    open_s = seconds(open_all)
    found, times_ms = [], []
    started = time.process_time()
    for query in queries:
        times_ms.append(
            1e3
            * seconds(lambda q=query: found.extend(search_segments(segments, q[None], TOP, NOBODY)))  # type: ignore[misc]
        )
    processor_ms = 1e3 * (time.process_time() - started) / len(queries)
    kept = _resident_mb()
    print(
        json.dumps(
            {
                "ms": times_ms,
                "open_s": open_s,
                "processor_ms": processor_ms,
                "load": os.getloadavg()[0],
                "recall": recall_at(found, expected),
                "anonymous_mb": kept["RssAnon"],
                "file_mb": kept["RssFile"],
            }
        )
    )


def _resident_mb() -> dict[str, float]:
    lines = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii").splitlines()
    fields = (line.split() for line in lines if line.startswith("Rss"))
    return {name.rstrip(":"): int(size) / 1e3 for name, size, _ in fields}


if __name__ == "__main__":
    ask(Path(sys.argv[1]))
