"""The prior of a gallery: how probable it is that two of its faces show one person.

In a gallery almost every pair of faces shows two people, and a degree is only true when the
prior says so.  Nobody needs to count: the share of genuine pairs follows from the scores of the
gallery itself, given the calibration and its head [1]_ (`metrics.label_shift`).

- Every pair of a gallery of 10,000 faces or fewer is looked at.  Of a larger one two sets of 7,071
  faces are drawn at random, and each face of one is paired with each of the other: as many pairs,
  whatever the size of the gallery, and few of them of one person.
- **Two faces of one picture are no pair here.**  They are two people, which is known without
  looking; and a query picture, which is rarely in the index itself, meets no such pair.
- A small gallery says little about itself.  So half a genuine pair is added, and as many
  impostor pairs as make a share of 1/(n_faces + 1): one face of the same person among all faces.
  With a hundred genuine pairs that changes nothing; without any pair it is the answer.
- A curve whose strongest claim is a likelihood ratio of L cannot tell genuine pairs from the
  impostor pairs that must be expected at that level, as long as genuine pairs are rarer than one
  in L.  So the share may be too low by up to 1/L; within that, the rule of thumb decides.
- The interval is the wider of two.  One is by bootstrap over the drawn faces: a person has many
  pairs, so faces are what is drawn anew, those of two sets independently of each other.  The other
  follows from how likely each share makes the scores: where hardly a genuine pair was seen, drawing
  anew shows nothing.

References
----------
.. [1] M. Saerens, P. Latinne and C. Decaestecker, "Adjusting the outputs of a classifier to new a
   priori probabilities: a simple procedure", Neural Computation, 2002.
"""

import hashlib
import logging
import math
import threading
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.scorer import PLAIN, Scorer
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.errors import IndexDamagedError
from facesim_index.metrics.label_shift import KnownBefore, credible_interval, most_likely_shares
from facesim_index.pairs.blocks import Faces, load
from facesim_index.records import Float32Array, Float64Array, Int64Array
from facesim_index.store.catalog import face_rows, index_state, writing
from facesim_index.store.protocols import IndexStore, IndexView
from facesim_index.utils.threads import threads_for_blocks

METHOD_EM = "EM for label shift"
METHOD_RULE = "rule of thumb 1/(n_faces + 1)"

PAIRS = 100_000_000
"""Ordered pairs to look at: every pair up to 10,000 faces, in about a second."""

L1_PAIRS = 10_000_000
"""Pairs to look at with a weighted-l1 head, whose scores are no matrix product."""

MIN_ROWS = 400
"""Faces to draw at least for each set, where there are twice that many."""

BINS = 2000
"""Bins of the score over [-1, 1]: 0.001 wide, over which the likelihood ratio changes by 3 %."""

SEED = 20020701
PSEUDO_GENUINE = 0.5
N_BOOTSTRAP = 500
CONFIDENCE = 0.95

_GROUPS = 200
# Two sets are compared group by group, so that a block of scores stays in the processor's cache.
_GROUPS_OF_SETS = 50
_CHANGED_SHARE = 0.02
_HIGHEST = math.nextafter(1.0, 0.0)
_ROWS_AT_ONCE = 512
_COLUMNS_AT_ONCE = 8192

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GalleryPrior:
    """The share of genuine pairs in a gallery, which is the prior of a pair before looking.

    Attributes
    ----------
    share : float
        In (0, 1).
    low, high : float
        95 % interval over galleries like this one, if the calibration is right.
    n_faces : int
        Living faces of the index.
    n_rows_sampled : int
        Faces that were drawn, or of two sets those of the first.
    n_pairs : int
        Pairs of a drawn face and another that were looked at, each counted once.
    method : str
        `METHOD_EM`, or `METHOD_RULE` where the scores cannot tell, or there are none.
    """

    share: float
    low: float
    high: float
    n_faces: int
    n_rows_sampled: int
    n_pairs: int
    method: str


@dataclass(frozen=True, slots=True)
class ScoreSample:
    """How often each score occurs between drawn faces and all faces.

    Attributes
    ----------
    counts : ndarray of shape (n_groups, BINS), int64
        For each group of drawn faces, the scores in equal bins over [-1, 1].
    n_faces, n_rows : int
        Faces of the gallery, and how many of them were drawn.
    by_column : ndarray of shape (n_groups, BINS), int64, or None
        The same pairs for each group of a second set of faces, which the drawn ones were paired
        with; None where they were paired with all faces.
    """

    counts: Int64Array
    n_faces: int
    n_rows: int
    by_column: Int64Array | None = None

    @property
    def pair_weight(self) -> float:
        """Weight of a counted pair, in [0.5, 1]: two drawn faces are counted twice, as one pair."""
        if self.by_column is not None:
            return 1.0
        return 1.0 - (self.n_rows - 1) / (2.0 * max(1, self.n_faces - 1))


