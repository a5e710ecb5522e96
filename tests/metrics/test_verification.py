import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from facesim_index.errors import CalibrationError
from facesim_index.metrics.scoring import equal_error_rate, expected_calibration_error, min_cllr
from facesim_index.metrics.verification import (
    ScoredPairs,
    accuracy,
    area_under_roc,
    best_threshold,
    brier,
    divided,
    fold_accuracy,
    tar_at_far,
)

NAN = math.nan


def scored(
    genuine: list[float], impostor: list[float], fold: list[int] | None = None
) -> ScoredPairs:
    cosine = np.array([*genuine, *impostor])
    same = np.arange(cosine.size) < len(genuine)
    people = np.stack([np.arange(cosine.size), np.where(same, np.arange(cosine.size), 99)], axis=1)
    return ScoredPairs(cosine, same, people, None if fold is None else np.array(fold))


def test_a_pair_without_a_face_is_wrong_at_every_threshold() -> None:
    pairs = scored([0.9, NAN], [0.1, NAN])
    assert accuracy(pairs, -1.0) == 0.25
    assert accuracy(pairs, 0.5) == 0.5
    assert accuracy(pairs, 2.0) == 0.25
    assert tar_at_far(scored([0.9, NAN], [0.1] * 10))["0.1"] == 0.5


def test_the_best_threshold_lies_between_the_classes() -> None:
    pairs = scored([0.8, 0.6], [0.2, 0.4])
    assert 0.4 < best_threshold(pairs) < 0.6
    assert accuracy(pairs, best_threshold(pairs)) == 1.0


def test_folds_are_judged_by_the_threshold_of_the_others() -> None:
    # Fold 1 would like a threshold below 0.3; the others' lies at 0.5.
    pairs = scored([0.9, 0.9, 0.3], [0.1, 0.1, 0.2], [0, 2, 1, 0, 2, 1])
    found = fold_accuracy(pairs)
    assert_allclose(found.threshold[1], 0.5)
    assert_allclose(found.accuracy, [1.0, 0.5, 1.0])
    assert found.mean == pytest.approx(2.5 / 3)
    assert found.standard_error == pytest.approx(np.std([1, 0.5, 1], ddof=1) / math.sqrt(3))
    with pytest.raises(CalibrationError, match="not divided"):
        fold_accuracy(scored([0.9], [0.1]))


def test_a_list_is_divided_in_its_order() -> None:
    pairs = divided(scored([0.9] * 4, [0.1] * 6), 2)
    assert pairs.fold is not None
    assert pairs.fold.tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 1]


def test_area_and_equal_error_rate_by_hand() -> None:
    pairs = scored([0.9, 0.5, 0.3], [0.5, 0.2])
    # Of the six pairs of pairs: 0.9 beats both, 0.5 beats one and ties one, 0.3 beats one.
    assert area_under_roc(pairs) == pytest.approx((2 + 1.5 + 1) / 6)
    for genuine, impostor, rate in (
        ([0.9, 0.8, 0.3], [0.4, 0.2, 0.1], 1 / 3),
        ([0.9, 0.8], [0.2, 0.1], 0.0),
    ):
        pairs = scored(genuine, impostor)
        found = equal_error_rate(*pairs.by_class(pairs.scores))
        assert found == pytest.approx(rate, abs=1e-9)


def test_rates_end_where_the_number_of_pairs_does() -> None:
    impostor = [0.001 * n for n in range(100)]
    found = tar_at_far(scored([0.0985, 0.05, 0.9], impostor))
    assert list(found) == ["0.1", "0.01"]
    # Ten strangers may pass, 0.090 to 0.099; one, 0.099 alone.
    assert_allclose([found["0.1"], found["0.01"]], [2 / 3, 2 / 3])


def test_degrees_are_judged_with_both_classes_weighing_the_same() -> None:
    degree, same = np.array([0.8, 0.4, 0.4, 0.4]), np.array([True, False, False, False])
    assert brier(degree, same) == pytest.approx((0.2**2 + 0.4**2) / 2)
    honest = np.repeat([0.25, 0.75], 8)
    labels = np.array([True] * 2 + [False] * 6 + [True] * 6 + [False] * 2)
    for degree, error in ((honest, 0.0), (1 - honest, 0.5)):
        found = expected_calibration_error(degree[labels], degree[~labels], bins=2)
        assert found == pytest.approx(error, abs=1e-12)


def test_the_best_curve_costs_nothing_where_classes_are_apart() -> None:
    assert min_cllr(np.array([0.8, 0.9]), np.array([0.1, 0.2])) == pytest.approx(0.0, abs=1e-6)
    assert min_cllr(np.array([0.1, 0.2]), np.array([0.8, 0.9])) == pytest.approx(1.0, abs=1e-6)
    # A pair without a face is no evidence: it costs one bit, and has half the weight of its class.
    assert min_cllr(np.array([0.8, NAN]), np.array([0.1, 0.2])) == pytest.approx(0.25)
    assert min_cllr(np.array([0.8, NAN]), np.array([NAN])) == pytest.approx(0.75)


def test_both_kinds_of_pairs_are_needed() -> None:
    for genuine, impostor in (([0.5], []), ([], [0.5])):
        with pytest.raises(CalibrationError, match="needs both"):
            scored(genuine, impostor)
