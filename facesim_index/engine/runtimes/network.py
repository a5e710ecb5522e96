"""A network that is ready to run, whichever runtime computes it."""

from typing import TYPE_CHECKING, Protocol

from facesim_index.engine.runtimes.onnxruntime_network import load_network
from facesim_index.engine.runtimes.openvino_network import OpenVinoNetwork
from facesim_index.records import Float32Array, Numerics

if TYPE_CHECKING:
    from onnx import ModelProto


class Network(Protocol):
    """A network of one input that is ready to run."""

    @property
    def input_shapes(self) -> list[list[object]]:
        """The shape of each input as it is declared: lengths, and names of free axes."""
        ...

    @property
    def output_shapes(self) -> list[list[object]]:
        """The shape of each output as it is declared: lengths, and names of free axes."""
        ...

    def run(self, blob: Float32Array) -> list[Float32Array]:
        """Return the outputs for one input.

        Parameters
        ----------
        blob : ndarray of shape (n, 3, height, width), float32

        Returns
        -------
        list of ndarray, float32
            In the order in which the outputs are declared.
        """
        ...


def open_network(
    model: "ModelProto", provider: str, *, threads: int, numerics: Numerics = "fp32"
) -> Network:
    """Make a graph ready to run.

    Parameters
    ----------
    model : ModelProto
    provider : {"cpu", "cuda", "openvino"}
    threads : int
        At least 1.
    numerics : {"fp32", "bf16"}, default="fp32"
        ``bf16`` only with ``openvino``.

    Returns
    -------
    Network

    Raises
    ------
    ProviderError
        CUDA refuses though it ran before.
    """
    if provider == "openvino":
        return OpenVinoNetwork(model, numerics, threads)
    return load_network(model, provider, threads)
