import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.records import Box
from facesim_index.search.answers import Comparison
from facesim_index.web.pages import wording

DEGREES = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("degree", "text"),
    [
        (None, "–"),
        (0.0, "< 0.01 %"),
        (0.00004, "< 0.01 %"),
        (0.0003, "0.03 %"),
        (0.0016, "0.16 %"),
        (0.05, "5 %"),
        (0.5, "50 %"),
        (0.8734, "87.3 %"),
        (0.997, "99.7 %"),
        (0.9991, "99.91 %"),
        (0.99994, "99.99 %"),
        (0.99996, "> 99.99 %"),
        (1.0, "> 99.99 %"),
    ],
)
def test_degrees_as_percentages(degree: float | None, text: str) -> None:
    assert wording.percent_text(degree) == text


@given(DEGREES)
def test_no_degree_is_said_to_be_certain(degree: float) -> None:
    assert wording.percent_text(degree) not in ("0 %", "100 %", " %")


@given(DEGREES, DEGREES)
def test_percentages_are_in_the_order_of_the_degrees(one: float, other: float) -> None:
    low, high = (_value(wording.percent_text(degree)) for degree in sorted((one, other)))
    assert low <= high


def _value(text: str) -> float:
    number = float(re.sub(r"[^0-9.]", "", text))
    return {"<": 0.0, ">": 100.0}.get(text[0], number)


def test_intervals() -> None:
    assert wording.interval_text(0.991, 0.999) == "95 % interval 99.1 to 99.9 %"
    assert wording.interval_text(0.99999, 1.0) == "95 % interval > 99.99 %"
    assert wording.interval_text(0.00001, 0.0002) == "95 % interval up to 0.02 %"
    assert wording.interval_text(0.999, 0.99999) == "95 % interval from 99.9 %"
    assert wording.interval_text(0.0, 1.0) == "95 % interval < 0.01 to > 99.99 %"
    assert wording.interval_text(None, 0.9) == ""


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (5e-5, "1 in 20,000"),
        (1.4e-6, "1 in 710,000"),
        (0.0303, "1 in 33"),
        (0.1, "1 in 10"),
        (0.18, "1 in 5.6"),
        (0.2, "1 in 5"),
        (0.68, "68 in 100"),
        (1.0, "99 in 100"),
        (0.0, "none"),
    ],
)
def test_rates_as_cases(rate: float, text: str) -> None:
    assert wording.frequency_text(rate) == text


def test_strangers_are_never_none() -> None:
    assert wording.impostors_text(1e-9) == "< 0.01 strangers expected"
    assert wording.impostors_text(0.17) == "0.17 strangers expected"
    assert wording.impostors_text(1.0) == "1 stranger expected"
    assert wording.impostors_text(12345.6) == "12,346 strangers expected"


@pytest.mark.parametrize(
    ("prior", "text"),
    [
        (0.5, "one pair in two"),
        (0.001, "one pair in 1,000"),
        (0.00193, "one pair in 518"),
        (0.9, "90 % of pairs"),
    ],
)
def test_priors_as_pairs(prior: float, text: str) -> None:
    assert wording.prior_text(prior) == text


def test_a_comparison_as_one_sentence() -> None:
    known = _comparison(degree=0.997, degree_low=0.99, degree_high=0.999, prior=0.5, fmr=5e-5)
    said = wording.comparison_sentence(known)
    assert said == (
        "If one pair in two shows one person, such a pair does so in 99.7 % of cases "
        "(95 % interval 99 to 99.9 %); of pairs of strangers 1 in 20,000 looks as much alike."
    )


def test_a_comparison_of_strangers_as_one_sentence() -> None:
    said = wording.comparison_sentence(_comparison(degree=1e-6, prior=0.9, fmr=0.68))
    assert said == (
        "If 90 % of pairs show one person, such a pair does so in less than 0.01 % of cases; "
        "of pairs of strangers 68 in 100 look as much alike."
    )


def test_without_a_degree_there_is_no_sentence() -> None:
    assert wording.comparison_sentence(_comparison(degree=None)) == ""


def _comparison(
    degree: float | None,
    *,
    degree_low: float | None = None,
    degree_high: float | None = None,
    prior: float = 0.5,
    fmr: float | None = None,
) -> Comparison:
    box = Box(0.0, 0.0, 10.0, 10.0)
    pictures = ("a.jpg", "b.jpg", 0, 0, 1, 1, box, box)
    return Comparison(
        *pictures,
        cosine=0.5,
        degree=degree,
        log10_lr=None,
        prior=prior,
        engine="engine",
        calibration=None,
        note=None,
        degree_low=degree_low,
        degree_high=degree_high,
        fmr=fmr,
    )


@pytest.mark.parametrize(
    ("log10_lr", "text"),
    [
        (4.5, "Very strong support that they show one person"),
        (-2.78, "Moderately strong support that they show two people"),
        (0.0, "No support either way"),
        (None, "No degree without a calibration"),
    ],
)
def test_verdicts(log10_lr: float | None, text: str) -> None:
    assert wording.verdict_text(log10_lr) == text


def test_names_of_files_and_people() -> None:
    assert wording.file_name("/a/b\n\udce9.jpg") == r"b\n\udce9.jpg"
    assert wording.person_text("Anna", 3) == "Anna"
    assert wording.person_text(None, 3) == "Person 3"
    assert wording.person_text(None, None) == "nobody"
    assert wording.count_text(1, "face") == "1 face"
    assert wording.count_text(2000, "copy", "copies") == "2,000 copies"


def test_sizes() -> None:
    assert [wording.size_text(n) for n in (12, 1500, 2_340_000, 5_000_000_000)] == [
        "12 bytes",
        "1.5 kB",
        "2.34 MB",
        "5 GB",
    ]


def test_points_in_time() -> None:
    assert wording.moment_text("2021-07-04T12:30:00") == "4 July 2021, 12:30"
    assert wording.moment_text("2026-11-25T09:34:38+00:00") == "25 November 2026, 09:34 UTC"
    assert wording.moment_text("yesterday") == "yesterday"
