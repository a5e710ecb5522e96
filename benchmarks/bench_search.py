"""Search in generated indexes beside FAISS's flat index over the same vectors.

The clustered vectors and the queries are described in ``benchmarks/vectors.py``; a third of the
queries is of strangers, whose nearest faces are hardest to tell from the rest.
"""

import functools
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np

from benchmarks.harness import Options, Row, interleaved, ratio_text, ratios, seconds
from benchmarks.vectors import DIMENSION, open_segments, query_faces, who_is_who
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.records import Neighbours
from facesim_index.store.segments.search import search_segments
from facesim_index.store.segments.segment import Segment

TOP = 10
SIZES = (100_000, 1_000_000)
SINGLE_QUERIES = 9  # of each round
BATCH = 1000
RECALL_QUERIES = 300
NOBODY = np.empty(0, dtype=np.int64)
ADD_AT_ONCE = 1 << 16
TARGET_CODES_MB = 200
TARGET_SINGLE, TARGET_BATCH, TARGET_RECALL = 10.0, 3.0, 0.999


def run(options: Options) -> list[Row]:
    """Return the figures of one query, of many, and of what is found."""
    rows: list[Row] = []
    for n_faces in SIZES[:1] if options.quick else SIZES:
        rows += _run_size(options, n_faces)
    return rows


def _run_size(options: Options, n_faces: int) -> list[Row]:
    segments = open_segments(options.work / f"search-{n_faces}", n_faces)
    judged = n_faces == SIZES[-1]
    before = _anonymous_mb()
    for segment in segments:
        segment.coarse()
    codes_mb = _anonymous_mb() - before
    flat = _flat(segments)
    name = f"{n_faces:,} faces"
    rows = [
        Row(
            f"{name}, memory of the codes, MB",
            f"{codes_mb:.0f}",
            f"{n_faces * DIMENSION * 4 / 1e6:.0f} (IndexFlatIP)",
            target=f"at most {TARGET_CODES_MB}" if judged else "",
            met=codes_mb <= TARGET_CODES_MB if judged else None,
        )
    ]
    rows += _speed(options, segments, flat, name, judged=judged)
    rows += _recall(segments, flat, n_faces, name, judged=judged)
    return rows


def _speed(
    options: Options, segments: list[Segment], flat: faiss.IndexFlatIP, name: str, *, judged: bool
) -> list[Row]:
    n_faces = flat.ntotal
    single, _ = query_faces(n_faces, SINGLE_QUERIES)
    batch, _ = query_faces(n_faces, BATCH)
    one = interleaved(
        {
            "ours": lambda: _median_ms(lambda q: search_segments(segments, q, TOP, NOBODY), single),
            "exact": lambda: _median_ms(
                lambda q: search_segments(segments, q, TOP, NOBODY, exact=True), single
            ),
            "flat": lambda: _median_ms(lambda q: flat.search(q, TOP), single),
        },
        rounds=options.rounds,
    )
    many = interleaved(
        {
            "ours": lambda: seconds(lambda: search_segments(segments, batch, TOP, NOBODY)),
            "flat": lambda: seconds(lambda: flat.search(batch, TOP)),
        },
        rounds=options.rounds,
    )
    faster, exact = ratios(one["flat"], one["ours"]), ratios(one["flat"], one["exact"])
    batch_faster = ratios(many["flat"], many["ours"])
    return [
        Row(
            f"{name}, one query, p50 ms",
            f"{statistics.median(one['ours']):.1f}",
            f"{statistics.median(one['flat']):.1f} (IndexFlatIP)",
            ratio_text(faster),
            f"{TARGET_SINGLE:.0f}x" if judged else "",
            statistics.median(faster) >= TARGET_SINGLE if judged else None,
        ),
        Row(
            f"{name}, one query with exact=True, p50 ms",
            f"{statistics.median(one['exact']):.1f}",
            f"{statistics.median(one['flat']):.1f} (IndexFlatIP)",
            ratio_text(exact),
        ),
        Row(
            f"{name}, {BATCH:,} queries at once, queries/s",
            f"{BATCH / statistics.median(many['ours']):.0f}",
            f"{BATCH / statistics.median(many['flat']):.0f} (IndexFlatIP)",
            ratio_text(batch_faster),
            f"{TARGET_BATCH:.0f}x" if judged else "",
            statistics.median(batch_faster) >= TARGET_BATCH if judged else None,
        ),
    ]


def _recall(
    segments: list[Segment], flat: faiss.IndexFlatIP, n_faces: int, name: str, *, judged: bool
) -> list[Row]:
    queries, who = query_faces(n_faces, RECALL_QUERIES)
    found = search_segments(segments, queries, TOP, NOBODY)
    _, expected = flat.search(queries, TOP)
    recall = recall_at(found, expected)
    mates, missed = mates_missed(segments, queries, who, who_is_who(n_faces))
    return [
        Row(
            f"{name}, recall@{TOP}",
            f"{recall:.5f}",
            target=f"at least {TARGET_RECALL}" if judged else "",
            met=recall >= TARGET_RECALL if judged else None,
        ),
        Row(
            f"{name}, faces of the same person found",
            f"{mates - missed} of {mates}",
            target="all" if judged else "",
            met=missed == 0 if judged else None,
        ),
    ]


def recall_at(found: Sequence[Neighbours], expected: Int64Array) -> float:
    """Return the share of the expected faces that were found."""
    shares = [np.isin(ids, near.face_ids).mean() for near, ids in zip(found, expected, strict=True)]
    return float(np.mean(shares))


def mates_missed(
    segments: list[Segment], queries: Float32Array, who: Int64Array, people: Int64Array
) -> tuple[int, int]:
    """Return how many faces of the queried people there are, and how many are not found."""
    mates = missed = 0
    for query, person in zip(queries, who.tolist(), strict=True):
        if person >= 0:
            own = np.flatnonzero(people == person)
            [found] = search_segments(segments, query[None], len(own) + 2 * TOP, NOBODY)
            mates += len(own)
            missed += int((~np.isin(own, found.face_ids)).sum())
    return mates, missed


def _flat(segments: list[Segment]) -> faiss.IndexFlatIP:
    flat = faiss.IndexFlatIP(DIMENSION)
    for segment in segments:
        for start in range(0, len(segment.vectors), ADD_AT_ONCE):
            flat.add(segment.vectors[start : start + ADD_AT_ONCE].astype(np.float32))
    return flat


def _median_ms(search: Callable[[Float32Array], object], queries: Float32Array) -> float:
    times = [seconds(functools.partial(search, query[None])) for query in queries]
    return 1e3 * statistics.median(times)


def _anonymous_mb() -> float:
    """Return the memory of this process that no file backs."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1e3
    return float("nan")
