"""The oracle for weights is to write a person's pictures down as often as they are drawn."""

import numpy as np
import pytest

from facesim_index import resampling
from facesim_index.errors import CalibrationError
from facesim_index.records import Int64Array
from facesim_index.resampling import FoldCounts, LabelledScores, PeopleResampler, bins_of
from facesim_index.smoothing import BINS


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
