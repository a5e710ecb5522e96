"""Ingest with the networks in a process of their own, which computes batches: the same faces."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index.engine.base import FaceEngine
from facesim_index.engine.card.served import serve
from facesim_index.engine.loading import EngineSettings
from facesim_index.engine.local_reader import LocalReader
from facesim_index.pictures.decoding import open_picture
from facesim_index.records import EmbeddedFace, PictureReading
from tests.engine.card.cards import CpuCardSettings, MortalCardSettings, few_at_a_time
from tests.example_pictures import DEMO_PICTURES, demo_picture

PATHS = [demo_picture(name) for name in DEMO_PICTURES]


@pytest.fixture(scope="module")
def served(settings: EngineSettings) -> Iterator[FaceEngine]:
    with serve(settings, [few_at_a_time(settings)]) as shared:
        yield shared.source.load()


def assert_same_faces(found: tuple[EmbeddedFace, ...], expected: tuple[EmbeddedFace, ...]) -> None:
    assert len(found) == len(expected)
    for face, other in zip(found, expected, strict=True):
        box, its_box = (dataclasses.astuple(one.box) for one in (face, other))
        np.testing.assert_allclose(box, its_box, atol=1e-3)
        np.testing.assert_allclose(face.landmarks, other.landmarks, atol=1e-3)
        assert float(face.embedding @ other.embedding) > 1 - 1e-5


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_batches_give_the_faces_of_one_picture_at_a_time(
    path: Path, engine: FaceEngine, served: FaceEngine
) -> None:
    pictures = [open_picture(path.read_bytes()) for _ in range(2)]
    (expected,) = engine.embed_pictures(pictures[:1])
    (found,) = served.embed_pictures(pictures[1:])
    assert expected
    assert_same_faces(found, expected)


def test_an_ingest_survives_the_death_of_the_card(
    settings: EngineSettings, engine: FaceEngine, tmp_path: Path
) -> None:
    source = MortalCardSettings(settings.model, provider="cpu", marker=tmp_path / "died")
    readings = list(LocalReader(source, workers=2).read(iter(PATHS), lambda: False))
    assert (tmp_path / "died").exists()
    for path, reading in zip(PATHS, readings, strict=True):
        assert isinstance(reading, PictureReading)
        (expected,) = engine.embed_pictures([open_picture(path.read_bytes())])
        assert_same_faces(reading.faces, expected)


def test_the_reader_starts_and_ends_the_process_of_the_card(
    settings: EngineSettings, engine: FaceEngine
) -> None:
    source = CpuCardSettings(settings.model, provider="cpu")
    (path,) = [path for path in PATHS if path.name == "t1.jpg"]
    (reading,) = list(LocalReader(source, workers=1).read(iter([path]), lambda: False))
    assert isinstance(reading, PictureReading)
    (expected,) = engine.embed_pictures([open_picture(path.read_bytes())])
    assert_same_faces(reading.faces, expected)
