"""What a curve says of a cosine."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.calibration.curve import (
    bound_reached,
    false_match_rate,
    log10_lr,
    log10_lr_interval,
)
from facesim_index.calibration.degree import calibrated_degree
from facesim_index.calibration.record import Calibration
from facesim_index.errors import CalibrationError
from facesim_index.records import Float32Array, Float64Array
from tests.calibration.made_up_curves import CURVE, FULL, full_curves

# The curve


def test_linear_between_knots_and_constant_outside() -> None:
    cosine = np.array([-1.0, 0.0, 0.1, 0.3, 0.4, 0.5, 1.0])
    expected = [-2.0, -2.0, -1.5, 1.0, 3.0, 3.0, 3.0]
    np.testing.assert_allclose(log10_lr(cosine, CURVE), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3, 4)])
@pytest.mark.parametrize("single", [True, False])
def test_shape_is_kept_and_float64_returned(shape: tuple[int, ...], single: bool) -> None:
    cosine: Float32Array | Float64Array = np.full(shape, 0.25)
    if single:
        cosine = cosine.astype(np.float32)
    degree = calibrated_degree(cosine, CURVE)
    assert isinstance(degree, np.ndarray)
    assert degree.shape == shape
    assert degree.dtype == np.float64
    np.testing.assert_allclose(degree, 0.5, atol=1e-6)
    assert (cosine == 0.25).all()


def test_a_column_of_a_matrix_is_as_good_as_an_array() -> None:
    matrix = np.random.default_rng(5).uniform(-1.0, 1.0, (20, 3)).astype(np.float32)
    column = log10_lr(matrix[:, 1], CURVE)
    np.testing.assert_array_equal(column, log10_lr(matrix, CURVE)[:, 1])


@pytest.mark.parametrize("wrong", [1.002, -1.002, math.nan, math.inf, -math.inf])
def test_what_is_no_cosine_is_refused(wrong: float) -> None:
    with pytest.raises(CalibrationError, match="unit norm"):
        log10_lr(np.array([0.1, wrong, 0.2]), CURVE)


def test_rounding_beyond_one_is_forgiven() -> None:
    assert log10_lr(np.array([1.0005, -1.0005]), CURVE).tolist() == [3.0, -2.0]


# The interval, the bound, and false matches


def test_the_interval_by_hand() -> None:
    low, high = log10_lr_interval(np.array([-1.0, 0.1, 0.2, 0.3, 1.0]), FULL)
    np.testing.assert_allclose(low, [-2.5, -1.875, -1.25, 0.375, 2.0], atol=1e-12)
    np.testing.assert_allclose(high, [-2.0, -1.25, -0.5, 2.0, 4.5], atol=1e-12)


@given(calibration=full_curves(), cosines=st.lists(st.floats(-1.0, 1.0), max_size=9))
def test_the_interval_holds_the_curve(calibration: Calibration, cosines: list[float]) -> None:
    cosine = np.array(cosines)
    low, high = log10_lr_interval(cosine, calibration)
    value = log10_lr(cosine, calibration)
    # Interpolation between far-apart values rounds in their last place.
    assert (low <= value + 1e-9).all()
    assert (value <= high + 1e-9).all()


def test_without_a_band_the_interval_is_not_known() -> None:
    for end in log10_lr_interval(np.zeros((2, 3), dtype=np.float32), CURVE):
        assert end.shape == (2, 3)
        assert end.dtype == np.float64
        assert np.isnan(end).all()


def test_the_bound_is_where_the_curve_ends() -> None:
    reached = bound_reached(np.array([[-1.0, 0.0, 0.01], [0.39, 0.4, 1.0]]), FULL)
    assert reached.tolist() == [[-1, -1, 0], [0, 1, 1]]
    assert reached.dtype == np.int8


def test_the_bound_is_reached_where_the_last_stretch_is_level() -> None:
    assert bound_reached(np.array([0.39, 0.41, 0.7]), CURVE).tolist() == [0, 1, 1]


def test_false_match_rate_by_hand() -> None:
    rate = false_match_rate(np.array([-1.0, -0.1, 0.0, 0.2, 0.4, 1.0]), FULL)
    np.testing.assert_allclose(rate, [1.0, 10**-0.5, 0.1, 1e-3, 1e-5, 1e-5], rtol=1e-12)
    assert np.isnan(false_match_rate(np.zeros(3), CURVE)).all()


@given(calibration=full_curves(), cosines=st.lists(st.floats(-1.0, 1.0), min_size=2))
def test_false_matches_are_rarer_at_higher_cosines(
    calibration: Calibration, cosines: list[float]
) -> None:
    rate = false_match_rate(np.sort(cosines), calibration)
    assert ((rate > 0.0) & (rate <= 1.0)).all()
    assert (rate[1:] <= rate[:-1] * (1.0 + 1e-9)).all()


@pytest.mark.parametrize("function", [log10_lr_interval, bound_reached, false_match_rate])
@pytest.mark.parametrize("calibration", [FULL, CURVE])
def test_what_is_no_cosine_is_refused_by_all(
    function: Callable[[Float64Array, Calibration], object], calibration: Calibration
) -> None:
    with pytest.raises(CalibrationError, match="unit norm"):
        function(np.array([0.1, math.nan]), calibration)
