"""Intervals of figures from a bootstrap over people.

Pairs and searches are not independent: everyone is in many of them.  So people are drawn anew with
replacement, each with all pairs and searches that belong to them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from facesim_index.records import Int64Array

_ENDS_PERCENT = (2.5, 97.5)


def people_drawn_anew(n_people: int, n_draws: int, seed: int) -> Iterator[Int64Array]:
    """Yield how often each person is drawn, with replacement [1]_.

    Parameters
    ----------
    n_people : int
        As many people are drawn each time.
    n_draws : int
        How often they are drawn anew.
    seed : int
        Of the random numbers.

    Yields
    ------
    ndarray of shape (n_people,), int64
        The sum is `n_people`.

    References
    ----------
    .. [1] B. Efron and R. J. Tibshirani, "An introduction to the bootstrap", Chapman and Hall,
       1993.

    Examples
    --------
    >>> [times.sum().item() for times in people_drawn_anew(5, n_draws=3, seed=0)]
    [5, 5, 5]
    """
    rng = np.random.default_rng(seed)
    for _ in range(n_draws):
        drawn = rng.integers(0, n_people, n_people)
        yield np.bincount(drawn, minlength=n_people).astype(np.int64)


def pairs_drawn_anew(
    people: Int64Array, same: NDArray[np.bool_], n_draws: int, seed: int
) -> Iterator[Int64Array]:
    """Yield how often each pair counts when people are drawn anew.

    A genuine pair counts as often as its person is drawn.  An impostor pair counts as often as
    the first person is drawn, times as often as the second is drawn.

    Parameters
    ----------
    people : ndarray of shape (n_pairs, 2), int64
        The people on the two pictures of each pair.
    same : ndarray of shape (n_pairs,), bool
        Whether they are one person.
    n_draws : int
        How often people are drawn anew.
    seed : int
        Of the random numbers.

    Yields
    ------
    ndarray of shape (n_pairs,), int64

    Examples
    --------
    Three people, who are drawn 2, 0 and 1 times, in a genuine and two impostor pairs:

    >>> people, same = np.array([[0, 0], [0, 1], [0, 2]]), np.array([True, False, False])
    >>> next(pairs_drawn_anew(people, same, n_draws=1, seed=2))
    array([2, 0, 2])
    """
    numbers, place = np.unique(people, return_inverse=True)
    first, second = place.reshape(people.shape).T
    for times in people_drawn_anew(numbers.size, n_draws, seed):
        yield np.where(same, times[first], times[first] * times[second])


def percentile_intervals(draws: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return the interval that holds the middle 95 % of the draws of each figure.

    Parameters
    ----------
    draws : sequence of dict of str to float
        The figures by name, after each time people are drawn.

    Returns
    -------
    dict of str to (float, float)
        Low and high end by name; only of figures that every draw has.

    Examples
    --------
    >>> percentile_intervals([{"eer": value / 100} for value in range(101)])
    {'eer': (0.025, 0.975)}
    """
    names = [name for name in draws[0] if all(name in draw for draw in draws)] if draws else []
    ends = {name: np.percentile([draw[name] for draw in draws], _ENDS_PERCENT) for name in names}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}
