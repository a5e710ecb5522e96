"""`FaceIndex.people`: who is in an index, and what a human says of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from facesim_index.degrees.prior import Prior
from facesim_index.people import edits
from facesim_index.people.edits import PersonFaces, Who
from facesim_index.people.grouping import PeopleOptions, PeopleSummary, cluster_people
from facesim_index.people.label_folders import FolderLabels, folder_labels
from facesim_index.people.review import Review, review_people
from facesim_index.people.sidecars import Sidecars, write_sidecars
from facesim_index.people.table import Cell, rows
from facesim_index.store.catalog.people_rows import PersonRow, PersonRows
from facesim_index.store.protocols import IndexStore
from facesim_index.utils.progress import Progress, ignore


class PeopleBook:
    """The people of an index; a person is given by its number or its name.

    What changes something holds the writer's lock while it runs, and can be undone.

    Parameters
    ----------
    opened : callable
        Returns the open index.
    writer : callable
        Opens the index for writing.

    Examples
    --------
    >>> with FaceIndex.open("holiday.facesim") as index:  # doctest: +SKIP
    ...     index.people.cluster()
    ...     index.people.name(1, "Anna")
    ...     answer = index.query(person="Anna", top=100, min_degree=0.5)
    """

    def __init__(self, opened: Callable[[], IndexStore], writer: Callable[[], IndexStore]) -> None:
        self._opened = opened
        self._writer = writer

    def cluster(
        self, options: PeopleOptions | None = None, *, progress: Progress = ignore
    ) -> PeopleSummary:
        """Group the faces into people.

        New faces join the people there are; nobody is given another number.  With
        ``PeopleOptions(full=True)`` all is grouped anew but what a human said, and people keep
        their numbers and names by majority.

        Raises
        ------
        CalibrationError
            There is no calibration that people can be told apart by.
        """
        with self._writer() as store:
            return cluster_people(store, options, progress=progress)

    def everyone(self, *, ignored: bool = False, min_faces: int = 1) -> PersonRows:
        """Return who there is, those with most faces first."""
        with self._opened().read() as rows:
            return edits.list_people(rows, ignored=ignored, min_faces=min_faces)

    def show(self, who: Who) -> tuple[PersonRow, PersonFaces]:
        """Return a person and its faces.

        Raises
        ------
        UsageError
            There is no such person.
        """
        with self._opened().read() as rows:
            return edits.person_faces(rows, who)

    def name(self, who: Who, name: str | None) -> PersonRow:
        """Give a person a name; None takes it away."""
        with self._writer() as store:
            return edits.name_person(store, who, name)

    def ignore(self, who: Who, *, ignored: bool = True) -> PersonRow:
        """Leave a person out of lists, or no longer."""
        with self._writer() as store:
            return edits.ignore_person(store, who, ignored=ignored)

    def merge(self, *those: Who) -> PersonRow:
        """Say that people are one: the first keeps its number and its name."""
        with self._writer() as store:
            return edits.merge_people(store, those)

    def split(self, who: Who, face_ids: Sequence[int]) -> PersonRow:
        """Say that some faces of a person are somebody else's; return the new person."""
        with self._writer() as store:
            return edits.split_person(store, who, face_ids)

    def move(self, face_ids: Sequence[int], who: Who | None) -> PersonRow:
        """Say whose faces are; None makes a new person of them."""
        with self._writer() as store:
            return edits.move_faces(store, face_ids, who)

    def keep(self, face_ids: Sequence[int]) -> None:
        """Say that faces are those of the people they are with."""
        with self._writer() as store:
            edits.keep_faces(store, face_ids)

    def confirm(self, labels: Mapping[str, Sequence[int]]) -> None:
        """Say which faces are those of people by their names; make who is not there yet."""
        with self._writer() as store:
            edits.confirm_faces(store, labels)

    def confirm_folder(self, folder: Path) -> FolderLabels:
        """Say that pictures show whom their folders name, one folder a person.

        The pictures must have been ingested; see `folder_labels` for which face is meant.
        """
        with self._writer() as store:
            with store.view() as view:
                labels = folder_labels(view, folder)
            edits.confirm_faces(store, labels.faces)
            return labels

    def apart(self, one: Who, other: Who) -> tuple[int, int]:
        """Say that two people are not one; return the faces by which that is remembered."""
        with self._writer() as store:
            return edits.set_people_apart(store, one, other)

    def undo(self) -> str | None:
        """Take the newest change back; return what made it, or None when there is none."""
        with self._writer() as store:
            return edits.undo(store)

    def review(self, *, top: int = 20, prior: Prior = "gallery") -> Review:
        """Return the most doubtful faces and the most likely merges."""
        with self._opened().view() as view:
            return review_people(view, top=top, prior=prior)

    def table(self, *, ignored: bool = False) -> Iterator[tuple[Cell, ...]]:
        """Yield a row for each face that is somebody's; see `people.table.COLUMNS`."""
        with self._opened().read() as view:
            yield from rows(view, ignored=ignored)

    def write_sidecars(self, folder: Path | None) -> Sidecars:
        """Write the named faces of pictures as XMP sidecars: below a folder, or beside them."""
        return write_sidecars(self._opened(), folder)
