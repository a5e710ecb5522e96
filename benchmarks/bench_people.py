"""How well faces are grouped into people, how true the degree for a person is, and how fast.

LFW's development set, one person a folder; of each picture the face nearest the centre is
labelled.  Scores are BCubed precision, recall and F over the labelled faces.  `central`
galleries hold those faces alone, `all faces` also the people in the background, whom nobody
labelled and who are not scored.  Settings were chosen, and the calibration of these figures was
fitted, on the people of ``pairsDevTrain``.

The generated faces are those of `vectors`.  Their million is grouped from its links alone: no
two of its strangers come near the link degree, so the links are the pairs of one person.
"""

import dataclasses
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.harness import Options, Row
from benchmarks.vectors import FACES_PER_PERSON, all_vectors, open_segments, who_is_who
from facesim_index.calibration.degree import cosine_at_degree
from facesim_index.calibration.fitting.fit import fit_scores
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.shipped import shipped_calibration
from facesim_index.degrees.gallery import BINS, ScoreSample, prior_of_sample, refresh_gallery_prior
from facesim_index.engine.loading import EngineSettings
from facesim_index.index import FaceIndex
from facesim_index.metrics.scoring import expected_calibration_error
from facesim_index.models.resolution import resolve
from facesim_index.pairs.blocks import Faces
from facesim_index.pairs.links import Links, nearest_links
from facesim_index.people.clustering import UNASSIGNED, Known, cluster
from facesim_index.people.evidence import PAIRS_EXPONENT, person_degree, person_log10_lr
from facesim_index.people.grouping import LINK_DEGREE, PeopleOptions, cluster_people
from facesim_index.records import (
    Box,
    EmbeddedFace,
    EngineIdentity,
    FileStamp,
    Float32Array,
    Float64Array,
    Int64Array,
    PictureInfo,
    PictureReading,
    Quality,
)
from facesim_index.store.catalog import people_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import Batch, FileLink
from tools.fit_shipped_calibration import METHOD, Labelled, all_pairs, read_pairs

TARGET_F, TARGET_S, TARGET_MB = 0.994, 180.0, 6000
GENERATED, MILLION = 100_000, 1_000_000
SIDE_PX = 250  # of LFW's pictures
_COMMIT_AT_ONCE = 10_000
EXPONENTS = (0.0, PAIRS_EXPONENT, 0.2, 1.0)
BoolArray = NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True)
class Gallery:
    """Faces with the folder each comes from, and which of them that names.

    Attributes
    ----------
    vectors : ndarray of shape (n, dimension), float32
    person, image : ndarray of shape (n,), int64
    labelled : ndarray of shape (n,), bool
    """

    vectors: Float32Array
    person: Int64Array
    image: Int64Array
    labelled: BoolArray

    def only(self, chosen: BoolArray) -> "Gallery":
        """Return some of the faces."""
        return Gallery(
            self.vectors[chosen], self.person[chosen], self.image[chosen], self.labelled[chosen]
        )


def run(options: Options) -> list[Row]:
    """Return the figures of grouping."""
    gallery, parts = _lfw(options)
    calibration = _fitted(gallery.only(parts["train people"] & gallery.labelled))
    rows: list[Row] = []
    for name, chosen in parts.items():
        for kind in ("central", "all faces"):
            part = gallery.only(chosen & (gallery.labelled | (kind != "central")))
            rows += _quality_rows(
                f"{name}, {kind}", part, calibration, judged=name == "test people"
            )
    rows += [
        _exponent_row(gallery.only(parts["train people"]), calibration, exp) for exp in EXPONENTS
    ]
    rows += _degree_rows(gallery.only(parts["test people"] & gallery.labelled), calibration)
    rows += _speed_rows(options)
    if not options.quick:
        rows.append(_million_row(options, _curve()))
    return rows


