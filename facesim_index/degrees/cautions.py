"""Cautions: short codes that say why the evidence of a pair of faces is known to be weak.

What is known of a face comes from its box, its pose, its detection score, and from the probe for
kinds of faces (`facesim_index.calibration.kinds`) where the package has one for the engine.  What
each code means, and by which figures it was chosen, is told in ``docs/cautions.md``.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from facesim_index.calibration.kinds import CHILD, MASKED, SUNGLASSES, shipped_probe
from facesim_index.records import (
    BoolArray,
    EmbeddedFace,
    FaceRecord,
    Float32Array,
    Int64Array,
    UInt8Array,
)

SMALL_PX, TINY_PX = 24.0, 16.0
"""Shorter sides of boxes.  Two faces below the first are more alike than they should be; one below
the second looks like nobody."""

TURNED_DEG = 50.0
"""From this yaw on a face is often not like its own person any more."""


class Caution(StrEnum):
    """Why the evidence of a pair of faces is known to be weak.

    Attributes
    ----------
    CHILDREN : str
        Both faces are of children up to about 12 years: children are more alike than the
        calibration knows.
    COVERED : str
        Both faces are behind masks, or both are behind sunglasses: the covers are alike.
    ONE_COVERED : str
        One face is behind a mask or sunglasses and the other is not, or behind the other of them:
        one person looks like two.
    SMALL : str
        Both faces are smaller than 24 pixels, or one is smaller than 16.
    POSE : str
        A face is turned away by 50 degrees or more.
    UNCLEAR : str
        A face was found with a low detection score: it is blurred, cut off or hidden.

    Examples
    --------
    >>> from facesim_index import Caution
    >>> Caution("children") is Caution.CHILDREN
    True
    """

    CHILDREN = "children"
    COVERED = "covered"
    ONE_COVERED = "one_covered"
    SMALL = "small"
    POSE = "pose"
    UNCLEAR = "unclear"


IN_WORDS: Mapping[Caution, str] = MappingProxyType(
    {
        Caution.CHILDREN: "both are children",
        Caution.COVERED: "both faces are covered",
        Caution.ONE_COVERED: "only one face is covered",
        Caution.SMALL: "very small faces",
        Caution.POSE: "a face is turned far away",
        Caution.UNCLEAR: "a face is blurred, cut off or hidden",
    }
)
"""Each code for people, in a few words."""

REASONS: Mapping[Caution, str] = MappingProxyType(
    {
        Caution.CHILDREN: "children are more alike than adults: the degree may be far too high",
        Caution.COVERED: "masks and sunglasses are alike: the degree may be far too high",
        Caution.ONE_COVERED: "a cover makes one person look like two: the degree may be too low",
        Caution.SMALL: "they show too little of a person: the degree may be wrong either way",
        Caution.POSE: "it may not look like its own person: the degree may be too low",
        Caution.UNCLEAR: "it may not look like its own person: the degree may be too low",
    }
)
"""What each code means for the degree, for people."""

_SETS = tuple(
    tuple(code for place, code in enumerate(Caution) if number >> place & 1)
    for number in range(1 << len(Caution))
)
"""Every set of codes, by the number whose bits they are."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What of some faces may weaken their evidence.

    Attributes
    ----------
    child, masked, sunglasses, small, tiny, turned, unclear : ndarray of shape (n,), bool
        The first three and the last are False where the package has no probe for the engine.
    """

    child: BoolArray
    masked: BoolArray
    sunglasses: BoolArray
    small: BoolArray
    tiny: BoolArray
    turned: BoolArray
    unclear: BoolArray

    def take(self, places: Sequence[int] | Int64Array) -> "Traits":
        """Return the traits of some of the faces.

        Parameters
        ----------
        places : sequence of int

        Returns
        -------
        Traits
        """
        chosen = np.asarray(places, dtype=np.int64)
        return Traits(*(values[chosen] for values in self._arrays()))

    def most(self) -> "Traits":
        """Return the traits that more than half of the faces have, as those of one face.

        Returns
        -------
        Traits
            Of one face; it has none when there are no faces.
        """
        return Traits(*(np.array([2 * int(v.sum()) > len(v)]) for v in self._arrays()))

    def packed(self) -> UInt8Array:
        """Return the traits as one byte a face, such as to keep those of many faces.

        Returns
        -------
        ndarray of shape (n,), uint8
        """
        return np.packbits(np.stack(self._arrays(), axis=1), axis=1)[:, 0]

    @classmethod
    def of_packed(cls, packed: UInt8Array) -> "Traits":
        """Return the traits that `packed` gave.

        Parameters
        ----------
        packed : ndarray of shape (n,), uint8

        Returns
        -------
        Traits
        """
        columns = np.unpackbits(packed[:, None], axis=1, count=len(dataclasses.fields(cls)))
        return cls(*columns.astype(bool).T)

    def _arrays(self) -> tuple[BoolArray, ...]:
        return (
            *(self.child, self.masked, self.sunglasses),
            *(self.small, self.tiny, self.turned, self.unclear),
        )


def traits_of(
    faces: Sequence[EmbeddedFace | FaceRecord], embeddings: Float32Array, engine_key: str
) -> Traits:
    """Return what of some faces may weaken their evidence.

    Parameters
    ----------
    faces : sequence of EmbeddedFace or FaceRecord
    embeddings : ndarray of shape (n, dimension), float32
        Theirs, of unit norm.
    engine_key : str
        `EngineIdentity.key` of the engine that made them.

    Returns
    -------
    Traits
    """
    size_px = np.array([face.quality.size_px for face in faces], dtype=np.float64)
    yaw_deg = np.array([face.quality.yaw_deg for face in faces], dtype=np.float64)
    unknown = np.zeros(len(faces), dtype=bool)
    child = masked = sunglasses = unclear = unknown
    probe = shipped_probe(engine_key)
    if probe is not None and len(faces):
        of_kind = dict(zip(probe.kinds, probe.of_kind(embeddings).T, strict=True))
        child, masked, sunglasses = (
            of_kind.get(kind, unknown) for kind in (CHILD, MASKED, SUNGLASSES)
        )
        detection = np.array([face.detection for face in faces], dtype=np.float64)
        unclear = detection < probe.least_detection
    return Traits(
        child=child,
        masked=masked,
        sunglasses=sunglasses,
        small=size_px < SMALL_PX,
        tiny=size_px < TINY_PX,
        turned=np.abs(yaw_deg) >= TURNED_DEG,
        unclear=unclear,
    )


def pair_cautions(a: Traits, b: Traits) -> list[tuple[Caution, ...]]:
    """Return the cautions of pairs of faces; symmetric in the two faces.

    Parameters
    ----------
    a, b : Traits
        Of as many faces, pair by pair; or one of them of a single face, which is paired with each
        of the other's.

    Returns
    -------
    list of tuple of Caution
        For each pair, in the order of `Caution`; empty where nothing is known to be weak.
    """
    alike = (a.masked & b.masked) | (a.sunglasses & b.sunglasses)
    said = {
        Caution.CHILDREN: a.child & b.child,
        Caution.COVERED: alike,
        Caution.ONE_COVERED: ((a.masked ^ b.masked) | (a.sunglasses ^ b.sunglasses)) & ~alike,
        Caution.SMALL: (a.small & b.small) | a.tiny | b.tiny,
        Caution.POSE: a.turned | b.turned,
        Caution.UNCLEAR: a.unclear | b.unclear,
    }
    bits = sum(flags.astype(np.int64) << place for place, flags in enumerate(said.values()))
    return [_SETS[number] for number in np.atleast_1d(bits).tolist()]


def caution_text(codes: Iterable[Caution]) -> str:
    """Return cautions in a few words, for people.

    Parameters
    ----------
    codes : iterable of Caution

    Returns
    -------
    str
        Empty when there are none.

    Examples
    --------
    >>> caution_text((Caution.SMALL, Caution.POSE))
    'very small faces; a face is turned far away'
    """
    return "; ".join(IN_WORDS[code] for code in codes)


def caution_sentence(code: Caution) -> str:
    """Return one caution with its reason, for people.

    Parameters
    ----------
    code : Caution

    Returns
    -------
    str

    Examples
    --------
    >>> caution_sentence(Caution.COVERED)
    'both faces are covered; masks and sunglasses are alike: the degree may be far too high'
    """
    return f"{IN_WORDS[code]}; {REASONS[code]}"
