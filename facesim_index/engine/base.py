"""What an engine is: from pictures to embedded faces, and where such an engine comes from.

Three seams stand here, each with more than one implementation:

- `FaceEngine` turns pictures into embedded faces;
- `EngineSource` names an engine without loading it, and can be sent to worker processes, each of
  which loads its own;
- `PictureReader` hashes files, and reads them with an engine, wherever that runs.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from facesim_index.errors import UsageError
from facesim_index.pictures.views import Pixels
from facesim_index.records import (
    Augment,
    EmbeddedFace,
    EngineIdentity,
    Failure,
    Numerics,
    PictureReading,
)
from facesim_index.workers.pool import ItemFailed

#: Raise it whenever a step from the file's bytes to the embedding changes its outcome:
#: decoding, the scales and the merging of detection, alignment, or the recogniser's input.
#: Embeddings of different versions are not compared.
PREPROCESSING_VERSION = 3


MOST_FACE_PX = 100_000

Provider = Literal["auto", "cpu", "cuda", "openvino"]


_PROVIDERS = get_args(Provider)


class FaceEngine(Protocol):
    """What turns pictures into embedded faces."""

    @property
    def identity(self) -> EngineIdentity:
        """Which computation makes the embeddings; those of different ones are not compared."""
        ...

    @property
    def provider(self) -> str:
        """What it really runs on: ``cpu``, ``cuda`` or ``openvino``."""
        ...

    def embed_pictures(self, pictures: Sequence[Pixels]) -> list[tuple[EmbeddedFace, ...]]:
        """Find, align and embed the faces of pictures.

        What is found in a picture does not depend on the pictures beside it.  The first picture
        that fails ends the call: give pictures one by one where the others are wanted.

        Parameters
        ----------
        pictures : sequence of Pixels
            Upright pictures, decoded no further than is needed; it may be empty.

        Returns
        -------
        list of tuple of EmbeddedFace
            One tuple for each picture, in the order given.  Its faces go from left to right: by
            ``box.x``, then by ``box.y``, in pixels of the whole picture.

        Raises
        ------
        PictureError
            A picture turned out to be damaged when it was decoded.
        ModelError
            The recogniser gave an embedding that is zero or not finite.
        MemoryError
            There is not enough memory for a picture.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSource(ABC):
    """What an engine is loaded from: its settings, small enough to be sent to other processes.

    `facesim_index.engine.loading.EngineSettings` is the one for weights in files.  A subclass must
    be a frozen dataclass that can be pickled.

    Attributes
    ----------
    provider : {"auto", "cpu", "cuda", "openvino"}, default="auto"
        ``auto`` takes the CPU, and ``openvino`` where the `numerics` need it.  ``cuda`` needs an
        NVIDIA card: an ingest then decodes on the cores and computes on the card, in batches.
        ``openvino`` runs the recogniser; detection stays on the CPU's own runtime.
    min_detection : float, default=0.5
        Faces with a lower detection score are left out; in (0, 1].
    min_face_px : int, default=20
        Faces whose box has a shorter side, in pixels of the full picture, are left out; at
        least 0 and at most 100,000.
    threads : int, default=1
        Threads of one engine, at least 1.  More workers of one thread each use a processor better.
    augment : {"none", "flip"}, default="none"
        ``flip`` embeds each aligned face and its mirror image, and takes the unit-norm sum.
        The embeddings differ, so such an engine has an identity of its own.
    numerics : {"fp32", "bf16"}, default="fp32"
        With ``bf16`` the recogniser computes in bfloat16, on ``openvino`` and a processor that can,
        in three fifths of the time.  Such an engine has an identity of its own, too.

    Raises
    ------
    UsageError
        A setting is out of its range.

    Examples
    --------
    >>> import dataclasses
    >>> from facesim_index.engine.fake import FakeEngineSettings
    >>> source = FakeEngineSettings(augment="flip")
    >>> source.identity.augment, source.weights_name
    ('flip', 'fake')
    >>> dataclasses.replace(source, augment="none").load().identity.augment
    'none'
    """

    provider: Provider = "auto"
    min_detection: float = 0.5
    min_face_px: int = 20
    threads: int = 1
    augment: Augment = "none"
    numerics: Numerics = "fp32"

    def __post_init__(self) -> None:
        """Refuse settings that are out of range."""
        if not 0.0 < self.min_detection <= 1.0:
            raise UsageError(f"min_detection must be in (0, 1], not {self.min_detection}")
        if not 0 <= self.min_face_px <= MOST_FACE_PX:
            raise UsageError(
                f"min_face_px must be from 0 to {MOST_FACE_PX:,}, not {self.min_face_px}"
            )
        if self.threads < 1:
            raise UsageError(f"threads must be at least 1, not {self.threads}")
        check_provider(self.provider)
        if self.augment not in ("none", "flip"):
            raise UsageError(f"augment must be none or flip, not {self.augment!r}")
        if self.numerics not in ("fp32", "bf16"):
            raise UsageError(f"numerics must be fp32 or bf16, not {self.numerics!r}")

    @property
    @abstractmethod
    def identity(self) -> EngineIdentity:
        """The identity that the loaded engine will have, known without loading it."""

    @property
    @abstractmethod
    def weights_name(self) -> str:
        """The name under which an index finds the weights again."""

    @abstractmethod
    def running_provider(self) -> Provider:
        """Find out what the engine will run on, once for all workers, by trying it.

        Returns
        -------
        provider : {"cpu", "cuda", "openvino"}

        Raises
        ------
        ProviderError
            The provider or the numerics asked for do not run here.
        """

    @contextlib.contextmanager
    def shared(self) -> "Iterator[SharedEngine]":
        """Start what the workers of one run share, and end it afterwards.

        By default that is nothing: each worker has a whole engine of its own.

        Yields
        ------
        SharedEngine

        Raises
        ------
        ModelError, ProviderError, PipelineError
            It cannot be started.
        """
        yield SharedEngine(self)

    @abstractmethod
    def load(self) -> FaceEngine:
        """Load the engine into this process.

        Returns
        -------
        FaceEngine

        Raises
        ------
        ModelError
            A file cannot be loaded, or is not the model that it should be.
        ProviderError
            The provider or the numerics asked for do not run here.
        """


