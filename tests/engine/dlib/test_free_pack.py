"""The engine that is free for commercial use, with its real weights.

They come with ``facesim models install centerface-dlib``; without them nothing here runs.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index import FaceIndex, compare
from facesim_index.engine.base import FaceEngine
from facesim_index.engine.centerface import CenterFace
from facesim_index.engine.dlib.resnet import DlibFamily, DlibResNet
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.engine.runtimes.onnx_graph import declared_shapes, read_graph
from facesim_index.models.pack import ModelFiles
from facesim_index.models.registry import FREE_PACK
from facesim_index.models.resolution import verify
from tests.example_pictures import demo_pixels, embed_faces


@pytest.fixture(scope="module")
def files() -> ModelFiles:
    """Return the files of the pack; without them the test is left out."""
    found = verify(FREE_PACK).files
    if found is None:
        pytest.skip(f"needs weights: facesim models install {FREE_PACK}")
    return found


@pytest.fixture(scope="module")
def engine(files: ModelFiles) -> FaceEngine:
    return EngineSettings(files, provider="cpu").load()


def test_the_network_gives_what_dlib_gives(files: ModelFiles) -> None:
    detector, recogniser, _ = load_networks(EngineSettings(files, provider="cpu"))
    assert isinstance(detector, CenterFace)
    assert isinstance(recogniser, DlibResNet)
    down, across = np.mgrid[:150, :150]
    levels = [across * 255 // 149, down * 255 // 149, (across * down) % 256]
    crop = np.stack(levels, axis=-1).astype(np.uint8)
    descriptors = recogniser.descriptors([crop, crop])
    # From compute_face_descriptor of dlib 20.0.1 on this crop.
    theirs = [-0.04922, 0.12252, 0.0829, -0.01799, -0.10969, -0.03169, -0.06344, -0.0088]
    assert descriptors[0, :8] == pytest.approx(theirs, abs=2e-5)
    assert np.linalg.norm(descriptors[0]) == pytest.approx(1.320889, abs=1e-5)
    assert descriptors[0].sum() == pytest.approx(-0.596777, abs=1e-4)
    assert descriptors[1] == pytest.approx(descriptors[0], abs=1e-6)


def test_the_recogniser_is_told_by_its_file(files: ModelFiles) -> None:
    shapes = declared_shapes(read_graph(files.recogniser, files.recogniser_sha256))
    assert DlibFamily().fits(shapes)
    assert EngineSettings(files, provider="cpu").identity.dimension == 128


@pytest.mark.parametrize(
    # Of the players' picture: the team; SCRFD finds some of the crowd behind it as well.
    ("name", "n_faces"),
    [("players.jpg", 17), ("t1.jpg", 6), ("astronaut.png", 1)],
)
def test_faces_are_found_and_embedded(engine: FaceEngine, name: str, n_faces: int) -> None:
    faces = embed_faces(engine, demo_pixels(name))
    assert len(faces) == n_faces
    for face in faces:
        assert face.embedding.shape == (128,)
        assert np.linalg.norm(face.embedding) == pytest.approx(1.0, abs=1e-6)
        left_eye, right_eye, _, left_mouth, right_mouth = face.landmarks
        assert left_eye[0] < right_eye[0]
        assert left_mouth[1] > left_eye[1]
        assert right_mouth[1] > right_eye[1]


@pytest.fixture(scope="module")
def index(
    files: ModelFiles, test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaceIndex]:
    folder = tmp_path_factory.mktemp("index") / "free.facesim"
    with FaceIndex.open(folder, create=True, model=FREE_PACK) as opened:
        opened.ingest([test_data / "photos/train", test_data / "photos/obama.jpg"])
        yield opened


def test_pictures_are_ingested_and_found_again(index: FaceIndex, test_data: Path) -> None:
    assert index.identity.dimension == 128
    assert index.status().calibration == "lfw-dev-centerface-dlib"
    answer = index.query(test_data / "photos/test/obama1.jpg", top=3, prior=0.5)
    (face,) = answer.faces
    assert "obama" in face.matches[0].path
    assert face.matches[0].degree is not None
    assert face.matches[0].degree > 0.99
    other = index.query(test_data / "photos/alex-lacamoire.png", top=3, prior=0.5)
    assert "alex_lacamoire" in other.faces[0].matches[0].path
    for match in other.faces[0].matches:
        assert "obama" not in match.path or (match.degree or 0.0) < 0.5


def test_pictures_are_compared(files: ModelFiles, test_data: Path) -> None:
    photos = test_data / "photos"
    same = compare(photos / "test/obama1.jpg", photos / "obama2.jpg", model=FREE_PACK)
    other = compare(photos / "test/obama1.jpg", photos / "biden.jpg", model=FREE_PACK)
    assert same.degree is not None
    assert other.degree is not None
    assert same.degree > 0.9 > 0.5 > other.degree
