"""Fit a calibration on labelled pairs.

Which method fits best is for people to tell whom it was not fitted on: pairs are parted into
folds by person, and each fold is judged by a curve that saw nobody of it.  So it is with heads:
a learned one is taken only when it is better than the plain cosine on people left out.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.fitting.fit import (
    MIN_PEOPLE_TO_CHOOSE,
    LabelledScores,
    Method,
    choose_method,
    cross_validated_cllr,
    fit_scores,
)
from facesim_index.calibration.fitting.head_trials import HeadTrial, try_heads
from facesim_index.calibration.fitting.labelled_data import LabelledData, LabelledFaces
from facesim_index.calibration.fitting.learned_heads import fit_head
from facesim_index.calibration.heads import COSINE, LEARNED, Head, HeadKind, LearnedKind
from facesim_index.calibration.record import Calibration, Evidence, HeldOutCheck
from facesim_index.errors import CalibrationError
from facesim_index.metrics import scoring
from facesim_index.records import EngineIdentity, Float64Array

N_FOLDS = 5
_FALSE_MATCH_RATES = (1e-3, 1e-4)
_MIN_FALSE_MATCHES = 10

HeadChoice = HeadKind | Literal["auto"]

METHOD_WORDS: dict[Method, str] = {
    "logistic": "logistic regression",
    "isotonic": "smooth monotone curve (PAV, refitted by penalised likelihood)",
    "beta": "beta calibration",
}


@dataclass(frozen=True, slots=True)
class CalibrationFit:
    """A fitted calibration, next to its rivals on people that none of them was fitted on.

    Attributes
    ----------
    calibration : Calibration
    method : {"logistic", "isotonic", "beta"}
    chosen : bool
        Whether the method was chosen by `cllr`, not given.
    cllr : dict of method to float
        Cross-validated, of each method that was tried on the cosines; in bits.
    in_force : str or None
        Name of the calibration that was in force, on the same pairs:
    in_force_cllr : float or None
        Too good when it was itself fitted on them.
    min_cllr : float
        What the best non-decreasing curve, fitted on these very pairs, would reach.
    notes : tuple of str
        What was left out, and why.
    trials : tuple of HeadTrial
        The learned heads that were tried.
    """

    calibration: Calibration
    method: Method
    chosen: bool
    cllr: dict[Method, float]
    in_force: str | None
    in_force_cllr: float | None
    min_cllr: float
    notes: tuple[str, ...]
    trials: tuple[HeadTrial, ...] = ()

    @property
    def held_out_cllr(self) -> float:
        """Of the calibration: by its method and its head, on people left out."""
        kind = self.calibration.head.kind
        return next(
            (trial.cllr for trial in self.trials if trial.kind == kind), self.cllr[self.method]
        )


def fit_calibration(
    data: LabelledData,
    identity: EngineIdentity,
    *,
    name: str,
    method: Method | None = None,
    in_force: Calibration | None = None,
    head: HeadChoice = "cosine",
    force: bool = False,
) -> CalibrationFit:
    """Fit a calibration, and measure it on people who were left out of the fit.

    Parameters
    ----------
    data : LabelledData
    identity : EngineIdentity
        Of the embeddings.
    name : str
        Of the new calibration.
    method : {"logistic", "isotonic", "beta"}, optional
        By default the one with the least cross-validated Cllr.
    in_force : Calibration, optional
        To compare with.
    head : {"cosine", "weighted-l1", "product", "contrastive", "auto"}, default="cosine"
        What makes a score of two embeddings.  "auto" takes the learned head that is best on
        people left out, if it is better than the cosine by more than chance.
    force : bool, default=False
        Take the head that was asked for also when it is no better than the cosine.

    Returns
    -------
    CalibrationFit

    Raises
    ------
    CalibrationError
        There are too few people or pairs, or the labels cannot be right; or the head that was
        asked for is no better than the cosine on people left out.
    """
    scores = data.scores
    try:
        if method is None:
            used, cllr = choose_method(scores)
        else:
            used, cllr = method, {}
        if used not in cllr:
            cllr = {used: cross_validated_cllr(scores, used)}
        trials = try_heads(_faces_to_learn(data, head), _kinds_to_try(data, head), used)
        chosen = _chosen(trials, head, force=force)
        if chosen is None:
            made, check = COSINE, _held_out_check(scores, used, cllr[used])
        else:
            made, check = _learned(data, chosen.kind), chosen.check
            scores = chosen.scores
        fit = fit_scores(scores, used)
    except CalibrationError as error:
        raise CalibrationError(f"{data.name}: {error}{_missing_faces(data)}") from error
    calibration = Calibration(
        name=name,
        engine_key=identity.key,
        method=METHOD_WORDS[used],
        knots=fit.knots,
        band=fit.band,
        false_matches=fit.false_matches,
        evidence=Evidence(
            data=data.name,
            n_people=int(scores.people.size),
            n_genuine=int(scores.genuine.size),
            n_impostor=int(scores.impostor.size),
            fitted_on=datetime.date.today().isoformat(),
            checks=(check,),
        ),
        head=made,
    )
    return CalibrationFit(
        calibration=calibration,
        method=used,
        chosen=method is None,
        cllr=cllr,
        in_force=in_force.name if in_force else None,
        in_force_cllr=_cllr_of(in_force, data) if in_force else None,
        min_cllr=check.min_cllr,
        notes=data.notes,
        trials=trials,
    )


def _kinds_to_try(data: LabelledData, head: HeadChoice) -> tuple[LearnedKind, ...]:
    """Return which heads to learn; of few people "auto" learns none."""
    if head == "cosine":
        return ()
    if head != "auto":
        return (head,)
    n_paired = np.unique(data.scores.genuine_person).size
    return LEARNED if n_paired >= MIN_PEOPLE_TO_CHOOSE else ()


def _faces_to_learn(data: LabelledData, head: HeadChoice) -> LabelledFaces:
    if data.faces is not None:
        return data.faces
    if head != "cosine":
        raise CalibrationError("there are cosines only; a head is learned from embeddings")
    return LabelledFaces(np.empty((0, 0), np.float32), np.empty(0, np.int64))


def _chosen(trials: tuple[HeadTrial, ...], head: HeadChoice, *, force: bool) -> HeadTrial | None:
    """Return the head to take; None is the cosine."""
    if head == "auto":
        good = [trial for trial in trials if trial.surely_better]
        return min(good, key=lambda trial: trial.cllr, default=None)
    for trial in trials:
        if trial.better or force:
            return trial
        raise CalibrationError(
            f"the {trial.kind} head is no better than the plain cosine on people left out: Cllr "
            f"{trial.cllr:.4f}, of the cosine {trial.cosine_cllr:.4f}, difference "
            f"{-trial.gain:+.4f} ± {trial.gain_error:.4f}; nothing was stored (--head cosine "
            "fits the cosine, --force takes this head all the same)"
        )
    return None


def _learned(data: LabelledData, kind: LearnedKind) -> Head:
    faces = _faces_to_learn(data, kind)
    return fit_head(kind, faces.embeddings, faces.person, faces.pairs)


def _missing_faces(data: LabelledData) -> str:
    if not data.n_without_face:
        return ""
    return f" (no face was found in {data.n_without_face} of {data.n_pictures} pictures)"


def _cllr_of(calibration: Calibration, data: LabelledData) -> float:
    scores = data.scores_by(calibration.head)
    return scoring.cllr(
        log10_lr(scores.genuine, calibration), log10_lr(scores.impostor, calibration)
    )


def _held_out_check(scores: LabelledScores, method: Method, cllr: float) -> HeldOutCheck:
    """Return the figures of a method on people who were left out of the fit."""
    genuine, impostor = [], []
    for of_genuine, of_impostor in _judged_folds(scores, method):
        genuine.append(degree_from_log10_lr(of_genuine))
        impostor.append(degree_from_log10_lr(of_impostor))
    ece = scoring.expected_calibration_error(np.concatenate(genuine), np.concatenate(impostor))
    return HeldOutCheck(
        data=f"cross-validation in {len(genuine)} folds of people",
        n_people=int(scores.people.size),
        n_genuine=sum(part.size for part in genuine),
        n_impostor=sum(part.size for part in impostor),
        cllr=round(cllr, 5),
        min_cllr=round(scoring.min_cllr(scores.genuine, scores.impostor), 5),
        ece=round(ece, 5),
        eer=round(scoring.equal_error_rate(scores.genuine, scores.impostor), 5),
        true_match_rates=tuple(
            (fmr, round(scoring.true_match_rate(scores.genuine, scores.impostor, fmr=fmr), 5))
            for fmr in _FALSE_MATCH_RATES
            if fmr * scores.impostor.size >= _MIN_FALSE_MATCHES
        ),
    )


def _judged_folds(
    scores: LabelledScores, method: Method, *, seed: int = 0
) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Yield the log10 LRs of each fold of people, by a curve of all pairs with nobody of it."""
    people = scores.people
    rng = np.random.default_rng(seed)
    paired = np.isin(people, scores.genuine_person)
    n_folds = max(2, min(N_FOLDS, int(paired.sum()) // 2))
    fold = np.empty(people.size, dtype=np.int8)
    for group in (np.flatnonzero(paired), np.flatnonzero(~paired)):
        fold[rng.permutation(group)] = np.arange(group.size) % n_folds
    of_genuine = fold[np.searchsorted(people, scores.genuine_person)]
    first = fold[np.searchsorted(people, scores.impostor_people[:, 0])]
    second = fold[np.searchsorted(people, scores.impostor_people[:, 1])]
    for number in range(n_folds):
        others, strangers = of_genuine != number, (first != number) & (second != number)
        calibration = fit_scores(
            LabelledScores(
                scores.genuine[others],
                scores.genuine_person[others],
                scores.impostor[strangers],
                scores.impostor_people[strangers],
            ),
            method,
            n_bootstrap=0,
        )
        knots = np.array(calibration.knots)
        judged = (first == number) & (second == number)
        yield (
            np.interp(scores.genuine[~others], knots[:, 0], knots[:, 1]),
            np.interp(scores.impostor[judged], knots[:, 0], knots[:, 1]),
        )
