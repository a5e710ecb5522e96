"""Reading the ONNX graphs of published models, and changing them before they are run.

The changes make a network faster or quieter.  They alter its results by no more than the
rounding of the last bits.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facesim_index.engine.runtimes.dlib_graph import graph_from_dlib, is_dlib_file
from facesim_index.errors import ModelError

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnx import ModelProto, NodeProto, ValueInfoProto

#: Names of the first nodes of recognisers that normalise the pixels themselves.
_SUBTRACTS, _MULTIPLIES = ("Sub", "_minus"), ("Mul", "_mul")
_FIRST_NODES = 8


class UnfitGraphError(Exception):
    """A graph is not of the family that it was taken for.

    Parameters
    ----------
    message : str
        What it is or does instead, as what follows the name of its file in a sentence.
    """


@dataclass(frozen=True, slots=True)
class GraphShapes:
    """What a graph declares of its inputs and outputs.

    Attributes
    ----------
    inputs, outputs : sequence of tuple of int or str
        The shape of each, in order; free axes by their names, empty where they have none.
    """

    inputs: Sequence[tuple[int | str, ...]]
    outputs: Sequence[tuple[int | str, ...]]

    def turn_crops_into_numbers(self, side_px: int, dimension: int) -> bool:
        """Tell whether it takes square colour crops of a side and gives so many numbers for each.

        Parameters
        ----------
        side_px : int
        dimension : int

        Returns
        -------
        bool
        """
        crops = [shape[1:] for shape in self.inputs] == [(3, side_px, side_px)]
        return crops and [shape[1:] for shape in self.outputs] == [(dimension,)]


def declared_shapes(model: "ModelProto") -> GraphShapes:
    """Return the shapes of a graph's inputs and outputs.

    Parameters
    ----------
    model : ModelProto

    Returns
    -------
    GraphShapes
        Weights that the graph lists among its inputs are left out.

    Examples
    --------
    >>> declared_shapes(probe_graph())
    GraphShapes(inputs=[(1,)], outputs=[(1,)])
    """
    graph = model.graph
    weights = {weight.name for weight in graph.initializer}
    return GraphShapes(
        [_shape(value) for value in graph.input if value.name not in weights],
        [_shape(value) for value in graph.output],
    )


def read_graph(path: Path, sha256: str | None = None) -> "ModelProto":
    """Read a model, ONNX or dlib's, which must be in one file without reference to any other.

    Parameters
    ----------
    path : Path
    sha256 : str, optional
        What the file's SHA-256 must be, in hex.  The very bytes that are compared are the ones
        that are read, so that a file which is exchanged after it was checked is not used.

    Returns
    -------
    ModelProto

    Raises
    ------
    ModelError
        The file has other bytes, or its graph refers to other files.
    OSError, google.protobuf.message.DecodeError, DlibFormatError
        The file cannot be read, or is no ONNX model and not dlib's network.
    """
    import onnx

    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise ModelError(
            f"{path} is not the file that was checked: its SHA-256 is {found}, not {sha256}; "
            "if you did not exchange it yourself, run: facesim models verify"
        )
    if is_dlib_file(path):
        return graph_from_dlib(data)
    # From bytes, so that nothing beside the file is opened.
    model = onnx.load_model_from_string(data)
    elsewhere = next(_references(model), None)
    if elsewhere is not None:
        raise ModelError(
            f"{path} keeps {elsewhere} in another file, which no hash covers; save the model "
            "as one file (onnx.save without external data) and use that"
        )
    return model


def with_free_outputs(model: "ModelProto") -> "ModelProto":
    """Declare the batch of the input, and all but the last axis of each output, as free.

    Published recognisers declare a batch of one, and some detectors the number of anchors of
    one input size, for every inner value too.  The runtime then warns at each call of another
    size that the declaration is wrong.

    Parameters
    ----------
    model : ModelProto
        Is changed.

    Returns
    -------
    ModelProto
        The same object.
    """
    graph = model.graph
    del graph.value_info[:]
    weights = {weight.name for weight in graph.initializer}
    for value in graph.input:
        if value.name not in weights and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for value in graph.output:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim[:-1]):
            dimension.dim_param = f"{value.name}_{axis}"
    return model


def with_free_sides(model: "ModelProto") -> "ModelProto":
    """Declare the height and the width of the input as free, and the picture as the only input.

    Published CenterFace detectors declare one small size, though they take every multiple of 32.
    They also list their weights among the inputs, and a runtime can then fold none of them; and
    hold some that nothing uses, of which it would warn.

    Parameters
    ----------
    model : ModelProto
        Is changed.

    Returns
    -------
    ModelProto
        The same object.
    """
    graph = model.graph
    weights = {weight.name for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    for value in inputs:
        for axis, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    for value in graph.output:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            dimension.dim_param = f"{value.name}_{axis}"
    del graph.input[:]
    graph.input.extend(inputs)
    used = {name for node in graph.node for name in node.input}
    kept = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return model


def with_quick_prelu(model: "ModelProto") -> "ModelProto":
    """Write ``PRelu(x, a)`` as ``a * x + Relu((1 - a) * x)`` where no slope `a` is above 1.

    Apart from the rounding of the last bit, both are ``x`` where it is positive and ``a * x``
    elsewhere.  ONNX Runtime's PRelu kernel for one slope a channel takes a third of a
    MobileFaceNet's time on a CPU, because it also makes the runtime bring the values into
    another memory layout and back.  Scaling a channel, Relu and a sum keep the layout of the
    convolutions.

    Parameters
    ----------
    model : ModelProto
        Is changed.

    Returns
    -------
    ModelProto
        The same object.
    """
    from onnx import numpy_helper

    slopes = {weight.name: weight for weight in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        slope = slopes.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is None or numpy_helper.to_array(slope).max() > 1.0:
            nodes.append(node)
            continue
        rest = numpy_helper.from_array(1 - numpy_helper.to_array(slope), f"{node.output[0]}_rest")
        model.graph.initializer.append(rest)
        nodes += _sum_of_scaled(node, rest.name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def recogniser_scaling(model: "ModelProto") -> tuple[float, float]:
    """Return how the grey levels must be scaled before a recogniser is given them.

    The rule is insightface's: recognisers that were converted from MXNet scale their input
    themselves, in a subtraction and a multiplication among the first nodes of the graph.

    Parameters
    ----------
    model : ModelProto
        As it was read, before any change.

    Returns
    -------
    mean, divisor : float
        A grey level ``g`` in [0, 255] becomes ``(g - mean) / divisor``.

    Examples
    --------
    >>> recogniser_scaling(probe_graph())
    (127.5, 127.5)
    """
    names = [node.name for node in model.graph.node[:_FIRST_NODES]]
    scales_itself = all(
        any(name.startswith(prefixes) for name in names) for prefixes in (_SUBTRACTS, _MULTIPLIES)
    )
    return (0.0, 1.0) if scales_itself else (127.5, 127.5)


def probe_graph() -> "ModelProto":
    """Make the smallest network, for trying out whether a runtime works.

    Returns
    -------
    ModelProto
        Takes one number and returns it, or 0 where it is negative.
    """
    from onnx import TensorProto, helper

    source, target = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")
    )
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = helper.make_graph([node], "probe", [source], [target])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def _shape(value: "ValueInfoProto") -> tuple[int | str, ...]:
    axes = value.type.tensor_type.shape.dim
    return tuple(axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in axes)


def _references(message: "Message") -> Iterator[str]:
    """Yield what a model keeps outside its file, at any depth: subgraphs and functions too."""
    from onnx import NodeProto, TensorProto

    if isinstance(message, TensorProto):
        if message.data_location == TensorProto.EXTERNAL or message.external_data:
            yield f"the weights {message.name!r}"
        return
    if isinstance(message, NodeProto) and message.op_type == "EPContext":
        yield f"the compiled network {message.name!r}"
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _references(part)


def _sum_of_scaled(prelu: "NodeProto", rest: str) -> Iterator["NodeProto"]:
    from onnx import helper

    value, slope = prelu.input
    (result,) = prelu.output
    yield helper.make_node("Mul", [value, rest], [f"{result}_above"])
    yield helper.make_node("Relu", [f"{result}_above"], [f"{result}_positive"])
    yield helper.make_node("Mul", [value, slope], [f"{result}_scaled"])
    yield helper.make_node("Add", [f"{result}_scaled", f"{result}_positive"], [result])
