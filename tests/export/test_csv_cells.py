"""Numbers are written as `format` writes them, though a table is asked for their text."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.calibration.degree import calibrated_degree, cosine_at_degree
from facesim_index.calibration.heads import single_error
from facesim_index.calibration.record import Calibration
from facesim_index.export import csv_cells
from facesim_index.export.csv_cells import (
    MISSING,
    CellText,
    Int32Array,
    RateText,
    SingleStepLookup,
    StepLookup,
    WideText,
    rate_units,
    rounded_units,
)
from facesim_index.records import Float64Array, Int64Array
from tests.export.oracle import CURVE, curve_of, curves, degree_of, number
from tests.property_tests import examples

RATE_TEXT = RateText()


# Numbers


@given(
    values=st.lists(
        st.floats(-1.0, 1.0)
        | st.integers(-64, 64).map(lambda sixty_fourths: sixty_fourths / 64)
        | st.integers(-20, 19).map(lambda tie: (tie + 0.5) / 20),
        min_size=1,
    ),
    decimals=st.integers(1, 6),
)
def test_units_are_rounded_as_format_rounds(values: list[float], decimals: int) -> None:
    units = rounded_units(np.array(values), decimals)
    printed = [int(format(value, f".{decimals}f").replace(".", "")) for value in values]
    assert units.tolist() == printed


def test_units_next_to_every_kind_of_tie() -> None:
    ties = (np.arange(0, 10**5, 7) + 0.5) / 10**5
    values = np.concatenate([np.nextafter(ties, 0.0), ties, np.nextafter(ties, 1.0)])
    printed = [int(format(value, ".5f").replace(".", "")) for value in values.tolist()]
    assert rounded_units(values, 5).tolist() == printed


def test_tie_that_multiplication_would_decide_wrongly() -> None:
    # The first three are ties only once they are multiplied; the last two are ties.
    values = [0.000005, 0.000025, 0.000045, 0.015625, 0.046875]
    assert [format(value, ".5f") for value in values] == [
        f"0.{unit:05d}" for unit in rounded_units(np.array(values), 5).tolist()
    ]


@pytest.mark.parametrize("decimals", range(1, 7))
def test_row_text(decimals: int) -> None:
    one = 10**decimals
    units = np.array([0, -1, 1, one, -one, -(one // 2), one // 3, 0, -1], dtype=np.int32)
    rows = np.stack([units, np.abs(units), -np.abs(units), units[::-1]])
    expected = [",".join(number(unit / one, decimals) for unit in row) + "\n" for row in rows]
    text = CellText(decimals)
    assert [text.comma_row(row).tobytes().decode() for row in rows] == expected


@given(
    rates=st.lists(
        st.floats(1e-19, 1.0)
        | st.floats(-19.0, 0.0).map(lambda exponent: 10.0**exponent)
        | st.tuples(st.integers(1000, 10000), st.integers(4, 16))
        .map(lambda tie: float(f"{tie[0]}5e-{tie[1]}") / 10)
        .filter(lambda rate: 1e-19 < rate <= 1.0),
        min_size=1,
    )
)
def test_rates_are_written_as_format_writes_them(rates: list[float]) -> None:
    units = rate_units(np.array(rates))
    row = RATE_TEXT.comma_row(units).tobytes().decode()
    assert row == ",".join(format(rate, ".2e") for rate in rates) + "\n"
    order = np.argsort(rates, kind="stable")
    assert (np.diff(units[order]) >= 0).all()


def test_no_rate_is_too_small_for_its_text() -> None:
    assert RATE_TEXT.comma_row(rate_units(np.array([1e-30, 1e-20]))).tobytes() == (
        b"1.00e-20,1.00e-20\n"
    )


def test_numbers_beyond_one() -> None:
    text = WideText(2, 12)
    units = np.array([1200, -1200, 999, -1000, 0, -1, 7, 110], dtype=np.int32)
    row = b"12.00,-12.00,9.99,-10.00,0.00,-0.01,0.07,1.10\n"
    assert text.comma_row(units).tobytes() == row
    ends = text.line_ends(units).tobytes().translate(None, b"\0")
    assert ends == row.replace(b",", b"\n")


# The lookup


class CountingUnits:
    """Degrees in units, with the number of cosines asked for since the last reset."""

    def __init__(self, calibration: Calibration, prior: float, min_degree: float) -> None:
        self._curve, self._prior, self._min_degree = calibration, prior, min_degree
        self.asked = 0

    def __call__(self, cosines: Float64Array) -> Int32Array:
        self.asked += cosines.size
        clipped = np.clip(cosines, -1.0, 1.0)
        degrees = calibrated_degree(clipped, self._curve, prior=self._prior)
        units = rounded_units(degrees, 5)
        units[degrees < self._min_degree] = MISSING
        return units


@examples(8)
@given(calibration=curves(), prior=st.floats(1e-6, 1.0 - 1e-6), data=st.data())
def test_lookup_is_the_function_itself(
    calibration: Calibration, prior: float, data: st.DataObject
) -> None:
    knots = np.array(calibration.knots)[:, 0]
    plateau = degree_of(float(knots[-1]), calibration, prior)
    min_degree = data.draw(st.floats(0.0, 1.0) | st.just(plateau))
    function = CountingUnits(calibration, prior, min_degree)
    lookup = StepLookup(function)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    border = cosine_at_degree(min_degree, calibration, prior=prior)
    near = np.array([*knots, border if math.isfinite(border) else 0.0])
    cosines = np.concatenate(
        [
            random.uniform(-1.02, 1.02, 50_000),
            random.normal(0.0, 0.01, 20_000),
            *(near + step for step in (-1e-9, -1e-15, 0.0, 1e-15, 1e-9)),
        ]
    )
    np.testing.assert_array_equal(lookup(cosines), function(cosines))


@examples(8)
@given(calibration=curves(), prior=st.floats(1e-6, 1.0 - 1e-6), seed=st.integers(0, 2**32))
def test_single_lookup_is_the_function_of_the_exact_cosines(
    calibration: Calibration, prior: float, seed: int
) -> None:
    function, error = CountingUnits(calibration, prior, 0.0), 4e-5
    random = np.random.default_rng(seed)
    knots = np.array(calibration.knots)[:, 0]
    exact = np.concatenate([random.uniform(-1.0, 1.0, 50_000), *(knots + s for s in (-1e-7, 1e-7))])
    seen = (exact + random.uniform(-0.99 * error, 0.99 * error, len(exact))).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_cells, "_FEW_UNSURE", 1.0)
        values = SingleStepLookup(function, error)(seen, lambda cells: exact[cells])
    assert values is not None
    np.testing.assert_array_equal(values, function(exact))


def test_too_many_unsure_cells_are_left_to_double_precision() -> None:
    def everywhere(cosines: Float64Array) -> Int32Array:
        return np.rint(cosines * 1e6).astype(np.int32)

    def exact(_: Int64Array) -> Float64Array:
        raise AssertionError("not worth it")

    assert SingleStepLookup(everywhere, 4e-5)(np.zeros(9, dtype=np.float32), exact) is None


def test_single_lookup_seldom_asks_for_exact_cosines() -> None:
    flat = curve_of((-0.2, -6.0), (0.2, -6.0), (0.4, 3.0))
    strangers = np.random.default_rng(2).normal(0.0, 0.05, (1000, 100))
    asked = []

    def exact(cells: Int64Array) -> Float64Array:
        asked.extend(cells.tolist())
        return strangers.ravel()[cells]

    function = CountingUnits(flat, 1e-3, 0.0)
    values = SingleStepLookup(function, single_error(512))(strangers.astype(np.float32), exact)
    np.testing.assert_array_equal(values, function(strangers))
    assert len(asked) < strangers.size / 64


def test_lookup_seldom_asks() -> None:
    function = CountingUnits(CURVE, 0.5, 0.0)
    lookup = StepLookup(function)
    lookup(np.zeros(1))  # makes its table
    function.asked = 0
    strangers = np.random.default_rng(2).normal(0.0, 0.07, (1000, 100))
    assert lookup(strangers).shape == (1000, 100)
    assert function.asked < 0.1 * strangers.size
