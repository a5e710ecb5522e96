"""Embeddings in memory, and the files that must come of them, made the plain way."""

import io
import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from facesim_index.calibration.curve import false_match_rate, log10_lr
from facesim_index.calibration.degree import calibrated_degree
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.export.matrix import write_long, write_wide
from facesim_index.export.matrix_options import MatrixOptions, ScoreKind
from facesim_index.records import Float32Array, Int64Array

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
