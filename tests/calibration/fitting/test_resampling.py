"""The oracle for weights is to write a person's pictures down as often as they are drawn."""

import numpy as np
import pytest
from scipy.stats import norm

from facesim_index.calibration.fitting import resampling
from facesim_index.calibration.fitting.folds import FoldCounts
from facesim_index.calibration.fitting.monotone import BINS
from facesim_index.calibration.fitting.resampling import (
    LabelledScores,
    PeopleResampler,
    bandwidth,
    bins_of,
)
from facesim_index.errors import CalibrationError
from facesim_index.records import Int64Array


def scores_of(n_people: int, seed: int = 0, *, names: Int64Array | None = None) -> LabelledScores:
    """People with one to three pictures; every pair of them has some cosine."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(n_people), rng.integers(1, 4, n_people))
    row, column = np.triu_indices(person.size, 1)
    cosine = rng.uniform(-1.0, 1.0, row.size)
    names = np.arange(n_people) if names is None else names
    first, second = names[person[row]], names[person[column]]
    same = first == second
    people = np.stack((first[~same], second[~same]), axis=1)
    return LabelledScores(cosine[same], first[same], cosine[~same], people)


def test_drawn_people_count_as_often_as_they_are_drawn() -> None:
    names = np.array([7, -3, 10**12, 40, 5, 6], dtype=np.int64)
    scores = scores_of(6, names=names)
    times = dict(zip(sorted(names.tolist()), [0, 2, 1, 3, 0, 1], strict=True))
    genuine, impostor = np.zeros(BINS), np.zeros(BINS)
    for cosine, one in zip(scores.genuine, scores.genuine_person, strict=True):
        genuine[bins_of(cosine)] += times[int(one)]
    for cosine, (one, other) in zip(scores.impostor, scores.impostor_people, strict=True):
        impostor[bins_of(cosine)] += times[int(one)] * times[int(other)]
    resampler = PeopleResampler(scores, np.random.default_rng(0))
    found = resampler.counts(np.array([times[name] for name in sorted(times)], dtype=np.float64))
    np.testing.assert_array_equal(found, (genuine, impostor))


def test_everyone_once_is_the_data_itself_even_when_thinned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resampling, "MAX_PAIRS_PER_BIN", 5)
    scores = scores_of(120)
    resampler = PeopleResampler(scores, np.random.default_rng(0))
    _, impostor = resampler.counts(np.ones(120))
    counted = np.bincount(bins_of(scores.impostor), minlength=BINS)
    # A bin with more pairs than are looked at may by chance have none looked at.
    assert (impostor[counted <= 5] == counted[counted <= 5]).all()
    kept = impostor > 0
    np.testing.assert_allclose(impostor[kept], counted[kept])
    assert impostor.sum() > 0.98 * counted.sum()


def test_as_many_people_are_drawn_as_there_are() -> None:
    people = np.array([[a, b] for a in range(30) for b in range(a)], dtype=np.int64)
    scores = LabelledScores(np.full(30, 0.5), np.arange(30), np.zeros(len(people)), people)
    resampler = PeopleResampler(scores, np.random.default_rng(1))
    draws = [resampler.draw() for _ in range(300)]
    assert {genuine.sum() for genuine, _ in draws} == {30.0}
    mean_impostor = np.mean([impostor.sum() for _, impostor in draws])
    # Each ordered draw of two shows two people with probability 29/30.
    assert mean_impostor == pytest.approx(30 * 29 / 2 * 29 / 30, rel=0.01)


def test_cosines_are_moved_by_the_bandwidth_of_their_class() -> None:
    rng = np.random.default_rng(6)
    people = np.array([[a, b] for a in range(60) for b in range(a)], dtype=np.int64)
    genuine, impostor = rng.normal(0.5, 0.1, 60), rng.normal(0.0, 0.1, len(people))
    scores = LabelledScores(genuine, np.arange(60), impostor, people)
    resampler = PeopleResampler(scores, np.random.default_rng(7))
    centre = (np.arange(BINS) + 0.5) * (2.0 / BINS) - 1.0
    drawn = np.sum([resampler.draw() for _ in range(300)], axis=0)
    for counts, cosine, n_independent in zip(
        drawn, (genuine, impostor), (60, len(people)), strict=True
    ):
        mean = np.average(centre, weights=counts)
        variance = np.average((centre - mean) ** 2, weights=counts)
        assert mean == pytest.approx(cosine.mean(), abs=0.005)
        expected = cosine.var() + bandwidth(cosine, n_independent) ** 2
        assert variance == pytest.approx(expected, rel=0.05)


def test_the_pairs_of_one_person_are_moved_together() -> None:
    people = np.array([[0, 1], [1, 2], [2, 0]], dtype=np.int64)
    genuine, person = np.array([0.1, 0.1, 0.5, 0.5, 0.7, 0.7]), np.repeat(np.arange(3), 2)
    scores = LabelledScores(genuine, person, np.array([-0.1, 0.0, 0.1]), people)
    resampler = PeopleResampler(scores, np.random.default_rng(8))
    draws = [resampler.draw()[0] for _ in range(50)]
    assert all((draw % 2 == 0).all() and draw.sum() == 6 for draw in draws)
    assert len({tuple(np.flatnonzero(draw)) for draw in draws}) > 40


def test_the_bandwidth_by_hand() -> None:
    cosine = norm.ppf((np.arange(2_000) + 0.5) / 2_000, 0.3, 0.1)
    assert bandwidth(cosine, 32) == pytest.approx(0.1 * 0.5, rel=0.01)
    with_wrong_labels = np.concatenate((cosine, np.full(20, -0.9)))
    assert bandwidth(with_wrong_labels, 32) == pytest.approx(0.05, rel=0.03)
    assert bandwidth(np.full(5, 0.4), 5) == 0.0


def test_no_other_bandwidth_estimates_the_distribution_better() -> None:
    """The mean integrated squared error of the smoothed distribution function, in simulation."""
    rng = np.random.default_rng(9)
    at = np.linspace(-0.4, 0.4, 81)
    samples = rng.normal(0.0, 0.1, (400, 50))
    errors = [
        np.mean(
            (norm.cdf((at - samples[..., None]) / width).mean(axis=1) - norm.cdf(at / 0.1)) ** 2
        )
        for width in 0.1 * (4.0 / 50.0) ** (1.0 / 3.0) * np.array([0.2, 1.0, 2.5])
    ]
    assert errors[1] < min(errors[0], errors[2])


@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_folds_part_people_and_lose_no_pair_within(n_folds: int) -> None:
    scores = scores_of(23, seed=4)
    folds = FoldCounts.of(scores, n_folds, np.random.default_rng(2))
    assert folds.genuine.sum() == scores.genuine.size
    assert folds.impostor.sum() == scores.impostor.size
    within = np.array([folds.within(fold)[1].sum() for fold in range(n_folds)])
    for fold in range(n_folds):
        genuine, impostor = folds.without(fold)
        assert genuine.sum() + folds.within(fold)[0].sum() == scores.genuine.size
        # With two folds, nobody of one fold leaves just the other.
        if n_folds == 2:
            assert impostor.sum() == within[1 - fold]
        assert impostor.sum() < scores.impostor.size - within[fold]


def test_people_with_pairs_are_spread_over_the_folds() -> None:
    people = np.array([[a, b] for a in range(20) for b in range(a)], dtype=np.int64)
    scores = LabelledScores(np.full(4, 0.5), np.arange(4), np.zeros(len(people)), people)
    folds = FoldCounts.of(scores, 4, np.random.default_rng(3))
    assert folds.genuine.sum(axis=1).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("genuine", "genuine_person", "impostor", "people", "message"),
    [
        ([0.5], [1, 2], [0.1], [[1, 2]], "people of each pair"),
        ([0.5], [1], [0.1], [1], "people of each pair"),
        ([0.5], [1], [0.1, 0.2], [[1, 2]], "people of each pair"),
        ([1.5], [1], [0.1], [[1, 2]], "unit norm"),
        ([0.5], [1], [np.nan], [[1, 2]], "unit norm"),
        ([0.5], [1], [0.1], [[2, 2]], "same person"),
    ],
)
def test_scores_that_are_not_labelled_well_are_refused(
    genuine: list[float],
    genuine_person: list[int],
    impostor: list[float],
    people: list[list[int]],
    message: str,
) -> None:
    with pytest.raises(CalibrationError, match=message):
        LabelledScores(
            np.array(genuine), np.array(genuine_person), np.array(impostor), np.array(people)
        )
