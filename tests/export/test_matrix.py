import csv
import io
import itertools
import math
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import BinaryIO, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facesim_index.calibration.curve import false_match_rate, log10_lr
from facesim_index.calibration.degree import calibrated_degree, cosine_at_degree
from facesim_index.calibration.heads import COSINE as PLAIN
from facesim_index.calibration.heads import Head, single_error
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.errors import CalibrationError, IndexDamagedError, UsageError
from facesim_index.export import csv_cells, matrix
from facesim_index.export.csv_cells import (
    MISSING,
    CellText,
    Int32Array,
    RateText,
    SingleStepLookup,
    StepLookup,
    WideText,
    rate_units,
    rounded_units,
)
from facesim_index.export.matrix import (
    MatrixOptions,
    ScoreKind,
    matrix_blocks,
    matrix_frame,
    write_long,
    write_wide,
)
from facesim_index.pairs import blocks as exact_cosines
from facesim_index.records import Float32Array, Float64Array, Int64Array

RATE_TEXT = RateText()
EVIDENCE = Evidence("a test", 50, 200, 9000, "2024-02-29")
COSINE = MatrixOptions(value="cosine")
VALUES: tuple[ScoreKind, ...] = ("cosine", "degree", "log10_lr", "fmr")
RATES = ((-0.1, 0.0), (0.1, -1.0), (0.3, -4.0), (0.5, -6.5))


def curve_of(*knots: tuple[float, float]) -> Calibration:
    return Calibration("test", "engine", "by hand", knots, EVIDENCE, false_matches=RATES)


CURVE = curve_of((-0.2, -4.0), (0.2, -1.0), (0.4, 3.0), (0.6, 3.0))


class Stored:
    """Embeddings in memory, as an index would give them."""

    def __init__(self, ids: Sequence[int], vectors: NDArray[np.float16]) -> None:
        self.ids = np.array(ids, dtype=np.int64)
        self._vectors = dict(zip(ids, vectors, strict=True))
        self._dimension = vectors.shape[1]

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        rows = [self._vectors[face_id] for face_id in face_ids.tolist()]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._dimension)

    def cosine(self, a: int, b: int) -> float:
        """The cosine in rational numbers, rounded once."""
        pairs = zip(self._vectors[a].tolist(), self._vectors[b].tolist(), strict=True)
        exact = sum((Fraction(x) * Fraction(y) for x, y in pairs), Fraction(0))
        return 1.0 if a == b else float(min(max(exact, Fraction(-1)), Fraction(1)))


def stored(n_faces: int, *, dimension: int = 16, seed: int = 1, n_people: int = 0) -> Stored:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n_faces, dimension))
    if n_people:
        centres = random.normal(size=(n_people, dimension))
        vectors = centres[random.integers(0, n_people, n_faces)] + 0.6 * vectors
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Stored(range(1, n_faces + 1), vectors.astype(np.float16))


def wide(source: Stored, options: MatrixOptions, calibration: Calibration | None = CURVE) -> bytes:
    out = io.BytesIO()
    write_wide(out, source.ids, source, options, calibration)
    return out.getvalue()


def long(source: Stored, options: MatrixOptions, calibration: Calibration | None = CURVE) -> bytes:
    out = io.BytesIO()
    write_long(out, source.ids, source, options, calibration)
    return out.getvalue()


# A straightforward oracle


def text_of(value: float, options: MatrixOptions) -> str:
    return format(value, ".2e") if options.value == "fmr" else number(value, options.decimals)


def number(value: float, decimals: int) -> str:
    text = format(value, f".{decimals}f")
    return text[1:] if float(text) == 0.0 and text.startswith("-") else text


def degree_of(cosine: float, calibration: Calibration, prior: float) -> float:
    return float(calibrated_degree(np.array([cosine]), calibration, prior=prior)[0])


def value_of(
    source: Stored, a: int, b: int, options: MatrixOptions, calibration: Calibration
) -> float:
    cosine = source.cosine(a, b)
    if options.value == "log10_lr":
        return float(log10_lr(np.array([cosine]), calibration)[0])
    if options.value == "fmr":
        return float(false_match_rate(np.array([cosine]), calibration)[0])
    if a == b:
        return 1.0
    return cosine if options.value == "cosine" else degree_of(cosine, calibration, options.prior)


