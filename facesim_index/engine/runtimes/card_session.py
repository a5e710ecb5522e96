"""Sessions of one shape, on a card or, for tests, on the CPU."""

from typing import TYPE_CHECKING

import numpy as np

from facesim_index.engine.runtimes.card_graph import (
    BYTES,
    SIZES,
    CardShape,
    PixelScaling,
    with_card_shape,
)
from facesim_index.engine.runtimes.onnxruntime_network import open_session
from facesim_index.records import Float32Array, UInt8Array

if TYPE_CHECKING:
    from onnx import ModelProto


class CardSession:
    """A network in a session that only ever sees one shape.

    Parameters
    ----------
    model : ModelProto
        As for `facesim_index.engine.runtimes.card_graph.with_card_shape`.
    shape : CardShape
    scaling : PixelScaling
    provider : {"cpu", "cuda"}
    device : int
        Number of the card, from 0.

    Raises
    ------
    MemoryError
        The card has not enough memory for it.
    ProviderError
        CUDA refuses though it ran before.
    """

    def __init__(
        self,
        model: "ModelProto",
        shape: CardShape,
        scaling: PixelScaling,
        provider: str,
        device: int = 0,
    ) -> None:
        self.shape = shape
        self._canvases = np.zeros((shape.batch, shape.height_px, shape.width_px, 3), dtype=np.uint8)
        self._sizes = np.zeros((shape.batch, 2), dtype=np.float32)
        graph = with_card_shape(model, shape, scaling)
        try:
            self._session = open_session(graph, provider, 1, device=device)
        except Exception as error:
            raise_out_of_memory(error)
            raise

    def run(self, canvases: list[UInt8Array]) -> Float32Array:
        """Run the network on pictures.

        Parameters
        ----------
        canvases : list of ndarray of shape (height, width, 3), uint8
            From 1 to a batch of them.  Where the shape is masked they may be smaller than it, with
            sides that are multiples of the network's largest stride.

        Returns
        -------
        ndarray of shape (n_canvases, n_numbers), float32

        Raises
        ------
        MemoryError
            The card has not enough memory.
        """
        for row, canvas in enumerate(canvases):
            height_px, width_px = canvas.shape[:2]
            self._canvases[row, :height_px, :width_px] = canvas
            self._sizes[row] = height_px, width_px
        given: dict[str, UInt8Array | Float32Array] = {BYTES: self._canvases}
        if self.shape.masked:
            given[SIZES] = self._sizes
        try:
            numbers: Float32Array = self._session.run(None, given)[0]
        except Exception as error:
            raise_out_of_memory(error)
            raise
        return numbers[: len(canvases)]


def raise_out_of_memory(error: Exception) -> None:
    """Raise a MemoryError if that is what a runtime's error says.

    Parameters
    ----------
    error : Exception

    Raises
    ------
    MemoryError

    Examples
    --------
    >>> raise_out_of_memory(RuntimeError("Failed to allocate memory for requested buffer"))
    Traceback (most recent call last):
        ...
    MemoryError: Failed to allocate memory for requested buffer
    >>> raise_out_of_memory(RuntimeError("an illegal memory access was encountered"))
    """
    # The runtime has no class or code of its own for it.
    text = str(error).lower()
    if isinstance(error, MemoryError) or "alloc" in text or "out of memory" in text:
        raise MemoryError(str(error)) from error
