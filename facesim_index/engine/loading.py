"""Engines of weights in files: from a model's name to an engine that is ready to run.

Nothing here downloads or writes anything, and importing it imports no runtime.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from facesim_index.engine import families
from facesim_index.engine.base import (
    PREPROCESSING_VERSION,
    EngineSource,
    FaceEngine,
    Provider,
    SharedEngine,
)
from facesim_index.engine.card.messages import can_share
from facesim_index.engine.card.networks import NetworkFiles, can_batch
from facesim_index.engine.card.served import serve
from facesim_index.engine.detection import Detector
from facesim_index.engine.face_engine import InsightFaceEngine, Recogniser
from facesim_index.engine.runtimes.network import open_network
from facesim_index.engine.runtimes.onnx_graph import UnfitGraphError, declared_shapes, read_graph
from facesim_index.engine.runtimes.probe import cuda_devices, probe_provider, require_cuda_parts
from facesim_index.errors import FacesimError, ModelError
from facesim_index.models.pack import ModelFiles
from facesim_index.models.resolution import pack_name, resolve
from facesim_index.records import Augment, EngineIdentity, Numerics

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineSettings(EngineSource):
    """How to load an engine of weights in files; picklable for worker processes.

    Attributes
    ----------
    model : ModelFiles
        The checked files of a detector and a recogniser.
    provider, min_detection, min_face_px, threads, augment, numerics
        As for `facesim_index.engine.base.EngineSource`; given by name.

    Raises
    ------
    UsageError
        A setting is out of its range.

    Examples
    --------
    >>> settings = EngineSettings(resolve(), provider="cpu", min_face_px=40)
    >>> settings.identity.name
    'scrfd_500m_bnkps+w600k_mbf'
    """

    model: ModelFiles

    @property
    def identity(self) -> EngineIdentity:
        """The identity that the loaded engine will have, known without loading it."""
        model = self.model
        return EngineIdentity(
            name=f"{model.detector.stem}+{model.recogniser.stem}",
            detector_sha256=model.detector_sha256,
            recogniser_sha256=model.recogniser_sha256,
            preprocessing=PREPROCESSING_VERSION,
            dimension=families.embedding_dimension(model.recogniser, model.recogniser_sha256),
            augment=self.augment,
            numerics=self.numerics,
        )

    @property
    def weights_name(self) -> str:
        """The folder of the weights."""
        return str(self.model.detector.parent)

    def running_provider(self) -> Provider:
        """Find out what the networks will run on, once for all workers, by trying it.

        Returns
        -------
        provider : {"cpu", "cuda", "openvino"}

        Raises
        ------
        ProviderError
            The provider or the numerics asked for do not run here.
        """
        if self._is_served:
            require_cuda_parts()  # The processes of the cards try the rest.
            provider = self.provider
        else:
            provider = probe_provider(self.provider, self.numerics)
        logger.info("the networks run on: %s", provider)
        return provider

    @property
    def _is_served(self) -> bool:
        """Whether the workers of a run share the processes of the cards."""
        return self.provider == "cuda" and self.numerics == "fp32" and can_share()

    @contextlib.contextmanager
    def shared(self) -> Iterator[SharedEngine]:
        """Start a process for each card, which computes for all workers of one run.

        Only with the provider ``cuda``, and with models of families that it computes in batches;
        otherwise each worker has an engine of its own.

        Yields
        ------
        SharedEngine

        Raises
        ------
        ModelError, ProviderError, PipelineError
            The processes cannot be started.
        """
        if not self._is_served or not can_batch(network_files(self, 0)):
            yield SharedEngine(self)
            return
        with serve(self, [network_files(self, device) for device in range(cuda_devices())]) as one:
            yield one

    def load(self) -> FaceEngine:
        """Load the engine into this process.

        With one thread, OpenCV is told so too, for the whole process.

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
        detector, recogniser, provider = load_networks(self)
        return InsightFaceEngine(
            self.identity,
            provider,
            detector,
            recogniser,
            min_detection=self.min_detection,
            min_face_px=self.min_face_px,
        )


