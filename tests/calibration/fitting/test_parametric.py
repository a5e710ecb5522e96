"""The oracles are families of scores whose likelihood ratio has exactly the fitted form."""

import numpy as np
import pytest
from scipy.stats import beta, norm

from facesim_index.calibration.fitting.monotone import BINS, Bounds, Histogram, histogram_of
from facesim_index.calibration.fitting.parametric import (
    beta_curve,
    logistic_curve,
    weighted_regression,
)
from facesim_index.errors import CalibrationError
from facesim_index.records import Float64Array

CENTRES = np.asarray((np.arange(BINS) + 0.5) * 2.0 / BINS - 1.0, dtype=np.float64)
WIDE = Bounds(-3.0, 3.0, -0.5, 0.5)


def test_logistic_finds_the_line_of_two_gaussians() -> None:
    histogram = Histogram(CENTRES, norm.pdf(CENTRES, 0.4, 0.1), norm.pdf(CENTRES, 0.0, 0.1))
    cosine, log10_lr = logistic_curve(histogram, WIDE)
    # (mu x - mu²/2) / sigma², up to the price of a slope, which is tiny.
    expected = (0.4 * cosine - 0.08) / 0.01 / np.log(10.0)
    np.testing.assert_allclose(log10_lr[1:-1], expected[1:-1], rtol=2e-3, atol=2e-3)
    assert (log10_lr[0], log10_lr[-1]) == (-3.0, 3.0)
    assert cosine[0] == pytest.approx(0.2 - 3.0 * np.log(10.0) / 40.0, abs=1e-3)


def test_beta_finds_the_exponents_of_two_beta_distributions() -> None:
    share = (1.0 + CENTRES) / 2.0
    histogram = Histogram(CENTRES, beta.pdf(share, 14.0, 5.0), beta.pdf(share, 9.0, 9.0))
    cosine, log10_lr = beta_curve(histogram, WIDE)
    at = (1.0 + cosine) / 2.0
    expected = (beta.logpdf(at, 14.0, 5.0) - beta.logpdf(at, 9.0, 9.0)) / np.log(10.0)
    np.testing.assert_allclose(log10_lr, np.clip(expected, -3.0, 3.0), rtol=1e-3, atol=1e-3)


def test_beta_leaves_out_an_exponent_that_would_pull_the_curve_down() -> None:
    share = (1.0 + CENTRES) / 2.0
    # The true exponents are -3 and 8: s^-3 falls where s is small.
    histogram = Histogram(CENTRES, beta.pdf(share, 6.0, 2.0), beta.pdf(share, 9.0, 10.0))
    _, log10_lr = beta_curve(histogram, WIDE)
    assert (np.diff(log10_lr) >= 0.0).all()


@pytest.mark.parametrize("fit", [logistic_curve, beta_curve])
def test_exchanged_labels_and_negated_cosines_mirror_the_curve(fit: object) -> None:
    rng = np.random.default_rng(9)
    genuine, impostor = (
        np.histogram(rng.normal(mean, 0.1, n), BINS, (-1.0, 1.0))[0].astype(np.float64)
        for mean, n in ((0.3, 900), (0.0, 8_000))
    )
    assert callable(fit)
    cosine, log10_lr = fit(histogram_of(genuine, impostor), WIDE)
    mirrored, against = fit(histogram_of(impostor[::-1], genuine[::-1]), WIDE)
    np.testing.assert_allclose(mirrored, -cosine[::-1], atol=1e-9)
    np.testing.assert_allclose(against, -log10_lr[::-1], atol=1e-6)


def test_regression_matches_the_moments_of_the_labels() -> None:
    """At the maximum of the likelihood, each feature has the same sum in claims and labels."""
    rng = np.random.default_rng(8)
    cosine = np.concatenate((rng.normal(0.3, 0.2, 300), rng.normal(0.0, 0.2, 900)))
    genuine = np.repeat([1 / 300, 0.0], [300, 900])
    impostor = np.repeat([0.0, 1 / 900], [300, 900])
    features = np.stack((cosine, cosine**2, np.ones_like(cosine)), axis=1)
    claimed = 1.0 / (1.0 + np.exp(-features @ weighted_regression(features, genuine, impostor)))
    np.testing.assert_allclose(
        ((genuine + impostor) * claimed) @ features, genuine @ features, atol=1e-6
    )


@pytest.mark.parametrize("fit", [logistic_curve, beta_curve])
def test_people_who_never_mix_have_a_finite_slope(fit: object) -> None:
    genuine, impostor = (CENTRES > 0.5).astype(float), (CENTRES < 0.0).astype(float)
    histogram = Histogram(CENTRES, genuine, impostor)
    assert callable(fit)
    cosine, log10_lr = fit(histogram, WIDE)
    assert 0.0 < cosine[0] < cosine[-1] < 0.5
    assert cosine[-1] - cosine[0] > 0.1
    assert 0.15 < float(np.interp(0.0, log10_lr, cosine)) < 0.35


@pytest.mark.parametrize("fit", [logistic_curve, beta_curve])
def test_scores_that_fall_are_refused(fit: object) -> None:
    genuine: Float64Array = norm.pdf(CENTRES, -0.3, 0.1)
    histogram = Histogram(CENTRES, genuine, norm.pdf(CENTRES, 0.3, 0.1))
    assert callable(fit)
    with pytest.raises(CalibrationError, match="check the labels"):
        fit(histogram, WIDE)
