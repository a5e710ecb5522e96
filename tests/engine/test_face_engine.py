"""The real engine on real faces."""

import dataclasses
import pickle
import random
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesim_index.engine.alignment import ARCFACE_TEMPLATE, aligned_crop
from facesim_index.engine.arcface import MAX_BATCH
from facesim_index.engine.base import FaceEngine
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.engine.runtimes import onnxruntime_network
from facesim_index.engine.runtimes.onnx_graph import read_graph, with_free_outputs
from facesim_index.errors import ModelError, UsageError
from facesim_index.models.pack import ModelFiles
from facesim_index.pictures.views import WholePicture
from facesim_index.records import Float32Array, UInt8Array
from tests.engine.faces import embeddings, largest, overlap
from tests.example_pictures import DEMO_PICTURES, demo_pixels, embed_faces, pixels, resized

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
        template = ARCFACE_TEMPLATE

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


@pytest.mark.slow
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
