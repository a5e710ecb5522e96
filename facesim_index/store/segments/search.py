"""The nearest faces of queries: scan every segment, then compute exact cosines of the best.

A scan gives estimates with a known margin: single precision products of a whole segment, or
those of its coarse codes.  Whatever the scan, every face whose estimate comes within the
margin of the k-th best cosine found is computed exactly; where the list that a scan returned
may end too early for that, the segment is scanned anew, deeper.  So a result has exact cosines
of the stored embeddings only, and depends on the coarse codes in one way: a face is missed when
its estimate is too low by more than the margin, 3.5 standard errors.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import faiss
import numpy as np

from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.records import Neighbours
from facesim_index.store.segments.coarse import CoarseCodes
from facesim_index.store.segments.neighbours import exact_cosines
from facesim_index.store.segments.segment import Segment
from facesim_index.utils.half_precision import widened

_EXACT_MARGIN = 1e-5  # of products in single precision, a hundred times their rounding
_SPARE = 16  # neighbours that an exact scan returns beyond those asked for: ties
_COARSE_MIN_DEPTH = 256
# So many faces of a million are candidates at first: about twice as many as must be computed to
# find the ten nearest of a stranger, a number that grows with the 0.4th power of the faces.
_CANDIDATES_OF_A_MILLION = 5000
_CANDIDATES_POWER = 0.4
_DEEPER = 8
_FIRST_RESCORED = 64
_QUERIES_AT_ONCE = 32
_MAPPED_BYTES = 2 << 30  # of a larger index, candidates are read one by one


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What a scan of one segment says of one query.

    Attributes
    ----------
    segment : Segment
    depth : int
        How many were asked for.
    rows : ndarray of int64
        Without those of excluded faces, highest estimate first.
    estimates : ndarray of float32
    floor : float
        No other row has a higher estimate; ``-inf`` when there is no other.
    codes : CoarseCodes or None
        What was scanned; None for the segment itself.
    """

    segment: Segment
    depth: int
    rows: Int64Array
    estimates: Float32Array
    floor: float
    codes: CoarseCodes | None = None

    def needed(self, cosine: float) -> float:
        """Return the least estimate that a face with at least this cosine may have."""
        if not math.isfinite(cosine):
            return cosine
        margin = _EXACT_MARGIN if self.codes is None else self.codes.margin(cosine)
        return cosine - margin


_Scan = Callable[[Segment], list[_Candidates]]
_Map = Callable[[_Scan, Iterable[Segment]], Iterable[list[_Candidates]]]


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for, and how.

    Attributes
    ----------
    k : int
    excluded : ndarray of int64, ascending
    exact : bool
        Use no coarse codes.
    mapped : bool
        Take candidates from the mapped files.
    share : float
        Of the faces of a segment, candidates at first.
    """

    k: int
    excluded: Int64Array
    exact: bool
    mapped: bool
    share: float


def search_segments(
    segments: Sequence[Segment],
    queries: Float32Array,
    k: int,
    excluded: Int64Array,
    *,
    exact: bool = False,
) -> list[Neighbours]:
    """Return the `k` nearest faces of each query over all segments.

    Parameters
    ----------
    segments : sequence of Segment
    queries : ndarray of shape (n_queries, dimension), float32, unit norm
    k : int
        At least 1.
    excluded : ndarray of int64, ascending
        Face ids that must not be found, such as those with a tombstone.
    exact : bool, default=False
        Compare with every stored embedding instead of choosing candidates by coarse codes.

    Returns
    -------
    list of Neighbours
        One for each query; shorter than `k` when there are fewer faces.  Cosines are exact
        either way.
    """
    search = _Search(
        k,
        excluded,
        exact,
        mapped=sum(segment.size_bytes for segment in segments) <= _MAPPED_BYTES,
        share=_share_at_first(sum(len(segment.face_ids) for segment in segments)),
    )
    n_threads = faiss.omp_get_max_threads()
    many = len(queries) >= 2 * n_threads
    size = min(_QUERIES_AT_ONCE, -(-len(queries) // n_threads)) if many else len(queries)
    blocks = [queries[start : start + size] for start in range(0, len(queries), max(1, size))]
    if n_threads == 1 or max(len(segments), len(blocks)) < 2:
        return [found for block in blocks for found in _search_block(segments, block, search, map)]
    with ThreadPoolExecutor(n_threads, initializer=_use_one_thread) as pool:
        if not exact:  # so that two threads never read the same codes
            list(pool.map(Segment.coarse, segments))
        if not many:
            return [
                found
                for block in blocks
                for found in _search_block(segments, block, search, pool.map)
            ]
        answers = pool.map(lambda block: _search_block(segments, block, search, map), blocks)
        return [found for answer in answers for found in answer]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let the searches of this thread use no other, for the length of the block.

    For a program that answers many queries at a time: they are the parallelism already.
    """
    before = faiss.omp_get_max_threads()
    _use_one_thread()
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _share_at_first(n_faces: int) -> float:
    """Return the share of an index's faces that are candidates at first."""
    millions = max(1, n_faces) / 1e6
    return _CANDIDATES_OF_A_MILLION / 1e6 * math.pow(millions, _CANDIDATES_POWER - 1.0)


def _use_one_thread() -> None:
    """Keep FAISS from starting threads of its own in this thread."""
    faiss.omp_set_num_threads(1)


def _search_block(
    segments: Sequence[Segment], queries: Float32Array, search: _Search, apply: _Map
) -> list[Neighbours]:
    """Search all segments for some queries; `apply` runs the scans."""
    scans = list(apply(lambda segment: _scan(segment, queries, search), segments))
    return [
        _settle(query, [scan[number] for scan in scans], search)
        for number, query in enumerate(queries)
    ]


