"""From the pixels of a picture to its faces with their embeddings.

`load_engine` gives an engine that runs insightface's detector and recogniser, or the
deterministic `facesim_index.engine.fake.FakeEngine` when the settings name no weights.
Nothing here downloads or writes anything, and importing it imports no runtime.
"""

import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import cv2
import numpy as np

from facesim_index.engine.alignment import ARCFACE_SIDE_PX
from facesim_index.engine.arcface import ArcFace
from facesim_index.engine.detection import OVERVIEW_PX
from facesim_index.engine.face_engine import InsightFaceEngine
from facesim_index.engine.fake import FakeEngine, fake_identity
from facesim_index.engine.runtimes.onnx_graph import (
    probe_graph,
    read_graph,
    recogniser_scaling,
    with_free_outputs,
    with_quick_prelu,
)
from facesim_index.engine.runtimes.openvino_network import OpenVinoNetwork, openvino_obstacle
from facesim_index.engine.scrfd import LAYOUTS, Scrfd
from facesim_index.errors import FacesimError, ModelError, ProviderError, UsageError
from facesim_index.models.resolution import ModelFiles
from facesim_index.pictures.views import Pixels
from facesim_index.records import (
    Augment,
    EmbeddedFace,
    EngineIdentity,
    Float32Array,
    Numerics,
    UInt8Array,
)

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

#: Raise it whenever a step from the file's bytes to the embedding changes its outcome:
#: decoding, the scales and the merging of detection, alignment, or the recogniser's input.
#: Embeddings of different versions are not compared.
PREPROCESSING_VERSION = 3

#: Every published InsightFace recogniser gives this many numbers.
EMBEDDING_DIMENSION = 512

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

Provider = Literal["auto", "cpu", "cuda", "openvino"]

_PROVIDERS = get_args(Provider)


