import dataclasses
from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.fitting import calibrating
from facesim_index.calibration.fitting.calibrating import (
    CalibrationFit,
    HeadChoice,
    fit_calibration,
)
from facesim_index.calibration.fitting.fit import METHODS, Method, fit_scores
from facesim_index.calibration.fitting.head_trials import HeadTrial
from facesim_index.calibration.fitting.labelled_data import LabelledData, LabelledFaces
from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.calibration.heads import COSINE, LEARNED
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.errors import CalibrationError, EngineMismatchError, UsageError
from facesim_index.store.folder.store import FolderStore
from tests import asking
from tests.asking import calibration_of
from tests.builders import new_store
from tests.calibration.fitting.test_learned_heads import people
from tests.calibration.made_up_curves import CHECK

N_PEOPLE = 40
SHIPPED = Calibration(
    name="shipped",
    engine_key=FAKE_IDENTITY.key,
    method="by hand",
    knots=((-0.1, -2.0), (0.5, 3.0)),
    evidence=Evidence("made up", 2, 3, 4, "2026-11-24"),
)
OWN = dataclasses.replace(SHIPPED, name="own", knots=((0.0, -1.0), (0.4, 2.0)))


def made_up_scores(*, seed: int = 1, n_people: int = N_PEOPLE) -> LabelledScores:
    """Cosines of genuine pairs around 0.6 and of impostor pairs around 0: log LR = 5 c + ..."""
    rng = np.random.default_rng(seed)
    genuine_person = np.repeat(np.arange(n_people), 6)
    people = np.stack(np.triu_indices(n_people, 1), axis=1).repeat(4, axis=0)
    genuine = rng.normal(0.6, 0.2, genuine_person.size).clip(-1, 1)
    impostor = rng.normal(0.0, 0.2, len(people)).clip(-1, 1)
    return LabelledScores(genuine, genuine_person, impostor, people)


def made_up(name: str = "holiday", **options: int) -> LabelledData:
    return LabelledData(name, made_up_scores(**options), 100)


