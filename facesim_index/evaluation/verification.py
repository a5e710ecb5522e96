"""Verification: figures of cosines and degrees on labelled pairs, by the published protocols.

`labels.embeddings.central_face` chooses the face of a picture.  `metrics.verification` says how
pairs count in which a picture has no face.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.degree import cosine_at_degree, degree_from_log10_lr
from facesim_index.calibration.heads import COSINE, Head
from facesim_index.calibration.normalisation import Normalisation
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.scorer import scorer_among
from facesim_index.errors import CalibrationError
from facesim_index.labels.embeddings import EmbeddingIndex, embeddings_of
from facesim_index.labels.pair_lists import PairList, listed_people
from facesim_index.metrics import scoring
from facesim_index.metrics.bootstrap import pairs_drawn_anew, percentile_intervals
from facesim_index.metrics.verification import (
    FoldAccuracy,
    ScoredPairs,
    accuracy,
    area_under_roc,
    best_threshold,
    brier,
    divided,
    fold_accuracy,
    tar_at_far,
)
from facesim_index.records import EngineIdentity, Float64Array, Int64Array

N_BOOTSTRAP = 300

AccuracyBy = Literal["folds", "degree"]


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """The pairs of a list with their cosines, and the pictures they are of.

    Attributes
    ----------
    name : str
        Of the list.
    pairs : ScoredPairs
        In the order of the list.
    paths : tuple of Path
        Every picture once.
    rows : ndarray of shape (n_pairs, 2), int64
        Places in `paths` of the two pictures of each pair.
    face_ids : ndarray of shape (n_pictures,), int64
        Ids of the faces in the index that has the embeddings; -1 where there is no face.

    Examples
    --------
    >>> from facesim_index.labels.pair_lists import read_pairs
    >>> listed = read_pairs(Path("picture_pairs.csv"), Path("people"))
    >>> labelled = score_pairs(index, listed, "people")
    >>> labelled.pairs.cosine.round(2)
    array([ 0.94,  0.94,  0.94,  0.94,  0.94,  0.94, -0.05, -0.05, -0.07])
    """

    name: str
    pairs: ScoredPairs
    paths: tuple[Path, ...]
    rows: Int64Array
    face_ids: Int64Array

    @property
    def without_face(self) -> tuple[Path, ...]:
        """The pictures in which no face was found."""
        return tuple(path for path, face in zip(self.paths, self.face_ids, strict=True) if face < 0)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of a list of pairs.

    Attributes
    ----------
    name : str
        Of the list.
    pairs, genuine, impostor : int
        Number of pairs, and of genuine and impostor pairs among them.
    people, images : int
        Number of people and of pictures.
    accuracy : float
        Share of pairs that are decided as labelled: mean over the folds, or at degree 0.5; see
        `accuracy_by`.
    accuracy_se : float
        Standard error of `accuracy`, from the folds or from drawing people anew.
    threshold : float
        Cosine, or score of the learned head: mean over the folds, or where the degree at prior
        0.5 is 0.5.
    accuracy_by : {"folds", "degree"}
        "folds": the threshold of each fold is the best one of the other folds.  "degree": the
        threshold is that of the calibration, and does not depend on these pairs.
    n_folds : int or None
        None without folds.
    accuracy_at_degree : float or None
        Accuracy at the threshold of the calibration, whatever `accuracy_by` is; None without a
        calibration.
    accuracy_best : float
        Accuracy at the threshold that is best for these very pairs, and so too high.
    auc, eer : float
        Area under the ROC curve, and equal error rate.
    tar_at_far : dict of str to float
        True accept rate by false accept rate; only rates that stand for at least one impostor
        pair.
    cllr : float or None
        In bits; None without a calibration.
    cllr_min : float
        Cllr in bits of the best curve for these very pairs.
    ece, brier : float or None
        Expected calibration error and Brier score of the degrees at prior 0.5; None without a
        calibration.
    images_without_face, pairs_without_face : int
        Number of pictures without a face, and of pairs with such a picture: these are failures.
    engine : str
        Identity of the engine, for people.
    calibration : str or None
        Name of the calibration whose degrees are judged.
    head : str
        What makes the scores: "cosine", or the kind of the learned head of the calibration.
    intervals : dict of str to (float, float)
        95 % intervals of the figures above by name, from drawing people anew; empty when there
        are too few people.

    Examples
    --------
    >>> from facesim_index.labels.pair_lists import read_pairs
    >>> listed = read_pairs(Path("picture_pairs.csv"), Path("people"))
    >>> labelled = score_pairs(index, listed, "people")
    >>> figures = evaluate_pairs(labelled, None, index.identity, n_bootstrap=20)
    >>> figures.accuracy_by, figures.calibration, figures.cllr
    ('folds', None, None)
    """

    name: str
    pairs: int
    genuine: int
    impostor: int
    people: int
    images: int
    accuracy: float
    accuracy_se: float
    threshold: float
    accuracy_by: AccuracyBy
    n_folds: int | None
    accuracy_at_degree: float | None
    accuracy_best: float
    auc: float
    eer: float
    tar_at_far: dict[str, float]
    cllr: float | None
    cllr_min: float
    ece: float | None
    brier: float | None
    images_without_face: int
    pairs_without_face: int
    engine: str
    calibration: str | None
    intervals: dict[str, tuple[float, float]]
    head: str = "cosine"


