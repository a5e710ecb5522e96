"""Cautions: which pairs get which codes."""

from dataclasses import replace

import numpy as np
import pytest

from facesim_index.calibration.kinds import KindProbe
from facesim_index.degrees import cautions
from facesim_index.degrees.cautions import (
    IN_WORDS,
    REASONS,
    Caution,
    Traits,
    caution_text,
    pair_cautions,
    traits_of,
)
from facesim_index.records import EmbeddedFace, Float32Array
from tests.builders import face

ENGINE = "a made up engine"
PLAIN, CHILD, MASKED, SHADES = np.eye(4, dtype=np.float32)


@pytest.fixture
def _probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first number of an embedding mean nothing, the others a kind each."""
    probe = KindProbe(
        (ENGINE,),
        "made up",
        ("child", "masked", "sunglasses"),
        np.eye(3, 4, 1),
        np.zeros(3),
        np.full(3, 0.5),
        0.7,
    )
    monkeypatch.setattr(cautions, "shipped_probe", {ENGINE: probe}.get)


def seen(
    embedding: Float32Array = PLAIN, *, size: float = 80.0, yaw: float = 0.0, detection: float = 0.9
) -> EmbeddedFace:
    usual = face(embedding)
    quality = replace(usual.quality, size_px=size, yaw_deg=yaw)
    return replace(usual, quality=quality, detection=detection)


def traits(*faces: EmbeddedFace, engine: str = ENGINE) -> Traits:
    return traits_of(faces, np.stack([item.embedding for item in faces]), engine)


PAIRS = [
    (seen(), seen(), ""),
    (seen(CHILD), seen(CHILD), "children"),
    (seen(CHILD), seen(), ""),
    (seen(MASKED), seen(MASKED), "covered"),
    (seen(SHADES), seen(SHADES), "covered"),
    (seen(MASKED), seen(), "one_covered"),
    (seen(SHADES), seen(), "one_covered"),
    (seen(MASKED), seen(SHADES), "one_covered"),
    (seen(size=23.9), seen(size=23.9), "small"),
    (seen(size=23.9), seen(), ""),
    (seen(size=15.9), seen(), "small"),
    (seen(yaw=-50.0), seen(), "pose"),
    (seen(yaw=49.9), seen(yaw=-49.9), ""),
    (seen(detection=0.69), seen(), "unclear"),
    (seen(CHILD, yaw=60.0, detection=0.5), seen(CHILD, size=12.0), "children small pose unclear"),
]


@pytest.mark.usefixtures("_probe")
def test_codes_of_pairs_are_symmetric_and_the_same_alone_and_together() -> None:
    a, b = traits(*(a for a, _, _ in PAIRS)), traits(*(b for _, b, _ in PAIRS))
    expected = [tuple(map(Caution, pair[2].split())) for pair in PAIRS]
    assert pair_cautions(a, b) == pair_cautions(b, a) == expected
    for place in range(len(PAIRS)):
        assert pair_cautions(a.take([place]), b.take([place])) == [expected[place]]
    first = pair_cautions(a.take([1]), b)
    assert first == [pair_cautions(a.take([1]), b.take([i]))[0] for i in range(len(PAIRS))]
    assert pair_cautions(a.take([1]), b.take([])) == []
    assert pair_cautions(Traits.of_packed(a.packed()), Traits.of_packed(b.packed())) == expected


@pytest.mark.usefixtures("_probe")
def test_an_engine_without_a_probe_gets_the_cautions_of_geometry_only() -> None:
    faces = (seen(CHILD, size=12.0), seen(CHILD, yaw=60.0), seen(MASKED, detection=0.1))
    known = traits(*faces, engine="another engine")
    first = pair_cautions(known.take([0]), known)
    assert first == [
        (Caution.SMALL,),
        (Caution.SMALL, Caution.POSE),
        (Caution.SMALL,),
    ]
    assert pair_cautions(known.take([2]), known.take([2])) == [()]


@pytest.mark.usefixtures("_probe")
def test_people_have_what_most_of_their_faces_have() -> None:
    child = traits(seen(CHILD), seen(CHILD), seen(MASKED, size=10.0)).most()
    assert pair_cautions(child, traits(seen(CHILD), seen(MASKED))) == [
        (Caution.CHILDREN,),
        (Caution.ONE_COVERED,),
    ]
    nobody = child.take([]).most()
    assert pair_cautions(nobody, traits(seen(CHILD))) == [()]


def test_every_code_has_words() -> None:
    assert set(IN_WORDS) == set(REASONS) == set(Caution)
    assert caution_text(()) == ""
    assert caution_text(tuple(Caution)).count(";") == len(Caution) - 1
