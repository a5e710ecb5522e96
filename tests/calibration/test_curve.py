import importlib.resources
import json
import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Literal

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
from facesim_index.calibration.degree import (
    calibrated_degree,
    cosine_at_degree,
    degree_from_log10_lr,
    support_phrase,
)
from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.fitting.held_out import check_curve
from facesim_index.calibration.record import Calibration, Evidence, HeldOutCheck
from facesim_index.calibration.shipped import shipped_calibration
from facesim_index.errors import CalibrationError
from facesim_index.records import Float32Array, Float64Array

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


@pytest.mark.parametrize(
    ("likelihood_ratio", "phrase"),
    [
        (1.0, "no support either way"),
        (1.99, "no support either way"),
        (2.0, "weak support"),
        (9.99, "weak support"),
        (10, "moderate support"),
        (99.9, "moderate support"),
        (100, "moderately strong support"),
        (1_000, "strong support"),
        (9_999, "strong support"),
        (10_000, "very strong support"),
        (999_999, "very strong support"),
        (1_000_000, "extremely strong support"),
        (math.inf, "extremely strong support"),
    ],
)
def test_support_in_words(likelihood_ratio: float, phrase: str) -> None:
    evidence = math.log10(likelihood_ratio)
    assert support_phrase(evidence) == phrase
    against = phrase if phrase.startswith("no ") else f"{phrase} against"
    assert support_phrase(-evidence) == against


def test_words_for_what_is_no_number_are_refused() -> None:
    with pytest.raises(CalibrationError, match="not a number"):
        support_phrase(math.nan)


# Bayes' rule


@pytest.mark.parametrize(
    ("likelihood_ratio", "prior", "expected"),
    [(9, 0.5, 0.9), (99, 0.01, 0.5), (2, 0.2, 1 / 3), (1, 0.03, 0.03), (0.25, 0.8, 0.5)],
)
def test_bayes_by_hand(likelihood_ratio: float, prior: float, expected: float) -> None:
    degree = degree_from_log10_lr(np.log10([likelihood_ratio]), prior=prior)
    assert degree[0] == pytest.approx(expected, rel=1e-12)


@given(evidence=st.floats(-12.0, 12.0), prior=priors)
def test_bayes_in_decimal_arithmetic(evidence: float, prior: float) -> None:
    genuine = Decimal(prior) * Decimal(10) ** Decimal(evidence)
    expected = float(genuine / (genuine + 1 - Decimal(prior)))
    degree = degree_from_log10_lr(np.array([evidence]), prior=prior)[0]
    assert degree == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.floats(-7.0, 7.0), min_size=1))
def test_at_even_prior_the_odds_are_the_likelihood_ratio(evidence: list[float]) -> None:
    degree = degree_from_log10_lr(np.array(evidence), prior=0.5)
    np.testing.assert_allclose(np.log10(degree / (1.0 - degree)), evidence, atol=1e-8)


@given(st.lists(st.floats(-300.0, 300.0), min_size=1), priors)
def test_evidence_against_is_evidence_for_the_opposite(evidence: list[float], prior: float) -> None:
    degree = degree_from_log10_lr(np.array(evidence), prior=prior)
    opposite = degree_from_log10_lr(-np.array(evidence), prior=1.0 - prior)
    np.testing.assert_allclose(degree, 1.0 - opposite, atol=1e-9)


def test_extreme_evidence_stays_inside_and_in_order() -> None:
    evidence = np.array([-np.inf, -1e6, -300.0, -20.0, 0.0, 10.0, 20.0, 300.0, 1e6, np.inf])
    for prior in (1e-300, 1e-6, 0.5, 1 - 1e-12):
        degree = degree_from_log10_lr(evidence, prior=prior)
        assert (degree > 0.0).all()
        assert (degree < 1.0).all()
        assert (np.diff(degree) >= 0.0).all()
    assert degree_from_log10_lr(np.array([-300.0]))[0] == pytest.approx(1e-300, rel=1e-9)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 1.1, math.nan, math.inf])
def test_what_is_no_prior_is_refused(prior: float) -> None:
    with pytest.raises(CalibrationError, match="prior"):
        degree_from_log10_lr(np.array([0.0]), prior=prior)


def test_evidence_that_is_no_number_is_refused() -> None:
    with pytest.raises(CalibrationError, match="not a number"):
        degree_from_log10_lr(np.array([0.0, math.nan, 1.0]))


