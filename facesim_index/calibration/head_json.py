"""Heads and normalisations as JSON.  Weights are in base64, so that every bit of them is kept."""

import base64
import binascii

import numpy as np

from facesim_index.calibration.heads import COSINE, LEARNED, Head
from facesim_index.calibration.normalisation import Normalisation
from facesim_index.errors import CalibrationError
from facesim_index.records import Float32Array

_KEYS = {"kind", "shape", "float32"}
_NORMALISATION_KEYS = {"middle", "top", "cut", "shape", "float32"}


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
    return {"kind": head.kind, **_weights_document(head.weights)}


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
    return Head(kind, _weights_of_document(value, "head"))


def normalisation_document(normalisation: Normalisation | None) -> dict[str, object] | None:
    """Return a normalisation as a JSON object, None without one.

    Parameters
    ----------
    normalisation : Normalisation or None

    Returns
    -------
    dict or None
        ``middle`` and ``top``, and the weights as of a head.

    Examples
    --------
    >>> normalisation_document(Normalisation(0.0, 0.25, 0.5, np.zeros((1, 2), np.float32)))
    {'middle': 0.0, 'top': 0.25, 'cut': 0.5, 'shape': [1, 2], 'float32': 'AAAAAAAAAAA='}
    """
    if normalisation is None:
        return None
    return {
        "middle": normalisation.middle,
        "top": normalisation.top,
        "cut": normalisation.cut,
        **_weights_document(normalisation.weights),
    }


def normalisation_of_document(value: object) -> Normalisation | None:
    """Make a normalisation from a JSON object, as `normalisation_document` returns it.

    Parameters
    ----------
    value : object
        As `json.loads` returns it.

    Returns
    -------
    Normalisation or None

    Raises
    ------
    CalibrationError
        A key is missing, or a key or a value does not belong there.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != _NORMALISATION_KEYS:
        keys = ", ".join(sorted(_NORMALISATION_KEYS))
        raise CalibrationError(f"normalisation must have exactly the keys {keys}")
    numbers = [value[key] for key in ("middle", "top", "cut")]
    for number in numbers:
        if not isinstance(number, float | int) or isinstance(number, bool) or abs(number) > 1.0:
            raise CalibrationError("normalisation.middle, top and cut must be from -1 to 1")
    middle, top, cut = (float(number) for number in numbers)
    return Normalisation(middle, top, cut, _weights_of_document(value, "normalisation"))


def _weights_document(weights: Float32Array) -> dict[str, object]:
    data = weights.astype("<f4").tobytes()
    return {
        "shape": list(weights.shape),
        "float32": base64.b64encode(data).decode("ascii"),
    }


def _weights_of_document(value: dict[str, object], where: str) -> Float32Array:
    shape, text = value["shape"], value["float32"]
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 2
        or not all(type(length) is int and length > 0 for length in shape)
    ):
        raise CalibrationError(f"{where}.shape must be a list of one or two whole numbers")
    try:
        if not isinstance(text, str):
            raise CalibrationError(f"{where}.float32 must be a text")
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CalibrationError(f"{where}.float32 is not base64: {error}") from error
    if len(data) != 4 * int(np.prod(shape, dtype=object)):
        raise CalibrationError(f"{where}.float32 is not as long as {where}.shape says")
    return np.frombuffer(data, dtype="<f4").reshape(shape).astype(np.float32)
