"""Kinds of faces of which an embedding tells: a child, a mask, sunglasses.

A `KindProbe` is one linear layer on the embedding for each kind.  It is fitted for one engine, by
``tools/fit_kind_probes.py``, which also says how many faces of each kind it finds and how many
others it takes for one.  `shipped_probe` returns the probe that comes with the package.
"""

import functools
import importlib.resources
import json
from dataclasses import dataclass

import numpy as np

from facesim_index.errors import CalibrationError
from facesim_index.records import BoolArray, Float32Array, Float64Array
from facesim_index.utils.text import json_text

CHILD, MASKED, SUNGLASSES = "child", "masked", "sunglasses"
"""A face of a child up to 12 years, one behind a mask, one behind sunglasses."""

FOLDER = "kinds"
"""Folder of the shipped files, among the package's calibrations."""

_FORMAT, _VERSION = "facesim-kinds", 1
_KEYS = {"format", "version", "engine_keys", "data", "least_detection", "kinds"}
_KIND_KEYS = {"name", "least_log_odds", "offset", "weights"}


@dataclass(frozen=True, slots=True, eq=False)
class KindProbe:
    """Tells kinds of faces by their embeddings.

    Attributes
    ----------
    engine_keys : tuple of str
        `EngineIdentity.key` of each engine whose embeddings it was tried on.
    data : str
        What it was fitted on, for people.
    kinds : tuple of str
        Names of the kinds, such as `CHILD`.
    weights : ndarray of shape (n_kinds, dimension), float64
    offsets : ndarray of shape (n_kinds,), float64
    least_log_odds : ndarray of shape (n_kinds,), float64
        From these log-odds on a face counts as one of the kind.
    least_detection : float
        Faces of these engines with a lower detection score are poor evidence; in [0, 1].

    Raises
    ------
    CalibrationError
        The shapes do not go together, or a number is not finite.

    Examples
    --------
    >>> weights = np.array([[2.0, 0.0]])
    >>> offsets, least = np.array([-1.0]), np.array([0.0])
    >>> probe = KindProbe(("engine",), "made up", ("child",), weights, offsets, least, 0.7)
    >>> probe.log_odds(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32))
    array([[ 1.],
           [-1.]])
    """

    engine_keys: tuple[str, ...]
    data: str
    kinds: tuple[str, ...]
    weights: Float64Array
    offsets: Float64Array
    least_log_odds: Float64Array
    least_detection: float

    def __post_init__(self) -> None:
        count = len(self.kinds)
        numbers = (self.weights, self.offsets, self.least_log_odds)
        if (
            not self.engine_keys
            or self.weights.ndim != 2
            or [len(values) for values in numbers] != [count] * 3
            or not all(np.isfinite(values).all() for values in numbers)
            or not 0.0 <= self.least_detection <= 1.0
        ):
            raise CalibrationError("a probe for kinds of faces needs a finite row for each kind")

    def log_odds(self, embeddings: Float32Array) -> Float64Array:
        """Return how surely each face is of each kind: a smooth number, not a decision.

        Parameters
        ----------
        embeddings : ndarray of shape (n, dimension), float32
            Unit norm, by one of the engines.

        Returns
        -------
        ndarray of shape (n, n_kinds), float64
            Natural logarithm of the odds, where faces of the kind are as frequent as others.
        """
        return embeddings.astype(np.float64) @ self.weights.T + self.offsets

    def of_kind(self, embeddings: Float32Array) -> BoolArray:
        """Tell which faces count as which kind.

        Parameters
        ----------
        embeddings : ndarray of shape (n, dimension), float32
            Unit norm, by one of the engines.

        Returns
        -------
        ndarray of shape (n, n_kinds), bool
        """
        found: BoolArray = self.log_odds(embeddings) >= self.least_log_odds
        return found


def shipped_probe(engine_key: str) -> KindProbe | None:
    """Return the probe that comes with the package for an engine.

    Parameters
    ----------
    engine_key : str
        `EngineIdentity.key`.

    Returns
    -------
    KindProbe or None
        None when the package has none for exactly this engine.

    Raises
    ------
    CalibrationError
        A file of the package is damaged.

    Examples
    --------
    >>> shipped_probe("detector=unknown") is None
    True
    """
    return _shipped().get(engine_key)


@functools.cache
def _shipped() -> dict[str, KindProbe]:
    folder = importlib.resources.files("facesim_index.calibration.data") / FOLDER
    probes = [
        probe_of_json(entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    ]
    return {key: probe for probe in probes for key in probe.engine_keys}


def probe_json(probe: KindProbe) -> str:
    """Return a probe as readable JSON text, with the weights of one kind on a line.

    Parameters
    ----------
    probe : KindProbe

    Returns
    -------
    str
        Weights and offsets have four decimals.
    """
    kinds = [
        json_text(
            {
                "name": name,
                "least_log_odds": round(float(least), 4),
                "offset": round(float(offset), 4),
                "weights": np.round(row, 4).tolist(),
            }
        )
        for name, least, offset, row in zip(
            probe.kinds, probe.least_log_odds, probe.offsets, probe.weights, strict=True
        )
    ]
    head = json_text(
        {
            "format": _FORMAT,
            "version": _VERSION,
            "engine_keys": list(probe.engine_keys),
            "data": probe.data,
            "least_detection": probe.least_detection,
        },
        indent=2,
    )
    rows = ",\n    ".join(kinds)
    return f'{head.removesuffix("}").rstrip()},\n  "kinds": [\n    {rows}\n  ]\n}}\n'


def probe_of_json(text: str) -> KindProbe:
    """Read a probe from the text that `probe_json` wrote.

    Parameters
    ----------
    text : str

    Returns
    -------
    KindProbe

    Raises
    ------
    CalibrationError
        It is not such a text.
    """
    try:
        content = json.loads(text)
        if content.keys() != _KEYS or (content["format"], content["version"]) != (
            _FORMAT,
            _VERSION,
        ):
            raise ValueError("its keys, format or version are others")
        kinds = content["kinds"]
        if any(kind.keys() != _KIND_KEYS for kind in kinds):
            raise ValueError("a kind has other keys")
        return KindProbe(
            engine_keys=tuple(map(str, content["engine_keys"])),
            data=str(content["data"]),
            kinds=tuple(str(kind["name"]) for kind in kinds),
            weights=np.array([kind["weights"] for kind in kinds], dtype=np.float64),
            offsets=np.array([kind["offset"] for kind in kinds], dtype=np.float64),
            least_log_odds=np.array([kind["least_log_odds"] for kind in kinds], dtype=np.float64),
            least_detection=float(content["least_detection"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CalibrationError(f"not a probe for kinds of faces: {error}") from error