@given(calibration=curves(), prior=priors, cosines=st.lists(st.floats(-1.0, 1.0), min_size=2))
def test_a_higher_cosine_never_has_a_lower_degree(
    calibration: Calibration, prior: float, cosines: list[float]
) -> None:
    degree = calibrated_degree(np.sort(cosines), calibration, prior=prior)
    assert ((degree > 0.0) & (degree < 1.0)).all()
    # Interpolation may be wrong in the last place where two stretches meet.
    assert (degree[1:] >= degree[:-1] * (1.0 - 1e-9)).all()


# The inverse


def test_cosine_at_degree_by_hand() -> None:
    assert cosine_at_degree(0.5, CURVE) == pytest.approx(0.25, abs=1e-11)
    # LR 10 and one pair in eleven before: even odds where log10 LR is 1, at 0.3.
    assert cosine_at_degree(0.5, CURVE, prior=1 / 11) == pytest.approx(0.3, abs=1e-11)
    assert cosine_at_degree(0.0099, CURVE) == -math.inf  # LR 1/100 is already 1/101
    assert cosine_at_degree(0.00991, CURVE) > 0.0
    assert cosine_at_degree(0.0, CURVE) == -math.inf
    assert cosine_at_degree(0.9995, CURVE) == math.inf
    assert cosine_at_degree(1.0, CURVE) == math.inf


@given(
    calibration=curves(),
    degree=st.floats(0.0, 1.0),
    prior=priors,
    cosines=st.lists(st.floats(-1.0, 1.0), min_size=1),
)
def test_cosine_at_degree_selects_what_the_degree_selects(
    calibration: Calibration, degree: float, prior: float, cosines: list[float]
) -> None:
    lowest = cosine_at_degree(degree, calibration, prior=prior)
    for cosine in (*cosines, *(cosine for cosine, _ in calibration.knots)):
        found = calibrated_degree(np.array([cosine]), calibration, prior=prior)[0]
        if cosine >= lowest:
            assert found >= degree * (1.0 - 1e-9)
        elif cosine < lowest - 1e-12:
            assert found <= degree * (1.0 + 1e-9)
    if math.isfinite(lowest):
        assert calibrated_degree(np.array([lowest]), calibration, prior=prior)[0] >= degree


@pytest.mark.parametrize("degree", [-0.1, 1.1, math.nan])
def test_what_is_no_degree_is_refused(degree: float) -> None:
    with pytest.raises(CalibrationError, match="degree"):
        cosine_at_degree(degree, CURVE)


# The record


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


def test_check_curve_by_hand() -> None:
    calibration = curve_of((0.0, -1.0), (1.0, 1.0))
    genuine, impostor = np.array([1.0, 0.5, 0.5]), np.full(20_000, 0.0)
    found = check_curve(calibration, genuine, impostor, data="by hand", n_people=7)
    genuine_bits = (math.log2(1 + 1 / 10) + 2 * math.log2(1 + 1)) / 3
    assert found.cllr == pytest.approx((genuine_bits + math.log2(1.1)) / 2, abs=1e-5)
    assert found.min_cllr == 0.0
    # Degrees 10/11, twice 1/2, and 1/11, of which 1, 1 and 0 are genuine.
    assert found.ece == pytest.approx((1 / 11 + 2 * 0.5) / 6 + 1 / 22, abs=1e-5)
    assert found.eer == 0.0
    assert found.true_match_rates == ((0.001, 1.0),)  # 1e-4 would be only two pairs
    assert (found.data, found.n_people, found.n_genuine, found.n_impostor) == (
        "by hand", 7, 3, 20_000,
    )  # fmt: skip


# JSON


@given(calibration=curves() | full_curves())
def test_json_round_trip_is_exact(calibration: Calibration) -> None:
    assert from_json(to_json(calibration)) == calibration


def test_json_is_readable() -> None:
    text = to_json(CURVE)
    assert "    [0.2, -1.0],\n" in text
    assert '"fitted_on": "2024-02-29"' in text


def test_json_keeps_texts_that_look_like_numbers() -> None:
    tricky = Calibration("[\n 1,\n 2\n]", "é[\n1,\n2\n]", '"', CURVE.knots, EVIDENCE)
    assert from_json(to_json(tricky)) == tricky


