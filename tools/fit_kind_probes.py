"""Fit the probes that tell children, masks and sunglasses by the embedding, and judge them.

    python tools/fit_kind_probes.py INDEXES OUT.json
    python tools/fit_kind_probes.py INDEXES OUT.json --variants

INDEXES is a folder with an index of each data set, as ``facesim --index INDEXES/NAME.facesim
ingest FOLDER`` makes it.  The names are ``lfw_dev`` (LFW, View 1), ``aaf`` (All-Age-Faces,
``NNNNNAYY.jpg``: age YY), ``utk`` (UTKFace, ``age_...jpg``), ``bollywood`` (actors, 64 px),
``kin1`` (KinFaceW-I, ``..._1.jpg`` parent, ``..._2.jpg`` child) and ``masks`` (real masks,
``NNNN_MMMM.jpg``: folder, picture).  Their pictures must still be there: masks and sunglasses are
also drawn on faces, because no set of real sunglasses is at hand.

Every figure is of faces that the judged probe was not fitted on: the child's is fitted on one set
and judged on another, the other two on one half of each set and judged on the other half, whose
people (of LFW and of the masks: whose folders) are different ones.  The probe in OUT.json is fitted
on all of them but LFW's people of the test list.  ``--variants`` also embeds some pictures with the
other shipped variants of the engine, and says whether the probe says the same of them.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from facesim_index.calibration.kinds import CHILD, MASKED, SUNGLASSES, KindProbe, probe_json
from facesim_index.engine.alignment import aligned_crop
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.index import FaceIndex
from facesim_index.models.resolution import resolve
from facesim_index.pictures.views import WholePicture
from facesim_index.records import (
    Augment,
    BoolArray,
    Box,
    FaceRecord,
    Float32Array,
    Float64Array,
    Int64Array,
    Numerics,
    UInt8Array,
)
from facesim_index.utils.files import atomic_output

DATA = "UTKFace, All-Age-Faces, LFW View 1, Real-World-Masked-Face, Bollywood actors"
SETS = ("lfw_dev", "aaf", "utk", "bollywood", "kin1", "masks")
CHILD_UP_TO, ADULT_FROM = 12, 18
RIDGE = 1.0
MOST_FALSE_ALARMS, MOST_ELSEWHERE = 0.01, 0.02
"""Share of the faces of LFW, and of the adults of another set, that may be taken for a kind."""

LEAST_DETECTION = 0.7
"""Below it, one in five genuine pairs and more looks like two people (docs/cautions.md)."""

VARIANTS: tuple[tuple[Augment, Numerics], ...] = (
    *(("none", "fp32"), ("flip", "fp32")),
    *(("none", "bf16"), ("flip", "bf16")),
)
SEED = 1
BATCH = 8


@dataclass(frozen=True)
class Faces:
    """The largest face of each picture of a set, in order of the paths."""

    paths: tuple[str, ...]
    landmarks: tuple[Float32Array, ...]
    embeddings: Float32Array
    group: Int64Array
    """Faces of one group are of one person or folder, hence never parted."""
    age: Int64Array
    """-1 where it is not known."""

    def only(self, chosen: BoolArray) -> "Faces":
        """Return some of the faces."""
        places = np.flatnonzero(chosen)
        return Faces(
            tuple(self.paths[i] for i in places),
            tuple(self.landmarks[i] for i in places),
            self.embeddings[chosen],
            self.group[chosen],
            self.age[chosen],
        )

    @property
    def half(self) -> BoolArray:
        """Which faces are fitted on when the other half is judged."""
        even: BoolArray = (self.group // 2) % 2 == 0
        return even

    def children(self) -> BoolArray:
        """Tell whose age is a child's."""
        return (self.age >= 0) & (self.age <= CHILD_UP_TO)

    def adults(self) -> BoolArray:
        """Tell whose age is an adult's."""
        return self.age >= ADULT_FROM


@dataclass(frozen=True)
class Layer:
    """One linear layer, and from which log-odds on a face counts."""

    weights: Float64Array
    offset: float
    least: float = 0.0

    def log_odds(self, embeddings: Float32Array) -> Float64Array:
        """Return the log-odds of faces."""
        return embeddings.astype(np.float64) @ self.weights + self.offset

    def share(self, embeddings: Float32Array) -> float:
        """Return the share of faces that count."""
        return float((self.log_odds(embeddings) >= self.least).mean())


