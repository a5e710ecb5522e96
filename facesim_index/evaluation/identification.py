"""How well people are found among many: 1:N identification, closed and open set.

Of everyone with two pictures or more, the first picture, by its path, is enrolled; the others are
searched for.  Whether a search for someone who is *not* enrolled stays without an answer is told
by the pictures of people who have only one, and by every other search again, with its person
taken out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.calibration.heads import COSINE, Head
from facesim_index.errors import UsageError
from facesim_index.labels.embeddings import EmbeddingIndex, PictureEmbeddings, embeddings_of
from facesim_index.labels.pair_lists import people_folder
from facesim_index.metrics.bootstrap import people_drawn_anew, percentile_intervals
from facesim_index.records import EngineIdentity, Float64Array, Int64Array

RANKS = (1, 5, 10)
FALSE_POSITIVE_RATES = (0.01, 0.001)
N_BOOTSTRAP = 300

_NO_ANSWER = -2.0  # Below every cosine.
_BLOCK_ROWS = 512


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """What came of searching the enrolled pictures.

    Attributes
    ----------
    n_people, n_images, n_enrolled : int
    without_face : tuple of Path
        Pictures, of all kinds, in which no face was found.
    mate : ndarray of shape (n_mated,), float64
        Score, by the head, of each searched picture with its person's enrolled one; -2 when one of
        them has no face.
    best_other : ndarray of shape (n_mated,), float64
        The highest score with anyone else's.
    rank : ndarray of shape (n_mated,), int64
        Of the mate, from 1; among equals it is the last.
    person : ndarray of shape (n_mated,), int64
        Whom each picture shows.
    unenrolled : ndarray of shape (n_unenrolled,), float64
        The highest score of each picture of someone who is not enrolled; -2 without a face.
    unenrolled_person : ndarray of shape (n_unenrolled,), int64
    paths : tuple of (Path, Path)
        The searched and the enrolled picture of each mated search.
    best_other_paths, unenrolled_paths : tuple of (Path, Path)
        The searched picture and the enrolled one, of someone else, that is most like it.
    head : Head, default=COSINE
    """

    n_people: int
    n_images: int
    n_enrolled: int
    without_face: tuple[Path, ...]
    mate: Float64Array
    best_other: Float64Array
    rank: Int64Array
    person: Int64Array
    unenrolled: Float64Array
    unenrolled_person: Int64Array
    paths: tuple[tuple[Path, Path], ...]
    best_other_paths: tuple[tuple[Path, Path], ...]
    unenrolled_paths: tuple[tuple[Path, Path], ...]
    head: Head = COSINE

    @property
    def non_mated(self) -> Float64Array:
        """The best answer of every search for someone who is not enrolled, or taken out."""
        return np.concatenate((self.unenrolled, self.best_other))


@dataclass(frozen=True, slots=True)
class Identification:
    """The figures of 1:N identification.

    Attributes
    ----------
    name : str
        Of the folder.
    people, images, enrolled : int
    mated_searches, non_mated_searches : int
    rank : dict of str to float
        Share of the mated searches whose person is among the first 1, 5 or 10.
    fnir_at_fpir : dict of str to float
        False negative identification rate, the share of mated searches whose mate stays below
        the threshold, at the threshold where at most that share of the non-mated searches has
        an answer; only rates that stand for one such search at least.
    threshold_at_fpir : dict of str to float
        Those thresholds, as cosines, or scores of the learned head.
    images_without_face : int
        Failures: an enrolled one is never found, a searched one finds nobody.
    engine : str
    intervals : dict of str to (float, float)
        95 %, from drawing people anew; the enrolled stay.
    head : str
        What searched: "cosine", or the kind of the learned head of the calibration.
    """

    name: str
    people: int
    images: int
    enrolled: int
    mated_searches: int
    non_mated_searches: int
    rank: dict[str, float]
    fnir_at_fpir: dict[str, float]
    threshold_at_fpir: dict[str, float]
    images_without_face: int
    engine: str
    intervals: dict[str, tuple[float, float]]
    head: str = COSINE.kind


def search_people(index: EmbeddingIndex, folder: Path, head: Head = COSINE) -> Searches:
    """Enrol and search the pictures of a folder with one folder a person.

    Parameters
    ----------
    index : EmbeddingIndex
        Keeps the embeddings; pictures that it does not have are ingested.
    folder : Path
    head : Head, default=COSINE
        What tells who is most alike: that of the calibration in force.

    Returns
    -------
    Searches

    Raises
    ------
    UsageError
        There is no such folder, or nobody in it has two pictures.
    """
    people = people_folder(folder)
    paths = sorted(people)
    _, person, counts = np.unique(
        [people[path] for path in paths], return_inverse=True, return_counts=True
    )
    person = person.astype(np.int64).ravel()
    first = np.zeros(person.size, dtype=np.bool_)
    first[np.unique(person, return_index=True)[1]] = True
    paired = counts[person] > 1
    if not paired.any():
        raise UsageError(f"nobody in {folder} has two pictures: there is nothing to find again")
    found = embeddings_of(index, paths)
    enrolled, searched = np.flatnonzero(paired & first), np.flatnonzero(paired & ~first)
    others = np.flatnonzero(~paired)
    order = np.argsort(person[enrolled], kind="stable")
    place = order[np.searchsorted(person[enrolled][order], person[searched])]
    gallery = _Gallery(found, enrolled, head)
    mate, rank, best_other, other_at = _mated(gallery, searched, place)
    unenrolled, unenrolled_at = _best(gallery, others)
    return Searches(
        n_people=counts.size,
        n_images=len(paths),
        n_enrolled=enrolled.size,
        without_face=tuple(
            path for path, has in zip(paths, found.has_face, strict=True) if not has
        ),
        mate=mate,
        best_other=best_other,
        rank=rank,
        person=person[searched],
        unenrolled=unenrolled,
        unenrolled_person=person[others],
        paths=_path_pairs(paths, searched, enrolled[place]),
        best_other_paths=_path_pairs(paths, searched, enrolled[other_at]),
        unenrolled_paths=_path_pairs(paths, others, enrolled[unenrolled_at]),
        head=head,
    )


def evaluate_people(
    searches: Searches,
    name: str,
    engine: EngineIdentity,
    *,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = 0,
) -> Identification:
    """Return the figures of identification.

    Parameters
    ----------
    searches : Searches
    name : str
        Of the folder.
    engine : EngineIdentity
        Of the embeddings.
    n_bootstrap : int, default=300
    seed : int, default=0

    Returns
    -------
    Identification
    """
    thresholds = thresholds_at_fpir(searches.non_mated)
    return Identification(
        name=name,
        people=searches.n_people,
        images=searches.n_images,
        enrolled=searches.n_enrolled,
        mated_searches=searches.mate.size,
        non_mated_searches=searches.non_mated.size,
        rank=_at_ranks(searches.rank),
        fnir_at_fpir={
            rate: float((searches.mate < threshold).mean())
            for rate, threshold in thresholds.items()
        },
        threshold_at_fpir=thresholds,
        images_without_face=len(searches.without_face),
        engine=str(engine),
        intervals=percentile_intervals(_drawn_figures(searches, n_bootstrap, seed)),
        head=searches.head.kind,
    )


def thresholds_at_fpir(non_mated: Float64Array) -> dict[str, float]:
    """Return the lowest cosine that at most each share of the non-mated searches reaches.

    Parameters
    ----------
    non_mated : ndarray of shape (n_searches,), float64
        The best cosine of each.

    Returns
    -------
    dict of str to float
        By `FALSE_POSITIVE_RATES` as text; only those that stand for one search at least.
    """
    descending = np.sort(non_mated)[::-1]
    return {
        f"{rate:g}": float(np.nextafter(descending[int(rate * descending.size)], np.inf))
        for rate in FALSE_POSITIVE_RATES
        if rate * descending.size >= 1.0
    }


def _path_pairs(
    paths: Sequence[Path], first: Int64Array, second: Int64Array
) -> tuple[tuple[Path, Path], ...]:
    return tuple((paths[one], paths[other]) for one, other in zip(first, second, strict=True))


def _mated(
    gallery: "_Gallery", searched: Int64Array, place: Int64Array
) -> tuple[Float64Array, Int64Array, Float64Array, Int64Array]:
    """Return the mate's score and rank, and the best score of anyone else and its place."""
    mate, other = np.empty(searched.size), np.empty(searched.size)
    rank, other_at = (np.empty(searched.size, dtype=np.int64) for _ in range(2))
    for part, score in gallery.blocks(searched):
        row = np.arange(score.shape[0])
        mate[part] = score[row, place[part]]
        score[row, place[part]] = _NO_ANSWER
        other[part], other_at[part] = score.max(axis=1), score.argmax(axis=1)
        rank[part] = 1 + (score >= mate[part][:, None]).sum(axis=1)
    # Without a face there is no answer, hence no rank, not even in a tiny gallery.
    rank[mate <= _NO_ANSWER] = gallery.enrolled.size + max(RANKS)
    return mate, rank, other, other_at


