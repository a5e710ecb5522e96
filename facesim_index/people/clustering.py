"""From a graph of similar faces to people: average linkage [1]_ that respects what is known.

The similarity of two groups of faces is the mean of the scores of all pairs between them,
whether the graph has those pairs or not.  The scores are inner products, so the mean follows
from the sums of both groups' vectors.  The graph only says which groups may be compared at all.
Groups are merged, the pair with most evidence first, until no pair has enough.

What is known binds.  Faces of one *owner* stay together, and groups of different owners are
never merged.  Neither are groups that share a *mark*: two faces of one photo bear the photo's
mark, because they are two people.

References
----------
.. [1] R. R. Sokal and C. D. Michener, "A statistical method for evaluating systematic
   relationships", University of Kansas Science Bulletin, 1958.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from facesim_index.pairs.blocks import Faces
from facesim_index.pairs.links import Links
from facesim_index.records import Float32Array, Float64Array, Int64Array

Evidence = Callable[[Float64Array, Float64Array], Float64Array]
"""Takes mean scores and numbers of pairs; returns the evidence that two groups are one person."""


UNASSIGNED = -1
"""Stands for the person of a face that is not assigned to anybody; ids of people are positive."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of faces before anything is computed.

    Attributes
    ----------
    owner : ndarray of shape (n,), int64
        The person that each face belongs to, or `UNASSIGNED`.  Faces of one owner stay together,
        apart from those of every other owner.
    marks : dict of int to set of int
        For a row, marks that no other face of the same person may bear.
    """

    owner: Int64Array
    marks: dict[int, set[int]]


def cluster(
    faces: Faces, links: Links, known: Known, evidence: Evidence, least: float
) -> Int64Array:
    """Group faces into people, and return a label for each face.

    Parameters
    ----------
    faces : Faces
        Of a head whose scores are inner products.
    links : Links
        Pairs of faces that are similar enough to be compared.
    known : Known
        Of the same rows.
    evidence : callable
        Takes mean scores and numbers of pairs; returns the base-10 logarithm of the likelihood
        ratio that two groups are one person.
    least : float
        Groups with at least so much evidence are merged.

    Returns
    -------
    labels : ndarray of shape (n,), int64
        Faces with one label are one person's; the label is the lowest row among them.
    """
    labels = np.arange(len(faces.ids), dtype=np.int64)
    for rows, a, b in _components(len(faces.ids), links, known.owner):
        if not len(a):  # one owner's faces, and nobody who might join them
            labels[rows] = rows.min()
            continue
        groups = _Groups(faces, rows, a, b, known, evidence, least)
        groups.merge_all()
        for members in groups.members:
            if members:
                labels[rows[members]] = rows[min(members)]
    return labels


def _components(
    n: int, links: Links, owner: Int64Array
) -> Iterator[tuple[Int64Array, Int64Array, Int64Array]]:
    """Yield the rows of each connected part with two or more faces, and its links within."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    owned = np.flatnonzero(owner != UNASSIGNED)
    owned = owned[np.argsort(owner[owned], kind="stable")]
    chained = owner[owned[:-1]] == owner[owned[1:]]
    a = np.concatenate([links.a, owned[:-1][chained]])
    b = np.concatenate([links.b, owned[1:][chained]])
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
    n_parts, part = connected_components(graph, directed=False)
    by_part = np.argsort(part, kind="stable")
    starts = np.searchsorted(part[by_part], np.arange(n_parts + 1))
    link_order = np.argsort(part[links.a], kind="stable")
    link_starts = np.searchsorted(part[links.a][link_order], np.arange(n_parts + 1))
    place = np.empty(n, dtype=np.int64)
    place[by_part] = np.arange(n) - starts[part[by_part]]
    for number in np.flatnonzero(np.diff(starts) > 1).tolist():
        rows = by_part[starts[number] : starts[number + 1]]
        here = link_order[link_starts[number] : link_starts[number + 1]]
        yield rows, place[links.a[here]], place[links.b[here]]


