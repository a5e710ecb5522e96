"""How wrong the evidence of pairs with a caution is, and which evidence they can support.

    python -m benchmarks.weak_evidence INDEXES --cache drawn.npz

INDEXES is the folder that ``tools/fit_kind_probes.py`` takes.  For each group of faces, as the
shipped probe and the stored geometry tell them, it prints

- how often two different people reach the scores that one pair in 1,000, and in 10,000, of LFW
  reaches, as a multiple of that;
- the share of genuine pairs whose evidence is below -1 (log10), though they show one person;
- the highest cap C for which strangers of the group reach evidence of C at most once in 10**C
  pairs, by the upper end of a 95 % interval of that share, in steps of a quarter.

Plain cosines are judged, and scores normalised by a gallery: the mean of both faces' (c - m) / s,
where m and s are mean and standard deviation of the face's cosines with at most 2,000 faces of the
gallery, those above 0.4 left out.  The gallery is of the group's own set, or a mix of all sets.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facesim_index.calibration.fitting.fit import fit_monotone
from facesim_index.calibration.kinds import CHILD, MASKED, SUNGLASSES, shipped_probe
from facesim_index.calibration.shipped import shipped_calibration
from facesim_index.degrees.cautions import SMALL_PX, TURNED_DEG
from facesim_index.index import FaceIndex
from facesim_index.records import (
    Float32Array,
    Float64Array,
    Int64Array,
    UInt8Array,
)
from tools.fit_kind_probes import SETS, Faces, Recogniser, crop_of, drawn_covers, load

RATES = (1e-3, 1e-4)
STEP, HIGHEST = 0.25, 5.0
IN_GALLERY = 2000
ONE_PERSON_FROM = 0.4
SCALE = 20.0
"""Normalised scores are divided by it, because curves are of scores in [-1, 1]."""

SEED = 1
FACE_PX_IN_CROP = 80.0
"""About the shorter side of a face's box in its aligned crop."""


@dataclass(frozen=True)
class Group:
    """Faces of one kind."""

    name: str
    faces: Faces
    """The set that they are of."""
    places: Int64Array
    """Which of its faces they are."""
    changed: Float32Array | None = None
    """Their embeddings, where something was drawn on them or they were reduced."""
    people_known: bool = True
    """Whether the set says whose the faces are, and has several of a person."""

    @property
    def embeddings(self) -> Float32Array:
        """The embeddings of the faces."""
        return self.faces.embeddings[self.places] if self.changed is None else self.changed

    @property
    def gallery(self) -> Float32Array:
        """Faces of the set of their own: all of it, or all that were changed alike."""
        return self.faces.embeddings if self.changed is None else self.changed


