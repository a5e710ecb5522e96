"""Reading one picture file: faces, or the reason why there are none."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from facesim_index.engine.base import FaceEngine
from facesim_index.engine.fake import FAKE_IDENTITY, FakeEngine, FakeEngineSettings
from facesim_index.engine.loading import EngineSettings
from facesim_index.engine.reading import make_reader, read_picture
from facesim_index.errors import ModelError, PictureError
from facesim_index.models.resolution import resolve
from facesim_index.pictures.views import Pixels
from facesim_index.records import (
    EmbeddedFace,
    EngineIdentity,
    Failure,
    FailureCode,
    ImageStatus,
    PictureReading,
)
from tests.example_pictures import demo_picture, fake_photo

RED, ALSO_RED, BLUE = (200, 16, 16), (201, 17, 18), (16, 16, 200)


class FailingEngine:
    """An engine that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @property
    def identity(self) -> EngineIdentity:
        return FAKE_IDENTITY

    @property
    def provider(self) -> str:
        return "cpu"

    def embed_pictures(self, pictures: Sequence[Pixels]) -> list[tuple[EmbeddedFace, ...]]:
        raise self.error


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "zwei Köpfe.png"
    path.write_bytes(fake_photo([RED, BLUE, ALSO_RED]))
    return path


def test_a_good_picture(photo: Path) -> None:
    reading = read_picture(photo, FakeEngine())
    assert reading.status is ImageStatus.OK
    assert reading.failure is None
    assert reading.content_hash == hashlib.sha256(photo.read_bytes()).digest()
    assert reading.stamp.size_bytes == photo.stat().st_size
    assert reading.stamp.mtime_ns == photo.stat().st_mtime_ns
    assert reading.info is not None
    assert (reading.info.width_px, reading.info.height_px) == (7 * 32, 96)
    assert [face.box.x for face in reading.faces] == [32, 96, 160]
    red, blue, also_red = (face.embedding for face in reading.faces)
    assert red @ also_red > 0.9 > 0.2 > red @ blue


def test_a_picture_without_a_face(tmp_path: Path) -> None:
    path = tmp_path / "black.png"
    path.write_bytes(fake_photo([]))
    reading = read_picture(path, FakeEngine())
    assert reading.status is ImageStatus.NO_FACE
    assert reading.faces == ()
    assert reading.info is not None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", FailureCode.EMPTY),
        (b"hello, this is text", FailureCode.UNSUPPORTED),
        (fake_photo([RED] * 40)[:150], FailureCode.TRUNCATED),
    ],
)
def test_what_cannot_be_decoded_is_a_reading_with_a_failure(
    tmp_path: Path, content: bytes, code: FailureCode
) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    reading = read_picture(path, FakeEngine())
    assert reading.failure is not None
    assert reading.failure.code is code
    assert reading.failure.message
    assert reading.status is ImageStatus.ERROR
    assert reading.content_hash == hashlib.sha256(content).digest()
    assert (reading.info, reading.faces) == (None, ())


def test_too_little_memory_is_a_failure(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = read_picture(photo, FailingEngine(MemoryError()))
    assert reading.failure is not None
    assert reading.failure.code is FailureCode.OUT_OF_MEMORY
    assert reading.info is not None  # It was decoded.

    def exhausted(data: bytes, *, max_pixels: int) -> None:
        raise MemoryError

    monkeypatch.setattr("facesim_index.engine.reading.open_picture", exhausted)
    reading = read_picture(photo, FakeEngine())
    assert reading.failure is not None
    assert reading.failure.code is FailureCode.OUT_OF_MEMORY
    assert reading.info is None


def test_a_broken_engine_is_not_blamed_on_the_picture(photo: Path) -> None:
    with pytest.raises(ModelError, match="broken"):
        read_picture(photo, FailingEngine(ModelError("broken")))


def test_a_file_without_bytes(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.png", tmp_path):
        with pytest.raises(PictureError) as caught:
            read_picture(path, FakeEngine())
        assert caught.value.code is FailureCode.UNREADABLE
        failure = make_reader(FakeEngineSettings())(path)
        assert failure == Failure(FailureCode.UNREADABLE, caught.value.message)


def test_a_reader_reads_what_its_engine_sees(photo: Path) -> None:
    reading = make_reader(FakeEngineSettings())(photo)
    assert isinstance(reading, PictureReading)
    expected = read_picture(photo, FakeEngine())
    assert (reading.content_hash, reading.stamp) == (expected.content_hash, expected.stamp)
    for ours, theirs in zip(reading.faces, expected.faces, strict=True):
        assert np.array_equal(ours.embedding, theirs.embedding)
    choosy = make_reader(FakeEngineSettings(min_face_px=50))(photo)
    assert isinstance(choosy, PictureReading)
    assert choosy.status is ImageStatus.NO_FACE


def test_too_little_memory_for_the_bytes(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr("facesim_index.engine.reading.read_bytes", exhausted)
    failure = make_reader(FakeEngineSettings())(photo)
    assert isinstance(failure, Failure)
    assert failure.code is FailureCode.OUT_OF_MEMORY


def test_a_real_photograph() -> None:
    """Decoded pixels are read-only, and the real engine takes them."""
    engine: FaceEngine = EngineSettings(resolve(None), provider="cpu").load()
    reading = read_picture(demo_picture("yaoming.jpg"), engine)
    assert reading.status is ImageStatus.OK
    assert len(reading.faces) == 1
    assert reading.info is not None
    assert reading.info.format == "JPEG"
