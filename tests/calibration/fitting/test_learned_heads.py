import itertools

import numpy as np
import pytest

from facesim_index.calibration.fitting import learned_heads
from facesim_index.calibration.fitting.head_trials import HeadTrial, try_heads
from facesim_index.calibration.fitting.labelled_data import LabelledFaces
from facesim_index.calibration.fitting.learned_heads import fit_head, training_pairs
from facesim_index.calibration.heads import COSINE, LEARNED, Head, LearnedKind
from facesim_index.errors import CalibrationError
from facesim_index.metrics.scoring import equal_error_rate
from facesim_index.records import Float32Array, Int64Array

DIMENSION = 24


def people(
    n_people: int, n_pictures: int = 4, *, noisy: int = 0, noise: float = 0.7, seed: int = 1
) -> tuple[Float32Array, Int64Array]:
    """Faces around their person; in the last `noisy` dimensions there is nothing but noise."""
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(n_people), n_pictures)
    vectors = random.normal(size=(n_people, DIMENSION))[person]
    vectors[:, DIMENSION - noisy :] = 0.0
    spread = np.full(DIMENSION, noise)
    spread[DIMENSION - noisy :] = 1.5
    vectors += spread * random.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32), person


def error_rate(head: Head, vectors: Float32Array, person: Int64Array) -> float:
    scores = LabelledFaces(vectors, person).scores(head)
    return equal_error_rate(scores.genuine, scores.impostor)


# Which pairs


def test_every_pair_of_few_pictures_is_learned_from() -> None:
    vectors, person = people(6, 3)
    pairs = training_pairs(vectors, person)
    found = {tuple(sorted(pair)) for pair in zip(pairs.left, pairs.right, strict=True)}
    assert found == set(itertools.combinations(range(18), 2))
    assert len(pairs.left) == len(found)
    assert np.array_equal(person[pairs.left] == person[pairs.right], pairs.same == 1.0)
    assert pairs.weight[pairs.same == 1.0] == pytest.approx(0.5 / 18)
    assert pairs.weight[pairs.same == 0.0] == pytest.approx(0.5 / 135)
    assert pairs.n_people == 6


def test_of_many_pairs_the_hardest_stand_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_heads, "N_HARD", 50)
    monkeypatch.setattr(learned_heads, "N_RANDOM", 200)
    vectors, person = people(30, 20)
    pairs = training_pairs(vectors, person)
    impostor = pairs.same == 0.0
    assert impostor.sum() == 250
    cosine = np.einsum("ij,ij->i", vectors[pairs.left], vectors[pairs.right])[impostor]
    of_all = LabelledFaces(vectors, person).scores(COSINE).impostor
    assert np.sort(cosine[:50]) == pytest.approx(np.sort(of_all)[-50:], abs=1e-6)
    weight = pairs.weight[impostor]
    assert weight[:50] == pytest.approx(0.5 / of_all.size)
    assert weight.sum() == pytest.approx(0.5)
    # A weighted mean of these pairs is one of all pairs.
    assert weight @ cosine * 2.0 == pytest.approx(of_all.mean(), abs=0.05)
    keys = pairs.left * len(person) + pairs.right
    assert np.unique(keys).size == keys.size
    assert (pairs.left < pairs.right).all()


def test_pairs_of_one_kind_only_are_refused() -> None:
    vectors, person = people(5, 1)
    with pytest.raises(CalibrationError, match="0 genuine and 10 impostor"):
        fit_head("product", vectors, person)
    with pytest.raises(CalibrationError, match="1 genuine and 0 impostor"):
        fit_head("product", vectors, np.zeros(5, np.int64), np.array([[0, 1]]))


# What is learned


@pytest.mark.parametrize("kind", LEARNED)
def test_learning_is_deterministic(kind: LearnedKind) -> None:
    vectors, person = people(15, noisy=6)
    assert fit_head(kind, vectors, person) == fit_head(kind, vectors.copy(), person.copy())


@pytest.mark.parametrize("kind", ["product", "weighted-l1"])
def test_dimensions_of_noise_get_little_weight(kind: LearnedKind) -> None:
    vectors, person = people(300, noisy=8)
    head = fit_head(kind, vectors, person)
    assert head.weights[-8:].max() < 0.7 * head.weights[:-8].min()
    others = people(60, noisy=8, seed=2)
    assert error_rate(head, *others) < 0.9 * error_rate(COSINE, *others)


@pytest.mark.parametrize("kind", ["product", "weighted-l1"])
def test_few_people_leave_the_weights_nearly_equal(kind: LearnedKind) -> None:
    few = fit_head(kind, *people(6, noisy=8)).weights
    many = fit_head(kind, *people(300, noisy=8)).weights
    assert np.ptp(few) / few.mean() < 0.5 * np.ptp(many) / many.mean()


