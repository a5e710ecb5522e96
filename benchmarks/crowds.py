"""By whom and of whom: how true degrees are among people the curve was not fitted on.

    python -m benchmarks.crowds DATA_FOLDER --cache FOLDER

Two curves are fitted on the people of LFW's pairsDevTrain, one over plain cosines and one over
normalised scores, and judged on groups of other people (`tools.crowds`).  What is expected of a
face is fitted anew for each set, without any picture of that set.

The first table says how often two different people score above the curve's own level of a false
match rate, as a multiple of that rate: in a gallery of their kind alone, in one gallery of all
sets, and in none, as in `facesim compare`.  The second searches every face among all others of a
gallery, with the prior that the gallery itself gives: how many of the ten best answers with a
degree of 0.9 or more are right, against how many should be, and how many mates are found.  The
third groups faces into people.  The fourth compares every face with every person, by all the
person's other faces together.
"""

import argparse
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.bench_people import bcubed
from facesim_index.calibration.degree import calibrated_degree, cosine_at_degree
from facesim_index.calibration.fitting.fit import Fit, fit_scores
from facesim_index.calibration.fitting.labelled_data import every_pair
from facesim_index.calibration.normalisation import Normalisation
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.calibration.scorer import FaceVectors, Scorer, scorer_among
from facesim_index.degrees.gallery import BINS, ScoreSample, prior_of_sample
from facesim_index.metrics.scoring import expected_calibration_error
from facesim_index.pairs.blocks import Faces
from facesim_index.pairs.links import nearest_links
from facesim_index.people.clustering import UNASSIGNED, Known, cluster
from facesim_index.people.evidence import person_degree, person_log10_lr
from facesim_index.people.grouping import LINK_DEGREE
from facesim_index.records import Float32Array, Float64Array, Int64Array
from tools.crowds import LFW, UNSEEN, Crowd, crowds
from tools.fit_normalisation import fit_normalisation

RATES = (1e-3, 1e-4)
TOP = 10
SMALL_CHILDREN = ("aaf, 0 to 6", "utk, 0 to 3")
PERSON_DEGREES = (0.01, 0.5, 0.999, 1.0)
_ROWS = 512
_GROUPS = 100


@dataclass(frozen=True, slots=True)
class System:
    """A curve, and how scores are made for it.

    Attributes
    ----------
    calibration : Calibration
    levels : tuple of float
        The scores at which the curve has each of `RATES`.
    normalisation : Normalisation or None
        None for plain cosines.
    """

    calibration: Calibration
    levels: tuple[float, ...]
    normalisation: Normalisation | None

    def vectors(
        self, embeddings: Float32Array, gallery: Float32Array
    ) -> tuple[Scorer, FaceVectors]:
        """Return the faces as they are compared in a gallery."""
        scorer = scorer_among(gallery, self.normalisation)
        return scorer, scorer.vectors(embeddings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="keep the indexes here")
    options = parser.parse_args(arguments)
    found = crowds(options.data_folder, options.cache)
    groups = [crowd for crowd in found.values() if crowd.name != LFW]
    sets = _sets(groups)
    plain = system(found[LFW], None)
    by_family = {
        family: system(found[LFW], fit_normalisation(found.values(), left_out=family))
        for family in sorted({crowd.family for crowd in groups})
    }
    everybody = np.concatenate([crowd.embeddings for crowd in sets])
    nobody = np.empty((0, everybody.shape[1]), dtype=np.float32)
    print("| people | faces | plain | own gallery | gallery of all sets | no gallery |")
    print("|---|---|---|---|---|---|")
    for crowd in groups:
        ours = by_family[crowd.family]
        cells = [
            multiples(crowd, plain, nobody),
            *(multiples(crowd, ours, others) for others in (crowd.embeddings, everybody, nobody)),
        ]
        print(f"| {crowd.name} | {len(crowd.person):,} | {' | '.join(cells)} |", flush=True)
    print(f"\nMultiples of the rates {RATES}; the last three columns are of normalised scores.\n")
    print("| gallery | faces | right of ≥ 0.9 | should be | mates ≥ 0.5 | ECE | prior, true |")
    print("|---|---|---|---|---|---|---|")
    for gallery in [*(crowd for crowd in groups if _has_mates(crowd)), *mixed(groups)]:
        for name, judged in (("plain", plain), ("normalised", by_family.get(gallery.family))):
            judged = judged or by_family["lfw"]
            print(f"| {gallery.name}, {name} | {searched(gallery, judged)} |", flush=True)
    print("\n| grouped into people | BCubed F | faces put with somebody else |")
    print("|---|---|---|")
    for crowd in groups:
        if crowd.name not in (UNSEEN, *SMALL_CHILDREN):
            continue
        for name, judged in (("plain", plain), ("normalised", by_family[crowd.family])):
            f, wrong = grouped(crowd, judged)
            print(f"| {crowd.name}, {name} | {f:.4f} | {100 * wrong:.1f} % |", flush=True)
    spans = itertools.pairwise(PERSON_DEGREES)
    heads = " | ".join(f"{low:g} to {high:g}: claimed, true" for low, high in spans)
    print(f"\n| degree for a person | people | {heads} | true below 0.5 | false from 0.5 |")
    print("|---|---|---|---|---|---|---|")
    for crowd, least in ((named, least) for named in groups for least in (2, 100)):
        if not _has_mates(crowd) or np.bincount(crowd.person).max() <= least:
            continue
        for name, judged in (("plain", plain), ("normalised", by_family[crowd.family])):
            told = person_degrees(crowd, judged, least)
            print(f"| {crowd.name}, {least} faces or more, {name} | {told} |", flush=True)


