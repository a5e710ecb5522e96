"""Probes for kinds of faces: made up ones, the shipped one, and real people."""

import json
from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.kinds import (
    CHILD,
    MASKED,
    SUNGLASSES,
    KindProbe,
    probe_json,
    probe_of_json,
    shipped_probe,
)
from facesim_index.engine.loading import EngineSettings
from facesim_index.engine.reading import make_reader
from facesim_index.errors import CalibrationError
from facesim_index.models.resolution import resolve
from facesim_index.records import Failure
from tests.builders import unit_vectors

DEFAULT_ENGINE = (
    "detector=a3562ef62592bf387f6ef19151282ac127518e51c77696e62e0661bee95ba1ad;"
    "recogniser=9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f;"
    "preprocessing=3;dimension=512"
)


def made_up() -> KindProbe:
    return KindProbe(
        engine_keys=("one", "two"),
        data="made up",
        kinds=("child", "masked"),
        weights=np.array([[8.0, 0.0, 0.0], [0.0, 2.5, -1.25]]),
        offsets=np.array([-4.0, 0.5]),
        least_log_odds=np.array([0.0, 1.0]),
        least_detection=0.7,
    )


def test_log_odds_are_linear_and_faces_count_from_the_least() -> None:
    faces = np.array([[1.0, 0.0, 0.0], [0.5, 0.2, 0.0], [0.0, 0.19, 0.0]], np.float32)
    probe = made_up()
    np.testing.assert_allclose(
        probe.log_odds(faces), [[4.0, 0.5], [0.0, 1.0], [-4.0, 0.975]], rtol=1e-6
    )
    assert probe.of_kind(faces).tolist() == [[True, False], [True, True], [False, False]]
    assert probe.of_kind(faces[:0]).shape == (0, 2)


def test_a_probe_survives_its_text_and_damage_is_refused() -> None:
    probe = made_up()
    again = probe_of_json(probe_json(probe))
    faces = unit_vectors(5, 1)[:, :3]
    np.testing.assert_array_equal(again.log_odds(faces), probe.log_odds(faces))
    assert (again.engine_keys, again.kinds) == (probe.engine_keys, probe.kinds)
    assert probe_json(again) == probe_json(probe)
    content = json.loads(probe_json(probe))
    wrongs: list[object] = [
        {**content, "version": 2},
        {**content, "more": 1},
        {**content, "kinds": [{**content["kinds"][0], "weights": [1.0, float("nan"), 0.0]}]},
        {**content, "kinds": [content["kinds"][0], {**content["kinds"][1], "weights": [1.0]}]},
        {**content, "least_detection": 7},
        [],
    ]
    for wrong in wrongs:
        with pytest.raises(CalibrationError):
            probe_of_json(json.dumps(wrong))


def test_the_default_engine_has_a_probe_for_all_variants_and_others_have_none() -> None:
    probe = shipped_probe(DEFAULT_ENGINE)
    assert probe is not None
    assert probe.kinds == (CHILD, MASKED, SUNGLASSES)
    assert probe.weights.shape == (3, 512)
    variants = ("", ";augment=flip", ";numerics=bf16", ";augment=flip;numerics=bf16")
    assert set(probe.engine_keys) == {DEFAULT_ENGINE + variant for variant in variants}
    assert all(shipped_probe(key) is probe for key in probe.engine_keys)
    faces = np.eye(3, 512, dtype=np.float32)
    assert probe.log_odds(faces).shape == (3, len(probe.kinds))
    assert shipped_probe("another engine") is None


def test_real_children_and_masks_are_told_from_adults(test_data: Path) -> None:
    source = EngineSettings(model=resolve(None))
    probe = shipped_probe(source.identity.key)
    assert probe is not None
    read = make_reader(source)
    folders = {
        "toddlers": sorted((test_data / "aaf").glob("*A0[2-5].jpg"))[::25],
        "adults": sorted((test_data / "aaf").glob("*A[3-5]?.jpg"))[::25],
        "masks": sorted((test_data / "masks").glob("*.jpg"))[::25],
    }
    found = {}
    for name, paths in folders.items():
        readings = [reading for reading in map(read, paths) if not isinstance(reading, Failure)]
        faces = [max(r.faces, key=lambda face: face.box.w) for r in readings if r.faces]
        assert len(faces) >= 8
        found[name] = probe.of_kind(np.stack([face.embedding for face in faces])).mean(axis=0)
    assert found["toddlers"][0] > 0.9
    assert found["masks"][1] > 0.8
    assert found["adults"].max() < 0.1
