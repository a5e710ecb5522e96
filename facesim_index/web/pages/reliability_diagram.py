"""A reliability diagram of a calibration: claimed against observed rates of impostor pairs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from facesim_index.degrees.calibration_check import Level
from facesim_index.web.pages.wording import frequency_text

SIDE = 300.0
"""Side of the diagram's square, in the units of its points."""


@dataclass(frozen=True, slots=True)
class Point:
    """A level of evidence in the diagram; y grows downwards.

    Attributes
    ----------
    x, y : float
        Its place by the claimed rate and by the observed rate, in [0, `SIDE`].
    low, high : float
        The ends of the observed rate's 95 % interval on the axis of y, in [0, `SIDE`].
    says : str
        `Level.says`.
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
        Places from the left (and from the bottom), in [0, `SIDE`], and their labels.
    points : tuple of Point
    """

    ticks: tuple[tuple[float, str], ...]
    points: tuple[Point, ...]


def diagram_of(levels: Sequence[Level]) -> Diagram | None:
    """Return a diagram of levels.

    Parameters
    ----------
    levels : sequence of Level
        Of impostor pairs, as `check_index` counts them.

    Returns
    -------
    Diagram or None
        None without levels.

    Examples
    --------
    >>> level = Level(0.1, 0.1, 0.3, 1000, 100, 0.1, 0.08, 0.12, "fits")
    >>> diagram = diagram_of([level])
    >>> diagram.points[0].x, diagram.points[0].y
    (150.0, 150.0)
    >>> [label for _, label in diagram.ticks]
    ['all', '1 in 10', '1 in 100']
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