class Recogniser:
    """Embeds aligned crops by the default engine."""

    def __init__(self) -> None:
        self.settings = EngineSettings(model=resolve(None))
        self._network = load_networks(self.settings)[1]

    def embed(self, crops: Sequence[UInt8Array]) -> Float32Array:
        """Return unit-norm embeddings of crops."""
        raw = np.vstack(
            [self._network.embed(crops[i : i + BATCH]) for i in range(0, len(crops), BATCH)]
        ).astype(np.float64)
        return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("indexes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--cache", type=Path, help="keep the drawn faces in this .npz file")
    options = parser.parse_args(arguments)

    sets = {name: load(options.indexes / f"{name}.facesim", name) for name in SETS}
    recogniser = Recogniser()
    drawn = drawn_covers(sets, recogniser, options.cache)
    test_people = lfw_test_group(sets["lfw_dev"])
    layers = (
        child_layer(sets, test_people),
        covered_layer(MASKED, sets, drawn, test_people),
        covered_layer(SUNGLASSES, sets, drawn, test_people),
    )
    identity = recogniser.settings.identity
    keys = [
        dataclasses.replace(identity, augment=augment, numerics=numerics).key
        for augment, numerics in VARIANTS
    ]
    probe = KindProbe(
        engine_keys=tuple(keys),
        data=DATA,
        kinds=(CHILD, MASKED, SUNGLASSES),
        weights=np.stack([layer.weights for layer in layers]),
        offsets=np.array([layer.offset for layer in layers]),
        least_log_odds=np.array([layer.least for layer in layers]),
        least_detection=LEAST_DETECTION,
    )
    with atomic_output(options.out) as handle:
        handle.write(probe_json(probe).encode("utf-8"))
    print(f"wrote {options.out}")
    if options.variants:
        compare_variants(probe, sets)


# The faces


def load(path: Path, name: str) -> Faces:
    """Return the largest face of each picture of an index."""
    with FaceIndex.open(path) as index:
        best: dict[str, FaceRecord] = {}
        for record in index.face_records():
            known = best.get(record.path)
            if known is None or area(record.box) > area(known.box):
                best[record.path] = record
        records = [best[key] for key in sorted(best)]
        ids = np.array([record.face_id for record in records], dtype=np.int64)
        embeddings = index.embeddings(ids)
    stems = [Path(record.path).stem for record in records]
    parents = [Path(record.path).parent.name for record in records]
    if name in ("lfw_dev", "bollywood"):
        group = np.unique(parents, return_inverse=True)[1]
    elif name in ("kin1", "masks"):
        number = 1 if name == "kin1" else 0
        group = np.unique([stem.split("_")[number] for stem in stems], return_inverse=True)[1]
    else:
        group = np.arange(len(stems))
    age = np.full(len(stems), -1)
    if name == "aaf":
        age = np.array([int(stem[6:8]) for stem in stems])
    elif name == "utk":
        age = np.array([int(stem.split("_")[0]) for stem in stems])
    return Faces(
        tuple(record.path for record in records),
        tuple(record.landmarks for record in records),
        embeddings,
        group.astype(np.int64),
        age.astype(np.int64),
    )


def area(box: Box) -> float:
    """Return the area of a face's box."""
    return box.w * box.h


def lfw_test_group(lfw: Faces) -> BoolArray:
    """Tell which faces of LFW are of people of the test list, who are left out of every fit."""
    # .../lfw_dev/images/NAME/NAME_0001.jpg
    listed = Path(lfw.paths[0]).parents[2] / "pairsDevTest.txt"
    names = set()
    for line in listed.read_text(encoding="utf-8").splitlines()[1:]:
        fields = line.split("\t")
        names.add(fields[0])
        if len(fields) == 4:
            names.add(fields[2])
    return np.array([Path(path).parent.name in names for path in lfw.paths])


# Covers that are drawn


