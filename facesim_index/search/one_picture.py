"""Read one picture that must show a face, and choose among its faces."""

from pathlib import Path

from facesim_index.engine.local_reader import OnePictureReader
from facesim_index.errors import NoFaceError, PictureError, UsageError
from facesim_index.records import PictureReading


def read_faces(reader: OnePictureReader, path: Path) -> PictureReading:
    """Read a picture that must show a face.

    Parameters
    ----------
    reader : OnePictureReader
    path : Path
        Of the picture; messages begin with it.

    Returns
    -------
    PictureReading
        With at least one face.

    Raises
    ------
    PictureError
        The picture cannot be read.
    NoFaceError
        It has no face.
    """
    try:
        picture = reader.read(path)
    except PictureError as error:
        raise PictureError(error.code, f"{path}: {error.message}") from error
    return require_faces(picture, str(path))


def require_faces(picture: PictureReading, name: str) -> PictureReading:
    """Return the reading of a picture that must show a face.

    Parameters
    ----------
    picture : PictureReading
    name : str
        What the picture is called in messages.

    Returns
    -------
    PictureReading
        The same one; it has at least one face.

    Raises
    ------
    PictureError
        The picture could not be read.
    NoFaceError
        It has no face.
    """
    if picture.failure is not None:
        raise PictureError(picture.failure.code, f"{name}: {picture.failure.message}")
    if not picture.faces:
        raise NoFaceError(f"no face found in {name}; try a picture in which it is larger")
    return picture


def check_face(name: str, picture: PictureReading, number: int) -> int:
    """Return the number of a face, after checking that the picture has such a face.

    Parameters
    ----------
    name : str
        What the picture is called in messages.
    picture : PictureReading
    number : int
        Left to right, from 0.

    Returns
    -------
    int
        The same number.

    Raises
    ------
    UsageError
        The picture has no face of that number.
    """
    if not 0 <= number < len(picture.faces):
        raise UsageError(
            f"{name} has no face {number}; how many it has: {len(picture.faces)} "
            "(numbered from 0, left to right)"
        )
    return number
