"""dlib's network becomes an ONNX graph that gives what dlib gives."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from facesim_index.engine.runtimes.dlib_graph import DlibFormatError, graph_from_dlib
from facesim_index.engine.runtimes.onnx_graph import declared_shapes, read_graph
from facesim_index.engine.runtimes.onnxruntime_network import load_network
from facesim_index.errors import ModelError
from facesim_index.records import Float32Array, Float64Array
from tests.engine.runtimes.dlib_files import BLOCKS, constant_network

VALUES = [1.0, *[0.1 * number for number in range(1, 14)], -2.0]


@pytest.fixture(scope="module")
def matrix() -> Float32Array:
    return np.random.default_rng(3).normal(size=(256, 128)).astype(np.float32)


@pytest.fixture(scope="module")
def data(matrix: Float32Array) -> bytes:
    return constant_network(VALUES, matrix)


def mean_over_places() -> Float64Array:
    """Return what reaches the last matrix, worked out by hand: 256 channels.

    Blocks add their constants to what came around them.  Where a block halves the places, those
    are 35, 17, 8, 4 and 2 a side, and its own way has 17, 8, 3 and 1: what is missing counts as
    zero, and so does a channel that came around nothing.
    """
    field = np.full((32, 35, 35), VALUES[0])
    own_sides = iter((17, 8, 3, 1))
    sides = iter((17, 8, 4, 2))
    for number, ((from_channels, channels), value) in enumerate(
        zip(BLOCKS, VALUES[1:], strict=True)
    ):
        halves = from_channels != channels or number == 13
        side = next(sides) if halves else field.shape[1]
        own = next(own_sides) if halves else side
        around = np.zeros((channels, side, side))
        kept = 2 * side
        pooled = (
            field[:, :kept, :kept].reshape(-1, side, 2, side, 2).mean(axis=(2, 4))
            if halves
            else field
        )
        around[:from_channels] = pooled
        around[:, :own, :own] += value
        field = np.maximum(around, 0)
    return np.asarray(field.mean(axis=(1, 2)))


def test_every_layer_is_in_its_place(data: bytes, matrix: Float32Array) -> None:
    network = load_network(graph_from_dlib(data), "cpu", threads=1)
    blob = np.random.default_rng(1).normal(size=(3, 3, 150, 150)).astype(np.float32)
    (embeddings,) = network.run(blob)
    expected = mean_over_places() @ matrix
    assert embeddings.shape == (3, 128)
    assert embeddings == pytest.approx(np.tile(expected, (3, 1)), rel=1e-4, abs=1e-4)


def test_shapes_are_declared(data: bytes) -> None:
    shapes = declared_shapes(graph_from_dlib(data))
    assert shapes.inputs == [("batch", 3, 150, 150)]
    assert shapes.outputs == [("batch", 128)]


def test_a_file_is_read_by_its_name_and_hash(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.dat"
    path.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    assert declared_shapes(read_graph(path, sha256)).outputs == [("batch", 128)]
    with pytest.raises(ModelError, match="not the file that was checked"):
        read_graph(path, "0" * 64)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_file_that_is_cut_short_is_refused(data: bytes, share: float) -> None:
    with pytest.raises(DlibFormatError, match=r"the layer '(con_4|affine_|fc_2)' with \d+ numbers"):
        graph_from_dlib(data[: int(len(data) * share)])