def drawn_covers(
    sets: dict[str, Faces], recogniser: Recogniser, cache: Path | None
) -> dict[str, Float32Array]:
    """Return the embeddings of faces with a drawn mask or drawn sunglasses, by kind and set.

    Every second picture of All-Age-Faces and UTKFace is drawn on, and every third of LFW; the key
    ``set/kind`` has their embeddings, ``set/which`` their places in the set.
    """
    if cache is not None and cache.exists():
        return dict(np.load(cache))
    drawn: dict[str, Float32Array] = {}
    for name, step in (("lfw_dev", 3), ("aaf", 2), ("utk", 2)):
        which = np.arange(0, len(sets[name].paths), step)
        crops = [crop_of(sets[name], place) for place in which.tolist()]
        rng = np.random.default_rng(SEED)
        drawn[f"{name}/which"] = which.astype(np.float32)
        drawn[f"{name}/{MASKED}"] = recogniser.embed([with_mask(crop, rng) for crop in crops])
        drawn[f"{name}/{SUNGLASSES}"] = recogniser.embed(
            [with_sunglasses(crop, rng) for crop in crops]
        )
        print(f"drew on {len(crops)} faces of {name}", flush=True)
    if cache is not None:
        np.savez(cache, **drawn)  # type: ignore[arg-type]  # its stubs take one array only
    return drawn


def crop_of(faces: Faces, place: int) -> UInt8Array:
    """Return the aligned crop of a face."""
    with Image.open(faces.paths[place]) as picture:
        rgb = np.asarray(picture.convert("RGB"))
    return aligned_crop(rgb, faces.landmarks[place])


