"""A calibration refuses what makes no curve."""

import math
from dataclasses import replace

import pytest

from facesim_index.calibration.record import Evidence
from facesim_index.errors import CalibrationError
from tests.calibration.made_up_curves import FULL, curve_of


@pytest.mark.parametrize(
    "knots",
    [
        (),
        ((0.0, 1.0),),
        ((0.0, 0.0), (0.0, 1.0)),
        ((0.5, 0.0), (0.1, 1.0)),
        ((0.0, 1.0), (0.5, 0.9)),
        ((0.0, 0.0), (0.5, math.inf)),
        ((math.nan, 0.0), (0.5, 1.0)),
        ((0.0, 0.0), (1.1, 1.0)),
    ],
)
def test_knots_that_make_no_curve_are_refused(knots: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(CalibrationError, match="knot"):
        curve_of(*knots)


@pytest.mark.parametrize(
    ("band", "message"),
    [
        (FULL.band[:2], "interval for each knot"),
        (((-2.5, -2.0), (-1.25, -0.5), (2.0, math.inf)), "finite interval"),
        (((-2.5, -2.1), (-1.25, -0.5), (2.0, 4.5)), "hold its curve"),
        (((-1.9, -1.8), (-1.25, -0.5), (2.0, 4.5)), "hold its curve"),
        (((-2.5, -2.0), (-2.6, -0.5), (2.0, 4.5)), "never decrease"),
    ],
)
def test_bands_that_do_not_fit_the_curve_are_refused(
    band: tuple[tuple[float, float], ...], message: str
) -> None:
    with pytest.raises(CalibrationError, match=message):
        replace(FULL, band=band)


@pytest.mark.parametrize(
    "rates",
    [
        ((0.0, 0.1), (0.1, -1.0)),
        ((0.0, -1.0), (0.1, -0.9)),
        ((0.1, -1.0), (0.0, -2.0)),
        ((0.0, 0.0), (1.1, -1.0)),
        ((0.0, 0.0), (0.1, -math.inf)),
    ],
)
def test_false_match_rates_that_are_none_are_refused(
    rates: tuple[tuple[float, float], ...],
) -> None:
    with pytest.raises(CalibrationError, match="false match rate"):
        replace(FULL, false_matches=rates)


def test_evidence_needs_pairs_and_a_date() -> None:
    with pytest.raises(CalibrationError, match="impostor"):
        Evidence("x", 1, 1, 0, "2024-01-01")
    with pytest.raises(CalibrationError, match="30th of February"):
        Evidence("x", 1, 1, 1, "30th of February")
