"""The calibrations that come with the package, by engine."""

import functools
import importlib.resources

from facesim_index.calibration.document import from_json
from facesim_index.calibration.record import Calibration


def shipped_calibration(engine_key: str) -> Calibration | None:
    """Return the calibration that comes with the package for an engine.

    Parameters
    ----------
    engine_key : str
        `EngineIdentity.key`.

    Returns
    -------
    Calibration or None
        None when the package has no calibration for exactly this engine.

    Raises
    ------
    CalibrationError
        A file of the package is damaged.

    Examples
    --------
    >>> shipped_calibration("detector=unknown") is None
    True
    """
    return _shipped().get(engine_key)


@functools.cache
def _shipped() -> dict[str, Calibration]:
    folder = importlib.resources.files("facesim_index.calibration.data")
    curves = [
        from_json(entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    ]
    return {calibration.engine_key: calibration for calibration in curves}
