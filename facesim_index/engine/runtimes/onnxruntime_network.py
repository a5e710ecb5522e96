"""A network that ONNX Runtime computes, on the CPU or with CUDA."""

import os
from types import ModuleType
from typing import TYPE_CHECKING

from facesim_index.errors import ProviderError
from facesim_index.records import Float32Array

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession


CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

CUDA_OPTIONS = {
    # TensorFloat-32 keeps three digits: too few to compare with embeddings made on a CPU.
    "use_tf32": "0",
    # The default tries every algorithm at each new shape, for a second.
    "cudnn_conv_algo_search": "HEURISTIC",
    # Otherwise the memory of each session doubles as it grows.
    "arena_extend_strategy": "kSameAsRequested",
}


class OnnxRuntimeNetwork:
    """A network in an ONNX Runtime session; satisfies `runtimes.network.Network`.

    Parameters
    ----------
    session : InferenceSession
        Of a graph with one input.
    """

    def __init__(self, session: "InferenceSession") -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    @property
    def input_shapes(self) -> list[list[object]]:
        """The shape of each input as the graph declares it; free axes by name."""
        return [list(value.shape) for value in self._session.get_inputs()]

    @property
    def output_shapes(self) -> list[list[object]]:
        """The shape of each output as the graph declares it; free axes by name."""
        return [list(value.shape) for value in self._session.get_outputs()]

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
        outputs: list[Float32Array] = self._session.run(None, {self._input: blob})
        return outputs


def load_network(model: "ModelProto", provider: str, threads: int) -> OnnxRuntimeNetwork:
    """Make a graph ready to run in ONNX Runtime.

    Parameters
    ----------
    model : ModelProto
    provider : {"cpu", "cuda"}
    threads : int
        At least 1.

    Returns
    -------
    OnnxRuntimeNetwork

    Raises
    ------
    ProviderError
        CUDA refuses though it ran before.

    Examples
    --------
    >>> from facesim_index.engine.runtimes.onnx_graph import probe_graph
    >>> load_network(probe_graph(), "cpu", threads=1).output_shapes
    [[1]]
    """
    return OnnxRuntimeNetwork(open_session(model, provider, threads))


def open_session(
    model: "ModelProto", provider: str, threads: int, *, device: int = 0
) -> "InferenceSession":
    """Open an ONNX Runtime session that never falls back to another provider.

    Parameters
    ----------
    model : ModelProto
    provider : {"cpu", "cuda"}
    threads : int
        Threads of one run, at least 1.
    device : int, default=0
        Number of the card, from 0.

    Returns
    -------
    InferenceSession

    Raises
    ------
    ProviderError
        CUDA refuses though it ran before.
    """
    onnxruntime = import_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Plans kept for every batch size cost 15 MB and gain nothing.  The arena is worth its
    # memory, and bounded, because few input sizes ever occur.
    options.enable_mem_pattern = False
    # Naming the first one, which is the default, makes the runtime print a warning.
    cuda_options = {**CUDA_OPTIONS, **({"device_id": str(device)} if device else {})}
    wanted = [(CUDA, cuda_options), CPU] if provider == "cuda" else [CPU]
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), sess_options=options, providers=wanted
    )
    session.disable_fallback()
    if provider == "cuda" and session.get_providers()[0] != CUDA:
        raise ProviderError("CUDA ran a moment ago and refuses now; see nvidia-smi.")
    return session


def import_runtime() -> ModuleType:
    """Import ONNX Runtime such that it writes no telemetry identifier.

    Returns
    -------
    module
        ``onnxruntime``.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # It is read when the runtime is first imported.
    import onnxruntime

    runtime: ModuleType = onnxruntime
    return runtime
