"""The fake engine, which sees patches of colour as faces."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.engine.fake import FAKE_IDENTITY, FakeEngine, FakeEngineSettings
from facesim_index.records import UInt8Array
from tests.engine.faces import embeddings
from tests.example_pictures import embed_faces


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