def estimate_gallery_prior(
    view: IndexView, calibration: Calibration, *, seed: int = SEED, n_pairs: int | None = None
) -> GalleryPrior:
    """Estimate the share of genuine pairs among the faces of an index.

    Which faces are drawn depends on the seed and the generation of the index alone.

    Parameters
    ----------
    view : IndexView
    calibration : Calibration
        Fitted for the engine of the index.
    seed : int, optional
        By default always the same.
    n_pairs : int, optional
        Every pair is looked at where there are no more, each counted twice; otherwise half as many.
        Two sets of 400 faces are drawn at least.

    Returns
    -------
    GalleryPrior
    """
    if n_pairs is None:
        n_pairs = L1_PAIRS if calibration.head.kind == "weighted-l1" else PAIRS
    rng = np.random.default_rng([seed, view.generation])
    scorer = scorer_of(view, calibration)
    sample = sample_scores(view, rng, n_pairs=n_pairs, scorer=scorer)
    return prior_of_sample(sample, calibration, rng)


def sample_scores(
    view: IndexView, rng: np.random.Generator, *, n_pairs: int = PAIRS, scorer: Scorer = PLAIN
) -> ScoreSample:
    """Count the scores of faces with those of other pictures: of all, or of two sets drawn.

    Memory is bounded: embeddings are read in blocks, and those of the drawn faces only.

    Parameters
    ----------
    view : IndexView
    rng : numpy.random.Generator
        Draws the faces.
    n_pairs : int, optional
        Every pair is looked at where there are no more, each counted twice; otherwise half as many.
        Two sets of 400 faces are drawn at least.
    scorer : Scorer, default=PLAIN
        Makes a score of two faces.

    Returns
    -------
    ScoreSample
    """
    living = view.living_faces()
    if len(living) > max(MIN_ROWS, math.isqrt(n_pairs)):
        side = min(len(living) // 2, max(MIN_ROWS, math.isqrt(n_pairs // 2)))
        drawn = rng.choice(living, 2 * side, replace=False)
        by_row, by_column = _count_sets(view, drawn[:side], drawn[side:], scorer)
        return ScoreSample(by_row, len(living), side, by_column)
    n_groups = min(len(living), _GROUPS)
    counts = np.zeros((n_groups, BINS), dtype=np.int64)
    if len(living) >= 2:
        # In random order, so that each stretch of rows is a random sample of its own.
        faces = load(rng.permutation(living), view, scorer)
        group = np.arange(len(living)) * n_groups // len(living)
        for start in range(0, len(living), _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, len(living)))
            _count_rows(view, faces, part, group[part], counts)
    return ScoreSample(counts, len(living), len(living))


def prior_of_sample(
    sample: ScoreSample, calibration: Calibration, rng: np.random.Generator
) -> GalleryPrior:
    """Estimate the share of genuine pairs, with its interval, from counted scores.

    Parameters
    ----------
    sample : ScoreSample
    calibration : Calibration
        Whose scores they are.
    rng : numpy.random.Generator
        For the bootstrap.

    Returns
    -------
    GalleryPrior
    """
    occupied = np.flatnonzero(sample.counts.any(axis=0))
    centre = (occupied + 0.5) * (2.0 / BINS) - 1.0
    # Beyond the ends of the curve, where most strangers are, all bins say the same.
    evidence, which = np.unique(log10_lr(centre, calibration), return_inverse=True)
    alike = which[:, None] == np.arange(len(evidence))

    def told(counts: Int64Array) -> Float64Array:
        return np.asarray((counts[:, occupied] @ alike) * sample.pair_weight)

    groups = told(sample.counts)
    total = groups.sum(axis=0)
    rule = 1.0 / (max(1, sample.n_faces) + 1)
    before = KnownBefore(PSEUDO_GENUINE, PSEUDO_GENUINE / rule - PSEUDO_GENUINE)
    share = float(most_likely_shares(evidence, total[None, :], before)[0])
    low, high = credible_interval(evidence, total, before, confidence=CONFIDENCE)
    if len(groups) > 1:
        shares = most_likely_shares(evidence, _drawn_anew(groups, rng), before)
        if sample.by_column is not None:
            # The faces of both sets vary, by factors that are independent of each other.
            columns = _drawn_anew(told(sample.by_column), rng)
            shares *= most_likely_shares(evidence, columns, before) / share
        tail = (1.0 - CONFIDENCE) / 2.0
        low = min(low, float(np.quantile(shares, tail)))
        high = max(high, float(np.quantile(shares, 1.0 - tail)))
    hidden = 10.0 ** -calibration.knots[-1][1]
    share = min(max(share, rule), share + hidden)
    n_pairs = round(float(total.sum()))
    return GalleryPrior(
        share=share,
        low=low,
        high=min(high + hidden, _HIGHEST),
        n_faces=sample.n_faces,
        n_rows_sampled=sample.n_rows,
        n_pairs=n_pairs,
        method=METHOD_RULE if n_pairs == 0 or share == rule else METHOD_EM,
    )


