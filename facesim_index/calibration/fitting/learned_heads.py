"""Learning a head from labelled pairs of embeddings.

All genuine pairs are used (at most `MAX_GENUINE`).  Of the impostor pairs the `N_HARD` most similar
ones are used, and `N_RANDOM` of the others at random.  Each of the latter has the weight of the
pairs it was drawn from, so that both classes have the same weight and all impostor pairs count.

- **weighted-l1** is the head of Siamese networks such as DeepFace [1]_: logistic regression on
  |a − b|.  **product** is logistic regression on a∘b; with equal weights it is the cosine.  Both
  have a penalty on the distance from equal weights, which matters more the fewer people there are.
- **contrastive** is a linear projection with the contrastive loss [2]_ on the distances of the
  projected faces.  It has a penalty on the distance from the projection on the main axes of the
  embeddings, which changes cosines least.

The losses are minimised by L-BFGS, without random numbers.

References
----------
.. [1] Y. Taigman, M. Yang, M. Ranzato and L. Wolf, "DeepFace: closing the gap to human-level
   performance in face verification", CVPR, 2014.
.. [2] R. Hadsell, S. Chopra and Y. LeCun, "Dimensionality reduction by learning an invariant
   mapping", CVPR, 2006.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.heads import Head, LearnedKind
from facesim_index.errors import CalibrationError
from facesim_index.metrics.odds import logistic
from facesim_index.records import Float32Array, Float64Array, Int64Array
from facesim_index.utils.threads import one_blas_thread

MAX_GENUINE = 20_000
N_HARD = 10_000
N_RANDOM = 20_000

PULL = 300.0
"""Penalty on unequal weights of product and weighted-l1, for one person with two pictures.

