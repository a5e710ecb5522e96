"""Fit what is expected of a face: its statistics among its like, from its embedding.

For each group of people the statistics of its faces are taken among that group alone.  A ridge
regression on the embeddings then predicts them; every group weighs the same, the people of LFW,
who are the reference, `REFERENCE_WEIGHT` times as much::

    python -m tools.fit_normalisation DATA_FOLDER OUT.json --cache FOLDER

The file holds the weights, and goes into the calibrations by `tools.fit_shipped_calibration`.
"""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from facesim_index.calibration.fitting.labelled_data import every_pair
from facesim_index.calibration.head_json import normalisation_document
from facesim_index.calibration.normalisation import (
    COHORT_SIZE,
    Normalisation,
    quantiles,
)
from facesim_index.records import Float32Array, Float64Array
from facesim_index.utils.files import atomic_output
from facesim_index.utils.text import json_text
from tools.crowds import LFW, UNSEEN, Crowd, crowds

RIDGE = 10.0
REFERENCE_WEIGHT = 3.0
CUT_RATE, CUT_STEP = 1e-5, 0.1
LEAST = 0.01  # spread of a face, whose logarithm is fitted
NOT_FITTED_ON = (UNSEEN, "aaf, all ages")
"""Judged on, or made of the others."""


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="keep the indexes here")
    options = parser.parse_args()
    found = crowds(options.data_folder, options.cache)
    normalisation = fit_normalisation(found.values())
    with atomic_output(options.out) as handle:
        document = normalisation_document(normalisation)
        handle.write((json_text(document, indent=2) + "\n").encode())


def own_statistics(embeddings: Float32Array, cut: float, seed: int = 0) -> Float64Array:
    """Return middle and top of faces among themselves, by nothing but their cosines.

    Parameters
    ----------
    embeddings : ndarray of shape (n, dimension), float32
    cut : float
        See `Normalisation`.
    seed : int, default=0
        Draws the cohort.

    Returns
    -------
    ndarray of shape (n, 2), float64
    """
    drawn = np.random.default_rng(seed).permutation(len(embeddings))[:COHORT_SIZE]
    middle, top, _ = quantiles(embeddings @ embeddings[drawn].T, cut)
    return np.stack([middle, np.maximum(top, middle + LEAST)], axis=1)


def cut_of(people: Crowd) -> float:
    """Return a cosine that two different people of a group reach once in 100,000 pairs or less.

    Parameters
    ----------
    people : Crowd

    Returns
    -------
    float
        Rounded up to a multiple of 0.1.
    """
    scores, _ = every_pair(people.embeddings, people.person)
    return math.ceil(float(np.quantile(scores.impostor, 1.0 - CUT_RATE)) / CUT_STEP) * CUT_STEP


def fit_normalisation(groups: Iterable[Crowd], *, left_out: str = "") -> Normalisation:
    """Fit the statistics that are expected of a face.

    Parameters
    ----------
    groups : iterable of Crowd
        The people of `LFW` among them, who are the reference.
    left_out : str, optional
        A family of groups that is judged and must not be seen.

    Returns
    -------
    Normalisation
    """
    used = [
        crowd
        for crowd in groups
        if crowd.name not in NOT_FITTED_ON and (crowd.family != left_out or crowd.name == LFW)
    ]
    cut = cut_of(next(crowd for crowd in used if crowd.name == LFW))
    told = {crowd.name: own_statistics(crowd.embeddings, cut) for crowd in used}
    middle = told[LFW][:, 0].mean()
    spread = float(np.exp(np.log(told[LFW][:, 1] - told[LFW][:, 0]).mean()))
    embeddings = np.concatenate([crowd.embeddings for crowd in used]).astype(np.float64)
    wanted = np.concatenate([told[crowd.name] for crowd in used])
    wanted = np.stack(
        [wanted[:, 0] - middle, np.log((wanted[:, 1] - wanted[:, 0]) / spread)], axis=1
    )
    weight = np.concatenate(
        [
            np.full(len(crowd.person), REFERENCE_WEIGHT ** (crowd.name == LFW) / len(crowd.person))
            for crowd in used
        ]
    )
    weight /= weight.mean()
    weighted = embeddings * weight[:, None]
    ridge = RIDGE * np.eye(embeddings.shape[1])
    weights = np.linalg.solve(weighted.T @ embeddings + ridge, weighted.T @ wanted)
    return Normalisation(float(middle), float(middle) + spread, cut, weights.astype(np.float32))


if __name__ == "__main__":
    main()