def _drawn_anew(groups: Float64Array, rng: np.random.Generator) -> Float64Array:
    """Return the sums of as many groups as there are, drawn at random, many times."""
    even = np.full(len(groups), 1 / len(groups))
    return np.asarray(rng.multinomial(len(groups), even, N_BOOTSTRAP) @ groups)


@dataclass(frozen=True, slots=True)
class _Estimated:
    """An estimate that was not stored, of one generation and one calibration."""

    generation: int
    calibration: str
    prior: GalleryPrior

    def still_holds(self, view: IndexView, calibration: str) -> bool:
        """Tell whether it is of this moment, or of nearly as many faces.

        Parameters
        ----------
        view : IndexView
        calibration : str
            Fingerprint of the calibration in question.

        Returns
        -------
        bool
        """
        if calibration != self.calibration:
            return False
        if view.generation == self.generation:
            return True
        n_faces = len(view.living_faces())
        return abs(n_faces - self.prior.n_faces) <= _CHANGED_SHARE * self.prior.n_faces


def gallery_prior(view: IndexView, calibration: Calibration) -> GalleryPrior:
    """Return the prior of an index: the stored one if it is of this moment, otherwise an estimate.

    Nothing is written; an estimate is remembered as long as the store is open.  While a writer adds
    faces, the prior is not estimated anew after every commit, but whenever the number of faces has
    changed by a fiftieth.  At its end the writer stores an estimate itself.

    Parameters
    ----------
    view : IndexView
    calibration : Calibration
        The one that the degrees are made with.

    Returns
    -------
    GalleryPrior
    """
    stored = _stored(view, calibration)
    if stored is not None:
        return stored
    fingerprint = _fingerprint(calibration)
    return view.memory.recall(
        _Estimated,
        lambda known: known.still_holds(view, fingerprint),
        lambda: _Estimated(view.generation, fingerprint, estimate_gallery_prior(view, calibration)),
    ).prior


def refresh_gallery_prior(store: IndexStore) -> GalleryPrior | None:
    """Store the prior of an index as it is now, so that its readers need not estimate it.

    Call it after anything that changed the index or its calibration.  The generation stays as it
    is: the prior only says what follows from the faces that are there.

    Parameters
    ----------
    store : IndexStore
        Writable.

    Returns
    -------
    GalleryPrior or None
        None, and nothing is stored, without a calibration, with fewer than two faces, or when a
        segment is damaged.  Damage is for `verify` to report, and no reason to fail here.
    """
    with store.read() as rows:
        calibration = calibration_in_force(rows)
    if calibration is None:
        return None
    try:
        with store.view() as view:
            generation = view.generation
            stored = _stored(view, calibration)
            if stored is not None:
                return stored
            if len(view.living_faces()) < 2:
                return None
            prior = estimate_gallery_prior(view, calibration)
    except IndexDamagedError as error:
        logger.warning("the prior of %s was not estimated: %s", store.location, error)
        return None
    with store.write() as transaction:
        writing.put_prior_estimate(
            transaction,
            index_state.PriorEstimate(
                generation=generation,
                calibration=calibration.name,
                curve_sha256=_fingerprint(calibration),
                share=prior.share,
                low=prior.low,
                high=prior.high,
                n_faces=prior.n_faces,
                n_rows=prior.n_rows_sampled,
                n_pairs=prior.n_pairs,
                method=prior.method,
            ),
        )
    return prior


