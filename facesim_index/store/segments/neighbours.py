"""The faces nearest to a query, with exact cosines."""

import numpy as np
from numpy.typing import NDArray

from facesim_index.records import Float32Array, Float64Array


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
