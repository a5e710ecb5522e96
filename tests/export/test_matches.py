"""Every pair above a degree, beside the matrix of all pairs."""

import csv
import io
from collections.abc import Mapping

import numpy as np
import pytest

from facesim_index.calibration.degree import calibrated_degree
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.export.matches import COLUMNS, write_matches
from facesim_index.export.matrix import write_long
from facesim_index.export.matrix_options import MatrixOptions
from facesim_index.pairs import blocks, close
from facesim_index.pairs.blocks import Faces, load
from facesim_index.pairs.close import close_pairs
from facesim_index.records import Float32Array, Float64Array, Int64Array
from tests.builders import unit_vectors

CURVE = Calibration(
    "test",
    "engine",
    "by hand",
    ((-0.2, -4.0), (0.2, -1.0), (0.4, 3.0), (0.6, 4.0)),
    Evidence("a test", 50, 200, 9000, "2024-02-29"),
)


class Stored:
    """Embeddings in memory, by face id."""

    def __init__(self, n_faces: int, n_people: int, seed: int) -> None:
        who = np.random.default_rng(seed).integers(0, n_people, n_faces)
        vectors = unit_vectors(n_people, seed)[who] + 0.9 * unit_vectors(n_faces, seed + 1)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors = vectors.astype(np.float16)
        self.ids = 2 * np.arange(n_faces) + 5

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        return self.vectors[(face_ids - 5) // 2].astype(np.float32)

    def faces(self) -> Faces:
        return load(self.ids, self)

    def cosines(self) -> Float64Array:
        wide = self.vectors.astype(np.float64)
        return np.clip(wide @ wide.T, -1.0, 1.0)


def paths_of(face_ids: Int64Array) -> Mapping[int, str]:
    return {face_id: f'/p/"{face_id}", é.jpg' for face_id in face_ids.tolist()}


@pytest.fixture(params=["whole", "in parts"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in parts":
        monkeypatch.setattr(close, "_ROWS_AT_ONCE", 37)
        monkeypatch.setattr(close, "_COLUMNS_AT_ONCE", 23)
        monkeypatch.setattr(close, "_MOST_PAIRS", 50)
        monkeypatch.setattr(blocks, "_LISTED_AT_ONCE", 7)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("least", [-1.0, 0.0, 0.3, 0.5, 2.0])
def test_close_pairs_are_those_of_the_whole_matrix(least: float) -> None:
    source = Stored(200, 30, 1)
    cosines = source.cosines()
    found = list(close_pairs(source.faces(), least))
    a, b = (np.concatenate([getattr(pairs, name) for pairs in found]) for name in "ab")
    expected = np.argwhere(np.triu(cosines >= least, k=1))
    np.testing.assert_array_equal(np.stack([a, b], axis=1), expected)
    values = np.concatenate([pairs.scores for pairs in found])
    np.testing.assert_array_equal(values, cosines[a, b])
    assert [pairs.stop for pairs in found] == sorted({pairs.stop for pairs in found})
    assert found[-1].stop == 200


def test_a_pair_right_at_the_border_is_found() -> None:
    source = Stored(60, 20, 2)
    cosines = source.cosines()
    for border in np.sort(cosines[np.triu_indices(60, k=1)])[-20:].tolist():
        n_found = sum(len(pairs.a) for pairs in close_pairs(source.faces(), border))
        assert n_found == np.triu(cosines >= border, k=1).sum()
        above = float(np.nextafter(border, 2.0))
        assert sum(len(pairs.a) for pairs in close_pairs(source.faces(), above)) < n_found


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("min_degree", [0.05, 0.5, 0.97, 1.0])
def test_matches_are_all_pairs_of_that_degree(min_degree: float) -> None:
    source = Stored(150, 30, 3)
    cosines = source.cosines()
    degrees = calibrated_degree(cosines, CURVE, prior=0.01)
    out, told = io.BytesIO(), list[int]()
    count = write_matches(
        out,
        source.ids[::-1],
        source,
        paths_of,
        CURVE,
        min_degree=min_degree,
        prior=0.01,
        on_rows=told.append,
    )
    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    chosen = np.argwhere(np.triu(degrees >= min_degree, k=1))
    expected = sorted(
        chosen.tolist(), key=lambda pair: (pair[0], -cosines[pair[0], pair[1]], pair[1])
    )
    assert out.getvalue().startswith(",".join(COLUMNS).encode() + b"\n")
    assert count == len(rows) == len(expected)
    for row, (a, b) in zip(rows, expected, strict=True):
        assert (int(row["face_a"]), int(row["face_b"])) == (source.ids[a], source.ids[b])
        assert float(row["degree"]) == pytest.approx(degrees[a, b], rel=1e-8)
        assert float(row["cosine"]) == pytest.approx(cosines[a, b], abs=5.01e-7)
        odds = degrees[a, b] / (1 - degrees[a, b]) / (0.01 / 0.99)
        assert float(row["log10_lr"]) == pytest.approx(np.log10(odds), abs=6e-5)
        assert row["fmr"] == ""  # this curve does not know
        assert row["path_a"] == f'/p/"{row["face_a"]}", é.jpg'
        assert row["path_b"] == f'/p/"{row["face_b"]}", é.jpg'
    assert told == sorted(told)


@pytest.mark.parametrize("value", ["cosine", "degree"])
@pytest.mark.parametrize("min_degree", [0.3, 0.9, 1.0])
def test_a_pruned_list_is_the_dense_one(
    value: str, min_degree: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Stored(300, 60, 4)
    options = MatrixOptions("cosine" if value == "cosine" else "degree", 0.01, min_degree)
    lists = []
    for few_from in (0.2, 2.0):
        monkeypatch.setattr("facesim_index.export.matrix._FEW_PAIRS_FROM", few_from)
        out = io.BytesIO()
        write_long(out, source.ids, source, options, CURVE)
        lists.append(out.getvalue())
    assert lists[0] == lists[1]
    assert (lists[0].count(b"\n") > 100) == (min_degree < 1.0)


def test_what_cannot_be_asked() -> None:
    source = Stored(3, 1, 5)
    with pytest.raises(CalibrationError, match="facesim calibrate"):
        write_matches(io.BytesIO(), source.ids, source, paths_of, None, min_degree=0.5, prior=0.5)
    with pytest.raises(UsageError, match="from 0 to 1"):
        write_matches(io.BytesIO(), source.ids, source, paths_of, CURVE, min_degree=1.5, prior=0.5)
