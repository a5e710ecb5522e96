"""Intervals of figures from drawing people anew: pairs and searches are not independent."""

from collections.abc import Iterator, Sequence

import numpy as np

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
