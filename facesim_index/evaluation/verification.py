"""How good are the cosines and degrees on labelled pairs: the published protocols.

Which face of a picture counts is said by `labelled.central_face`, and what a picture without a
face counts for by `pair_figures`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.degree import cosine_at_degree, degree_from_log10_lr
from facesim_index.calibration.heads import COSINE, Head
from facesim_index.calibration.record import Calibration
from facesim_index.errors import CalibrationError
from facesim_index.labels.embeddings import EmbeddingIndex, embeddings_of
from facesim_index.labels.pair_lists import PairList
from facesim_index.metrics import scoring
from facesim_index.metrics.bootstrap import pairs_drawn_anew, percentile_intervals
from facesim_index.metrics.linking import linked_people
from facesim_index.metrics.verification import (
    BoolArray,
    FoldAccuracy,
    ScoredPairs,
    accuracy,
    area_under_roc,
    best_threshold,
    brier,
    calibration_error,
    divided,
    equal_error_rate,
    fold_accuracy,
    min_cllr,
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
        Places in `paths` of the pictures of each pair.
    face_ids : ndarray of shape (n_pictures,), int64
        In the index that has the embeddings; -1 where there is no face.
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
    people, images : int
    accuracy : float
        Mean over the folds, or at degree 0.5: see `accuracy_by`.
    accuracy_se : float
        Standard error: from the folds, or from drawing people anew.
    threshold : float
        Cosine, or score of the learned head; mean over the folds, or where the degree at prior
        0.5 is 0.5.
    accuracy_by : {"folds", "degree"}
        "folds": the threshold of each fold is the best one on the others.  "degree": the
        threshold is the calibration's, and owes nothing to these pairs.
    n_folds : int or None
    accuracy_at_degree : float or None
        At the threshold of the calibration, whatever `accuracy_by` is.
    accuracy_best : float
        At the threshold that is best on these very pairs: too good.
    auc, eer : float
    tar_at_far : dict of str to float
        Only rates that stand for one impostor pair at least.
    cllr : float or None
        None without a calibration, like `ece` and `brier`.
    cllr_min : float
    ece, brier : float or None
        Of the degrees at prior 0.5; `ece` in 15 bins of equal mass.
    images_without_face, pairs_without_face : int
        Failures; a pair is one when one of its pictures is.
    engine : str
    calibration : str or None
    head : str
        What is judged: "cosine", or the kind of the learned head of the calibration.
    intervals : dict of str to (float, float)
        95 % intervals of the figures above by name, from drawing people anew; empty when there
        are too few people.
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
    index: EmbeddingIndex, listed: PairList, name: str, head: Head = COSINE
) -> LabelledPictures:
    """Return the scores of a list of pairs.

    Parameters
    ----------
    index : EmbeddingIndex
        Keeps the embeddings; pictures that it does not have are ingested.
    listed : PairList
    name : str
        Of the list.
    head : Head, default=COSINE
        That of the calibration which is going to be judged.

    Returns
    -------
    LabelledPictures

    Raises
    ------
    CalibrationError
        All pairs are of one kind, or the labels contradict each other.
    """
    paths = listed.paths
    place = {path: number for number, path in enumerate(paths)}
    rows = np.array(
        [(place[pair.path_a], place[pair.path_b]) for pair in listed.pairs], dtype=np.int64
    )
    same = np.array([pair.same for pair in listed.pairs], dtype=np.bool_)
    people = _people(paths, rows, same)[rows]
    if (wrong := np.flatnonzero(~same & (people[:, 0] == people[:, 1]))).size:
        a, b = (paths[number] for number in rows[wrong[0]])
        raise CalibrationError(
            f"{name}: {a} and {b} are said to be two people, but other lines link them as one; "
            "correct the labels"
        )
    found = embeddings_of(index, paths)
    made = head.transform(found.embeddings)
    score = np.clip(head.listed_scores(made[rows[:, 0]], made[rows[:, 1]]), -1.0, 1.0)
    score[~found.has_face[rows].all(axis=1)] = np.nan
    fold = None
    if listed.n_folds:
        fold = np.array([pair.fold for pair in listed.pairs], dtype=np.int64)
    return LabelledPictures(
        name, ScoredPairs(score, same, people, fold), paths, rows, found.face_ids
    )


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
    calibration : Calibration or None
        The one whose degrees are judged; None judges the cosines alone.  The pairs must
        have the scores of its head.
    engine : EngineIdentity
        Of the embeddings.
    folds : bool, default=False
        Divide the list into ten folds where it has none.  That is done anyway where there is
        no calibration, which else gives the threshold.
    n_bootstrap : int, default=300
        How often people are drawn anew for the intervals.
    seed : int, default=0

    Returns
    -------
    Evaluation

    Raises
    ------
    CalibrationError
        There are too few pairs for folds.
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
        head=calibration.head.kind if calibration else COSINE.kind,
    )


def evidence_of(pairs: ScoredPairs, calibration: Calibration) -> Float64Array:
    """Return the log10 likelihood ratio of each pair; 0, no evidence, where there is no face.

    Parameters
    ----------
    pairs : ScoredPairs
    calibration : Calibration

    Returns
    -------
    ndarray of shape (n_pairs,), float64
    """
    decided = ~np.isnan(pairs.cosine)
    evidence = np.zeros(len(pairs))
    evidence[decided] = log10_lr(pairs.cosine[decided], calibration)
    return evidence


@dataclass(frozen=True, slots=True)
class _Judge:
    """Computes all figures of some pairs, and so of each drawing of people."""

    in_folds: bool
    calibration: Calibration | None

    def figures(self, pairs: ScoredPairs) -> dict[str, float]:
        figures = {
            "auc": area_under_roc(pairs),
            "eer": equal_error_rate(pairs),
            "cllr_min": min_cllr(pairs),
            **{f"tar_at_far {far}": tar for far, tar in tar_at_far(pairs).items()},
        }
        if self.calibration is not None:
            evidence = evidence_of(pairs, self.calibration)
            degree = degree_from_log10_lr(evidence)
            figures["cllr"] = scoring.cllr(evidence[pairs.same], evidence[~pairs.same])
            figures["ece"] = calibration_error(degree, pairs.same)
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


def _people(paths: tuple[Path, ...], rows: Int64Array, same: BoolArray) -> Int64Array:
    """Return the person of each picture: by its folder where every label agrees with that.

    Else whom labels link, directly or over others, is one person.
    """
    _, person = np.unique([str(path.parent) for path in paths], return_inverse=True)
    person = person.astype(np.int64).ravel()
    if np.array_equal(person[rows[:, 0]] == person[rows[:, 1]], same):
        return person
    return linked_people(rows[same], len(paths))


def _drawn_figures(
    pairs: ScoredPairs,
    figures: Callable[[ScoredPairs], dict[str, float]],
    n_bootstrap: int,
    seed: int,
) -> list[dict[str, float]]:
    """Return the figures after people are drawn anew; nothing when too few drawings are usable."""
    draws = []
    for times in pairs_drawn_anew(pairs.people, pairs.same, n_bootstrap, seed):
        rows = np.repeat(np.arange(len(pairs)), times)
        try:
            draws.append(figures(pairs.rows(rows)))
        except CalibrationError:  # By chance there is no pair of one kind, or no second fold.
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
