"""Which calibration the degrees of an index are made with."""

from facesim_index.calibration.document import from_json
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.shipped import shipped_calibration
from facesim_index.store.catalog import index_state
from facesim_index.store.catalog.transaction import require_whole
from facesim_index.store.protocols import CatalogView


def calibration_in_force(view: CatalogView) -> Calibration | None:
    """Return the calibration that the degrees of an index are made with.

    That is the one chosen for the index, otherwise the one that comes with the package for its
    engine, otherwise None.

    Parameters
    ----------
    view : CatalogView

    Returns
    -------
    Calibration or None

    Raises
    ------
    IndexDamagedError
        The row of a calibration is not as it was written.
    """
    require_whole(view.transaction, "calibration")
    document = index_state.active_calibration(view.transaction)
    if document is not None:
        return from_json(document)
    return shipped_calibration(view.identity.key)
