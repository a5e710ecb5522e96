"""1:N identification: how well people are found among many, closed and open set.

Of everyone with two pictures or more, the first picture in the order of the paths is enrolled, and
the others are searched for: these are the *mated* searches.  *Non-mated* searches are for somebody
who is not enrolled, and should have no answer.  They are the searches for people with only one
picture, and every mated search again with its person taken out of the enrolled ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.calibration.heads import COSINE, Head
from facesim_index.calibration.normalisation import Normalisation
from facesim_index.calibration.record import NORMALISED
from facesim_index.calibration.scorer import Scorer, scorer_among
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
    """The results of searching the enrolled pictures.

    Attributes
    ----------
    n_people, n_images, n_enrolled : int
        Number of people, of pictures, and of enrolled pictures.
    without_face : tuple of Path
        All pictures in which no face was found.
    mate : ndarray of shape (n_mated,), float64
        Score of each mated search with the enrolled picture of its person; -2 when one of the two
        pictures has no face.
    best_other : ndarray of shape (n_mated,), float64
        The highest score with the enrolled picture of another person.
    rank : ndarray of shape (n_mated,), int64
        Rank of the mate, from 1; the last rank among equal scores.
    person : ndarray of shape (n_mated,), int64
        The person who is searched for.
    unenrolled : ndarray of shape (n_unenrolled,), float64
        The highest score of each search for somebody with only one picture; -2 without a face.
    unenrolled_person : ndarray of shape (n_unenrolled,), int64
        The person who is searched for.
    paths : tuple of (Path, Path)
        The searched and the enrolled picture of each mated search.
    best_other_paths, unenrolled_paths : tuple of (Path, Path)
        The searched picture, and the most similar enrolled picture of another person.
    score_kind : str, default="cosine"
        `Calibration.score_kind` of the scores.
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
    score_kind: str = COSINE.kind

    @property
    def non_mated(self) -> Float64Array:
        """The highest score of every non-mated search."""
        return np.concatenate((self.unenrolled, self.best_other))


@dataclass(frozen=True, slots=True)
class Identification:
    """The figures of 1:N identification.

    Attributes
    ----------
    name : str
        Of the folder.
    people, images, enrolled : int
        Number of people, of pictures, and of enrolled pictures.
    mated_searches, non_mated_searches : int
        Number of searches of each kind.
    rank : dict of str to float
        Share of the mated searches whose person is among the first 1, 5 or 10 answers.
    fnir_at_fpir : dict of str to float
        False negative identification rate at each false positive identification rate: the share
        of mated searches whose mate stays below the threshold at which at most that share of the
        non-mated searches has an answer.  Only rates that stand for at least one such search.
    threshold_at_fpir : dict of str to float
        Those thresholds: cosines, or scores of the learned head.
    images_without_face : int
        Number of pictures without a face.  These are failures: an enrolled one is never found, a
        searched one finds nobody.
    engine : str
        Identity of the engine, for people.
    intervals : dict of str to (float, float)
        95 % intervals of the figures by name, from drawing people anew; the enrolled pictures
        stay the same.
    head : str
        "cosine", or the kind of the learned head of the calibration.
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


def search_people(
    index: EmbeddingIndex,
    folder: Path,
    head: Head = COSINE,
    normalisation: Normalisation | None = None,
) -> Searches:
    """Enrol and search the pictures of a folder with one folder for each person.

    Parameters
    ----------
    index : EmbeddingIndex
        Keeps the embeddings.  Pictures that it does not have are added to it.
    folder : Path
        As for `people_folder`.
    head : Head, default=COSINE
        Makes the scores: the head of the calibration in force.
    normalisation : Normalisation, optional
        Of that calibration; the pictures of the folder are the cohort.

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
    scorer = scorer_among(found.embeddings[found.has_face], normalisation, head)
    gallery = _Gallery(found, enrolled, scorer)
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
        score_kind=head.kind if normalisation is None else NORMALISED,
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
        Of the engine that made the embeddings.
    n_bootstrap : int, default=300
        How often people are drawn anew for the intervals.
    seed : int, default=0
        Of the random numbers.

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
        head=searches.score_kind,
    )


def thresholds_at_fpir(non_mated: Float64Array) -> dict[str, float]:
    """Return the threshold at each of the false positive identification rates.

    It is the lowest score that at most that share of the non-mated searches has.

    Parameters
    ----------
    non_mated : ndarray of shape (n_searches,), float64
        The highest score of each search.

    Returns
    -------
    dict of str to float
        By each of `FALSE_POSITIVE_RATES` as text; only rates that stand for at least one search.

    Examples
    --------
    >>> {rate: round(at, 6) for rate, at in thresholds_at_fpir(np.arange(200) / 200).items()}
    {'0.01': 0.985}
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
    """Return the score and rank of the mate, the best score of other people, and its place."""
    mate, other = np.empty(searched.size), np.empty(searched.size)
    rank, other_at = (np.empty(searched.size, dtype=np.int64) for _ in range(2))
    for part, score in gallery.blocks(searched):
        row = np.arange(score.shape[0])
        mate[part] = score[row, place[part]]
        score[row, place[part]] = _NO_ANSWER
        other[part], other_at[part] = score.max(axis=1), score.argmax(axis=1)
        rank[part] = 1 + (score >= mate[part][:, None]).sum(axis=1)
    # Without a face there is no answer, hence no rank among the first, even with few enrolled.
    rank[mate <= _NO_ANSWER] = gallery.enrolled.size + max(RANKS)
    return mate, rank, other, other_at


def _best(gallery: "_Gallery", searched: Int64Array) -> tuple[Float64Array, Int64Array]:
    """Return the highest score of each search and its place among the enrolled pictures."""
    best, at = np.empty(searched.size), np.empty(searched.size, dtype=np.int64)
    for part, score in gallery.blocks(searched):
        best[part], at[part] = score.max(axis=1), score.argmax(axis=1)
    return best, at


@dataclass(frozen=True, slots=True, eq=False)
class _Gallery:
    """The enrolled pictures, with which the others are compared block by block."""

    found: PictureEmbeddings
    enrolled: Int64Array
    scorer: Scorer

    def blocks(self, searched: Int64Array) -> Iterator[tuple[slice, Float64Array]]:
        found, enrolled, scorer = self.found, self.enrolled, self.scorer
        gallery = scorer.vectors(found.embeddings[enrolled])
        for start in range(0, searched.size, _BLOCK_ROWS):
            rows = searched[start : start + _BLOCK_ROWS]
            probes = scorer.vectors(found.embeddings[rows])
            score = scorer.pair_scores(probes, gallery).astype(np.float64)
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