def score_pairs(
    index: EmbeddingIndex,
    listed: PairList,
    name: str,
    head: Head = COSINE,
    normalisation: Normalisation | None = None,
) -> LabelledPictures:
    """Return the scores of a list of pairs.

    Parameters
    ----------
    index : EmbeddingIndex
        Keeps the embeddings.  Pictures that it does not have are added to it.
    listed : PairList
    name : str
        Of the list.
    head : Head, default=COSINE
        Makes the scores: the head of the calibration that will be judged.
    normalisation : Normalisation, optional
        Of that calibration; the listed pictures are the cohort.

    Returns
    -------
    LabelledPictures

    Raises
    ------
    CalibrationError
        All pairs are of one class, or the labels contradict each other.
    """
    paths, people = listed.paths, listed_people(listed, name)
    rows = people.rows
    found = embeddings_of(index, paths)
    scorer = scorer_among(found.embeddings[found.has_face], normalisation, head)
    made = scorer.vectors(found.embeddings)
    score = scorer.listed_scores(made[rows[:, 0]], made[rows[:, 1]])
    score[~found.has_face[rows].all(axis=1)] = np.nan
    fold = None
    if listed.n_folds:
        fold = np.array([pair.fold for pair in listed.pairs], dtype=np.int64)
    pairs = ScoredPairs(score, people.same, people.person[rows], fold)
    return LabelledPictures(name, pairs, paths, rows, found.face_ids)


def evaluate_pairs(
    labelled: LabelledPictures,
    calibration: Calibration | None,
    engine: EngineIdentity,
    *,
    folds: bool = False,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = 0,
) -> Evaluation:
    """Return every figure of labelled pairs.

    Parameters
    ----------
    labelled : LabelledPictures
        With the scores of the head of the calibration.
    calibration : Calibration or None
        The calibration whose degrees are judged; without one only the scores are judged.
    engine : EngineIdentity
        Of the engine that made the embeddings.
    folds : bool, default=False
        Divide the list into ten folds where it has none.  Without a calibration that is always
        done, because there is no other threshold.
    n_bootstrap : int, default=300
        How often people are drawn anew for the intervals.
    seed : int, default=0
        Of the random numbers.

    Returns
    -------
    Evaluation

    Raises
    ------
    CalibrationError
        There are too few pairs for folds.

    Examples
    --------
    >>> from facesim_index.labels.pair_lists import read_pairs
    >>> listed = read_pairs(Path("picture_pairs.csv"), Path("people"))
    >>> labelled = score_pairs(index, listed, "people")
    >>> figures = evaluate_pairs(labelled, index.calibration(), index.identity)
    >>> figures.genuine, figures.impostor, figures.accuracy, round(figures.threshold, 3)
    (6, 3, 1.0, 0.333)
    """
    pairs = labelled.pairs
    if folds or calibration is None:
        pairs = divided(pairs)
    judge = _Judge(pairs.fold is not None, calibration)
    figures = judge.figures(pairs)
    draws = _drawn_figures(pairs, judge.figures, n_bootstrap, seed)
    in_folds = fold_accuracy(pairs) if pairs.fold is not None else None
    return Evaluation(
        name=labelled.name,
        pairs=len(pairs),
        genuine=int(pairs.same.sum()),
        impostor=int((~pairs.same).sum()),
        people=int(np.unique(pairs.people).size),
        images=len(labelled.paths),
        accuracy=figures["accuracy"],
        accuracy_se=_standard_error(in_folds, pairs, figures["accuracy"], draws),
        threshold=judge.threshold(in_folds),
        accuracy_by="folds" if in_folds else "degree",
        n_folds=in_folds.accuracy.size if in_folds else None,
        accuracy_at_degree=figures.get("accuracy_at_degree"),
        accuracy_best=accuracy(pairs, best_threshold(pairs)),
        auc=figures["auc"],
        eer=figures["eer"],
        tar_at_far=tar_at_far(pairs),
        cllr=figures.get("cllr"),
        cllr_min=figures["cllr_min"],
        ece=figures.get("ece"),
        brier=figures.get("brier"),
        images_without_face=len(labelled.without_face),
        pairs_without_face=int(np.isnan(pairs.cosine).sum()),
        engine=str(engine),
        calibration=calibration.name if calibration else None,
        intervals=percentile_intervals(draws),
        head=calibration.score_kind if calibration else COSINE.kind,
    )