def expected_wide(source: Stored, options: MatrixOptions, calibration: Calibration) -> bytes:
    ids = source.ids.tolist()
    lines = [",".join(["face_id", *map(str, ids)])]
    for a in ids:
        row = [text_of(value_of(source, a, b, options, calibration), options) for b in ids]
        lines.append(",".join([str(a), *row]))
    return "".join(line + "\n" for line in lines).encode()


def expected_long(source: Stored, options: MatrixOptions, calibration: Calibration) -> bytes:
    pairs = []
    for a, b in itertools.combinations(sorted(source.ids.tolist()), 2):
        if options.min_degree is not None:
            degree = degree_of(source.cosine(a, b), calibration, options.prior)
            if degree < options.min_degree:
                continue
        pairs.append((a, b, text_of(value_of(source, a, b, options, calibration), options)))
    pairs.sort(key=lambda pair: (pair[0], -float(pair[2]), pair[1]))
    return ("face_a,face_b,value\n" + "".join(f"{a},{b},{v}\n" for a, b, v in pairs)).encode()


@st.composite
def sources(draw: st.DrawFn) -> Stored:
    ids = draw(st.lists(st.integers(1, 10**12), max_size=12, unique=True))
    seed = draw(st.integers(0, 2**32))
    people = draw(st.integers(0, 3))
    made = stored(len(ids), dimension=draw(st.integers(2, 9)), seed=seed, n_people=people)
    return Stored(ids, made.embeddings(made.ids).astype(np.float16))


@st.composite
def curves(draw: st.DrawFn) -> Calibration:
    cosines = draw(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=8, unique=True))
    values = draw(st.lists(st.floats(-20.0, 20.0), min_size=len(cosines), max_size=len(cosines)))
    return curve_of(*zip(sorted(cosines), sorted(values), strict=True))


options_of = st.builds(
    MatrixOptions,
    value=st.sampled_from(("cosine", "degree")),
    prior=st.floats(1e-6, 1.0 - 1e-6),
    decimals=st.integers(1, 5),
) | st.builds(  # whose tables grow with the curve
    MatrixOptions,
    value=st.sampled_from(("log10_lr", "fmr")),
    prior=st.floats(1e-6, 1.0 - 1e-6),
    decimals=st.integers(1, 2),
)


@given(source=sources(), options=options_of, calibration=curves())
def test_wide_is_what_format_makes_of_exact_values(
    source: Stored, options: MatrixOptions, calibration: Calibration
) -> None:
    assert wide(source, options, calibration) == expected_wide(source, options, calibration)


@given(source=sources(), options=options_of, calibration=curves(), data=st.data())
def test_long_is_each_pair_once_in_order(
    source: Stored, options: MatrixOptions, calibration: Calibration, data: st.DataObject
) -> None:
    min_degree = data.draw(st.none() | st.floats(0.0, 1.0))
    options = MatrixOptions(options.value, options.prior, min_degree, options.decimals)
    assert long(source, options, calibration) == expected_long(source, options, calibration)


@pytest.mark.parametrize("value", VALUES)
def test_six_decimals(value: ScoreKind) -> None:
    source = stored(20, n_people=4)
    options = MatrixOptions(value=value, decimals=6)
    assert wide(source, options) == expected_wide(source, options, CURVE)
    assert long(source, options) == expected_long(source, options, CURVE)


# Numbers


@given(
    values=st.lists(
        st.floats(-1.0, 1.0)
        | st.integers(-64, 64).map(lambda sixty_fourths: sixty_fourths / 64)
        | st.integers(-20, 19).map(lambda tie: (tie + 0.5) / 20),
        min_size=1,
    ),
    decimals=st.integers(1, 6),
)
def test_units_are_rounded_as_format_rounds(values: list[float], decimals: int) -> None:
    units = rounded_units(np.array(values), decimals)
    printed = [int(format(value, f".{decimals}f").replace(".", "")) for value in values]
    assert units.tolist() == printed


def test_units_next_to_every_kind_of_tie() -> None:
    ties = (np.arange(0, 10**5, 7) + 0.5) / 10**5
    values = np.concatenate([np.nextafter(ties, 0.0), ties, np.nextafter(ties, 1.0)])
    printed = [int(format(value, ".5f").replace(".", "")) for value in values.tolist()]
    assert rounded_units(values, 5).tolist() == printed


