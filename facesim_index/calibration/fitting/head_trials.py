"""Trials of learned heads: whether they are better than the plain cosine on people left out.

People are divided into folds.  For each fold a head is learned from the other people, and a curve
is fitted to the scores of their pairs.  Both judge the pairs of the fold, and a curve of cosines
that is fitted to the same people judges them too.  The curve of a head is fitted to scores of
people whom the head was learned from, so overfitting counts against the head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.fitting.fit import Method, fit_scores
from facesim_index.calibration.fitting.folds import folds_of_people, usable_folds
from facesim_index.calibration.fitting.held_out import held_out_figures
from facesim_index.calibration.fitting.labelled_data import LabelledFaces
from facesim_index.calibration.fitting.learned_heads import fit_head
from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.calibration.heads import COSINE, HeadKind, LearnedKind
from facesim_index.calibration.record import HeldOutCheck
from facesim_index.metrics.odds import LN_2, LN_10
from facesim_index.records import Float64Array, Int64Array

MAX_IMPOSTOR_PAIRS = 1_000_000
"""Of the other people, and of a fold.  More pairs would hardly make a mean cost more exact."""

CERTAIN = 2.4
"""So many standard errors of gain are more than chance, although the best of three is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadTrial:
    """A learned head compared with the plain cosine, on people left out.

    Attributes
    ----------
    kind : {"weighted-l1", "product", "contrastive"}
        Of the learned head.
    cllr, cosine_cllr : float
        Cllr of the learned head and of the cosine in bits, on the same pairs.
    gain_error : float
        Standard error of the difference in bits, the people being a sample.
    check : HeldOutCheck
        All figures of the head on these pairs.
    scores : LabelledScores
        Scores of these pairs, each by a head that was learned without its people.  A curve that
        is to hold for other people must be fitted on such scores.
    """

    kind: LearnedKind
    cllr: float
    cosine_cllr: float
    gain_error: float
    check: HeldOutCheck
    scores: LabelledScores

    @property
    def gain(self) -> float:
        """How much better the head is than the cosine, in bits."""
        return self.cosine_cllr - self.cllr

    @property
    def better(self) -> bool:
        """Whether the head is better than the cosine."""
        return self.gain > 0.0

    @property
    def surely_better(self) -> bool:
        """Whether the head is better than the cosine by more than chance."""
        return self.gain > CERTAIN * self.gain_error


def try_heads(
    faces: LabelledFaces, kinds: Sequence[LearnedKind], method: Method, *, seed: int = 0
) -> tuple[HeadTrial, ...]:
    """Compare learned heads with the plain cosine on people left out.

    Parameters
    ----------
    faces : LabelledFaces
    kinds : sequence of {"weighted-l1", "product", "contrastive"}
        The heads to learn.
    method : {"logistic", "isotonic", "beta"}
        How the curves are fitted.
    seed : int, default=0
        Of the random numbers.

    Returns
    -------
    tuple of HeadTrial
        In the order of `kinds`.

    Raises
    ------
    CalibrationError
        There are too few people or pairs, in all or outside of a fold.

    Examples
    --------
    >>> rng, person = np.random.default_rng(0), np.repeat(np.arange(30), 3)
    >>> vectors = rng.normal(size=(30, 8))[person] + 0.3 * rng.normal(size=(90, 8))
    >>> vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    >>> faces = LabelledFaces(vectors.astype(np.float32), person)
    >>> [trial.kind for trial in try_heads(faces, ["product"], "logistic")]
    ['product']
    """
    if not kinds:
        return ()
    tried: tuple[HeadKind, ...] = ("cosine", *kinds)
    judged: dict[HeadKind, list[_Judged]] = {kind: [] for kind in tried}
    for others, fold in _folds(faces, seed):
        for kind, parts in judged.items():
            head = COSINE
            if kind != "cosine":
                head = fit_head(kind, others.embeddings, others.person, others.pairs, seed=seed)
            calibration = fit_scores(
                others.scores(head, max_impostors=MAX_IMPOSTOR_PAIRS), method, n_bootstrap=0
            )
            scores = fold.scores(head, max_impostors=MAX_IMPOSTOR_PAIRS)
            knots = np.array(calibration.knots)
            parts.append(
                _Judged(
                    scores,
                    np.interp(scores.genuine, knots[:, 0], knots[:, 1]),
                    np.interp(scores.impostor, knots[:, 0], knots[:, 1]),
                )
            )
    plain = _together(judged["cosine"])
    return tuple(_trial(kind, _together(judged[kind]), plain) for kind in kinds)


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Pairs with their scores and the log10 likelihood ratios that were claimed for them."""

    scores: LabelledScores
    genuine: Float64Array
    impostor: Float64Array


def _folds(faces: LabelledFaces, seed: int) -> Iterator[tuple[LabelledFaces, LabelledFaces]]:
    """Yield, for each fold of people, the faces of all other people and those of the fold."""
    _, person, counts = np.unique(faces.person, return_inverse=True, return_counts=True)
    n_folds = usable_folds(int((counts > 1).sum()))
    fold = folds_of_people(counts > 1, n_folds, np.random.default_rng(seed))
    for number in range(n_folds):
        inside = fold[person] == number
        yield faces.only(~inside), faces.only(inside)


def _together(parts: list[_Judged]) -> _Judged:
    scores = LabelledScores(
        np.concatenate([part.scores.genuine for part in parts]),
        np.concatenate([part.scores.genuine_person for part in parts]),
        np.concatenate([part.scores.impostor for part in parts]),
        np.concatenate([part.scores.impostor_people for part in parts]),
    )
    return _Judged(
        scores,
        np.concatenate([part.genuine for part in parts]),
        np.concatenate([part.impostor for part in parts]),
    )


def _trial(kind: LearnedKind, learned: _Judged, plain: _Judged) -> HeadTrial:
    scores = learned.scores
    missed, false = _bits(-learned.genuine), _bits(learned.impostor)
    plain_missed, plain_false = _bits(-plain.genuine), _bits(plain.impostor)
    check = held_out_figures(
        (learned.genuine, learned.impostor),
        (scores.genuine, scores.impostor),
        data=f"cross-validation in folds of people, the {kind} head learned anew for each",
        n_people=int(scores.people.size),
    )
    return HeadTrial(
        kind=kind,
        cllr=float(missed.mean() + false.mean()) / 2.0,
        cosine_cllr=float(plain_missed.mean() + plain_false.mean()) / 2.0,
        gain_error=_standard_error(plain_missed - missed, plain_false - false, scores),
        check=check,
        scores=scores,
    )


def _bits(against: Float64Array) -> Float64Array:
    """Return the cost of each pair in bits, from the log10 likelihood ratio for the wrong class."""
    return np.asarray(np.logaddexp(0.0, LN_10 * against) / LN_2)


def _standard_error(genuine: Float64Array, impostor: Float64Array, scores: LabelledScores) -> float:
    """Return the standard error of the mean gain of both classes.

    To first order the gain is a sum over people, where a pair of two people belongs to both.
    """
    people = scores.people
    by_person = _by_person(people, scores.genuine_person, genuine)
    for side in (0, 1):
        by_person += _by_person(people, scores.impostor_people[:, side], impostor)
    return float(np.sqrt((by_person**2).sum())) / 2.0


def _by_person(people: Int64Array, person: Int64Array, gain: Float64Array) -> Float64Array:
    away = (gain - gain.mean()) / gain.size
    return np.bincount(np.searchsorted(people, person), away, people.size).astype(np.float64)