def network_files(settings: EngineSettings, device: int) -> NetworkFiles:
    """Return what the process of a card loads.

    Parameters
    ----------
    settings : EngineSettings
        Their provider is what runs.
    device : int
        Number of the card, from 0.

    Returns
    -------
    NetworkFiles
    """
    model = settings.model
    return NetworkFiles(
        detector=model.detector,
        detector_sha256=model.detector_sha256,
        recogniser=model.recogniser,
        recogniser_sha256=model.recogniser_sha256,
        provider=settings.provider,
        device=device,
    )


def settings_for(
    model: str | Path | None,
    provider: Provider,
    augment: Augment = "none",
    numerics: Numerics = "fp32",
) -> tuple[EngineSettings, str]:
    """Return the settings of a model's engine, and the name its weights are found by again.

    Parameters
    ----------
    model : str, Path or None
        A pack's name, or a folder of ONNX files; None for the default model.
    provider : {"auto", "cpu", "cuda", "openvino"}
    augment : {"none", "flip"}, default="none"
    numerics : {"fp32", "bf16"}, default="fp32"

    Returns
    -------
    settings : EngineSettings
    name : str
        The pack's name, or the absolute path of the folder.

    Raises
    ------
    ModelError
        There is no such model, or it is damaged.

    Examples
    --------
    >>> settings_for("mbf-500m", "cpu")[1]
    'mbf-500m'
    """
    files = resolve(model)
    is_folder = model is not None and pack_name(model) is None
    name = str(Path(model).expanduser().resolve()) if is_folder and model else files.name
    settings = EngineSettings(files, provider=provider, augment=augment, numerics=numerics)
    return settings, name


def load_networks(settings: EngineSettings) -> tuple[Detector, Recogniser, Provider]:
    """Load the detector and the recogniser of a model, and say what they run on.

    With one thread, OpenCV is told so too, for the whole process.

    Parameters
    ----------
    settings : EngineSettings

    Returns
    -------
    detector : Detector
    recogniser : Recogniser
    provider : {"cpu", "cuda", "openvino"}

    Raises
    ------
    ModelError, ProviderError
        As for `EngineSettings.load`.
    """
    if settings.threads == 1:
        cv2.setNumThreads(1)
    provider = probe_provider(settings.provider, settings.numerics)
    detector = _load_detector(settings, provider)
    return detector, _load_recogniser(settings, provider), provider


def _load_detector(settings: EngineSettings, provider: Provider) -> Detector:
    path = settings.model.detector
    with _model_errors(path, families.DETECTOR_FAMILIES):
        graph = read_graph(path, settings.model.detector_sha256)
        family = families.detector_family(declared_shapes(graph))
        # Detection stays on the CPU's own runtime, which is the faster one in single precision.
        place: Provider = "cpu" if provider == "openvino" else provider
        return family.build(
            graph, lambda ready: open_network(ready, place, threads=settings.threads)
        )


def _load_recogniser(settings: EngineSettings, provider: Provider) -> Recogniser:
    path = settings.model.recogniser
    with _model_errors(path, families.RECOGNISER_FAMILIES):
        graph = read_graph(path, settings.model.recogniser_sha256)
        family = families.recogniser_family(declared_shapes(graph))
        return family.build(
            graph,
            lambda ready: open_network(
                ready, provider, threads=settings.threads, numerics=settings.numerics
            ),
        )


@contextlib.contextmanager
def _model_errors(path: Path, wanted: Sequence[families.Family[object]]) -> Iterator[None]:
    """Name the file in whatever the ONNX libraries raise; their classes share no base."""
    titles = " or ".join(family.title for family in wanted)
    try:
        yield
    except (FacesimError, MemoryError):
        raise
    except UnfitGraphError as error:
        raise ModelError(f"{path} {error}; choose another model.") from None
    except Exception as error:
        raise ModelError(
            f"{path} cannot be loaded as {titles}: {error}; check it with: facesim models verify"
        ) from error
