"""Measure how often the 95 % interval of a fitted curve holds a likelihood ratio that is known.

    python tools/interval_coverage.py --method isotonic --data-sets 200

Scores of people are made up, with genuine pairs N(GENUINE, 0.1) and impostor pairs N(0, 0.1),
of which 36 % and 16 % of the variance are the people's own.  The lower the mean of the genuine
pairs, the more the classes overlap, and the more pairs there are to learn the ratio from.
"""

import argparse
import math
from collections.abc import Sequence

import numpy as np

from facesim_index.calibration.fitting import resampling
from facesim_index.calibration.fitting.fit import METHODS, Method, fit_scores
from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.records import Float64Array

SPREAD = 0.1
PICTURES = 3
LOG10_LRS = np.array([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--method", choices=list(METHODS), default="isotonic")
    parser.add_argument("--data-sets", type=int, default=100)
    parser.add_argument("--people", type=int, default=150, help="with three pictures each")
    parser.add_argument("--singles", type=int, default=150, help="people with one picture")
    parser.add_argument("--genuine", type=float, default=0.4, help="mean genuine cosine")
    parser.add_argument("--unmoved", action="store_true", help="draw people anew, move no cosine")
    options = parser.parse_args(arguments)
    method: Method = options.method
    if options.unmoved:
        resampling.bandwidth = lambda cosine, n_independent: 0.0

    cosine = SPREAD**2 * LOG10_LRS * math.log(10.0) / options.genuine + options.genuine / 2.0
    held, error = [], []
    for seed in range(options.data_sets):
        scores = simulated(seed, options.people, options.singles, options.genuine)
        fit = fit_scores(scores, method, seed=seed)
        knot_cosine, value = np.array(fit.knots).T
        low, high = (np.interp(cosine, knot_cosine, ends) for ends in np.array(fit.band).T)
        held.append((low <= LOG10_LRS) & (high >= LOG10_LRS))
        error.append(np.interp(cosine, knot_cosine, value) - LOG10_LRS)
    print(f"{method}, {options}")
    for number, log10_lr in enumerate(LOG10_LRS):
        errors = np.array(error)[:, number]
        print(
            f"log10 LR {log10_lr:4} held in {np.mean(held, axis=0)[number]:.3f}; "
            f"error {errors.mean():+.3f} ± {errors.std():.3f}"
        )
    print(f"all: {np.mean(held):.3f}")


def simulated(seed: int, n_paired: int, n_single: int, genuine_mean: float) -> LabelledScores:
    """Return the scores of every pair of made-up people."""
    rng = np.random.default_rng(seed)
    pictures = np.repeat([PICTURES, 1], [n_paired, n_single])
    person = np.repeat(np.arange(pictures.size), pictures)
    row, column = np.triu_indices(person.size, 1)
    first, second = person[row], person[column]
    same = first == second
    people = np.stack((first[~same], second[~same]), axis=1)
    return LabelledScores(
        _cosines(
            genuine_mean + rng.normal(0.0, 0.6, pictures.size)[first[same]] * SPREAD, 0.8, rng
        ),
        first[same],
        _cosines(
            rng.normal(0.0, math.sqrt(0.08), pictures.size)[people].sum(axis=1) * SPREAD,
            math.sqrt(0.84),
            rng,
        ),
        people,
    )


def _cosines(mean: Float64Array, noise: float, rng: np.random.Generator) -> Float64Array:
    return np.clip(mean + rng.normal(0.0, noise * SPREAD, mean.size), -1.0, 1.0)


if __name__ == "__main__":
    main()
