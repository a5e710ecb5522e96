"""From the pixels of a picture to its faces with their embeddings.

`load_engine` gives an engine that runs insightface's detector and recogniser, or the
deterministic `facesim_index.engine.fake.FakeEngine` when the settings name no weights.
Nothing here downloads or writes anything, and importing it imports no runtime.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from facesim_index.engine.alignment import ARCFACE_SIDE_PX
from facesim_index.engine.arcface import ArcFace
from facesim_index.engine.base import (
    EMBEDDING_DIMENSION,
    PREPROCESSING_VERSION,
    EngineSettings,
    FaceEngine,
)
from facesim_index.engine.detection import OVERVIEW_PX
from facesim_index.engine.face_engine import InsightFaceEngine
from facesim_index.engine.fake import FakeEngine, fake_identity
from facesim_index.engine.runtimes.onnx_graph import (
    read_graph,
    recogniser_scaling,
    with_free_outputs,
    with_quick_prelu,
)
from facesim_index.engine.runtimes.onnxruntime_network import OnnxRuntimeNetwork, load_network
from facesim_index.engine.runtimes.openvino_network import OpenVinoNetwork
from facesim_index.engine.runtimes.probe import probe_provider
from facesim_index.engine.scrfd import LAYOUTS, Scrfd
from facesim_index.errors import FacesimError, ModelError, UsageError
from facesim_index.models.resolution import ModelFiles
from facesim_index.records import EngineIdentity, Numerics


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


def _load_detector(path: Path, sha256: str, provider: str, threads: int) -> Scrfd:
    with _model_errors(path, "a SCRFD detector with landmarks"):
        network = load_network(with_free_outputs(read_graph(path, sha256)), provider, threads)
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
        network: OnnxRuntimeNetwork | OpenVinoNetwork
        if provider == "openvino":
            network = OpenVinoNetwork(graph, numerics, threads)
        else:
            network = load_network(graph, provider, threads)
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