class FaceEngine(Protocol):
    """What turns pictures into embedded faces."""

    @property
    def identity(self) -> EngineIdentity:
        """Which computation makes the embeddings."""
        ...

    @property
    def provider(self) -> str:
        """What it really runs on: ``cpu``, ``cuda`` or ``openvino``."""
        ...

    def embed_faces(self, rgb: UInt8Array) -> tuple[EmbeddedFace, ...]:
        """Return the faces of a picture of shape (height, width, 3), left to right."""
        ...

    def embed_picture(self, pixels: Pixels) -> tuple[EmbeddedFace, ...]:
        """Return the faces of a picture that is decoded as far as needed, left to right."""
        ...


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How to load an engine; small, and picklable for worker processes.

    Attributes
    ----------
    model : ModelFiles or None
        None: the fake engine.
    provider : {"auto", "cpu", "cuda", "openvino"}, default="auto"
        ``auto`` takes CUDA where it really runs, and what can compute in the `numerics`.
        ``openvino`` runs the recogniser; detection stays on the CPU's own runtime.
    min_detection : float, default=0.5
        Faces with a lower detection score are left out; in (0, 1].
    min_face_px : int, default=20
        Faces whose box has a shorter side, in pixels of the full picture, are left out.
    threads : int, default=1
        Threads of one engine.  More workers of one thread each use a processor better.
    augment : {"none", "flip"}, default="none"
        ``flip`` embeds each aligned face and its mirror image, and takes the unit-norm sum:
        other embeddings, of an engine of their own.
    numerics : {"fp32", "bf16"}, default="fp32"
        ``bf16``: the recogniser computes in bfloat16, on ``openvino`` and a processor that can, in
        three fifths of the time; other embeddings too.
    """

    model: ModelFiles | None
    provider: Provider = "auto"
    min_detection: float = 0.5
    min_face_px: int = 20
    threads: int = 1
    augment: Augment = "none"
    numerics: Numerics = "fp32"

    def __post_init__(self) -> None:
        if not 0.0 < self.min_detection <= 1.0:
            raise UsageError(f"min_detection must be in (0, 1], not {self.min_detection}")
        if self.min_face_px < 0:
            raise UsageError(f"min_face_px must not be negative, but is {self.min_face_px}")
        if self.threads < 1:
            raise UsageError(f"threads must be at least 1, not {self.threads}")
        _check_provider(self.provider)
        if self.augment not in ("none", "flip"):
            raise UsageError(f"augment must be none or flip, not {self.augment!r}")
        if self.numerics not in ("fp32", "bf16"):
            raise UsageError(f"numerics must be fp32 or bf16, not {self.numerics!r}")


def engine_identity(settings: EngineSettings) -> EngineIdentity:
    """Return the identity of the engine that the settings name, without loading it.

    Parameters
    ----------
    settings : EngineSettings

    Returns
    -------
    EngineIdentity
    """
    model = settings.model
    if model is None:
        return fake_identity(settings.augment, settings.numerics)
    return EngineIdentity(
        name=f"{model.detector.stem}+{model.recogniser.stem}",
        detector_sha256=model.detector_sha256,
        recogniser_sha256=model.recogniser_sha256,
        preprocessing=PREPROCESSING_VERSION,
        dimension=EMBEDDING_DIMENSION,
        augment=settings.augment,
        numerics=settings.numerics,
    )


def load_engine(settings: EngineSettings) -> FaceEngine:
    """Load the engine that the settings name.

    With one thread, OpenCV is told so too, for the whole process.

    Parameters
    ----------
    settings : EngineSettings

    Returns
    -------
    FaceEngine

    Raises
    ------
    ModelError
        A file cannot be loaded, or is not a detector with landmarks, or not a recogniser.
    ProviderError
        The provider or the numerics asked for do not run here.
    """
    if settings.model is None:
        return FakeEngine(settings.min_face_px, settings.augment, settings.numerics)
    detector, recogniser, provider = load_networks(settings)
    return InsightFaceEngine(
        engine_identity(settings),
        provider,
        detector,
        recogniser,
        min_detection=settings.min_detection,
        min_face_px=settings.min_face_px,
    )


def probe_provider(requested: str, numerics: Numerics = "fp32") -> Provider:
    """Decide what an engine runs on, by trying it.

    Parameters
    ----------
    requested : {"auto", "cpu", "cuda", "openvino"}
    numerics : {"fp32", "bf16"}, default="fp32"

    Returns
    -------
    provider : {"cpu", "cuda", "openvino"}

    Raises
    ------
    ProviderError
        What was requested does not run here; the message says what to do.
    UsageError
        Anything else was requested.
    """
    _check_provider(requested)
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


def load_networks(settings: EngineSettings) -> tuple[Scrfd, ArcFace, str]:
    """Load the detector and the recogniser of a model, and say what they run on.

    With one thread, OpenCV is told so too, for the whole process.

    Parameters
    ----------
    settings : EngineSettings

    Returns
    -------
    detector : Scrfd
    recogniser : ArcFace
    provider : str

    Raises
    ------
    ModelError, ProviderError
        As for `load_engine`.
    UsageError
        The settings name no model.
    """
    if settings.model is None:
        raise UsageError("the fake engine has no networks; name a model")
    if settings.threads == 1:
        cv2.setNumThreads(1)
    provider = probe_provider(settings.provider, settings.numerics)
    model, threads = settings.model, settings.threads
    detector = _load_detector(model.detector, model.detector_sha256, provider, threads)
    recogniser = _load_recogniser(model, provider, threads, settings.numerics)
    return detector, recogniser, provider


def _check_provider(provider: str) -> None:
    if provider not in _PROVIDERS:
        raise UsageError(f"provider must be {', '.join(_PROVIDERS)}, not {provider!r}")


def _load_detector(path: Path, sha256: str, provider: str, threads: int) -> Scrfd:
    with _model_errors(path, "a SCRFD detector with landmarks"):
        network = _network(with_free_outputs(read_graph(path, sha256)), provider, threads)
        outputs = network.run(np.zeros((1, 3, OVERVIEW_PX, OVERVIEW_PX), dtype=np.float32))
        per_place, strides = LAYOUTS.get(len(outputs), (0, ()))
        # Scores of all strides come first, then the boxes, then the landmarks.
        anchors = [per_place * (OVERVIEW_PX // stride) ** 2 for stride in strides]
        expected = [(rows, width) for width in (1, 4, 10) for rows in anchors]
        if not anchors or [output.shape[-2:] for output in outputs] != expected:
            raise ModelError(
                f"{path} is not a SCRFD detector with landmarks: its outputs have the shapes "
                f"{[output.shape for output in outputs]}; choose another model."
            )
    return Scrfd(network)


def _load_recogniser(
    files: ModelFiles, provider: str, threads: int, numerics: Numerics = "fp32"
) -> ArcFace:
    path = files.recogniser
    wanted = [3, ARCFACE_SIDE_PX, ARCFACE_SIDE_PX]
    with _model_errors(path, "an ArcFace recogniser"):
        model = read_graph(path, files.recogniser_sha256)
        mean, divisor = recogniser_scaling(model)
        graph = with_quick_prelu(with_free_outputs(model))
        network: _RuntimeNetwork | OpenVinoNetwork
        if provider == "openvino":
            network = OpenVinoNetwork(graph, numerics, threads)
        else:
            network = _network(graph, provider, threads)
        inputs, outputs = network.input_shapes, network.output_shapes
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0][1:] != wanted:
            raise ModelError(
                f"{path} is not a recogniser of 112 x 112 px faces: its inputs and outputs have "
                f"the shapes {[*inputs, *outputs]}; choose another model."
            )
        embeddings = network.run(np.zeros((2, *wanted), dtype=np.float32))[0]
        if embeddings.shape != (2, EMBEDDING_DIMENSION):
            raise ModelError(
                f"{path} gives embeddings of the shape {embeddings.shape} for two faces, not "
                f"(2, {EMBEDDING_DIMENSION}); choose another model."
            )
    return ArcFace(network, input_mean=mean, input_std=divisor)


class _RuntimeNetwork:
    """A network in an ONNX Runtime session."""

    def __init__(self, session: "InferenceSession") -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    @property
    def input_shapes(self) -> list[list[object]]:
        """As the graph declares them; free axes by name."""
        return [list(value.shape) for value in self._session.get_inputs()]

    @property
    def output_shapes(self) -> list[list[object]]:
        """As the graph declares them; free axes by name."""
        return [list(value.shape) for value in self._session.get_outputs()]

    def run(self, blob: Float32Array) -> list[Float32Array]:
        """Return the outputs for one input."""
        outputs: list[Float32Array] = self._session.run(None, {self._input: blob})
        return outputs


def _network(model: "ModelProto", provider: str, threads: int) -> _RuntimeNetwork:
    return _RuntimeNetwork(_session(model, provider, threads))


@contextlib.contextmanager
def _model_errors(path: Path, wanted: str) -> Iterator[None]:
    """Name the file in whatever the ONNX libraries raise; their classes share no base."""
    try:
        yield
    except (FacesimError, MemoryError):
        raise
    except Exception as error:
        raise ModelError(
            f"{path} cannot be loaded as {wanted}: {error}; check it with: facesim models verify"
        ) from error


def _session(model: "ModelProto", provider: str, threads: int) -> "InferenceSession":
    onnxruntime = _runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Plans kept for every batch size cost 15 MB and gain nothing.  The arena is worth its
    # memory, and bounded, because few input sizes ever occur.
    options.enable_mem_pattern = False
    # TensorFloat-32 keeps three digits: too few to compare with embeddings made on a CPU.
    wanted = [(_CUDA, {"use_tf32": "0"}), _CPU] if provider == "cuda" else [_CPU]
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), sess_options=options, providers=wanted
    )
    session.disable_fallback()
    if provider == "cuda" and session.get_providers()[0] != _CUDA:
        raise ProviderError("CUDA ran a moment ago and refuses now; see nvidia-smi.")
    return session


def _runtime() -> ModuleType:
    """Import ONNX Runtime such that it writes no telemetry identifier."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # It is read when the runtime is first imported.
    import onnxruntime

    runtime: ModuleType = onnxruntime
    return runtime


@cache
def _cuda_obstacle() -> str:
    """Say why CUDA does not run in this process; empty when it does."""
    if _cuda_devices() == 0:
        return "the NVIDIA driver is missing or sees no GPU; nvidia-smi should list one."
    onnxruntime = _runtime()
    import insightface.model_zoo.onnxruntime_utils as insightface_runtime

    if _CUDA not in onnxruntime.get_available_providers():
        return (
            "this onnxruntime is built without it; uninstall onnxruntime, then install "
            "onnxruntime-gpu."
        )
    said = io.StringIO()
    # The runtime reports a missing library on stderr and goes on; the probe answers instead.
    onnxruntime.set_default_logger_severity(4)
    try:
        with contextlib.redirect_stdout(said):
            insightface_runtime.preload_cuda_libraries([_CUDA])
            session = _session(probe_graph(), "cuda", 1)
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


def _cuda_devices() -> int:
    """Ask the driver itself for the number of GPUs: unlike the runtime it prints nothing."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value
