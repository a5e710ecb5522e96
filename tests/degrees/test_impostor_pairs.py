"""From scores to a verdict, without an index: cosines, and scores that a gallery normalised."""

from statistics import NormalDist

import numpy as np
import pytest

from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.degrees.calibration_check import CalibrationCheck, check_pairs
from facesim_index.degrees.impostors import AcrossPairs, SameImagePairs, impostor_pairs
from facesim_index.records import Float64Array, Int64Array
from tests.builders import unit_vectors

NO_PHOTOS = SameImagePairs(np.empty(0), np.empty(0, dtype=np.int64), 0, ())
SPREAD = 512**-0.5
SCALE = 14.0
"""A normalised score is this many spreads long, so that it lies in [-1, 1]."""


def crowd(n_adults: int, n_children: int, n_each: int = 2) -> tuple[Float64Array, Int64Array]:
    """Return the cosines of people with so many faces each, and who they are.

    Two children have a cosine of about 0.2, other strangers one of about 0.
    """
    n_people = n_adults + n_children
    drawn = unit_vectors(n_people * (n_each + 1) + 1, seed=6).astype(np.float64)
    own, noise, child = drawn[:n_people], drawn[n_people:-1], drawn[-1]
    own[n_adults:] = np.sqrt(0.7) * own[n_adults:] + np.sqrt(0.3) * child
    who = np.repeat(np.arange(n_people), n_each)
    faces = np.sqrt(0.7) * own[who] + np.sqrt(0.3) * noise
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    return np.asarray(np.clip(faces @ faces.T, -1.0, 1.0)), who


def normalised(cosine: Float64Array) -> Float64Array:
    """Return scores in units of the spread of each face's cosines with faces of its own kind."""
    stranger = np.where(cosine > 0.45, np.nan, cosine)
    middle, spread = np.nanmean(stranger, axis=1), np.nanstd(stranger, axis=1)
    one, other = (cosine - middle[:, None]) / spread[:, None], (cosine - middle) / spread
    return np.asarray(np.clip((one + other) / 2.0 / SCALE, -1.0, 1.0))


def curve(spread: float) -> Calibration:
    """Return a calibration of strangers whose scores are normal around 0."""
    far = [-NormalDist().inv_cdf(10.0**-power) for power in np.arange(0.5, 6.1, 0.25)]
    rates = tuple((float(at * spread), float(-0.5 - 0.25 * n)) for n, at in enumerate(far))
    knots = ((0.0, -2.0), (min(0.9, 8.0 * spread), 6.0))
    return Calibration(
        "normal", "engine", "by hand", knots, Evidence("x", 2, 3, 4, "2026-11-24"), (), rates
    )


def pairs_of(scores: Float64Array, known: Int64Array | None = None) -> AcrossPairs:
    n = len(scores)
    return impostor_pairs(
        scores,
        image=np.arange(n),
        known=np.full(n, -1) if known is None else known,
        names=np.full((n, 1), "faces"),
    )


def checked(scores: Float64Array, spread: float) -> CalibrationCheck:
    return check_pairs(curve(spread), NO_PHOTOS, pairs_of(scores))


@pytest.mark.parametrize("n_children", [0, 200])
def test_both_kinds_of_score_are_judged_by_what_is_true(n_children: int) -> None:
    cosine, who = crowd(200 - n_children, n_children)
    strangers = np.triu(who[:, None] != who, 1)
    plain, relative = checked(cosine, SPREAD), checked(normalised(cosine), 1.0 / SCALE)
    assert plain.verdict == ("claims_too_much" if n_children else "fits")
    assert relative.verdict == "fits"
    for found in (plain, relative):
        # Everybody's two faces were recognised, and nobody was taken for somebody else.
        assert (found.n_across, found.n_left_out) == (strangers.sum(), 200)
    true = float((cosine[strangers] >= plain.across[1].score).mean())
    assert plain.across[1].observed == pytest.approx(true)


def test_children_among_adults_do_not_become_one_person() -> None:
    cosine, who = crowd(150, 60)
    found = pairs_of(cosine)
    strangers = np.triu(who[:, None] != who, 1)
    of_children = 60 * 59 // 2 * 4
    assert strangers.sum() - found.score.size < 0.05 * of_children  # a few look like brothers
    assert checked(cosine, SPREAD).verdict == "claims_too_much"


def test_a_rate_that_is_too_high_by_more_than_a_factor_of_three_is_told_of() -> None:
    cosine, _ = crowd(300, 0)
    # Where 0.01 of the strangers are said to be, there are 0.032.
    low = SPREAD * NormalDist().inv_cdf(1 - 0.032) / NormalDist().inv_cdf(1 - 0.01)
    assert checked(cosine, SPREAD).verdict == "fits"
    assert checked(cosine, 0.95 * low).verdict == "claims_too_much"


def test_two_who_are_known_to_be_two_are_strangers_however_alike() -> None:
    cosine, who = crowd(60, 0)
    known = np.full(len(who), -1)
    known[[0, 1]] = 1, 2
    before, after = pairs_of(cosine), pairs_of(cosine, known)
    assert after.score.size == before.score.size + 1
    assert after.score.max() == pytest.approx(cosine[0, 1])
