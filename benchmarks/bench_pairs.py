"""All pairs of many faces by codes of one byte, the prior of a gallery, and people set apart.

Each beside the plain way to the same answer: products in single precision of all pairs; 400 faces
with all others; the matrix of two people's faces.
"""

import tracemalloc
from collections.abc import Callable, Iterator
from typing import cast
from unittest import mock

import numpy as np

from benchmarks.bench_matrix import Nowhere, Source
from benchmarks.bench_people import _curve, _Time, _timed
from benchmarks.harness import Options, Row, interleaved, ratio_text, ratios
from benchmarks.vectors import FACES_PER_PERSON, open_segments
from facesim_index.calibration.degree import cosine_at_degree
from facesim_index.degrees import gallery
from facesim_index.degrees.gallery import BINS, MIN_ROWS, GalleryPrior, ScoreSample
from facesim_index.export.matches import write_matches
from facesim_index.pairs import close
from facesim_index.pairs.blocks import Faces, load
from facesim_index.pairs.close import ClosePairs, close_pairs, closest_pair
from facesim_index.people.grouping import LINK_DEGREE
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.catalog import face_rows
from facesim_index.store.protocols import IndexView
from facesim_index.store.segments.segment import Segment

MIN_DEGREE, PRIOR = 0.9, 1e-4
N_FACES = {"quick": 60_000, "full": 100_000}
APART_FACES = {"quick": 5_000, "full": 20_000}
TARGET_RATIO = 2.5
PRIOR_S, PRIOR_MB = 1.0, 100
ROWS_AT_ONCE, COLUMNS_AT_ONCE = 512, 8192


class View(Source):
    """Generated segments as a view: every face is alone in its picture."""

    generation = 1
    transaction = None

    def __init__(self, segments: list[Segment]) -> None:
        super().__init__(segments)
        self._parts = segments

    def living_faces(self) -> Int64Array:
        """Return all faces."""
        return np.concatenate([segment.face_ids for segment in self._parts])

    def blocks(self, n_rows: int) -> Iterator[tuple[Int64Array, Float32Array]]:
        """Yield all faces and their embeddings."""
        for segment in self._parts:
            for start in range(0, len(segment.face_ids), n_rows):
                part = slice(start, start + n_rows)
                yield segment.face_ids[part], segment.vectors[part].astype(np.float32)


def run(options: Options) -> list[Row]:
    """Return the figures of pairs, of the prior, and of two people."""
    kind = "quick" if options.quick else "full"
    n_faces = N_FACES[kind]
    segments = open_segments(options.work / f"search-{n_faces}", n_faces)
    for segment in segments:
        segment.coarse()  # as after a search
    rows = _pairs(options, load(np.arange(n_faces), Source(segments)))
    rows += _matches(n_faces, segments)
    rows += prior_rows(n_faces, segments)
    return [*rows, *_apart(APART_FACES[kind], segments)]


def _pairs(options: Options, faces: Faces) -> list[Row]:
    n_faces = len(faces.ids)
    least = cosine_at_degree(LINK_DEGREE, _curve(), prior=FACES_PER_PERSON / n_faces)
    found: dict[str, list[ClosePairs]] = {}
    clocks: dict[str, list[_Time]] = {"codes": [], "plain": []}

    def compare(way: str, coded_from: int) -> float:
        with mock.patch.object(close, "_CODED_PAIRS", coded_from):
            found[way], took = _timed(lambda: list(close_pairs(faces, least)))
        clocks[way].append(took)
        return took.processor_s

    times = interleaved(
        {"codes": lambda: compare("codes", 0), "plain": lambda: compare("plain", 1 << 62)},
        rounds=options.rounds,
    )
    faster = ratios(times["plain"], times["codes"])
    same = all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for one, other in zip(found["codes"], found["plain"], strict=True)
        for name in ("a", "b", "scores")
    )
    n_found = [f"{sum(len(pairs.a) for pairs in found[way]):,}" for way in ("codes", "plain")]
    return [
        Row(
            f"all pairs of {n_faces:,} faces from cosine {least:.3f}, s",
            str(clocks["codes"][-1]),
            f"{clocks['plain'][-1]}, single precision",
            f"{ratio_text(faster)} of the processor time",
            f"{TARGET_RATIO}x",
            float(np.median(faster)) >= TARGET_RATIO,
        ),
        Row("the same pairs and scores", n_found[0], n_found[1], met=same),
    ]


