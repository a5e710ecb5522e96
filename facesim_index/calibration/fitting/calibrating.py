"""Fitting a calibration to labelled pairs.

Methods are compared on people they were not fitted on: people are divided into folds, and the pairs
of each fold are judged by a curve that is fitted without its people.  Heads are compared in the
same way: a learned head is taken only when it is better than the plain cosine on people left out.
"""

import datetime
from dataclasses import dataclass
from typing import Literal

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.fitting.fit import (
    MIN_PEOPLE_TO_CHOOSE,
    Method,
    choose_method,
    cross_validated_cllr,
    fit_scores,
)
from facesim_index.calibration.fitting.folds import split_by_fold, usable_folds
from facesim_index.calibration.fitting.head_trials import HeadTrial, try_heads
from facesim_index.calibration.fitting.held_out import held_out_figures
from facesim_index.calibration.fitting.labelled_data import LabelledData, LabelledFaces
from facesim_index.calibration.fitting.learned_heads import fit_head
from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.calibration.heads import COSINE, LEARNED, Head, HeadKind, LearnedKind
from facesim_index.calibration.normalisation import Normalisation
from facesim_index.calibration.record import Calibration, Evidence, HeldOutCheck
from facesim_index.errors import CalibrationError
from facesim_index.metrics import scoring
from facesim_index.records import EngineIdentity

HeadChoice = HeadKind | Literal["auto"]

METHOD_WORDS: dict[Method, str] = {
    "logistic": "logistic regression",
    "isotonic": "smooth monotone curve (PAV, refitted by penalised likelihood)",
    "beta": "beta calibration",
}


@dataclass(frozen=True, slots=True)
class CalibrationFit:
    """A fitted calibration, and how it compares with others on people left out of the fit.

    Attributes
    ----------
    calibration : Calibration
    method : {"logistic", "isotonic", "beta"}
        Of the curve.
    chosen : bool
        Whether the method was chosen by `cllr`; otherwise it was given.
    cllr : dict of method to float
        Cross-validated Cllr in bits, of each method that was tried on the cosines.
    in_force : str or None
        Name of the calibration that was in force before; None when there was none.
    in_force_cllr : float or None
        Cllr of that calibration on the same pairs.  It is too low when that calibration was fitted
        on these people.
    min_cllr : float
        Cllr of the best non-decreasing curve, which is fitted on these very pairs.
    notes : tuple of str
        Which labels were left out, and why.
    trials : tuple of HeadTrial
        Of the learned heads that were tried.

    Examples
    --------
    >>> from facesim_index import fit_calibration, people_data
    >>> data = people_data(index, Path("people"))
    >>> fit = fit_calibration(data, index.identity, name="mine", in_force=index.calibration())
    >>> fit.method, fit.in_force, fit.calibration.name
    ('logistic', 'example', 'mine')
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
        """Cllr in bits of the method and the head of the calibration, on people left out."""
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
    normalisation: Normalisation | None = None,
) -> CalibrationFit:
    """Fit a calibration, and measure it on people who were left out of the fit.

    Parameters
    ----------
    data : LabelledData
        The labelled pairs.
    identity : EngineIdentity
        Of the engine that made the embeddings.
    name : str
        Of the new calibration.
    method : {"logistic", "isotonic", "beta"}, optional
        By default the method with the lowest cross-validated Cllr.
    in_force : Calibration, optional
        The calibration to compare with.
    head : {"cosine", "weighted-l1", "product", "contrastive", "auto"}, default="cosine"
        The head that makes a score of two embeddings.  "auto" takes the learned head that is best
        on people left out, if it is better than the cosine by more than chance.
    force : bool, default=False
        Use `head` even if it is no better than the cosine.
    normalisation : Normalisation, optional
        Normalise the scores of the cosine, with the labelled faces as the cohort: usually that of
        the calibration that comes with the package for this engine.

    Returns
    -------
    CalibrationFit

    Raises
    ------
    CalibrationError
        There are too few people or pairs, the labels cannot be right, or `head` is no better than
        the cosine on people left out.

    Examples
    --------
    >>> rng, people = np.random.default_rng(0), np.array(np.triu_indices(30, 1)).T
    >>> genuine, impostor = rng.normal(0.5, 0.1, 60), rng.normal(0.0, 0.1, len(people))
    >>> scores = LabelledScores(genuine, np.repeat(np.arange(30), 2), impostor, people)
    >>> fit = fit_calibration(
    ...     LabelledData("made up", scores, n_pictures=60),
    ...     EngineIdentity("mine", "a" * 64, "b" * 64, 3, 512), name="mine", method="logistic",
    ... )
    >>> fit.calibration.evidence.n_people, fit.calibration.evidence.checks[0].n_genuine
    (30, 60)
    """
    scores = data.scores_by(COSINE, normalisation)
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
            made, check = COSINE, _cross_validated(scores, used, cllr[used])
        else:
            made, check = _learned(data, chosen.kind), chosen.check
            scores = chosen.scores
        fit = fit_scores(scores, used)
    except CalibrationError as error:
        raise CalibrationError(f"{data.name}: {error}{data.missing_faces}") from error
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
        normalisation=None if made.learned else normalisation,
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
    """Return which heads to learn; with few people "auto" learns none."""
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
    """Return the trial of the head to take; None stands for the cosine."""
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


def _cllr_of(calibration: Calibration, data: LabelledData) -> float:
    scores = data.scores_by(calibration.head, calibration.normalisation)
    return scoring.cllr(
        log10_lr(scores.genuine, calibration), log10_lr(scores.impostor, calibration)
    )


def _cross_validated(scores: LabelledScores, method: Method, cllr: float) -> HeldOutCheck:
    """Return the figures of a method on people who were left out of the fit."""
    genuine, impostor = [], []
    n_folds = usable_folds(np.unique(scores.genuine_person).size)
    for others, within in split_by_fold(scores, n_folds, np.random.default_rng(0)):
        cosine, log10_lr = np.array(fit_scores(others, method, n_bootstrap=0).knots).T
        genuine.append(np.interp(within.genuine, cosine, log10_lr))
        impostor.append(np.interp(within.impostor, cosine, log10_lr))
    return held_out_figures(
        (np.concatenate(genuine), np.concatenate(impostor)),
        (scores.genuine, scores.impostor),
        data=f"cross-validation in {n_folds} folds of people",
        n_people=int(scores.people.size),
        cllr=cllr,
    )