@dataclass(slots=True)
class _Groups:
    """The groups of one connected part while they are merged.

    A merged group keeps the lower row.
    """

    faces: Faces
    rows: Int64Array
    a: Int64Array
    b: Int64Array
    known: Known
    evidence: Evidence
    least: float
    members: list[list[int]] = field(init=False)
    sums: Float32Array = field(init=False)
    sizes: Float64Array = field(init=False)
    owners: list[int] = field(init=False)
    marks: list[set[int]] = field(init=False)
    near: list[set[int]] = field(init=False)
    versions: list[int] = field(init=False)
    heap: list[tuple[float, int, int, int, int]] = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.rows)
        self.members = [[row] for row in range(n)]
        summable = self.faces.scorer.summable(self.faces.single(self.rows))
        self.sums = summable.astype(np.float32)
        self.sizes = np.ones(n)
        self.owners = self.known.owner[self.rows].tolist()
        self.marks = [set(self.known.marks.get(row, ())) for row in self.rows.tolist()]
        self.near = [set() for _ in range(n)]
        for one, other in zip(self.a.tolist(), self.b.tolist(), strict=True):
            self.near[one].add(other)
            self.near[other].add(one)
        self.versions = [0] * n
        self.heap = []
        first: dict[int, int] = {}
        for row, owner in enumerate(self.owners):
            if owner != UNASSIGNED and first.setdefault(owner, row) != row:
                self._join(first[owner], row)

    def merge_all(self) -> None:
        """Merge groups, the pair with most evidence first, until no pair has enough.

        The heap has one entry for each group: its best neighbour when the group last changed.  When
        that neighbour has changed since, the group looks for its best neighbour anew.  A group that
        changed has a new entry of its own, so the best pair of all is always on the heap.
        """
        for row in range(len(self.rows)):
            if self.members[row]:
                self._look(row)
        while self.heap:
            _, one, other, version, version_of_other = heapq.heappop(self.heap)
            if self.versions[one] != version:
                continue
            if self.versions[other] != version_of_other:
                self._look(one)
                continue
            kept, gone = min(one, other), max(one, other)
            self._join(kept, gone)
            self._look(kept)

    def _look(self, row: int) -> None:
        """Put a group's best neighbour on the heap, if it has evidence enough."""
        others = np.fromiter(sorted(self.near[row]), dtype=np.int64, count=len(self.near[row]))
        if not len(others):
            return
        n_pairs = self.sizes[others] * self.sizes[row]
        means = (self.sums[others] @ self.faces.scorer.opposite(self.sums[row])) / n_pairs
        values = self.evidence(means, n_pairs)
        while True:
            best = int(values.argmax())
            value, other = float(values[best]), int(others[best])
            if value < self.least:
                return
            if not self._conflict(row, other):
                entry = (-value, row, other, self.versions[row], self.versions[other])
                heapq.heappush(self.heap, entry)
                return
            self.near[row].discard(other)
            self.near[other].discard(row)
            values[best] = -np.inf

    def _conflict(self, one: int, other: int) -> bool:
        if self.owners[one] >= 0 and self.owners[other] >= 0:
            return True
        return not self.marks[one].isdisjoint(self.marks[other])

    def _join(self, kept: int, gone: int) -> None:
        self.members[kept] += self.members[gone]
        self.members[gone] = []
        self.sums[kept] += self.sums[gone]
        self.sizes[kept] += self.sizes[gone]
        self.owners[kept] = max(self.owners[kept], self.owners[gone])
        self.marks[kept] |= self.marks[gone]
        self.versions[kept] += 1
        self.versions[gone] = -1
        for other in self.near[gone]:
            self.near[other].discard(gone)
            if other != kept:
                self.near[other].add(kept)
                self.near[kept].add(other)
        self.near[gone] = set()
        self.near[kept].discard(kept)