def system(people: Crowd, normalisation: Normalisation | None) -> System:
    """Fit a curve on people whose wrong labels are set right by name.

    Parameters
    ----------
    people : Crowd
    normalisation : Normalisation or None

    Returns
    -------
    System
    """
    scorer = scorer_among(people.embeddings, normalisation)
    scores, _ = every_pair(people.embeddings, people.person, scorer)
    fit: Fit = fit_scores(scores, "isotonic", n_bootstrap=0)
    size = scores.genuine.size, scores.impostor.size
    calibration = Calibration(
        "train",
        "engine",
        "isotonic",
        fit.knots,
        Evidence("pairsDevTrain", int(scores.people.size), *size, "2000-01-01"),
        false_matches=fit.false_matches,
        normalisation=normalisation,
    )
    levels = np.quantile(scores.impostor, 1.0 - np.array(RATES))
    return System(calibration, tuple(levels.tolist()), normalisation)


def multiples(crowd: Crowd, judged: System, gallery: Float32Array) -> str:
    """Return how many times as often strangers reach each level as they should."""
    scorer, made = judged.vectors(crowd.embeddings, gallery)
    reached, n_pairs = np.zeros(len(RATES)), 0
    for start in range(0, len(made), _ROWS):
        scores = scorer.pair_scores(made[start : start + _ROWS], made)
        rows = np.arange(start, start + len(scores))
        strangers = rows[:, None] < np.arange(len(made))[None, :]
        strangers &= crowd.person[rows][:, None] != crowd.person[None, :]
        n_pairs += int(strangers.sum())
        reached += [(scores[strangers] >= level).sum() for level in judged.levels]
    told = reached / n_pairs / np.array(RATES)
    few = n_pairs * np.array(RATES) < 10
    return " / ".join(f"{x:.1f}{'?' if f else ''}" for x, f in zip(told, few, strict=True))


def searched(gallery: Crowd, judged: System) -> str:
    """Return the figures of searching every face among the others of a gallery."""
    scorer, made = judged.vectors(gallery.embeddings, gallery.embeddings)
    n = len(made)
    counts = np.zeros((_GROUPS, BINS), dtype=np.int64)
    rng = np.random.default_rng(0)
    group = rng.permutation(n) * _GROUPS // n
    best, mates, n_genuine = [], [], 0
    for start in range(0, n, _ROWS):
        scores = scorer.pair_scores(made[start : start + _ROWS], made).astype(np.float64)
        rows = np.arange(start, start + len(scores))
        scores[np.arange(len(rows)), rows] = np.nan
        place = ((np.nan_to_num(scores, nan=-1.0) + 1.0) * (BINS / 2)).astype(np.int64)
        np.clip(place, 0, BINS - 1, out=place)
        for row, number in enumerate(rows):
            told = np.bincount(np.delete(place[row], number), minlength=BINS)
            counts[group[number]] += told
        scores[np.arange(len(rows)), rows] = -2.0
        same = gallery.person[rows][:, None] == gallery.person[None, :]
        n_genuine += int(same.sum()) - len(rows)
        order = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
        best.append(np.take_along_axis(scores, order, axis=1))
        mates.append(np.take_along_axis(same, order, axis=1))
    prior = prior_of_sample(ScoreSample(counts, n, n), judged.calibration, rng).share
    degree = calibrated_degree(np.concatenate(best), judged.calibration, prior=prior)
    mate = np.concatenate(mates)
    sure = degree >= 0.9
    ece = expected_calibration_error(degree[mate], degree[~mate], prior=float(mate.mean()))
    return " | ".join(
        (
            f"{n:,}",
            _share(int((sure & mate).sum()), int(sure.sum())),
            f"{100 * degree[sure].mean():.1f} %" if sure.any() else "-",
            _share(int((mate & (degree >= 0.5)).sum()), int(mate.sum())),
            f"{ece:.4f}",
            f"{prior:.2g}, {n_genuine / n / (n - 1):.2g}",
        )
    )


