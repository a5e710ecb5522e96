"""What embedding each face and its mirror image together (``--augment flip``) is worth, and costs.

    python -m benchmarks.flip DATA_FOLDER --cache FOLDER

DATA_FOLDER is LFW's development set, as for tools/fit_shipped_calibration.py.  Thresholds and
curves are of the people of pairsDevTrain, figures of the people of pairsDevTest.  The embeddings
are kept in FOLDER.  Intervals are the middle 95 % when people are drawn anew, the same ones for
both engines.  The cost is processor time of one thread, both engines taking turns.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.fitting.fit import fit_scores
from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.engine.loading import EngineSettings
from facesim_index.metrics.bootstrap import people_drawn_anew, percentile_intervals
from facesim_index.metrics.scoring import (
    cllr,
    equal_error_rate,
    expected_calibration_error,
    min_cllr,
)
from facesim_index.models.resolution import resolve
from facesim_index.pictures.decoding import decode
from facesim_index.pictures.files import read_bytes
from facesim_index.pictures.views import WholePicture
from facesim_index.records import Augment, Float32Array, Float64Array, Int64Array
from tools.fit_shipped_calibration import (
    METHOD,
    Labelled,
    PairList,
    all_pairs,
    listed_pairs,
    load_or_embed,
    read_pairs,
)

AUGMENTS: tuple[Augment, Augment] = ("none", "flip")
FALSE_MATCH_RATES = (1e-3, 1e-4)
N_DRAWS = 1000
N_TIMED = 150


@dataclass(frozen=True)
class Judged:
    """One engine: its cosines among the people of pairsDevTest, and what a curve says of them."""

    scores: LabelledScores
    genuine_lr: Float64Array
    impostor_lr: Float64Array
    thresholds: dict[float, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the embeddings")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    train, test = (
        read_pairs(options.data_folder / f"pairsDev{which}.txt") for which in ("Train", "Test")
    )
    judged = {}
    for augment in AUGMENTS:
        settings = EngineSettings(model=resolve(None), augment=augment)
        kept = argparse.Namespace(cache=options.cache / f"{augment}.npz", workers=options.workers)
        labelled = load_or_embed(options.data_folder / "images", settings, kept)
        print(f"\n{settings.identity}")
        tell_accuracy(labelled, train, test)
        judged[augment] = judge(labelled, train, test, settings)
        tell(judged[augment])
    tell_difference("flip less none", judged["none"], judged["flip"])
    tell_cost(sorted((options.data_folder / "images").glob("*/*.jpg")))


def tell_accuracy(labelled: Labelled, train: PairList, test: PairList) -> None:
    """Print the accuracy on the listed pairs, at the best threshold of the other list's."""
    threshold = best_threshold(
        *(listed_pairs(labelled, p) for p in (train.genuine, train.impostor))
    )
    genuine, impostor = (listed_pairs(labelled, p) for p in (test.genuine, test.impostor))
    wrong = int((genuine < threshold).sum() + (impostor >= threshold).sum())
    print(
        f"listed pairs: {wrong} of {genuine.size + impostor.size} wrong at cosine "
        f"{threshold:.4f}, EER {equal_error_rate(genuine, impostor):.4f}"
    )