def _nothing_failed() -> None:
    pass


@dataclass(frozen=True, slots=True)
class SharedEngine:
    """What the workers of one run load their engines from.

    Attributes
    ----------
    source : EngineSource
        Sent to each worker.
    workers_a_core : int, default=1
        How many workers keep a core busy; more than one where they wait for something else.
    pictures_a_task : int, default=1
        How many pictures a worker is given at a time, because its engine is quicker with several.
    check : callable
        Raises what made it impossible to go on.
    """

    source: EngineSource
    workers_a_core: int = 1
    pictures_a_task: int = 1
    check: Callable[[], None] = _nothing_failed


class PictureReader(Protocol):
    """What reads picture files: to their hashes, and to their embedded faces."""

    def hash_files(
        self, groups: Iterable[Sequence[Path] | None]
    ) -> Generator[list[bytes | Failure] | None, None, None]:
        """Hash files, some ahead of the one who takes the hashes.

        Parameters
        ----------
        groups : iterable of sequence of Path, or None
            Files that are hashed together.  None says that there are none for now.

        Yields
        ------
        list of bytes or Failure, or None
            The `facesim_index.pictures.files.content_hash` of each file of a group, or why there is
            none, in the order of the groups.  None comes once a second while there is nothing.

        Raises
        ------
        PipelineError
            Files cannot be hashed here at all, or too many in a row took too long.
        """
        ...

    def read(
        self, paths: Iterable[Path | None], should_stop: Callable[[], bool]
    ) -> Iterator[PictureReading | Failure | ItemFailed]:
        """Read pictures.

        Parameters
        ----------
        paths : iterable of Path or None
            Taken no faster than they are read, a bounded number ahead.  None says that there is
            none for now: what was read is yielded, and then the next one is asked for.
        should_stop : callable
            Asked often; once it is true no more pictures are begun, and the iteration ends after
            those that were.

        Yields
        ------
        PictureReading, Failure or ItemFailed
            What came of each picture, in the order of the paths.  `Failure`: the file cannot be
            read at all.  `ItemFailed`: its worker died of it, or took too long.

        Raises
        ------
        PipelineError, ModelError, ProviderError
            Nothing can be read here at all.
        """
        ...


def check_provider(provider: str) -> None:
    """Refuse an unknown name of a provider.

    Parameters
    ----------
    provider : str

    Raises
    ------
    UsageError
        It is none of ``auto``, ``cpu``, ``cuda`` and ``openvino``.

    Examples
    --------
    >>> check_provider("cpu")
    >>> check_provider("tpu")
    Traceback (most recent call last):
        ...
    facesim_index.errors.UsageError: provider must be auto, cpu, cuda, openvino, not 'tpu'
    """
    if provider not in _PROVIDERS:
        raise UsageError(f"provider must be {', '.join(_PROVIDERS)}, not {provider!r}")
