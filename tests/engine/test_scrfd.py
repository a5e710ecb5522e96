"""Our decoding of the detector's outputs, next to insightface's own."""

import math
import warnings
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from facesim_index.engine.detection import CanvasFaces, find_faces, non_maximum_suppression
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.engine.scrfd import Scrfd, ScrfdFamily
from facesim_index.models.resolution import resolve
from facesim_index.pictures.views import View
from facesim_index.records import Float32Array, UInt8Array
from tests.example_pictures import DEMO_PICTURES, demo_pixels

THRESHOLD = 0.5
VARIED = [("players.jpg", 640), ("astronaut.png", 320), ("t1.jpg", 640), ("yaoming.jpg", 128)]


class InsightFaceScrfd(Protocol):
    """What is used of insightface's class."""

    def forward(self, img: UInt8Array, threshold: float) -> tuple[list[Float32Array], ...]:
        """Return scores, boxes and landmarks of each stride."""
        ...

    def nms(self, dets: Float32Array) -> list[np.int64]:
        """Return the rows to keep, best first."""
        ...


@pytest.fixture(scope="module")
def ours() -> Scrfd:
    detector = load_networks(EngineSettings(model=resolve(), provider="cpu"))[0]
    assert isinstance(detector, Scrfd)
    return detector


@pytest.fixture(scope="module")
def theirs() -> InsightFaceScrfd:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import onnxruntime
        from insightface.model_zoo.scrfd import SCRFD

    path = str(resolve().detector)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # It warns at each call that the graph declares other shapes.
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    model: InsightFaceScrfd = SCRFD(path, session=session, static_shape_sessions=False)
    return model


def canvas(rgb: UInt8Array, side_px: int) -> UInt8Array:
    return np.asarray(cv2.resize(rgb, (side_px, side_px)), dtype=np.uint8)


@pytest.mark.parametrize("side_px", [128, 320, 640])
def test_boxes_and_landmarks_are_insightfaces_to_the_bit(
    ours: Scrfd, theirs: InsightFaceScrfd, side_px: int
) -> None:
    found = 0
    for name in DEMO_PICTURES:
        shown = canvas(demo_pixels(name), side_px)
        bgr = np.ascontiguousarray(shown[..., ::-1])
        (mine,) = ours.detect([shown], min_score=THRESHOLD)
        # Theirs are parted by the strides of the network's outputs.
        scores, boxes, landmarks = map(np.vstack, theirs.forward(bgr, THRESHOLD))
        assert np.array_equal(mine.scores, scores[:, 0])
        assert np.array_equal(mine.boxes, boxes)
        assert np.array_equal(mine.landmarks, landmarks)
        found += len(mine.scores)
    assert found > 15


def test_what_is_seen_on_a_canvas_does_not_depend_on_the_others(ours: Scrfd) -> None:
    canvases = [canvas(demo_pixels(name), side_px) for name, side_px in VARIED]
    together = ours.detect(canvases, min_score=THRESHOLD)
    assert len(together) == len(canvases)
    for mine, shown in zip(together, canvases, strict=True):
        (alone,) = ours.detect([shown], min_score=THRESHOLD)
        assert len(mine.scores) == len(mine.boxes) == len(mine.landmarks) > 0
        assert np.array_equal(mine.scores, alone.scores)
        assert np.array_equal(mine.boxes, alone.boxes)
        assert np.array_equal(mine.landmarks, alone.landmarks)
    assert ours.detect([], min_score=THRESHOLD) == []


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 30), st.just(5)),
        elements=st.floats(0, 200, width=32),
    )
)
def test_the_same_detections_are_kept(theirs: InsightFaceScrfd, rows: Float32Array) -> None:
    rows[:, 2:4] += rows[:, :2]  # the far corner lies right of and below the near one
    assert non_maximum_suppression(rows) == [int(row) for row in theirs.nms(rows)]


class OneFace:
    """A network of five strides that sees one face, at the last place of one stride."""

    def __init__(self, stride: int) -> None:
        self.stride = stride
        self.input_shapes: list[list[object]] = [["n", 3, "height", "width"]]
        self.output_shapes: list[list[object]] = []

    def run(self, blob: Float32Array) -> list[Float32Array]:
        strides = (8, 16, 32, 64, 128)
        # As convolutions do, each stride rounds up.
        places = [math.prod(-(-side // stride) for side in blob.shape[2:]) for stride in strides]
        scores = [np.zeros((1, n, 1), dtype=np.float32) for n in places]
        scores[strides.index(self.stride)][0, -1] = 0.9
        boxes = [np.ones((1, n, 4), dtype=np.float32) for n in places]
        return scores + boxes + [np.zeros((1, n, 10), dtype=np.float32) for n in places]


@pytest.mark.parametrize("stride", [8, 32, 64, 128])
@pytest.mark.parametrize("size_px", [(480, 640), (100, 333), (90, 70)])
def test_a_detector_of_five_strides_puts_faces_where_they_are(
    stride: int, size_px: tuple[int, int]
) -> None:
    family = ScrfdFamily()
    detector = family.build(onnx.ModelProto(), lambda _: OneFace(stride))
    height_px, width_px = size_px
    canvases: list[UInt8Array] = []

    class Watched:
        canvas = detector.canvas

        def detect(self, shown: Sequence[UInt8Array], *, min_score: float) -> list[CanvasFaces]:
            canvases.extend(shown)
            return detector.detect(shown, min_score=min_score)

    picture = View.whole(np.zeros((height_px, width_px, 3), dtype=np.uint8))
    find_faces(picture, Watched(), min_score=0.5, min_face_px=0)
    for canvas in canvases:
        (seen,) = detector.detect([canvas], min_score=0.5)
        last = [side - stride for side in canvas.shape[1::-1]]
        assert seen.landmarks[0, 0].tolist() == last
