"""Who seems to be who among unlabelled faces, by scores relative to the faces themselves.

To test a calibration on unlabelled faces, the pairs of one person must be left out, and the
calibration cannot say which they are: where it is wrong it takes strangers for one person.  So a
score counts here by how far it stands out from the other scores of the same two faces
(`relative_scores`).  Where all strangers are alike, as children are, their scores are high, and yet
none of them stands out.

People are groups by average linkage [1]_: a person's faces agree with each other, while strangers
who are linked in a chain do not.

References
----------
.. [1] R. R. Sokal and C. D. Michener, "A statistical method for evaluating systematic
   relationships", University of Kansas Science Bulletin, 1958.
"""

from dataclasses import dataclass

import numpy as np

from facesim_index.records import BoolArray, Float32Array, Float64Array, Int64Array

MIN_FACES = 20
"""Among fewer faces nothing stands out, and each of them is somebody else."""

SURE = 5.0
"""Two faces are one person from this relative score: one pair of strangers in 30,000 reaches it."""

SURE_OF_MANY = 3.0
"""Two groups are one person from this mean relative score, when they have `MANY_PAIRS` pairs."""

STANDS_OUT = 2.0
MARGIN = 1.0
"""A group may be a part of a larger one from this mean relative score, when it is so much above
that with any other large group."""

LARGE = 3
"""A group of so many faces counts as large."""

MANY_PAIRS = 9
_KNOWN = 50.0
_PASSES = 8


@dataclass(frozen=True, slots=True, eq=False)
class ApparentPeople:
    """Groups of faces that seem to be people.

    Attributes
    ----------
    person : ndarray of shape (n_faces,), int64
        A number from 0 for each face; faces that seem to be one person share it.
    doubtful : ndarray of shape (n_people, n_people), bool
        Which two of them may be one person; symmetric.
    """

    person: Int64Array
    doubtful: BoolArray