def with_mask(crop: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Return an aligned crop with a mask from the nose to the chin, of a likely colour."""
    top = 66.0 + rng.normal(0.0, 4.0)
    outline = np.array(
        [
            *([10.0, top + 4.0], [34.0, top - 2.0], [56.0, top - 8.0], [78.0, top - 2.0]),
            *([102.0, top + 4.0], [98.0, 100.0], [80.0, 116.0], [32.0, 116.0], [14.0, 100.0]),
        ]
    ) + rng.normal(0.0, 2.5, (9, 2))
    colours = (
        *((235, 238, 240), (150, 190, 220), (25, 25, 28)),
        *((120, 190, 180), (60, 60, 70), (220, 170, 180)),
    )
    colour = np.clip(colours[rng.integers(len(colours))] + rng.normal(0.0, 12.0, 3), 0.0, 255.0)
    cover = np.zeros(crop.shape[:2], dtype=np.float32)
    cv2.fillPoly(cover, [outline.astype(np.int32)], 1.0)
    across = 1.0 - 0.25 * np.abs(np.arange(112) - 56.0) / 56.0
    folds = 1.0 + 0.05 * np.sin(np.arange(112) / 3.0 + rng.uniform(0.0, 6.0))
    return covered(crop, cover, colour * (folds[:, None] * across)[..., None])


def with_sunglasses(crop: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Return an aligned crop with dark lenses before the eyes, of one of several shapes."""
    wide, high = 14.0 + rng.normal(0.0, 1.5), 10.5 + rng.normal(0.0, 1.5)
    middle = 51.6 + rng.normal(2.0, 1.5)
    power = float(rng.choice([2.0, 3.0, 5.0]))
    y, x = np.mgrid[:112, :112]
    lenses = np.zeros(crop.shape[:2], dtype=np.float32)
    for eye in (38.3, 73.5):
        lenses[np.abs((x - eye) / wide) ** power + np.abs((y - middle) / high) ** power < 1.0] = 1.0
    lenses *= np.float32(rng.uniform(0.85, 1.0))
    bar = int(middle - high / 2.0)
    for start, end in (((45, bar), (67, bar)), ((24, bar), (0, bar - 2)), ((88, bar), (112, bar))):
        cv2.line(lenses, start, end, 0.9, 2)
    colour = np.clip(rng.choice([20.0, 25.0, 45.0]) + rng.normal(0.0, 6.0, 3), 0.0, 255.0)
    shine = np.clip(1.0 - np.hypot(x - rng.uniform(20.0, 90.0), y - 45.0) / 20.0, 0.0, 1.0)
    return covered(crop, lenses, colour * (1.0 + 0.8 * shine)[..., None])


def covered(crop: UInt8Array, cover: Float32Array, colours: Float64Array) -> UInt8Array:
    """Return a crop with colours where a cover is; grey ones where the crop is grey."""
    if (crop == crop[..., :1]).all():
        colours = np.repeat(colours.mean(axis=-1, keepdims=True), 3, axis=-1)
    share = cv2.GaussianBlur(cover, (0, 0), 0.8)[..., None]
    mixed = crop * (1.0 - share) + share * colours
    return np.clip(mixed, 0.0, 255.0).astype(np.uint8)


# The layers


def fitted(positive: Sequence[Float32Array], negative: Sequence[Float32Array]) -> Layer:
    """Return the logistic regression that tells faces of a kind from others.

    Each set of positives counts as much as the others, and all together as much as the negatives.
    """
    features = np.concatenate([*positive, *negative]).astype(np.float64)
    n_negative = sum(map(len, negative))
    of_kind = np.zeros(len(features))
    of_kind[: len(features) - n_negative] = 1.0
    weight = np.concatenate(
        [np.full(len(part), n_negative / len(positive) / len(part)) for part in positive]
        + [np.ones(n_negative)]
    )
    features = np.hstack([features, np.ones((len(features), 1))])
    penalty = np.eye(features.shape[1]) * RIDGE
    penalty[-1, -1] = 0.0
    found = np.zeros(features.shape[1])
    for _ in range(50):  # Newton's method
        expected = 1.0 / (1.0 + np.exp(-features @ found))
        gradient = features.T @ (weight * (expected - of_kind)) + penalty @ found
        curvature = (features * (weight * expected * (1.0 - expected))[:, None]).T @ features
        step = np.linalg.solve(curvature + penalty, gradient)
        found -= step
        if np.abs(step).max() < 1e-9:
            break
    return Layer(found[:-1], float(found[-1]))


def bounded(layer: Layer, lfw: Float32Array, *elsewhere: Float32Array) -> Layer:
    """Return a layer that takes few adults of each set for the kind; even odds must be reached."""
    levels = [float(np.quantile(layer.log_odds(lfw), 1.0 - MOST_FALSE_ALARMS))]
    levels += [float(np.quantile(layer.log_odds(part), 1.0 - MOST_ELSEWHERE)) for part in elsewhere]
    return dataclasses.replace(layer, least=max(0.0, *levels))


def child_layer(sets: dict[str, Faces], lfw_test: BoolArray) -> Layer:
    """Judge the probe for children across sets, and return the one of both sets."""
    aaf, utk, lfw = sets["aaf"], sets["utk"], sets["lfw_dev"]
    others = lfw.embeddings[~lfw_test]

    def fit(*parts: Faces) -> Layer:
        layer = fitted(
            [part.embeddings[part.children()] for part in parts],
            [part.embeddings[part.adults()] for part in parts],
        )
        return bounded(layer, others)

    for name, layer, judged in (
        ("child, fitted on utk, judged on aaf", fit(utk), aaf),
        ("child, fitted on aaf, judged on utk", fit(aaf), utk),
    ):
        print(f"{name}: least log-odds {layer.least:.2f}")
        print(f"  AUC {auc(layer, judged):.4f}; found, by age: {by_age(layer, judged)}")
        print(f"  false alarms: {false_alarms(layer, sets, lfw_test)}")
    both = fit(aaf, utk)
    print(f"child, of both sets: least log-odds {both.least:.2f}")
    print(f"  false alarms: {false_alarms(both, sets, lfw_test)}")
    return both


def covered_layer(
    kind: str, sets: dict[str, Faces], drawn: dict[str, Float32Array], lfw_test: BoolArray
) -> Layer:
    """Judge the probe for a kind of cover on faces left out, and return the one of all."""

    def fit(half: bool) -> Layer:
        used = {
            name: (part.half if half else np.ones(len(part.group), dtype=bool))
            & (~lfw_test if name == "lfw_dev" else True)
            for name, part in sets.items()
        }
        positive = [
            drawn[f"{name}/{kind}"][used[name][drawn[f"{name}/which"].astype(int)]]
            for name in ("lfw_dev", "aaf", "utk")
        ]
        if kind == MASKED:
            positive.append(sets["masks"].embeddings[used["masks"]])
        negative = [
            sets[name].embeddings[used[name]] for name in ("lfw_dev", "aaf", "utk", "bollywood")
        ]
        layer = fitted(positive, negative)
        # Some people of LFW and Bollywood do wear sunglasses: they are neither one nor the other.
        kept = [part[layer.log_odds(part) < 0.0] for part in negative]
        return fitted(positive, kept)

    left_out_adults = [
        part.embeddings[part.adults() & ~part.half] for part in (sets["aaf"], sets["utk"])
    ]
    layer = bounded(fit(half=True), sets["lfw_dev"].embeddings[~lfw_test], *left_out_adults)
    print(f"{kind}, fitted on one half of each set, judged on the other: {layer.least:.2f}")
    for name in ("lfw_dev", "aaf", "utk"):
        which = drawn[f"{name}/which"].astype(int)
        left_out = lfw_test[which] if name == "lfw_dev" else ~sets[name].half[which]
        share = layer.share(drawn[f"{name}/{kind}"][left_out])
        print(f"  found of those drawn on {name}: {share:.3f} of {left_out.sum()}")
    masks = sets["masks"].only(~sets["masks"].half)
    print(f"  of real masks: {layer.share(masks.embeddings):.3f} of {len(masks.paths)}")
    print(f"  false alarms: {false_alarms(layer, sets, lfw_test)}")
    whole = dataclasses.replace(fit(half=False), least=layer.least)
    print(f"{kind}, of all: least log-odds {whole.least:.2f}")
    print(f"  LFW's test people: {whole.share(sets['lfw_dev'].embeddings[lfw_test]):.4f}")
    return whole


def auc(layer: Layer, judged: Faces) -> float:
    """Return how often a child has higher log-odds than an adult."""
    children = layer.log_odds(judged.embeddings[judged.children()])
    adults = np.sort(layer.log_odds(judged.embeddings[judged.adults()]))
    return float(np.searchsorted(adults, children).mean() / len(adults))


def by_age(layer: Layer, judged: Faces) -> str:
    """Return the share of each age that counts, in words."""
    parts = []
    for low, high in ((0, 2), (3, 6), (7, 12), (13, 17), (18, 24), (25, 120)):
        chosen = (judged.age >= low) & (judged.age <= high)
        parts.append(f"{low}-{high} {layer.share(judged.embeddings[chosen]):.3f}")
    return ", ".join(parts)


def false_alarms(layer: Layer, sets: dict[str, Faces], lfw_test: BoolArray) -> str:
    """Return the shares of faces that count and should not, in words."""
    kin = sets["kin1"]
    parents = np.array([path.endswith("_1.jpg") for path in kin.paths])
    groups = {
        "LFW test people": sets["lfw_dev"].embeddings[lfw_test],
        "utk adults": sets["utk"].embeddings[sets["utk"].adults() & ~sets["utk"].half],
        "aaf adults": sets["aaf"].embeddings[sets["aaf"].adults() & ~sets["aaf"].half],
        "utk children": sets["utk"].embeddings[sets["utk"].children() & ~sets["utk"].half],
        "bollywood": sets["bollywood"].embeddings[~sets["bollywood"].half],
        "kin1 parents": kin.embeddings[parents],
        "kin1 children": kin.embeddings[~parents],
        "masks": sets["masks"].embeddings[~sets["masks"].half],
    }
    return ", ".join(f"{name} {layer.share(part):.3f}" for name, part in groups.items())


# The other variants of the engine


def compare_variants(probe: KindProbe, sets: dict[str, Faces]) -> None:
    """Say whether the probe says the same of embeddings by the other shipped variants."""
    chosen = [(name, place) for name, step in (("aaf", 8), ("masks", 2), ("lfw_dev", 25))
              for place in range(0, len(sets[name].paths), step)]  # fmt: skip
    known = np.stack([sets[name].embeddings[place] for name, place in chosen])
    said = probe.of_kind(known)
    for augment, numerics in VARIANTS[1:]:
        settings = EngineSettings(
            model=resolve(None),
            augment=augment,
            numerics=numerics,
            provider="openvino" if numerics == "bf16" else "cpu",
        )
        engine = settings.load()
        cosines, same = [], []
        for (name, place), own, before in zip(chosen, known, said, strict=True):
            with Image.open(sets[name].paths[place]) as picture:
                whole = WholePicture(np.asarray(picture.convert("RGB")))
            [faces] = engine.embed_pictures([whole])
            if not faces:
                continue
            largest = max(faces, key=lambda face: area(face.box))
            cosines.append(float(largest.embedding @ own))
            same.append(probe.of_kind(largest.embedding[None])[0] == before)
        agreed = np.array(same).mean(axis=0)
        print(
            f"{augment} {numerics}: {len(cosines)} faces, median cosine {np.median(cosines):.4f}, "
            "says the same of "
            + ", ".join(
                f"{kind} {share:.4f}" for kind, share in zip(probe.kinds, agreed, strict=True)
            )
        )


if __name__ == "__main__":
    main()
