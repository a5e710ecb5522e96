"""How a long job tells what it has done so far, without knowing who listens."""

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
    total : int or None
        None while it is not known.
    faces, failures : int
        Found so far; 0 for jobs that find none.
    """

    stage: str
    done: int
    total: int | None = None
    faces: int = 0
    failures: int = 0


class Progress(Protocol):
    """Whoever listens; called often, from the thread that does the job."""

    def __call__(self, update: ProgressUpdate, /) -> None:
        """Take note of an update."""


def ignore(update: ProgressUpdate) -> None:
    """Listen to nothing."""
