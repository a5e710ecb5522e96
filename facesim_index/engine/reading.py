"""Reading one picture file: from its path to its embedded faces, or why it has none."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from facesim_index.engine.base import EngineSource, FaceEngine
from facesim_index.errors import PictureError, ProviderError
from facesim_index.pictures.decoding import (
    MAX_PIXELS,
    JpegFile,
    WholeFile,
    open_picture,
    use_one_thread,
)
from facesim_index.pictures.files import content_hash, read_bytes
from facesim_index.pictures.formats import is_plain
from facesim_index.records import (
    EmbeddedFace,
    Failure,
    FailureCode,
    FileStamp,
    PictureInfo,
    PictureReading,
)

logger = logging.getLogger(__name__)

_TOO_LITTLE_MEMORY = "there is not enough memory for this picture"


def read_picture(path: Path, engine: FaceEngine) -> PictureReading:
    """Read, decode and embed one picture.

    A picture that cannot be decoded raises nothing; the reading's `failure` tells why.

    Parameters
    ----------
    path : Path
    engine : FaceEngine

    Returns
    -------
    PictureReading
        Hash, stamp and faces are of the same bytes.

    Raises
    ------
    PictureError
        The bytes of the file cannot be read, are too many, or change all the time.
    ModelError
        The recogniser gave an embedding that is zero or not finite.
    """
    data, stamp = read_bytes(path)
    return read_content(data, stamp, engine)


def read_content(
    data: bytes, stamp: FileStamp, engine: FaceEngine, *, max_pixels: int = MAX_PIXELS
) -> PictureReading:
    """Decode and embed the bytes of one picture.

    A picture that cannot be decoded raises nothing; the reading's `failure` tells why.

    Parameters
    ----------
    data : bytes
        The whole content of a picture file.
    stamp : FileStamp
        Size and time of the file that they come from.
    engine : FaceEngine
    max_pixels : int, default=MAX_PIXELS
        A picture with more pixels is not decoded; at least 1.

    Returns
    -------
    PictureReading

    Raises
    ------
    ModelError
        The recogniser gave an embedding that is zero or not finite.

    Examples
    --------
    >>> from facesim_index.engine.fake import FakeEngine
    >>> reading = read_content(b"no picture", FileStamp(10, 0), FakeEngine())
    >>> reading.failure.message
    'not a picture in a format that can be read'
    """
    digest = content_hash(data)
    info: PictureInfo | None = None
    try:
        picture = open_picture(data, max_pixels=max_pixels)
        info = picture.info
        (faces,) = engine.embed_pictures([picture])
    except PictureError as error:
        return _failed(digest, stamp, None, Failure(error.code, error.message))
    except MemoryError:
        return _failed(digest, stamp, info, Failure(FailureCode.OUT_OF_MEMORY, _TOO_LITTLE_MEMORY))
    return PictureReading(digest, stamp, info, faces, None)


def make_reader(source: EngineSource) -> Callable[[Path], PictureReading | Failure]:
    """Load an engine and return a function that reads pictures with it.

    Made for worker processes: both the source and this function can be sent to them.  With one
    thread, the decoders of pictures are told so too, for the whole process.

    Parameters
    ----------
    source : EngineSource

    Returns
    -------
    callable
        From the path of a picture to its `PictureReading`, or to a `Failure` where the bytes of
        the file cannot be read.

    Raises
    ------
    ModelError, ProviderError
        The engine cannot be loaded.
    """
    engine = source.load()
    if source.threads == 1:
        use_one_thread()

    def read(path: Path) -> PictureReading | Failure:
        try:
            return read_picture(path, engine)
        except PictureError as error:
            return Failure(error.code, error.message)
        except MemoryError:
            return Failure(FailureCode.OUT_OF_MEMORY, _TOO_LITTLE_MEMORY)

    return read


def make_group_reader(
    source: EngineSource,
) -> Callable[[Sequence[Path]], list[PictureReading | Failure]]:
    """Load an engine and return a function that reads several pictures together with it.

    For engines that are quicker with several.  Whatever goes wrong with a group, each of its
    pictures is then read by itself, so that it has the outcome that `make_reader` would give it.

    Parameters
    ----------
    source : EngineSource

    Returns
    -------
    callable
        From paths to what `make_reader` gives for each of them.

    Raises
    ------
    ModelError, ProviderError
        The engine cannot be loaded.
    """
    engine = source.load()
    if source.threads == 1:
        use_one_thread()
    return lambda paths: _read_group(paths, engine)


@dataclass(slots=True)
class _Content:
    """The bytes of a file that is read in a group, and its picture where it goes with others."""

    data: bytes
    stamp: FileStamp
    picture: WholeFile | JpegFile | None


def _read_group(paths: Sequence[Path], engine: FaceEngine) -> list[PictureReading | Failure]:
    contents = [_content(path) for path in paths]
    together = [one for one in contents if isinstance(one, _Content) and one.picture is not None]
    embedded: dict[int, tuple[EmbeddedFace, ...]] = {}
    try:
        found = engine.embed_pictures([one.picture for one in together if one.picture is not None])
        embedded = {id(one): faces for one, faces in zip(together, found, strict=True)}
    except Exception as error:  # It may be the fault of one picture, which is then found out.
        logger.debug("a group of pictures is read one by one: %r", error)
    return [_outcome(one, embedded, engine) for one in contents]


def _content(path: Path) -> _Content | Failure:
    try:
        data, stamp = read_bytes(path)
    except PictureError as error:
        return Failure(error.code, error.message)
    except MemoryError:
        return Failure(FailureCode.OUT_OF_MEMORY, _TOO_LITTLE_MEMORY)
    # What may cost much is read by itself.
    picture = None
    if is_plain(data):
        with contextlib.suppress(PictureError, MemoryError):
            picture = open_picture(data)
    return _Content(data, stamp, picture)


def _outcome(
    content: _Content | Failure, embedded: dict[int, tuple[EmbeddedFace, ...]], engine: FaceEngine
) -> PictureReading | Failure:
    if isinstance(content, Failure):
        return content
    picture, faces = content.picture, embedded.get(id(content))
    if picture is not None and faces is not None:
        digest = content_hash(content.data)
        return PictureReading(digest, content.stamp, picture.info, faces, None)
    try:
        return read_content(content.data, content.stamp, engine)
    except ProviderError as error:
        if picture is None:  # This was its first time.
            with contextlib.suppress(ProviderError):
                return read_content(content.data, content.stamp, engine)
        failure = Failure(FailureCode.INTERNAL, str(error))
        return _failed(content_hash(content.data), content.stamp, None, failure)


def _failed(
    digest: bytes, stamp: FileStamp, info: PictureInfo | None, failure: Failure
) -> PictureReading:
    return PictureReading(digest, stamp, info, (), failure)
