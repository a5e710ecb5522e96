"""Graphs for a card: bytes in, one shape for ever, and one row of numbers for each picture out.

A card's runtime plans every convolution anew whenever the shape of a session's input changes, which
takes a hundred times as long as the computation.  So each shape has a graph and a session of its
own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facesim_index.engine.runtimes.onnx_graph import UnfitGraphError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

BYTES, SIZES, FLAT = "facesim_bytes", "facesim_sizes", "facesim_flat"
_FREE = "facesim"


@dataclass(frozen=True, slots=True)
class CardShape:
    """The one shape of what a session is given.

    Attributes
    ----------
    batch : int
        How many pictures at a time.
    height_px, width_px : int
        Of each of them.
    masked : bool, default=False
        Pictures may be smaller, each of its own size, and see nothing of what is beyond it.
    """

    batch: int
    height_px: int
    width_px: int
    masked: bool = False


@dataclass(frozen=True, slots=True)
class PixelScaling:
    """How grey levels are scaled: ``(g - mean) / divisor``.

    Attributes
    ----------
    mean, divisor : float
    """

    mean: float
    divisor: float


def with_card_shape(model: "ModelProto", shape: CardShape, scaling: PixelScaling) -> "ModelProto":
    """Make a graph of one shape that is given bytes.

    Parameters
    ----------
    model : ModelProto
        With one input of the shape (n, 3, height, width) and outputs whose first axis is the
        batch.  It is not changed.
    shape : CardShape
    scaling : PixelScaling

    Returns
    -------
    ModelProto
        Its input `BYTES` is of the shape (batch, height, width, 3), uint8; where it is masked, it
        has a second one, `SIZES`, of the shape (batch, 2), float32: the height and the width of
        each picture, in multiples of the network's largest stride.  Its one output `FLAT`, of the
        shape (batch, n), float32, has the numbers of all outputs, one after the other.

    Raises
    ------
    UnfitGraphError
        It shall be masked and is built of layers for which that is not known to be exact.
    """
    from onnx import ModelProto, TensorProto, helper

    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    del graph.value_info[:]
    weights = {weight.name for weight in graph.initializer}
    (source,) = (value.name for value in graph.input if value.name not in weights)
    targets = [value.name for value in graph.output]
    nodes = [*_scaled(source, scaling, graph.initializer)]
    if shape.masked:
        nodes += _masked(list(graph.node), source, shape, graph.initializer)
    else:
        nodes += graph.node
    nodes += _flattened(targets, shape.batch, graph.initializer)
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    given = [value for value in graph.input if value.name in weights]
    size = [shape.batch, shape.height_px, shape.width_px, 3]
    given.append(helper.make_tensor_value_info(BYTES, TensorProto.UINT8, size))
    if shape.masked:
        given.append(helper.make_tensor_value_info(SIZES, TensorProto.FLOAT, [shape.batch, 2]))
    del graph.input[:]
    graph.input.extend(given)
    graph.output.append(
        helper.make_tensor_value_info(FLAT, TensorProto.FLOAT, [shape.batch, "numbers"])
    )
    return made


def _constant(name: str, values: object, weights: "list[TensorProto]") -> str:
    """Add a constant to the weights of a graph, and return its name."""
    from onnx import numpy_helper

    weights.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def _scaled(
    source: str, scaling: PixelScaling, weights: "list[TensorProto]"
) -> "Iterator[NodeProto]":
    from onnx import TensorProto, helper

    mean = _constant(f"{_FREE}_mean", np.float32(scaling.mean), weights)
    scale = _constant(f"{_FREE}_scale", np.float32(1.0 / scaling.divisor), weights)
    # Turned while they are bytes, which are a quarter of the floats.
    yield helper.make_node("Transpose", [BYTES], [f"{_FREE}_planes"], perm=[0, 3, 1, 2])
    yield helper.make_node("Cast", [f"{_FREE}_planes"], [f"{_FREE}_levels"], to=TensorProto.FLOAT)
    yield helper.make_node("Sub", [f"{_FREE}_levels", mean], [f"{_FREE}_centred"])
    yield helper.make_node("Mul", [f"{_FREE}_centred", scale], [source])


def _flattened(
    targets: list[str], batch: int, weights: "list[TensorProto]"
) -> "Iterator[NodeProto]":
    from onnx import helper

    rows = _constant(f"{_FREE}_rows", np.array([batch, -1], dtype=np.int64), weights)
    flat = [f"{_FREE}_flat_{number}" for number in range(len(targets))]
    for target, row in zip(targets, flat, strict=True):
        yield helper.make_node("Reshape", [target, rows], [row])
    yield helper.make_node("Concat", flat, [FLAT], axis=1)


def _masked(
    nodes: "list[NodeProto]", source: str, shape: CardShape, weights: "list[TensorProto]"
) -> "Iterator[NodeProto]":
    """Yield the nodes, with zeros beyond each picture wherever a layer looks at neighbours.

    A layer pads what it is given with zeros, at the edge of the canvas.  Zeros from the edge of
    the picture onwards are the same to it, so that each picture is seen as if it were alone.
    """
    from onnx import helper

    strides = {source: 1}
    masks: dict[int, str] = {}
    for node in nodes:
        known = [strides[name] for name in node.input if name in strides]
        stride = known[0] if known and node.op_type not in ("Resize", "Upsample") else None
        if node.op_type in ("Conv", "MaxPool", "AveragePool"):
            settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            if stride is None or settings.get("auto_pad", b"NOTSET") != b"NOTSET":
                raise UnfitGraphError(f"has a layer {node.name or node.output[0]} of unknown scale")
            if max(settings.get("kernel_shape", [3])) > 1:
                if stride not in masks:
                    yield from _mask(stride, shape, weights)
                    masks[stride] = f"{_FREE}_mask_{stride}"
                inside = f"{node.output[0]}_{_FREE}_inside"
                yield helper.make_node("Mul", [node.input[0], masks[stride]], [inside])
                node.input[0] = inside
            stride *= max(settings.get("strides", [1]))
        elif node.op_type in ("Shape", "Constant"):
            stride = None
        if stride is not None:
            strides.update(dict.fromkeys(node.output, stride))
        yield node


def _mask(stride: int, shape: CardShape, weights: "list[TensorProto]") -> "Iterator[NodeProto]":
    """Yield what makes the mask of a stride: 1 within each picture, 0 beyond it."""
    from onnx import TensorProto, helper

    name = f"{_FREE}_mask_{stride}"
    for axis, length_px in enumerate((shape.height_px, shape.width_px)):
        places = np.arange(0, length_px, stride, dtype=np.float32)
        lying = (1, 1, len(places), 1) if axis == 0 else (1, 1, 1, len(places))
        along = _constant(f"{name}_places_{axis}", places.reshape(lying), weights)
        which = _constant(f"{name}_axis_{axis}", np.array([axis], dtype=np.int64), weights)
        four = _constant(f"{name}_four_{axis}", np.array([-1, 1, 1, 1], dtype=np.int64), weights)
        yield helper.make_node("Gather", [SIZES, which], [f"{name}_size_{axis}"], axis=1)
        yield helper.make_node("Reshape", [f"{name}_size_{axis}", four], [f"{name}_end_{axis}"])
        yield helper.make_node("Less", [along, f"{name}_end_{axis}"], [f"{name}_in_{axis}"])
        yield helper.make_node(
            "Cast", [f"{name}_in_{axis}"], [f"{name}_one_{axis}"], to=TensorProto.FLOAT
        )
    yield helper.make_node("Mul", [f"{name}_one_0", f"{name}_one_1"], [name])
