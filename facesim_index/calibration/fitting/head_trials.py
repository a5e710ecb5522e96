"""Is a learned head better than the plain cosine: tried on people it was not learned from.

People are parted into folds.  For each fold a head is learned from the others, a curve is fitted
to its scores of the others, and both judge the pairs of the fold; so does a curve of cosines that
was fitted to the same pairs.  What a head owes to having seen these people thus counts against it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.fitting.fit import LabelledScores, Method, fit_scores
from facesim_index.calibration.fitting.folds import folds_of_people, usable_folds
from facesim_index.calibration.fitting.held_out import held_out_figures
from facesim_index.calibration.fitting.labelled_data import LabelledFaces
from facesim_index.calibration.fitting.learned_heads import fit_head
from facesim_index.calibration.heads import COSINE, HeadKind, LearnedKind
from facesim_index.calibration.record import HeldOutCheck
from facesim_index.metrics.odds import LN_2, LN_10
from facesim_index.records import Float64Array, Int64Array

MAX_IMPOSTOR_PAIRS = 1_000_000
"""Of the others, and of a fold: a mean cost hardly profits from more, and heads cost time."""

CERTAIN = 2.4
"""Standard errors by which a gain is more than chance, though the best of three heads is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadTrial:
    """A learned head next to the plain cosine, on people left out.

    Attributes
    ----------
    kind : {"weighted-l1", "product", "contrastive"}
    cllr, cosine_cllr : float
        In bits, on the same pairs.
    gain_error : float
        Standard error of the difference, people being a sample.
    check : HeldOutCheck
        All figures of the head on these pairs.
    scores : LabelledScores
        Of these pairs, each by a head that has seen neither of its people: what a curve must be
        fitted on to be true of people whom the head has not seen.
    """

    kind: LearnedKind
    cllr: float
    cosine_cllr: float
    gain_error: float
    check: HeldOutCheck
    scores: LabelledScores

    @property
    def gain(self) -> float:
        """Bits by which the head is better than the cosine."""
        return self.cosine_cllr - self.cllr

    @property
    def better(self) -> bool:
        """Whether the head is better than the cosine."""
        return self.gain > 0.0

    @property
    def surely_better(self) -> bool:
        """Whether it is by more than chance."""
        return self.gain > CERTAIN * self.gain_error


def try_heads(
    faces: LabelledFaces, kinds: Sequence[LearnedKind], method: Method, *, seed: int = 0
) -> tuple[HeadTrial, ...]:
    """Compare learned heads with the plain cosine on people left out.

    Parameters
    ----------
    faces : LabelledFaces
    kinds : sequence of {"weighted-l1", "product", "contrastive"}
    method : {"logistic", "isotonic", "beta"}
        By which the curves are fitted.
    seed : int, default=0

    Returns
    -------
    tuple of HeadTrial

    Raises
    ------
    CalibrationError
        There are too few people or pairs, of all or outside a fold.
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
    """Pairs with their scores and the log10 likelihood ratios that were claimed of them."""

    scores: LabelledScores
    genuine: Float64Array
    impostor: Float64Array


def _folds(faces: LabelledFaces, seed: int) -> Iterator[tuple[LabelledFaces, LabelledFaces]]:
    """Yield the faces of all people but a fold's, and of that fold."""
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
    """Return the cost of each pair, from the log10 likelihood ratio for what it is not."""
    return np.asarray(np.logaddexp(0.0, LN_10 * against) / LN_2)


def _standard_error(genuine: Float64Array, impostor: Float64Array, scores: LabelledScores) -> float:
    """Return that of the mean gain of both classes, from what each person adds to it.

    A pair of two people hangs on both: the gain is a sum over people to first order.
    """
    people = scores.people
    by_person = _by_person(people, scores.genuine_person, genuine)
    for side in (0, 1):
        by_person += _by_person(people, scores.impostor_people[:, side], impostor)
    return float(np.sqrt((by_person**2).sum())) / 2.0


def _by_person(people: Int64Array, person: Int64Array, gain: Float64Array) -> Float64Array:
    away = (gain - gain.mean()) / gain.size
    return np.bincount(np.searchsorted(people, person), away, people.size).astype(np.float64)