def _lfw(options: Options) -> tuple[Gallery, dict[str, BoolArray]]:
    """Return LFW's faces, and which of them are of the people of its two lists."""
    data = options.data / "lfw_dev"
    with FaceIndex.open(options.work / "people-lfw.facesim", create=True) as index:
        index.ingest([data / "images"])
        ids = index.face_ids()
        records = list(index.face_records(ids))
        vectors = index.embeddings(ids)
    names = np.array([Path(record.path).parent.name for record in records])
    image = np.array([record.image_id for record in records], dtype=np.int64)
    offset = [
        np.hypot(r.box.x + r.box.w / 2 - SIDE_PX / 2, r.box.y + r.box.h / 2 - SIDE_PX / 2)
        for r in records
    ]
    order = np.lexsort((offset, image))
    labelled = np.zeros(len(ids), dtype=np.bool_)
    labelled[order[np.unique(image[order], return_index=True)[1]]] = True
    person = np.unique(names, return_inverse=True)[1].astype(np.int64)
    parts = {
        f"{part} people": np.isin(names, sorted(read_pairs(data / f"pairsDev{file}.txt").people))
        for part, file in (("train", "Train"), ("test", "Test"))
    }
    parts["all people"] = np.ones(len(ids), dtype=np.bool_)
    return Gallery(vectors, person, image, labelled), parts


def _fitted(gallery: Gallery) -> Calibration:
    """Return a curve fitted on every pair of some people, so that others are new to it."""
    text = gallery.person.astype(np.str_)
    fitted = fit_scores(all_pairs(Labelled(text, text, gallery.vectors)), METHOD, n_bootstrap=0)
    return dataclasses.replace(
        _curve(), knots=fitted.knots, band=fitted.band, false_matches=fitted.false_matches
    )


def _curve() -> Calibration:
    calibration = shipped_calibration(_identity().key)
    if calibration is None:
        raise SystemExit("there is no shipped calibration for the engine at hand")
    return calibration


def _share(gallery: Gallery, calibration: Calibration) -> float:
    """Return the share of genuine pairs as an index of these faces would estimate it."""
    score = gallery.vectors @ gallery.vectors.T
    other = gallery.image[:, None] != gallery.image[None]
    bins = np.clip((score[other] + 1.0) * (BINS / 2), 0, BINS - 1).astype(np.int64)
    counts = np.bincount(bins, minlength=BINS)[None]
    n_faces = len(gallery.image)
    sample = ScoreSample(counts, n_faces, n_faces)
    return prior_of_sample(sample, calibration, np.random.default_rng(0)).share


def _grouped(
    vectors: NDArray[np.float16] | Float32Array,
    links: Links,
    image: Int64Array | None,
    calibration: Calibration,
    prior: float,
    exponent: float = PAIRS_EXPONENT,
) -> Int64Array:
    def evidence(means: Float64Array, n_pairs: Float64Array) -> Float64Array:
        return person_log10_lr(means, n_pairs ** (exponent / PAIRS_EXPONENT), calibration)

    marks = {} if image is None else {row: {int(photo)} for row, photo in enumerate(image)}
    known = Known(np.full(len(vectors), UNASSIGNED, dtype=np.int64), marks)
    faces = Faces(np.arange(len(vectors)), vectors)
    return cluster(faces, links, known, evidence, float(np.log10((1.0 - prior) / prior)))


def bcubed(label: Int64Array, person: Int64Array) -> tuple[float, float, float]:
    """Return BCubed precision, recall and F."""
    _, groups = np.unique(label, return_inverse=True)
    _, people = np.unique(person, return_inverse=True)
    both = groups.astype(np.int64) * (people.max() + 1) + people
    _, cell, count = np.unique(both, return_inverse=True, return_counts=True)
    precision = float((count[cell] / np.bincount(groups)[groups]).mean())
    recall = float((count[cell] / np.bincount(people)[people]).mean())
    return precision, recall, 2 * precision * recall / (precision + recall)


def _quality_rows(
    name: str, gallery: Gallery, calibration: Calibration, *, judged: bool
) -> list[Row]:
    prior = _share(gallery, calibration)
    faces = Faces(np.arange(len(gallery.image)), gallery.vectors.astype(np.float16))
    links = nearest_links(faces, cosine_at_degree(LINK_DEGREE, calibration, prior=prior))
    label = _grouped(faces.vectors, links, gallery.image, calibration, prior)
    chosen = gallery.labelled
    score = (gallery.vectors @ gallery.vectors.T).astype(np.float64)
    peers = {
        "average linkage at cosine 0.35": _average_linkage(score, 0.35),
        "connected components at 0.4": _components(score, 0.4),
    }
    told = ", ".join(
        f"{bcubed(other[chosen], gallery.person[chosen])[2]:.4f} ({peer})"
        for peer, other in peers.items()
    )
    precision, recall, f = bcubed(label[chosen], gallery.person[chosen])
    return [
        Row(
            f"{name}, {chosen.sum():,} of {len(chosen):,} faces labelled: BCubed F",
            f"{f:.4f} (P {precision:.4f}, R {recall:.4f}; prior {prior:.3g})",
            told,
            target=f"at least {TARGET_F}" if judged else "",
            met=f >= TARGET_F if judged else None,
        )
    ]


