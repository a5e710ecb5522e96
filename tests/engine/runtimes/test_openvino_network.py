"""The recogniser in OpenVINO: the same faces, in single precision the same embeddings."""

import dataclasses
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from facesim_index import FaceIndex, compare, doctor
from facesim_index.calibration.shipped import shipped_calibration
from facesim_index.cli.main import main
from facesim_index.engine.arcface import MAX_BATCH
from facesim_index.engine.base import FaceEngine
from facesim_index.engine.fake import fake_identity
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.engine.runtimes import openvino_network
from facesim_index.engine.runtimes.openvino_network import openvino_obstacle
from facesim_index.engine.runtimes.probe import probe_provider
from facesim_index.errors import EngineMismatchError, ModelError, ProviderError
from facesim_index.models.pack import ModelFiles
from facesim_index.models.resolution import resolve
from facesim_index.records import EmbeddedFace, Float64Array
from facesim_index.store.folder.store import FolderStore
from tests.example_pictures import DEMO_PICTURES, demo_picture, demo_pixels, embed_faces

has_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
has_bf16 = pytest.mark.skipif(
    find_spec("openvino") is None or bool(openvino_obstacle("bf16")),
    reason="no openvino, or a processor without bfloat16",
)


@pytest.fixture(scope="session")
def model() -> ModelFiles:
    return resolve(None)


@pytest.fixture(scope="session")
def engine(model: ModelFiles) -> FaceEngine:
    return EngineSettings(model, provider="cpu").load()


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it seem that OpenVINO is not installed."""
    monkeypatch.setattr(openvino_network, "find_spec", lambda name: None)


@pytest.fixture
def emulating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it seem that OpenVINO is there, and that the processor has no bfloat16."""
    monkeypatch.setattr(openvino_network, "find_spec", lambda name: object())
    monkeypatch.setattr(openvino_network, "has_native_bf16", lambda: False)


def cosines(first: FaceEngine, second: FaceEngine, pictures: list[str]) -> Float64Array:
    """Return the cosines of the embeddings of the same faces; what is found must be the same."""
    found = []
    for name in pictures:
        rgb = demo_pixels(name)
        faces, others = embed_faces(first, rgb), embed_faces(second, rgb)
        assert [place(face) for face in faces] == [place(face) for face in others]
        found += [float(a.embedding @ b.embedding) for a, b in zip(faces, others, strict=True)]
    assert len(found) > MAX_BATCH
    return np.array(found)


def place(face: EmbeddedFace) -> tuple[object, ...]:
    return face.box, face.detection, face.landmarks.tobytes(), face.quality


# The numbers


@has_openvino
@pytest.mark.parametrize("augment", ["none", "flip"])
def test_single_precision_is_the_same_engine(model: ModelFiles, augment: str) -> None:
    settings = EngineSettings(model, provider="cpu", augment=augment)  # type: ignore[arg-type]
    plain = settings.load()
    quick = dataclasses.replace(settings, provider="openvino").load()
    assert (plain.provider, quick.provider) == ("cpu", "openvino")
    assert plain.identity == quick.identity
    found = cosines(plain, quick, list(DEMO_PICTURES))
    assert found.mean() >= 0.99999
    assert found.min() >= 0.99999


@has_bf16
def test_bfloat16_passes_its_gate_on_faces_and_is_another_engine(
    engine: FaceEngine, model: ModelFiles
) -> None:
    coarse = EngineSettings(model, numerics="bf16").load()
    assert coarse.provider == "openvino"
    assert coarse.identity.key == f"{engine.identity.key};numerics=bf16"
    found = cosines(engine, coarse, list(DEMO_PICTURES))
    assert found.mean() >= 0.999
    assert found.min() < 0.99999  # It really is another precision.


