"""What an engine is: the protocol, the settings and the names of the providers."""

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from facesim_index.errors import UsageError
from facesim_index.models.resolution import ModelFiles
from facesim_index.pictures.views import Pixels
from facesim_index.records import Augment, EmbeddedFace, EngineIdentity, Numerics, UInt8Array

#: Raise it whenever a step from the file's bytes to the embedding changes its outcome:
#: decoding, the scales and the merging of detection, alignment, or the recogniser's input.
#: Embeddings of different versions are not compared.
PREPROCESSING_VERSION = 3


#: Every published InsightFace recogniser gives this many numbers.
EMBEDDING_DIMENSION = 512


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
        check_provider(self.provider)
        if self.augment not in ("none", "flip"):
            raise UsageError(f"augment must be none or flip, not {self.augment!r}")
        if self.numerics not in ("fp32", "bf16"):
            raise UsageError(f"numerics must be fp32 or bf16, not {self.numerics!r}")


def check_provider(provider: str) -> None:
    """Refuse a provider of any other name with a `UsageError`."""
    if provider not in _PROVIDERS:
        raise UsageError(f"provider must be {', '.join(_PROVIDERS)}, not {provider!r}")
