"""The faces nearest to a query, with exact cosines."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesim_index.records import Float32Array, Float64Array, Int64Array


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The faces nearest to one query, most similar first, ties by face id.

    Attributes
    ----------
    face_ids : ndarray of shape (n,), int64
    cosines : ndarray of shape (n,), float64
        Exact for the stored embedding, in [-1, 1].
    """

    face_ids: Int64Array
    cosines: Float64Array


def exact_cosines(vectors: NDArray[np.float16], query: Float32Array) -> Float64Array:
    """Return the cosines of stored embeddings with one query, in double precision.

    Parameters
    ----------
    vectors : ndarray of shape (n, dimension), float16
    query : ndarray of shape (dimension,), float32, unit norm

    Returns
    -------
    cosines : ndarray of shape (n,), float64
        In [-1, 1].
    """
    # Row by row, unlike BLAS: equal embeddings have equal cosines, whatever stands beside them.
    cosines: Float64Array = np.einsum(
        "ij,j->i", vectors.astype(np.float64), query.astype(np.float64)
    )
    return np.clip(cosines, -1.0, 1.0, out=cosines)
