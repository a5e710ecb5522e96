"""Expected numbers are worked out by hand from the definitions."""

import math

import numpy as np
import pytest

from facesim_index.errors import CalibrationError
from facesim_index.metrics import scoring


def test_cllr_of_no_information_is_one_bit() -> None:
    assert scoring.cllr(np.zeros(3), np.zeros(5)) == pytest.approx(1.0)


def test_cllr_by_hand() -> None:
    # LR 10 for one genuine pair and 1 for another, LR 1/10 for the impostor pair.
    expected = ((math.log2(1.1) + math.log2(2.0)) / 2 + math.log2(1.1)) / 2
    assert scoring.cllr(np.array([1.0, 0.0]), np.array([-1.0])) == pytest.approx(expected)


def test_cllr_is_finite_for_ratios_that_overflow() -> None:
    # A wrong ratio of 10^300 costs log2(10^300) bits.
    cost = scoring.cllr(np.array([-300.0]), np.array([-300.0]))
    assert cost == pytest.approx(300 * math.log2(10) / 2)


def test_pav_pools_what_decreases() -> None:
    # Class-weighted shares of genuine pairs: 0, 0.625, 0.4545, 1: the middle two violate.
    starts = scoring.pool_adjacent_violators(np.array([0, 2, 1, 3]), np.array([3, 1, 1, 0]))
    assert starts.tolist() == [0, 1, 3]


def test_min_cllr_by_hand() -> None:
    # The scores of the PAV example; only the block with half of the genuine and 2/5 of the
    # impostor pairs costs anything.
    genuine = np.array([0.2, 0.2, 0.3, 0.4, 0.4, 0.4])
    impostor = np.array([0.1, 0.1, 0.1, 0.2, 0.3])
    expected = (0.5 * math.log2(1 + 0.4 / 0.5) + 0.4 * math.log2(1 + 0.5 / 0.4)) / 2
    assert scoring.min_cllr(genuine, impostor) == pytest.approx(expected)


def test_min_cllr_is_zero_when_apart_and_one_when_equal() -> None:
    assert scoring.min_cllr(np.array([0.6, 0.7]), np.array([0.1])) == 0.0
    assert scoring.min_cllr(np.array([0.5]), np.array([0.5, 0.5])) == pytest.approx(1.0)


def test_no_curve_is_better_than_the_best_curve() -> None:
    rng = np.random.default_rng(20)
    genuine, impostor = rng.normal(1.0, 1.0, 200), rng.normal(-1.0, 1.0, 3000)
    assert scoring.min_cllr(genuine, impostor) <= scoring.cllr(genuine, impostor)


def test_expected_calibration_error_by_hand() -> None:
    genuine, impostor = np.array([0.95, 0.95, 0.65]), np.array([0.15, 0.65])
    # Each genuine pair weighs 1/6, each impostor pair 1/4: one bin is below 0.65, one is half of
    # the pairs there and one holds the other half, a tenth of each kind, and all above.
    lower = abs(1 / 4 * 0.15 + 1 / 4 * 0.65 - 1 / 4 * 2 / 5)
    upper = abs(1 / 6 * 0.65 + 2 / 6 * 0.95 - 1 / 6 * 2 / 5 - 2 / 6)
    found = scoring.expected_calibration_error(genuine, impostor, bins=2)
    assert found == pytest.approx(lower + upper)


def test_expected_calibration_error_of_honest_degrees_is_zero() -> None:
    genuine, impostor = np.repeat([0.2, 0.8], [2, 8]), np.repeat([0.2, 0.8], [8, 2])
    assert scoring.expected_calibration_error(genuine, impostor) == pytest.approx(0.0)
    assert scoring.expected_calibration_error(impostor, genuine, bins=2) == pytest.approx(0.6)
    # Where one pair in nine is genuine, the same degrees promise too much.
    assert scoring.expected_calibration_error(genuine, impostor, prior=1 / 9) > 0.1


def test_certain_degrees_that_are_right_have_no_calibration_error() -> None:
    assert scoring.expected_calibration_error(np.array([1.0]), np.array([0.0])) == 0.0


def test_the_calibration_error_does_not_depend_on_the_order_of_equal_degrees() -> None:
    rng = np.random.default_rng(21)
    genuine, impostor = (np.round(rng.beta(*shape, 300), 1) for shape in ((4, 2), (2, 4)))
    found = scoring.expected_calibration_error(genuine, impostor)
    again = scoring.expected_calibration_error(np.sort(genuine), np.sort(impostor)[::-1])
    assert found == pytest.approx(again, abs=1e-12)


def test_equal_error_rate_by_hand() -> None:
    # At 0.5 one genuine pair of three is below and one impostor pair of three is not.
    genuine, impostor = np.array([0.9, 0.8, 0.4]), np.array([0.5, 0.2, 0.1])
    assert scoring.equal_error_rate(genuine, impostor) == pytest.approx(1 / 3)
    assert scoring.equal_error_rate(np.array([0.9]), np.array([0.1])) == 0.0


def test_true_match_rate_by_hand() -> None:
    impostor = np.random.default_rng(0).permutation(np.arange(1000) / 1000)
    genuine = np.array([0.9895, 0.9885])  # 10 and 11 impostor pairs are above them
    assert scoring.true_match_rate(genuine, impostor, fmr=0.01) == 0.5


def test_true_match_rate_does_not_split_ties() -> None:
    # Letting the genuine pair at 0.5 through would let all ten impostor pairs through.
    rate = scoring.true_match_rate(np.array([0.5, 0.6]), np.full(10, 0.5), fmr=0.1)
    assert rate == 0.5


@pytest.mark.parametrize("genuine", [0, 1])
def test_a_class_without_pairs_is_refused(genuine: int) -> None:
    with pytest.raises(CalibrationError, match=f"{genuine} genuine and {1 - genuine} impostor"):
        scoring.min_cllr(np.zeros(genuine), np.zeros(1 - genuine))
    with pytest.raises(CalibrationError, match="at least one pair of each class"):
        scoring.expected_calibration_error(np.zeros(genuine), np.zeros(1 - genuine))