def relative_scores(scores: Float64Array) -> Float32Array:
    """Return by how much each score stands out from the others of the same two faces.

    It is the mean, over both faces, of the distance to the median of the face's scores, in units
    of the distance from there to the 16th percentile.  Scores of strangers, which are nearly all,
    have a median of 0 and a spread of about 1, whatever scale they are made on.

    Parameters
    ----------
    scores : ndarray of shape (n, n), float64
        Symmetric.

    Returns
    -------
    ndarray of shape (n, n), float32

    Examples
    --------
    >>> scores = np.random.default_rng(0).normal(0.3, 0.1, (200, 200))
    >>> relative = relative_scores((scores + scores.T) / 2.0)
    >>> round(float(np.median(relative)), 1), round(float(relative.std()), 1)
    (0.0, 0.9)
    """
    single = scores.astype(np.float32)
    places = (int(0.16 * len(single)), len(single) // 2)
    ordered = np.partition(single, places, axis=1)
    low, middle = ordered[:, places[0]], ordered[:, places[1]]
    spread = np.maximum(middle - low, np.float32(1e-6))
    single -= middle[:, None]
    single /= spread[:, None]
    return np.asarray((single + single.T) * np.float32(0.5), dtype=np.float32)


def apparent_people(
    scores: Float64Array, *, image: Int64Array, known: Int64Array
) -> ApparentPeople:
    """Group faces into the people that they seem to be.

    Parameters
    ----------
    scores : ndarray of shape (n, n), float64
        Symmetric; of any head.
    image : ndarray of shape (n,), int64
        The picture of each face.  Two faces of one picture are two people.
    known : ndarray of shape (n,), int64
        The person of each face as a human said, -1 for one of which nobody said anything.

    Returns
    -------
    ApparentPeople
    """
    n_faces = len(scores)
    if n_faces < MIN_FACES:
        everybody = np.arange(n_faces, dtype=np.int64)
        return ApparentPeople(everybody, np.zeros((n_faces, n_faces), dtype=np.bool_))
    relative = relative_scores(scores)
    relative[image[:, None] == image] = -_KNOWN
    said = np.flatnonzero(known >= 0)
    one = known[said, None] == known[said]
    relative[said[:, None], said] = np.where(one, np.float32(_KNOWN), np.float32(-_KNOWN))
    np.clip(relative, -_KNOWN, _KNOWN, out=relative)
    person = _linked(relative)
    sizes = np.bincount(person)
    if 2 * sizes[sizes >= LARGE].sum() >= n_faces:
        # Where most people have many faces, a face that stands out with one of them is theirs.
        person = _joined(relative, person)
    return ApparentPeople(person, _doubtful(relative, person))


def _linked(relative: Float32Array) -> Int64Array:
    """Return groups by average linkage; two single faces need more than two groups of many."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    n_faces = len(relative)
    distance = _KNOWN - relative
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average")
    one, other = tree[:, 0].astype(np.int64), tree[:, 1].astype(np.int64)
    mean = _KNOWN - tree[:, 2]
    sizes = np.concatenate((np.ones(n_faces), tree[:, 3]))
    sure = mean >= np.where(sizes[one] * sizes[other] >= MANY_PAIRS, SURE_OF_MANY, SURE)
    whole = np.ones(2 * n_faces - 1, dtype=np.bool_)
    for step in range(n_faces - 1):
        whole[n_faces + step] = sure[step] and whole[one[step]] and whole[other[step]]
    group = np.arange(2 * n_faces - 1)
    for step in range(n_faces - 2, -1, -1):
        if whole[n_faces + step]:
            group[one[step]] = group[other[step]] = group[n_faces + step]
    return _numbered(group[:n_faces])


def _joined(relative: Float32Array, person: Int64Array) -> Int64Array:
    """Let each group join the large group with which it stands out, until none does."""
    for _ in range(_PASSES):
        mean, sizes = _means(relative, person)
        n_groups = len(sizes)
        near, first, second = _nearest_large(mean, sizes, np.outer(sizes, sizes) >= MANY_PAIRS)
        out = (first >= STANDS_OUT) & (first - second >= MARGIN)
        joins = np.flatnonzero((first >= SURE_OF_MANY) | out)
        target, moved = np.arange(n_groups), np.zeros(n_groups, dtype=np.bool_)
        changed = moved.copy()
        # The surest first; a group that another one joined stays where it is in this pass.
        for group in joins[np.argsort(-first[joins], kind="stable")]:
            if not (changed[group] or moved[near[group]]):
                target[group] = near[group]
                moved[group] = changed[group] = changed[near[group]] = True
        if not moved.any():
            break
        person = _numbered(target[person])
    return person


def _doubtful(relative: Float32Array, person: Int64Array) -> BoolArray:
    """Return which groups may be a part of the large group with which they stand out."""
    mean, sizes = _means(relative, person)
    near, first, second = _nearest_large(mean, sizes, np.ones_like(mean, dtype=np.bool_))
    out = np.flatnonzero((first >= STANDS_OUT) & (first - second >= MARGIN))
    doubtful = np.zeros(mean.shape, dtype=np.bool_)
    doubtful[out, near[out]] = True
    return doubtful | doubtful.T


def _means(relative: Float32Array, person: Int64Array) -> tuple[Float64Array, Int64Array]:
    """Return the mean relative score of each two groups, and the sizes of the groups."""
    sizes = np.bincount(person)
    order = np.argsort(person, kind="stable")
    starts = np.cumsum(sizes) - sizes
    by_row = np.add.reduceat(relative[order], starts, axis=0, dtype=np.float64)
    total = np.add.reduceat(by_row[:, order], starts, axis=1)
    mean = total / np.outer(sizes, sizes)
    np.fill_diagonal(mean, -np.inf)
    return mean, sizes


def _nearest_large(
    mean: Float64Array, sizes: Int64Array, eligible: BoolArray
) -> tuple[Int64Array, Float64Array, Float64Array]:
    """Return the nearest large group of each group, its mean score, and that of the second."""
    every = np.arange(len(sizes))
    large = np.where(eligible & (sizes >= LARGE), mean, -np.inf)
    near = large.argmax(axis=1)
    first = large[every, near]
    large[every, near] = -np.inf
    return near, first, np.maximum(large.max(axis=1), 0.0)


def _numbered(group: Int64Array) -> Int64Array:
    return np.unique(group, return_inverse=True)[1].astype(np.int64)
