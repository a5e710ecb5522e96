import base64
import csv
import io
import os
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from facesim_index import FaceIndex
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.errors import UsageError
from facesim_index.evaluation.report import (
    ReportOrigin,
    check_report_folder,
    pair_report,
    write_report,
)
from facesim_index.evaluation.report_faces import shown_name
from facesim_index.evaluation.report_plots import PLOT_NAMES, pair_plots
from facesim_index.evaluation.verification import LabelledPictures, evaluate_pairs, score_pairs
from facesim_index.labels.pair_lists import read_pairs
from facesim_index.metrics.verification import ScoredPairs
from tests.builders import FAKE
from tests.example_pictures import fake_photo

CURVE = Calibration(
    "<b>mine</b>",
    FAKE_IDENTITY.key,
    "by hand",
    ((-0.9, -3.0), (0.0, -1.0), (0.9, 4.0)),
    Evidence("<i>data</i>", 10, 100, 1000, "2026-01-02"),
    band=((-3.5, -2.5), (-1.5, -0.5), (3.0, 5.0)),
)
PAIR_PLOTS = {"scores", "roc", "det", "reliability", "tippett", "evidence", "cross_entropy"}
VOID = {"meta", "img"}


class Page(HTMLParser):
    """What a page has, and whether its elements are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def check_page(html: str) -> Page:
    """Check that a page is whole, accessible, and refers to nothing outside itself."""
    assert html.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?://|@import|url\(", html)
    page = Page(html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form", "a"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name == "href" for name in attributes)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labels = {
        attributes["aria-labelledby"]
        for _, attributes in page.tags
        if "aria-labelledby" in attributes
    }
    assert labels <= set(ids)
    assert [attributes["lang"] for attributes in page.all("html")] == ["en"]
    for image in page.all("img"):
        assert image["alt"]
        kind, data = (image["src"] or "").split(";base64,")
        content = base64.b64decode(data, validate=True)
        if kind == "data:image/svg+xml":
            check_svg(content)
        else:
            assert kind == "data:image/jpeg"
            assert Image.open(io.BytesIO(content)).size == (128, 128)
    return page


def check_svg(svg: bytes) -> None:
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    for element in root.iter():
        assert element.tag.rsplit("}")[-1] not in {"script", "image", "text", "foreignObject"}
        for name, value in element.attrib.items():
            if name.endswith("href"):
                assert value.startswith("#")
    assert b"<dc:date>" not in svg


def make_people(folder: Path, names: list[str]) -> Path:
    """Make three pictures of each; the last one of the last person has no face."""
    for n, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for k in range(1, 4):
            black = (n, k) == (len(names) - 1, 3)
            colour = (0, 0, 0) if black else (40 * n + 8, 20, 2 * k)
            path = folder / name / f"{k:04d}.png"
            path.write_bytes(fake_photo([colour], side_px=32) + b" " * n)
    return folder


def make_pairs(people: Path) -> Path:
    """List two pairs of everyone, and each with the next; written beside the people."""
    names = sorted(path.name for path in people.iterdir())
    file = people.parent / "pairs.csv"
    with file.open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(("path_a", "path_b", "same"))
        for number, name in enumerate(names):
            after = names[(number + 1) % len(names)]
            rows.writerow((f"{name}/0001.png", f"{name}/0002.png", 1))
            rows.writerow((f"{name}/0001.png", f"{name}/0003.png", 1))
            rows.writerow((f"{name}/0001.png", f"{after}/0002.png", 0))
    return file


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return make_people(tmp_path / "people", [f"P{n}" for n in range(6)])


def facesim(folder: Path, *words: object) -> Result:
    command = ["--index", str(folder / "cache.facesim"), *(str(word) for word in words)]
    return CliRunner().invoke(main, command, obj=State(engine=FAKE), catch_exceptions=False)


def write(folder: Path, people: Path, calibration: Calibration | None, index: FaceIndex) -> str:
    """Write the report of `make_pairs` and return the page."""
    labelled = score_pairs(index, read_pairs(make_pairs(people), people), "pairs.csv")
    result = evaluate_pairs(labelled, calibration, FAKE_IDENTITY, n_bootstrap=20)
    origin = ReportOrigin("facesim evaluate", datetime(2026, 3, 4, 5, 6, tzinfo=UTC), people)
    page = write_report(folder, pair_report(index, labelled, (result, calibration), origin))
    return page.read_text(encoding="utf-8")


def test_a_report_has_every_figure_plot_and_error(people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "report"
    with FaceIndex.open(tmp_path / "i.facesim", create=True, engine=FAKE) as index:
        html = write(folder, people, CURVE, index)
    page = check_page(html)
    for words in (
        *("pairs.csv", "18: 12 of one person, 6 of two", "2026-03-04 05:06+00:00"),
        *("<b>mine</b>", "<i>data</i>", "accuracy", "cllr min", "brier", "95 % interval"),
        *("One person, lowest degree", "Two people, highest degree", "P5/0003.png", "log10 LR"),
    ):
        assert words in page.text, words
    assert {figure["id"] for figure in page.all("figure") if "id" in figure} == PAIR_PLOTS
    files = {path.name: path.read_bytes() for path in (folder / "plots").iterdir()}
    assert set(files) == {f"{name}.svg" for name in PAIR_PLOTS}
    for svg in files.values():
        check_svg(svg)
    # Eleven of the twelve genuine pairs and all six of two people have faces to show.
    crops = [
        image for image in page.all("img") if (image["src"] or "").startswith("data:image/jpeg")
    ]
    assert len(crops) == 2 * (11 + 6)
    assert str(tmp_path) not in html


def test_the_same_input_gives_the_same_bytes(people: Path, tmp_path: Path) -> None:
    with FaceIndex.open(tmp_path / "i.facesim", create=True, engine=FAKE) as index:
        first, second = (write(tmp_path / name, people, CURVE, index) for name in "ab")
    assert first == second
    for name in PAIR_PLOTS:
        one, other = (tmp_path / folder / "plots" / f"{name}.svg" for folder in "ab")
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path) -> None:
    names = [
        "<script>alert(1)<b>",
        "\"'><img src=x onerror=alert(1)>",
        "{{ 7 * 7 }}",
        "a\u202eb\nc",
    ]
    people = make_people(tmp_path / "people", names)
    command = ("evaluate", "--people", people, "--report", tmp_path / "report")
    result = facesim(tmp_path, *command)
    assert result.exit_code == 0, result.stderr
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    page = check_page(html)
    assert "<script>alert(1)<b>/0001.png" in page.text
    assert "{{ 7 * 7 }}/0001.png" in page.text
    assert "a\\u202eb\\nc/0001.png" in page.text
    assert all(image["src"] != "x" for image in page.all("img"))
    assert "\u202e" not in html


def test_people_are_reported_with_misses_and_false_positives(people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    result = facesim(tmp_path, "evaluate", "--people", people, "--report", folder)
    assert result.exit_code == 0, result.stderr
    assert f"Wrote {folder / 'report.html'}" in result.stderr
    page = check_page((folder / "report.html").read_text(encoding="utf-8"))
    plots = {figure["id"] for figure in page.all("figure") if "id" in figure}
    assert plots == {"scores", "cmc", "fnir_fpir"}
    for words in ("rank 1", "Worst misses", "Worst false positives", "best other", "P5/0003.png"):
        assert words in page.text
    assert f"evaluate --people {people} --report {folder}" in page.text, "the command as typed"


def test_a_report_is_replaced_and_nothing_else(people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    pairs = make_pairs(people)
    # Pairs, then people: plots of the first that the second has not are removed.
    by_pairs = ("evaluate", pairs, "--images", people, "--report", folder)
    assert facesim(tmp_path, *by_pairs).exit_code == 0
    assert {path.stem for path in (folder / "plots").iterdir()} == {"scores", "roc", "det"}
    assert facesim(tmp_path, "evaluate", "--people", people, "--report", folder).exit_code == 0
    assert {path.stem for path in (folder / "plots").iterdir()} == {"scores", "cmc", "fnir_fpir"}
    (folder / ".DS_Store").write_bytes(b"")
    check_report_folder(folder)
    (folder / "plots" / "mine.txt").write_text("keep")
    before = (folder / "report.html").read_bytes()
    refused = facesim(tmp_path, *by_pairs)
    assert (refused.exit_code, "plots/mine.txt" in refused.stderr) == (2, True)
    assert (folder / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "mine"},
        {"report.html": "<html>by someone else</html>"},
        {"plots/roc.svg": "mine, as there is no report"},
    ],
)
def test_a_folder_with_something_else_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(UsageError, match="not a report"):
        check_report_folder(folder)
    with pytest.raises(UsageError, match="not a folder"):
        check_report_folder(next(path for path in folder.rglob("*") if path.is_file()))
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(
        files
    )


def test_a_refused_folder_costs_no_evaluation(people: Path, tmp_path: Path) -> None:
    words = ("evaluate", "--people", people, "--report", people)
    assert facesim(tmp_path, *words).exit_code == 2
    assert not (tmp_path / "cache.facesim").exists()


def test_a_picture_that_is_gone_leaves_its_place(people: Path, tmp_path: Path) -> None:
    with FaceIndex.open(tmp_path / "i.facesim", create=True, engine=FAKE) as index:
        labelled = score_pairs(index, read_pairs(make_pairs(people), people), "pairs.csv")
        (people / "P0" / "0001.png").unlink()
        result = evaluate_pairs(labelled, CURVE, FAKE_IDENTITY, n_bootstrap=2)
        origin = ReportOrigin("", datetime(2026, 1, 1, tzinfo=UTC), None)
        path = write_report(tmp_path / "r", pair_report(index, labelled, (result, CURVE), origin))
    page = check_page(path.read_text(encoding="utf-8"))
    assert page.text.count("cannot be read") == 3  # Two pairs of one person and one of two.
    assert "P0/0001.png" in page.text, "named by its folder, as no root is known"


@pytest.mark.parametrize(
    "cosine",
    [(np.nan,) * 4, (0.9, 0.8, np.nan, np.nan), (0.9, 0.9, 0.9, 0.9), (0.9, 0.8, 0.1, 0.2)],
)
def test_plots_are_drawn_of_whatever_there_is(cosine: tuple[float, ...]) -> None:
    same = np.array([True, True, False, False])
    people = np.array([[0, 0], [1, 1], [0, 1], [1, 2]])
    pairs = ScoredPairs(np.array(cosine), same, people)
    rows = np.zeros((4, 2), dtype=np.int64)
    labelled = LabelledPictures("few", pairs, (Path("a"),), rows, np.zeros(1, dtype=np.int64))
    result = evaluate_pairs(labelled, CURVE, FAKE_IDENTITY, n_bootstrap=5)
    drawn = pair_plots(labelled, result, CURVE)
    assert {plot.name for plot in drawn} >= PAIR_PLOTS - {"evidence"}
    for plot in drawn:
        check_svg(plot.svg)
        assert plot.name in PLOT_NAMES
        assert len(plot.alt) > 20
        assert len(plot.caption) > 80


def test_one_pair_of_each_kind_is_drawn() -> None:
    pairs = ScoredPairs(
        np.array([0.9, 0.1]), np.array([True, False]), np.array([[0, 0], [0, 1]], dtype=np.int64)
    )
    rows, faces = np.zeros((2, 2), dtype=np.int64), np.zeros(1, dtype=np.int64)
    labelled = LabelledPictures("two", pairs, (Path("a"),), rows, faces)
    result = evaluate_pairs(labelled, CURVE, FAKE_IDENTITY, n_bootstrap=2)
    assert {plot.name for plot in pair_plots(labelled, result, CURVE)} == PAIR_PLOTS


def test_a_single_person_is_reported(tmp_path: Path) -> None:
    people = make_people(tmp_path / "people", ["Ann"])
    folder = tmp_path / "report"
    result = facesim(tmp_path, "evaluate", "--people", people, "--report", folder)
    assert result.exit_code == 0, result.stderr
    page = check_page((folder / "report.html").read_text(encoding="utf-8"))
    assert "Ann/0003.png" in page.text, "the picture without a face"
    assert "There is none." in page.text, "nobody else to be taken for"


def test_names_leave_out_the_folders_that_lead_to_the_pictures() -> None:
    root = Path("/home/someone/lfw")
    assert shown_name(root / "Ann" / "1.jpg", root) == "Ann/1.jpg"
    assert shown_name(Path("/else/where/Ann/1.jpg"), root) == "Ann/1.jpg"
    assert shown_name(Path("/1.jpg"), None) == "1.jpg"


@pytest.mark.slow
def test_the_report_of_real_people_shows_their_faces(test_data: Path, tmp_path: Path) -> None:
    lines = (test_data / "lfw_dev" / "pairsDevTest.txt").read_text().splitlines()
    few = tmp_path / "pairs.txt"
    few.write_text("\n".join(["15", *lines[1:16], *lines[501:516]]))
    images, folder = str(test_data / "lfw_dev" / "images"), tmp_path / "report"
    words = ["--index", str(tmp_path / "i.facesim"), "evaluate", str(few), "--images", images]
    result = CliRunner().invoke(main, [*words, "--report", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    html = (folder / "report.html").read_text(encoding="utf-8")
    page = check_page(html)
    assert {figure["id"] for figure in page.all("figure") if "id" in figure} == PAIR_PLOTS
    assert html.count("data:image/jpeg") == 48
    assert html.count(str(test_data)) == 1, "in the command, nowhere else"
