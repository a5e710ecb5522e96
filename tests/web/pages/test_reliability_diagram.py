import pytest

from facesim_index.degrees.calibration_check import Level, LevelVerdict
from facesim_index.web.pages.reliability_diagram import SIDE, diagram_of


def level(
    expected: float, observed: float, low: float, high: float, says: LevelVerdict = "fits"
) -> Level:
    return Level(expected, expected, 0.3, 1000, round(1000 * observed), observed, low, high, says)


def test_without_levels_there_is_nothing_to_draw() -> None:
    assert diagram_of(()) is None


def test_a_level_that_fits_is_on_the_diagonal() -> None:
    found = diagram_of([level(0.1, 0.1, 0.05, 0.2), level(0.01, 0.01, 0.005, 0.02)])
    assert found is not None
    for point in found.points:
        assert point.x == pytest.approx(SIDE - point.y)
        assert point.high < point.y < point.low  # y grows downwards
    assert [label for _, label in found.ticks] == ["all", "1 in 10", "1 in 100", "1 in 1,000"]
    assert [place for place, _ in found.ticks] == pytest.approx([300, 200, 100, 0])


def test_more_strangers_than_expected_are_above_the_diagonal() -> None:
    found = diagram_of([level(0.01, 0.1, 0.05, 0.2, "too many")])
    assert found is not None
    [point] = found.points
    assert SIDE - point.y > point.x
    assert point.says == "too many"


def test_what_was_never_seen_stays_inside() -> None:
    found = diagram_of([level(0.001, 0.0, 0.0, 0.004)])
    assert found is not None
    [point] = found.points
    assert point.y == point.low == SIDE
    assert 0.0 < point.high < SIDE