@has_openvino
def test_an_embedding_does_not_depend_on_its_batch(model: ModelFiles) -> None:
    _, recogniser, running = load_networks(EngineSettings(model, provider="openvino"))
    crops = list(np.random.default_rng(1).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8))
    together = recogniser.embed(crops)
    alone = [recogniser.embed([crop]) for crop in crops]
    assert running == "openvino"
    assert np.array_equal(together, np.vstack(alone))


@has_openvino
def test_what_is_no_recogniser_is_named(model: ModelFiles, tmp_path: Path) -> None:
    broken = tmp_path / "wëights.onnx"
    broken.write_bytes(b"no weights")
    for path in (model.detector, broken):
        wrong = dataclasses.replace(model, recogniser=path)
        with pytest.raises(ModelError, match=path.name):
            EngineSettings(wrong, provider="openvino").load()


@has_openvino
def test_openvino_prints_nothing(model: ModelFiles, capfd: pytest.CaptureFixture[str]) -> None:
    engine = EngineSettings(model, provider="openvino").load()
    assert embed_faces(engine, demo_pixels("yaoming.jpg"))
    assert capfd.readouterr() == ("", "")


SAYS_WHAT_IS_LOADED = """
import sys
from facesim_index.engine.runtimes.openvino_network import version
print(version(), sorted(name for name in sys.modules if "telemetry" in name.partition(".")[0]))
"""


@has_openvino
def test_nothing_is_sent_and_nothing_left_in_the_home_folder(tmp_path: Path) -> None:
    """A package of that name is found by whatever imports it; OpenVINO's own counts its imports."""
    home, packages = tmp_path / "home", tmp_path / "packages"
    home.mkdir()
    packages.mkdir()
    (packages / "openvino_telemetry.py").write_text("raise SystemExit('it was called')")
    done = subprocess.run(
        [sys.executable, "-c", SAYS_WHAT_IS_LOADED],
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(packages)},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    installed, _, loaded = done.stdout.strip().partition(" ")
    assert installed.startswith(doctor.installed()["openvino"])
    assert loaded == "[]"
    assert list(home.iterdir()) == []


# The provider


@has_openvino
def test_openvino_runs_where_it_is_asked_for(model: ModelFiles) -> None:
    assert probe_provider("openvino") == "openvino"
    assert EngineSettings(model, provider="openvino").running_provider() == "openvino"


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_no_other_provider_computes_in_bfloat16(provider: str) -> None:
    with pytest.raises(ProviderError, match=f"{provider} does not .* choose .* openvino"):
        probe_provider(provider, "bf16")


@pytest.mark.usefixtures("absent")
def test_without_openvino_the_message_says_what_to_install(model: ModelFiles) -> None:
    for settings in (
        EngineSettings(model, provider="openvino"),
        EngineSettings(model, numerics="bf16"),
    ):
        with pytest.raises(ProviderError, match=r'pip install "facesim-index\[openvino\]"'):
            settings.load()
    assert EngineSettings(model, provider="cpu").load().provider == "cpu"


@pytest.mark.usefixtures("emulating")
def test_bfloat16_is_never_emulated(model: ModelFiles) -> None:
    with pytest.raises(ProviderError, match=r"AVX512_BF16 .* use fp32, in an index of its own"):
        EngineSettings(model, numerics="bf16").load()
    assert probe_provider("openvino") == "openvino"


def test_a_broken_openvino_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> bool:
        raise ImportError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(openvino_network, "find_spec", lambda name: object())
    monkeypatch.setattr(openvino_network, "has_native_bf16", fails)
    with pytest.raises(ProviderError, match=r"libtbb.*; install it anew with"):
        probe_provider("openvino")
    monkeypatch.setattr(doctor, "installed", lambda: {"openvino": "2026.4.1"})
    check = doctor.check_openvino()
    assert (check.status, "libtbb" in check.message) == ("warning", True)
    assert "facesim-index[openvino]" in check.mend


# Indexes


