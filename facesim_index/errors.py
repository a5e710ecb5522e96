"""Every error that facesim_index raises on purpose.

::

    FacesimError
    ├── UsageError            wrong argument, impossible combination        exit code 2
    ├── IndexNotFoundError    no index at that path, or not an index
    ├── IndexVersionError     the index was written by a newer facesim
    ├── IndexLockedError      another process is writing
    ├── IndexDamagedError     a segment or row is missing or not as recorded
    │   └── DamagedSegmentError   a segment, by its name
    ├── EngineMismatchError   the index was built with another engine: weights, augmentation
    ├── StorageError          the disk refused (full, read-only, I/O error)
    ├── ModelError            weights missing, incomplete or not the right bytes
    ├── ProviderError         the execution provider asked for cannot run
    ├── PictureError          a picture cannot be used; carries a FailureCode
    ├── NoFaceError           a picture that needs a face has none
    ├── CalibrationError      labels, curve or prior that cannot be used
    └── PipelineError         the worker pool itself failed (never one item)

The message says what happened, to which file or id, and what to do about it.
The command line turns a `FacesimError` into exit code 1 (`UsageError`: 2).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # keeps numpy out of `facesim --help`
    from facesim_index.records import FailureCode


class FacesimError(Exception):
    """Base of all errors that facesim_index raises on purpose.

    Examples
    --------
    >>> from facesim_index import FacesimError
    >>> try:
    ...     answer = index.query(photos / "sea.png")
    ... except FacesimError as error:
    ...     print(type(error).__name__)
    NoFaceError
    """


class UsageError(FacesimError):
    """A wrong argument or an impossible combination of arguments.

    Examples
    --------
    >>> index.query(face_id=99)
    Traceback (most recent call last):
        ...
    facesim_index.errors.UsageError: there is no face 99 in holiday.facesim
    """


class IndexNotFoundError(FacesimError):
    """There is no index at the path, or what is there is not an index.

    Examples
    --------
    >>> from facesim_index import FaceIndex
    >>> FaceIndex.open("nowhere.facesim")
    Traceback (most recent call last):
        ...
    facesim_index.errors.IndexNotFoundError: nowhere.facesim is not a facesim index; ...
    """


class IndexVersionError(FacesimError):
    """The index was written by a newer facesim than this one.

    Examples
    --------
    >>> from facesim_index import FaceIndex, IndexVersionError
    >>> try:
    ...     FaceIndex.open("holiday.facesim").close()
    ... except IndexVersionError as error:
    ...     print("install a newer facesim:", error)
    """


class IndexLockedError(FacesimError):
    """Another process is writing to the index.

    Examples
    --------
    >>> from facesim_index import IndexLockedError
    >>> try:
    ...     index.compact()
    ... except IndexLockedError as error:
    ...     print("try again later:", error)
    """


class IndexDamagedError(FacesimError):
    """A segment or a row is missing, or is not what the catalog recorded.

    Examples
    --------
    >>> from facesim_index import IndexDamagedError
    >>> try:
    ...     vectors = index.embeddings(index.face_ids())
    ... except IndexDamagedError:
    ...     repaired = index.repair()
    """


class DamagedSegmentError(IndexDamagedError):
    """The file of a segment is missing, or is not what was written.

    Parameters
    ----------
    segment : str
        The file's name.
    message : str
        What happened, for a person.

    Examples
    --------
    >>> index.close()
    >>> [segment] = Path("holiday.facesim/segments").glob("*.faiss")
    >>> segment.unlink()
    >>> index.matrix()
    Traceback (most recent call last):
        ...
    facesim_index.errors.DamagedSegmentError: ...; run `facesim verify --repair`
    """

    def __init__(self, segment: str, message: str) -> None:
        super().__init__(message)
        self.segment = segment

    def __reduce__(self) -> tuple[type["DamagedSegmentError"], tuple[str, str]]:
        return type(self), (self.segment, str(self))


class EngineMismatchError(FacesimError):
    """The index was built with another engine than the one in use: other weights or augmentation.

    Examples
    --------
    >>> import dataclasses
    >>> index.check_engine(dataclasses.replace(index.identity, numerics="bf16"))
    Traceback (most recent call last):
        ...
    facesim_index.errors.EngineMismatchError: holiday.facesim was built with ...
    """


class StorageError(FacesimError):
    """The operating system refused to store something.

    Examples
    --------
    >>> index.snapshot("no/such/folder")
    Traceback (most recent call last):
        ...
    facesim_index.errors.StorageError: cannot write to ...
    """


class ModelError(FacesimError):
    """Weights are missing, incomplete, or not the recorded bytes.

    Examples
    --------
    >>> from facesim_index import compare
    >>> compare(photos / "anna_1.png", photos / "ben.png", model="no/such/folder")
    Traceback (most recent call last):
        ...
    facesim_index.errors.ModelError: ...no/such/folder...
    """


class ProviderError(FacesimError):
    """The execution provider that was asked for does not run here.

    Examples
    --------
    >>> from facesim_index import ProviderError
    >>> try:
    ...     summary = index.ingest(photos)
    ... except ProviderError as error:
    ...     print("choose another provider:", error)
    """


class PictureError(FacesimError):
    """One picture cannot be used.

    Parameters
    ----------
    code : FailureCode
        Stable reason code, stored in the index and shown by ``facesim errors``.
    message : str
        What happened, for a person.

    Examples
    --------
    >>> from facesim_index import PictureError
    >>> try:
    ...     answer = index.query(photos / "broken.jpg")
    ... except PictureError as error:
    ...     print(error.code)
    unsupported
    """

    def __init__(self, code: "FailureCode", message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["PictureError"], tuple["FailureCode", str]]:
        return type(self), (self.code, self.message)


class NoFaceError(FacesimError):
    """A picture that needs a face has none.

    Examples
    --------
    >>> index.query(photos / "sea.png")
    Traceback (most recent call last):
        ...
    facesim_index.errors.NoFaceError: no face found in ...sea.png; try a picture in which ...
    """


class CalibrationError(FacesimError):
    """Labels, a curve or a prior that cannot be used.

    Examples
    --------
    >>> index.prior(1.5)
    Traceback (most recent call last):
        ...
    facesim_index.errors.CalibrationError: a prior is a probability between 0 and 1, not 1.5
    """


class PipelineError(FacesimError):
    """The worker processes themselves failed; a picture that fails never raises this.

    Examples
    --------
    >>> from facesim_index import PipelineError
    >>> try:
    ...     summary = index.ingest(photos)
    ... except PipelineError as error:
    ...     print("what was read so far is in the index:", error)
    """
