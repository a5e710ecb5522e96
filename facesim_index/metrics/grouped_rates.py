"""How sure is a rate of pairs that are not independent.

Pairs of one photo, and pairs with a person in common, hang together: counting each as new
evidence makes a rate look far more certain than it is.
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.records import BoolArray, Int64Array

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """How pairs hang together.

    Attributes
    ----------
    place : ndarray of shape (n_pairs, 1) or (n_pairs, 2), int64
        The photo of each pair, or its two people: pairs with one in common hang together.
        Numbered from 0.
    sizes : tuple of ndarray of shape (n_groups,), int64
        Pairs of each group, by the columns of `place`.
    n_independent : int
        The most pairs that can count: those of two people are one, however many there are.
    """

    place: Int64Array
    sizes: tuple[Int64Array, ...]
    n_independent: int

    @classmethod
    def of(cls, names: Int64Array) -> "Groups":
        """Make them of the numbers of photos or people, of any shape (n_pairs, 1 or 2)."""
        found, place = np.unique(names, return_inverse=True)
        place = place.reshape(names.shape).astype(np.int64)
        sizes = tuple(np.bincount(column, minlength=found.size) for column in place.T)
        n_independent = len(names)
        if names.shape[1] == 2:
            ordered = np.sort(place, axis=1)
            n_independent = np.unique(ordered[:, 0] * found.size + ordered[:, 1]).size
        return cls(place, sizes, n_independent)


def interval(found: BoolArray, groups: Groups) -> tuple[float, float]:
    """Return the 95 % interval of a share of pairs that come in groups.

    That of Clopper and Pearson for the *effective* number of pairs: as many independent ones
    as would vary as much as the groups' shares do [1]_.

    Parameters
    ----------
    found : ndarray of shape (n_pairs,), bool
        At least one pair.
    groups : Groups

    Returns
    -------
    low, high : float
        In [0, 1].

    References
    ----------
    .. [1] E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small
       expected number of positive counts estimated from survey data", Survey Methodology, 1998.
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


def _variance(found: BoolArray, groups: Groups) -> float:
    """Return the variance of the share, from how much the groups differ."""
    share = found.mean()
    n_groups = groups.sizes[0].size
    total = np.zeros(n_groups)
    for column, size in zip(groups.place.T, groups.sizes, strict=True):
        total += np.bincount(column[found], minlength=n_groups) - share * size
    # Summed over two columns, each pair meets itself once too often.
    itself = (len(groups.sizes) - 1) * found.size * share * (1.0 - share)
    few = n_groups / max(1, n_groups - 1)
    return float(max(0.0, (total @ total - itself) * few) / found.size**2)
