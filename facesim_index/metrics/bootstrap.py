"""Intervals of figures from drawing people anew: pairs and searches are not independent."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from facesim_index.records import Int64Array

_ENDS_PERCENT = (2.5, 97.5)


def people_drawn_anew(n_people: int, n_draws: int, seed: int) -> Iterator[Int64Array]:
    """Yield how often each of the people is drawn, with replacement.

    Parameters
    ----------
    n_people : int
    n_draws : int
    seed : int

    Yields
    ------
    ndarray of shape (n_people,), int64
        The sum is `n_people`.
    """
    rng = np.random.default_rng(seed)
    for _ in range(n_draws):
        drawn = rng.integers(0, n_people, n_people)
        yield np.bincount(drawn, minlength=n_people).astype(np.int64)


def pairs_drawn_anew(
    people: Int64Array, same: NDArray[np.bool_], n_draws: int, seed: int
) -> Iterator[Int64Array]:
    """Yield how often each pair counts when people are drawn anew.

    A pair of two people counts as often as the one is drawn times as often as the other.

    Parameters
    ----------
    people : ndarray of shape (n_pairs, 2), int64
        Whom the two pictures of each pair show.
    same : ndarray of shape (n_pairs,), bool
        Whether they are one person.
    n_draws : int
    seed : int

    Yields
    ------
    ndarray of shape (n_pairs,), int64
    """
    numbers, place = np.unique(people, return_inverse=True)
    first, second = place.reshape(people.shape).T
    for times in people_drawn_anew(numbers.size, n_draws, seed):
        yield np.where(same, times[first], times[first] * times[second])


def percentile_intervals(draws: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return the middle 95 % of each figure.

    Parameters
    ----------
    draws : sequence of dict of str to float
        The figures by name after each drawing.

    Returns
    -------
    dict of str to (float, float)
        Only of figures that every drawing has.
    """
    names = [name for name in draws[0] if all(name in draw for draw in draws)] if draws else []
    ends = {name: np.percentile([draw[name] for draw in draws], _ENDS_PERCENT) for name in names}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}
