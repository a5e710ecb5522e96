"""From the pixels of a picture to its faces with their embeddings.

`load_engine` gives an engine that runs insightface's detector and recogniser, or the
deterministic `facesim_index.fake_engine.FakeEngine` when the settings name no weights.
Nothing here downloads or writes anything, and importing it imports no runtime.
"""

import contextlib
import ctypes
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import cv2
import numpy as np

from facesim_index.alignment import ARCFACE_SIDE_PX
from facesim_index.detection import OVERVIEW_PX, Detector
from facesim_index.errors import FacesimError, ModelError, ProviderError, UsageError
from facesim_index.fake_engine import FakeEngine, fake_identity
from facesim_index.insightface_engine import InsightFaceEngine, Recogniser
from facesim_index.models import ModelFiles
from facesim_index.records import Augment, EmbeddedFace, EngineIdentity, UInt8Array

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

#: Raise it whenever a step from the file's bytes to the embedding changes its outcome:
#: decoding, the scales and the merging of detection, alignment, or the recogniser's input.
#: Embeddings of different versions are not compared.
PREPROCESSING_VERSION = 1

#: Every published InsightFace recogniser gives this many numbers.
EMBEDDING_DIMENSION = 512

#: Anchors an input of `OVERVIEW_PX` has at each stride, by SCRFD's number of outputs.
_SCRFD_ANCHORS = {9: (512, 128, 32), 15: (256, 64, 16, 4, 1)}
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

Provider = Literal["auto", "cpu", "cuda"]


class FaceEngine(Protocol):
    """What turns pictures into embedded faces."""

    @property
    def identity(self) -> EngineIdentity:
        """Which computation makes the embeddings."""
        ...

    @property
    def provider(self) -> str:
        """What it really runs on: ``cpu`` or ``cuda``."""
        ...

    def embed_faces(self, rgb: UInt8Array) -> tuple[EmbeddedFace, ...]:
        """Return the faces of a picture of shape (height, width, 3), left to right."""
        ...


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How to load an engine; small, and picklable for worker processes.

    Attributes
    ----------
    model : ModelFiles or None
        None: the fake engine.
    provider : {"auto", "cpu", "cuda"}, default="auto"
        ``auto`` takes CUDA where it really runs.
    min_detection : float, default=0.5
        Faces with a lower detection score are left out; in (0, 1].
    min_face_px : int, default=20
        Faces whose box has a shorter side, in pixels of the full picture, are left out.
    threads : int, default=1
        Threads of one engine.  More workers of one thread each use a processor better.
    augment : {"none", "flip"}, default="none"
        ``flip`` embeds each aligned face and its mirror image, and takes the unit-norm sum:
        other embeddings, of an engine of their own.
    """

    model: ModelFiles | None
    provider: Provider = "auto"
    min_detection: float = 0.5
    min_face_px: int = 20
    threads: int = 1
    augment: Augment = "none"

    def __post_init__(self) -> None:
        if not 0.0 < self.min_detection <= 1.0:
            raise UsageError(f"min_detection must be in (0, 1], not {self.min_detection}")
        if self.min_face_px < 0:
            raise UsageError(f"min_face_px must not be negative, but is {self.min_face_px}")
        if self.threads < 1:
            raise UsageError(f"threads must be at least 1, not {self.threads}")
        if self.provider not in ("auto", "cpu", "cuda"):
            raise UsageError(f"provider must be auto, cpu or cuda, not {self.provider!r}")
        if self.augment not in ("none", "flip"):
            raise UsageError(f"augment must be none or flip, not {self.augment!r}")


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
        return fake_identity(settings.augment)
    return EngineIdentity(
        name=f"{model.detector.stem}+{model.recogniser.stem}",
        detector_sha256=model.detector_sha256,
        recogniser_sha256=model.recogniser_sha256,
        preprocessing=PREPROCESSING_VERSION,
        dimension=EMBEDDING_DIMENSION,
        augment=settings.augment,
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
        CUDA was asked for and does not run here.
    """
    if settings.model is None:
        return FakeEngine(min_face_px=settings.min_face_px, augment=settings.augment)
    if settings.threads == 1:
        cv2.setNumThreads(1)
    provider = probe_provider(settings.provider)
    detector = _load_detector(settings.model.detector, provider, settings.threads)
    recogniser = _load_recogniser(settings.model.recogniser, provider, settings.threads)
    return InsightFaceEngine(
        engine_identity(settings),
        provider,
        detector,
        recogniser,
        min_detection=settings.min_detection,
        min_face_px=settings.min_face_px,
    )


