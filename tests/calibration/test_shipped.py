"""The calibration that comes with the package, and real people."""

import importlib.resources
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from facesim_index.calibration.curve import false_match_rate, log10_lr_interval
from facesim_index.calibration.degree import calibrated_degree
from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.fitting.tail import REACH
from facesim_index.calibration.shipped import shipped_calibration

# What comes with the package


def shipped_texts(networks: str = "scrfd_500m_w600k_mbf") -> list[str]:
    folder = importlib.resources.files("facesim_index.calibration.data")
    return [
        entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".json") and entry.name.startswith(networks)
    ]


def test_the_package_has_a_calibration() -> None:
    assert shipped_texts()
    keys = [from_json(text).engine_key for text in shipped_texts("")]
    assert len(set(keys)) == len(keys)
    for key in keys:
        found = shipped_calibration(key)
        assert found is not None
        assert found.engine_key == key


def test_another_engine_has_no_shipped_calibration() -> None:
    assert shipped_calibration("detector=0;recogniser=0;preprocessing=1;dimension=512") is None


@pytest.mark.parametrize("text", shipped_texts())
def test_shipped_evidence_is_sane(text: str) -> None:
    calibration = from_json(text)
    assert text == to_json(calibration)
    evidence = calibration.evidence
    assert -math.log10(evidence.n_genuine + 1) < calibration.knots[0][1] < -2.0
    assert 5.0 < calibration.knots[-1][1] < math.log10(evidence.n_impostor + 1)
    every, listed = evidence.checks
    assert every.n_people == listed.n_people < evidence.n_people
    assert (listed.n_genuine, listed.n_impostor) == (500, 500)
    for check in evidence.checks:
        assert 0.0 < check.min_cllr <= check.cllr < 0.05
        assert check.ece < 0.01
        assert check.eer < 0.02
    assert dict(every.true_match_rates)[1e-4] > 0.98


@pytest.mark.parametrize("text", shipped_texts())
def test_shipped_degrees_of_everyday_cosines(text: str) -> None:
    """The lowest genuine cosine seen in everyday photographs, and one of strangers."""
    genuine, strangers = calibrated_degree(np.array([0.57, 0.14]), from_json(text))
    assert genuine > 0.9
    assert strangers < 0.1


@pytest.mark.parametrize("text", shipped_texts())
def test_the_shipped_curve_is_smooth(text: str) -> None:
    """No level stretch that only chance could explain, and no jump."""
    cosine, value = np.array(from_json(text).knots).T
    slope = np.diff(value) / np.diff(cosine)
    assert (slope > 1.5).all()
    assert slope.max() < 40.0


@pytest.mark.parametrize("text", shipped_texts())
def test_the_shipped_interval_is_of_use(text: str) -> None:
    calibration = from_json(text)
    low, high = log10_lr_interval(np.array([0.1, 0.25, 0.35]), calibration)
    assert ((high - low > 0.1) & (high - low < 1.5)).all()
    assert high[0] < 0.0 < low[2]


@pytest.mark.parametrize("text", shipped_texts())
def test_shipped_false_match_rates_are_those_counted(text: str) -> None:
    """Counted once among all pairs of strangers, at scores that are not all knots."""
    calibration = from_json(text)
    rate = false_match_rate(np.array([0.2, 0.25, 0.3, 0.35]), calibration)
    counted = {
        "lfw-dev": [3.82e-3, 5.34e-4, 6.17e-5, 5.90e-6],
        "lfw-dev-flip": [3.94e-3, 5.60e-4, 6.73e-5, 6.61e-6],
        "lfw-dev-bf16": [3.87e-3, 5.41e-4, 6.21e-5, 6.16e-6],
        "lfw-dev-flip-bf16": [3.99e-3, 5.70e-4, 6.85e-5, 6.58e-6],
    }
    np.testing.assert_allclose(rate, counted[calibration.name], rtol=0.05)
    floor = false_match_rate(np.array([1.0]), calibration)[0]
    assert floor == pytest.approx(1.0 / (REACH * calibration.evidence.n_impostor), rel=0.01)


@pytest.mark.parametrize("text", shipped_texts())
def test_evidence_of_the_shipped_curves_reaches_far(text: str) -> None:
    """Ten faces a person among a million: the prior is 9e-6, and true mates can have 0.98."""
    calibration = from_json(text)
    at_most = calibrated_degree(np.array([1.0]), calibration, prior=9e-6)[0]
    assert at_most > 0.98
    assert calibration.normalisation is not None


# With the real engine on real pictures


def listed_pairs(path: Path, every: int) -> tuple[list[tuple[str, str]], list[bool]]:
    """Return every so-many pair of an LFW list, and whether it is genuine."""
    pairs, genuine = [], []
    for line in path.read_text(encoding="utf-8").splitlines()[1::every]:
        fields = line.split("\t")
        first, second = (fields[0], fields[1]), (fields[-2], fields[-1])
        if len(fields) == 3:
            second = (fields[0], fields[2])
        pairs.append(tuple(f"{name}/{name}_{int(n):04d}.jpg" for name, n in (first, second)))
        genuine.append(len(fields) == 3)
    return pairs, genuine  # type: ignore[return-value]


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_strangers_in_everyday_photographs_have_low_degrees(
    test_data: Path, augment: Literal["none", "flip"]
) -> None:
    from facesim_index.engine.loading import EngineSettings
    from facesim_index.engine.reading import read_picture
    from facesim_index.models.resolution import resolve

    engine = EngineSettings(model=resolve(None), threads=2, augment=augment).load()
    calibration = shipped_calibration(engine.identity.key)
    assert calibration is not None
    obama, other, biden = (
        read_picture(test_data / "photos" / name, engine).faces[0].embedding
        for name in ("test/obama1.jpg", "obama2.jpg", "biden.jpg")
    )
    cosine = np.array([obama @ other, obama @ biden])
    genuine, strangers = calibrated_degree(cosine, calibration)
    assert genuine > 0.99
    assert strangers < 0.1


@pytest.mark.slow
def test_degrees_tell_people_apart(test_data: Path) -> None:
    from facesim_index.engine.loading import EngineSettings
    from facesim_index.engine.reading import read_picture
    from facesim_index.models.resolution import resolve

    lfw_dev = test_data / "lfw_dev"
    engine = EngineSettings(model=resolve(None), threads=2).load()
    calibration = shipped_calibration(engine.identity.key)
    assert calibration is not None, "the shipped calibration is for other weights or preprocessing"

    def central(name: str) -> np.ndarray:
        faces = read_picture(lfw_dev / "images" / name, engine).faces
        return min(
            faces, key=lambda f: abs(f.box.x + f.box.w / 2 - 125) + abs(f.box.y + f.box.h / 2 - 125)
        ).embedding

    pairs, genuine = listed_pairs(lfw_dev / "pairsDevTest.txt", every=10)
    of_name = {name: central(name) for name in {name for pair in pairs for name in pair}}
    cosine = np.array([of_name[first] @ of_name[second] for first, second in pairs])
    degree = calibrated_degree(cosine, calibration)
    said = degree >= 0.5
    assert len(pairs) == 100
    assert np.mean(said == np.array(genuine)) > 0.97
    assert np.median(degree[genuine]) > 0.999
    assert np.median(degree[np.logical_not(genuine)]) < 0.01