def _exponent_row(gallery: Gallery, calibration: Calibration, exponent: float) -> Row:
    """Return the F on the people that the exponent was chosen on, at degree 0.5."""
    told = []
    for part in (gallery.only(gallery.labelled), gallery):
        prior = _share(part, calibration)
        faces = Faces(np.arange(len(part.image)), part.vectors.astype(np.float16))
        links = nearest_links(faces, cosine_at_degree(LINK_DEGREE, calibration, prior=prior))
        label = _grouped(faces.vectors, links, part.image, calibration, prior, exponent)
        told.append(bcubed(label[part.labelled], part.person[part.labelled])[2])
    in_use = " (in use)" if exponent == PAIRS_EXPONENT else ""
    name = f"train people, exponent {exponent:g}{in_use}: BCubed F, central; all faces"
    return Row(name, "; ".join(f"{value:.4f}" for value in told))


def _average_linkage(score: Float64Array, least: float) -> Int64Array:
    distance = 1.0 - score[np.triu_indices(len(score), 1)]
    return np.asarray(fcluster(linkage(distance, "average"), 1.0 - least, "distance"), np.int64)


def _components(score: Float64Array, least: float) -> Int64Array:
    return np.asarray(connected_components(coo_array(score >= least))[1], dtype=np.int64)


def _degree_rows(gallery: Gallery, calibration: Calibration) -> list[Row]:
    """Compare every face with every person of two or more other faces: are the degrees true."""
    prior = _share(gallery, calibration)
    ids, person, counts = np.unique(gallery.person, return_inverse=True, return_counts=True)
    vectors = gallery.vectors.astype(np.float64)
    sums = np.zeros((len(ids), vectors.shape[1]))
    np.add.at(sums, person, vectors)
    same = person[:, None] == np.arange(len(ids))[None]
    n_others = counts[None] - same
    told = n_others >= 2
    means = np.where(same, np.sum(vectors * vectors, axis=1)[:, None], 0.0)
    means = (vectors @ sums.T - means)[told] / n_others[told]
    genuine, n_pairs = same[told], n_others[told].astype(np.float64)
    share = float(genuine.mean())
    rows = []
    for exponent in EXPONENTS:
        degree = person_degree(
            means, n_pairs ** (exponent / PAIRS_EXPONENT), calibration, prior=prior
        )
        ece = expected_calibration_error(degree[genuine], degree[~genuine], prior=share)
        told_of = []
        for low, high in ((0.01, 0.5), (0.5, 0.9), (0.9, 1.0)):
            here = (degree >= low) & (degree < high)
            claimed, true = degree[here].sum(), genuine[here].sum()
            told_of.append(
                f"{low:g} to {high:g}: {claimed:.1f} of {here.sum()} claimed, {true} true"
            )
        in_use = " (in use)" if exponent == PAIRS_EXPONENT else ""
        rows.append(
            Row(
                f"degree for a person, test people, exponent {exponent:g}{in_use}",
                f"{'; '.join(told_of)}; ECE {ece:.6f}; {genuine.sum():,} true, "
                f"{(~genuine).sum():,} false, prior {prior:.3g}, true share {share:.3g}",
            )
        )
    return rows


