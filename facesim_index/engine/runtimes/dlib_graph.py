"""Reading dlib's face recognition network, and writing it down as an ONNX graph.

dlib keeps its networks in a format of its own, from which no published tool makes ONNX.  The file
``dlib_face_recognition_resnet_model_v1.dat`` has not changed since 2017, and its SHA-256 is known,
so one fixed network [1]_ has to be read, not the format.  Each layer begins with its name, and
layers follow one another in the order in which they are computed: seven by seven filters, then 14
blocks of two convolutions with a way around them, then a mean over places and one matrix.

References
----------
.. [1] D. E. King, "dlib_face_recognition_resnet_model_v1", in dlib-models, 2017; released into
   the public domain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facesim_index.records import Float32Array

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

#: Files that end like this are dlib's.
DLIB_SUFFIX = ".dat"

SIDE_PX = 150
DIMENSION = 128

_CONVOLUTION, _SCALING, _MATRIX = b"\x01\x05con_4", b"\x01\x07affine_", b"\x01\x04fc_2"
_OPSET, _IR_VERSION = 14, 8


@dataclass(frozen=True, slots=True)
class _Block:
    """Two convolutions of three by three, and a way around them.

    Attributes
    ----------
    channels : int
        Of the result.
    halves : bool
        Whether the first convolution takes every second place, and the way around averages two by
        two places.
    """

    channels: int
    halves: bool


_FIRST_CHANNELS = 32
_BLOCKS = (
    *[_Block(32, halves=False)] * 3,
    _Block(64, halves=True),
    *[_Block(64, halves=False)] * 3,
    _Block(128, halves=True),
    *[_Block(128, halves=False)] * 2,
    _Block(256, halves=True),
    *[_Block(256, halves=False)] * 2,
    _Block(256, halves=True),
)


class DlibFormatError(Exception):
    """A file is not dlib's face recognition network.

    Parameters
    ----------
    message : str
        What was found instead.
    """


def graph_from_dlib(data: bytes) -> "ModelProto":
    """Write dlib's face recognition network down as an ONNX graph.

    Parameters
    ----------
    data : bytes
        The file ``dlib_face_recognition_resnet_model_v1.dat``.

    Returns
    -------
    ModelProto
        Takes grey levels of shape ``(n, 3, 150, 150)`` from which the means were taken and which
        were then divided by 256, and gives embeddings of shape ``(n, 128)``.

    Raises
    ------
    DlibFormatError
        It is another file.
    """
    from onnx import TensorProto, helper

    graph = _Graph(_Reader(data))
    end = graph.add_network()
    axes: list[str | int | None] = ["batch", 3, SIDE_PX, SIDE_PX]
    source = helper.make_tensor_value_info("crops", TensorProto.FLOAT, axes)
    target = helper.make_tensor_value_info(end, TensorProto.FLOAT, ["batch", DIMENSION])
    whole = helper.make_graph(graph.nodes, "dlib_resnet", [source], [target], graph.weights)
    return helper.make_model(
        whole, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )


def is_dlib_file(path: Path) -> bool:
    """Tell by its name whether a file of weights is dlib's.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool

    Examples
    --------
    >>> is_dlib_file(Path("dlib_face_recognition_resnet_model_v1.dat"))
    True
    """
    return path.suffix.lower() == DLIB_SUFFIX


class _Reader:
    """Reads the layers of a file one after the other.

    Parameters
    ----------
    data : bytes
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def convolution(self, channels: int, from_channels: int, side: int) -> list[Float32Array]:
        """Return the filters and what is added to their results, with the scaling that follows."""
        n_filters = channels * from_channels * side * side
        values = self._tensor(_CONVOLUTION, n_filters + channels)
        scale, shift = np.split(self._tensor(_SCALING, 2 * channels), 2)
        filters = values[:n_filters].reshape(channels, from_channels, side, side)
        scaled = filters * scale[:, None, None, None]
        return [scaled, values[n_filters:] * scale + shift]

    def matrix(self, n_rows: int, n_columns: int) -> Float32Array:
        """Return the matrix of the last layer; its two sizes come before it."""
        return self._tensor(_MATRIX, n_rows * n_columns, axes=(n_rows, n_columns)).reshape(
            n_rows, n_columns
        )

    def _tensor(self, name: bytes, size: int, axes: Sequence[int] = ()) -> Float32Array:
        """Return the numbers that follow the next layer of a name."""
        expected = axes or (size,)
        start = self._data.find(name, self._at)
        # A tensor is the number of its format, which is 2, and four sizes, then the numbers.
        header = b"\x01\x02" + b"".join(_as_written(length) for length in expected)
        header += _as_written(1) * (4 - len(expected))
        place = self._data.find(header, start, start + 64) if start >= 0 else -1
        end = place + len(header) + 4 * size
        if place < 0 or end > len(self._data):
            raise DlibFormatError(
                f"the layer {name[2:].decode()!r} with {size} numbers is missing after byte "
                f"{self._at}"
            )
        self._at = end
        return np.frombuffer(self._data, "<f4", size, place + len(header)).astype(np.float32)


