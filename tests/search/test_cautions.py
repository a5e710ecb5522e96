"""Answers of every kind carry the cautions of their pairs."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from facesim_index import FaceIndex, compare
from facesim_index.calibration.kinds import KindProbe
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.degrees import cautions, in_force
from facesim_index.degrees.cautions import Caution
from facesim_index.display.notebook import draw_answer, draw_comparison
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.export.documents import answer_document, comparison_document
from facesim_index.search import comparison
from tests.builders import FAKE
from tests.example_pictures import fake_photo

RED, DARK_RED, GREEN = (200, 20, 20), (203, 22, 25), (20, 200, 20)

CURVE = Calibration(
    "test",
    FAKE_IDENTITY.key,
    "made up",
    ((-1.0, -6.0), (0.2, -2.0), (0.6, 2.0), (1.0, 6.0)),
    Evidence("made up", 10, 10, 10, "2026-01-01"),
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "red.png").write_bytes(fake_photo([RED]))
    (folder / "darker.png").write_bytes(fake_photo([DARK_RED]))
    (folder / "green.png").write_bytes(fake_photo([GREEN]))
    return folder


@pytest.fixture
def index(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaceIndex]:
    """Of three faces; the engine has a probe that takes what is red for a child."""
    monkeypatch.setattr(in_force, "shipped_calibration", lambda _: CURVE)
    monkeypatch.setattr(comparison, "shipped_calibration", lambda _: CURVE)
    with FaceIndex.open(photos.parent / "i.facesim", create=True, engine=FAKE) as index:
        index.ingest([photos])
        red = index.embeddings(_ids(index, "red.png"))[0].astype(np.float64)
        probe = KindProbe(
            (FAKE_IDENTITY.key,),
            "made up",
            ("child",),
            red[None],
            np.array([-0.5]),
            np.array([0.0]),
            0.5,
        )
        monkeypatch.setattr(cautions, "shipped_probe", {FAKE_IDENTITY.key: probe}.get)
        yield index


def _ids(index: FaceIndex, name: str) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array([face.face_id for face in index.face_records() if Path(face.path).name == name])


def test_matches_of_pictures_faces_and_people_have_cautions(index: FaceIndex, photos: Path) -> None:
    by_name = {"red.png": [Caution.CHILDREN], "darker.png": [Caution.CHILDREN], "green.png": []}
    [red] = _ids(index, "red.png").tolist()
    answers = [index.query(photos / "red.png", prior=0.5), index.query(face_id=red, prior=0.5)]
    for answer in answers:
        for match in answer.faces[0].matches:
            assert list(match.caution) == by_name[Path(match.path).name]
        [document] = answer_document(answer)["faces"]
        assert [match["caution"] for match in document["matches"]] == [
            [code.value for code in match.caution] for match in answer.faces[0].matches
        ]
        assert "caution: both are children" in draw_answer(answer)
    found = index.find_person(photos / "red.png", min_degree=0.5, prior=0.5)
    assert [match.caution for match in found.matches] == [(Caution.CHILDREN,)] * 2
    adult = index.query(photos / "green.png", prior=0.5)
    assert [match.caution for match in adult.faces[0].matches] == [()] * 3
    assert "caution" not in draw_answer(adult)


def test_comparisons_have_cautions(index: FaceIndex, photos: Path) -> None:
    alike = compare(photos / "red.png", photos / "darker.png", engine=FAKE)
    assert alike.caution == (Caution.CHILDREN,)
    assert comparison_document(alike)["caution"] == ["children"]
    assert "both are children" in draw_comparison(alike)
    other = compare(photos / "red.png", photos / "green.png", engine=FAKE)
    assert other.caution == ()
    assert comparison_document(other)["caution"] == []


def test_listed_pairs_have_cautions(index: FaceIndex) -> None:
    out = io.BytesIO()
    index.write_matches(out, min_degree=0.0, prior=0.5)
    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    said = {
        frozenset(Path(row[f"path_{side}"]).name for side in "ab"): row["caution"] for row in rows
    }
    assert said == {
        frozenset(("red.png", "darker.png")): "children",
        frozenset(("red.png", "green.png")): "",
        frozenset(("darker.png", "green.png")): "",
    }


def test_the_command_line_says_cautions_in_codes_and_in_words(
    index: FaceIndex, photos: Path
) -> None:
    def told(*words: str) -> str:
        given = ["--index", str(index.path), *words]
        return (
            CliRunner().invoke(main, given, obj=State(engine=FAKE), catch_exceptions=False).stdout
        )

    table = told("query", str(photos / "red.png"))
    assert table.count("(caution: children)") == 2
    assert table.count("caution children: both are children") == 1
    assert "caution" not in told("query", str(photos / "green.png"))
    rows = list(
        csv.DictReader(io.StringIO(told("query", str(photos / "red.png"), "--format", "csv")))
    )
    assert [row["caution"] for row in rows] == ["children", "children", ""]
    compared = told("compare", str(photos / "red.png"), str(photos / "darker.png"))
    assert "caution      both are children" in compared
    assert "caution" not in told("compare", str(photos / "red.png"), str(photos / "green.png"))
