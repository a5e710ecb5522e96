"""Names reach programs as they are, and make or start nothing."""

import ast
import codecs
import csv
import io
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import facesim_index
from facesim_index.config import SEGMENTS_NAME
from facesim_index.errors import IndexDamagedError
from facesim_index.index import FaceIndex
from facesim_index.ingest.targets import IngestOptions
from facesim_index.records import FailureCode
from facesim_index.store.catalog import face_rows, index_state, picture_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.sqlite import row_checks
from facesim_index.utils.text import csv_line, json_text, original_text, spreadsheet_text
from tests.builders import FAKE
from tests.reliability.hostile_names import (
    NAMES,
    NOT_UTF8,
    assert_harmless,
    facesim,
    make_index,
    make_photos,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs file names of any bytes")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos that no test changes."""
    return make_photos(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def index(photos: Path) -> Path:
    """An index that no test changes."""
    return make_index(photos)


@pytest.fixture
def own_photos(tmp_path: Path) -> Path:
    """Photos for one test."""
    return make_photos(tmp_path)


@pytest.fixture
def own_index(own_photos: Path) -> Path:
    """An index for one test."""
    return make_index(own_photos)


# Programs


def test_json_gives_the_names_faithfully(index: Path, photos: Path) -> None:
    shown = json.loads(facesim(index, "errors", "--format", "json").stdout)
    assert {row["path"] for row in shown} == {str(photos / f"{name}.jpg") for name in NAMES}
    for name in NAMES:
        answer = facesim(index, "query", photos / f"{name}.png", "--format", "json")
        assert answer.stdout_bytes.decode("utf-8").isprintable() or "\n" in answer.stdout
        best = json.loads(answer.stdout)["faces"][0]["matches"][0]
        assert best["path"] == str(photos / f"{name}.png")
        assert Path(best["path"]).exists()


def test_bytes_that_are_no_unicode_have_the_documented_escape(index: Path, photos: Path) -> None:
    shown = facesim(index, "errors", "--format", "json").stdout
    assert r"/Z\udcfcrich\udcff.jpg" in shown
    assert "\u0430\u4e2d\u05d0\U0001f600.jpg" in shown  # and letters stay letters
    assert os.fsencode(json.loads(r'"Z\udcfcrich\udcff"')) == b"Z\xfcrich\xff"


def test_csv_gives_the_very_bytes(index: Path, photos: Path) -> None:
    data = facesim(index, "export", "faces", "-").stdout_bytes
    rows = csv.DictReader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline=""))
    assert {row["path"] for row in rows} == {str(photos / f"{name}.png") for name in NAMES}
    assert b"Z\xfcrich\xff.png" in data


def test_bytes_survive_the_round_trip_through_the_catalog(
    own_index: Path, own_photos: Path
) -> None:
    with FolderStore(own_index) as store, store.catalog.read() as transaction:
        known = picture_rows.folder_files(transaction, str(own_photos))
        assert set(known) == {path.name for path in own_photos.iterdir()}
        assert index_state.roots(transaction)[0][0] == str(own_photos)
        assert len(picture_rows.files_under(transaction, own_photos)) == 2 * len(NAMES)
        assert len(face_rows.face_ids(transaction, under=own_photos / f"{NOT_UTF8}.png")) == 1
        assert picture_rows.folders_under(transaction, own_photos.parent) == [str(own_photos)]
    with FaceIndex.open(own_index, engine=FAKE) as opened:
        assert opened.ingest([own_photos]).files_unchanged == 2 * len(NAMES)
        assert opened.ingest([own_photos], IngestOptions(checksum=True)).images_read == 0
        assert opened.forget([own_photos / f"{NOT_UTF8}.png"]).files == 1


@given(st.binary(min_size=1, max_size=40))
def test_any_bytes_survive_json_and_csv(raw: bytes) -> None:
    name = os.fsdecode(raw)
    text = json_text({"path": name})
    assert text.isprintable()
    assert os.fsencode(json.loads(text)["path"]) == raw
    line = csv_line((name, 1)).decode("utf-8", "surrogateescape")
    ((cell, _),) = csv.reader(io.StringIO(line, newline=""))
    assert cell == name


# Spreadsheets


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("IMG-2021=1.jpg", "IMG-2021=1.jpg"),
        ("a - b.jpg", "a - b.jpg"),
        ("=1+1", r"\x3d1+1"),
        ("  =1", r"  \x3d1"),
        ("+1", r"\x2b1"),
        ("-1", r"\x2d1"),
        ("@A", r"\x40A"),
        ("\uff1d1", r"\uff1d1"),
        ("a;=1", r"a;\x3d1"),
        ('a","=1', r'a","\x3d1'),
        ("a\t=1", r"a\t=1"),
        ("a\r\n=1", r"a\r\n=1"),
        (r"C:\new", r"C:\\new"),
        (NOT_UTF8, r"Z\udcfcrich\udcff"),
    ],
)
def test_cells_for_spreadsheets(text: str, cell: str) -> None:
    assert spreadsheet_text(text) == cell
    assert original_text(cell) == text


