"""Every pair of an index above a degree, as CSV with all that is said of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

import numpy as np

from facesim_index.calibration.degree import cosine_at_degree
from facesim_index.calibration.judgement import Judgement, judge
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.scorer import Scorer, scorer_without_gallery
from facesim_index.degrees.cautions import Caution, Traits, pair_cautions
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.pairs.blocks import EmbeddingSource, listed_scores, load
from facesim_index.pairs.close import ClosePairs, close_pairs
from facesim_index.records import Int64Array
from facesim_index.utils.text import csv_line, spreadsheet_text

COLUMNS = (
    *("face_a", "face_b", "degree", "log10_lr", "fmr", "cosine", "path_a", "path_b"),
    "caution",
)

PathsOf = Callable[[Int64Array], Mapping[int, str]]
"""Returns the path of each of some faces."""

TraitsOf = Callable[[Int64Array], Traits]
"""Returns what of each of some faces may weaken its evidence; asked after their paths."""

# The score of a degree is found by bisection to 1e-12; the degree itself decides.
_BISECTION = 1e-9


def write_matches(
    out: BinaryIO,
    face_ids: Int64Array,
    source: EmbeddingSource,
    paths_of: PathsOf,
    calibration: Calibration | None,
    *,
    min_degree: float,
    prior: float,
    spreadsheet_safe: bool = False,
    traits_of: TraitsOf | None = None,
    on_rows: Callable[[int], None] | None = None,
    scorer: Scorer | None = None,
) -> int:
    """Write every pair of faces with at least a degree; each once, ``face_a < face_b``.

    Lines are in order of `face_a`, then of the score, highest first, then of `face_b`.  All
    pairs are compared; the memory is that of the embeddings, of the paths of the faces that have a
    match, and of the pairs of some rows.

    Parameters
    ----------
    out : BinaryIO
    face_ids : ndarray of shape (n,), int64
        Distinct.
    source : EmbeddingSource
    paths_of : callable
    calibration : Calibration or None
    min_degree : float
        In [0, 1].
    prior : float
        In (0, 1).
    spreadsheet_safe : bool, default=False
        Write paths as `plain_text.spreadsheet_text`.
    traits_of : callable, optional
        Without it the column ``caution`` stays empty.
    on_rows : callable, optional
        Told the number of faces whose pairs are written, now and then.
    scorer : Scorer, optional
        Makes the scores that the calibration takes, of faces of the index; by default
        `scorer_without_gallery`.

    Returns
    -------
    int
        How many pairs were written.

    Raises
    ------
    CalibrationError
        There is no calibration, or the prior is not in (0, 1).
    UsageError
        The degree is not in [0, 1], or a face is listed twice.
    IndexDamagedError
        A stored embedding is not finite or not of unit norm.
    """
    if calibration is None:
        raise CalibrationError(
            "matches are chosen by their degree, which needs a calibration for the index's "
            "engine, and there is none; make one with `facesim calibrate`"
        )
    if not 0.0 <= min_degree <= 1.0:
        raise UsageError(f"min_degree must be from 0 to 1, not {min_degree}")
    least = cosine_at_degree(min_degree, calibration, prior=prior) - _BISECTION
    scorer = scorer or scorer_without_gallery(calibration)
    faces = load(np.sort(face_ids), source, scorer)
    plain = faces if scorer.plain else load(faces.ids, source)
    paths_of = _asked_once(_safe(paths_of) if spreadsheet_safe else paths_of)
    out.write(csv_line(COLUMNS))
    n_written = 0
    for pairs in close_pairs(faces, least) if least <= 1.0 else ():
        order = np.lexsort((pairs.b, -pairs.scores, pairs.a))
        a, b, scores = pairs.a[order], pairs.b[order], pairs.scores[order]
        cosines = scores if scorer.plain else listed_scores(plain, a, b)
        ordered = ClosePairs(pairs.stop, faces.ids[a], faces.ids[b], scores)
        judgements = judge(cosines, calibration, prior=prior, scores=scores)
        n_written += _write(out, ordered, judgements, paths_of, traits_of, min_degree)
        if on_rows is not None:
            on_rows(pairs.stop)
    return n_written


def _write(
    out: BinaryIO,
    pairs: ClosePairs,
    judgements: list[Judgement],
    paths_of: PathsOf,
    traits_of: TraitsOf | None,
    min_degree: float,
) -> int:
    paths = paths_of(np.union1d(pairs.a, pairs.b))
    cautions = _cautions(pairs, traits_of)
    count = 0
    for a, b, said, codes in zip(
        pairs.a.tolist(), pairs.b.tolist(), judgements, cautions, strict=True
    ):
        if said.degree is None or said.log10_lr is None or said.degree < min_degree:
            continue
        fmr = "" if said.fmr is None else f"{said.fmr:.3g}"
        numbers = (f"{said.degree:.9g}", f"{said.log10_lr:.4f}", fmr, f"{said.cosine:.6f}")
        out.write(csv_line((a, b, *numbers, paths[a], paths[b], " ".join(codes))))
        count += 1
    return count


def _cautions(pairs: ClosePairs, traits_of: TraitsOf | None) -> Sequence[tuple[Caution, ...]]:
    if traits_of is None:
        return [()] * len(pairs.a)
    return pair_cautions(traits_of(pairs.a), traits_of(pairs.b))


def _asked_once(paths_of: PathsOf) -> PathsOf:
    """Remember paths: a face is in the pairs of many rows."""
    known: dict[int, str] = {}

    def all_paths_of(face_ids: Int64Array) -> Mapping[int, str]:
        new = [face_id for face_id in face_ids.tolist() if face_id not in known]
        if new:
            known.update(paths_of(np.array(new, dtype=np.int64)))
        return known

    return all_paths_of


def _safe(paths_of: PathsOf) -> PathsOf:
    def safe_paths_of(face_ids: Int64Array) -> Mapping[int, str]:
        return {face_id: spreadsheet_text(path) for face_id, path in paths_of(face_ids).items()}

    return safe_paths_of
