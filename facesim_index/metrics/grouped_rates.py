"""Intervals of rates of pairs that are not independent.

Pairs of faces of one photo, and pairs that share a person, depend on each other.  Counting each of
them as independent evidence makes a rate look far more certain than it is.
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.records import BoolArray, Int64Array

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Which pairs depend on each other.

    Attributes
    ----------
    place : ndarray of shape (n_pairs, 1) or (n_pairs, 2), int64
        The photo of each pair, or its two people, numbered from 0.  Pairs that share one depend
        on each other.
    sizes : tuple of ndarray of shape (n_groups,), int64
        For each column of `place`, how many pairs are in each group.
    n_independent : int
        The largest number of pairs that can count as independent: all pairs of the same two
        people count as one.
    """

    place: Int64Array
    sizes: tuple[Int64Array, ...]
    n_independent: int

    @classmethod
    def of(cls, names: Int64Array) -> "Groups":
        """Group pairs by their photos or people.

        Parameters
        ----------
        names : ndarray of shape (n_pairs, 1) or (n_pairs, 2), int64
            Any number of the photo of each pair, or of its two people.

        Returns
        -------
        Groups
        """
        n_groups, place = _numbered(names.ravel())
        place = place.reshape(names.shape)
        sizes = tuple(np.bincount(column, minlength=n_groups) for column in place.T)
        n_independent = len(names)
        if names.shape[1] == 2:
            lower, upper = place.min(axis=1), place.max(axis=1)
            n_independent, _ = _numbered(lower * n_groups + upper)
        return cls(place, sizes, n_independent)


def interval(found: BoolArray, groups: Groups) -> tuple[float, float]:
    """Return the 95 % interval of a share of pairs that come in groups [1]_.

    It is the interval of Clopper and Pearson for an *effective* number of pairs: the number of
    independent pairs whose share would vary as much as the shares of the groups do.

    Parameters
    ----------
    found : ndarray of shape (n_pairs,), bool
        Which pairs are counted by the share; at least one pair.
    groups : Groups
        Of these pairs.

    Returns
    -------
    low, high : float
        In [0, 1].

    References
    ----------
    .. [1] E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small
       expected number of positive counts estimated from survey data", Survey Methodology, 1998.

    Examples
    --------
    One pair in four, but all four pairs of a photo agree: they count like three independent ones.

    >>> photo = np.repeat(np.arange(4), 4)[:, None]
    >>> low, high = interval(photo[:, 0] == 0, Groups.of(photo))
    >>> round(low, 3), round(high, 3)
    (0.002, 0.868)
    """
    from scipy.special import betaincinv

    share = float(found.mean())
    n_effective = float(groups.n_independent)
    spread = _variance(found, groups)
    if spread > 0.0:
        n_effective = min(n_effective, share * (1.0 - share) / spread)
    n_found = share * n_effective
    tail = (1.0 - CONFIDENCE) / 2.0
    low = betaincinv(n_found, n_effective - n_found + 1.0, tail) if found.any() else 0.0
    high = 1.0 if found.all() else betaincinv(n_found + 1.0, n_effective - n_found, 1.0 - tail)
    return float(low), float(high)


def _numbered(names: Int64Array) -> tuple[int, Int64Array]:
    """Return how many different names there are, and the place of each among them."""
    if names.size and names.min() >= 0 and names.max() <= 4 * names.size:
        # Counting is many times faster than sorting millions of names.
        there = np.bincount(names) > 0
        return int(there.sum()), (np.cumsum(there) - 1)[names]
    found, place = np.unique(names, return_inverse=True)
    return found.size, place.astype(np.int64)


def _variance(found: BoolArray, groups: Groups) -> float:
    """Return the variance of the share, estimated from the differences between groups."""
    share = found.mean()
    n_groups = groups.sizes[0].size
    total = np.zeros(n_groups)
    for column, size in zip(groups.place.T, groups.sizes, strict=True):
        total += np.bincount(column[found], minlength=n_groups) - share * size
    # With two columns each pair is counted once too often with itself.
    itself = (len(groups.sizes) - 1) * found.size * share * (1.0 - share)
    few = n_groups / max(1, n_groups - 1)
    return float(max(0.0, (total @ total - itself) * few) / found.size**2)