@given(st.text(st.one_of(st.characters(), st.sampled_from("=+-@;,\"'|\\ \t\r\nxu0"))))
def test_a_safe_cell_can_be_undone_and_holds_no_formula(text: str) -> None:
    cell = spreadsheet_text(text)
    assert original_text(cell) == text
    assert cell.isprintable()
    for separator in ",;|":
        for part in cell.split(separator):
            assert not part.strip("\"' ").startswith(("=", "+", "-", "@", "\uff1d"))


def test_safe_csv_is_plain_utf8_and_can_be_undone(index: Path, photos: Path) -> None:
    data = facesim(index, "export", "faces", "-", "--spreadsheet-safe").stdout_bytes
    text = codecs.decode(data, "utf-8")
    assert len(text.splitlines()) == 1 + len(NAMES)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    paths = {original_text(row["path"]) for row in rows}
    assert paths == {str(photos / f"{name}.png") for name in NAMES}
    assert all(float(row["x"]) >= 0 for row in rows)  # numbers stay numbers
    for line in text.splitlines():
        assert all(not cell.lstrip("\"' ").startswith(("=", "@")) for cell in line.split(";"))


# The index folder, and no shell


def test_a_catalog_cannot_name_files_outside_the_index(own_index: Path, tmp_path: Path) -> None:
    (segment,) = (p for p in (own_index / SEGMENTS_NAME).iterdir() if p.suffix == ".faiss")
    outside = tmp_path / "outside.faiss"
    outside.write_bytes(segment.read_bytes())
    before = outside.read_bytes()
    for name in (str(outside), f"../../{outside.name}", "..", ""):
        with sqlite3.connect(own_index / "catalog.sqlite3") as catalog:
            row_checks.register(catalog)
            catalog.execute("UPDATE segment SET name = ?", (name,))
        catalog.close()
        for words in (("query", "--face-id", "1"), ("compact",), ("verify",)):
            result = facesim(own_index, *words)
            assert result.exit_code == 1, (name, words, result.stdout, result.stderr)
            assert_harmless(result.stdout + result.stderr)
        with pytest.raises(IndexDamagedError, match="outside"):
            FolderStore(own_index, writable=True)
    assert outside.read_bytes() == before


def test_names_make_no_file_outside_the_index(
    own_index: Path, own_photos: Path, tmp_path: Path
) -> None:
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([own_index.name, own_photos.name])
    assert len(list(own_photos.iterdir())) == 2 * len(NAMES)
    inside = {p.relative_to(own_index).as_posix() for p in own_index.rglob("*") if p.is_file()}
    assert all(not any(name in path for name in NAMES) for path in inside)
    assert not (Path.cwd() / "pwned").exists()


@pytest.fixture
def started() -> Iterator[list[object]]:
    """The programs that this process starts, and every use of a shell."""
    _started.append([])
    yield _started[-1]
    _started.pop()


_started: list[list[object]] = []


def _note_programs(event: str, arguments: tuple[object, ...]) -> None:
    if _started and event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        _started[-1].append((event, arguments[0], arguments[1]) if len(arguments) > 1 else event)


sys.addaudithook(_note_programs)


def test_only_workers_are_started_and_no_name_is_on_their_command_line(
    tmp_path: Path, photos: Path, started: list[object]
) -> None:
    with FaceIndex.open(tmp_path / "i", create=True, engine=FAKE) as index:
        index.ingest([photos], workers=1)
        index.query(photos / f"{NAMES[8]}.png")
    worker = [sys.executable, "-P", "-c", "from facesim_index.workers.child import main; main()"]
    # One hashes files, one reads pictures.
    assert started == [("subprocess.Popen", sys.executable, worker)] * 2


def test_the_code_has_no_way_to_a_shell() -> None:
    package = Path(facesim_index.__file__).parent
    folders = [package, package.parent / "cli", package.parent / "migrations"]
    sources = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    assert len(sources) > 60
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("os.system", "os.popen", "eval", "exec"), path
                assert "shell" not in {keyword.arg for keyword in node.keywords}, path


def test_reasons_do_not_quote_the_file(index: Path) -> None:
    with FaceIndex.open(index, engine=FAKE) as opened:
        reasons = {(failed.code, failed.message) for failed in opened.errors()}
    assert reasons == {(FailureCode.UNSUPPORTED, "not a picture in a format that can be read")}