def _scan(segment: Segment, queries: Float32Array, search: _Search) -> list[_Candidates]:
    if not search.exact and segment.coarse() is not None:
        expected = math.ceil(search.share * len(segment.face_ids))
        depth = max(_COARSE_MIN_DEPTH, 2 * search.k, expected)
        return _scan_coarse(segment, queries, search, depth)
    return _scan_exactly(segment, queries, search, search.k + _SPARE)


def _scan_coarse(
    segment: Segment, queries: Float32Array, search: _Search, depth: int
) -> list[_Candidates]:
    codes = segment.coarse()
    if codes is None or 4 * depth >= codes.n_rows:  # where hardly a row is spared
        return _scan_exactly(segment, queries, search, search.k + _SPARE)
    found = []
    for estimates, rows in zip(*codes.search(queries, depth), strict=True):
        floor = float(estimates[-1])
        if len(search.excluded):
            kept = ~np.isin(segment.face_ids[rows], search.excluded)
            estimates, rows = estimates[kept], rows[kept]
        found.append(_Candidates(segment, depth, rows, estimates, floor, codes))
    return found


def _scan_exactly(
    segment: Segment, queries: Float32Array, search: _Search, depth: int
) -> list[_Candidates]:
    found = []
    for products, ids in zip(*segment.search(queries, depth, search.excluded), strict=True):
        whole = depth >= len(segment.face_ids) or ids[-1] < 0
        rows = segment.rows_of(ids[ids >= 0])
        floor = -np.inf if whole else float(products[-1])
        found.append(_Candidates(segment, depth, rows, products[: len(rows)], floor))
    return found


def _settle(query: Float32Array, scans: list[_Candidates], search: _Search) -> Neighbours:
    """Return the nearest faces of one query, after scanning deeper where that is needed."""
    while True:
        best, worst_of_best = _rescore(query, scans, search)
        short = [
            scan.floor > -np.inf and scan.floor >= scan.needed(worst_of_best) for scan in scans
        ]
        if not any(short):
            return best
        scans = [
            _deeper(scan, query, search) if again else scan
            for scan, again in zip(scans, short, strict=True)
        ]


def _deeper(scan: _Candidates, query: Float32Array, search: _Search) -> _Candidates:
    scan_again = _scan_exactly if scan.codes is None else _scan_coarse
    return scan_again(scan.segment, query[None], search, scan.depth * _DEEPER)[0]


def _rescore(
    query: Float32Array, scans: Sequence[_Candidates], search: _Search
) -> tuple[Neighbours, float]:
    """Return the nearest among some candidates, and the cosine of the k-th (or ``-inf``).

    The candidates with the highest estimates are computed first, then those that may still be
    among the first `k`.
    """
    k = search.k
    if not scans:
        return Neighbours(np.empty(0, dtype=np.int64), np.empty(0)), -np.inf
    source = np.repeat(np.arange(len(scans)), [len(scan.rows) for scan in scans])
    rows = np.concatenate([scan.rows for scan in scans])
    estimates = np.concatenate([scan.estimates for scan in scans])
    cosines = np.full(len(rows), -np.inf, dtype=np.float32)
    computed = np.empty(0, dtype=np.float32)
    n_first = min(2 * k + _FIRST_RESCORED, len(rows))
    chosen = (
        np.argpartition(-estimates, n_first - 1)[:n_first] if n_first else estimates.nonzero()[0]
    )
    least = -np.inf
    while len(chosen):
        # Rows in the order of the files, for the sake of their pages.
        chosen = chosen[np.lexsort((rows[chosen], source[chosen]))]
        ends = np.searchsorted(source[chosen], np.arange(len(scans) + 1))
        for number in np.flatnonzero(np.diff(ends)).tolist():
            here = chosen[ends[number] : ends[number + 1]]
            vectors = widened(scans[number].segment.checked(rows[here], mapped=search.mapped))
            cosines[here] = np.einsum("ij,j->i", vectors, query)
        # Only among those: most candidates are never computed.
        computed = np.concatenate([computed, cosines[chosen]])
        if len(computed) >= k:
            least = float(np.partition(computed, len(computed) - k)[-k])
        needed = min(scan.needed(least) for scan in scans)
        chosen = np.flatnonzero((estimates >= needed) & (cosines == -np.inf))
        # The best of them first: they may make the others needless.
        if len(chosen) > 4 * n_first:
            best = np.argpartition(-estimates[chosen], 4 * n_first - 1)[: 4 * n_first]
            chosen, n_first = chosen[best], 4 * n_first
    done = np.flatnonzero(cosines > -np.inf)
    return _best(query, scans, source[done], rows[done], cosines[done], search), least


def _best(
    query: Float32Array,
    scans: Sequence[_Candidates],
    source: Int64Array,
    rows: Int64Array,
    cosines: Float32Array,
    search: _Search,
) -> Neighbours:
    """Return the nearest of candidates with their exact cosines, ties by face id."""
    k = search.k
    least = np.partition(cosines, len(cosines) - k)[-k] if len(cosines) > k else -np.inf
    near = cosines >= least - _EXACT_MARGIN
    source, rows = source[near], rows[near]
    ids = np.empty(len(rows), dtype=np.int64)
    exact = np.empty(len(rows), dtype=np.float64)
    for number, scan in enumerate(scans):
        here = source == number
        ids[here] = scan.segment.face_ids[rows[here]]
        if here.any():
            vectors = scan.segment.at(rows[here], mapped=search.mapped)
            exact[here] = exact_cosines(vectors, query)  # checked when rescored
    order = np.lexsort((ids, -exact))[:k]
    return Neighbours(ids[order], exact[order])
