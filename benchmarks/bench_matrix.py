"""Export of matrices beside pandas, and of the pairs above a degree beside all of n² in numpy."""

import contextlib
import importlib.resources
import io
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Options, Row, interleaved, ratio_text, ratios, seconds
from benchmarks.vectors import all_vectors, open_segments
from facesim_index.calibration.degree import calibrated_degree, cosine_at_degree
from facesim_index.calibration.document import from_json
from facesim_index.calibration.record import Calibration
from facesim_index.export.matrix import matrix_frame, write_long, write_wide
from facesim_index.export.matrix_options import MatrixOptions
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.segments.segment import Segment, gather

WIDE_FACES = 5000
N_FACES = 100_000
LONG_FACES = {"quick": (20_000, 2_000), "full": (100_000, 2_000)}  # and rows the peer computes
MEMORY_FACES, MEMORY_ROWS = 50_000, 1500
MIN_DEGREE, PRIOR = 0.9, 1e-4
BLOCK = 1024
BoolArray = NDArray[np.bool_]
TARGET_WIDE, TARGET_LONG, TARGET_MB = 50.0, 5.0, 300

MEMORY_SCRIPT = """
import re, sys
from pathlib import Path
from benchmarks.bench_matrix import stop_early
stop_early(Path(sys.argv[1]))
# Of this program alone; getrusage knows the process that started it, too.
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


class Source:
    """The embeddings of generated segments."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        """Return stored embeddings in the order asked."""
        return gather(self._segments, face_ids)


class Nowhere(io.BytesIO):
    """Takes bytes and forgets them."""

    def write(self, data: object, /) -> int:
        """Take bytes."""
        return len(memoryview(data))  # type: ignore[arg-type]


class EnoughError(Exception):
    """Enough rows were written."""


def run(options: Options) -> list[Row]:
    """Return the figures of the wide and the long layout."""
    rows = _wide(options)
    rows += _long(options)
    folder = options.work / f"search-{MEMORY_FACES}"
    open_segments(folder, MEMORY_FACES)
    peak = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    megabytes = float(peak.stdout) / 1024
    rows.append(
        Row(
            f"wide, {MEMORY_FACES:,} faces, peak memory of the process, MB",
            f"{megabytes:.0f}",
            target=f"at most {TARGET_MB}",
            met=megabytes <= TARGET_MB,
        )
    )
    return rows


def stop_early(folder: Path) -> None:
    """Write the first rows of a wide matrix of many faces."""
    segments = open_segments(folder, MEMORY_FACES)

    def enough(done: int) -> None:
        if done >= MEMORY_ROWS:
            raise EnoughError

    options = MatrixOptions(prior=PRIOR)
    ids = np.arange(MEMORY_FACES)
    with contextlib.suppress(EnoughError):
        write_wide(Nowhere(), ids, Source(segments), options, _curve(), on_rows=enough)


def _wide(options: Options) -> list[Row]:
    segments = open_segments(options.work / f"search-{N_FACES}", N_FACES)
    source, ids, calibration = Source(segments), np.arange(WIDE_FACES), _curve()
    matrix = MatrixOptions(prior=PRIOR)
    frame = matrix_frame(ids, source, matrix, calibration)
    n_cells = len(ids) ** 2

    def pandas() -> float:
        part = frame.iloc[:500]  # its rate does not depend on the number of rows
        return seconds(lambda: part.to_csv(Nowhere(), float_format="%.5f")) * len(ids) / len(part)

    times = interleaved(
        {
            "ours": lambda: seconds(
                lambda: write_wide(Nowhere(), ids, source, matrix, calibration)
            ),
            "pandas": pandas,
        },
        rounds=options.rounds,
    )
    faster = ratios(times["pandas"], times["ours"])
    return [
        Row(
            f"wide, {WIDE_FACES:,} faces, from embeddings to text, million cells/s",
            f"{n_cells / statistics.median(times['ours']) / 1e6:.1f}",
            f"{n_cells / statistics.median(times['pandas']) / 1e6:.2f} (to_csv, text only)",
            ratio_text(faster),
            f"{TARGET_WIDE:.0f}x",
            statistics.median(faster) >= TARGET_WIDE,
        )
    ]


def _long(options: Options) -> list[Row]:
    segments = open_segments(options.work / f"search-{N_FACES}", N_FACES)
    n_faces, n_rows = LONG_FACES["quick" if options.quick else "full"]
    source, calibration = Source(segments), _curve()
    vectors = all_vectors(segments)[:n_faces].astype(np.float32)
    long_options = MatrixOptions(prior=PRIOR, min_degree=MIN_DEGREE)
    ours = np.empty((0, 2), dtype=np.int64)
    peers: dict[str, Int64Array] = {}

    def export() -> float:
        nonlocal ours
        out = io.BytesIO()
        took = seconds(
            lambda: write_long(out, np.arange(n_faces), source, long_options, calibration)
        )
        out.seek(0)
        ours = np.loadtxt(out, dtype=np.int64, delimiter=",", skiprows=1, usecols=(0, 1))
        return took

    def all_pairs(name: str, close: Callable[[Float32Array], BoolArray]) -> float:
        def compute() -> None:
            peers[name] = _pairs_of_rows(vectors, n_rows, close)

        return seconds(compute) * n_faces / n_rows

    least = np.float32(cosine_at_degree(MIN_DEGREE, calibration, prior=PRIOR))
    times = interleaved(
        {
            "ours": export,
            "cosines": lambda: all_pairs("cosines", lambda rows: rows @ vectors.T >= least),
            "degrees": lambda: all_pairs(
                "degrees",
                lambda rows: (
                    calibrated_degree(np.clip(rows @ vectors.T, -1, 1), calibration, prior=PRIOR)
                    >= MIN_DEGREE
                ),
            ),
        },
        rounds=options.rounds,
    )
    of_rows = ours[ours[:, 0] < n_rows]
    of_rows = of_rows[np.lexsort((of_rows[:, 1], of_rows[:, 0]))]
    rows = [
        Row(
            f"long from degree {MIN_DEGREE}, {n_faces:,} faces, s ({what})",
            f"{statistics.median(times['ours']):.2f}",
            f"{statistics.median(times[name]):.1f} (all of n² in numpy, from {n_rows:,} rows)",
            ratio_text(ratios(times[name], times["ours"])),
            f"{TARGET_LONG:.0f}x" if name == "degrees" else "",
            statistics.median(ratios(times[name], times["ours"])) >= TARGET_LONG
            if name == "degrees"
            else None,
        )
        for name, what in (
            ("degrees", "peer: degrees of all pairs"),
            ("cosines", "peer: float32 cosines and a cosine threshold"),
        )
    ]
    same = np.array_equal(of_rows, peers["degrees"])
    found = f"{len(of_rows):,} of {len(ours):,}"
    rows.append(
        Row(
            f"the same pairs of these {n_rows:,} rows",
            found,
            f"{len(peers['degrees']):,}",
            met=same,
        )
    )
    return rows


def _pairs_of_rows(
    vectors: Float32Array, n_rows: int, close: Callable[[Float32Array], BoolArray]
) -> Int64Array:
    """Return the pairs (a, b), a < b, of the first rows with all faces, by a and b."""
    found = []
    for start in range(0, n_rows, BLOCK):
        a, b = np.nonzero(close(vectors[start : min(start + BLOCK, n_rows)]))
        kept = a + start < b
        found.append(np.stack([a[kept] + start, b[kept]], axis=1))
    return np.concatenate(found)


def _curve() -> Calibration:
    """Return the shipped curve, whichever weights are installed."""
    file = importlib.resources.files("facesim_index.calibration.data") / "scrfd_500m_w600k_mbf.json"
    return from_json(file.read_text(encoding="utf-8"))