def _stored(view: IndexView, calibration: Calibration) -> GalleryPrior | None:
    """Return the stored estimate if it is of this generation and of exactly this curve."""
    row = index_state.prior_estimate(view.transaction)
    if row is None or (row.generation, row.curve_sha256) != (
        view.generation,
        _fingerprint(calibration),
    ):
        return None
    return GalleryPrior(
        row.share, row.low, row.high, row.n_faces, row.n_rows, row.n_pairs, row.method
    )


def _fingerprint(calibration: Calibration) -> str:
    """Return a text that differs for different curves, also for two that had the same name."""
    identity: tuple[object, ...] = (calibration.name, calibration.engine_key, calibration.knots)
    if calibration.normalisation is not None:
        identity += (calibration.normalisation.key,)
    if calibration.head.learned:
        identity += (
            calibration.head.kind,
            hashlib.sha256(calibration.head.weights.tobytes()).hexdigest(),
        )
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def _count_rows(
    view: IndexView, faces: Faces, part: slice, group: Int64Array, counts: Int64Array
) -> None:
    """Add the scores of some faces with all faces of other pictures to their groups' counts."""
    vectors = faces.single(part)
    mates = _pairs_of_one_picture(view, faces.ids[part], faces.ids)
    first = int(group[0])
    spread = ((group - first) * (BINS + 1))[:, None]
    for start in range(0, len(faces.ids), _COLUMNS_AT_ONCE):
        columns = slice(start, min(start + _COLUMNS_AT_ONCE, len(faces.ids)))
        place = _bins(faces.scorer.pair_scores(vectors, faces.single(columns)))
        # One bin more than there are, for the pairs that do not count: also a face with itself.
        here = mates[(mates[:, 1] >= columns.start) & (mates[:, 1] < columns.stop)]
        place[here[:, 0], here[:, 1] - columns.start] = BINS
        n_groups = int(group[-1]) - first + 1
        found = np.bincount((place + spread).ravel(), minlength=n_groups * (BINS + 1))
        counts[first : first + n_groups] += found.reshape(n_groups, BINS + 1)[:, :BINS]


def _count_sets(
    view: IndexView, rows: Int64Array, columns: Int64Array, scorer: Scorer
) -> tuple[Int64Array, Int64Array]:
    """Return the counts of the scores of two sets of faces, for each group of either."""
    left, right = load(rows, view, scorer), load(columns, view, scorer)
    mates = _pairs_of_one_picture(view, rows, columns)
    n_groups = min(len(rows), len(columns), _GROUPS_OF_SETS)
    row_ends, column_ends = (
        np.arange(n_groups + 1) * len(faces) // n_groups for faces in (rows, columns)
    )
    by_row, by_column = (np.zeros((n_groups, BINS), dtype=np.int64) for _ in range(2))
    turn = threading.Lock()

    def count(i: int) -> None:
        mine = slice(row_ends[i], row_ends[i + 1])
        some = left.single(mine)
        near = mates[(mates[:, 0] >= mine.start) & (mates[:, 0] < mine.stop)]
        for j in range(n_groups):
            theirs = slice(column_ends[j], column_ends[j + 1])
            place = _bins(scorer.pair_scores(some, right.single(theirs)))
            here = near[(near[:, 1] >= theirs.start) & (near[:, 1] < theirs.stop)]
            place[here[:, 0] - mine.start, here[:, 1] - theirs.start] = BINS
            found = np.bincount(place.ravel(), minlength=BINS + 1)[:BINS]
            with turn:
                by_row[i] += found
                by_column[j] += found

    with threads_for_blocks() as threads:
        list(threads.map(count, range(n_groups)))
    return by_row, by_column


def _pairs_of_one_picture(view: IndexView, rows: Int64Array, columns: Int64Array) -> Int64Array:
    """Return the places of faces of two sets that are in one picture, shape (n_pairs, 2)."""
    face_ids, mate_ids = face_rows.faces_of_same_images(view.transaction, rows)
    row_order, column_order = np.argsort(rows), np.argsort(columns)
    place = np.searchsorted(columns, mate_ids, sorter=column_order)
    column = column_order[np.minimum(place, len(columns) - 1)]
    here = columns[column] == mate_ids
    row = row_order[np.searchsorted(rows, face_ids[here], sorter=row_order)]
    return np.stack([row, column[here]], axis=1)


def _bins(score: Float32Array | Float64Array) -> Int64Array:
    """Return the bin of each score; overwrites the scores."""
    score += 1.0
    score *= BINS / 2
    np.clip(score, 0, BINS - 1, out=score)
    return score.astype(np.int64)
