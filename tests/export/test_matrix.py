"""The matrix is what the exact values give, to the last digit."""

import csv
import io
import math
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.calibration.heads import COSINE as PLAIN
from facesim_index.calibration.heads import Head
from facesim_index.calibration.record import Calibration
from facesim_index.errors import CalibrationError, IndexDamagedError, UsageError
from facesim_index.export import csv_cells, matrix
from facesim_index.export.csv_cells import Int32Array, SingleStepLookup
from facesim_index.export.matrix import matrix_blocks, matrix_frame, write_long, write_wide
from facesim_index.export.matrix_options import MatrixOptions, ScoreKind
from facesim_index.pairs import blocks as exact_cosines
from facesim_index.records import Float32Array, Float64Array, Int64Array
from tests.export.oracle import (
    COSINE,
    CURVE,
    EVIDENCE,
    VALUES,
    Stored,
    curve_of,
    curves,
    expected_long,
    expected_wide,
    long,
    options_of,
    sources,
    stored,
    value_of,
    wide,
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