def grouped(gallery: Crowd, judged: System) -> tuple[float, float]:
    """Return BCubed F of grouping a gallery, and the share of its faces put with somebody else."""
    scorer, made = judged.vectors(gallery.embeddings, gallery.embeddings)
    values: Float32Array = np.asarray(made.values, dtype=np.float32)
    n = len(made)
    faces = Faces(np.arange(n, dtype=np.int64), values, scorer, made.factors)
    prior = _prior(faces, judged)

    def evidence(means: Float64Array, n_pairs: Float64Array) -> Float64Array:
        return person_log10_lr(means, n_pairs, judged.calibration)

    least = cosine_at_degree(LINK_DEGREE, judged.calibration, prior=prior)
    known = Known(np.full(n, UNASSIGNED, dtype=np.int64), {})
    enough = math.log10(1.0 - prior) - math.log10(prior)
    label = cluster(faces, nearest_links(faces, least), known, evidence, enough)
    together = label[:, None] == label[None, :]
    same = gallery.person[:, None] == gallery.person[None, :]
    wrong = float((together & ~same).any(axis=1).mean())
    return bcubed(label, gallery.person)[2], wrong


def person_degrees(gallery: Crowd, judged: System, least: int) -> str:
    """Return how true the degrees of every face for every person of many others are.

    Parameters
    ----------
    gallery : Crowd
    judged : System
    least : int
        People with fewer faces, the face itself not counted, are left out.

    Returns
    -------
    str
        Cells of a row of a table.
    """
    scorer, made = judged.vectors(gallery.embeddings, gallery.embeddings)
    n = len(made)
    values: Float32Array = np.asarray(made.values, dtype=np.float32)
    faces = Faces(np.arange(n, dtype=np.int64), values, scorer, made.factors)
    prior = _prior(faces, judged)
    people, person = np.unique(gallery.person, return_inverse=True)
    vectors = scorer.summable(made)
    sums = np.zeros((len(people), vectors.shape[1]))
    np.add.at(sums, person, vectors)
    genuine = person[:, None] == np.arange(len(people))[None, :]
    own = np.sum(vectors * scorer.opposite(vectors), axis=1)
    others = np.bincount(person)[None, :] - genuine
    told = others >= least
    totals = vectors @ scorer.opposite(sums).T - np.where(genuine, own[:, None], 0.0)
    n_pairs, true = others[told].astype(np.float64), genuine[told]
    degree = person_degree(totals[told] / n_pairs, n_pairs, judged.calibration, prior=prior)
    cells = [str(int(told.any(axis=0).sum()))]
    for low, high in itertools.pairwise(PERSON_DEGREES):
        here = (degree >= low) & (degree < high)
        cells.append(f"{degree[here].sum():,.1f}, {int(true[here].sum()):,}")
    missed = int((degree[true] < 0.5).sum())
    cells.append(f"{missed:,} of {int(true.sum()):,}")
    cells.append(f"{int((degree[~true] >= 0.5).sum()):,} of {int((~true).sum()):,}")
    return " | ".join(cells)


def _prior(faces: Faces, judged: System) -> float:
    """Return the prior that a gallery gives by the scores of all its pairs."""
    n = len(faces.ids)
    counts = np.bincount(_bins_of_pairs(faces), minlength=BINS)[None]
    sample = ScoreSample(counts, n, n)
    return prior_of_sample(sample, judged.calibration, np.random.default_rng(0)).share


def _bins_of_pairs(faces: Faces) -> Int64Array:
    some = faces.single(slice(None))
    scores = faces.scorer.pair_scores(some, some)[np.triu_indices(len(faces.ids), 1)]
    place: Int64Array = ((scores + 1.0) * (BINS / 2)).astype(np.int64)
    return np.clip(np.repeat(place, 2), 0, BINS - 1)


def _share(part: int, whole: int) -> str:
    share = 100.0 * part / whole if whole else math.nan
    return f"{share:.1f} % ({part:,} of {whole:,})"


def _has_mates(crowd: Crowd) -> bool:
    return crowd.name in (UNSEEN, "Bollywood actors")


def _sets(groups: list[Crowd]) -> list[Crowd]:
    """Return the groups that make up all sets, none of them twice."""
    return [crowd for crowd in groups if crowd.family != "aaf" or crowd.name == "aaf, all ages"]


def mixed(groups: list[Crowd]) -> list[Crowd]:
    """Return galleries of several groups, whose people are all different ones."""
    named = {crowd.name: crowd for crowd in groups}
    lfw, aaf = named[UNSEEN], named["aaf, all ages"]
    young = [named[name] for name in ("aaf, 0 to 6", "aaf, 7 to 12", "utk, 0 to 3", "utk, 4 to 12")]
    return [
        _joined("LFW and children", "mixed", [lfw, *young]),
        _joined("LFW and Asians of all ages", "aaf", [lfw, aaf]),
        _joined("all sets", "mixed", _sets(groups)),
    ]


def _joined(name: str, family: str, parts: list[Crowd]) -> Crowd:
    starts = np.cumsum([0, *(int(part.person.max()) + 1 for part in parts)])
    person: Int64Array = np.concatenate(
        [part.person + start for part, start in zip(parts, starts, strict=False)]
    )
    return Crowd(name, family, np.concatenate([part.embeddings for part in parts]), person)


if __name__ == "__main__":
    main()