def _speed_rows(options: Options) -> list[Row]:
    """Group an index of generated faces from its files to its catalog, then some more faces."""
    n_faces = GENERATED // 10 if options.quick else GENERATED
    vectors = all_vectors(open_segments(options.work / f"people-{n_faces}", n_faces))
    who = who_is_who(n_faces)
    n_later = n_faces // 100
    folder = options.work / f"people-{n_faces}.facesim"
    shutil.rmtree(folder, ignore_errors=True)
    with FolderStore.open_or_create(folder, _identity(), "benchmark") as store:
        _commit(store, vectors[:-n_later], 0)
        refresh_gallery_prior(store)
        _, first = _timed(lambda: cluster_people(store))
        _commit(store, vectors[-n_later:], n_faces - n_later)
        refresh_gallery_prior(store)
        _, later = _timed(lambda: cluster_people(store))
        _, full = _timed(lambda: cluster_people(store, PeopleOptions(full=True)))
        with store.catalog.read() as transaction:
            found = people_rows.assignments(transaction)
    label = -np.arange(1, n_faces + 1)
    label[found.face_ids - 1] = found.person_ids
    name = f"{n_faces:,} generated faces"
    return [
        Row(
            f"{name}, `people cluster` of 99 % of them, s",
            str(first),
            target="" if options.quick else f"at most {TARGET_S:.0f}",
            met=None if options.quick else first.wall_s <= TARGET_S,
        ),
        Row(f"{name}, the other 1 % later, s", str(later)),
        Row(f"{name}, `--full`, s", f"{full}; BCubed F {bcubed(label, who)[2]:.4f}"),
    ]


def _identity() -> EngineIdentity:
    return EngineSettings(model=resolve(None)).identity


def _commit(store: FolderStore, vectors: NDArray[np.float16], first: int) -> None:
    """Commit faces, one in each picture."""
    stamp, landmarks = FileStamp(1, 1), np.zeros((5, 2), dtype=np.float32)
    for start in range(0, len(vectors), _COMMIT_AT_ONCE):
        readings = [
            PictureReading(
                (first + start + number).to_bytes(32, "big"),
                stamp,
                PictureInfo(SIDE_PX, SIDE_PX, "JPEG", None),
                (EmbeddedFace(Box(0, 0, 99, 99), landmarks, 1.0, Quality(99, 1, 0, 0), vector),),
                None,
            )
            for number, vector in enumerate(
                vectors[start : start + _COMMIT_AT_ONCE].astype(np.float32)
            )
        ]
        links = [
            FileLink("/benchmark", f"{first + start + number}.jpg", stamp, picture.content_hash)
            for number, picture in enumerate(readings)
        ]
        store.commit(Batch(readings, links))


def _million_row(options: Options, calibration: Calibration) -> Row:
    segments = open_segments(options.work / f"people-{MILLION}", MILLION)
    vectors = all_vectors(segments)
    del segments
    who = who_is_who(MILLION)
    a, b = _pairs_of_one(who)
    prior = FACES_PER_PERSON / MILLION
    left = np.empty(len(a), dtype=np.float32)
    for start in range(0, len(a), 1 << 16):
        part = slice(start, start + (1 << 16))
        product = vectors[a[part]].astype(np.float32) * vectors[b[part]].astype(np.float32)
        left[part] = product.sum(axis=1)
    kept = left >= cosine_at_degree(LINK_DEGREE, calibration, prior=prior)
    links = Links(a[kept], b[kept], left[kept])
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    label, group = _timed(lambda: _grouped(vectors, links, None, calibration, prior))
    [peak] = [line for line in _status() if line.startswith("VmHWM")]
    peak_mb = int(peak.split()[1]) / 1000
    return Row(
        f"{MILLION:,} generated faces grouped from {len(links.a):,} links, peak memory, MB",
        f"{peak_mb:.0f}; seconds: {group}; BCubed F {bcubed(label, who)[2]:.4f}",
        target=f"at most {TARGET_MB}",
        met=peak_mb <= TARGET_MB,
    )


def _pairs_of_one(who: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return every pair of faces of one person, by their places, the first before the second."""
    order = np.argsort(who, kind="stable")
    ordered = who[order]
    found: list[tuple[Int64Array, Int64Array]] = []
    for step in range(1, len(who)):
        same = np.flatnonzero(ordered[:-step] == ordered[step:])
        if not len(same):
            break
        found.append((order[same], order[same + step]))
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def _status() -> list[str]:
    return Path("/proc/self/status").read_text(encoding="ascii").splitlines()


@dataclass(frozen=True)
class _Time:
    """How long a task took: by the clock, and of the processors."""

    wall_s: float
    processor_s: float

    def __str__(self) -> str:
        return f"{self.wall_s:.1f} ({self.processor_s:.1f} of the processors)"


def _timed(task: Callable[[], T]) -> tuple[T, _Time]:
    wall, processor = time.perf_counter(), time.process_time()
    result = task()
    return result, _Time(time.perf_counter() - wall, time.process_time() - processor)
