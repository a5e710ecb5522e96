"""How a long job reports what it has done so far, to whoever listens."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ProgressUpdate:
    """How far a job is.

    Attributes
    ----------
    stage : str
        What is being done, for a person: ``finding pictures``, ``reading pictures`` ...
    done : int
        How many pictures or faces are done.
    total : int or None
        Of how many; None while that is not known.
    faces, failures : int
        Found so far; 0 for jobs that find none.

    Examples
    --------
    >>> from facesim_index import ProgressUpdate
    >>> def show(update: ProgressUpdate) -> None:
    ...     print(update.stage, update.done, update.total)
    >>> found = index.scan(photos, progress=show)
    finding pictures 7 None
    """

    stage: str
    done: int
    total: int | None = None
    faces: int = 0
    failures: int = 0


class Progress(Protocol):
    """A function that a long job calls often, from the thread that does the job.

    Examples
    --------
    >>> from facesim_index import Progress, ProgressUpdate
    >>> updates: list[ProgressUpdate] = []
    >>> progress: Progress = updates.append
    >>> found = index.scan(photos, progress=progress)
    >>> updates[-1].done
    7
    """

    def __call__(self, update: ProgressUpdate, /) -> None:
        """Take note of an update.

        Parameters
        ----------
        update : ProgressUpdate
            The newest; earlier ones do not count any more.
        """


def ignore(update: ProgressUpdate) -> None:
    """Do nothing with an update: for jobs whose progress nobody wants to know.

    Parameters
    ----------
    update : ProgressUpdate
        Not looked at.
    """