@dataclass(frozen=True)
class Measure:
    """A kind of score: its levels on LFW, and its curve."""

    levels: tuple[float, ...]
    knots: Float64Array

    def evidence(self, scores: Float64Array) -> Float64Array:
        """Return the log10 likelihood ratios that the curve claims."""
        return np.interp(scores, self.knots[:, 0], self.knots[:, 1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("indexes", type=Path)
    parser.add_argument("--cache", type=Path, help="keep the drawn faces in this .npz file")
    options = parser.parse_args(arguments)

    sets = {name: load(options.indexes / f"{name}.facesim", name) for name in SETS}
    recogniser = Recogniser()
    drawn = drawn_covers(sets, recogniser, options.cache)
    lfw = sets["lfw_dev"]
    mix = np.concatenate([part.embeddings[::2] for part in sets.values()])
    plain = measure(lfw.embeddings @ lfw.embeddings.T, lfw.group, recogniser)
    own = spread(lfw.embeddings, lfw.embeddings)
    by_gallery = measure(normalised(lfw.embeddings, own), lfw.group, None)
    for group in (
        *probed_groups(sets, recogniser.settings.identity.key),
        *drawn_groups(sets, drawn),
        *reduced_groups(lfw, recogniser),
        *posed_groups(sets, options.indexes),
    ):
        tell(group, plain, by_gallery, mix)


def tell(group: Group, plain: Measure, by_gallery: Measure, mix: Float32Array) -> None:
    """Print the figures of a group."""
    people = group.faces.group
    own = people[group.places]
    strangers = own[:, None] != own[None]
    upper = np.triu(strangers, 1)
    cosines = group.embeddings @ group.embeddings.T
    found = cosines[upper]
    print(f"{group.name}: {len(own)} faces, {len(found)} pairs of strangers")
    print(f"  plain          {rates_text(found, plain)}")
    for name, gallery in (("own gallery", group.gallery), ("mixed gallery", mix)):
        scores = normalised(group.embeddings, spread(group.embeddings, gallery))[upper]
        print(f"  {name:<14} {rates_text(scores, by_gallery)}")
    if group.people_known:
        both = cosines[np.triu(~strangers, 1)]
        usual = np.ones(len(people), dtype=bool)
        usual[group.places] = group.changed is not None
        alike = (own[:, None] == people[None]) & usual[None]
        alike[np.arange(len(own)), group.places] = False  # the same picture
        one = (group.embeddings @ group.faces.embeddings.T)[alike]
        print(f"  genuine pairs below -1: both {missed_text(both, plain)}", end="; ")
        print(f"one such face {missed_text(one, plain)}", flush=True)


def rates_text(scores: Float32Array, measured: Measure) -> str:
    """Return how often strangers reach the levels of LFW, and the cap."""
    times = "/".join(
        f"{(scores >= level).mean() / rate:.1f}"
        for level, rate in zip(measured.levels, RATES, strict=True)
    )
    return f"x{times}, cap {cap_of(measured.evidence(scores.astype(np.float64)))}"


def cap_of(evidence: Float64Array) -> float:
    """Return the highest evidence that strangers reach no more often than is true."""
    cap = 0.0
    for claim in np.arange(STEP, HIGHEST + STEP, STEP).tolist():
        count = int((evidence >= claim - 1e-9).sum())
        upper = (count + 2.0 + 1.96 * np.sqrt(count + 1.0)) / len(evidence)
        if upper > 10.0**-claim:
            return cap
        cap = claim
    return cap


def missed_text(mates: Float32Array, measured: Measure) -> str:
    """Return how many genuine pairs look like two people."""
    if len(mates) < 20:
        return "too few"
    evidence = measured.evidence(mates.astype(np.float64))
    return f"{(evidence < -1.0).mean():.3f} of {len(mates)}"


# Scores


def measure(scores: Float32Array, people: Int64Array, recogniser: Recogniser | None) -> Measure:
    """Return levels and curve of a kind of score on LFW; the shipped curve for cosines."""
    upper = np.triu(np.ones(scores.shape, dtype=bool), 1)
    same = people[:, None] == people[None]
    impostor, genuine = scores[upper & ~same], scores[upper & same]
    levels = tuple(float(np.quantile(impostor, 1.0 - rate)) for rate in RATES)
    shipped = shipped_calibration(recogniser.settings.identity.key) if recogniser else None
    knots = fit_monotone(genuine, impostor) if shipped is None else shipped.knots
    return Measure(levels, np.array(knots))


def spread(faces: Float32Array, gallery: Float32Array) -> Float32Array:
    """Return mean and standard deviation of each face's cosines with faces of a gallery."""
    chosen = np.random.default_rng(SEED).permutation(len(gallery))[:IN_GALLERY]
    cosines = faces @ gallery[chosen].T
    strangers = np.where(cosines > ONE_PERSON_FROM, np.nan, cosines)
    return np.stack([np.nanmean(strangers, axis=1), np.nanstd(strangers, axis=1)])


def normalised(faces: Float32Array, own: Float32Array) -> Float32Array:
    """Return the normalised scores of all pairs of faces, divided by `SCALE`."""
    one_sided = (faces @ faces.T - own[0][:, None]) / own[1][:, None]
    return np.asarray((one_sided + one_sided.T) / (2.0 * SCALE), dtype=np.float32)


# Groups


def probed_groups(sets: dict[str, Faces], engine_key: str) -> list[Group]:
    """Return the faces that the shipped probe takes for children, masked ones and others."""
    probe = shipped_probe(engine_key)
    if probe is None:
        raise SystemExit("the package has no probe for this engine")
    groups = [Group("all of lfw_dev", sets["lfw_dev"], np.arange(len(sets["lfw_dev"].group)))]
    for kind, name in (
        *((CHILD, "aaf"), (CHILD, "utk"), (MASKED, "masks")),
        *((SUNGLASSES, "lfw_dev"), (SUNGLASSES, "bollywood")),
    ):
        of_kind = probe.of_kind(sets[name].embeddings)[:, probe.kinds.index(kind)]
        known = name in ("lfw_dev", "bollywood")
        places = np.flatnonzero(of_kind)
        groups.append(Group(f"{kind}, of {name}", sets[name], places, people_known=known))
    for name in ("aaf", "utk"):
        adults = np.flatnonzero(sets[name].adults())
        groups.append(Group(f"adults of {name}", sets[name], adults, people_known=False))
    return groups


def drawn_groups(sets: dict[str, Faces], drawn: dict[str, Float32Array]) -> list[Group]:
    """Return faces with drawn masks and with drawn sunglasses, in galleries of such faces."""
    return [
        Group(
            f"{kind}, drawn on {name}",
            sets[name],
            drawn[f"{name}/which"].astype(np.int64),
            drawn[f"{name}/{kind}"],
            people_known=name == "lfw_dev",
        )
        for kind in (MASKED, SUNGLASSES)
        for name in ("lfw_dev", "aaf")
    ]


def reduced_groups(lfw: Faces, recogniser: Recogniser) -> list[Group]:
    """Return faces of people with several pictures, reduced to some sizes."""
    counts = np.bincount(lfw.group)
    several = np.flatnonzero(counts[lfw.group] >= 2)[:1000]
    crops = [crop_of(lfw, place) for place in several.tolist()]
    groups = []
    for size_px in (24, 20, 16, 12):
        found = recogniser.embed([reduced(crop, size_px / FACE_PX_IN_CROP) for crop in crops])
        groups.append(Group(f"{size_px} px, of lfw_dev", lfw, several, found))
    return groups


def reduced(crop: UInt8Array, scale: float) -> UInt8Array:
    """Return a crop as it looks when the face has fewer pixels."""
    side = max(4, round(crop.shape[0] * scale))
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    enlarged = cv2.resize(small, (crop.shape[1], crop.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(enlarged, dtype=np.uint8)


def posed_groups(sets: dict[str, Faces], indexes: Path) -> list[Group]:
    """Return turned and unclear faces, of LFW and of the actors."""
    groups = []
    for name in ("lfw_dev", "bollywood"):
        with FaceIndex.open(indexes / f"{name}.facesim") as index:
            # A picture's largest face, as `load` takes it, is known by its landmarks.
            known = {face.landmarks.tobytes(): face for face in index.face_records()}
        faces = [known[landmarks.tobytes()] for landmarks in sets[name].landmarks]
        yaw = np.abs([face.quality.yaw_deg for face in faces])
        detection = np.array([face.detection for face in faces])
        size = np.array([face.quality.size_px for face in faces])
        for words, chosen in (
            ("30 to 40 degrees", (yaw >= 30) & (yaw < 40)),
            ("40 to 50 degrees", (yaw >= 40) & (yaw < TURNED_DEG)),
            ("50 degrees and more", yaw >= TURNED_DEG),
            ("detection below 0.7", detection < 0.7),
            ("detection 0.7 to 0.75", (detection >= 0.7) & (detection < 0.75)),
            (f"below {SMALL_PX:g} px", size < SMALL_PX),
        ):
            if chosen.sum() >= 10:
                places = np.flatnonzero(chosen)
                groups.append(Group(f"{words}, of {name}", sets[name], places))
    return groups


if __name__ == "__main__":
    main()
