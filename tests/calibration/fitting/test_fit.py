import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from threadpoolctl import threadpool_info, threadpool_limits

from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.fitting import fit as fitting
from facesim_index.calibration.fitting.fit import Method
from facesim_index.calibration.fitting.monotone import Bounds, Histogram, smooth_curve
from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.errors import CalibrationError
from facesim_index.metrics import scoring
from facesim_index.records import Float64Array


def gaussian_pairs(mean: float, n_pairs: int) -> Float64Array:
    """Cosines as evenly spread over a Gaussian of width 0.1 as can be: nothing random."""
    shares = (np.arange(n_pairs) + 0.5) / n_pairs
    return np.asarray(norm.ppf(shares, loc=mean, scale=0.1), dtype=np.float64)


def interpolated(cosine: Float64Array, knots: tuple[tuple[float, float], ...]) -> Float64Array:
    return np.asarray(np.interp(cosine, *np.array(knots).T), dtype=np.float64)


def test_a_fit_keeps_blas_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's and SciPy's: two threads wait for each other longer than they compute."""

    def blas_threads() -> list[int]:
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    def curve(histogram: Histogram, bounds: Bounds) -> tuple[Float64Array, Float64Array]:
        seen.append(blas_threads())
        return smooth_curve(histogram, bounds)

    seen: list[list[int]] = []
    monkeypatch.setitem(fitting.METHODS, "isotonic", curve)
    with threadpool_limits(2, "blas"):
        fitting.fit_monotone(gaussian_pairs(0.5, 100), gaussian_pairs(0.0, 100))
        assert set(blas_threads()) == {2}
    assert [set(threads) for threads in seen] == [{1}]


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


# Labelled scores


def simulated_scores(
    seed: int,
    *,
    n_paired: int = 150,
    n_single: int = 150,
    spread: float = 0.1,
    genuine_mean: float = 0.4,
) -> LabelledScores:
    """Scores of people whose pairs hang together: genuine N(0.4, 0.1), impostor N(0, 0.1).

    The logarithm of the ratio of these densities is (0.4 x - 0.08) / 0.01.
    """
    rng = np.random.default_rng(seed)
    pictures = np.repeat([3, 1], [n_paired, n_single])
    person = np.repeat(np.arange(n_paired + n_single), pictures)
    row, column = np.triu_indices(person.size, 1)
    first, second = person[row], person[column]
    same = first == second
    # Shares of the variance that are the people's own: 0.36 of genuine, 0.16 of impostor pairs.
    own = rng.normal(0.0, 0.6 * spread, pictures.size)[first[same]]
    genuine = genuine_mean + own + rng.normal(0.0, 0.8 * spread, own.size)
    mood = rng.normal(0.0, math.sqrt(0.08) * spread, pictures.size)
    people = np.stack((first[~same], second[~same]), axis=1)
    noise = rng.normal(0.0, math.sqrt(0.84) * spread, len(people))
    impostor = mood[people].sum(axis=1) + noise
    return LabelledScores(
        np.clip(genuine, -1.0, 1.0), first[same], np.clip(impostor, -1.0, 1.0), people
    )


def true_log10_lr(cosine: Float64Array) -> Float64Array:
    return np.asarray((0.4 * cosine - 0.08) / 0.01 / math.log(10.0), dtype=np.float64)


@pytest.mark.parametrize("method", fitting.METHODS)
def test_a_known_ratio_is_recovered(method: Method) -> None:
    scores = simulated_scores(7, n_paired=1_000, n_single=0)
    fit = fitting.fit_scores(scores, method, n_bootstrap=0)
    cosine = np.linspace(0.1, 0.3, 21)
    assert np.abs(interpolated(cosine, fit.knots) - true_log10_lr(cosine)).max() < 0.3
    assert fit.band == ()


@pytest.mark.slow
@pytest.mark.parametrize("method", fitting.METHODS)
def test_the_interval_covers_the_truth_at_about_the_stated_rate(method: Method) -> None:
    cosine = np.array([0.142, 0.2, 0.258, 0.315])  # log10 LR -1, 0, 1 and 2
    held = []
    for seed in range(25):
        scores = simulated_scores(seed + 100, n_paired=100, n_single=50)
        fit = fitting.fit_scores(scores, method, n_bootstrap=100, seed=seed)
        low, high = (
            np.interp(cosine, [knot[0] for knot in fit.knots], ends)
            for ends in zip(*fit.band, strict=True)
        )
        held.append((low <= true_log10_lr(cosine)) & (true_log10_lr(cosine) <= high))
    # A hundred answers, four of a data set hanging together: 95 % give or take three times 3 %.
    assert np.mean(held) >= 0.86


@pytest.mark.slow
def test_the_interval_covers_the_truth_where_the_classes_hardly_overlap() -> None:
    """Genuine N(0.6, 0.1): less than one of the 450 genuine pairs is below the ratio of 1.

    If cosines were not moved the interval would hold the ratios of 10^-1 to 10 in 57 to 78 %.
    """
    expected = np.array([-1.0, 0.0, 1.0, 3.0])
    cosine = (expected * math.log(10.0) * 0.01 + 0.18) / 0.6
    held, width = [], []
    for seed in range(25):
        scores = simulated_scores(seed + 200, genuine_mean=0.6)
        fit = fitting.fit_scores(scores, "isotonic", n_bootstrap=60, seed=seed)
        low, high = (
            np.interp(cosine, [knot[0] for knot in fit.knots], ends)
            for ends in zip(*fit.band, strict=True)
        )
        held.append((low <= expected) & (expected <= high))
        width.append(high - low)
    # 25 independent data sets: 95 % give or take three times 4.4 %.
    assert np.mean(held) >= 0.82
    # And not by saying nothing: the data tell the order of magnitude.
    assert np.mean(width) < 1.6


@pytest.mark.parametrize("method", fitting.METHODS)
def test_a_fit_makes_a_calibration(method: Method) -> None:
    scores = simulated_scores(3)
    fit = fitting.fit_scores(scores, method, n_bootstrap=40)
    evidence = Evidence("made up", 300, scores.genuine.size, scores.impostor.size, "2024-01-01")
    calibration = Calibration(
        "x", "engine", method, fit.knots, evidence, fit.band, fit.false_matches
    )
    assert from_json(to_json(calibration)) == calibration
    low, high = np.array(fit.band).T
    assert (high - low).min() > 0.01
    # Bounded: at most so many pairs of each class can show so much.
    assert -math.log10(scores.genuine.size + 1) <= fit.knots[0][1] < -1.0
    assert 1.0 < fit.knots[-1][1] <= math.log10(scores.impostor.size + 1)


def test_the_seed_decides_everything() -> None:
    scores = simulated_scores(4)
    first, again, other = (
        fitting.fit_scores(scores, "logistic", n_bootstrap=20, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.band != other.band
    assert first.knots == other.knots


def test_fewer_people_make_a_wider_interval() -> None:
    def width(n_paired: int) -> float:
        scores = simulated_scores(5, n_paired=n_paired, n_single=0)
        fit = fitting.fit_scores(scores, "logistic", n_bootstrap=100)
        widths = [high - low for low, high in fit.band]
        return float(np.interp(0.2, [cosine for cosine, _ in fit.knots], widths))

    # A quarter of the people: about twice as wide.
    assert 1.4 < width(60) / width(240) < 3.0


def test_pairs_of_one_person_are_no_further_evidence() -> None:
    """Every pair written down five times: pairs drawn anew would halve the interval, people not."""
    scores = simulated_scores(6)
    again = LabelledScores(
        np.repeat(scores.genuine, 5),
        np.repeat(scores.genuine_person, 5),
        scores.impostor,
        scores.impostor_people,
    )
    once, five = (fitting.fit_scores(s, "logistic", n_bootstrap=60) for s in (scores, again))
    widths = [
        np.interp(0.2, [k for k, _ in fit.knots], [high - low for low, high in fit.band])
        for fit in (once, five)
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_mirrored_labels_mirror_the_logistic_curve() -> None:
    """Negated cosines with the labels exchanged are the same question asked the other way."""
    genuine, impostor = gaussian_pairs(0.3, 4_000), gaussian_pairs(-0.1, 4_000)
    nobody = np.arange(4_000)
    others = np.stack((nobody, nobody + 1), axis=1)
    fits = [
        fitting.fit_scores(LabelledScores(a, nobody, b, others), "logistic", n_bootstrap=0)
        for a, b in ((genuine, impostor), (-impostor, -genuine))
    ]
    cosine = np.linspace(0.0, 0.2, 9)
    there, back = interpolated(cosine, fits[0].knots), interpolated(-cosine, fits[1].knots)
    np.testing.assert_allclose(there, -back, atol=0.02)


# Out of the fold


def test_cross_validated_cllr_by_hand() -> None:
    scores = simulated_scores(8, n_paired=60, n_single=20)
    rng = np.random.default_rng(5)
    fold = np.empty(80, dtype=np.int64)
    for group in (np.arange(60), np.arange(60, 80)):
        fold[rng.permutation(group)] = np.arange(group.size) % 3
    genuine_lr, impostor_lr = [], []
    of_genuine, of_impostor = fold[scores.genuine_person], fold[scores.impostor_people]
    for number in range(3):
        knots = fitting.fit_monotone(
            scores.genuine[of_genuine != number],
            scores.impostor[(of_impostor != number).all(axis=1)],
        )
        genuine_lr.append(interpolated(scores.genuine[of_genuine == number], knots))
        within = (of_impostor == number).all(axis=1)
        impostor_lr.append(interpolated(scores.impostor[within], knots))
    expected = scoring.cllr(np.concatenate(genuine_lr), np.concatenate(impostor_lr))
    found = fitting.cross_validated_cllr(scores, "isotonic", n_folds=3, seed=5)
    # By hand cosines are not put into bins, and knots are rounded.
    assert found == pytest.approx(expected, abs=3e-4)


def test_the_straight_truth_is_best_fitted_by_the_straight_method() -> None:
    method, cllrs = fitting.choose_method(simulated_scores(9, n_paired=40, n_single=0))
    assert set(cllrs) == set(fitting.METHODS)
    assert cllrs[method] == min(cllrs.values())
    assert cllrs["logistic"] < cllrs["isotonic"]


def test_a_bent_truth_is_best_fitted_by_a_method_that_bends() -> None:
    scores = simulated_scores(10, n_paired=400, n_single=0)
    # Squeezing the scores keeps their order, and bends the curve.
    bent = LabelledScores(
        np.tanh(6.0 * (scores.genuine - 0.3)), scores.genuine_person,
        np.tanh(6.0 * (scores.impostor - 0.3)), scores.impostor_people,
    )  # fmt: skip
    method, cllrs = fitting.choose_method(bent)
    assert method != "logistic"
    assert cllrs["isotonic"] < cllrs["logistic"]


def test_few_people_get_the_method_with_fewest_parameters() -> None:
    assert fitting.choose_method(simulated_scores(11, n_paired=8)) == ("logistic", {})


# False matches


def test_false_match_rates_by_hand() -> None:
    cosine = np.concatenate((np.full(6, -0.1005), np.full(3, 0.0105), [0.0905]))
    knots = dict(fitting.false_match_knots(fitting.count_cosines(cosine)))
    # (pairs at least this high + 1) / 11
    assert knots[-0.12] == 0.0
    assert knots[-0.1] == pytest.approx(math.log10(5 / 11), abs=1e-3)
    assert knots[0.02] == pytest.approx(math.log10(2 / 11), abs=1e-3)
    assert knots[0.1] == pytest.approx(math.log10(1 / 11), abs=1e-3)
    assert list(knots) == sorted(knots)


@given(impostor=st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=60))
def test_false_match_rates_never_rise_and_end_at_what_can_be_shown(impostor: list[float]) -> None:
    knots = fitting.false_match_knots(fitting.count_cosines(np.array(impostor)))
    cosine, rate = np.array(knots).T
    assert (np.diff(cosine) > 0.0).all()
    assert (np.diff(rate) <= 0.0).all()
    assert rate[0] == 0.0
    if cosine[-1] < 1.0 or max(impostor) < 1.0:
        assert rate[-1] == pytest.approx(-math.log10(len(impostor) + 1), abs=1e-3)


# Too little


def test_too_little_is_refused_with_what_is_missing() -> None:
    few = simulated_scores(12, n_paired=3, n_single=0)
    with pytest.raises(CalibrationError, match="3 people with two pictures or more") as e:
        fitting.fit_scores(few, "logistic")
    assert "or more (at least 5), 9 pairs of one person (at least 10)" in str(e.value)
    assert "pairs of two people" not in str(e.value)
    for refuse in (
        fitting.choose_method,
        lambda scores: fitting.cross_validated_cllr(scores, "beta"),
    ):
        with pytest.raises(CalibrationError, match="too little"):
            refuse(few)


def test_data_of_one_side_is_refused() -> None:
    scores = simulated_scores(13)
    nobody = np.empty((0, 2), dtype=np.int64)
    with pytest.raises(CalibrationError, match="0 pairs of two people"):
        fitting.fit_scores(
            LabelledScores(scores.genuine, scores.genuine_person, np.empty(0), nobody), "isotonic"
        )


@pytest.mark.parametrize("method", fitting.METHODS)
def test_scores_the_wrong_way_round_are_refused(method: Method) -> None:
    scores = simulated_scores(14)
    upside_down = LabelledScores(
        -scores.genuine, scores.genuine_person, -scores.impostor, scores.impostor_people
    )
    with pytest.raises(CalibrationError, match="check the labels"):
        fitting.fit_scores(upside_down, method)
