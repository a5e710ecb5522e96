"""The sessions of a card: one for each place, each of one shape, and the same numbers as ever."""

from collections import defaultdict

import numpy as np
import pytest

from facesim_index.engine.card.networks import ShapedNetwork, open_networks
from facesim_index.engine.card.shapes import CANVASES, Place, canvas_place, crop_place
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.engine.runtimes import card_session, onnxruntime_network
from facesim_index.engine.runtimes.card_graph import CardShape
from facesim_index.engine.scrfd import LAYOUTS, Scrfd, canvas_faces
from facesim_index.records import Float32Array, UInt8Array
from tests.engine.card.cards import few_at_a_time
from tests.example_pictures import demo_pixels

Shapes = dict[int, set[tuple[tuple[int, ...], ...]]]


@pytest.fixture
def shapes_seen(monkeypatch: pytest.MonkeyPatch) -> Shapes:
    """Note the shapes of what every session is given."""
    seen: Shapes = defaultdict(set)
    opened = onnxruntime_network.open_session

    class Recorder:
        def __init__(self, *arguments: object, device: int) -> None:
            self._session = opened(*arguments, device=device)  # type: ignore[arg-type]

        def run(self, outputs: None, given: dict[str, np.ndarray]) -> list[Float32Array]:
            seen[id(self)].add(tuple(value.shape for _, value in sorted(given.items())))
            numbers: list[Float32Array] = self._session.run(outputs, given)
            return numbers

    monkeypatch.setattr(card_session, "open_session", Recorder)
    return seen


def test_no_session_ever_sees_a_second_shape(settings: EngineSettings, shapes_seen: Shapes) -> None:
    networks = open_networks(few_at_a_time(settings))
    rng = np.random.default_rng(0)
    sizes = [(32, 96), (128, 128), (96, 128), (160, 256), (256, 256), (448, 640), (640, 96)]
    for n in (1, 2, 3, 5):
        for height_px, width_px in sizes:
            canvas = rng.integers(0, 255, (height_px, width_px, 3), dtype=np.uint8)
            place = canvas_place(height_px, width_px)
            assert len(networks.detector.run(place, [canvas] * n)) == n
        crop = rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)
        assert len(networks.recogniser.run(crop_place(112), [crop] * n)) == n
    assert len(shapes_seen) == 5  # four canvases and the crops
    assert all(len(shapes) == 1 for shapes in shapes_seen.values())


@pytest.mark.parametrize("size", [(352, 640), (224, 192), (96, 128)])
def test_a_masked_canvas_gives_the_numbers_of_one_that_fits(
    settings: EngineSettings, size: tuple[int, int]
) -> None:
    detector, _, _ = load_networks(settings)
    assert isinstance(detector, Scrfd)
    rgb = demo_pixels("t1.jpg")
    canvas = np.ascontiguousarray(rgb[100 : 100 + size[0], 300 : 300 + size[1]])
    (expected,) = detector.detect([canvas], min_score=0.02)
    place = canvas_place(*size)
    other = np.full((place.height_px, place.width_px, 3), 255, dtype=np.uint8)
    network = open_networks(few_at_a_time(settings)).detector
    network.run(place, [other] * 4)  # what is left of it must not be seen
    numbers = network.run(place, [other, canvas])[1]
    found = canvas_faces(
        split(numbers, place), (place.height_px, place.width_px), min_score=0.02, within=size
    )
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=1e-2)
    assert len(found.scores) > 0


def split(numbers: Float32Array, place: Place) -> list[Float32Array]:
    """Return a row of numbers as the outputs of the detector."""
    per_place, strides = LAYOUTS[9]
    shapes = [
        (per_place * (place.height_px // stride) * (place.width_px // stride), width)
        for width in (1, 4, 10)
        for stride in strides
    ]
    ends = np.cumsum([rows * width for rows, width in shapes])
    parts = np.split(numbers, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


class SmallCard:
    """A session of a card that has memory for so many pictures at a time."""

    opened: list[int]

    def __init__(self, shape: CardShape, most: int, opened: list[int]) -> None:
        opened.append(shape.batch)
        if shape.batch > most:
            raise MemoryError("CUDA failure 2: out of memory")

    def run(self, canvases: list[UInt8Array]) -> Float32Array:
        return np.array([[canvas.flat[0]] for canvas in canvases], dtype=np.float32)


def test_batches_that_are_too_large_are_halved_and_stay_so() -> None:
    opened: list[int] = []
    network = ShapedNetwork(lambda shape: SmallCard(shape, 8, opened), 32)
    canvases = [np.full((8, 8, 3), level, dtype=np.uint8) for level in range(20)]
    place = CANVASES[0]
    assert [row[0] for row in network.run(place, canvases)] == list(range(20))
    assert opened == [32, 16, 8]
    assert network.most(place) == 8
    network.run(place, canvases)
    assert opened == [32, 16, 8]


def test_without_memory_for_one_picture_nothing_is_computed() -> None:
    network = ShapedNetwork(lambda shape: SmallCard(shape, 0, []), 32)
    with pytest.raises(MemoryError):
        network.run(CANVASES[0], [np.zeros((8, 8, 3), dtype=np.uint8)])


def test_sessions_are_planned_beforehand_where_there_is_memory() -> None:
    opened: list[int] = []
    network = ShapedNetwork(lambda shape: SmallCard(shape, 16, opened), 32)
    network.prepare(CANVASES, lambda _: np.zeros((8, 8, 3), dtype=np.uint8))
    blank = np.zeros((8, 8, 3), dtype=np.uint8)
    for place in CANVASES[::-1]:
        assert len(network.run(place, [blank])) == 1
    # The two of 32 at a time had no memory; what had been planned was let go with them.
    assert sorted(opened)[:5] == [16, 16, 16, 16, 16]
    assert network.most(CANVASES[0]) == network.most(CANVASES[1]) == 16