def _matches(n_faces: int, segments: list[Segment]) -> list[Row]:
    def paths_of(face_ids: Int64Array) -> dict[int, str]:
        return {face: f"/benchmark/{face}.jpg" for face in face_ids.tolist()}

    written, took = _timed(
        lambda: write_matches(
            Nowhere(),
            np.arange(n_faces),
            Source(segments),
            paths_of,
            _curve(),
            min_degree=MIN_DEGREE,
            prior=PRIOR,
        )
    )
    return [Row(f"`export matches` of {n_faces:,} faces, {written:,} lines, s", str(took))]


def prior_rows(n_faces: int, segments: list[Segment]) -> list[Row]:
    """Return the figures of the estimate of a prior."""
    view, calibration = cast(IndexView, View(segments)), _curve()

    def plainly() -> GalleryPrior:
        rng = np.random.default_rng(1)
        counts = np.zeros((200, BINS), dtype=np.int64)
        n_rows = max(MIN_ROWS, gallery.PAIRS // n_faces)
        drawn, group = rng.permutation(view.living_faces())[:n_rows], np.arange(n_rows)
        group = group * len(counts) // n_rows
        for start in range(0, n_rows, ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            some = view.embeddings(drawn[part])
            spread = group[part][:, None] * BINS
            for _, block in view.blocks(COLUMNS_AT_ONCE):
                place = gallery._bins(some @ block.T) + spread
                found = np.bincount(place.ravel(), minlength=counts.size)
                counts += found.reshape(counts.shape)
        return gallery.prior_of_sample(ScoreSample(counts, n_faces, n_rows), calibration, rng)

    def only_itself(_: object, ids: Int64Array) -> tuple[Int64Array, Int64Array]:
        return np.sort(ids), np.sort(ids)

    def peak_mb(task: Callable[[], object]) -> float:
        tracemalloc.start()
        try:
            task()
            return tracemalloc.get_traced_memory()[1] / 1e6
        finally:
            tracemalloc.stop()

    def ours() -> GalleryPrior:
        return gallery.estimate_gallery_prior(view, calibration)

    with mock.patch.object(face_rows, "faces_of_same_images", only_itself):
        mine, took = _timed(ours)
        theirs, plain = _timed(plainly)
        memory = peak_mb(ours)
    told = [f"{prior.share:.3g} ({prior.low:.3g} to {prior.high:.3g})" for prior in (mine, theirs)]
    name = f"prior of {n_faces:,} faces"
    return [
        Row(
            f"{name}, s",
            str(took),
            f"{plain}, each of {theirs.n_rows_sampled:,} faces with all",
            f"{plain.processor_s / took.processor_s:.1f}x of the processor time",
            f"at most {PRIOR_S} of the processors",
            took.processor_s <= PRIOR_S,
        ),
        Row(f"{name}, the estimate", told[0], told[1]),
        Row(
            f"{name}, peak of what is allocated, MB",
            f"{memory:.0f}",
            target=f"at most {PRIOR_MB}",
            met=memory <= PRIOR_MB,
        ),
    ]


def _apart(n_each: int, segments: list[Segment]) -> list[Row]:
    left, right = (
        load(np.arange(start, start + n_each), Source(segments)) for start in (0, n_each)
    )

    def plainly() -> tuple[int, int]:
        scores = left.vectors.astype(np.float32) @ right.vectors.astype(np.float32).T
        row, column = np.unravel_index(int(scores.argmax()), scores.shape)
        return int(row), int(column)

    tracemalloc.start()
    mine, took = _timed(lambda: closest_pair(left, right))
    mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.reset_peak()
    theirs, plain = _timed(plainly)
    plain_mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return [
        Row(
            f"the closest pair of {n_each:,} and {n_each:,} faces, MB; s",
            f"{mb:.0f}; {took}",
            f"{plain_mb:.0f}; {plain}, their matrix",
            f"{plain_mb / mb:.0f}x of the memory",
        ),
        Row("the same pair", str(mine), str(theirs), met=mine == theirs),
    ]
