"""The calibrations of an index: keep, list, choose and drop them.

The one that comes with the package for the index's engine is always among them.
"""

from dataclasses import dataclass
from pathlib import Path

from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.shipped import shipped_calibration
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.verdicts import refresh_estimates
from facesim_index.errors import CalibrationError, EngineMismatchError, UsageError
from facesim_index.records import EngineIdentity
from facesim_index.store.catalog import calibration_rows
from facesim_index.store.protocols import CatalogView, IndexStore

SHIPPED = "default"
"""The name by which the calibration that comes with the package can always be chosen."""


@dataclass(frozen=True, slots=True)
class ListedCalibration:
    """A calibration that the degrees of an index can be made with.

    Attributes
    ----------
    calibration : Calibration
    active : bool
        Degrees are made with it now.
    shipped : bool
        It comes with the package.

    Examples
    --------
    >>> [entry] = index.calibrations.listed()
    >>> entry.calibration.name, entry.active, entry.shipped
    ('example', True, True)
    """

    calibration: Calibration
    active: bool
    shipped: bool


def listed(view: CatalogView) -> tuple[ListedCalibration, ...]:
    """Return every calibration that can be chosen: the shipped one first, then by name.

    Parameters
    ----------
    view : CatalogView

    Returns
    -------
    tuple of ListedCalibration
    """
    kept = calibration_rows.kept(view.transaction)
    shipped = shipped_calibration(view.identity.key)
    first = [] if shipped is None else [(shipped, not any(row.active for row in kept), True)]
    others = [(from_json(row.document), row.active, False) for row in kept]
    return tuple(ListedCalibration(*entry) for entry in (*first, *others))


def named(view: CatalogView, name: str | None = None) -> Calibration:
    """Return a calibration of an index by its name.

    Parameters
    ----------
    view : CatalogView
    name : str, optional
        By default the one in force.  `SHIPPED` is the one that comes with the package, which has
        a name of its own, too.

    Returns
    -------
    Calibration

    Raises
    ------
    UsageError
        There is none of this name.
    CalibrationError
        No name was given, and none is in force.
    """
    if name is None:
        calibration = calibration_in_force(view)
        if calibration is None:
            raise CalibrationError(
                f"there is no calibration for the engine {view.identity}; fit one with "
                "`facesim calibrate --people FOLDER`"
            )
        return calibration
    shipped = shipped_calibration(view.identity.key)
    if shipped is not None and name in (SHIPPED, shipped.name):
        return shipped
    kept = calibration_rows.get(view.transaction, name)
    if kept is None:
        raise _unknown(view, name)
    return from_json(kept.document)


def keep(store: IndexStore, calibration: Calibration, *, use: bool) -> None:
    """Store a calibration with an index, and replace one of the same name.

    Parameters
    ----------
    store : IndexStore
        Writable.
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
        Its name is that of the shipped calibration.
    """
    check_engine(calibration, store.identity)
    check_name(store.identity, calibration.name)
    with store.write() as transaction:
        calibration_rows.put(
            transaction, calibration.name, calibration.engine_key, to_json(calibration)
        )
        if use:
            calibration_rows.activate(transaction, calibration.name)
    refresh_estimates(store)


def use(store: IndexStore, name: str) -> Calibration:
    """Make an index's degrees with a calibration that it keeps, or with the shipped one.

    Parameters
    ----------
    store : IndexStore
        Writable.
    name : str
        `SHIPPED` and its own name choose the shipped one.

    Returns
    -------
    Calibration
        The one that was chosen.

    Raises
    ------
    UsageError
        There is none of this name.
    """
    shipped = shipped_calibration(store.identity.key)
    chosen = None if shipped and name in (SHIPPED, shipped.name) else name
    with store.write() as transaction:
        known = calibration_rows.activate(transaction, chosen)
    if not known:
        with store.read() as view:
            raise _unknown(view, name)
    refresh_estimates(store)
    with store.read() as view:
        return named(view)


def drop(store: IndexStore, name: str) -> Calibration | None:
    """Remove a calibration from an index; if it was in force, the shipped one is again.

    Parameters
    ----------
    store : IndexStore
        Writable.
    name : str
        Not that of the shipped calibration.

    Returns
    -------
    Calibration or None
        The one that is in force afterwards.

    Raises
    ------
    UsageError
        There is none of this name, or it comes with the package.
    """
    check_name(store.identity, name)
    with store.write() as transaction:
        known = calibration_rows.drop(transaction, name)
    if not known:
        with store.read() as view:
            raise _unknown(view, name)
    refresh_estimates(store)
    with store.read() as view:
        return calibration_in_force(view)


def read_calibration(file: Path) -> Calibration:
    """Read a calibration from a file that ``facesim calibrate export`` wrote.

    Parameters
    ----------
    file : Path
        JSON, UTF-8.

    Returns
    -------
    Calibration

    Raises
    ------
    CalibrationError
        The file cannot be read or holds something else.

    Examples
    --------
    >>> from facesim_index import read_calibration
    >>> from facesim_index.calibration.document import to_json
    >>> _ = Path("mine.json").write_text(to_json(index.calibration()))
    >>> read_calibration(Path("mine.json")).name
    'example'
    """
    try:
        return from_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, CalibrationError) as error:
        raise CalibrationError(f"{file}: {error}") from error


def check_engine(calibration: Calibration, identity: EngineIdentity) -> None:
    """Refuse a calibration that was fitted for another engine.

    Parameters
    ----------
    calibration : Calibration
    identity : EngineIdentity
        Of the engine that makes the embeddings.

    Raises
    ------
    EngineMismatchError
        It is for the embeddings of another engine.
    CalibrationError
        Its head was learned for embeddings of another dimension.
    """
    if calibration.engine_key != identity.key:
        raise EngineMismatchError(
            f"calibration {calibration.name!r} is for another engine "
            f"({calibration.engine_key}) than the one in use: {identity}; "
            "its degrees would be wrong here"
        )
    calibration.head.check_dimension(identity.dimension)


def check_name(identity: EngineIdentity, name: str) -> None:
    """Refuse the names of the calibration that comes with the package for an engine.

    Parameters
    ----------
    identity : EngineIdentity
        Of the engine of an index.
    name : str
        For a calibration of the user's own.

    Raises
    ------
    UsageError
        It is `SHIPPED`, or the own name of the shipped calibration.
    """
    shipped = shipped_calibration(identity.key)
    if name == SHIPPED or (shipped is not None and name == shipped.name):
        raise UsageError(
            f"{name!r} is the calibration that comes with the package; it can be neither "
            "replaced nor dropped"
        )


def _unknown(view: CatalogView, name: str) -> UsageError:
    names = ", ".join(entry.calibration.name for entry in listed(view)) or "none"
    return UsageError(f"there is no calibration {name!r} in {view.location}; there are: {names}")
