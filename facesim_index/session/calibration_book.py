"""`FaceIndex.calibrations`: the calibrations that the degrees of an index can be made with."""

from collections.abc import Callable
from pathlib import Path

from facesim_index.calibration.fitting.labelled_data import LabelledData
from facesim_index.calibration.record import Calibration
from facesim_index.degrees import kept_calibrations
from facesim_index.degrees.calibration_check import CalibrationCheck, check_index
from facesim_index.degrees.kept_calibrations import ListedCalibration
from facesim_index.labels.sources import face_pairs_data
from facesim_index.store.protocols import IndexStore


class CalibrationBook:
    """The calibrations that the degrees of an index can be made with.

    One that comes with the package is always among them, if there is one for the engine of the
    index.  A method that changes something holds the writer's lock while it runs, and raises
    `IndexLockedError` when another process holds it.

    Make one with `FaceIndex.calibrations`.

    Parameters
    ----------
    opened : callable
        Returns the open index.
    writer : callable
        Opens the index for writing.

    Examples
    --------
    >>> for entry in index.calibrations.listed():
    ...     print(entry.calibration.name, entry.active)
    example True
    """

    def __init__(self, opened: Callable[[], IndexStore], writer: Callable[[], IndexStore]) -> None:
        self._opened = opened
        self._writer = writer

    def listed(self) -> tuple[ListedCalibration, ...]:
        """Return every calibration that can be chosen.

        Returns
        -------
        tuple of ListedCalibration
            First the one that comes with the package, then the others by name.

        Examples
        --------
        >>> [(entry.calibration.name, entry.shipped) for entry in index.calibrations.listed()]
        [('example', True)]
        """
        with self._opened().read() as rows:
            return kept_calibrations.listed(rows)

    def named(self, name: str | None = None) -> Calibration:
        """Return a calibration by its name.

        Parameters
        ----------
        name : str, optional
            By default the calibration in force.  ``default`` is the one that comes with the
            package, which has a name of its own, too.

        Returns
        -------
        Calibration

        Raises
        ------
        UsageError
            There is none of this name.
        CalibrationError
            No name was given, and none is in force.

        Examples
        --------
        >>> index.calibrations.named("default").name
        'example'
        """
        with self._opened().read() as rows:
            return kept_calibrations.named(rows, name)

    def keep(self, calibration: Calibration, *, use: bool) -> None:
        """Store a calibration with the index, and replace one of the same name.

        Parameters
        ----------
        calibration : Calibration
            Fitted for the engine of the index.
        use : bool
            Make degrees with it from now on.

        Raises
        ------
        EngineMismatchError
            It is for another engine than the index's.
        CalibrationError
            Its head was learned for embeddings of another dimension.
        UsageError
            Its name is that of the calibration that comes with the package.

        Examples
        --------
        >>> import dataclasses
        >>> mine = dataclasses.replace(index.calibration(), name="mine")
        >>> index.calibrations.keep(mine, use=True)
        >>> index.calibration().name
        'mine'
        """
        with self._writer() as store:
            kept_calibrations.keep(store, calibration, use=use)

    def use(self, name: str) -> Calibration:
        """Make degrees with another calibration from now on.

        Parameters
        ----------
        name : str
            ``default`` chooses the one that comes with the package.

        Returns
        -------
        Calibration
            The one that was chosen.

        Raises
        ------
        UsageError
            There is none of this name.

        Examples
        --------
        >>> index.calibrations.use("default").name
        'example'
        """
        with self._writer() as store:
            return kept_calibrations.use(store, name)

    def drop(self, name: str) -> Calibration | None:
        """Remove a calibration from the index.

        If it was in force, the one that comes with the package takes its place.

        Parameters
        ----------
        name : str
            Not that of the calibration that comes with the package.

        Returns
        -------
        Calibration or None
            The one that is in force afterwards.

        Raises
        ------
        UsageError
            There is none of this name, or it comes with the package.

        Examples
        --------
        >>> import dataclasses
        >>> mine = dataclasses.replace(index.calibration(), name="mine")
        >>> index.calibrations.keep(mine, use=True)
        >>> index.calibrations.drop("mine").name
        'example'
        """
        with self._writer() as store:
            return kept_calibrations.drop(store, name)

    def check_name(self, name: str) -> None:
        """Refuse a name that only the calibration of the package may have.

        Parameters
        ----------
        name : str
            For a calibration of your own.

        Raises
        ------
        UsageError
            It is ``default``, or the name of the calibration that comes with the package.

        Examples
        --------
        >>> index.calibrations.check_name("mine")
        >>> index.calibrations.check_name("default")
        Traceback (most recent call last):
            ...
        facesim_index.errors.UsageError: 'default' is the calibration that comes with the package;
        ...
        """
        kept_calibrations.check_name(self._opened().identity, name)

    def labelled_faces(self, file: Path) -> LabelledData:
        """Read labelled pairs of faces of the index from a file.

        Parameters
        ----------
        file : Path
            CSV with the columns ``face_a,face_b,same``; ``same`` is 1 for one person and 0 for two.

        Returns
        -------
        LabelledData

        Raises
        ------
        UsageError
            The file cannot be read, or names a face that is not in the index.
        CalibrationError
            Its labels contradict each other.

        Examples
        --------
        >>> print(Path("face_pairs.csv").read_text().strip())
        face_a,face_b,same
        1,2,1
        4,5,1
        1,6,0
        >>> labelled = index.calibrations.labelled_faces(Path("face_pairs.csv"))
        >>> labelled.scores.genuine.round(2), labelled.scores.impostor.round(2)
        (array([0.95, 0.94]), array([0.04]))
        """
        with self._opened().view() as view:
            return face_pairs_data(view, file)

    def check(self, labelled: LabelledData | None = None) -> CalibrationCheck:
        """Test whether the calibration in force fits the pictures of the index.

        The pairs of faces of the index are nearly all pairs of two people.  How many of them reach
        a score is compared with how many should, by the calibration.

        Parameters
        ----------
        labelled : LabelledData, optional
            Labelled pairs of faces, embedded by the engine of the index, to test with as well.

        Returns
        -------
        CalibrationCheck

        Raises
        ------
        CalibrationError
            No calibration is in force.

        Examples
        --------
        >>> index.calibrations.check().verdict  # six faces are not enough
        'too_few_pairs'
        """
        with self._opened().view() as view:
            calibration = kept_calibrations.named(view)
            return check_index(view, calibration, labelled)
