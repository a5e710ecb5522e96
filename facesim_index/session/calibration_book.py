"""`FaceIndex.calibrations`: the calibrations that the degrees of an index can be made with."""

from collections.abc import Callable
from pathlib import Path

from facesim_index.calibration.fitting.labelled_data import LabelledData
from facesim_index.calibration.record import Calibration
from facesim_index.degrees import kept_calibrations
from facesim_index.degrees.calibration_check import CalibrationCheck, check_index
from facesim_index.degrees.gallery import gallery_prior
from facesim_index.degrees.kept_calibrations import ListedCalibration
from facesim_index.labels.sources import face_pairs_data
from facesim_index.store.protocols import IndexStore


class CalibrationBook:
    """The calibrations of an index; one that comes with the package is always among them.

    What changes something holds the writer's lock while it runs.

    Parameters
    ----------
    opened : callable
        Returns the open index.
    writer : callable
        Opens the index for writing.

    Examples
    --------
    >>> with FaceIndex.open("holiday.facesim") as index:  # doctest: +SKIP
    ...     for entry in index.calibrations.listed():
    ...         print(entry.calibration.name, entry.active)
    ...     index.calibrations.use("default")
    """

    def __init__(self, opened: Callable[[], IndexStore], writer: Callable[[], IndexStore]) -> None:
        self._opened = opened
        self._writer = writer

    def listed(self) -> tuple[ListedCalibration, ...]:
        """Return every calibration that can be chosen: the shipped one first, then by name."""
        with self._opened().read() as rows:
            return kept_calibrations.listed(rows)

    def named(self, name: str | None = None) -> Calibration:
        """Return a calibration by its name; by default the one in force.

        Parameters
        ----------
        name : str, optional
            ``default`` and its own name are the one that comes with the package.

        Raises
        ------
        UsageError
            There is none of this name.
        CalibrationError
            No name was given, and none is in force.
        """
        with self._opened().read() as rows:
            return kept_calibrations.named(rows, name)

    def keep(self, calibration: Calibration, *, use: bool) -> None:
        """Store a calibration with the index, in the place of one of the same name.

        Parameters
        ----------
        calibration : Calibration
        use : bool
            Make degrees with it from now on.

        Raises
        ------
        EngineMismatchError
            It is for another engine than the index's.
        UsageError
            Its name is that of the calibration that comes with the package.
        """
        with self._writer() as store:
            kept_calibrations.keep(store, calibration, use=use)

    def use(self, name: str) -> Calibration:
        """Make degrees with another calibration from now on; return it.

        Parameters
        ----------
        name : str
            ``default`` chooses the one that comes with the package.

        Raises
        ------
        UsageError
            There is none of this name.
        """
        with self._writer() as store:
            return kept_calibrations.use(store, name)

    def drop(self, name: str) -> Calibration | None:
        """Remove a calibration; return the one that is in force afterwards.

        Parameters
        ----------
        name : str

        Raises
        ------
        UsageError
            There is none of this name, or it comes with the package.
        """
        with self._writer() as store:
            return kept_calibrations.drop(store, name)

    def check_name(self, name: str) -> None:
        """Refuse the names of the calibration that comes with the package.

        Raises
        ------
        UsageError
        """
        kept_calibrations.check_name(self._opened().identity, name)

    def labelled_faces(self, file: Path) -> LabelledData:
        """Return the labelled pairs of a list of faces of the index.

        Parameters
        ----------
        file : Path
            CSV with the columns ``face_a,face_b,same``.

        Raises
        ------
        UsageError
            The file cannot be read, or names a face that is not in the index.
        CalibrationError
            Its labels contradict each other.
        """
        with self._opened().view() as view:
            return face_pairs_data(view, file)

    def check(self, labelled: LabelledData | None = None) -> CalibrationCheck:
        """Tell whether the calibration in force fits the pictures of the index.

        Parameters
        ----------
        labelled : LabelledData, optional
            Labelled pairs of faces by the engine of the index, which add to what can be told.

        Returns
        -------
        CalibrationCheck

        Raises
        ------
        CalibrationError
            None is in force.
        """
        with self._opened().view() as view:
            calibration = kept_calibrations.named(view)
            share = gallery_prior(view, calibration).share
            return check_index(view, calibration, share, labelled)
