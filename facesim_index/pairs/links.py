"""The neighbour graph of faces: links from each face to the most similar ones, by exact scores."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from facesim_index.pairs.blocks import Faces
from facesim_index.pairs.close import close_pairs
from facesim_index.records import Float32Array, Int64Array

LINKS_PER_FACE = 64
"""A link is kept when it is among so many best links of one of its two faces."""

_LEAST_PENDING = 4_000_000


@dataclass(frozen=True, slots=True)
class Links:
    """Pairs of similar faces.

    Attributes
    ----------
    a, b : ndarray of shape (n_links,), int64
        Rows of the faces, ``a < b``.
    scores : ndarray of shape (n_links,), float32
    """

    a: Int64Array
    b: Int64Array
    scores: Float32Array


def nearest_links(
    faces: Faces,
    least: float,
    *,
    n_new: int | None = None,
    per_face: int = LINKS_PER_FACE,
    on_rows: Callable[[int], None] | None = None,
) -> Links:
    """Return the links with a score of at least `least`.

    Every pair is compared.  Of a face with very many similar ones only the best links are kept, so
    the memory grows with the number of faces, however many faces a person has.

    Parameters
    ----------
    faces : Faces
    least : float
        In [-1, 1].
    n_new : int, optional
        Only return links whose face `a` is among the first `n_new` rows; by default all.
    per_face : int, default=64
        How many links of each face are kept.
    on_rows : callable, optional
        Called from time to time with the number of faces that have been compared with all others.

    Returns
    -------
    Links

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float16)
    >>> nearest_links(Faces(np.array([5, 7, 9]), vectors), 0.5)
    Links(a=array([0]), b=array([2]), scores=array([1.], dtype=float32))
    """
    wanted = len(faces.ids) if n_new is None else n_new
    kept = Links(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    pending: list[Links] = []
    limit = max(_LEAST_PENDING, 2 * per_face * len(faces.ids))
    for pairs in close_pairs(faces, least, n_rows=wanted):
        pending.append(Links(pairs.a, pairs.b, pairs.scores.astype(np.float32)))
        if len(kept.a) + sum(len(links.a) for links in pending) > limit:
            kept, pending = _best(_joined([kept, *pending]), per_face), []
        if on_rows is not None:
            on_rows(pairs.stop)
    return _best(_joined([kept, *pending]), per_face)


def _joined(parts: list[Links]) -> Links:
    return Links(
        np.concatenate([part.a for part in parts]),
        np.concatenate([part.b for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def _best(links: Links, per_face: int) -> Links:
    """Return the links that are among the `per_face` best of one of their faces."""
    row = np.concatenate([links.a, links.b])
    order = np.lexsort((-np.concatenate([links.scores, links.scores]), row))
    ordered = row[order]
    rank = np.arange(len(row)) - np.searchsorted(ordered, ordered)
    chosen = np.zeros(len(row), dtype=np.bool_)
    chosen[order[rank < per_face]] = True
    kept = chosen[: len(links.a)] | chosen[len(links.a) :]
    return Links(links.a[kept], links.b[kept], links.scores[kept])
