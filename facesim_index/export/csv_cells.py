"""The text of many numbers at once: fixed decimals, looked up instead of formatted.

A value is first turned into *units* of its last printed decimal (0.12345 at 5 decimals is
12,345 units), with exactly the rounding of Python's own ``format(value, ".5f")``.  The units
then index a table of ready-made text.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from facesim_index.records import Float32Array, Float64Array, Int64Array, UInt8Array

Int32Array = NDArray[np.int32]
VoidArray = NDArray[np.void]

MISSING = np.iinfo(np.int32).min
"""Units of a cell that is left out."""

MAX_DECIMALS = 6

_UNSURE = MISSING + 1
_COLUMN_BITS = 32
_RATE_DECADES = 20
_BUCKETS_PER_UNIT = 1 << 19
# Few enough for their table to stay in a processor's cache.
_SINGLE_BUCKETS = 1 << 15
# Inner products of vectors that are unit only up to fp16 rounding pass 1 a little.
_TABLE_REACH = 1.0 + 1 / 32
# The function's own rounding noise (about 1e-16) must not reach across a bucket's end.
_EDGE_GUARD = 2.0**-32
# Which bucket a number in single precision is in is known to 2**-23.
_SINGLE_EDGE_GUARD = 2.0**-20
# An exact cosine of a listed pair takes some forty times as long as one of a block.
_FEW_UNSURE = 1 / 64


def rounded_units(values: Float64Array, decimals: int) -> Int32Array:
    """Return what ``format(value, f".{decimals}f")`` prints, as a whole number of units.

    Parameters
    ----------
    values : ndarray of any shape, float64
        At most 20,000,000 units from 0.
    decimals : int
        From 1 to 6.

    Returns
    -------
    units : ndarray of the same shape, int32

    Examples
    --------
    >>> rounded_units(np.array([0.125, -0.5]), 2)
    array([ 12, -50], dtype=int32)
    """
    scaled = values * 10.0**decimals
    nearest = np.rint(scaled)
    units: Int32Array = nearest.astype(np.int32)
    np.subtract(scaled, nearest, out=scaled)
    # The product above is rounded itself, so close to a tie only the decimal expansion knows.
    near_tie = np.flatnonzero(np.abs(scaled, out=scaled) > 0.5 - 1e-7)
    for cell in near_tie:
        text = format(float(values.flat[cell]), f".{decimals}f")
        units.flat[cell] = int(text.replace(".", ""))
    return units


class StepLookup:
    """A monotone function of a cosine with whole-number values, looked up in a table.

    The range of a cosine is cut into buckets 2e-6 wide.  Where the function has the same value at
    both ends of a bucket, it has that value everywhere in it.  The function itself is only called
    for cosines in the few other buckets, so the result is always the one it would give.

    Parameters
    ----------
    function : callable
        Takes cosines of shape (n,), float64, and returns int32 of the same shape.  Monotone over
        [-1, 1] and constant outside.
    """

    def __init__(self, function: Callable[[Float64Array], Int32Array]) -> None:
        self.function = function
        self._table: Int32Array = np.empty(0, dtype=np.int32)  # until it is needed

    def __call__(self, cosines: Float64Array) -> Int32Array:
        """Return the function's values.

        Parameters
        ----------
        cosines : ndarray of any shape, float64, C-contiguous
            In [-1.03, 1.03].

        Returns
        -------
        values : ndarray of the same shape, int32
        """
        if not len(self._table):
            self._table = _step_table(self.function, _BUCKETS_PER_UNIT, _EDGE_GUARD)
        # A power of two and a sum below 2**53 units of 2**-48: the bucket is found exactly.
        bucket = cosines * _BUCKETS_PER_UNIT
        bucket += int(_TABLE_REACH * _BUCKETS_PER_UNIT)
        values: Int32Array = np.take(self._table, bucket.astype(np.intp), mode="clip")
        unsure = np.flatnonzero(values == _UNSURE)
        values.flat[unsure] = self.function(cosines.reshape(-1)[unsure])
        return values


class SingleStepLookup:
    """A monotone function of a cosine, looked up from the cosine in single precision.

    Buckets are 3e-5 wide.  Both ends of a bucket are moved outwards by the error of single
    precision.  Where the function has the same value at both of them, it has that value for every
    exact cosine that may belong to the rounded one.  The other cosines, which are few, are computed
    exactly and given to the function itself, so the result is always its value at the exact cosine.

    Parameters
    ----------
    function : callable
        As for `StepLookup`.
    error : float
        The largest error of a cosine in single precision.
    """

    def __init__(self, function: Callable[[Float64Array], Int32Array], error: float) -> None:
        self._function = function
        self._table = _step_table(function, _SINGLE_BUCKETS, error + _SINGLE_EDGE_GUARD)

    def __call__(
        self, cosines: Float32Array, exact: Callable[[Int64Array], Float64Array]
    ) -> Int32Array | None:
        """Return the function's values at the exact cosines.

        Parameters
        ----------
        cosines : ndarray of any shape, float32, C-contiguous
            In [-1.03, 1.03]; overwritten.
        exact : callable
            Takes the places of cells in the flattened `cosines` and returns their exact cosines,
            float64.

        Returns
        -------
        values : ndarray of the same shape, int32
            None when so many cells need an exact cosine that computing all is faster.
        """
        cosines *= np.float32(_SINGLE_BUCKETS)
        cosines += np.float32(int(_TABLE_REACH * _SINGLE_BUCKETS))
        values: Int32Array = np.take(self._table, cosines.astype(np.intp), mode="clip")
        unsure = np.flatnonzero(values == _UNSURE)
        if len(unsure) > values.size * _FEW_UNSURE:
            return None
        values.flat[unsure] = self._function(exact(unsure))
        return values


def _step_table(
    function: Callable[[Float64Array], Int32Array], per_unit: int, guard: float
) -> Int32Array:
    """Return the value of a function in each bucket and `guard` around it, or `_UNSURE`."""
    last = int(_TABLE_REACH * per_unit)
    edges = np.arange(-last, last + 1) / per_unit
    low, high = function(edges[:-1] - guard), function(edges[1:] + guard)
    return np.where(low == high, low, np.int32(_UNSURE)).astype(np.int32)


def rate_units(values: Float64Array) -> Int32Array:
    """Return the number of the text of each rate among all texts ``format(rate, ".2e")``.

    Parameters
    ----------
    values : ndarray of any shape, float64
        Rates in (0, 1]; one below 1e-20 counts as 1e-20.

    Returns
    -------
    units : ndarray of the same shape, int32
        From 0 for ``1.00e-20`` to 18,000 for ``1.00e+00``; higher rates have higher numbers.

    Examples
    --------
    >>> rate_units(np.array([1e-20, 0.5, 1.0]))
    array([    0, 17500, 18000], dtype=int32)
    """
    values = np.maximum(values, 10.0**-_RATE_DECADES)
    decade = np.floor(np.log10(values))
    scaled = values * 10.0 ** (2.0 - decade)
    digits = np.rint(scaled)
    units: Int32Array = ((decade + _RATE_DECADES) * 900.0 + digits - 100.0).astype(np.int32)
    # Close to a tie, or to a power of ten that the logarithm missed, only the text knows.
    unsure = (np.abs(np.abs(scaled - digits) - 0.5) < 1e-7) | (digits < 100) | (digits > 999)
    for cell in np.flatnonzero(unsure):
        mantissa, _, exponent = format(float(values.flat[cell]), ".2e").partition("e")
        units.flat[cell] = (
            (int(exponent) + _RATE_DECADES) * 900 + round(float(mantissa) * 100) - 100
        )
    return units


class NumberText:
    """The text of numbers that are given in units: looked up in tables, not formatted.

    Parameters
    ----------
    lines : ndarray of shape (n,), void of a fixed width
        The text of every number, in ascending order: padded on the left with NUL bytes and ended
        by a line feed.
    lowest : int
        The first of these numbers, in units.
    """

    def __init__(self, lines: VoidArray, lowest: int = 0) -> None:
        self._lines = lines
        self._lowest = lowest

    def line_ends(self, units: Int32Array) -> VoidArray:
        """Return each number as the end of a line.

        Parameters
        ----------
        units : ndarray of shape (n,), int32
            Nothing missing.

        Returns
        -------
        ndarray of shape (n,), void of a fixed width
            Padded on the left with NUL bytes and ended by a line feed.
        """
        cells: VoidArray = self._lines.take(units - self._lowest)
        return cells

    def comma_row(self, units: Int32Array) -> UInt8Array:
        """Return the text of one row of a table: its cells with commas between, and a line feed.

        Parameters
        ----------
        units : ndarray of shape (n,), int32
            ``n >= 1``, nothing missing.

        Returns
        -------
        ndarray of shape (n_bytes,), uint8
        """
        text = self._with_commas(units)
        text[-1] = ord("\n")
        return text

    def _with_commas(self, units: Int32Array) -> UInt8Array:
        """Return the text of each number with a comma after it, writable."""
        text = self.line_ends(units).tobytes().translate(None, b"\0").replace(b"\n", b",")
        return np.frombuffer(bytearray(text), dtype=np.uint8)


class WideText(NumberText):
    """The text of numbers beyond 1 with a fixed number of decimals.

    Parameters
    ----------
    decimals : int
        From 1 to 6.
    reach : int
        No number is further from 0.
    """

    def __init__(self, decimals: int, reach: int) -> None:
        digits = _digits(decimals, reach)
        super().__init__(_as_cells(_signed_lines(digits)), 1 - len(digits))


class RateText(NumberText):
    """The text of rates in the units of `rate_units`: three digits and an exponent."""

    def __init__(self) -> None:
        texts = [
            f"{mantissa / 100:.2f}e-{decade:02d}"
            for decade in range(_RATE_DECADES, 0, -1)
            for mantissa in range(100, 1000)
        ]
        texts.append("1.00e+00")
        characters = np.array(texts, dtype=np.bytes_).view(np.uint8).reshape(len(texts), -1)
        self._commas, lines = (
            _as_cells(np.pad(characters, ((0, 0), (0, 1)), constant_values=ord(end)))
            for end in ",\n"
        )
        super().__init__(lines)

    def _with_commas(self, units: Int32Array) -> UInt8Array:
        return self._commas.take(units).view(np.uint8)


class CellText(NumberText):
    """The text of every number from -1 to 1 with a fixed number of decimals.

    Parameters
    ----------
    decimals : int
        From 1 to 6.
    """

    def __init__(self, decimals: int) -> None:
        digits = _digits(decimals)
        super().__init__(_as_cells(_signed_lines(digits)), -(10**decimals))
        self._width = decimals + 3
        self._commas = _as_cells(np.pad(digits, ((0, 0), (0, 1)), constant_values=ord(",")))

    def _with_commas(self, units: Int32Array) -> UInt8Array:
        if units.min() >= 0:
            return self._commas.take(units).view(np.uint8)
        width = self._width
        starts = np.cumsum(units < 0, dtype=np.int64)  # A minus sign moves all that follows.
        starts += np.arange(0, len(units) * width, width)
        text = np.full(int(starts[-1]) + width, ord("-"), dtype=np.uint8)
        # A cell may start at any byte; what no cell covers stays the minus before one.
        cells: VoidArray = np.ndarray(
            (len(text) - width + 1,), dtype=self._commas.dtype, buffer=text.data, strides=(1,)
        )
        cells[starts] = self._commas.take(np.abs(units))
        return text


class PairLines:
    """Writes the lines ``face_a,face_b,value``, for one `face_a` after the other.

    Parameters
    ----------
    face_ids : ndarray of shape (n,), int64
        Ascending.
    text : NumberText
        Of the values.
    """

    def __init__(self, face_ids: Int64Array, text: NumberText) -> None:
        self._ids = [b"%d," % face_id for face_id in face_ids.tolist()]
        self._id_cells = np.array(self._ids, dtype=np.bytes_)
        self._text = text

    def of_row(self, row: int, units: Int32Array) -> bytes:
        """Return the lines of a face with the faces after it, largest value first.

        Parameters
        ----------
        row : int
            Number of the face in `face_ids`.
        units : ndarray of shape (n,), int32
            Its row of the matrix; `MISSING` leaves a pair out.

        Returns
        -------
        bytes
        """
        kept = row + 1 + np.flatnonzero(units[row + 1 :] != MISSING)
        return self.of_pairs(row, kept, units[kept])

    def of_pairs(self, row: int, others: Int64Array, units: Int32Array) -> bytes:
        """Return the lines of a face with some others, largest value first.

        Parameters
        ----------
        row : int
            Number of the face in `face_ids`.
        others : ndarray of shape (n,), int64
            Numbers of the other faces.
        units : ndarray of shape (n,), int32
            Nothing missing.

        Returns
        -------
        bytes
        """
        if not len(others):
            return b""
        # One whole number that sorts by value, falling, then by face.
        keys = others - (units.astype(np.int64) << _COLUMN_BITS)
        keys.sort()
        kept = keys & ((1 << _COLUMN_BITS) - 1)
        values = self._text.line_ends(((kept - keys) >> _COLUMN_BITS).astype(np.int32))
        first = self._ids[row]
        lines = np.empty(
            len(kept),
            dtype=[("a", "S", len(first)), ("b", self._id_cells.dtype), ("value", values.dtype)],
        )
        lines["a"] = first
        lines["b"] = self._id_cells[kept]
        lines["value"] = values
        return lines.tobytes().translate(None, b"\0")


def _digits(decimals: int, reach: int = 1) -> UInt8Array:
    """Return the characters of the numbers from 0 to `reach`, one number a row.

    Numbers with fewer digits are padded on the left with NUL bytes.
    """
    numbers = np.arange(reach * 10**decimals + 1)
    width = len(str(reach))
    text = np.zeros((len(numbers), width + 1 + decimals), dtype=np.uint8)
    text[:, width] = ord(".")
    columns = [*range(width), *range(width + 1, width + 1 + decimals)]
    for column in reversed(columns):
        rest, digit = np.divmod(numbers, 10)
        shown = slice(None) if column >= width - 1 else numbers > 0
        text[shown, column] = digit[shown] + ord("0")
        numbers = rest
    return text


def _signed_lines(digits: UInt8Array) -> UInt8Array:
    """Return the text of all numbers and their negatives, each with a line feed.

    The first byte is a minus sign or NUL.
    """
    count, width = digits.shape
    text = np.zeros((2 * count - 1, width + 2), dtype=np.uint8)
    text[: count - 1, 0] = ord("-")
    text[: count - 1, 1:-1] = digits[:0:-1]
    text[count - 1 :, 1:-1] = digits
    text[:, -1] = ord("\n")
    return text


def _as_cells(text: UInt8Array) -> VoidArray:
    dtype: np.dtype[np.void] = np.dtype((np.void, text.shape[1]))
    return np.ascontiguousarray(text).view(dtype)[:, 0]
