"""dlib's recogniser: from aligned crops to embeddings of 128 numbers.

The network is `dlib_face_recognition_resnet_model_v1`, which `runtimes.dlib_graph` reads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facesim_index.engine.alignment import CropTemplate
from facesim_index.engine.dlib.balance import Balance, shipped_balance
from facesim_index.engine.runtimes.dlib_graph import DIMENSION, SIDE_PX
from facesim_index.engine.runtimes.network import Network
from facesim_index.engine.runtimes.onnx_graph import GraphShapes, UnfitGraphError
from facesim_index.records import Float32Array, UInt8Array

if TYPE_CHECKING:
    from onnx import ModelProto

#: Larger batches are slower a face on a CPU, and only cost memory.
MAX_BATCH = 8

#: Where five landmarks lie in the crops that dlib makes by five landmarks of its own.
#:
#: Its own are the corners of the eyes and the bottom of the nose.  Here, the centres of the eyes,
#: the tip of the nose and the corners of the mouth were found by CenterFace in such crops of 1,800
#: faces of LFW's development set: their medians, made symmetric.
DLIB_TEMPLATE = CropTemplate(
    SIDE_PX,
    np.array(
        [[46.5, 45.9], [102.5, 45.9], [74.5, 77.7], [51.4, 104.1], [97.6, 104.1]],
        dtype=np.float32,
    ),
)
DLIB_TEMPLATE.landmarks.setflags(write=False)

#: Means of red, green and blue in the training data, and what is then divided by.
_MEANS = np.array([122.782, 117.001, 104.298], dtype=np.float32)
_DIVISOR = np.float32(256.0)


@dataclass(frozen=True, slots=True)
class DlibFamily:
    """The family of dlib's face recognition network, which has this one member.

    Attributes
    ----------
    title : str
        What one of them is called in a message.
    crop_side_px : int
        Side of the aligned crops that it is given.
    dimension : int
        How many numbers an embedding has.
    """

    title: str = "dlib's face recognition network"
    crop_side_px: int = SIDE_PX
    dimension: int = DIMENSION

    def fits(self, shapes: GraphShapes) -> bool:
        """Tell whether a graph declares the input and the output of dlib's network.

        Parameters
        ----------
        shapes : GraphShapes

        Returns
        -------
        bool

        Examples
        --------
        >>> DlibFamily().fits(GraphShapes([("batch", 3, 150, 150)], [("batch", 128)]))
        True
        >>> DlibFamily().fits(GraphShapes([("n", 3, 112, 112)], [("n", 128)]))
        False
        """
        return shapes.turn_crops_into_numbers(self.crop_side_px, self.dimension)

    def build(
        self, model: "ModelProto", open_network: "Callable[[ModelProto], Network]"
    ) -> "DlibResNet":
        """Make a recogniser of a graph, and try it once.

        Parameters
        ----------
        model : ModelProto
        open_network : callable
            Makes a graph ready to run.

        Returns
        -------
        DlibResNet

        Raises
        ------
        UnfitGraphError
            Its embeddings have another length.
        """
        network = open_network(model)
        blob = np.zeros((2, 3, self.crop_side_px, self.crop_side_px), dtype=np.float32)
        descriptors = network.run(blob)[0]
        if descriptors.shape != (2, self.dimension):
            raise UnfitGraphError(
                f"gives embeddings of the shape {descriptors.shape} for two faces, not "
                f"(2, {self.dimension})"
            )
        return DlibResNet(network, shipped_balance())


class DlibResNet:
    """A recogniser of aligned faces; satisfies `facesim_index.engine.face_engine.Recogniser`.

    Parameters
    ----------
    network : Network
        With one output.
    balance : Balance
        What is done to the network's output.
    """

    crop_side_px = SIDE_PX
    template = DLIB_TEMPLATE

    def __init__(self, network: Network, balance: Balance) -> None:
        self.network = network
        self._balance = balance

    def embed(self, crops: Sequence[UInt8Array]) -> Float32Array:
        """Return the embeddings of aligned crops.

        Parameters
        ----------
        crops : sequence of ndarray of shape (150, 150, 3), uint8
            In RGB; at least one.

        Returns
        -------
        embeddings : ndarray of shape (n_crops, 128), float32
            Of any norm.
        """
        return self._balance.applied(self.descriptors(crops))

    def descriptors(self, crops: Sequence[UInt8Array]) -> Float32Array:
        """Return what the network gives for aligned crops, which is what dlib gives.

        Parameters
        ----------
        crops : sequence of ndarray of shape (150, 150, 3), uint8
            In RGB; at least one.

        Returns
        -------
        ndarray of shape (n_crops, 128), float32
        """
        return np.vstack(
            [
                self._descriptors(crops[start : start + MAX_BATCH])
                for start in range(0, len(crops), MAX_BATCH)
            ]
        )

    def _descriptors(self, batch: Sequence[UInt8Array]) -> Float32Array:
        levels = (np.stack(batch).astype(np.float32) - _MEANS) / _DIVISOR
        return self.network.run(np.ascontiguousarray(levels.transpose(0, 3, 1, 2)))[0]
