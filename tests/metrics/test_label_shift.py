import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.errors import CalibrationError
from facesim_index.metrics.label_shift import KnownBefore, credible_interval, most_likely_shares
from facesim_index.records import Float64Array
from tests.property_tests import examples

MEAN = 3.0  # of genuine scores; impostor scores are around 0, both with a spread of 1


def gaussian_log10_lr(n_genuine: int, n_impostor: int, rng: np.random.Generator) -> Float64Array:
    """The true log10 likelihood ratios of scores from two overlapping Gaussians."""
    score = np.concatenate((rng.normal(MEAN, 1.0, n_genuine), rng.normal(0.0, 1.0, n_impostor)))
    return np.asarray((MEAN * score - MEAN**2 / 2) / math.log(10), dtype=np.float64)


def most_likely_share(
    log10_lr: Float64Array, counts: Float64Array | None = None, before: KnownBefore | None = None
) -> float:
    counts = np.ones_like(log10_lr) if counts is None else counts
    return float(most_likely_shares(log10_lr, counts[None], before or KnownBefore())[0])


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_a_known_share_is_recovered(share: float) -> None:
    n_genuine = round(share * 1_000_000)
    evidence = gaussian_log10_lr(n_genuine, 1_000_000 - n_genuine, np.random.default_rng(1))
    assert most_likely_share(evidence) == pytest.approx(share, rel=0.1)


@examples(50)
@given(
    evidence=st.lists(st.floats(-7.0, 7.0), min_size=1, max_size=30),
    genuine=st.floats(0.01, 10.0),
    impostor=st.floats(0.01, 1000.0),
)
def test_the_share_is_the_fixed_point_of_em(
    evidence: list[float], genuine: float, impostor: float
) -> None:
    log10_lr = np.array(evidence)
    share = most_likely_share(log10_lr, before=KnownBefore(genuine, impostor))
    posterior = degree_from_log10_lr(log10_lr, prior=share)
    after = (posterior.sum() + genuine) / (len(evidence) + genuine + impostor)
    assert after == pytest.approx(share, rel=1e-6)


def test_counts_stand_for_repeated_pairs_and_rows_for_themselves() -> None:
    evidence, counts = np.array([3.0, 0.5, -2.0]), np.array([4.0, 3, 80])
    share = most_likely_share(evidence, counts)
    assert share == pytest.approx(
        most_likely_share(np.repeat(evidence, counts.astype(int))), rel=1e-9
    )
    rows = most_likely_shares(evidence, np.array([[4.0, 3, 80], [0, 0, 5]]), KnownBefore())
    assert rows == pytest.approx([share, most_likely_share(evidence, np.array([0.0, 0, 5]))])


def test_without_pairs_what_was_known_before_is_the_answer() -> None:
    nothing = np.empty(0)
    assert most_likely_share(nothing, before=KnownBefore(0.5, 4.5)) == pytest.approx(0.1)
    # Jeffreys' prior, the arcsine distribution: its bounds in closed form.
    low, high = credible_interval(nothing, nothing, KnownBefore())
    assert (low, high) == pytest.approx(
        (math.sin(math.pi * 0.0125) ** 2, math.cos(math.pi * 0.0125) ** 2), rel=0.05
    )


def test_the_interval_of_certain_pairs_is_that_of_a_binomial_share() -> None:
    from scipy.stats import beta

    evidence = np.array([40.0, -40.0])
    for genuine, impostor in ((0.0, 100.0), (3.0, 997.0), (5000.0, 20000.0)):
        bounds = credible_interval(evidence, np.array([genuine, impostor]), KnownBefore(0.5, 0.5))
        expected = beta.ppf([0.025, 0.975], genuine + 0.5, impostor + 0.5)
        assert bounds == pytest.approx(expected, rel=0.02)


def test_the_interval_holds_the_true_share_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    edges = np.linspace(-12, 12, 481)
    centres = (edges[1:] + edges[:-1]) / 2
    held = 0
    for _ in range(400):
        n_genuine = rng.binomial(2000, 0.05)
        evidence = gaussian_log10_lr(n_genuine, 2000 - n_genuine, rng)
        counts = np.histogram(evidence, edges)[0].astype(np.float64)
        low, high = credible_interval(centres, counts, KnownBefore())
        held += low <= 0.05 <= high
    assert 0.925 <= held / 400 <= 0.975


def test_what_was_known_before_is_a_positive_number_of_pairs() -> None:
    with pytest.raises(CalibrationError, match="positive"):
        KnownBefore(0.0, 1.0)
