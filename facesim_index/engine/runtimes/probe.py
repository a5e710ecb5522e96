"""Finding out by trial what an engine can run on in this process."""

import contextlib
import ctypes
import io
import sys
from dataclasses import dataclass
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
        ``auto`` takes the CPU, and OpenVINO only for ``bf16``: one picture is embedded sooner than
        a card is ready, and for many pictures a card is used where somebody asks for it.
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
    if requested != "cuda":
        return "cpu"
    if obstacle := _cuda_obstacle():
        raise ProviderError(f"CUDA cannot run here: {obstacle}  Or choose the provider cpu.")
    return "cuda"


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


@dataclass(frozen=True, slots=True)
class CardReport:
    """What there is of a card, and of what it takes to use it.

    Attributes
    ----------
    cards : tuple of str
        Names of the cards that the driver shows; empty without a driver.
    driver : str
        The newest CUDA that the driver runs, as ``13.0``; empty without one.
    obstacle : str
        Why CUDA does not run; empty where it does, and where there is no card.
    missing : tuple of str
        Files of libraries that were looked for in vain.
    """

    cards: tuple[str, ...]
    driver: str
    obstacle: str
    missing: tuple[str, ...]


def card_report() -> CardReport:
    """Look for cards and for the libraries that they need.

    Returns
    -------
    CardReport
    """
    names = _card_names()
    if not names:
        return CardReport((), "", "", ())
    obstacle = _cuda_obstacle()
    version = ctypes.c_int(0)
    _driver().cuDriverGetVersion(ctypes.byref(version))
    major, minor = version.value // 1000, version.value % 1000 // 10
    return CardReport(names, f"{major}.{minor}", obstacle, _missing_libraries() if obstacle else ())


def imported_runtime() -> str:
    """Return the name of the distribution whose ONNX Runtime is imported.

    Where two are installed they overwrite each other's files, and only this tells which is there.

    Returns
    -------
    str
        As ``onnxruntime-gpu``.

    Examples
    --------
    >>> imported_runtime().startswith("onnxruntime")
    True
    """
    import_runtime()
    from onnxruntime.capi import build_and_package_info

    return str(build_and_package_info.package_name)


def _missing_libraries() -> tuple[str, ...]:
    """Return the libraries of CUDA and cuDNN that cannot be loaded, after the runtime's search."""
    if sys.platform == "win32":
        return ()
    import_runtime()
    from onnxruntime.capi import build_and_package_info

    major = str(getattr(build_and_package_info, "cuda_version", "")).partition(".")[0]
    fft = {"12": "11", "13": "12"}.get(major, "")
    wanted = [f"lib{name}.so.{major}" for name in ("cudart", "cublas", "cublasLt")]
    wanted += ["libcurand.so.10", f"libcufft.so.{fft}", "libcudnn.so.9"]
    return tuple(name for name in wanted if not _can_load(name))


def _can_load(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


def _card_names() -> tuple[str, ...]:
    names = []
    for number in range(cuda_devices()):
        name = ctypes.create_string_buffer(256)
        _driver().cuDeviceGetName(name, len(name), number)
        names.append(name.value.decode("utf-8", "replace"))
    return tuple(names)


def cuda_devices() -> int:
    """Ask the driver itself for the number of GPUs: unlike the runtime it prints nothing.

    Returns
    -------
    int
        Of those that ``CUDA_VISIBLE_DEVICES`` shows.
    """
    try:
        driver = _driver()
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value
