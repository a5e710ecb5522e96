"""Changes of a model's graph that must not change its numbers."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facesim_index.engine.alignment import ARCFACE_SIDE_PX
from facesim_index.engine.runtimes.onnx_graph import (
    read_graph,
    recogniser_scaling,
    with_free_outputs,
    with_quick_prelu,
)
from facesim_index.models.resolution import resolve
from facesim_index.records import Float32Array


def prelu(slopes: list[float]) -> onnx.ModelProto:
    """A network of one PRelu with one slope a channel."""
    shape = [1, len(slopes), 2, 2]
    source, target = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")
    )
    values = np.array(slopes, dtype=np.float32).reshape(-1, 1, 1)
    weight = numpy_helper.from_array(values, "slopes")
    node = helper.make_node("PRelu", ["x", "slopes"], ["y"])
    graph = helper.make_graph([node], "prelu", [source], [target], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def run(model: onnx.ModelProto, blob: Float32Array) -> Float32Array:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (output,) = session.run(None, {session.get_inputs()[0].name: blob})
    return np.asarray(output, dtype=np.float32)


def test_a_quick_prelu_gives_the_same_numbers() -> None:
    slopes = [-0.8, 0.0, 0.25, 1.0]
    blob = np.random.default_rng(1).normal(0, 3, (1, 4, 2, 2)).astype(np.float32)
    blob[0, :, 0, 0] = 0.0
    quick = with_quick_prelu(prelu(slopes))
    assert [node.op_type for node in quick.graph.node] == ["Mul", "Relu", "Mul", "Add"]
    onnx.checker.check_model(quick)
    expected = np.where(blob > 0, blob, np.array(slopes, np.float32).reshape(-1, 1, 1) * blob)
    np.testing.assert_allclose(run(quick, blob), expected, rtol=3e-7, atol=0)


def test_a_slope_above_one_is_left_alone() -> None:
    model = with_quick_prelu(prelu([0.25, 1.5]))
    assert [node.op_type for node in model.graph.node] == ["PRelu"]


def test_the_default_recogniser_is_the_same_but_for_roundings() -> None:
    """The graph as it is published, against the one that is run."""
    path = resolve().recogniser
    crops = np.random.default_rng(2).integers(0, 256, (3, 3, ARCFACE_SIDE_PX, ARCFACE_SIDE_PX))
    blobs = ((crops - 127.5) / 127.5).astype(np.float32)
    published = with_free_outputs(read_graph(path))
    quick = with_quick_prelu(with_free_outputs(read_graph(path)))
    kinds = [node.op_type for node in quick.graph.node]
    assert "PRelu" not in kinds
    assert kinds.count("Relu") == 34
    expected, found = run(published, blobs), run(quick, blobs)
    cosines = (expected * found).sum(axis=1) / np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(cosines / np.linalg.norm(found, axis=1), 1.0, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("names", "scaling"),
    [
        (["Conv_0", "PRelu_1"], (127.5, 127.5)),
        (["Sub_0", "Mul_1"], (0.0, 1.0)),
        (["_minusscalar0", "_mulscalar0"], (0.0, 1.0)),
        (["Mul_0"], (127.5, 127.5)),
    ],
)
def test_who_scales_the_grey_levels(names: list[str], scaling: tuple[float, float]) -> None:
    model = prelu([0.5])
    node = model.graph.node[0]
    del model.graph.node[:]
    for name in names:
        copy = model.graph.node.add()
        copy.CopyFrom(node)
        copy.name = name
    assert recogniser_scaling(model) == scaling
