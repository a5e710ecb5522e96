"""A recogniser's network in OpenVINO, in single precision or in bfloat16.

OpenVINO is optional, and imported only when an engine is to run on it.  In bfloat16 the inner
values of the network have eight significant bits instead of 24.  The embeddings differ, so such an
engine has an identity of its own.
"""

import sys
import threading
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from facesim_index.records import Float32Array, Numerics

if TYPE_CHECKING:
    from onnx import ModelProto
    from openvino import Core, Node

INSTALL = 'python -m pip install "facesim-index[openvino]"'

_TELEMETRY = "openvino_telemetry"
_PRECISIONS: dict[Numerics, str] = {"fp32": "f32", "bf16": "bf16"}


def openvino_obstacle(numerics: Numerics) -> str:
    """Find out why OpenVINO cannot run here, and what to do about it.

    Parameters
    ----------
    numerics : {"fp32", "bf16"}
        What it shall compute in.

    Returns
    -------
    str
        Reason and remedy as a part of a sentence; empty when it can run.
    """
    if find_spec("openvino") is None:
        return f"OpenVINO is not installed; install it with: {INSTALL}"
    try:
        native = has_native_bf16()
    except (ImportError, OSError, RuntimeError) as error:
        return f"OpenVINO cannot be loaded: {error}; install it anew with: {INSTALL}"
    if numerics == "bf16" and not native:
        return (
            "this processor has no bfloat16 of its own (AVX512_BF16 or AMX), and emulating it "
            "is slower than single precision; use fp32, in an index of its own"
        )
    return ""


def version() -> str:
    """Return the version of the OpenVINO that is installed.

    Returns
    -------
    str
        Such as ``"2026.4.0"``.
    """
    return str(_runtime().__version__).partition("-")[0]


@cache
def has_native_bf16() -> bool:
    """Tell whether the processor itself computes in bfloat16, so that OpenVINO need not emulate it.

    Returns
    -------
    bool
    """
    capabilities: list[str] = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


class OpenVinoNetwork:
    """A network of one input, compiled by OpenVINO; satisfies `runtimes.network.Network`.

    It is compiled for a batch of one, and the rows of a larger batch are run one after the other.
    On a CPU that is as fast, one shape takes less memory than many, and an embedding does not
    depend on its neighbours.  When several threads call it, they take turns.

    Parameters
    ----------
    model : ModelProto
    numerics : {"fp32", "bf16"}
        What the network computes in.
    threads : int
        At least 1.

    Attributes
    ----------
    input_shapes, output_shapes : list of list
        The shapes as the graph declares them; free axes as text.
    """

    def __init__(self, model: "ModelProto", numerics: Numerics, threads: int) -> None:
        core = _core()
        graph = core.read_model(model.SerializeToString())
        self.input_shapes = [_shape(value) for value in graph.inputs]
        self.output_shapes = [_shape(value) for value in graph.outputs]
        shape = graph.inputs[0].get_partial_shape()
        shape[0] = 1
        graph.reshape({graph.inputs[0]: shape})
        compiled = core.compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _PRECISIONS[numerics],
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                # Else the workers would share the first core.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._request = compiled.create_infer_request()
        self._outputs = range(len(compiled.outputs))
        self._lock = threading.Lock()

    def run(self, blob: Float32Array) -> list[Float32Array]:
        """Return the outputs for one input.

        Parameters
        ----------
        blob : ndarray of shape (n, 3, height, width), float32

        Returns
        -------
        list of ndarray, float32
            In the order in which the outputs are declared, with `n` rows each.
        """
        with self._lock:
            rows = [self._run_one(blob[row : row + 1]) for row in range(len(blob))]
        return [np.concatenate(of_output) for of_output in zip(*rows, strict=True)]

    def _run_one(self, blob: Float32Array) -> list[Float32Array]:
        self._request.infer({0: np.ascontiguousarray(blob)}, share_inputs=True)
        # The tensors are overwritten by the next run.
        return [np.array(self._request.get_output_tensor(number).data) for number in self._outputs]


def _shape(value: "Node") -> list[object]:
    """Return a shape as a list, free axes as text."""
    axes = value.get_partial_shape()
    return [axis.get_length() if axis.is_static else str(axis) for axis in axes]


@cache
def _core() -> "Core":
    core: Core = _runtime().Core()
    return core


def _runtime() -> ModuleType:
    """Import OpenVINO such that it sends no message and leaves no file in the home folder.

    Its import counts itself at a web service where its package for that can be imported.
    """
    known = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        import openvino
    finally:
        del sys.modules[_TELEMETRY]
        if known is not None:
            sys.modules[_TELEMETRY] = known
    runtime: ModuleType = openvino
    return runtime
