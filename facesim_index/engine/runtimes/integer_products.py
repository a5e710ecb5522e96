"""Products of matrices of small whole numbers, by which ONNX Runtime is several times as fast."""

import logging
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from facesim_index.engine.runtimes.onnxruntime_network import open_session
from facesim_index.records import UInt8Array

Int8Array = NDArray[np.int8]
Int32Array = NDArray[np.int32]

LEFT_ZERO = 64
"""What stands for zero on the left side."""

LEFT_LEVELS, RIGHT_LEVELS = 63, 127
"""Numbers of the left side lie within this of `LEFT_ZERO`, those of the right side of 0.

Processors without instructions for it add two products in 16 bits: 2 * 127 * 127 just fits in.
"""

IntegerProducts = Callable[[UInt8Array, Int8Array], Int32Array]
"""Takes (n, m) numbers of the left side and (m, k) of the right; returns their (n, k) products."""

_TRIED = (3, 512, 5)

logger = logging.getLogger(__name__)


@cache
def integer_products() -> IntegerProducts | None:
    """Return what multiplies matrices of whole numbers, exactly and in the calling thread.

    Returns
    -------
    callable or None
        None where the runtime has no such product, or one whose results are wrong.

    Examples
    --------
    >>> products = integer_products()
    >>> products(np.array([[64, 66]], np.uint8), np.array([[5], [7]], np.int8))
    array([[14]], dtype=int32)
    """
    try:
        products = _products()
        return products if _are_exact(products) else None
    except Exception:  # whatever the runtime lacks, nobody needs it for this
        logger.warning("whole numbers are not multiplied by ONNX Runtime", exc_info=True)
        return None


def _products() -> IntegerProducts:
    from onnx import TensorProto, helper

    left = helper.make_tensor_value_info("left", TensorProto.UINT8, ["n", "m"])
    right = helper.make_tensor_value_info("right", TensorProto.INT8, ["m", "k"])
    out = helper.make_tensor_value_info("out", TensorProto.INT32, ["n", "k"])
    zero = helper.make_tensor("zero", TensorProto.UINT8, [], [LEFT_ZERO])
    node = helper.make_node("MatMulInteger", ["left", "right", "zero"], ["out"])
    graph = helper.make_graph([node], "products", [left, right], [out], [zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = open_session(model, "cpu", threads=1)

    def products(left: UInt8Array, right: Int8Array) -> Int32Array:
        [found] = session.run(None, {"left": left, "right": right})
        return np.asarray(found, dtype=np.int32)

    return products


def _are_exact(products: IntegerProducts) -> bool:
    """Try the largest numbers there are, which add up to more than 16 bits hold."""
    n, m, k = _TRIED
    for sign in (1, -1):
        left = np.full((n, m), LEFT_ZERO + sign * LEFT_LEVELS, dtype=np.uint8)
        right = np.full((m, k), RIGHT_LEVELS, dtype=np.int8)
        if (products(left, right) != sign * m * LEFT_LEVELS * RIGHT_LEVELS).any():
            return False
    return True
