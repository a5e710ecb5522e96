"""A diagram of how reliable a calibration is: what it claims of strangers, against what is seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from facesim_index.degrees.calibration_check import Level
from facesim_index.web.pages.wording import frequency_text

SIDE = 300.0
"""Of the diagram's square, in its own units."""


@dataclass(frozen=True, slots=True)
class Point:
    """A level of evidence in the diagram; y grows downwards.

    Attributes
    ----------
    x, y : float
        Where it is: by the claimed rate, and by the observed one.
    low, high : float
        The ends of its 95 % interval, on the axis of y.
    says : str
    """

    x: float
    y: float
    low: float
    high: float
    says: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """Points on two logarithmic axes with the same ticks.

    Attributes
    ----------
    ticks : tuple of (float, str)
        Places from the left (and from the bottom), and their labels.
    points : tuple of Point
    """

    ticks: tuple[tuple[float, str], ...]
    points: tuple[Point, ...]


def diagram_of(levels: Sequence[Level]) -> Diagram | None:
    """Return a diagram of levels; None when there is nothing to draw.

    Parameters
    ----------
    levels : sequence of Level
        Of pairs of strangers, as `check_index` counts them.
    """
    if not levels:
        return None
    least = min(level.expected for level in levels)
    decades = max(1, math.ceil(-math.log10(least)) + 1)

    def place(rate: float) -> float:
        return SIDE * min(max(0.0, 1.0 + math.log10(max(rate, 1e-30)) / decades), 1.0)

    points = tuple(
        Point(
            place(level.expected),
            SIDE - place(level.observed),
            SIDE - place(level.low),
            SIDE - place(level.high),
            level.says,
        )
        for level in levels
    )
    ticks = tuple((place(10.0**-n), _label(n)) for n in range(decades + 1))
    return Diagram(ticks, points)


def _label(decade: int) -> str:
    return "all" if decade == 0 else frequency_text(10.0**-decade)
