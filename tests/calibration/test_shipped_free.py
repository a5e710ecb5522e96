"""The calibrations that come with the package for the engine that is free for commercial use."""

import math
from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.curve import log10_lr_interval
from facesim_index.calibration.degree import calibrated_degree
from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.shipped import shipped_calibration
from facesim_index.engine.loading import EngineSettings
from facesim_index.models.pack import ModelFiles
from facesim_index.models.registry import FREE_LICENCE, FREE_PACK, PUBLISHED_PACKS
from facesim_index.records import Augment


def identity_key(augment: Augment) -> str:
    """Return the key of the engine's identity, which needs no weights."""
    pack = PUBLISHED_PACKS[FREE_PACK]
    folder = Path("not-installed")
    files = ModelFiles(
        name=FREE_PACK,
        detector=folder / pack.detector.file_name,
        recogniser=folder / pack.recogniser.file_name,
        detector_sha256=pack.detector.sha256,
        recogniser_sha256=pack.recogniser.sha256,
        licence=FREE_LICENCE,
    )
    return EngineSettings(files, augment=augment).identity.key


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_the_free_engine_has_a_calibration(augment: Augment) -> None:
    calibration = shipped_calibration(identity_key(augment))
    assert calibration is not None
    assert calibration.name == "lfw-dev-centerface-dlib" + ("-flip" if augment == "flip" else "")
    evidence = calibration.evidence
    assert -math.log10(evidence.n_genuine + 1) < calibration.knots[0][1] < -2.0
    assert 5.0 < calibration.knots[-1][1] < math.log10(evidence.n_impostor + 1)
    for check in evidence.checks:
        assert 0.0 < check.min_cllr <= check.cllr < 0.1
        assert check.ece < 0.01
        assert check.eer <= 0.02
    assert dict(evidence.checks[0].true_match_rates)[1e-3] > 0.89
    low, high = log10_lr_interval(np.array([0.1, 0.3, 0.5]), calibration)
    assert ((high - low > 0.05) & (high - low < 1.5)).all()
    assert high[0] < 0.0 < low[2]
    assert from_json(to_json(calibration)) == calibration


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_its_curve_is_smooth(augment: Augment) -> None:
    calibration = shipped_calibration(identity_key(augment))
    assert calibration is not None
    cosine, value = np.array(calibration.knots).T
    slope = np.diff(value) / np.diff(cosine)
    assert (slope > 0.0).all()
    assert slope.max() < 40.0
    genuine, strangers = calibrated_degree(np.array([0.62, 0.1]), calibration)
    assert genuine > 0.99
    assert strangers < 0.1
