"""All pairs of a million generated faces: 1 GB of embeddings, made once.  Runs when named only.

The links are compared with the pairs that are close because they are of one person: no two
strangers come near the least score.
"""

import re
from pathlib import Path

import numpy as np

from benchmarks.bench_matrix import Source
from benchmarks.bench_pairs import prior_rows
from benchmarks.bench_people import _curve, _pairs_of_one, _timed
from benchmarks.harness import Options, Row
from benchmarks.vectors import FACES_PER_PERSON, open_segments, who_is_who
from facesim_index.calibration.degree import cosine_at_degree
from facesim_index.pairs.blocks import listed_scores, load
from facesim_index.pairs.links import nearest_links
from facesim_index.people.grouping import LINK_DEGREE
from facesim_index.store.segments.segment import Segment

N_FACES = 1_000_000
TARGET_S, TARGET_MB = 900, 2048


def run(options: Options) -> list[Row]:
    """Return the figures of the links of a million faces, and of their prior."""
    segments = open_segments(options.work / f"search-{N_FACES}", N_FACES)
    rows = _links(segments)
    for segment in segments:
        segment.coarse()  # as after a search
    return [*rows, *prior_rows(N_FACES, segments)]


def _links(segments: list[Segment]) -> list[Row]:
    faces = load(np.arange(N_FACES), Source(segments))
    least = cosine_at_degree(LINK_DEGREE, _curve(), prior=FACES_PER_PERSON / N_FACES)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    links, took = _timed(lambda: nearest_links(faces, least))
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak, files = (
        int(re.findall(rf"{name}:\s*(\d+)", status)[0]) / 1024 for name in ("VmHWM", "RssFile")
    )
    a, b = _pairs_of_one(who_is_who(N_FACES))
    kept = listed_scores(faces, a, b) >= least
    true = np.sort(np.minimum(a, b)[kept] * N_FACES + np.maximum(a, b)[kept])
    found = np.sort(links.a * N_FACES + links.b)
    name = f"links of {N_FACES:,} faces from cosine {least:.3f}"
    return [
        Row(
            f"{name}, s",
            str(took),
            target=f"at most {TARGET_S}",
            met=took.wall_s <= TARGET_S,
        ),
        Row(
            f"{name}, peak memory beyond the mapped files, MB",
            f"{peak - files:.0f}",
            target=f"at most {TARGET_MB}",
            met=peak - files <= TARGET_MB,
        ),
        Row(
            f"{name}, beside the pairs of one person",
            f"{len(found):,}",
            f"{len(true):,}",
            met=bool(np.isin(true, found, assume_unique=True).all()),
        ),
    ]
