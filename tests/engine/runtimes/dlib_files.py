"""Files in dlib's format, for tests of how they are read."""

import numpy as np

from facesim_index.records import Float32Array

#: Channels in and out of the two convolutions of each block of the published network.
BLOCKS = (
    [(32, 32)] * 3
    + [(32, 64)]
    + [(64, 64)] * 3
    + [(64, 128)]
    + [(128, 128)] * 2
    + [(128, 256)]
    + [(256, 256)] * 3
)


def whole_number(number: int) -> bytes:
    """Return a whole number as dlib writes it."""
    length = max(1, (number.bit_length() + 7) // 8)
    return bytes([length]) + number.to_bytes(length, "little")


def tensor(values: Float32Array, *axes: int) -> bytes:
    """Return a tensor as dlib writes it."""
    sizes = [*(axes or (values.size,)), 1, 1, 1][:4]
    header = whole_number(2) + b"".join(whole_number(size) for size in sizes)
    return header + values.astype("<f4").tobytes()


def layer(name: str, parameters: bytes) -> bytes:
    """Return a layer: its name, what it holds, and some settings that do not matter."""
    return whole_number(len(name)) + name.encode() + parameters + b"\x01\x00" * 9


def convolution(
    filters: Float32Array, added: Float32Array, scale: Float32Array, shift: Float32Array
) -> bytes:
    """Return a convolution and the scaling that follows it."""
    first = layer("con_4", tensor(np.concatenate([filters.ravel(), added])))
    return first + layer("affine_", tensor(np.concatenate([scale, shift])))


def constant_convolution(channels: int, from_channels: int, side: int, value: float) -> bytes:
    """Return a convolution that gives one value whatever it is given."""
    filters = np.zeros((channels, from_channels, side, side), dtype=np.float32)
    half = np.full(channels, 0.5, dtype=np.float32)
    # (0 + 0.5) * 2 + (value - 1)
    return convolution(
        filters, half, np.full(channels, 2.0, np.float32), half * 0 + np.float32(value - 1.0)
    )


def constant_network(values: list[float], matrix: Float32Array) -> bytes:
    """Return a network whose convolutions give constants.

    `values` has that of the first convolution, and of the second one of each block.
    """
    parts = [layer("loss_metric_2", b""), constant_convolution(32, 3, 7, values[0])]
    for (from_channels, channels), value in zip(BLOCKS, values[1:], strict=True):
        parts.append(constant_convolution(channels, from_channels, 3, 0.25))
        parts.append(constant_convolution(channels, channels, 3, value))
        parts.append(layer("add_prev_", b"") + layer("relu_", b""))
    size = whole_number(128) + whole_number(256) + whole_number(1)
    parts.append(layer("fc_2", size + tensor(matrix, 256, 128)))
    return b"".join(parts)
