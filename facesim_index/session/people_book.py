"""`FaceIndex.people`: who is in an index, and what a human says of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from facesim_index.degrees.prior import Prior
from facesim_index.people import edits
from facesim_index.people.edits import PersonFaces, Who
from facesim_index.people.grouping import PeopleOptions, PeopleSummary, cluster_people
from facesim_index.people.label_folders import FolderLabels, folder_labels
from facesim_index.people.look_alikes import LookAlike, look_alikes
from facesim_index.people.review import Review, review_people
from facesim_index.people.sidecars import Sidecars, write_sidecars
from facesim_index.people.table import Cell, rows
from facesim_index.store.catalog.people_rows import PersonRow, PersonRows
from facesim_index.store.protocols import IndexStore
from facesim_index.utils.progress import Progress, ignore


class PeopleBook:
    """The people of an index: who there is, and what a human says of them.

    A person is named by number or by name; capitals do not count.  Every method that changes
    something can be undone with `undo`.  It holds the writer's lock while it runs, and raises
    `IndexLockedError` when another process holds it.

    Parameters
    ----------
    opened : callable
        Returns the open index.
    writer : callable
        Opens the index for writing.

    Examples
    --------
    >>> summary = index.people.cluster()
    >>> index.people.name(2, "Ben").n_faces
    2
    >>> answer = index.query(person="Ben", top=100, min_degree=0.5)
    >>> [Path(match.path).name for match in answer.faces[0].matches]
    ['anna_and_ben.png', 'ben.png']
    """

    def __init__(self, opened: Callable[[], IndexStore], writer: Callable[[], IndexStore]) -> None:
        self._opened = opened
        self._writer = writer

    def cluster(
        self, options: PeopleOptions | None = None, *, progress: Progress = ignore
    ) -> PeopleSummary:
        """Group the faces into people.

        New faces join the people that there are, and nobody is given another number.  With
        ``PeopleOptions(full=True)`` every face is grouped anew except those that a human placed;
        the number and the name of a person go where most of its faces go.

        Parameters
        ----------
        options : PeopleOptions, optional
            By default two groups become one when that is more probable than not.
        progress : callable, optional
            Called now and then with a `ProgressUpdate`.

        Returns
        -------
        PeopleSummary

        Raises
        ------
        CalibrationError
            There is no calibration, or it is of a kind by which people cannot be told apart.
        UsageError
            An option is out of range.

        Examples
        --------
        >>> from facesim_index import PeopleOptions
        >>> summary = index.people.cluster(PeopleOptions(full=True))
        >>> summary.people, summary.faces_placed, summary.faces_alone
        (2, 5, 1)
        """
        with self._writer() as store:
            return cluster_people(store, options, progress=progress)

    def everyone(self, *, ignored: bool = False, min_faces: int = 1) -> PersonRows:
        """Return the people of the index, those with most faces first.

        Parameters
        ----------
        ignored : bool, default=False
            Include the people that were ignored; see `ignore`.
        min_faces : int, default=1
            Leave out people with fewer faces.

        Returns
        -------
        PersonRows

        Examples
        --------
        >>> for person in index.people.everyone():
        ...     print(person.person_id, person.name, person.n_faces)
        1 Anna 3
        2 None 2
        """
        with self._opened().read() as rows:
            return edits.list_people(rows, ignored=ignored, min_faces=min_faces)

    def show(self, who: Who) -> tuple[PersonRow, PersonFaces]:
        """Return a person and its faces.

        Parameters
        ----------
        who : int or str
            Number or name.

        Returns
        -------
        person : PersonRow
        faces : PersonFaces
            In the order of their ids.

        Raises
        ------
        UsageError
            There is no such person, or several have this name.

        Examples
        --------
        >>> person, faces = index.people.show("Anna")
        >>> [Path(found.face.path).name for found in faces]
        ['anna_1.png', 'anna_2.png', 'anna_and_ben.png']
        """
        with self._opened().read() as rows:
            return edits.person_faces(rows, who)

    def name(self, who: Who, name: str | None) -> PersonRow:
        """Give a person a name, or take it away.

        Parameters
        ----------
        who : int or str
            Number or present name.
        name : str or None
            The new name; spaces at its ends do not count.  None leaves the person without one.

        Returns
        -------
        PersonRow
            The person as it is now.

        Raises
        ------
        UsageError
            There is no such person; or the name is empty, a number, or another person's.

        Examples
        --------
        >>> index.people.name(2, "Ben").name
        'Ben'
        """
        with self._writer() as store:
            return edits.name_person(store, who, name)

    def ignore(self, who: Who, *, ignored: bool = True) -> PersonRow:
        """Leave a person out of lists, or list it again.

        Parameters
        ----------
        who : int or str
            Number or name.
        ignored : bool, default=True
            False lists the person again.

        Returns
        -------
        PersonRow
            The person as it is now.

        Raises
        ------
        UsageError
            There is no such person, or several have this name.

        Examples
        --------
        >>> index.people.ignore(2).ignored
        True
        >>> [person.name for person in index.people.everyone()]
        ['Anna']
        """
        with self._writer() as store:
            return edits.ignore_person(store, who, ignored=ignored)

    def merge(self, *those: Who) -> PersonRow:
        """Make one person of several.

        The first keeps its number.  It keeps its name too, or takes the first name among the
        others.  All their faces count as confirmed by a human.

        Parameters
        ----------
        *those : int or str
            Numbers or names of two people or more.

        Returns
        -------
        PersonRow
            The person that has all the faces now.

        Raises
        ------
        UsageError
            Fewer than two people were named, one was named twice, or there is no such person.

        Examples
        --------
        >>> other = index.people.split("Anna", [3])  # a mistake
        >>> index.people.merge("Anna", other.person_id).n_faces
        3
        """
        with self._writer() as store:
            return edits.merge_people(store, those)

    def split(self, who: Who, face_ids: Sequence[int]) -> PersonRow:
        """Make a new person of some faces of a person.

        Both the faces that go and those that stay count as confirmed by a human.

        Parameters
        ----------
        who : int or str
            Number or name.
        face_ids : sequence of int
            Some of the person's faces, not all.

        Returns
        -------
        PersonRow
            The new person, without a name.

        Raises
        ------
        UsageError
            There is no such person, a face is not that person's, or no face would be left.

        Examples
        --------
        >>> new = index.people.split("Anna", [3])
        >>> new.person_id, new.name, new.n_faces
        (3, None, 1)
        """
        with self._writer() as store:
            return edits.split_person(store, who, face_ids)

    def move(self, face_ids: Sequence[int], who: Who | None) -> PersonRow:
        """Assign faces to a person, whoever had them before.

        The other faces of that person, and those of whoever had them, count as confirmed by a
        human.

        Parameters
        ----------
        face_ids : sequence of int
            At least one.
        who : int, str or None
            Number or name; None makes a new person of the faces.

        Returns
        -------
        PersonRow
            The person that has the faces now.

        Raises
        ------
        UsageError
            There is no such face or person, or several people have this name.

        Examples
        --------
        >>> index.people.move([6], None).person_id
        3
        >>> index.people.name(3, "Carla").n_confirmed
        1
        """
        with self._writer() as store:
            return edits.move_faces(store, face_ids, who)

    def keep(self, face_ids: Sequence[int]) -> None:
        """Confirm that faces belong to the people that have them.

        No later grouping moves them.

        Parameters
        ----------
        face_ids : sequence of int
            At least one; each has been assigned to a person.

        Raises
        ------
        UsageError
            A face is not assigned to any person.

        Examples
        --------
        >>> index.people.keep([1, 2])
        >>> index.people.show("Anna")[0].n_confirmed
        2
        """
        with self._writer() as store:
            edits.keep_faces(store, face_ids)

    def confirm(self, labels: Mapping[str, Sequence[int]]) -> None:
        """Assign faces to people by their names, and make the people that are not there yet.

        The faces count as confirmed by a human.

        Parameters
        ----------
        labels : mapping of str to sequence of int
            Face ids by the name of the person.

        Raises
        ------
        UsageError
            A name is empty or a number.

        Examples
        --------
        >>> index.people.confirm({"Carla": [6]})
        >>> index.people.show("Carla")[0].person_id
        3
        """
        with self._writer() as store:
            edits.confirm_faces(store, labels)

    def confirm_folder(self, folder: Path) -> FolderLabels:
        """Assign the faces of pictures to the people that their folders are named after.

        The pictures must have been ingested.  In a picture with one face it is that one.  Among
        several faces it is the one most like the person's other pictures; where there are none, the
        most central.

        Parameters
        ----------
        folder : Path
            Holds one folder for each person, with the person's name.

        Returns
        -------
        FolderLabels
            What was assigned, and how many faces were left out.

        Raises
        ------
        UsageError
            There is no folder in it, or the name of one cannot be a person's.

        Examples
        --------
        >>> summary = index.ingest("people")
        >>> labels = index.people.confirm_folder(Path("people"))
        >>> labels.faces["Dana"]
        (7, 8, 9)
        """
        with self._writer() as store:
            with store.view() as view:
                labels = folder_labels(view, folder)
            edits.confirm_faces(store, labels.faces)
            return labels

    def apart(self, one: Who, other: Who) -> tuple[int, int]:
        """Keep two people apart: no later grouping or review takes them for one.

        Parameters
        ----------
        one, other : int or str
            Numbers or names.

        Returns
        -------
        tuple of (int, int)
            The two faces, one of each person, that are most alike.  The index remembers that these
            two show different people.

        Raises
        ------
        UsageError
            There is no such person, or both are the same one.
        CalibrationError
            There is no calibration, or it is of a kind by which people cannot be told apart.

        Examples
        --------
        >>> index.people.apart("Anna", 2)
        (3, 4)
        """
        with self._writer() as store:
            return edits.set_people_apart(store, one, other)

    def undo(self) -> str | None:
        """Take the newest change back.

        Returns
        -------
        str or None
            The command that had made the change; None when there is nothing to take back.

        Examples
        --------
        >>> index.people.name(2, "Bent").name  # a slip
        'Bent'
        >>> index.people.undo()
        'name'
        """
        with self._writer() as store:
            return edits.undo(store)

    def review(self, *, top: int = 20, prior: Prior = "gallery") -> Review:
        """Return what a human should look at first: doubtful faces and likely merges.

        Parameters
        ----------
        top : int, default=20
            Most of each.
        prior : float or "gallery", default="gallery"
            As for `FaceIndex.query`.

        Returns
        -------
        Review

        Raises
        ------
        CalibrationError
            There is no calibration, or it is of a kind by which people cannot be told apart; or the
            prior is not in (0, 1).

        Examples
        --------
        >>> new = index.people.split("Anna", [3])  # a mistake
        >>> [merge] = index.people.review().merges
        >>> merge.a.name, merge.b.person_id, round(merge.degree, 3)
        ('Anna', 3, 0.997)
        """
        with self._opened().view() as view:
            return review_people(view, top=top, prior=prior)

    def look_alikes(self, who: Who, *, top: int = 5) -> tuple[LookAlike, ...]:
        """Return the people whom at least half of a person's faces look like, too.

        A face looks like a person when the evidence speaks for their being one, however little.
        So it is with relatives, above all: degrees are less sure where one of them is concerned.

        Parameters
        ----------
        who : int or str
            Number or name.  A person with fewer than three faces looks like nobody.
        top : int, default=5
            Most of them.

        Returns
        -------
        tuple of LookAlike
            Those first whom most faces look like; without people who are ignored or have one face.

        Raises
        ------
        UsageError
            There is no such person, or several have this name.
        CalibrationError
            There is no calibration, or it is of a kind by which people cannot be told apart.

        Examples
        --------
        >>> index.people.look_alikes("Anna")
        ()
        """
        with self._opened().view() as view:
            person = edits.find_person(view.transaction, who)
            return look_alikes(view, person.person_id, top=top)

    def table(self, *, ignored: bool = False) -> Iterator[tuple[Cell, ...]]:
        """Yield one row for each face that has been assigned to a person.

        Parameters
        ----------
        ignored : bool, default=False
            Include the people that were ignored.

        Yields
        ------
        tuple
            Number and name of the person, face id, whether a human confirmed it (``true`` or
            ``false``), path, and the box ``x, y, w, h`` in pixels: the columns of
            ``facesim export people``.

        Examples
        --------
        >>> person_id, name, face_id, confirmed, path, *box = next(index.people.table())
        >>> person_id, name, face_id, confirmed, Path(path).name, box
        (1, 'Anna', 1, 'false', 'anna_1.png', [32.0, 32.0, 32.0, 32.0])
        """
        with self._opened().read() as view:
            yield from rows(view, ignored=ignored)

    def write_sidecars(self, folder: Path | None) -> Sidecars:
        """Write the named faces of each picture to an XMP sidecar file, ``photo.jpg.xmp``.

        No picture is changed, and neither is a sidecar that another program wrote.

        Parameters
        ----------
        folder : Path or None
            Where to write them, in folders as those of the pictures; only the owner can read them.
            None writes each beside its picture, for everybody who may read the picture.

        Returns
        -------
        Sidecars

        Raises
        ------
        StorageError
            A file could not be written.

        Examples
        --------
        >>> index.people.write_sidecars(Path("sidecars")).written
        3
        >>> sorted(path.name for path in Path("sidecars").iterdir())
        ['anna_1.png.xmp', 'anna_2.png.xmp', 'anna_and_ben.png.xmp']
        """
        return write_sidecars(self._opened(), folder)