def best_threshold(
    genuine: Float32Array | Float64Array, impostor: Float32Array | Float64Array
) -> float:
    """Return the cosine with the fewest errors, midway between the pairs around it."""
    cosine = np.concatenate((genuine, impostor)).astype(np.float64)
    is_genuine = np.repeat((True, False), (genuine.size, impostor.size))
    order = np.argsort(cosine)
    cosine, is_genuine = cosine[order], is_genuine[order]
    # Errors of the threshold just above each pair: genuine ones up to it, impostors beyond.
    errors = np.cumsum(is_genuine) + (~is_genuine).sum() - np.cumsum(~is_genuine)
    best = np.flatnonzero(errors[:-1] == errors[:-1].min())
    middle = best[best.size // 2]
    return float((cosine[middle] + cosine[middle + 1]) / 2)


def judge(labelled: Labelled, train: PairList, test: PairList, settings: EngineSettings) -> Judged:
    """Fit a curve on the people of one list and apply it to all pairs of the other's."""
    fitted_on = all_pairs(labelled.only(train.people))
    fitted = fit_scores(fitted_on, METHOD, n_bootstrap=0)
    size = fitted_on.genuine.size, fitted_on.impostor.size
    calibration = Calibration(
        name="train",
        engine_key=settings.identity.key,
        method=METHOD,
        knots=fitted.knots,
        evidence=Evidence("pairsDevTrain", len(train.people), *size, "2000-01-01"),
    )
    scores = all_pairs(labelled.only(test.people))
    thresholds = {
        fmr: float(np.quantile(scores.impostor, 1.0 - fmr, method="higher"))
        for fmr in FALSE_MATCH_RATES
    }
    return Judged(
        scores,
        log10_lr(scores.genuine, calibration),
        log10_lr(scores.impostor, calibration),
        thresholds,
    )


def tell(judged: Judged) -> None:
    """Print the figures of all pairs of the people of pairsDevTest."""
    scores = judged.scores
    degrees = (degree_from_log10_lr(lr) for lr in (judged.genuine_lr, judged.impostor_lr))
    rates = (
        f"TMR {(scores.genuine > threshold).mean():.4f} at FMR {fmr:g}"
        for fmr, threshold in judged.thresholds.items()
    )
    print(
        f"{scores.genuine.size} genuine, {scores.impostor.size} impostor pairs: "
        f"Cllr {cllr(judged.genuine_lr, judged.impostor_lr):.4f}, "
        f"best possible {min_cllr(scores.genuine, scores.impostor):.4f}, "
        f"ECE {expected_calibration_error(*degrees):.4f}, "
        f"EER {equal_error_rate(scores.genuine, scores.impostor):.4f}, {', '.join(rates)}"
    )


def tell_difference(name: str, without: Judged, having: Judged) -> None:
    """Print the figures of one engine less those of another, with intervals over people."""
    people = without.scores.people
    figures = [_by_person(judged, people.size) for judged in (without, having)]
    draws = []
    for times in people_drawn_anew(people.size, N_DRAWS, seed=0):
        before, after = (_weighted(figure, times.astype(np.float64)) for figure in figures)
        draws.append({name: after[name] - before[name] for name in after})
    once = np.ones(people.size)
    before, after = (_weighted(figure, once) for figure in figures)
    print(f"\n{name}")
    for figure, (low, high) in percentile_intervals(draws).items():
        print(f"{figure}: {after[figure] - before[figure]:+.4f} ({low:+.4f} to {high:+.4f})")


def _by_person(judged: Judged, n_people: int) -> dict[str, tuple[Float64Array, Float64Array]]:
    """Return sums and numbers of pairs: genuine by person, impostor by two people."""
    scores, people = judged.scores, judged.scores.people
    person = np.searchsorted(people, scores.genuine_person)
    two = np.searchsorted(people, scores.impostor_people)
    cell = two[:, 0] * n_people + two[:, 1]

    def genuine(value: Float64Array) -> tuple[Float64Array, Float64Array]:
        return _sums(person, value, n_people), _sums(person, np.ones(person.size), n_people)

    impostor_cost = np.logaddexp(0.0, judged.impostor_lr * np.log(10.0)) / np.log(2.0)
    square = (n_people, n_people)
    found = {
        "genuine": genuine(np.logaddexp(0.0, -judged.genuine_lr * np.log(10.0)) / np.log(2.0)),
        "impostor": (
            _sums(cell, impostor_cost, n_people**2).reshape(square),
            _sums(cell, np.ones(cell.size), n_people**2).reshape(square),
        ),
    }
    for fmr, threshold in judged.thresholds.items():
        found[f"TMR at FMR {fmr:g}"] = genuine((scores.genuine > threshold).astype(np.float64))
    return found


def _sums(cell: Int64Array, value: Float64Array, n_cells: int) -> Float64Array:
    return np.asarray(np.bincount(cell, value, n_cells), dtype=np.float64)


def _weighted(
    figure: dict[str, tuple[Float64Array, Float64Array]], times: Float64Array
) -> dict[str, float]:
    """Return the figures when each of the people counts so many times."""
    means = {
        name: (times @ of @ times) / (times @ n @ times)
        if name == "impostor"
        else (times @ of) / (times @ n)
        for name, (of, n) in figure.items()
    }
    cost = float(means.pop("genuine") + means.pop("impostor")) / 2.0
    return {"Cllr": cost, **{name: float(mean) for name, mean in means.items()}}


def tell_cost(paths: Sequence[Path]) -> None:
    """Print processor time a picture, decoded before, both engines taking turns."""
    chosen = paths[:: max(1, len(paths) // N_TIMED)]
    engines = {
        augment: EngineSettings(resolve(None), provider="cpu", augment=augment).load()
        for augment in AUGMENTS
    }
    spent = dict.fromkeys(AUGMENTS, 0.0)
    n_faces = 0
    for number, path in enumerate(chosen):
        rgb = decode(read_bytes(path)[0]).rgb
        for augment in AUGMENTS if number % 2 else reversed(AUGMENTS):
            start = time.process_time()
            (faces,) = engines[augment].embed_pictures([WholePicture(rgb)])
            spent[augment] += time.process_time() - start
        n_faces += len(faces)
    print(f"\n{len(chosen)} pictures with {n_faces} faces, one thread, processor time")
    for augment in AUGMENTS:
        print(
            f"{augment}: {1000 * spent[augment] / len(chosen):.1f} ms a picture, "
            f"{len(chosen) / spent[augment]:.1f} pictures/s"
        )
    more_ms = 1000 * (spent["flip"] - spent["none"])
    print(f"ratio {spent['flip'] / spent['none']:.2f}; {more_ms / n_faces:.1f} ms more a face")


if __name__ == "__main__":
    main()
