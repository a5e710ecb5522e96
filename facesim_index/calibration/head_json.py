"""Heads as JSON.  Weights are encoded in base64, so that every bit of them is kept."""

import base64
import binascii

import numpy as np

from facesim_index.calibration.heads import COSINE, LEARNED, Head
from facesim_index.errors import CalibrationError

_KEYS = {"kind", "shape", "float32"}


def head_document(head: Head) -> dict[str, object]:
    """Return a head as a JSON object.

    Parameters
    ----------
    head : Head

    Returns
    -------
    dict
        ``kind``.  A learned head also has ``shape``, and ``float32``: its weights, row by row, in
        little-endian single precision and base64.

    Examples
    --------
    >>> head_document(COSINE)
    {'kind': 'cosine'}
    >>> head_document(Head("product", np.array([1.0, 0.5], np.float32)))
    {'kind': 'product', 'shape': [2], 'float32': 'AACAPwAAAD8='}
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
    """Make a head from a JSON object, as `head_document` returns it.

    Parameters
    ----------
    value : object
        As `json.loads` returns it.

    Returns
    -------
    Head

    Raises
    ------
    CalibrationError
        A key is missing, or a key or a value does not belong there.

    Examples
    --------
    >>> head_of_document({"kind": "product", "shape": [2], "float32": "AACAPwAAAD8="}).weights
    array([1. , 0.5], dtype=float32)
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
