"""Finding out by trial what an engine can run on in this process."""

import contextlib
import ctypes
import io
import sys
from functools import cache

import numpy as np

from facesim_index.engine.base import Provider, check_provider
from facesim_index.engine.runtimes.onnx_graph import probe_graph
from facesim_index.engine.runtimes.onnxruntime_network import CUDA, import_runtime, open_session
from facesim_index.engine.runtimes.openvino_network import openvino_obstacle
from facesim_index.errors import ProviderError
from facesim_index.records import Numerics


def probe_provider(requested: str, numerics: Numerics = "fp32") -> Provider:
    """Decide what an engine runs on, by trying it.

    Parameters
    ----------
    requested : {"auto", "cpu", "cuda", "openvino"}
        ``auto`` prefers CUDA, and takes OpenVINO only for ``bf16``.
    numerics : {"fp32", "bf16"}, default="fp32"
        What the recogniser shall compute in.

    Returns
    -------
    provider : {"cpu", "cuda", "openvino"}

    Raises
    ------
    ProviderError
        What was requested does not run here; the message says what to do.
    UsageError
        There is no provider of the name.

    Examples
    --------
    >>> probe_provider("cpu")
    'cpu'
    """
    check_provider(requested)
    if numerics == "bf16" and requested in ("cpu", "cuda"):
        raise ProviderError(
            f"The provider {requested} does not compute in bf16; choose the provider openvino."
        )
    if numerics == "bf16" or requested == "openvino":
        if missing := openvino_obstacle(numerics):
            raise ProviderError(
                f"{'An engine of bf16' if numerics == 'bf16' else 'OpenVINO'} cannot run here: "
                f"{missing}."
            )
        return "openvino"
    if requested == "cpu":
        return "cpu"
    obstacle = _cuda_obstacle()
    if not obstacle:
        return "cuda"
    if requested == "cuda":
        raise ProviderError(f"CUDA cannot run here: {obstacle}  Or choose the provider cpu.")
    return "cpu"


def require_cuda_parts() -> None:
    """Refuse to go on where CUDA surely does not run, without trying it.

    For a process that lets others compute: it needs neither the libraries nor the memory.

    Raises
    ------
    ProviderError
        There is no card, or no runtime that can use one.
    """
    if missing := _missing_part():
        raise ProviderError(f"CUDA cannot run here: {missing}  Or choose the provider cpu.")


def _missing_part() -> str:
    if cuda_devices() == 0:
        return "the NVIDIA driver is missing or sees no GPU; nvidia-smi should list one."
    if CUDA not in import_runtime().get_available_providers():
        return (
            "this onnxruntime is built without it; uninstall onnxruntime, then install "
            "onnxruntime-gpu."
        )
    return ""


@cache
def _cuda_obstacle() -> str:
    """Say why CUDA does not run in this process; empty when it does."""
    if missing := _missing_part():
        return missing
    onnxruntime = import_runtime()
    import insightface.model_zoo.onnxruntime_utils as insightface_runtime

    said = io.StringIO()
    # The runtime reports a missing library on stderr and goes on; the probe answers instead.
    onnxruntime.set_default_logger_severity(4)
    try:
        with contextlib.redirect_stdout(said):
            insightface_runtime.preload_cuda_libraries([CUDA])
            session = open_session(probe_graph(), "cuda", 1)
            session.run(None, {"x": np.zeros(1, dtype=np.float32)})
    except Exception as error:
        said.write(f" {error}")
    else:
        return ""
    finally:
        onnxruntime.set_default_logger_severity(2)
    return (
        "there is a GPU, but onnxruntime cannot use it; install the CUDA and cuDNN libraries "
        f"that this onnxruntime-gpu was built for. ({' '.join(said.getvalue().split())})"
    )


def cuda_devices() -> int:
    """Ask the driver itself for the number of GPUs: unlike the runtime it prints nothing.

    Returns
    -------
    int
        Of those that ``CUDA_VISIBLE_DEVICES`` shows.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value
