"""Our decoding of the detector's outputs, next to insightface's own."""

import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from facesim_index.engine.base import EngineSettings
from facesim_index.engine.loading import load_networks
from facesim_index.engine.scrfd import Scrfd
from facesim_index.models.resolution import resolve
from facesim_index.records import Float32Array, UInt8Array
from tests.example_pictures import DEMO_PICTURES, demo_pixels

THRESHOLD = 0.5


@pytest.fixture(scope="module")
def ours() -> Scrfd:
    return load_networks(EngineSettings(model=resolve(), provider="cpu"))[0]


@pytest.fixture(scope="module")
def theirs() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import onnxruntime
        from insightface.model_zoo.scrfd import SCRFD

    path = str(resolve().detector)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # It warns at each call that the graph declares other shapes.
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return SCRFD(path, session=session, static_shape_sessions=False)


def canvas(rgb: UInt8Array, side_px: int) -> UInt8Array:
    return np.asarray(cv2.resize(rgb, (side_px, side_px)), dtype=np.uint8)


@pytest.mark.parametrize("side_px", [128, 320, 640])
def test_boxes_and_landmarks_are_insightfaces_to_the_bit(
    ours: Scrfd, theirs: Scrfd, side_px: int
) -> None:
    found = 0
    for name in DEMO_PICTURES:
        shown = canvas(demo_pixels(name), side_px)
        bgr = np.ascontiguousarray(shown[..., ::-1])
        for mine, other in zip(
            ours.forward(shown, THRESHOLD), theirs.forward(bgr, THRESHOLD), strict=True
        ):
            assert len(mine) == len(other) == 3
            for stride_mine, stride_other in zip(mine, other, strict=True):
                assert np.array_equal(stride_mine, stride_other)
                found += len(stride_mine)
    assert found > 15


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 30), st.just(5)),
        elements=st.floats(0, 200, width=32),
    )
)
def test_the_same_detections_are_kept(ours: Scrfd, theirs: Scrfd, rows: Float32Array) -> None:
    rows[:, 2:4] += rows[:, :2]  # the far corner lies right of and below the near one
    assert ours.nms(rows) == [int(row) for row in theirs.nms(rows)]
