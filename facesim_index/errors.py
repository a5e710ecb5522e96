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
    """Base of all errors raised on purpose by facesim_index."""


class UsageError(FacesimError):
    """A wrong argument or an impossible combination of arguments."""


class IndexNotFoundError(FacesimError):
    """There is no index at the path, or what is there is not an index."""


class IndexVersionError(FacesimError):
    """The index was written by a newer facesim than this one."""


class IndexLockedError(FacesimError):
    """Another process holds the writer's lock."""


class IndexDamagedError(FacesimError):
    """A segment or a row is missing or not as the catalog recorded it."""


class DamagedSegmentError(IndexDamagedError):
    """A segment's file is missing or is not what was written.

    Parameters
    ----------
    segment : str
        The file's name.
    message : str
    """

    def __init__(self, segment: str, message: str) -> None:
        super().__init__(message)
        self.segment = segment

    def __reduce__(self) -> tuple[type["DamagedSegmentError"], tuple[str, str]]:
        return type(self), (self.segment, str(self))


class EngineMismatchError(FacesimError):
    """The index was built with another engine than the one at hand: weights or augmentation."""


class StorageError(FacesimError):
    """The operating system refused to store something."""


class ModelError(FacesimError):
    """Weights are missing, incomplete, or not the recorded bytes."""


class ProviderError(FacesimError):
    """The execution provider that was asked for cannot run here."""


class PictureError(FacesimError):
    """One picture cannot be used.

    Parameters
    ----------
    code : FailureCode
        Stable reason code, stored in the index and shown by ``facesim errors``.
    message : str
        What happened, for a person.
    """

    def __init__(self, code: "FailureCode", message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["PictureError"], tuple["FailureCode", str]]:
        return type(self), (self.code, self.message)


class NoFaceError(FacesimError):
    """A picture that needs a face has none."""


class CalibrationError(FacesimError):
    """Labels, a curve or a prior that cannot be used."""


class PipelineError(FacesimError):
    """The worker pool itself failed (a failing item never raises this)."""