def without(text: str, *path: str) -> str:
    content = json.loads(text)
    place = content
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return json.dumps(content)


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


GOOD = to_json(CURVE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a calibration"),
        ('{"format": "something else"}', "not a calibration"),
        (replaced(GOOD, '"version": 3', '"version": 4'), "newer"),
        (replaced(GOOD, '"version": 3', '"version": 1'), "no format version 1"),
        (replaced(GOOD, '"version": 3', '"version": 0'), "no format version 0"),
        (replaced(GOOD, '"version": 3', '"version": true'), "whole number"),
        (without(GOOD, "version"), "whole number"),
        (without(GOOD, "method"), "exactly the keys"),
        (without(GOOD, "band"), "exactly the keys"),
        (replaced(GOOD, '"band": []', '"band": [[1, 2]]'), "band"),
        (replaced(GOOD, '"false_matches": []', '"false_matches": 3'), "pairs"),
        (without(GOOD, "evidence", "n_people"), "exactly the keys"),
        (replaced(GOOD, '"method":', '"surprise": 1, "method":'), "exactly the keys"),
        (replaced(GOOD, "[0.2, -1.0]", "[0.2, NaN]"), "not JSON"),
        (replaced(GOOD, "[0.2, -1.0]", "[0.2, 1e999]"), "finite"),
        (replaced(GOOD, "[0.2, -1.0]", f"[0.2, -1{'0' * 400}]"), "finite"),
        (replaced(GOOD, '"cllr": 0.03', '"cllr": 1e999'), "finite"),
        (replaced(GOOD, "[0.2, -1.0]", '[0.2, "-1.0"]'), "number"),
        (replaced(GOOD, "[0.2, -1.0]", "[0.2, -1.0, 3]"), "pairs"),
        (replaced(GOOD, "[0.2, -1.0]", "[0.2, 4.0]"), "never decrease"),
        (replaced(GOOD, '"name": "test"', '"name": 3'), "text"),
        (replaced(GOOD, '"name": "test"', '"name": ""'), "name"),
        (replaced(GOOD, '"n_people": 50', '"n_people": 50.5'), "whole number"),
    ],
)  # fmt: skip
def test_json_that_is_not_as_written_is_refused(text: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        from_json(text)


# What comes with the package


def shipped_texts() -> list[str]:
    folder = importlib.resources.files("facesim_index.calibration.data")
    return [
        entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    ]


def test_the_package_has_a_calibration() -> None:
    assert shipped_texts()
    keys = [from_json(text).engine_key for text in shipped_texts()]
    assert len(set(keys)) == len(keys)
    for key in keys:
        found = shipped_calibration(key)
        assert found is not None
        assert found.engine_key == key


def test_another_engine_has_no_shipped_calibration() -> None:
    assert shipped_calibration("detector=0;recogniser=0;preprocessing=1;dimension=512") is None


@pytest.mark.parametrize("text", shipped_texts())
def test_shipped_evidence_is_sane(text: str) -> None:
    calibration = from_json(text)
    assert text == to_json(calibration)
    evidence = calibration.evidence
    assert -math.log10(evidence.n_genuine + 1) < calibration.knots[0][1] < -2.0
    assert 5.0 < calibration.knots[-1][1] < math.log10(evidence.n_impostor + 1)
    every, listed = evidence.checks
    assert every.n_people == listed.n_people < evidence.n_people
    assert (listed.n_genuine, listed.n_impostor) == (500, 500)
    for check in evidence.checks:
        assert 0.0 < check.min_cllr <= check.cllr < 0.05
        assert check.ece < 0.01
        assert check.eer < 0.02
    assert dict(every.true_match_rates)[1e-4] > 0.98


@pytest.mark.parametrize("text", shipped_texts())
def test_shipped_degrees_of_everyday_cosines(text: str) -> None:
    """The lowest genuine cosine seen in everyday photographs, and one of strangers."""
    genuine, strangers = calibrated_degree(np.array([0.57, 0.14]), from_json(text))
    assert genuine > 0.9
    assert strangers < 0.1


@pytest.mark.parametrize("text", shipped_texts())
def test_the_shipped_curve_is_smooth(text: str) -> None:
    """No level stretch that only chance could explain, and no jump."""
    cosine, value = np.array(from_json(text).knots).T
    slope = np.diff(value) / np.diff(cosine)
    assert (slope > 2.0).all()
    assert slope.max() < 40.0


@pytest.mark.parametrize("text", shipped_texts())
def test_the_shipped_interval_is_of_use(text: str) -> None:
    calibration = from_json(text)
    low, high = log10_lr_interval(np.array([0.1, 0.25, 0.35]), calibration)
    assert ((high - low > 0.1) & (high - low < 1.5)).all()
    assert high[0] < 0.0 < low[2]


@pytest.mark.parametrize("text", shipped_texts())
def test_shipped_false_match_rates_are_those_counted(text: str) -> None:
    """Counted once among all pairs of strangers, at cosines that are not all knots."""
    calibration = from_json(text)
    rate = false_match_rate(np.array([0.2, 0.25, 0.3, 0.35]), calibration)
    counted = {
        "lfw-dev": [4.4e-3, 6.5e-4, 7.4e-5, 8.6e-6],
        "lfw-dev-flip": [4.5e-3, 6.8e-4, 8.1e-5, 9.3e-6],
        "lfw-dev-bf16": [4.46e-3, 6.6e-4, 7.6e-5, 8.8e-6],
        "lfw-dev-flip-bf16": [4.6e-3, 6.9e-4, 8.1e-5, 9.6e-6],
    }
    np.testing.assert_allclose(rate, counted[calibration.name], rtol=0.05)
    floor = false_match_rate(np.array([1.0]), calibration)[0]
    assert floor == pytest.approx(1.0 / (calibration.evidence.n_impostor + 1), rel=0.01)


# With the real engine on real pictures


def listed_pairs(path: Path, every: int) -> tuple[list[tuple[str, str]], list[bool]]:
    """Return every so-many pair of an LFW list, and whether it is genuine."""
    pairs, genuine = [], []
    for line in path.read_text(encoding="utf-8").splitlines()[1::every]:
        fields = line.split("\t")
        first, second = (fields[0], fields[1]), (fields[-2], fields[-1])
        if len(fields) == 3:
            second = (fields[0], fields[2])
        pairs.append(tuple(f"{name}/{name}_{int(n):04d}.jpg" for name, n in (first, second)))
        genuine.append(len(fields) == 3)
    return pairs, genuine  # type: ignore[return-value]


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_strangers_in_everyday_photographs_have_low_degrees(
    test_data: Path, augment: Literal["none", "flip"]
) -> None:
    from facesim_index.engine.loading import EngineSettings
    from facesim_index.engine.reading import read_picture
    from facesim_index.models.resolution import resolve

    engine = EngineSettings(model=resolve(None), threads=2, augment=augment).load()
    calibration = shipped_calibration(engine.identity.key)
    assert calibration is not None
    obama, other, biden = (
        read_picture(test_data / "photos" / name, engine).faces[0].embedding
        for name in ("test/obama1.jpg", "obama2.jpg", "biden.jpg")
    )
    cosine = np.array([obama @ other, obama @ biden])
    genuine, strangers = calibrated_degree(cosine, calibration)
    assert genuine > 0.99
    assert strangers < 0.1


def test_degrees_tell_people_apart(test_data: Path) -> None:
    from facesim_index.engine.loading import EngineSettings
    from facesim_index.engine.reading import read_picture
    from facesim_index.models.resolution import resolve

    lfw_dev = test_data / "lfw_dev"
    engine = EngineSettings(model=resolve(None), threads=2).load()
    calibration = shipped_calibration(engine.identity.key)
    assert calibration is not None, "the shipped calibration is for other weights or preprocessing"

    def central(name: str) -> np.ndarray:
        faces = read_picture(lfw_dev / "images" / name, engine).faces
        return min(
            faces, key=lambda f: abs(f.box.x + f.box.w / 2 - 125) + abs(f.box.y + f.box.h / 2 - 125)
        ).embedding

    pairs, genuine = listed_pairs(lfw_dev / "pairsDevTest.txt", every=10)
    of_name = {name: central(name) for name in {name for pair in pairs for name in pair}}
    cosine = np.array([of_name[first] @ of_name[second] for first, second in pairs])
    degree = calibrated_degree(cosine, calibration)
    said = degree >= 0.5
    assert len(pairs) == 100
    assert np.mean(said == np.array(genuine)) > 0.97
    assert np.median(degree[genuine]) > 0.999
    assert np.median(degree[np.logical_not(genuine)]) < 0.01
