"""A head as JSON: readable, but for the weights, which are kept to the last bit."""

import base64
import binascii

import numpy as np

from facesim_index.calibration.heads import COSINE, LEARNED, Head
from facesim_index.errors import CalibrationError

_KEYS = {"kind", "shape", "float32"}


def head_document(head: Head) -> dict[str, object]:
    """Return a head as JSON has it.

    Parameters
    ----------
    head : Head

    Returns
    -------
    dict
        ``kind``; of a learned head also ``shape``, and ``float32``: its weights row by row as
        little-endian single precision in base64.
    """
    if not head.learned:
        return {"kind": head.kind}
    data = head.weights.astype("<f4").tobytes()
    return {
        "kind": head.kind,
        "shape": list(head.weights.shape),
        "float32": base64.b64encode(data).decode("ascii"),
    }


def head_of_document(value: object) -> Head:
    """Read a head from what `head_document` gave.

    Parameters
    ----------
    value : object
        From JSON.

    Returns
    -------
    Head

    Raises
    ------
    CalibrationError
        It has a key or a value that does not belong there.
    """
    if not isinstance(value, dict):
        raise CalibrationError("head must have the key kind")
    if value.get("kind") == COSINE.kind:
        if len(value) > 1:
            raise CalibrationError("head of kind cosine must have no other key")
        return COSINE
    kind = next((kind for kind in LEARNED if kind == value.get("kind")), None)
    if kind is None:
        raise CalibrationError(
            f"head.kind must be one of cosine, {', '.join(LEARNED)}, not {value.get('kind')!r}"
        )
    if set(value) != _KEYS:
        raise CalibrationError(f"head must have exactly the keys {', '.join(sorted(_KEYS))}")
    shape, text = value["shape"], value["float32"]
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 2
        or not all(type(length) is int and length > 0 for length in shape)
    ):
        raise CalibrationError("head.shape must be a list of one or two whole numbers")
    try:
        if not isinstance(text, str):
            raise CalibrationError("head.float32 must be a text")
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CalibrationError(f"head.float32 is not base64: {error}") from error
    if len(data) != 4 * int(np.prod(shape, dtype=object)):
        raise CalibrationError("head.float32 is not as long as head.shape says")
    return Head(kind, np.frombuffer(data, dtype="<f4").reshape(shape))