def _best(gallery: "_Gallery", searched: Int64Array) -> tuple[Float64Array, Int64Array]:
    """Return the best score of each search and its place among the enrolled."""
    best, at = np.empty(searched.size), np.empty(searched.size, dtype=np.int64)
    for part, score in gallery.blocks(searched):
        best[part], at[part] = score.max(axis=1), score.argmax(axis=1)
    return best, at


@dataclass(frozen=True, slots=True, eq=False)
class _Gallery:
    """The pictures that are enrolled, and how the others are compared with them."""

    found: PictureEmbeddings
    enrolled: Int64Array
    head: Head

    def blocks(self, searched: Int64Array) -> Iterator[tuple[slice, Float64Array]]:
        found, enrolled, head = self.found, self.enrolled, self.head
        gallery = head.transform(found.embeddings[enrolled])
        for start in range(0, searched.size, _BLOCK_ROWS):
            rows = searched[start : start + _BLOCK_ROWS]
            probes = head.transform(found.embeddings[rows])
            score = head.pair_scores(probes, gallery).astype(np.float64)
            score[~found.has_face[rows]] = _NO_ANSWER
            score[:, ~found.has_face[enrolled]] = _NO_ANSWER
            yield slice(start, start + rows.size), score


def _at_ranks(rank: Int64Array) -> dict[str, float]:
    return {str(most): float((rank <= most).mean()) for most in RANKS}


def _drawn_figures(searches: Searches, n_bootstrap: int, seed: int) -> list[dict[str, float]]:
    draws = []
    for times in people_drawn_anew(searches.n_people, n_bootstrap, seed):
        mated = np.repeat(np.arange(searches.mate.size), times[searches.person])
        others = np.repeat(np.arange(searches.unenrolled.size), times[searches.unenrolled_person])
        if not mated.size:
            continue
        non_mated = np.concatenate((searches.unenrolled[others], searches.best_other[mated]))
        figures = {f"rank {most}": share for most, share in _at_ranks(searches.rank[mated]).items()}
        for rate, threshold in thresholds_at_fpir(non_mated).items():
            figures[f"fnir_at_fpir {rate}"] = float((searches.mate[mated] < threshold).mean())
        draws.append(figures)
    return draws if 2 * len(draws) > n_bootstrap else []
