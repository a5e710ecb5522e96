"""A checksum for each stored embedding: what is read of a large segment is what was written.

A sum of the row's words, each times a fixed random number, modulo 2⁶⁴: any change within one
word is found, any other is missed once in four billion times.
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from facesim_index.records import Int64Array

UInt64Array = NDArray[np.uint64]

_ROWS_AT_ONCE = 1 << 11
_SEED = 0x4653495853554D53  # "FSIXSUMS"


def row_sums(face_ids: "Int64Array", vectors: NDArray[np.float16]) -> UInt64Array:
    """Return the checksums of rows of a segment.

    Parameters
    ----------
    face_ids : ndarray of shape (n,), int64
    vectors : ndarray of shape (n, dimension), float16
        `dimension` is even.

    Returns
    -------
    sums : ndarray of shape (n,), uint64
    """
    factors = _factors(vectors.shape[1] // 2 + 2)
    sums = np.empty(len(face_ids), dtype=np.uint64)
    for start in range(0, len(face_ids), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        words = np.ascontiguousarray(vectors[some]).view("<u4").astype(np.uint64)
        ids = np.ascontiguousarray(face_ids[some], dtype="<i8").view("<u4").reshape(-1, 2)
        sums[some] = np.einsum("ij,j->i", words, factors[2:]) + np.einsum(
            "ij,j->i", ids.astype(np.uint64), factors[:2]
        )
    return sums


@cache
def _factors(n: int) -> UInt64Array:
    """Return odd numbers that are the same everywhere and always (SplitMix64)."""
    with np.errstate(over="ignore"):
        state = np.uint64(_SEED) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: UInt64Array = (state ^ (state >> np.uint64(31))) | np.uint64(1)
    mixed.flags.writeable = False
    return mixed