def test_a_projection_of_few_people_keeps_their_cosines() -> None:
    vectors, person = people(6)
    head = fit_head("contrastive", vectors, person)
    assert head.weights.shape == (DIMENSION, DIMENSION)
    made = head.transform(vectors)
    assert head.pair_scores(made, made) == pytest.approx(vectors @ vectors.T, abs=0.05)


def test_a_projection_has_less_loss_on_other_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_heads, "PROJECTION_PULL", 10.0)
    vectors, person = people(300, noisy=8)
    learned = fit_head("contrastive", vectors, person).weights.astype(np.float64)
    others, of_other = people(60, noisy=8, seed=2)
    pairs = training_pairs(others, of_other)
    ends = pairs.left, pairs.right
    faces = others.astype(np.float64)
    loss = learned_heads._contrastive(learned, faces, ends, pairs)[0]
    assert loss < 0.9 * learned_heads._contrastive(np.eye(DIMENSION), faces, ends, pairs)[0]


def test_the_slopes_are_those_of_the_losses() -> None:
    from scipy.optimize import approx_fprime

    vectors, person = people(8)
    pairs = training_pairs(vectors, person)
    faces = vectors.astype(np.float64)
    random = np.random.default_rng(0)
    alike = faces[pairs.left] * faces[pairs.right]
    at = random.normal(size=DIMENSION + 1)
    numeric = approx_fprime(at, lambda x: learned_heads._logistic_loss(x, alike, pairs)[0], 1e-7)
    assert learned_heads._logistic_loss(at, alike, pairs)[1] == pytest.approx(numeric, abs=1e-6)
    shape = (3, DIMENSION)
    ends = pairs.left, pairs.right
    at = random.normal(size=3 * DIMENSION)
    numeric = approx_fprime(
        at, lambda x: learned_heads._contrastive(x.reshape(shape), faces, ends, pairs)[0], 1e-7
    )
    slope = learned_heads._contrastive(at.reshape(shape), faces, ends, pairs)[1]
    assert slope.ravel() == pytest.approx(numeric, abs=1e-6)


# Trials


def trial(kind: LearnedKind, vectors: Float32Array, person: Int64Array) -> HeadTrial:
    [found] = try_heads(LabelledFaces(vectors, person), [kind], "logistic")
    return found


def test_a_head_that_ignores_noise_is_surely_better() -> None:
    found = trial("product", *people(120, noisy=8))
    assert found.surely_better
    assert found.cllr == pytest.approx(found.check.cllr, abs=1e-5)
    assert found.gain == pytest.approx(found.cosine_cllr - found.cllr)
    assert 0.0 < found.gain_error < found.gain
    assert found.check.n_genuine == 120 * 6
    # Of two people in one fold only: 24 people in each of 5, of 4 pictures.
    assert found.check.n_impostor == 5 * (24 * 23 // 2) * 16


def test_where_there_is_nothing_to_learn_no_head_is_surely_better() -> None:
    for seed in (3, 4):
        assert not trial("product", *people(60, seed=seed)).surely_better


def test_labels_by_chance_make_no_head_better() -> None:
    vectors, person = people(40, noise=0.3)
    vectors = np.random.default_rng(0).permutation(vectors)
    with pytest.raises(CalibrationError, match="check the labels"):
        trial("product", vectors, person)


def test_the_pairs_of_a_list_are_parted_with_their_people() -> None:
    vectors, person = people(40, 4)
    same = np.array(
        [pair for n in range(40) for pair in itertools.combinations(range(4 * n, 4 * n + 4), 2)]
    )
    random = np.random.default_rng(5)
    apart = np.sort(random.integers(0, 160, (3000, 2)), axis=1)
    apart = np.unique(apart[person[apart[:, 0]] != person[apart[:, 1]]], axis=0)
    faces = LabelledFaces(vectors, person, np.concatenate((same, apart)))
    [found] = try_heads(faces, ["product"], "logistic")
    assert found.check.n_genuine == len(same)
    assert 0 < found.check.n_impostor < len(apart) / 3
    some = faces.only(person < 3)
    assert some.pairs is not None
    assert len(some.embeddings) == 12
    kept = (person[same] < 3).all(axis=1).sum() + (person[apart] < 3).all(axis=1).sum()
    assert len(some.pairs) == kept
    assert some.scores(COSINE).genuine == pytest.approx(
        np.einsum("ij,ij->i", vectors[same[:18, 0]], vectors[same[:18, 1]]), abs=1e-6
    )
