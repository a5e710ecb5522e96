"""CenterFace: what its outputs say of a canvas."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facesim_index.engine.centerface import CENTERFACE_CANVAS, CenterFace, CenterFaceFamily
from facesim_index.engine.families import detector_family
from facesim_index.engine.runtimes.network import Network, open_network
from facesim_index.engine.runtimes.onnx_graph import (
    GraphShapes,
    UnfitGraphError,
    declared_shapes,
    with_free_sides,
)
from facesim_index.records import Float32Array

CHANNELS = (1, 2, 2, 10)
#: Where landmarks lie in a box: down and right, as shares of its height and width.
WITHIN = np.array([[0.3, 0.3], [0.3, 0.7], [0.5, 0.5], [0.8, 0.35], [0.8, 0.65]], dtype=np.float32)


class Seeing:
    """A network that sees one face of 24 x 40 px, from some places around its centre."""

    def __init__(self, places: dict[tuple[int, int], tuple[float, float]]) -> None:
        self.places = places
        self.input_shapes: list[list[object]] = [["n", 3, "height", "width"]]
        self.output_shapes: list[list[object]] = []
        self.blobs: list[Float32Array] = []

    def run(self, blob: Float32Array) -> list[Float32Array]:
        self.blobs.append(blob)
        rows, columns = (side // 4 for side in blob.shape[2:])
        probability, size, shift, landmarks = (
            np.zeros((1, channels, rows, columns), dtype=np.float32) for channels in CHANNELS
        )
        for (row, column), (score, slip) in self.places.items():
            if row >= rows or column >= columns:
                continue
            probability[0, 0, row, column] = score
            size[0, :, row, column] = np.log(np.array([40, 24]) / 4)
            # All of them point to the centre at 50.5 px down and 42.5 px from the left.
            shift[0, :, row, column] = [(51 / 4) - 0.5 - row, (43 / 4) - 0.5 - column]
            landmarks[0, :, row, column] = (WITHIN + np.array([slip, 0])).ravel()
        return [probability, size, shift, landmarks]


def detector(places: dict[tuple[int, int], tuple[float, float]]) -> tuple[CenterFace, Seeing]:
    network = Seeing(places)
    return CenterFace(network, CENTERFACE_CANVAS), network


CANVAS = np.zeros((96, 128, 3), dtype=np.uint8)


def test_a_face_is_where_its_place_says() -> None:
    ours, _ = detector({(12, 10): (0.9, 0.0)})
    (seen,) = ours.detect([CANVAS], min_score=0.5)
    assert seen.scores == pytest.approx([0.9])
    assert seen.boxes == pytest.approx(
        np.array([[42.5 - 12, 50.5 - 20, 42.5 + 12, 50.5 + 20]]), abs=1e-4
    )
    expected = WITHIN[:, ::-1] * [24, 40] + [30.5, 30.5]
    assert seen.landmarks[0] == pytest.approx(expected, abs=1e-4)
    assert seen.boxes.dtype == seen.landmarks.dtype == np.float32


def test_landmarks_of_places_that_saw_the_same_face_are_averaged_by_their_scores() -> None:
    places = {(12, 10): (0.9, 0.0), (12, 11): (0.6, 0.1), (13, 10): (0.4, 0.2), (11, 9): (0.2, 0.9)}
    ours, _ = detector(places)
    (seen,) = ours.detect([CANVAS], min_score=0.7)
    slip = (0.6 * 0.1 + 0.4 * 0.2) / (0.9 + 0.6 + 0.4)  # a score of 0.2 tells nothing
    expected = WITHIN[:, ::-1] * [24, 40] + [30.5, 30.5 + 40 * slip]
    assert len(seen.scores) == 1
    assert seen.landmarks[0] == pytest.approx(expected, abs=1e-3)


def test_nothing_is_seen_below_the_least_score() -> None:
    ours, _ = detector({(12, 10): (0.49, 0.0)})
    (seen,) = ours.detect([CANVAS], min_score=0.5)
    assert (seen.scores.shape, seen.boxes.shape, seen.landmarks.shape) == ((0,), (0, 4), (0, 5, 2))
    assert ours.detect([], min_score=0.5) == []


def test_the_network_is_given_grey_levels_as_they_are_in_rgb() -> None:
    ours, network = detector({})
    red = CANVAS.copy()
    red[..., 0] = 200
    ours.detect([red], min_score=0.5)
    (blob,) = network.blobs
    assert blob.shape == (1, 3, 96, 128)
    assert blob.dtype == np.float32
    assert blob.max(axis=(0, 2, 3)).tolist() == [200, 0, 0]


def small_graph() -> onnx.ModelProto:
    """Return a graph with the outputs of CenterFace, one declared size, and weights as inputs."""
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [10, 3, 32, 32])
    weights = [
        helper.make_tensor(
            f"w{channels}", TensorProto.FLOAT, [channels, 3, 4, 4], [0.0] * 48 * channels
        )
        for channels in (1, 2, 10)
    ]
    unused = helper.make_tensor("unused", TensorProto.FLOAT, [1], [0.0])
    nodes = [
        helper.make_node("Conv", ["x", f"w{channels}"], [f"y{number}"], strides=[4, 4])
        for number, channels in enumerate(CHANNELS)
    ]
    targets = [
        helper.make_tensor_value_info(f"y{number}", TensorProto.FLOAT, [10, channels, 8, 8])
        for number, channels in enumerate(CHANNELS)
    ]
    listed = [
        helper.make_tensor_value_info(weight.name, TensorProto.FLOAT, list(weight.dims))
        for weight in (*weights, unused)
    ]
    graph = helper.make_graph(nodes, "small", [source, *listed], targets, [*weights, unused])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def opened(model: onnx.ModelProto) -> Network:
    return open_network(model, "cpu", threads=1)


def test_a_graph_is_told_by_its_outputs_and_runs_at_any_size() -> None:
    model = small_graph()
    assert detector_family(declared_shapes(model)) == CenterFaceFamily()
    ours = CenterFaceFamily().build(model, opened)
    (seen,) = ours.detect([CANVAS], min_score=0.1)
    assert seen.scores.size == 0
    assert ours.canvas == CENTERFACE_CANVAS


def test_weights_are_no_inputs_and_unused_ones_are_dropped() -> None:
    graph = with_free_sides(small_graph()).graph
    assert [value.name for value in graph.input] == ["x"]
    assert [weight.name for weight in graph.initializer] == ["w1", "w2", "w10"]
    assert declared_shapes(with_free_sides(small_graph())).inputs == [(10, 3, "height", "width")]


@pytest.mark.parametrize("channels", [(1, 2, 2), (1, 2, 10, 2), (2, 1, 2, 10)])
def test_other_outputs_are_not_those_of_centerface(channels: tuple[int, ...]) -> None:
    outputs = [(10, count, 8, 8) for count in channels]
    assert not CenterFaceFamily().fits(GraphShapes([(10, 3, 32, 32)], outputs))


def test_a_network_of_another_stride_is_refused() -> None:
    class Coarse(Seeing):
        def run(self, blob: Float32Array) -> list[Float32Array]:
            return super().run(blob[:, :, ::2, ::2])

    with pytest.raises(UnfitGraphError, match=r"is not a CenterFace detector: its outputs have"):
        CenterFaceFamily().build(small_graph(), lambda _: Coarse({}))
