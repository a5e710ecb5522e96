import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from facesim_index import fitting
from facesim_index.errors import CalibrationError
from facesim_index.records import Float64Array


def gaussian_pairs(mean: float, n_pairs: int) -> Float64Array:
    """Cosines as evenly spread over a Gaussian of width 0.1 as can be: nothing random."""
    shares = (np.arange(n_pairs) + 0.5) / n_pairs
    return np.asarray(norm.ppf(shares, loc=mean, scale=0.1), dtype=np.float64)


def interpolated(cosine: Float64Array, knots: tuple[tuple[float, float], ...]) -> Float64Array:
    return np.asarray(np.interp(cosine, *np.array(knots).T), dtype=np.float64)


def test_the_ratio_of_two_gaussians_is_recovered() -> None:
    knots = fitting.fit_monotone(gaussian_pairs(0.5, 5_000), gaussian_pairs(0.0, 200_000))
    cosine = np.linspace(0.15, 0.35, 41)
    # The logarithm of the quotient of the densities is (mu x - mu²/2) / sigma².
    expected = (0.5 * cosine - 0.125) / 0.01 / math.log(10)
    assert np.abs(interpolated(cosine, knots) - expected).max() < 0.15


def test_the_number_of_strangers_changes_only_what_can_be_claimed() -> None:
    genuine, impostor = gaussian_pairs(0.5, 2_000), gaussian_pairs(0.0, 20_000)
    few = fitting.fit_monotone(genuine, impostor)
    many = fitting.fit_monotone(genuine, np.repeat(impostor, 10))
    middle = np.linspace(0.15, 0.35, 21)
    assert np.abs(interpolated(middle, few) - interpolated(middle, many)).max() < 0.1
    assert many[-1][1] > few[-1][1] + 0.3


def test_classes_that_never_meet_are_bounded_by_their_numbers() -> None:
    knots = fitting.fit_monotone(np.linspace(0.6, 0.8, 100), np.linspace(-0.1, 0.1, 1000))
    # By hand, with the one pair that is added to each class: 100 of 101 genuine pairs against
    # 1 of 1001 impostor pairs, and 1 of 101 against 1000 of 1001.
    assert knots[-1][1] == pytest.approx(math.log10(100 / 101 * 1001), abs=1e-3)
    assert knots[0][1] == pytest.approx(math.log10(1001 / 1000 / 101), abs=1e-3)


def test_wrong_labels_among_the_strangers_lower_the_upper_bound() -> None:
    genuine, impostor = gaussian_pairs(0.7, 3_000), gaussian_pairs(0.0, 100_000)
    mislabelled = np.concatenate((impostor, gaussian_pairs(0.7, 10)))
    clean_bound = fitting.fit_monotone(genuine, impostor)[-1][1]
    bound = fitting.fit_monotone(genuine, mislabelled)[-1][1]
    assert bound < clean_bound
    assert bound == pytest.approx(math.log10(100_010 / 11), abs=0.1)


def test_a_few_dozen_knots_at_most_however_many_pairs() -> None:
    rng = np.random.default_rng(3)
    genuine, impostor = rng.normal(0.6, 0.12, 30_000), rng.normal(0.02, 0.07, 1_000_000)
    assert 5 <= len(fitting.fit_monotone(genuine, impostor)) <= 60


@given(
    genuine=st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=40),
    impostor=st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=40),
)
def test_any_fit_is_monotone_and_within_the_evidence(
    genuine: list[float], impostor: list[float]
) -> None:
    try:
        knots = fitting.fit_monotone(np.array(genuine), np.array(impostor))
    except CalibrationError:
        return
    cosine, log10_lr = np.array(knots).T
    assert (np.diff(cosine) > 0).all()
    assert (np.diff(log10_lr) >= 0).all()
    assert log10_lr[-1] <= math.log10(len(impostor) + 1) + 1e-3
    assert log10_lr[0] >= -math.log10(len(genuine) + 1) - 1e-3


def test_counts_of_blocks_add_up() -> None:
    first, second = gaussian_pairs(0.5, 100), gaussian_pairs(0.0, 77)
    total = fitting.count_cosines(np.concatenate((first, second)))
    assert (fitting.count_cosines(first) + fitting.count_cosines(second) == total).all()
    assert total.sum() == 177


def test_a_count_is_where_its_cosine_is() -> None:
    counts = fitting.count_cosines(np.array([[-1.0, 0.2505], [1.0, 1.0000002]], dtype=np.float32))
    assert counts[0] == 1
    assert counts[1250] == 1
    assert counts[-1] == 2


def test_labels_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(CalibrationError, match="check the labels"):
        fitting.fit_monotone(gaussian_pairs(0.0, 50), gaussian_pairs(0.5, 50))


@pytest.mark.parametrize(("n_genuine", "n_impostor"), [(0, 5), (5, 0)])
def test_a_class_without_pairs_is_refused(n_genuine: int, n_impostor: int) -> None:
    with pytest.raises(CalibrationError, match="pairs of both classes"):
        fitting.fit_monotone(np.zeros(n_genuine), np.zeros(n_impostor))
