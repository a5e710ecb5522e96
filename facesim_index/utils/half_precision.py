"""Convert half precision numbers, in which embeddings are stored, to single precision."""

import numpy as np
from numpy.typing import NDArray

from facesim_index.records import Float32Array

_SIGN_EXPONENT_FRACTION = np.int32(0x8FFFE000 - (1 << 32))
_EXPONENT_SHIFT = np.float32(2.0**112)


def widened(vectors: NDArray[np.float16]) -> Float32Array:
    """Convert half precision numbers to single precision, much faster than by a cast.

    The bits of exponent and fraction are moved to their places in the wider number.  The exponent
    is then too small by a fixed amount, which one multiplication corrects.  That is exact, also for
    subnormal numbers.

    Parameters
    ----------
    vectors : ndarray of any shape, float16, C-contiguous
        Finite.

    Returns
    -------
    ndarray of the same shape, float32

    Examples
    --------
    >>> widened(np.array([0.5, -2.0], dtype=np.float16))
    array([ 0.5, -2. ], dtype=float32)
    """
    bits = vectors.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _SIGN_EXPONENT_FRACTION
    wide: Float32Array = bits.view(np.float32)
    wide *= _EXPONENT_SHIFT
    return wide
