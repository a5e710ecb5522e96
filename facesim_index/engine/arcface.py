"""ArcFace: from aligned crops to embeddings, through the recogniser's network."""

import cv2
import numpy as np

from facesim_index.engine.alignment import ARCFACE_SIDE_PX
from facesim_index.engine.scrfd import Network
from facesim_index.records import Float32Array, UInt8Array


class ArcFace:
    """A recogniser of aligned faces; gives what insightface's ``ArcFaceONNX`` gives.

    Parameters
    ----------
    network : Network
        With one output.
    input_mean, input_std : float
        What is taken from the grey levels, and what they are then divided by.
    """

    def __init__(self, network: Network, *, input_mean: float, input_std: float) -> None:
        self.network = network
        self._mean = (input_mean, input_mean, input_mean)
        self._scale = 1.0 / input_std

    def get_feat(self, imgs: list[UInt8Array]) -> Float32Array:
        """Return the embeddings of BGR crops of 112×112 px.

        Parameters
        ----------
        imgs : list of ndarray of shape (112, 112, 3), uint8

        Returns
        -------
        embeddings : ndarray of shape (n, dimension), float32
            Of any norm.
        """
        size = (ARCFACE_SIDE_PX, ARCFACE_SIDE_PX)
        blob = cv2.dnn.blobFromImages(imgs, self._scale, size, self._mean, swapRB=True)
        return self.network.run(np.asarray(blob, dtype=np.float32))[0]
