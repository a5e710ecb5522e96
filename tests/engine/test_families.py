"""Families of models: how a graph is told, and that a new one needs no other change."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facesim_index.engine import families
from facesim_index.engine.alignment import ARCFACE_TEMPLATE
from facesim_index.engine.arcface import ArcFaceFamily
from facesim_index.engine.families import detector_family, recogniser_family
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.engine.runtimes.network import Network
from facesim_index.engine.runtimes.onnx_graph import GraphShapes, declared_shapes, read_graph
from facesim_index.engine.scrfd import ScrfdFamily
from facesim_index.errors import ModelError
from facesim_index.models.resolution import resolve
from facesim_index.records import Float32Array, UInt8Array
from tests.example_pictures import demo_pixels, embed_faces

SMALL_PX = 16


class MeanColour:
    """A recogniser for tests: the mean colour of a crop is its embedding."""

    crop_side_px = SMALL_PX
    template = ARCFACE_TEMPLATE

    def __init__(self, network: Network) -> None:
        self.network = network

    def embed(self, crops: Sequence[UInt8Array]) -> Float32Array:
        blob = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)
        return self.network.run(blob)[0]


@dataclass(frozen=True, slots=True)
class MeanColourFamily:
    """The family of that recogniser."""

    title: str = "a recogniser of colours"
    crop_side_px: int = SMALL_PX
    dimension: int = 3

    def fits(self, shapes: GraphShapes) -> bool:
        return [shape[1:] for shape in shapes.inputs] == [(3, SMALL_PX, SMALL_PX)]

    def build(
        self, model: onnx.ModelProto, open_network: Callable[[onnx.ModelProto], Network]
    ) -> MeanColour:
        return MeanColour(open_network(model))


def mean_colours(path: Path) -> tuple[Path, str]:
    """Write a graph of that family; return its path and hash."""
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, SMALL_PX, SMALL_PX])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "colours", [source], [target])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_published_graphs_are_told_by_what_they_declare() -> None:
    detector, recogniser = (
        declared_shapes(read_graph(path)) for path in (resolve().detector, resolve().recogniser)
    )
    assert ScrfdFamily().fits(detector)
    assert ArcFaceFamily().fits(recogniser)
    assert not ScrfdFamily().fits(recogniser)
    assert not ArcFaceFamily().fits(detector)
    assert detector_family(detector) == ScrfdFamily()
    assert recogniser_family(recogniser) == ArcFaceFamily()


@pytest.mark.parametrize(
    "widths", [[1, 4, 10], [1] * 3 + [10] * 3 + [4] * 3, [1] * 3 + [4] * 3 + [5] * 3, [], [1] * 9]
)
def test_other_outputs_are_not_those_of_scrfd(widths: list[int]) -> None:
    shapes = GraphShapes([("n", 3, "h", "w")], [("n", "anchors", width) for width in widths])
    assert not ScrfdFamily().fits(shapes)


def test_five_strides_are_scrfd_too() -> None:
    widths = [1] * 5 + [4] * 5 + [10] * 5
    shapes = GraphShapes([("n", 3, "h", "w")], [("n", "anchors", width) for width in widths])
    assert ScrfdFamily().fits(shapes)


def test_weights_among_the_inputs_are_not_shapes_of_a_graph(tmp_path: Path) -> None:
    path, _ = mean_colours(tmp_path / "colours.onnx")
    model = read_graph(path)
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.zeros(4, dtype=np.float32), "weight")
    )
    model.graph.input.append(helper.make_tensor_value_info("weight", TensorProto.FLOAT, [4]))
    assert declared_shapes(model) == GraphShapes([("batch", 3, SMALL_PX, SMALL_PX)], [("batch", 3)])


def test_a_graph_of_no_family_is_refused_by_the_first(tmp_path: Path) -> None:
    path, sha256 = mean_colours(tmp_path / "colours.onnx")
    wrong = dataclasses.replace(resolve(), recogniser=path, recogniser_sha256=sha256)
    with pytest.raises(
        ModelError,
        match=r"colours\.onnx is not a recogniser of 112 x 112 px faces: its inputs and outputs "
        r"have the shapes .*; choose another model\.",
    ):
        EngineSettings(wrong, provider="cpu").load()


def test_a_family_is_added_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "RECOGNISER_FAMILIES", (ArcFaceFamily(), MeanColourFamily()))
    path, sha256 = mean_colours(tmp_path / "colours.onnx")
    other = dataclasses.replace(resolve(), recogniser=path, recogniser_sha256=sha256)
    settings = EngineSettings(other, provider="cpu")
    assert settings.identity.dimension == 3
    assert EngineSettings(resolve(), provider="cpu").identity.dimension == 512
    _, recogniser, _ = load_networks(settings)
    assert isinstance(recogniser, MeanColour)
    (face,) = embed_faces(settings.load(), demo_pixels("yaoming.jpg"))
    assert face.embedding.shape == (3,)
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)
    assert face.embedding[0] > face.embedding[2]  # skin is more red than blue


def test_a_graph_of_no_family_names_all_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "RECOGNISER_FAMILIES", (ArcFaceFamily(), MeanColourFamily()))
    path = tmp_path / "rubbish.onnx"
    path.write_bytes(b"no weights")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    wrong = dataclasses.replace(resolve(), recogniser=path, recogniser_sha256=digest)
    with pytest.raises(
        ModelError, match="cannot be loaded as an ArcFace recogniser or a recogniser of colours"
    ):
        EngineSettings(wrong, provider="cpu").load()
