"""Reading one picture file: from its path to its embedded faces, or why it has none."""

from collections.abc import Callable
from pathlib import Path

from facesim_index.engine.base import EngineSource, FaceEngine
from facesim_index.errors import PictureError
from facesim_index.pictures.decoding import MAX_PIXELS, open_picture, use_one_thread
from facesim_index.pictures.files import content_hash, read_bytes
from facesim_index.records import Failure, FailureCode, FileStamp, PictureInfo, PictureReading

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


def _failed(
    digest: bytes, stamp: FileStamp, info: PictureInfo | None, failure: Failure
) -> PictureReading:
    return PictureReading(digest, stamp, info, (), failure)
