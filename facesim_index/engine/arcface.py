"""ArcFace: from aligned crops to embeddings, through the recogniser's network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facesim_index.engine.alignment import ARCFACE_SIDE_PX, ARCFACE_TEMPLATE, CropTemplate
from facesim_index.engine.runtimes.network import Network
from facesim_index.engine.runtimes.onnx_graph import (
    GraphShapes,
    UnfitGraphError,
    recogniser_scaling,
    with_free_outputs,
    with_quick_prelu,
)
from facesim_index.records import Float32Array, UInt8Array

if TYPE_CHECKING:
    from onnx import ModelProto

#: Larger batches are slower a face on a CPU, and only cost memory.
MAX_BATCH = 8


@dataclass(frozen=True, slots=True)
class ArcFaceFamily:
    """The family of ArcFace recognisers, which every published InsightFace recogniser is of.

    Attributes
    ----------
    title : str
        What one of them is called in a message.
    crop_side_px : int
        Side of the aligned crops that it is given.
    dimension : int
        How many numbers an embedding has.
    """

    title: str = "an ArcFace recogniser"
    crop_side_px: int = ARCFACE_SIDE_PX
    dimension: int = 512

    def fits(self, shapes: GraphShapes) -> bool:
        """Tell whether a graph declares the input and the output of an ArcFace recogniser.

        Parameters
        ----------
        shapes : GraphShapes

        Returns
        -------
        bool

        Examples
        --------
        >>> ArcFaceFamily().fits(GraphShapes([("n", 3, 112, 112)], [("n", 512)]))
        True
        >>> ArcFaceFamily().fits(GraphShapes([("n", 3, 112, 112)], [("n", 128)]))
        False
        """
        return shapes.turn_crops_into_numbers(self.crop_side_px, self.dimension)

    def build(
        self, model: "ModelProto", open_network: "Callable[[ModelProto], Network]"
    ) -> "ArcFace":
        """Make a recogniser of a graph, and try it once.

        Parameters
        ----------
        model : ModelProto
            Is changed.
        open_network : callable
            Makes a graph ready to run.

        Returns
        -------
        ArcFace

        Raises
        ------
        UnfitGraphError
            Its input is no crop of a face, or its embeddings have another length.
        """
        side_px = self.crop_side_px
        crop = [3, side_px, side_px]
        mean, divisor = recogniser_scaling(model)
        network = open_network(with_quick_prelu(with_free_outputs(model)))
        inputs, outputs = network.input_shapes, network.output_shapes
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0][1:] != crop:
            raise UnfitGraphError(
                f"is not a recogniser of {side_px} x {side_px} px faces: its inputs and outputs "
                f"have the shapes {[*inputs, *outputs]}"
            )
        embeddings = network.run(np.zeros((2, *crop), dtype=np.float32))[0]
        if embeddings.shape != (2, self.dimension):
            raise UnfitGraphError(
                f"gives embeddings of the shape {embeddings.shape} for two faces, not "
                f"(2, {self.dimension})"
            )
        return ArcFace(network, crop_side_px=side_px, input_mean=mean, input_std=divisor)


class ArcFace:
    """A recogniser of aligned faces; gives what insightface's ``ArcFaceONNX`` gives.

    Satisfies `facesim_index.engine.face_engine.Recogniser`.

    Parameters
    ----------
    network : Network
        With one output.
    crop_side_px : int
        Side of the crops that it is given.
    input_mean, input_std : float
        What is taken from the grey levels, and what they are then divided by.
    """

    def __init__(
        self, network: Network, *, crop_side_px: int, input_mean: float, input_std: float
    ) -> None:
        self.network = network
        self.crop_side_px = crop_side_px
        self.template: CropTemplate = ARCFACE_TEMPLATE
        self._mean = (input_mean, input_mean, input_mean)
        self._scale = 1.0 / input_std

    def embed(self, crops: Sequence[UInt8Array]) -> Float32Array:
        """Return the embeddings of aligned crops.

        Parameters
        ----------
        crops : sequence of ndarray of shape (crop_side_px, crop_side_px, 3), uint8
            In RGB; at least one.

        Returns
        -------
        embeddings : ndarray of shape (n_crops, dimension), float32
            Of any norm.
        """
        return np.vstack(
            [
                self._embed(crops[start : start + MAX_BATCH])
                for start in range(0, len(crops), MAX_BATCH)
            ]
        )

    def _embed(self, batch: Sequence[UInt8Array]) -> Float32Array:
        size = (self.crop_side_px, self.crop_side_px)
        blob = cv2.dnn.blobFromImages(list(batch), self._scale, size, self._mean)
        return self.network.run(np.asarray(blob, dtype=np.float32))[0]
