"""Compare the bounds of our curves with ELUB, the bounds that forensic practice uses.

    python -m tools.elub_bounds DATA_FOLDER/lfw_dev --cache /tmp/lfw_dev.npz

ELUB (Vergeer et al., "Numerical likelihood ratios outputted by LR systems are often based on
extrapolation: when to stop extrapolating?", Science & Justice, 2016) bounds the claims of a
system: they are believed as far as a decision by them, at the threshold of a claim itself, does
better than one without evidence, one misleading pair of each class having been added.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facesim_index.calibration.fitting.fit import count_cosines
from facesim_index.calibration.fitting.monotone import Histogram, bounds_of, histogram_of
from facesim_index.calibration.fitting.parametric import weighted_regression
from facesim_index.engine.loading import EngineSettings
from facesim_index.metrics.scoring import pool_adjacent_violators
from facesim_index.models.resolution import resolve
from facesim_index.records import Float64Array
from tools.fit_shipped_calibration import all_pairs, listed_pairs, load_or_embed, read_pairs

STEP = 0.01  # in log10 LR, that of lir
LIMIT = 9.0  # the strongest claim that is looked at, that of lir


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("--cache", type=Path, help="keep the embeddings in this .npz file")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    settings = EngineSettings(model=resolve(None))
    labelled = load_or_embed(options.data_folder / "images", settings, options)
    lists = [
        read_pairs(options.data_folder / name) for name in ("pairsDevTrain.txt", "pairsDevTest.txt")
    ]
    genuine = np.concatenate([listed_pairs(labelled, pairs.genuine) for pairs in lists])
    impostor = np.concatenate([listed_pairs(labelled, pairs.impostor) for pairs in lists])
    tell("the listed pairs", histogram_of(count_cosines(genuine), count_cosines(impostor)))
    scores = all_pairs(labelled)
    tell(
        "every pair",
        histogram_of(count_cosines(scores.genuine), count_cosines(scores.impostor)),
    )


def tell(name: str, histogram: Histogram) -> None:
    """Print our bounds, and those of ELUB for an unbounded line and for the staircase of PAV."""
    bounds = bounds_of(histogram)
    print(f"{name}: {histogram.genuine.sum():.0f} genuine, {histogram.impostor.sum():.0f} impostor")
    print(f"  ours                  {bounds.lowest:.2f} to {bounds.highest:.2f}")
    for system, claims in (("logistic line", line(histogram)), ("PAV", staircase(histogram))):
        lowest, highest = elub_of_counts(claims, histogram)
        print(f"  ELUB, {system:15} {lowest:.2f} to {highest:.2f}")


def line(histogram: Histogram) -> Float64Array:
    """Return the log10 LR of logistic regression at each cosine, without bounds."""
    features = np.stack((histogram.cosine, np.ones_like(histogram.cosine)), axis=1)
    shares = histogram.genuine_share, histogram.impostor_share
    return np.asarray(features @ weighted_regression(features, *shares) / np.log(10.0))


def staircase(histogram: Histogram) -> Float64Array:
    """Return the log10 LR of PAV at each cosine; infinite where a class is missing."""
    starts = pool_adjacent_violators(histogram.genuine, histogram.impostor)
    genuine = np.add.reduceat(histogram.genuine_share, starts)
    impostor = np.add.reduceat(histogram.impostor_share, starts)
    with np.errstate(divide="ignore"):
        value = np.log10(genuine) - np.log10(impostor)
    return np.asarray(np.repeat(value, np.diff(np.append(starts, histogram.cosine.size))))


def elub_of_counts(log10_lr: Float64Array, histogram: Histogram) -> tuple[float, float]:
    """Return lir's `elub` of claims at each cosine: from counts, for millions of pairs."""
    claims = np.clip(log10_lr, -LIMIT, LIMIT)
    n_genuine, n_impostor = histogram.genuine.sum(), histogram.impostor.sum()
    least = max(float(claims.min()), -float(np.log10(n_genuine + 1)))
    most = min(float(claims.max()), float(np.log10(n_impostor + 1)))
    first = min(0, int(np.floor_divide(least, STEP)))
    last = max(0, int(np.floor_divide(most, STEP)) + 1)
    threshold = np.linspace(first * STEP, last * STEP, last - first + 1)
    accepted = claims[:, None] > threshold
    true = histogram.genuine @ accepted / (n_genuine + 1.0)
    false = (histogram.impostor @ accepted + 1.0) / (n_impostor + 1.0)
    with_evidence = 1.0 - true + 10.0**threshold * false
    worse = np.minimum(10.0**threshold, 1.0) < with_evidence
    below, above = threshold[worse & (threshold <= 0.0)], threshold[worse & (threshold >= 0.0)]
    lowest = np.max(below + STEP, initial=threshold[0])
    highest = np.min(above - STEP, initial=threshold[-1])
    return min(float(lowest), 0.0), max(float(highest), 0.0)


if __name__ == "__main__":
    main()