def evidence_of(pairs: ScoredPairs, calibration: Calibration) -> Float64Array:
    """Return the log10 likelihood ratio of each pair.

    Parameters
    ----------
    pairs : ScoredPairs
        With the scores of the head of the calibration.
    calibration : Calibration

    Returns
    -------
    ndarray of shape (n_pairs,), float64
        0, which is no evidence, where a picture has no face.
    """
    decided = ~np.isnan(pairs.cosine)
    evidence = np.zeros(len(pairs))
    evidence[decided] = log10_lr(pairs.cosine[decided], calibration)
    return evidence


@dataclass(frozen=True, slots=True)
class _Judge:
    """Computes all figures of some pairs: of the list, and of each draw of people."""

    in_folds: bool
    calibration: Calibration | None

    def figures(self, pairs: ScoredPairs) -> dict[str, float]:
        figures = {
            "auc": area_under_roc(pairs),
            "eer": scoring.equal_error_rate(*pairs.by_class(pairs.scores)),
            "cllr_min": scoring.min_cllr(*pairs.by_class(pairs.cosine)),
            **{f"tar_at_far {far}": tar for far, tar in tar_at_far(pairs).items()},
        }
        if self.calibration is not None:
            evidence = evidence_of(pairs, self.calibration)
            degree = degree_from_log10_lr(evidence)
            figures["cllr"] = scoring.cllr(*pairs.by_class(evidence))
            figures["ece"] = scoring.expected_calibration_error(*pairs.by_class(degree))
            figures["brier"] = brier(degree, pairs.same)
            figures["accuracy_at_degree"] = accuracy(pairs, self._at_half())
        figures["accuracy"] = (
            fold_accuracy(pairs).mean if self.in_folds else figures["accuracy_at_degree"]
        )
        return figures

    def threshold(self, in_folds: FoldAccuracy | None) -> float:
        return self._at_half() if in_folds is None else float(in_folds.threshold.mean())

    def _at_half(self) -> float:
        if self.calibration is None:
            raise CalibrationError("there is no calibration that says where the degree is 0.5")
        return float(np.clip(cosine_at_degree(0.5, self.calibration), -1.0, 1.0))


def _drawn_figures(
    pairs: ScoredPairs,
    figures: Callable[[ScoredPairs], dict[str, float]],
    n_bootstrap: int,
    seed: int,
) -> list[dict[str, float]]:
    """Return the figures of each draw of people; none when fewer than half can be used."""
    draws = []
    for times in pairs_drawn_anew(pairs.people, pairs.same, n_bootstrap, seed):
        rows = np.repeat(np.arange(len(pairs)), times)
        try:
            draws.append(figures(pairs.rows(rows)))
        except CalibrationError:  # By chance there is no pair of one class, or only one fold.
            continue
    return draws if 2 * len(draws) > n_bootstrap else []


def _standard_error(
    in_folds: FoldAccuracy | None,
    pairs: ScoredPairs,
    share: float,
    draws: list[dict[str, float]],
) -> float:
    if in_folds is not None:
        return in_folds.standard_error
    if not draws:
        return float(np.sqrt(share * (1.0 - share) / len(pairs)))
    return float(np.std([draw["accuracy"] for draw in draws], ddof=1))
