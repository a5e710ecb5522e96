"""How true degrees are in a gallery, at prior 0.5, at 1/N and at the estimated prior.

    python benchmarks/gallery_prior.py DATA_INDEX [--repeats N] [--calibration half|shipped]
        [--per-query]

DATA_INDEX is an index of ``lfw_dev/images`` (one folder a person); it is only read.  Of each
picture the face nearest the centre counts.

First the estimated share of genuine pairs against the true one, in subsets of pictures and of
people.  Then 1:N, open set: pictures are held out as queries, half of the people are taken out
of the gallery, and the ten nearest faces of each query are judged.

With ``--calibration half``, the default, the calibration is fitted on every pair of half of the
people, and all figures are of the other half; then the same the other way round.  With
``--calibration shipped`` it is the calibration that comes with the package: it was fitted on these
very people, so its figures flatter it, but the gallery is as large as can be.

``--per-query`` adds an idea that is not in use: a share for each query, see `per_query_degrees`.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.degree import calibrated_degree
from facesim_index.calibration.fitting.fit import fit_monotone
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.calibration.shipped import shipped_calibration
from facesim_index.degrees.gallery import GalleryPrior, estimate_gallery_prior
from facesim_index.metrics.scoring import expected_calibration_error
from facesim_index.records import (
    Box,
    EmbeddedFace,
    EngineIdentity,
    FaceRecord,
    FileStamp,
    Float32Array,
    Float64Array,
    Int64Array,
    PictureInfo,
    PictureReading,
    Quality,
)
from facesim_index.store.catalog import face_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import Batch, FileLink

SIDE_PX = 250  # of LFW's pictures
SUBSET_SIZES = (5, 20, 100, 500, 2000, 4992)
N_QUERIES = 1000
TOP = 10
SEED = 7

BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Labelled:
    """One face of each picture, and whose it is.

    Attributes
    ----------
    embeddings : ndarray of shape (n, dimension), float32
    person : ndarray of shape (n,), int64
    """

    embeddings: Float32Array
    person: Int64Array

    def only(self, chosen: BoolArray | Int64Array) -> "Labelled":
        """Return some of the pictures."""
        return Labelled(self.embeddings[chosen], self.person[chosen])

    @property
    def true_share(self) -> float:
        """Return the share of genuine pairs."""
        pictures = np.bincount(self.person)
        n = len(self.person)
        return float((pictures * (pictures - 1)).sum() / (n * (n - 1)))


@dataclass(frozen=True)
class Answers:
    """What the queries of one trial found.

    Attributes
    ----------
    cosine : ndarray of shape (n_queries, TOP), float64
    is_mate : ndarray of the same shape, bool
    n_faces : int
        Of the gallery.
    prior : GalleryPrior
    true_prior : float
        Share of the gallery's pairs that are genuine.
    query_share : float
        Share of the pairs of a query and a face of the gallery that are genuine.
    per_query : ndarray of the shape of `cosine`, float64, or None
        Degrees of `per_query_degrees`.
    """

    cosine: Float64Array
    is_mate: BoolArray
    n_faces: int
    prior: GalleryPrior
    true_prior: float
    query_share: float
    per_query: Float64Array | None


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--calibration", choices=("half", "shipped"), default="half")
    parser.add_argument("--per-query", action="store_true")
    options = parser.parse_args()
    with FolderStore(options.index) as store:
        identity = store.identity
        labelled = read_labelled(store)
    print(f"{len(labelled.person)} pictures of {labelled.person.max() + 1} people")
    trials = list(curves(labelled, identity, options.calibration))
    print(
        "\n| pictures | trials | genuine pairs | true share | estimated | estimated / true "
        "| within 1.15 | interval holds it | s |\n|---|---|---|---|---|---|---|---|---|"
    )
    for size in SUBSET_SIZES:
        for kind in ("pictures", "people")[: 1 if size == SUBSET_SIZES[-1] else 2]:
            compare_shares(trials, identity, size, kind, options.repeats)
    for removed_from in ("gallery", "queries"):
        answers = [
            search_open_set(
                calibration,
                hold_out(data, np.random.default_rng([SEED, n]), removed_from),
                identity,
                per_query=options.per_query,
            )
            for n in range(options.repeats)
            for calibration, data in trials
        ]
        tell_degrees([trials[n % len(trials)][0] for n in range(len(answers))], answers)


def curves(
    labelled: Labelled, identity: EngineIdentity, which: str
) -> Iterator[tuple[Calibration, Labelled]]:
    """Yield each calibration with the pictures it is to be judged on."""
    if which == "shipped":
        shipped = shipped_calibration(identity.key)
        if shipped is None:
            raise SystemExit(f"there is no calibration for {identity}")
        print("the shipped calibration, fitted on these very people")
        yield shipped, labelled
        return
    print("calibrations fitted on half of the people, judged on the other half")
    n_people = int(labelled.person.max()) + 1
    in_half = np.random.default_rng(SEED).permutation(n_people) < n_people // 2
    for fitted in (in_half[labelled.person], ~in_half[labelled.person]):
        genuine, impostor = all_pairs(labelled.only(fitted))
        evidence = Evidence(
            "half of the people", n_people // 2, genuine.size, impostor.size, "2000-01-01"
        )
        knots = fit_monotone(genuine, impostor)
        calibration = Calibration("half", identity.key, "monotone", knots, evidence)
        yield calibration, labelled.only(~fitted)


def read_labelled(store: FolderStore) -> Labelled:
    """Return the central face of every picture."""
    with store.view() as view:
        central: dict[int, FaceRecord] = {}
        for face in face_rows.faces(view.transaction, face_rows.face_ids(view.transaction)):
            best = central.get(face.image_id)
            if best is None or off_centre(face) < off_centre(best):
                central[face.image_id] = face
        names = [Path(face.path).parent.name for face in central.values()]
        ids = np.array([face.face_id for face in central.values()], dtype=np.int64)
        embeddings = view.embeddings(ids)
    return Labelled(embeddings, np.unique(names, return_inverse=True)[1].astype(np.int64))


def off_centre(face: FaceRecord) -> float:
    """Return how far a face is from the centre of its picture, in pixels."""
    box = face.box
    return float(np.hypot(box.x + (box.w - SIDE_PX) / 2, box.y + (box.h - SIDE_PX) / 2))


def all_pairs(labelled: Labelled) -> tuple[Float32Array, Float32Array]:
    """Return the cosines of all pairs: of one person, and of two."""
    cosine = labelled.embeddings @ labelled.embeddings.T
    same = labelled.person[:, None] == labelled.person[None, :]
    upper = np.triu(np.ones_like(same), 1)
    return cosine[upper & same], cosine[upper & ~same]


def make_index(folder: Path, identity: EngineIdentity, labelled: Labelled) -> FolderStore:
    """Return an index of these faces, one in each picture; face ids count from 1."""
    store = FolderStore.open_or_create(folder, identity, "benchmark")
    stamp, landmarks = FileStamp(1, 1), np.zeros((5, 2), dtype=np.float32)
    readings = [
        PictureReading(
            number.to_bytes(32, "big"),
            stamp,
            PictureInfo(SIDE_PX, SIDE_PX, "JPEG", None),
            (EmbeddedFace(Box(0, 0, 9, 9), landmarks, 1.0, Quality(9, 1, 0, 0), embedding),),
            None,
        )
        for number, embedding in enumerate(labelled.embeddings)
    ]
    links = [
        FileLink("/benchmark", f"{number}.jpg", stamp, picture.content_hash)
        for number, picture in enumerate(readings)
    ]
    store.commit(Batch(readings, links))
    return store


def compare_shares(
    trials: list[tuple[Calibration, Labelled]],
    identity: EngineIdentity,
    size: int,
    kind: str,
    repeats: int,
) -> None:
    """Print the estimated share in subsets of one size as a row of a table."""
    true, priors = [], []
    started = time.perf_counter()
    for calibration, data in trials:
        whole = size >= len(data.person)
        for repeat in range(1 if whole else repeats):
            rng = np.random.default_rng([SEED, size, repeat])
            part = data if whole else data.only(subset(data, size, kind, rng))
            with tempfile.TemporaryDirectory() as folder:
                store = make_index(Path(folder) / "i", identity, part)
                with store, store.view() as view:
                    priors.append(estimate_gallery_prior(view, calibration))
            true.append(part.true_share)
    elapsed = (time.perf_counter() - started) / len(true)
    truth, share = np.array(true), np.array([prior.share for prior in priors])
    n_faces = np.array([prior.n_faces for prior in priors])
    genuine = truth * n_faces * (n_faces - 1) / 2
    held = [p.low <= t <= p.high for p, t in zip(priors, truth, strict=True) if t > 0]
    known = genuine > 0
    ratio = share[known] / truth[known]
    within = np.abs(np.log(ratio)) <= np.log(1.15)
    between = f"{ratio.min():.2f} to {ratio.max():.2f}" if known.any() else ""
    print(
        f"| {n_faces.mean():.0f}, {'all' if whole else kind} | {len(truth)} "
        f"| {genuine.mean():.1f} | {truth.mean():.3g} | {share.mean():.3g} | {between} "
        f"| {within.sum()} of {known.sum()} | {sum(held)} of {len(held)} | {elapsed:.2f} |",
        flush=True,
    )


def subset(labelled: Labelled, size: int, kind: str, rng: np.random.Generator) -> Int64Array:
    """Return some pictures at random: any, or all of some people."""
    order = rng.permutation(len(labelled.person))
    if kind == "people":
        rank = rng.permutation(int(labelled.person.max()) + 1)
        order = np.argsort(rank[labelled.person], kind="stable")
    return order[:size].astype(np.int64)


def hold_out(
    labelled: Labelled, rng: np.random.Generator, removed_from: str
) -> tuple[Labelled, Labelled]:
    """Return queries, and the gallery of the rest without half of the people.

    Half of all people (`removed_from` "gallery"), or of those that are queried ("queries").
    """
    n = len(labelled.person)
    is_query = rng.permutation(n) < min(N_QUERIES, n // 4)
    people = np.unique(labelled.person[is_query] if removed_from == "queries" else labelled.person)
    absent = rng.permutation(people)[: len(people) // 2]
    return labelled.only(is_query), labelled.only(~is_query & ~np.isin(labelled.person, absent))


def search_open_set(
    calibration: Calibration,
    data: tuple[Labelled, Labelled],
    identity: EngineIdentity,
    *,
    per_query: bool,
) -> Answers:
    """Search queries in a gallery."""
    queries, gallery = data
    with tempfile.TemporaryDirectory() as folder:
        store = make_index(Path(folder) / "i", identity, gallery)
        with store, store.view() as view:
            prior = estimate_gallery_prior(view, calibration)
            found = view.search(queries.embeddings, TOP)
    rows = np.stack([neighbours.face_ids for neighbours in found]) - 1
    return Answers(
        cosine=np.stack([neighbours.cosines for neighbours in found]),
        is_mate=gallery.person[rows] == queries.person[:, None],
        n_faces=len(gallery.person),
        prior=prior,
        true_prior=gallery.true_share,
        query_share=float((queries.person[:, None] == gallery.person[None, :]).mean()),
        per_query=per_query_degrees(calibration, queries, gallery, rows) if per_query else None,
    )


def per_query_degrees(
    calibration: Calibration, queries: Labelled, gallery: Labelled, rows: Int64Array
) -> Float64Array:
    """Return degrees with a share for each query: one sure mate makes others more likely.

    How the shares of single faces are distributed is fitted on the gallery's own faces; each
    query's share then follows from all of its cosines.
    """
    shares = np.concatenate(([1e-9], np.logspace(-5.5, -0.3, 60)))

    def ratios(left: Float32Array) -> Float64Array:
        return np.asarray(
            10.0 ** log10_lr(np.clip(left @ gallery.embeddings.T, -1, 1), calibration)
        )

    def likelihoods(ratio: Float64Array) -> Float64Array:
        logs = np.stack([np.log1p(share * (ratio - 1.0)).sum(axis=1) for share in shares], axis=1)
        return np.asarray(np.exp(logs - logs.max(axis=1, keepdims=True)))

    own = ratios(gallery.embeddings)
    np.fill_diagonal(own, 1.0)
    of_faces = likelihoods(own)
    weight = np.full(len(shares), 1.0 / len(shares))
    for _ in range(200):
        posterior = of_faces * weight
        weight = (posterior / posterior.sum(axis=1, keepdims=True)).mean(axis=0)
    of_queries = ratios(queries.embeddings)
    posterior = likelihoods(of_queries) * weight
    posterior /= posterior.sum(axis=1, keepdims=True)
    ratio = np.take_along_axis(of_queries, rows, axis=1)[:, :, None]
    degree = shares * ratio / (1.0 - shares + shares * ratio)
    return np.asarray((posterior[:, None, :] * degree).sum(axis=2))


def tell_degrees(calibrations: list[Calibration], trials: list[Answers]) -> None:
    """Print how true the degrees are at each prior."""
    ratio = np.mean([trial.prior.share / trial.true_prior for trial in trials])
    print(
        f"\n{len(trials)} trials, {trials[0].cosine.shape[0]} queries and "
        f"{np.mean([trial.n_faces for trial in trials]):.0f} faces each; "
        f"{np.mean([trial.is_mate.any(axis=1).mean() for trial in trials]):.1%} of the queries "
        f"have a mate among the {TOP}; estimated share / the gallery's: {ratio:.3f}\n"
    )
    print("| prior | mean | ECE | right of those >= 0.9 | mates >= 0.5 | log loss, bits |")
    print("|---|---|---|---|---|---|")
    priors = {
        "0.5": [0.5 for _ in trials],
        "1/N": [1 / trial.n_faces for trial in trials],
        "gallery": [trial.prior.share for trial in trials],
        "true share of the gallery": [trial.true_prior for trial in trials],
        "true share of the queries' pairs": [trial.query_share for trial in trials],
    }
    is_mate = np.concatenate([trial.is_mate.ravel() for trial in trials])
    for name, values in priors.items():
        degrees = [
            calibrated_degree(trial.cosine.ravel(), calibration, prior=prior)
            for trial, calibration, prior in zip(trials, calibrations, values, strict=True)
        ]
        tell_row(name, f"{np.mean(values):.3g}", np.concatenate(degrees), is_mate)
    own = [trial.per_query.ravel() for trial in trials if trial.per_query is not None]
    if own:
        tell_row("one for each query", "", np.concatenate(own), is_mate)


def tell_row(name: str, mean: str, degree: Float64Array, is_mate: BoolArray) -> None:
    """Print how true degrees are as a row of a table."""
    claimed = degree >= 0.9
    right = np.where(is_mate, degree, 1.0 - degree)
    loss = -np.log2(np.maximum(right, 1e-12)).mean()
    ece = expected_calibration_error(degree[is_mate], degree[~is_mate], prior=float(is_mate.mean()))
    print(
        f"| {name} | {mean} | {ece:.4f} "
        f"| {is_mate[claimed].mean():.2%} of {claimed.sum()} "
        f"| {(degree[is_mate] >= 0.5).mean():.2%} of {is_mate.sum()} | {loss:.5f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