It is divided by the number of such people.
"""

PROJECTED = 256
"""The largest number of dimensions of a contrastive projection."""

PROJECTION_PULL = 30_000.0
"""Penalty on the distance of a contrastive projection from the main axes; see `PULL`."""

MARGIN = 1.4
"""Distance from which projected faces of two people are far enough apart: cosine 0.02."""

MAX_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPairs:
    """Pairs of embeddings to learn from.

    Attributes
    ----------
    left, right : ndarray of shape (n_pairs,), int64
        Rows of the embeddings.
    same : ndarray of shape (n_pairs,), float64
        1 for pairs of one person, 0 for pairs of two.
    weight : ndarray of shape (n_pairs,), float64
        The weights of each class sum to one half.
    n_people : int
        Number of people with two pictures or more.
    """

    left: Int64Array
    right: Int64Array
    same: Float64Array
    weight: Float64Array
    n_people: int


def training_pairs(
    embeddings: Float32Array, person: Int64Array, pairs: Int64Array | None = None, *, seed: int = 0
) -> TrainingPairs:
    """Choose the pairs of embeddings that a head is learned from.

    Parameters
    ----------
    embeddings : ndarray of shape (n, dimension), float32
        Unit norm.
    person : ndarray of shape (n,), int64
        The person of each embedding.
    pairs : ndarray of shape (n_pairs, 2), int64, optional
        The labelled pairs, as rows of two embeddings; by default every pair.
    seed : int, default=0
        Of the random choice of pairs.

    Returns
    -------
    TrainingPairs

    Raises
    ------
    CalibrationError
        A class has no pair.

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], np.float32)
    >>> chosen = training_pairs(vectors, np.array([1, 1, 2]))
    >>> chosen.same, chosen.weight
    (array([1., 0., 0.]), array([0.5 , 0.25, 0.25]))
    """
    rng = np.random.default_rng(seed)
    if pairs is None:
        genuine = _genuine_pairs(person)
        impostor, stands_for = _impostor_pairs(embeddings, person, rng)
    else:
        same = person[pairs[:, 0]] == person[pairs[:, 1]]
        genuine, impostor = pairs[same], pairs[~same]
        stands_for = np.ones(len(impostor))
    if not len(genuine) or not len(impostor):
        raise CalibrationError(
            f"{len(genuine)} genuine and {len(impostor)} impostor pairs: a head needs both"
        )
    n_people = int(np.unique(person[genuine[:, 0]]).size)
    if len(genuine) > MAX_GENUINE:
        genuine = genuine[np.sort(rng.permutation(len(genuine))[:MAX_GENUINE])]
    both = np.concatenate((genuine, impostor))
    return TrainingPairs(
        left=both[:, 0],
        right=both[:, 1],
        same=np.repeat((1.0, 0.0), (len(genuine), len(impostor))),
        weight=np.concatenate(
            (np.full(len(genuine), 0.5 / len(genuine)), 0.5 * stands_for / stands_for.sum())
        ),
        n_people=n_people,
    )


def fit_head(
    kind: LearnedKind,
    embeddings: Float32Array,
    person: Int64Array,
    pairs: Int64Array | None = None,
    *,
    seed: int = 0,
) -> Head:
    """Learn a head.

    Parameters
    ----------
    kind : {"weighted-l1", "product", "contrastive"}
        Which head to learn.
    embeddings : ndarray of shape (n, dimension), float32
    person : ndarray of shape (n,), int64
    pairs : ndarray of shape (n_pairs, 2), int64, optional
    seed : int, default=0
        As for `training_pairs`.

    Returns
    -------
    Head

    Raises
    ------
    CalibrationError
        As `training_pairs`.

    Examples
    --------
    The first dimension tells people apart, the second one is noise:

    >>> vectors = np.array([[0.6, 0.8], [0.6, -0.8], [-0.6, 0.8], [-0.6, -0.8]], np.float32)
    >>> weights = fit_head("product", vectors, np.array([1, 1, 2, 2])).weights
    >>> bool(weights[0] > weights[1])
    True
    """
    with one_blas_thread():
        chosen = training_pairs(embeddings, person, pairs, seed=seed)
        if kind == "contrastive":
            return Head(kind, _fit_projection(embeddings, chosen))
        return Head(kind, _fit_weights(kind, embeddings, chosen))


def _fit_weights(kind: LearnedKind, embeddings: Float32Array, pairs: TrainingPairs) -> Float32Array:
    """Return the weights of a logistic regression on products or negative absolute differences."""
    left, right = embeddings[pairs.left], embeddings[pairs.right]
    alike = left * right if kind == "product" else -np.abs(left - right)
    dimension = alike.shape[1]
    plain = _minimum(
        lambda both: _logistic_loss(both, alike.sum(axis=1, dtype=np.float64)[:, None], pairs),
        np.array([10.0, 0.0]),
        [(1e-3, None), (None, None)],
    )
    equal, offset = float(plain[0]), float(plain[1])
    pull = PULL / pairs.n_people / dimension

    def cost(at: Float64Array) -> tuple[float, Float64Array]:
        # In units of the equal weight, so that all parameters have about the same size.
        value, slope = _logistic_loss(np.append(at[:-1] * equal, at[-1]), alike, pairs)
        slope[:-1] *= equal
        away = at[:-1] - 1.0
        slope[:-1] += pull * away
        return value + pull * float(away @ away) / 2.0, slope

    start = np.append(np.ones(dimension), offset)
    weights = _minimum(cost, start, [(0.0, None)] * dimension + [(None, None)])[:-1]
    if not weights.any():  # No dimension separates the classes.
        weights = np.ones(dimension)
    size = weights.max() if kind == "product" else np.linalg.norm(weights)
    return np.asarray(weights / size, dtype=np.float32)


def _logistic_loss(
    at: Float64Array, alike: Float32Array | Float64Array, pairs: TrainingPairs
) -> tuple[float, Float64Array]:
    """Return the logistic loss in nats and its gradient, at weights and an offset."""
    score = alike @ at[:-1].astype(alike.dtype) + at[-1]
    wrong = np.where(pairs.same > 0.0, -score, score).astype(np.float64)
    error = logistic(wrong) * pairs.weight
    error[pairs.same > 0.0] *= -1.0
    slope = np.append(np.matmul(error.astype(alike.dtype), alike), error.sum())
    return float(pairs.weight @ np.logaddexp(0.0, wrong)), np.asarray(slope, dtype=np.float64)


def _fit_projection(embeddings: Float32Array, pairs: TrainingPairs) -> Float32Array:
    """Return the projection with the least contrastive loss, of spectral norm 1."""
    used, place = np.unique(np.concatenate((pairs.left, pairs.right)), return_inverse=True)
    left, right = place[: pairs.left.size], place[pairs.left.size :]
    faces = embeddings[used].astype(np.float64)
    # The main axes about zero: projecting on them changes cosines least.
    _, axes = np.linalg.eigh(faces.T @ faces)
    start = np.ascontiguousarray(axes[:, ::-1][:, : min(PROJECTED, faces.shape[1])].T)
    start *= np.sign(start[:, :1]) + (start[:, :1] == 0.0)  # The same sign with every library.
    pull = PROJECTION_PULL / pairs.n_people / faces.shape[1]

    def cost(at: Float64Array) -> tuple[float, Float64Array]:
        projection = at.reshape(start.shape)
        value, slope = _contrastive(projection, faces, (left, right), pairs)
        away = projection - start
        return value + pull * float((away**2).sum()) / 2.0, (slope + pull * away).ravel()

    projection = _minimum(cost, start.ravel(), None).reshape(start.shape)
    return np.asarray(projection / np.linalg.norm(projection, 2), dtype=np.float32)


def _contrastive(
    projection: Float64Array,
    faces: Float64Array,
    ends: tuple[Int64Array, Int64Array],
    pairs: TrainingPairs,
) -> tuple[float, Float64Array]:
    """Return the contrastive loss and its gradient at a projection."""
    from scipy.sparse import csr_array

    left, right = ends
    projected = faces @ projection.T
    norm = np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
    unit = projected / norm
    apart = np.sqrt(np.maximum(2.0 - 2.0 * np.einsum("ij,ij->i", unit[left], unit[right]), 1e-12))
    short = np.maximum(MARGIN - apart, 0.0)
    one = pairs.same > 0.0
    value = float(pairs.weight @ np.where(one, apart**2, short**2)) / 2.0
    # The gradient by the chain rule: pairs' cosines, unit vectors, projected faces, projection.
    by_cosine = pairs.weight * np.where(one, -1.0, short / apart)
    links = csr_array((by_cosine, (left, right)), shape=(len(faces), len(faces)))
    by_unit = links @ unit + links.T @ unit
    along = np.einsum("ij,ij->i", by_unit, unit)[:, None]
    return value, ((by_unit - along * unit) / norm).T @ faces


def _minimum(
    cost: Callable[[Float64Array], tuple[float, Float64Array]],
    start: Float64Array,
    bounds: list[tuple[float | None, float | None]] | None,
) -> Float64Array:
    from scipy.optimize import minimize

    found = minimize(
        cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": MAX_STEPS}
    )
    return np.asarray(found.x, dtype=np.float64)


def _genuine_pairs(person: Int64Array) -> Int64Array:
    """Return the rows of every pair of one person, about `MAX_GENUINE` of each at most."""
    order = np.argsort(person, kind="stable")
    starts = np.unique(person[order], return_index=True)[1]
    found = [np.empty((0, 2), dtype=np.int64)]
    most = int(np.sqrt(2.0 * MAX_GENUINE))
    for start, stop in zip(starts, [*starts[1:], person.size], strict=True):
        mine = order[start : min(stop, start + most)]
        first, second = np.triu_indices(mine.size, 1)
        found.append(np.stack((mine[first], mine[second]), axis=1))
    return np.concatenate(found)


def _impostor_pairs(
    embeddings: Float32Array, person: Int64Array, rng: np.random.Generator
) -> tuple[Int64Array, Float64Array]:
    """Return the most similar pairs of two people, some others, and the weight of each."""
    size = person.size
    cosines, places = [np.empty(0, dtype=np.float32)], [np.empty(0, dtype=np.int64)]
    n_pairs, floor = 0, -np.inf
    for start in range(0, size, 512):
        stop = min(start + 512, size)
        cosine = embeddings[start:stop] @ embeddings[start:].T
        two = person[start:stop, None] != person[None, start:]
        two &= np.arange(start, stop)[:, None] < np.arange(start, size)[None, :]
        n_pairs += int(two.sum())
        row, column = np.nonzero(two & (cosine > floor))
        cosines.append(cosine[row, column])
        places.append((row + start) * size + column + start)
        kept = np.concatenate(cosines)
        best = np.argsort(-kept, kind="stable")[:N_HARD]
        cosines, places = [kept[best]], [np.concatenate(places)[best]]
        floor = float(kept[best[-1]]) if best.size == N_HARD else -np.inf
    hard = places[0]
    drawn = rng.integers(0, size, (4 * N_RANDOM, 2))
    drawn.sort(axis=1)
    drawn = drawn[person[drawn[:, 0]] != person[drawn[:, 1]]]
    easy = np.setdiff1d(drawn[:, 0] * size + drawn[:, 1], hard)
    easy = np.sort(rng.permutation(easy)[: min(N_RANDOM, max(0, n_pairs - hard.size))])
    chosen = np.concatenate((hard, easy))
    stands_for = np.ones(chosen.size)
    stands_for[hard.size :] = (n_pairs - hard.size) / max(1, easy.size)
    return np.stack((chosen // size, chosen % size), axis=1), stands_for