def fitted(data: LabelledData, method: Method | None = None) -> CalibrationFit:
    return fit_calibration(data, FAKE_IDENTITY, name="own", method=method, in_force=SHIPPED)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty index, to whose engine a calibration is shipped."""

    def shipped(engine_key: str) -> Calibration | None:
        return SHIPPED if engine_key == FAKE_IDENTITY.key else None

    monkeypatch.setattr("facesim_index.degrees.kept_calibrations.shipped_calibration", shipped)
    monkeypatch.setattr("facesim_index.degrees.in_force.shipped_calibration", shipped)
    with new_store(tmp_path / "i.facesim"):
        pass
    return tmp_path / "i.facesim"


def in_force(index: Path) -> str:
    with FolderStore(index) as store:
        calibration = calibration_of(store)
    assert calibration is not None
    return calibration.name


def names(index: Path) -> list[tuple[str, bool, bool]]:
    with FolderStore(index) as store:
        return [
            (entry.calibration.name, entry.active, entry.shipped) for entry in asking.listed(store)
        ]


def test_the_fit_recovers_a_known_likelihood_ratio() -> None:
    calibration = fitted(made_up(), "logistic").calibration
    # Normals of equal width: log LR = (c - 0.3) * 0.6 / 0.2 ** 2, level beyond the evidence.
    cosine = np.array([0.2, 0.3, 0.4])
    expected = (cosine - 0.3) * 15.0 / np.log(10.0)
    assert log10_lr(cosine, calibration) == pytest.approx(expected, abs=0.35)


def test_the_best_method_on_people_left_out_is_taken() -> None:
    fit = fitted(made_up())
    assert fit.chosen
    assert set(fit.cllr) == set(METHODS)
    assert fit.cllr[fit.method] == min(fit.cllr.values())
    assert fit.min_cllr <= fit.cllr[fit.method] + 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_a_method_can_be_given(method: Method) -> None:
    fit = fitted(made_up(), method)
    assert (fit.method, fit.chosen, set(fit.cllr)) == (method, False, {method})
    assert fit.calibration.method == calibrating.METHOD_WORDS[method]


def test_the_evidence_says_what_it_was_fitted_on() -> None:
    fit = fitted(made_up())
    evidence = fit.calibration.evidence
    assert evidence.data == "holiday"
    assert (evidence.n_people, evidence.n_genuine) == (N_PEOPLE, 6 * N_PEOPLE)
    assert evidence.n_impostor == 2 * N_PEOPLE * (N_PEOPLE - 1)
    [check] = evidence.checks
    assert check.data == "cross-validation in 5 folds of people"
    assert check.cllr == pytest.approx(fit.cllr[fit.method], abs=1e-5)
    assert check.n_genuine == evidence.n_genuine
    assert 0 < check.n_impostor < evidence.n_impostor / 3
    assert fit.calibration.engine_key == FAKE_IDENTITY.key
    assert len(fit.calibration.band) == len(fit.calibration.knots)
    assert fit.calibration.false_matches


def test_the_calibration_in_force_is_measured_on_the_same_pairs() -> None:
    fit = fitted(made_up())
    assert fit.in_force == "shipped"
    assert fit.in_force_cllr is not None
    assert fit.in_force_cllr > fit.cllr[fit.method]
    without = fit_calibration(made_up(), FAKE_IDENTITY, name="own", method="logistic")
    assert (without.in_force, without.in_force_cllr) == (None, None)


def test_swapped_labels_mirror_the_curve() -> None:
    """Pairs of one person seen as of two, and the other way round, at negated cosines."""
    rng = np.random.default_rng(3)
    near, far = rng.normal(0.3, 0.2, 2000).clip(-1, 1), rng.normal(-0.3, 0.2, 2000).clip(-1, 1)
    person = np.arange(2000) % 50
    two = np.stack((person, (person + 1 + np.arange(2000) // 50 % 49) % 50), axis=1)
    calibration = fitted(LabelledData("a", LabelledScores(near, person, far, two), 1), "logistic")
    mirror = fitted(LabelledData("b", LabelledScores(-far, person, -near, two), 1), "logistic")
    cosine = np.linspace(-0.25, 0.25, 11)
    # The bins are closed at their lower end only: a mirrored cosine may move by one of them.
    assert log10_lr(cosine, calibration.calibration) == pytest.approx(
        -log10_lr(-cosine, mirror.calibration), abs=0.02
    )


NOBODY, NO_TWO = np.empty(0, dtype=np.int64), np.empty((0, 2), dtype=np.int64)
MANY = made_up_scores()


@pytest.mark.parametrize(
    ("scores", "missing"),
    [
        (made_up_scores(n_people=3), "3 people with two pictures"),
        (
            LabelledScores(np.empty(0), NOBODY, MANY.impostor, MANY.impostor_people),
            "0 pairs of one person",
        ),
        (
            LabelledScores(MANY.genuine, MANY.genuine_person, np.empty(0), NO_TWO),
            "0 pairs of two people",
        ),
    ],
)
def test_too_little_or_one_sided_data_is_refused(scores: LabelledScores, missing: str) -> None:
    with pytest.raises(CalibrationError, match=missing) as caught:
        fitted(LabelledData("holiday", scores, 30, n_without_face=4))
    assert "holiday" in str(caught.value)
    assert "no face was found in 4 of 30 pictures" in str(caught.value)


def test_labels_the_wrong_way_round_are_refused() -> None:
    right = made_up_scores()
    wrong = dataclasses.replace(right, genuine=-right.genuine)
    with pytest.raises(CalibrationError, match="check the labels"):
        fitted(LabelledData("holiday", wrong, 30), "logistic")


def test_the_shipped_one_is_in_force_until_another_is_used(index: Path) -> None:
    assert names(index) == [("shipped", True, True)]
    asking.keep(index, OWN, use=False)
    assert names(index) == [("shipped", True, True), ("own", False, False)]
    assert asking.use(index, "own") == OWN
    assert names(index) == [("shipped", False, True), ("own", True, False)]
    assert in_force(index) == "own"


@pytest.mark.parametrize("name", ["default", "shipped"])
def test_the_shipped_one_can_be_chosen_again(index: Path, name: str) -> None:
    asking.keep(index, OWN, use=True)
    assert asking.use(index, name) == SHIPPED
    assert names(index) == [("shipped", True, True), ("own", False, False)]


def test_keeping_replaces_by_name_and_leaves_in_force_what_is(index: Path) -> None:
    asking.keep(index, OWN, use=True)
    newer = dataclasses.replace(OWN, knots=((0.0, -1.5), (0.4, 2.5)))
    asking.keep(index, newer, use=False)
    with FolderStore(index) as store:
        assert calibration_of(store) == newer
        assert asking.named(store, "own") == newer


def test_dropping_what_is_in_force_brings_the_shipped_one_back(index: Path) -> None:
    asking.keep(index, OWN, use=True)
    asking.keep(index, dataclasses.replace(OWN, name="other"), use=False)
    assert asking.drop(index, "other") == OWN
    assert asking.drop(index, "own") == SHIPPED
    assert names(index) == [("shipped", True, True)]


def test_unknown_names_are_refused_and_the_known_ones_told(index: Path) -> None:
    asking.keep(index, OWN, use=True)
    with FolderStore(index) as store, pytest.raises(UsageError, match="there are: shipped, own"):
        asking.named(store, "gone")
    for act in (asking.use, asking.drop):
        with pytest.raises(UsageError, match="no calibration 'gone'"):
            act(index, "gone")
    assert in_force(index) == "own"


@pytest.mark.parametrize("name", ["default", "shipped"])
def test_the_shipped_one_can_be_neither_dropped_nor_replaced(index: Path, name: str) -> None:
    with pytest.raises(UsageError, match="neither replaced nor dropped"):
        asking.drop(index, name)
    with pytest.raises(UsageError, match="neither replaced nor dropped"):
        asking.keep(index, dataclasses.replace(OWN, name=name), use=True)
    assert names(index) == [("shipped", True, True)]


def test_a_calibration_for_another_engine_is_refused(index: Path) -> None:
    with pytest.raises(EngineMismatchError, match="another engine"):
        asking.keep(index, dataclasses.replace(OWN, engine_key="other"), use=True)
    assert names(index) == [("shipped", True, True)]


def test_without_a_shipped_one_there_may_be_none_in_force(tmp_path: Path) -> None:
    with new_store(tmp_path / "i"):
        pass
    with (
        FolderStore(tmp_path / "i") as store,
        pytest.raises(CalibrationError, match="fit one with"),
    ):
        asking.named(store)
    asking.keep(tmp_path / "i", OWN, use=True)
    assert asking.drop(tmp_path / "i", "own") is None
    assert names(tmp_path / "i") == []


def test_a_fitted_calibration_survives_its_json(index: Path) -> None:
    calibration = fitted(made_up(), "isotonic").calibration
    assert from_json(to_json(calibration)) == calibration
    asking.keep(index, calibration, use=True)
    with FolderStore(index) as store:
        assert calibration_of(store) == calibration


# Heads


def labelled_faces(n_people: int, *, noisy: int) -> LabelledData:
    faces = LabelledFaces(*people(n_people, noisy=noisy))
    return LabelledData("faces", faces.scores(COSINE), len(faces.person), faces=faces)


def with_head(data: LabelledData, head: HeadChoice, *, force: bool = False) -> CalibrationFit:
    return fit_calibration(
        data,
        FAKE_IDENTITY,
        name="own",
        method="logistic",
        in_force=SHIPPED,
        head=head,
        force=force,
    )


def test_a_head_that_is_better_is_taken_with_its_own_evidence() -> None:
    data = labelled_faces(120, noisy=8)
    fit = with_head(data, "product")
    [trial] = fit.trials
    assert trial.surely_better
    assert fit.calibration.head.kind == "product"
    assert fit.held_out_cllr == trial.cllr < trial.cosine_cllr
    assert fit.calibration.evidence.checks == (trial.check,)
    assert fit.min_cllr == trial.check.min_cllr
    # The curve is of scores by heads that have not seen these people: every genuine pair is among
    # them, and of the impostor pairs those within a fold.
    everyone = data.scores_by(fit.calibration.head)
    assert trial.scores.genuine.size == everyone.genuine.size
    assert 0 < trial.scores.impostor.size < everyone.impostor.size / 4
    assert fit.calibration.knots == fit_scores(trial.scores, "logistic", n_bootstrap=0).knots
    assert fit.calibration.knots != fit_scores(everyone, "logistic", n_bootstrap=0).knots
    assert from_json(to_json(fit.calibration)) == fit.calibration
    # What is in force is judged by its own.
    assert fit.in_force_cllr == with_head(data, "cosine").in_force_cllr


def test_auto_takes_the_best_head_that_is_surely_better() -> None:
    fit = with_head(labelled_faces(120, noisy=8), "auto")
    assert {trial.kind for trial in fit.trials} == set(LEARNED)
    sure = [trial for trial in fit.trials if trial.surely_better]
    assert fit.calibration.head.kind == min(sure, key=lambda trial: trial.cllr).kind


def test_auto_does_not_try_heads_on_few_people() -> None:
    fit = with_head(labelled_faces(19, noisy=8), "auto")
    assert (fit.trials, fit.calibration.head) == ((), COSINE)


def test_a_head_needs_embeddings() -> None:
    with pytest.raises(CalibrationError, match="holiday: there are cosines only"):
        with_head(made_up(), "product")
    assert with_head(made_up(), "cosine").calibration.head == COSINE


def test_a_given_head_that_is_not_better_is_refused_with_the_figures() -> None:
    trial = HeadTrial("product", 0.0312, 0.0301, 0.0004, CHECK, made_up().scores)
    with pytest.raises(CalibrationError, match=r"Cllr 0.0312, of the cosine 0.0301, .* \+0.0011 ±"):
        calibrating._chosen((trial,), "product", force=False)
    assert calibrating._chosen((trial,), "product", force=True) is trial
    assert calibrating._chosen((trial,), "auto", force=False) is None
    chance = dataclasses.replace(trial, cllr=0.0297)
    assert calibrating._chosen((chance,), "auto", force=False) is None
    assert calibrating._chosen((chance,), "product", force=False) is chance
    better = dataclasses.replace(trial, cllr=0.0290)
    assert calibrating._chosen((chance, better), "auto", force=False) is better
