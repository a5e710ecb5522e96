"""Small indexes for tests, made without weights."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from facesim_index.engine.base import FaceEngine
from facesim_index.engine.fake import FAKE_IDENTITY, FakeEngineSettings
from facesim_index.engine.local_reader import OnePictureReader
from facesim_index.engine.reading import make_reader, read_picture
from facesim_index.ingest.run import Ingest, IngestSummary
from facesim_index.ingest.targets import IngestOptions, resolve_targets
from facesim_index.pictures import files
from facesim_index.records import (
    Box,
    EmbeddedFace,
    EngineIdentity,
    Failure,
    FileStamp,
    Float32Array,
    PictureInfo,
    PictureReading,
    Quality,
)
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.protocols import IndexStore
from facesim_index.store.records import Batch, FileLink
from facesim_index.workers.pool import ItemFailed

Outcome = PictureReading | Failure | ItemFailed

FAKE = FakeEngineSettings()
DIMENSION = FAKE_IDENTITY.dimension


def unit_vectors(n: int, seed: int) -> Float32Array:
    """Return random embeddings of unit norm, shape (n, DIMENSION)."""
    vectors = np.random.default_rng(seed).standard_normal((n, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def face(embedding: Float32Array, x: float = 10.0) -> EmbeddedFace:
    """Return a face with an embedding."""
    landmarks = np.array([[1, 2], [3, 2], [2, 3], [1, 4], [3, 4]], dtype=np.float32) + x
    return EmbeddedFace(
        Box(x, 20.0, 30.0, 40.0), landmarks, 0.9, Quality(30.0, 100.0, 1.5, -2.5), embedding
    )


def picture(content: str, embeddings: Iterable[Float32Array] = ()) -> PictureReading:
    """Return the reading of a picture with these faces; `content` stands for its bytes."""
    faces = tuple(face(embedding, 50.0 * n) for n, embedding in enumerate(embeddings))
    info = PictureInfo(640, 480, "JPEG", "2021-07-04T12:30:00")
    return PictureReading(content_hash(content), FileStamp(1000, 1), info, faces, None)


def failed(content: str, failure: Failure) -> PictureReading:
    """Return the reading of a picture that could not be used."""
    return PictureReading(content_hash(content), FileStamp(1000, 1), None, (), failure)


def content_hash(content: str) -> bytes:
    """Return 32 bytes that stand for the hash of a content."""
    return content.encode().ljust(32, b".")


def link(path: str, reading: PictureReading) -> FileLink:
    """Return the file at `path` with a reading's content."""
    whole = Path(path)
    return FileLink(str(whole.parent), whole.name, reading.stamp, reading.content_hash)


def new_store(folder: Path) -> FolderStore:
    """Return a new, empty, writable index."""
    return FolderStore.open_or_create(folder, FAKE_IDENTITY, "fake")


def commit_pictures(store: IndexStore, pictures: dict[str, PictureReading]) -> None:
    """Commit pictures at their paths as one batch."""
    links = [link(path, reading) for path, reading in pictures.items()]
    store.commit(Batch(list(pictures.values()), links))


class EngineHere(OnePictureReader):
    """Reads single pictures with an engine that is loaded already, all of them in this process."""

    def __init__(self, engine: FaceEngine) -> None:
        super().__init__(FAKE)
        self._engine = engine

    @property
    def identity(self) -> EngineIdentity:
        """Of the engine."""
        return self._engine.identity

    def read(self, path: Path) -> PictureReading:
        """Read a picture."""
        return read_picture(path, self._engine)


def hash_here(
    groups: Iterable[Sequence[Path] | None],
) -> Generator[list[bytes | Failure] | None, None, None]:
    """Hash files in this process, as a `PictureReader` does."""
    for group in groups:
        yield None if group is None else [files.hash_or_failure(path) for path in group]


class FunctionReader:
    """A `PictureReader` that reads as a function does; the function can still be called."""

    def __init__(self, read: Callable[[Iterable[Path]], Iterator[Outcome]]) -> None:
        self._read = read

    def __call__(self, paths: Iterable[Path]) -> Iterator[Outcome]:
        return self._read(paths)

    def hash_files(
        self, groups: Iterable[Sequence[Path] | None]
    ) -> Generator[list[bytes | Failure] | None, None, None]:
        """Hash files in this process."""
        return hash_here(groups)

    def read(
        self, paths: Iterable[Path | None], should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """Call the function, which may stop or not as it likes."""
        return self._read(path for path in paths if path is not None)


@FunctionReader
def read_here(paths: Iterable[Path]) -> Iterator[Outcome]:
    """Read pictures with the fake engine in this process."""
    read = make_reader(FAKE)
    for path in paths:
        yield read(path)


def ingest(store: IndexStore, *paths: Path, **options: object) -> IngestSummary:
    """Ingest with the fake engine in this process."""
    targets = resolve_targets(paths)
    return Ingest(store, targets, IngestOptions(**options), read_here).run()  # type: ignore[arg-type]
