"""What makes dlib's embeddings comparable by their cosines.

dlib's network was trained for distances: its embeddings all lie on one side of the origin, where
those of strangers have a cosine of 0.84, and spread ten times as far in some directions as in
others.  A `Balance` takes most of their mean away and evens the directions out.  It is fitted by
``tools/fit_dlib_balance.py`` on faces without any names, and is a part of what an embedding means:
``balance.json`` never changes, or indexes would hold embeddings of two kinds.
"""

import importlib.resources
import json
from dataclasses import dataclass
from typing import Self

import numpy as np

from facesim_index.records import Float32Array, Float64Array

#: Directions are divided by this power of the variance along them.  At 1/2 all of them would
#: count alike, the ones that hold only noise among them.
POWER = 1 / 4
#: Share of the mean that is taken away.  Embeddings near the mean are short without it, and where a
#: short one points to is mostly chance: what is left of the mean keeps them near one another.
SHARE_OF_MEAN = 0.95
#: Least variance that is taken for true, as a share of the greatest one.
_LEAST_VARIANCE = 1e-3
#: Numbers of the file are whole multiples of this.
_STEP = 1e-4
_FILE_NAME = "balance.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Balance:
    """A shift and a symmetric linear map of embeddings of unit norm.

    Attributes
    ----------
    shift : ndarray of shape (dimension,), float64
        What is taken away.
    matrix : ndarray of shape (dimension, dimension), float64
    """

    shift: Float64Array
    matrix: Float64Array

    @classmethod
    def fitted(cls, descriptors: Float32Array) -> Self:
        """Fit one on embeddings of many faces; nobody needs to know whose they are.

        Parameters
        ----------
        descriptors : ndarray of shape (n, dimension), float32
            As the network gives them.

        Returns
        -------
        Balance
            Rounded as its file is.
        """
        unit = _unit(descriptors)
        shift = SHARE_OF_MEAN * unit.mean(axis=0)
        variance, directions = np.linalg.eigh(np.cov(unit, rowvar=False))
        factors = np.maximum(variance, _LEAST_VARIANCE * variance.max()) ** -POWER
        # Directions without variance hold nothing but rounding errors of the network.
        factors[variance < _LEAST_VARIANCE * variance.max()] = 0.0
        matrix = (directions * (factors / factors.max())) @ directions.T
        return cls(np.round(shift / _STEP) * _STEP, np.round(matrix / _STEP) * _STEP)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read one from the text of its file.

        Parameters
        ----------
        text : str

        Returns
        -------
        Balance

        Raises
        ------
        ValueError
            It is in another format.
        """
        record = json.loads(text)
        if record["format"] != _FORMAT:
            raise ValueError(f"unknown format {record['format']} of a balance")
        lower = np.zeros((len(record["shift"]),) * 2)
        for number, row in enumerate(record["rows"]):
            lower[number, : number + 1] = row
        matrix = lower + np.tril(lower, -1).T
        return cls(np.array(record["shift"]) * _STEP, matrix * _STEP)

    def to_json(self) -> str:
        """Return the text of its file: the matrix row by row up to its diagonal.

        Returns
        -------
        str
        """
        rows = [_whole(row[: number + 1]) for number, row in enumerate(np.asarray(self.matrix))]
        lines = ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in rows)
        shift = json.dumps(_whole(self.shift), separators=(",", ":"))
        head = f'{{"format": {_FORMAT}, "step": {_STEP},\n "shift": {shift},'
        return f'{head}\n "rows": [\n  {lines}]}}\n'

    def applied(self, descriptors: Float32Array) -> Float32Array:
        """Return balanced embeddings.

        Parameters
        ----------
        descriptors : ndarray of shape (n, dimension), float32
            As the network gives them.

        Returns
        -------
        ndarray of shape (n, dimension), float32
            Of any norm.
        """
        return np.asarray((_unit(descriptors) - self.shift) @ self.matrix, dtype=np.float32)


def shipped_balance() -> Balance:
    """Return the balance that comes with the package.

    Returns
    -------
    Balance
    """
    folder = importlib.resources.files("facesim_index.engine.dlib")
    return Balance.from_json((folder / _FILE_NAME).read_text(encoding="utf-8"))


def _unit(descriptors: Float32Array) -> Float64Array:
    exact = descriptors.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    return np.asarray(exact / norms, dtype=np.float64)


def _whole(numbers: Float64Array) -> list[int]:
    return [int(number) for number in np.round(numbers / _STEP)]