class _Graph:
    """Gathers the nodes and weights of the network.

    Parameters
    ----------
    reader : _Reader
    """

    def __init__(self, reader: _Reader) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._reader = reader

    def add_network(self) -> str:
        """Add every layer, and return the name of the result."""
        value = self._relu(self._convolution("crops", _FIRST_CHANNELS, 3, side=7, stride=2))
        value = self._add("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2])
        channels, side = _FIRST_CHANNELS, _after(_after(SIDE_PX, 7, 2), 3, 2)
        for block in _BLOCKS:
            value = self._block(value, block, channels, side)
            channels, side = block.channels, (side // 2 if block.halves else side)
        value = self._add("GlobalAveragePool", [value])
        value = self._add("Flatten", [value], axis=1)
        matrix = self._weight(self._reader.matrix(channels, DIMENSION))
        return self._add("MatMul", [value, matrix])

    def _block(self, value: str, block: _Block, channels: int, side: int) -> str:
        stride = 2 if block.halves else 1
        inner = self._relu(self._convolution(value, block.channels, channels, stride=stride))
        inner = self._convolution(inner, block.channels, block.channels)
        around = value
        if block.halves:
            around = self._add("AveragePool", [value], kernel_shape=[2, 2], strides=[2, 2])
            # Where the two ways differ in size, dlib takes what is missing for zero.
            inner = self._padded(inner, 0, side // 2 - _after(side, 3, 2))
        around = self._padded(around, block.channels - channels, 0)
        return self._relu(self._add("Add", [inner, around]))

    def _convolution(
        self, value: str, channels: int, from_channels: int, side: int = 3, stride: int = 1
    ) -> str:
        filters, added = self._reader.convolution(channels, from_channels, side)
        margin = side // 2 if stride == 1 else 0
        inputs = [value, self._weight(filters), self._weight(added)]
        return self._add(
            "Conv", inputs, kernel_shape=[side, side], strides=[stride, stride], pads=[margin] * 4
        )

    def _relu(self, value: str) -> str:
        return self._add("Relu", [value])

    def _padded(self, value: str, channels: int, places: int) -> str:
        """Add channels, and rows and columns at the end, of zeros."""
        if not channels and not places:
            return value
        pads = np.array([0, 0, 0, 0, 0, channels, places, places], dtype=np.int64)
        return self._add("Pad", [value, self._weight(pads)])

    def _weight(self, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        from onnx import numpy_helper

        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _add(self, kind: str, inputs: list[str], **attributes: int | list[int]) -> str:
        from onnx import helper

        name = f"value_{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [name])
        node.attribute.extend(
            helper.make_attribute(attribute, value) for attribute, value in attributes.items()
        )
        self.nodes.append(node)
        return name


def _after(side: int, filter_side: int, stride: int) -> int:
    """Return how many places a filter without margin leaves of a side."""
    return (side - filter_side) // stride + 1


def _as_written(number: int) -> bytes:
    """Return a whole number as dlib writes it: how many bytes, then these, lowest first.

    Examples
    --------
    >>> _as_written(300).hex()
    '022c01'
    """
    return b"".join(_bytes_of(number))


def _bytes_of(number: int) -> Iterator[bytes]:
    length = max(1, (number.bit_length() + 7) // 8)
    yield bytes([length])
    yield number.to_bytes(length, "little")