def probe_provider(requested: str) -> str:
    """Decide what an engine runs on, by trying it.

    Parameters
    ----------
    requested : {"auto", "cpu", "cuda"}

    Returns
    -------
    provider : {"cpu", "cuda"}

    Raises
    ------
    ProviderError
        ``cuda`` was requested and does not run here; the message says what to do.
    UsageError
        Anything else was requested.
    """
    if requested not in ("auto", "cpu", "cuda"):
        raise UsageError(f"provider must be auto, cpu or cuda, not {requested!r}")
    if requested == "cpu":
        return "cpu"
    obstacle = _cuda_obstacle()
    if not obstacle:
        return "cuda"
    if requested == "cuda":
        raise ProviderError(f"CUDA cannot run here: {obstacle}  Or choose the provider cpu.")
    return "cpu"


def _load_detector(path: Path, provider: str, threads: int) -> Detector:
    from insightface.model_zoo.scrfd import SCRFD

    with _model_errors(path, "a SCRFD detector with landmarks"):
        session = _session(_with_free_outputs(_read_graph(path)), provider, threads)
        shown = np.zeros((1, 3, OVERVIEW_PX, OVERVIEW_PX), dtype=np.float32)
        outputs = session.run(None, {session.get_inputs()[0].name: shown})
        anchors = _SCRFD_ANCHORS.get(len(outputs), ())
        # Scores of all strides come first, then the boxes, then the landmarks.
        expected = [(rows, width) for width in (1, 4, 10) for rows in anchors]
        if not anchors or [output.shape[-2:] for output in outputs] != expected:
            raise ModelError(
                f"{path} is not a SCRFD detector with landmarks: its outputs have the shapes "
                f"{[output.shape for output in outputs]}; choose another model."
            )
        detector: Detector = SCRFD(str(path), session=session, static_shape_sessions=False)
    return detector


def _load_recogniser(path: Path, provider: str, threads: int) -> Recogniser:
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX

    wanted = [3, ARCFACE_SIDE_PX, ARCFACE_SIDE_PX]
    with _model_errors(path, "an ArcFace recogniser"):
        session = _session(_with_free_outputs(_read_graph(path)), provider, threads)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        shapes = [list(value.shape) for value in [*inputs, *outputs]]
        if len(inputs) != 1 or len(outputs) != 1 or shapes[0][1:] != wanted:
            raise ModelError(
                f"{path} is not a recogniser of 112 x 112 px faces: its inputs and outputs have "
                f"the shapes {shapes}; choose another model."
            )
        faces = np.zeros((2, *wanted), dtype=np.float32)
        embeddings = session.run(None, {inputs[0].name: faces})[0]
        if embeddings.shape != (2, EMBEDDING_DIMENSION):
            raise ModelError(
                f"{path} gives embeddings of the shape {embeddings.shape} for two faces, not "
                f"(2, {EMBEDDING_DIMENSION}); choose another model."
            )
        recogniser: Recogniser = ArcFaceONNX(model_file=str(path), session=session)
    return recogniser


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


def _read_graph(path: Path) -> "ModelProto":
    import onnx

    return onnx.load(str(path))


def _with_free_outputs(model: "ModelProto") -> "ModelProto":
    """Declare only the last axis of each output, and the batch of the input as free.

    Published recognisers declare a batch of one, some detectors the anchors of one input
    size, and both note the same for every inner value.  The runtime then warns at each call
    that the declaration is wrong.
    """
    graph = model.graph
    del graph.value_info[:]
    weights = {weight.name for weight in graph.initializer}
    for value in graph.input:
        if value.name not in weights and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for value in graph.output:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim[:-1]):
            dimension.dim_param = f"{value.name}_{axis}"
    return model


def _session(model: "ModelProto", provider: str, threads: int) -> "InferenceSession":
    import onnxruntime

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


@cache
def _cuda_obstacle() -> str:
    """Say why CUDA does not run in this process; empty when it does."""
    if _cuda_devices() == 0:
        return "the NVIDIA driver is missing or sees no GPU; nvidia-smi should list one."
    # insightface first: it keeps the runtime from writing a telemetry identifier.
    import insightface.model_zoo.onnxruntime_utils as insightface_runtime
    import onnxruntime

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
            session = _session(_probe_graph(), "cuda", 1)
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


def _probe_graph() -> "ModelProto":
    from onnx import TensorProto, helper

    source, target = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")
    )
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = helper.make_graph([node], "probe", [source], [target])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
