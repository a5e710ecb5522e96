"""Made-up calibrations, and strategies that make more."""

from dataclasses import replace

from hypothesis import strategies as st

from facesim_index.calibration.record import Calibration, Evidence, HeldOutCheck

CHECK = HeldOutCheck("others", 12, 30, 900, 0.03, 0.02, 0.004, 0.01, ((0.001, 0.98),))
EVIDENCE = Evidence("a test", 50, 200, 9000, "2024-02-29", (CHECK,))


def curve_of(*knots: tuple[float, float]) -> Calibration:
    return Calibration("test", "engine", "by hand", knots, EVIDENCE)


CURVE = curve_of((0.0, -2.0), (0.2, -1.0), (0.4, 3.0), (0.6, 3.0))
FULL = Calibration(
    "test",
    "engine",
    "by hand",
    ((0.0, -2.0), (0.2, -1.0), (0.4, 3.0)),
    EVIDENCE,
    band=((-2.5, -2.0), (-1.25, -0.5), (2.0, 4.5)),
    false_matches=((-0.2, 0.0), (0.0, -1.0), (0.4, -5.0)),
)


@st.composite
def curves(draw: st.DrawFn) -> Calibration:
    # Between subnormal numbers a slope overflows.
    cosine = st.floats(-1.0, 1.0, allow_subnormal=False)
    cosines = draw(st.lists(cosine, min_size=2, max_size=8, unique=True))
    values = draw(st.lists(st.floats(-300.0, 300.0), min_size=len(cosines), max_size=len(cosines)))
    return curve_of(*zip(sorted(cosines), sorted(values), strict=True))


@st.composite
def full_curves(draw: st.DrawFn) -> Calibration:
    calibration = draw(curves())
    below, above = draw(st.floats(0.0, 9.0)), draw(st.floats(0.0, 9.0))
    # Rates are at knots of four decimals; between two subnormal numbers there is no slope.
    knots = st.integers(-10_000, 10_000).map(lambda number: number / 10_000)
    cosines = draw(st.lists(knots, min_size=1, max_size=8, unique=True))
    rates = draw(st.lists(st.floats(-9.0, 0.0), min_size=len(cosines), max_size=len(cosines)))
    return replace(
        calibration,
        band=tuple((value - below, value + above) for _, value in calibration.knots),
        false_matches=tuple(zip(sorted(cosines), sorted(rates, reverse=True), strict=True)),
    )


priors = st.floats(1e-9, 1.0 - 1e-9)