def test_tie_that_multiplication_would_decide_wrongly() -> None:
    # The first three are ties only once they are multiplied; the last two are ties.
    values = [0.000005, 0.000025, 0.000045, 0.015625, 0.046875]
    assert [format(value, ".5f") for value in values] == [
        f"0.{unit:05d}" for unit in rounded_units(np.array(values), 5).tolist()
    ]


@pytest.mark.parametrize("decimals", range(1, 7))
def test_row_text(decimals: int) -> None:
    one = 10**decimals
    units = np.array([0, -1, 1, one, -one, -(one // 2), one // 3, 0, -1], dtype=np.int32)
    rows = np.stack([units, np.abs(units), -np.abs(units), units[::-1]])
    expected = [",".join(number(unit / one, decimals) for unit in row) + "\n" for row in rows]
    text = CellText(decimals)
    assert [text.comma_row(row).tobytes().decode() for row in rows] == expected


@given(
    rates=st.lists(
        st.floats(1e-19, 1.0)
        | st.floats(-19.0, 0.0).map(lambda exponent: 10.0**exponent)
        | st.tuples(st.integers(1000, 10000), st.integers(4, 16))
        .map(lambda tie: float(f"{tie[0]}5e-{tie[1]}") / 10)
        .filter(lambda rate: 1e-19 < rate <= 1.0),
        min_size=1,
    )
)
def test_rates_are_written_as_format_writes_them(rates: list[float]) -> None:
    units = rate_units(np.array(rates))
    row = RATE_TEXT.comma_row(units).tobytes().decode()
    assert row == ",".join(format(rate, ".2e") for rate in rates) + "\n"
    order = np.argsort(rates, kind="stable")
    assert (np.diff(units[order]) >= 0).all()


def test_no_rate_is_too_small_for_its_text() -> None:
    assert RATE_TEXT.comma_row(rate_units(np.array([1e-30, 1e-20]))).tobytes() == (
        b"1.00e-20,1.00e-20\n"
    )


def test_numbers_beyond_one() -> None:
    text = WideText(2, 12)
    units = np.array([1200, -1200, 999, -1000, 0, -1, 7, 110], dtype=np.int32)
    row = b"12.00,-12.00,9.99,-10.00,0.00,-0.01,0.07,1.10\n"
    assert text.comma_row(units).tobytes() == row
    ends = text.line_ends(units).tobytes().translate(None, b"\0")
    assert ends == row.replace(b",", b"\n")


def test_no_minus_before_zero() -> None:
    vectors = np.array([[1.0, 0.0], [-(2.0**-20), 1.0]], dtype=np.float16)
    source = Stored([1, 2], vectors)
    assert source.cosine(1, 2) < 0.0
    assert wide(source, COSINE) == b"face_id,1,2\n1,1.00000,0.00000\n2,0.00000,1.00000\n"
    assert long(source, COSINE) == b"face_a,face_b,value\n1,2,0.00000\n"


def test_products_of_rounded_vectors_do_not_pass_one() -> None:
    vector = np.full(512, np.nextafter(np.float16(2.0**-4.5), np.float16(1.0)))
    assert float(vector.astype(np.float64) @ vector.astype(np.float64)) > 1.0
    source = Stored([4, 5, 6], np.stack([vector, vector, -vector]))
    rows = wide(source, COSINE).decode().splitlines()[1:]
    assert rows == [
        "4,1.00000,1.00000,-1.00000",
        "5,1.00000,1.00000,-1.00000",
        "6,-1.00000,-1.00000,1.00000",
    ]


# Many faces


@pytest.mark.parametrize("value", VALUES)
def test_symmetric_to_the_last_digit(value: ScoreKind) -> None:
    source = stored(700, dimension=512, n_people=100)
    rows = list(csv.reader(io.StringIO(wide(source, MatrixOptions(value=value)).decode())))
    cells = [row[1:] for row in rows]
    assert cells[1:] == [list(column) for column in zip(*cells[1:], strict=True)]
    itself = {"log10_lr": "3.00000", "fmr": "3.16e-07"}.get(value, "1.00000")
    assert {cells[1 + face][face] for face in range(700)} == {itself}


def test_cosines_are_those_of_double_precision() -> None:
    source = stored(600, dimension=512, n_people=50)
    vectors = source.embeddings(source.ids).astype(np.float64)
    expected = np.clip(vectors @ vectors.T, -1.0, 1.0)
    np.fill_diagonal(expected, 1.0)
    frame = matrix_frame(source.ids, source, COSINE, None)
    np.testing.assert_allclose(frame.to_numpy(), expected, rtol=0.0, atol=1e-12)
    assert frame.loc[3, 77] == source.cosine(3, 77)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles, slabs and reads so small that few faces take several of each."""
    monkeypatch.setattr(exact_cosines, "_TILE", 5)
    monkeypatch.setattr(exact_cosines, "_SLAB_CELLS", 1)
    monkeypatch.setattr(exact_cosines, "_WHOLE_CELLS", 0)
    monkeypatch.setattr(exact_cosines, "_SLAB_MIN_ROWS", 13)
    monkeypatch.setattr(exact_cosines, "_READ_AT_ONCE", 7)
    monkeypatch.setattr(matrix, "_ROWS_AT_ONCE", 4)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("n_faces", [1, 4, 13, 14, 40])
@pytest.mark.parametrize("value", VALUES)
def test_the_parts_fit_together(n_faces: int, value: ScoreKind) -> None:
    source = stored(n_faces, n_people=5)
    options = MatrixOptions(value=value)
    assert wide(source, options) == expected_wide(source, options, CURVE)
    options = MatrixOptions(value=value, min_degree=0.3)
    assert long(source, options) == expected_long(source, options, CURVE)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("min_degree", [None, 0.2])
def test_lookup_changes_nothing(
    value: ScoreKind, min_degree: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stored(300, dimension=8, n_people=40)
    options = MatrixOptions(value=value, min_degree=min_degree)
    computed = long(source, options)
    monkeypatch.setattr(matrix, "_LOOKUP_MIN_CELLS", 0)
    assert long(source, options) == computed


def heads(dimension: int) -> tuple[Head, ...]:
    random = np.random.default_rng(9)
    weights = random.uniform(0.2, 1.0, dimension).astype(np.float32)
    projection = random.normal(size=(dimension // 2, dimension)).astype(np.float32)
    return (
        PLAIN,
        Head("product", weights / weights.max()),
        Head("weighted-l1", weights / np.linalg.norm(weights)),
        Head("contrastive", projection / np.linalg.norm(projection, 2)),
    )


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("head", heads(64), ids=lambda head: head.kind)
@pytest.mark.parametrize("prior", [0.5, 1e-4])
def test_single_precision_changes_nothing(
    value: ScoreKind, head: Head, prior: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stored(700, dimension=64, n_people=60)
    options = MatrixOptions(value=value, prior=prior)
    calibration = replace(CURVE, head=head)
    computed = wide(source, options, calibration), long(source, options, calibration)
    settled = []

    class Counting(SingleStepLookup):
        def __call__(
            self, cosines: Float32Array, exact: Callable[[Int64Array], Float64Array]
        ) -> Int32Array | None:
            values = super().__call__(cosines, exact)
            settled.append(values is not None)
            return values

    monkeypatch.setattr(matrix, "_LOOKUP_MIN_CELLS", 0)
    monkeypatch.setattr(csv_cells, "_FEW_UNSURE", 1.0)
    monkeypatch.setattr(exact_cosines, "_TILE", 300)
    monkeypatch.setattr(matrix, "SingleStepLookup", Counting)
    assert (wide(source, options, calibration), long(source, options, calibration)) == computed
    assert bool(settled) == (value != "cosine" and head.kind != "weighted-l1")
    assert all(settled)


def test_single_precision_is_given_up_where_it_does_not_pay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = stored(150, n_people=20)
    options = MatrixOptions(value="log10_lr")
    computed = wide(source, options)
    asked: list[tuple[int, ...]] = []

    class Declining(SingleStepLookup):
        def __call__(
            self, cosines: Float32Array, exact: Callable[[Int64Array], Float64Array]
        ) -> Int32Array | None:
            asked.append(cosines.shape)
            return super().__call__(cosines, exact)

    monkeypatch.setattr(matrix, "_LOOKUP_MIN_CELLS", 0)
    monkeypatch.setattr(exact_cosines, "_TILE", 10)
    monkeypatch.setattr(matrix, "SingleStepLookup", Declining)
    assert wide(source, options) == computed
    assert len(asked) < 20  # of more than a hundred tiles


def test_memory_does_not_grow_with_the_square(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_cosines, "_SLAB_CELLS", 300_000)
    monkeypatch.setattr(exact_cosines, "_WHOLE_CELLS", 0)
    monkeypatch.setattr(exact_cosines, "_SLAB_MIN_ROWS", 64)
    source = stored(3000)

    class Nowhere(io.RawIOBase):
        def write(self, _: object) -> int:
            return 0

    tracemalloc.start()
    write_wide(cast(BinaryIO, Nowhere()), source.ids, source, COSINE, None)
    write_long(cast(BinaryIO, Nowhere()), source.ids, source, COSINE, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24e6  # the whole matrix would be 36 MB in units, 72 MB as numbers


# The lookup


class CountingUnits:
    """Degrees in units, with the number of cosines asked for since the last reset."""

    def __init__(self, calibration: Calibration, prior: float, min_degree: float) -> None:
        self._curve, self._prior, self._min_degree = calibration, prior, min_degree
        self.asked = 0

    def __call__(self, cosines: Float64Array) -> Int32Array:
        self.asked += cosines.size
        clipped = np.clip(cosines, -1.0, 1.0)
        degrees = calibrated_degree(clipped, self._curve, prior=self._prior)
        units = rounded_units(degrees, 5)
        units[degrees < self._min_degree] = MISSING
        return units


@settings(max_examples=8, deadline=None)
@given(calibration=curves(), prior=st.floats(1e-6, 1.0 - 1e-6), data=st.data())
def test_lookup_is_the_function_itself(
    calibration: Calibration, prior: float, data: st.DataObject
) -> None:
    knots = np.array(calibration.knots)[:, 0]
    plateau = degree_of(float(knots[-1]), calibration, prior)
    min_degree = data.draw(st.floats(0.0, 1.0) | st.just(plateau))
    function = CountingUnits(calibration, prior, min_degree)
    lookup = StepLookup(function)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    border = cosine_at_degree(min_degree, calibration, prior=prior)
    near = np.array([*knots, border if math.isfinite(border) else 0.0])
    cosines = np.concatenate(
        [
            random.uniform(-1.02, 1.02, 50_000),
            random.normal(0.0, 0.01, 20_000),
            *(near + step for step in (-1e-9, -1e-15, 0.0, 1e-15, 1e-9)),
        ]
    )
    np.testing.assert_array_equal(lookup(cosines), function(cosines))


@settings(max_examples=8, deadline=None)
@given(calibration=curves(), prior=st.floats(1e-6, 1.0 - 1e-6), seed=st.integers(0, 2**32))
def test_single_lookup_is_the_function_of_the_exact_cosines(
    calibration: Calibration, prior: float, seed: int
) -> None:
    function, error = CountingUnits(calibration, prior, 0.0), 4e-5
    random = np.random.default_rng(seed)
    knots = np.array(calibration.knots)[:, 0]
    exact = np.concatenate([random.uniform(-1.0, 1.0, 50_000), *(knots + s for s in (-1e-7, 1e-7))])
    seen = (exact + random.uniform(-0.99 * error, 0.99 * error, len(exact))).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_cells, "_FEW_UNSURE", 1.0)
        values = SingleStepLookup(function, error)(seen, lambda cells: exact[cells])
    assert values is not None
    np.testing.assert_array_equal(values, function(exact))


def test_too_many_unsure_cells_are_left_to_double_precision() -> None:
    def everywhere(cosines: Float64Array) -> Int32Array:
        return np.rint(cosines * 1e6).astype(np.int32)

    def exact(_: Int64Array) -> Float64Array:
        raise AssertionError("not worth it")

    assert SingleStepLookup(everywhere, 4e-5)(np.zeros(9, dtype=np.float32), exact) is None


def test_single_lookup_seldom_asks_for_exact_cosines() -> None:
    flat = curve_of((-0.2, -6.0), (0.2, -6.0), (0.4, 3.0))
    strangers = np.random.default_rng(2).normal(0.0, 0.05, (1000, 100))
    asked = []

    def exact(cells: Int64Array) -> Float64Array:
        asked.extend(cells.tolist())
        return strangers.ravel()[cells]

    function = CountingUnits(flat, 1e-3, 0.0)
    values = SingleStepLookup(function, single_error(512))(strangers.astype(np.float32), exact)
    np.testing.assert_array_equal(values, function(strangers))
    assert len(asked) < strangers.size / 64


def test_lookup_seldom_asks() -> None:
    function = CountingUnits(CURVE, 0.5, 0.0)
    lookup = StepLookup(function)
    lookup(np.zeros(1))  # makes its table
    function.asked = 0
    strangers = np.random.default_rng(2).normal(0.0, 0.07, (1000, 100))
    assert lookup(strangers).shape == (1000, 100)
    assert function.asked < 0.1 * strangers.size


# What is read back


@pytest.mark.parametrize("value", VALUES)
def test_pandas_reads_the_matrix(value: ScoreKind) -> None:
    source = stored(30, n_people=5)
    options = MatrixOptions(value=value)
    frame = pd.read_csv(io.BytesIO(wide(source, options)), index_col="face_id")
    assert frame.index.tolist() == source.ids.tolist()
    assert [int(name) for name in frame.columns] == source.ids.tolist()
    expected = matrix_frame(source.ids, source, options, CURVE)
    relative, absolute = (5.001e-3, 0.0) if value == "fmr" else (0.0, 5.001e-6)
    np.testing.assert_allclose(frame.to_numpy(), expected.to_numpy(), rtol=relative, atol=absolute)
    assert (frame.to_numpy() < 0.0).any() == (value in ("cosine", "log10_lr"))


def test_pandas_reads_the_pairs() -> None:
    source = stored(30, n_people=5)
    frame = pd.read_csv(io.BytesIO(long(source, COSINE)))
    assert frame.columns.tolist() == ["face_a", "face_b", "value"]
    assert len(frame) == 30 * 29 // 2
    assert (frame["face_a"] < frame["face_b"]).all()
    expected = [
        source.cosine(a, b)
        for a, b in zip(frame["face_a"].tolist(), frame["face_b"].tolist(), strict=True)
    ]
    np.testing.assert_allclose(frame["value"].to_numpy(), expected, rtol=0.0, atol=5.001e-6)


def test_order_asked_is_kept_in_the_matrix_and_sorted_in_the_pairs() -> None:
    made = stored(3)
    source = Stored([7, 3, 5], made.embeddings(made.ids).astype(np.float16))
    assert wide(source, COSINE).startswith(b"face_id,7,3,5\n7,1.00000,")
    pairs = [line.split(",")[:2] for line in long(source, COSINE).decode().splitlines()[1:]]
    assert sorted(pairs) == [["3", "5"], ["3", "7"], ["5", "7"]]
    assert matrix_frame(source.ids, source, COSINE, None).index.tolist() == [7, 3, 5]


def test_no_face_is_only_a_header() -> None:
    source = stored(0)
    assert wide(source, MatrixOptions()) == b"face_id\n"
    assert long(source, MatrixOptions()) == b"face_a,face_b,value\n"
    assert list(matrix_blocks(source.ids, source, MatrixOptions(), CURVE)) == []
    assert matrix_frame(source.ids, source, MatrixOptions(), CURVE).shape == (0, 0)


# Blocks and frames


@pytest.mark.parametrize("max_cells", [1, 30, 95, 4_000_000])
@pytest.mark.parametrize("value", VALUES)
def test_blocks_are_rows_of_the_frame(max_cells: int, value: ScoreKind) -> None:
    source = stored(30, n_people=5)
    options = MatrixOptions(value=value)
    blocks = list(matrix_blocks(source.ids, source, options, CURVE, max_cells=max_cells))
    assert all(block.values.size <= max(max_cells, 30) for block in blocks)
    assert np.concatenate([block.row_ids for block in blocks]).tolist() == source.ids.tolist()
    assert all((block.column_ids == source.ids).all() for block in blocks)
    frame = matrix_frame(source.ids, source, options, CURVE)
    np.testing.assert_array_equal(np.concatenate([block.values for block in blocks]), frame)
    assert (np.diag(frame) == value_of(source, 1, 1, options, CURVE)).all()
    assert (frame.index.name, frame.columns.name) == ("face_id", "face_id")
    assert frame.loc[2, 9] == value_of(source, 2, 9, options, CURVE)


# Progress and refusals


@pytest.mark.usefixtures("small_parts")
def test_rows_done_are_told() -> None:
    source = stored(30)
    for write in (write_wide, write_long):
        done: list[int] = []
        write(io.BytesIO(), source.ids, source, COSINE, None, on_rows=done.append)
        assert done == [4, 8, 12, 13, 17, 21, 25, 26, 30]


def test_a_degree_needs_a_calibration() -> None:
    source = stored(3)
    for write in (wide, long):
        with pytest.raises(CalibrationError, match="--value cosine"):
            write(source, MatrixOptions(), None)
    with pytest.raises(CalibrationError, match="facesim calibrate"):
        long(source, MatrixOptions(value="cosine", min_degree=0.5), None)
    with pytest.raises(CalibrationError):
        matrix_blocks(source.ids, source, MatrixOptions(), None)
    assert wide(source, COSINE, None) == wide(source, COSINE, CURVE)


def test_what_a_calibration_does_not_know_is_refused() -> None:
    silent = Calibration("silent", "engine", "by hand", CURVE.knots, EVIDENCE)
    with pytest.raises(CalibrationError, match="silent has no false match rates"):
        wide(stored(3), MatrixOptions(value="fmr"), silent)
    for value, what in (("fmr", "a false match rate"), ("log10_lr", "a likelihood ratio")):
        with pytest.raises(CalibrationError, match=f"{what} needs a calibration"):
            wide(stored(3), MatrixOptions(value=cast(ScoreKind, value)), None)
    far = curve_of((0.0, -25.0), (0.5, 25.0))
    with pytest.raises(UsageError, match="at most 5 decimals"):
        wide(stored(3), MatrixOptions(value="log10_lr", decimals=6), far)


def test_a_matrix_leaves_no_pair_out() -> None:
    source = stored(3)
    with pytest.raises(UsageError, match="long"):
        wide(source, MatrixOptions(min_degree=0.0))
    with pytest.raises(UsageError, match="long"):
        matrix_frame(source.ids, source, MatrixOptions(min_degree=0.5), CURVE)


@pytest.mark.parametrize(
    "options",
    [
        MatrixOptions(decimals=0),
        MatrixOptions(decimals=7),
        MatrixOptions(prior=0.0),
        MatrixOptions(prior=1.0),
        MatrixOptions(prior=math.nan),
        MatrixOptions(min_degree=1.5),
        MatrixOptions(min_degree=math.nan),
        MatrixOptions(value=cast(ScoreKind, "score")),
    ],
)
def test_options_out_of_range(options: MatrixOptions) -> None:
    out = io.BytesIO()
    with pytest.raises(UsageError):
        write_long(out, np.arange(1, 4), stored(3), options, CURVE)
    assert out.getvalue() == b""


def test_a_face_listed_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="face 2 is listed twice"):
        write_wide(io.BytesIO(), np.array([2, 1, 2]), stored(3), COSINE, None)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.9])
def test_a_damaged_embedding_is_named(wrong: float) -> None:
    vectors = np.eye(3, dtype=np.float16)
    vectors[1, 1] = wrong
    with pytest.raises(IndexDamagedError, match="face 8"):
        wide(Stored([9, 8, 7], vectors), COSINE)


def test_values_that_half_precision_cannot_hold_are_refused() -> None:
    class Unrounded(Stored):
        def embeddings(self, face_ids: Int64Array) -> Float32Array:
            return super().embeddings(face_ids) * np.float32(1.0001)

    source = Unrounded([1, 2], np.eye(2, dtype=np.float16))
    with pytest.raises(ValueError, match="half precision"):
        wide(source, COSINE)


def test_a_full_disk_ends_the_writing() -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            if self.tell() > 1000:
                raise OSError(28, "No space left on device")
            return super().write(cast(bytes, data))

    source = stored(60)
    for write in (write_wide, write_long):
        with pytest.raises(OSError, match="No space"):
            write(FullDisk(), source.ids, source, COSINE, None)