@has_bf16
def test_an_index_of_bfloat16_and_one_of_single_precision(tmp_path: Path) -> None:
    picture = demo_picture("t1.jpg")
    with FaceIndex.open(tmp_path / "coarse", create=True, numerics="bf16") as index:
        assert index.ingest(picture, workers=1).faces_added == 6
    with FaceIndex.open(tmp_path / "fine", create=True, provider="openvino") as index:
        assert index.ingest(picture, workers=1).faces_added == 6
    with FaceIndex.open(tmp_path / "coarse") as index:  # It remembers, and finds its runtime.
        assert index.numerics == "bf16"
        answer = index.query(picture, face=0, top=1)
        assert "numerics bf16" in answer.engine
        assert answer.calibration == "lfw-dev-bf16"
        assert answer.faces[0].matches[0].cosine == pytest.approx(1, abs=1e-3)
    with FaceIndex.open(tmp_path / "fine", provider="cpu") as index:
        assert index.numerics == "fp32"
        assert index.query(picture, face=0, top=1).faces[0].matches[0].cosine > 0.999
    for name, other in (("coarse", "fp32"), ("fine", "bf16")):
        own = {"coarse": "bf16", "fine": "fp32"}[name]
        with (
            FaceIndex.open(tmp_path / name, numerics=other) as index,  # type: ignore[arg-type]
            pytest.raises(EngineMismatchError, match=f"use --numerics {own}, or ingest"),
        ):
            index.query(picture)


@has_bf16
def test_two_pictures_compared_in_bfloat16() -> None:
    same = demo_picture("yaoming.jpg")
    found = compare(same, same, numerics="bf16")
    assert "numerics bf16" in found.engine
    assert found.calibration == "lfw-dev-bf16"
    assert found.cosine == pytest.approx(1, abs=1e-3)
    assert found.degree is not None
    assert found.degree > 0.99


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_a_calibration_comes_with_each_engine(model: ModelFiles, augment: str) -> None:
    settings = EngineSettings(model, augment=augment, numerics="bf16")  # type: ignore[arg-type]
    calibration = shipped_calibration(settings.identity.key)
    assert calibration is not None
    assert calibration.name == ("lfw-dev-bf16" if augment == "none" else "lfw-dev-flip-bf16")
    assert calibration.evidence.checks


@pytest.mark.usefixtures("absent")
def test_a_query_of_such_an_index_without_openvino_says_what_to_do(
    tmp_path: Path, model: ModelFiles
) -> None:
    identity = EngineSettings(model, numerics="bf16").identity
    FolderStore.open_or_create(tmp_path / "i", identity, model.name).close()
    words = ("--index", str(tmp_path / "i"), "query", str(demo_picture("yaoming.jpg")))
    said = CliRunner().invoke(main, words)
    assert said.exit_code == 1
    assert 'pip install "facesim-index[openvino]"' in said.stderr
    check = doctor.check_engine(tmp_path / "i")
    assert (check.status, "cannot run here" in check.message) == ("warning", True)
    assert "facesim-index[openvino]" in check.mend


def test_the_engine_of_an_index_of_single_precision_needs_no_openvino(tmp_path: Path) -> None:
    FolderStore.open_or_create(tmp_path / "i", fake_identity(), "fake").close()
    assert doctor.check_engine(tmp_path / "i").status == "ok"


# What the doctor says


def test_the_doctor_tells_of_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", dict)
    check = doctor.check_openvino()
    assert check.status == "ok"
    assert check.message.startswith("not installed")
    assert "facesim-index[openvino]" in check.message


@has_openvino
@pytest.mark.parametrize(("native", "said"), [(True, "has bfloat16"), (False, "fp32 only")])
def test_the_doctor_tells_what_the_processor_has(
    monkeypatch: pytest.MonkeyPatch, native: bool, said: str
) -> None:
    monkeypatch.setattr(openvino_network, "has_native_bf16", lambda: native)
    check = doctor.check_openvino()
    assert check.status == "ok"
    assert check.message.startswith(f"openvino {doctor.installed()['openvino']}")
    assert said in check.message
