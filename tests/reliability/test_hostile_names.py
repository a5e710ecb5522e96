"""Names never steer a terminal, whatever command shows them."""

import csv
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from facesim_index.calibration.document import to_json
from facesim_index.cli.main import main
from facesim_index.config import SEGMENTS_NAME
from facesim_index.people.edits import confirm_faces
from facesim_index.store.catalog import calibration_rows, face_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.utils.text import original_text, printable
from tests.example_pictures import fake_photo
from tests.reliability.hostile_names import (
    CURVE,
    FORMULA,
    MARKUP,
    NAMES,
    NOT_UTF8,
    STEERING,
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


@pytest.fixture(scope="module")
def shared_people(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index with a calibration and two people of such names: one has all faces but five."""
    folder = tmp_path_factory.mktemp("people") / index.name
    shutil.copytree(index, folder)
    with FolderStore(folder, writable=True) as store:
        with store.catalog.write() as transaction:
            calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
            calibration_rows.activate(transaction, CURVE.name)
            faces = face_rows.face_ids(transaction).tolist()
        confirm_faces(store, {FORMULA: faces[5:], MARKUP: faces[1:4]})
    return folder


@pytest.fixture
def people_index(shared_people: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    shutil.copytree(shared_people, tmp_path / shared_people.name)
    return tmp_path / shared_people.name


@pytest.fixture
def own_photos(tmp_path: Path) -> Path:
    """Photos for one test."""
    return make_photos(tmp_path)


@pytest.fixture
def own_index(own_photos: Path) -> Path:
    """An index for one test."""
    return make_index(own_photos)


# Terminals

COMMANDS: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "ingest": lambda photos, _: ("ingest", photos),
    "ingest --dry-run": lambda photos, _: ("ingest", photos, "--dry-run"),
    "ingest of nothing": lambda photos, _: ("ingest", photos / STEERING),
    "ingest a fifo": lambda photos, _: ("ingest", fifo(photos)),
    "ingest what is gone": lambda photos, _: ("ingest", emptied(photos), "--prune"),
    "query": lambda photos, _: ("query", photos / f"{STEERING}.png"),
    "query --sheet": lambda photos, out: (
        *("query", photos / f"{STEERING}.png", "--sheet", out / f"{STEERING}.png"),
    ),
    "query into no folder": lambda photos, out: (
        *("query", photos / f"{STEERING}.png", "--sheet", out / STEERING / "s.png"),
    ),
    "query json": lambda photos, _: ("query", photos / f"{STEERING}.png", "--format", "json"),
    "query safe csv": lambda photos, _: (
        *("query", photos / f"{STEERING}.png", "--format", "csv", "--spreadsheet-safe"),
    ),
    "query of no picture": lambda photos, _: ("query", photos / f"{STEERING}.jpg"),
    "query of nothing": lambda photos, _: ("query", photos / STEERING),
    "query with a prior": lambda photos, _: ("query", photos / "+1.png", "--prior", STEERING),
    "query with a number": lambda photos, _: ("query", photos / "+1.png", "--top", STEERING),
    "compare": lambda photos, _: ("compare", *pair(photos)),
    "compare json": lambda photos, _: ("compare", *pair(photos), "--format", "json"),
    "compare with no picture": lambda photos, _: ("compare", *pair(photos, "jpg")),
    "compare by no calibration": lambda photos, _: (
        *("compare", *pair(photos), "--calibration", pair(photos)[0]),
    ),
    "export faces": lambda _, out: ("export", "faces", out / f"{STEERING}.csv"),
    "export to no folder": lambda _, out: ("export", "faces", out / STEERING / "f.csv"),
    "export under nothing": lambda photos, _: ("export", "faces", "-", "--under", photos / "x"),
    "export no ids": lambda photos, _: (
        *("export", "faces", "-", "--face-ids", photos / f"{STEERING}.png"),
    ),
    "export safe faces": lambda _, __: ("export", "faces", "-", "--spreadsheet-safe"),
    "export matrix": lambda _, out: (
        *("export", "matrix", out / f"{STEERING}.csv", "--value", "cosine"),
    ),
    "status": lambda _, __: ("status",),
    "status json": lambda _, __: ("status", "--json"),
    "errors": lambda _, __: ("errors",),
    "errors json": lambda _, __: ("errors", "--format", "json"),
    "errors safe csv": lambda _, __: ("errors", "--format", "csv", "--spreadsheet-safe"),
    "verify": lambda _, __: ("verify",),
    "snapshot": lambda _, out: ("snapshot", out / STEERING),
    "snapshot onto something": lambda photos, _: ("snapshot", photos / f"{STEERING}.png"),
    "restore nothing": lambda photos, _: ("restore", photos / STEERING),
    "forget a person": lambda photos, _: (
        *("forget", "--match", photos / f"{STEERING}.png", "--min-degree", "0.5", "--dry-run"),
    ),
    "audit": lambda _, __: ("audit",),
    "audit json": lambda _, __: ("audit", "--format", "json"),
    "compact": lambda _, __: ("compact",),
    "doctor": lambda _, __: ("doctor",),
    "doctor json": lambda _, __: ("doctor", "--json"),
    "forget": lambda photos, _: ("forget", photos / f"{STEERING}.png"),
    "forget nothing": lambda photos, _: ("forget", photos / STEERING),
    "forget no id": lambda photos, _: ("forget", "--face-id", "1", STEERING),
    "calibrate nobody": lambda photos, _: ("calibrate", "--people", photos),
    "calibrate use": lambda _, __: ("calibrate", "use", STEERING),
    "calibrate drop": lambda _, __: ("calibrate", "drop", STEERING),
    "calibrate import": lambda photos, _: ("calibrate", "import", photos / f"{STEERING}.jpg"),
    "evaluate pairs": lambda photos, _: ("evaluate", labels(photos), "--images", photos),
    "evaluate people": lambda photos, _: ("evaluate", "--people", photos),
    "people list": lambda _, __: ("people", "list"),
    "people show": lambda _, __: ("people", "show", STEERING),
    "serve at no address": lambda _, __: ("serve", "--host", STEERING, "--token", "x" * 20),
    "serve everybody": lambda _, __: ("serve", "--host", "0.0.0.0"),
    "models verify": lambda _, __: ("models", "verify", STEERING),
    "models path": lambda _, __: ("models", "path", STEERING),
    "no command": lambda _, __: (STEERING,),
    "no option": lambda _, __: ("query", f"--{STEERING}"),
    "no argument": lambda _, __: ("status", STEERING),
    "no choice": lambda photos, _: ("query", photos / "+1.png", "--format", STEERING),
}
PEOPLE_COMMANDS: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "people cluster": lambda _, __: ("people", "cluster", "--full"),
    "people cluster json": lambda _, __: ("people", "cluster", "--json"),
    "people list": lambda _, __: ("people", "list", "--all"),
    "people list json": lambda _, __: ("people", "list", "--format", "json"),
    "people list safe csv": lambda _, __: (
        *("people", "list", "--format", "csv", "--spreadsheet-safe"),
    ),
    "people show": lambda _, __: ("people", "show", FORMULA),
    "people show json": lambda _, __: ("people", "show", FORMULA, "--format", "json"),
    "people show safe csv": lambda _, __: (
        *("people", "show", FORMULA, "--format", "csv", "--spreadsheet-safe"),
    ),
    "people show nobody": lambda _, __: ("people", "show", STEERING),
    "people name": lambda _, __: ("people", "name", FORMULA, f"{MARKUP}!"),
    "people name with control characters": lambda _, __: ("people", "name", FORMULA, STEERING),
    "people name with no text": lambda _, __: ("people", "name", FORMULA, NOT_UTF8),
    "people name of somebody else": lambda _, __: ("people", "name", FORMULA, MARKUP),
    "people merge": lambda _, __: ("people", "merge", MARKUP, FORMULA),
    "people merge nobody": lambda _, __: ("people", "merge", STEERING, NOT_UTF8),
    "people split": lambda _, __: ("people", "split", FORMULA, 6),
    "people split nothing": lambda _, __: ("people", "split", FORMULA, STEERING),
    "people move": lambda _, __: ("people", "move", 1, "--to", MARKUP),
    "people move to nobody": lambda _, __: ("people", "move", 1, "--to", STEERING),
    "people apart": lambda _, __: ("people", "apart", FORMULA, MARKUP),
    "people apart nobody": lambda _, __: ("people", "apart", FORMULA, NOT_UTF8),
    "people ignore": lambda _, __: ("people", "ignore", MARKUP),
    "people undo": lambda _, __: ("people", "undo"),
    "people review": lambda _, __: ("people", "review", "--prior", "0.5"),
    "people review json": lambda _, __: ("people", "review", "--format", "json"),
    "people review safe csv": lambda _, __: (
        *("people", "review", "--format", "csv", "--spreadsheet-safe"),
    ),
    "query --person": lambda _, __: ("query", "--person", FORMULA, "--top", 40),
    "query --person json": lambda _, __: ("query", "--person", MARKUP, "--format", "json"),
    "query --person nobody": lambda _, __: ("query", "--person", STEERING),
    "query finds people": lambda photos, _: ("query", photos / f"{STEERING}.png", "--top", 40),
    "query finds people safe csv": lambda photos, _: (
        *("query", photos / "+1.png", "--format", "csv", "--spreadsheet-safe"),
    ),
    "export people": lambda _, out: ("export", "people", out / f"{STEERING}.csv"),
    "export safe people": lambda _, __: ("export", "people", "-", "--spreadsheet-safe"),
    "export people to no folder": lambda _, out: ("export", "people", out / STEERING / "p.csv"),
    "export sidecars": lambda _, out: ("export", "sidecars", out / STEERING),
    "export sidecars into a file": lambda photos, _: (
        *("export", "sidecars", photos / f"{STEERING}.png" / "names"),
    ),
    "export sidecars beside others": lambda photos, _: (
        *("export", "sidecars", with_sidecars(photos)),
    ),
    "ingest --people": lambda _, out: ("ingest", "--people", folders_of_people(out)),
    "status with people": lambda _, __: ("status",),
}


def with_sidecars(photos: Path) -> Path:
    """Return a folder in which every sidecar would take the place of another program's."""
    folder = photos.parent / "sidecars"
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        (folder / f"{name}.png.xmp").write_text("<x/>")
    return folder


def folders_of_people(out: Path) -> Path:
    for number, name in enumerate((STEERING, NOT_UTF8, "=1+1")):
        (out / "labelled" / name).mkdir(parents=True)
        photo = out / "labelled" / name / f"{STEERING}.png"
        photo.write_bytes(fake_photo([(20, 20 + 16 * number, 20)]))
    return out / "labelled"


def pair(photos: Path, suffix: str = "png") -> tuple[Path, Path]:
    return photos / f"{STEERING}.{suffix}", photos / f"{NOT_UTF8}.{suffix}"


def fifo(photos: Path) -> Path:
    os.mkfifo(photos / f"{STEERING}.fifo")
    return photos / f"{STEERING}.fifo"


def emptied(photos: Path) -> Path:
    for path in photos.iterdir():
        path.unlink()
    return photos


def labels(photos: Path) -> Path:
    file = photos.parent / f"{STEERING}.csv"
    file.write_text(f"path_a,path_b,same\n\x1b[31m{NAMES[2]},\x1by,{chr(7)}maybe\n")
    return file


CHANGING = ("ingest", "ingest a fifo", "ingest what is gone", "compact", "forget")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_name_steers_the_terminal(
    command: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    own = "own_" if command in CHANGING else ""
    photos: Path = request.getfixturevalue(f"{own}photos")
    index: Path = request.getfixturevalue(f"{own}index")
    result = facesim(index, *COMMANDS[command](photos, tmp_path))
    assert result.exit_code in (0, 1, 2)
    assert result.stdout + result.stderr
    assert_harmless(result.stdout)
    assert_harmless(result.stderr)


@pytest.mark.parametrize("command", PEOPLE_COMMANDS)
def test_no_name_of_a_person_steers_the_terminal(
    command: str, photos: Path, people_index: Path, tmp_path: Path
) -> None:
    result = facesim(people_index, *PEOPLE_COMMANDS[command](photos, tmp_path))
    assert result.exit_code in (0, 1, 2)
    assert result.stdout + result.stderr
    assert_harmless(result.stdout)
    assert_harmless(result.stderr)
    failing = ("nobody", "nothing", "no folder", "with control", "no text", "else", "into a file")
    expected = any(words in command for words in failing) or command == "ingest --people"
    assert (result.exit_code != 0) == expected, result.stderr


def test_every_command_is_tried() -> None:
    every = [*COMMANDS, *PEOPLE_COMMANDS]
    assert set(main.commands) <= {words.split()[0] for words in every}
    people = main.commands["people"]
    assert isinstance(people, click.Group)
    for name in people.commands:
        assert any(words.startswith(f"people {name}") for words in every), name


def test_a_folder_whose_name_no_person_can_have_is_named(
    people_index: Path, tmp_path: Path
) -> None:
    result = facesim(people_index, "ingest", "--people", folders_of_people(tmp_path))
    assert result.exit_code == 2
    assert "cannot be a person's name" in result.stderr
    assert "give the folder of that name another" in result.stderr


def test_the_csv_of_people_is_safe_for_a_spreadsheet_if_asked(people_index: Path) -> None:
    plain = facesim(people_index, "export", "people", "-").stdout_bytes
    safe = facesim(people_index, "export", "people", "-", "--spreadsheet-safe").stdout_bytes
    kept = plain.decode("utf-8", "surrogateescape")
    before = list(csv.DictReader(io.StringIO(kept, newline="")))
    after = list(csv.DictReader(io.StringIO(safe.decode("utf-8"), newline="")))
    assert {row["name"] for row in before} == {FORMULA, MARKUP}
    assert len(after) == len(before) == len(NAMES) - 2
    for row, plain_row in zip(after, before, strict=True):
        for column in ("name", "path"):
            assert original_text(row[column]) == plain_row[column]
            assert row[column][0] not in "=+-@"
    assert_harmless(safe.decode("utf-8"))


def test_the_index_may_have_any_name_or_be_none(index: Path, photos: Path) -> None:
    for place in (index.with_name(STEERING), photos, photos / f"{STEERING}.png"):
        result = facesim(place, "status")
        assert result.exit_code == 1
        assert printable(str(place)) in result.stderr
        assert_harmless(result.stderr)


def test_a_damaged_index_is_described_harmlessly(own_index: Path) -> None:
    for path in (own_index / SEGMENTS_NAME).iterdir():
        path.write_bytes(b"damage")
    result = facesim(own_index, "verify")
    assert result.exit_code == 1
    assert_harmless(result.stdout + result.stderr)


def test_the_name_of_a_calibration_is_shown_harmlessly(own_index: Path, tmp_path: Path) -> None:
    from tests.cli.test_calibrate import N_PEOPLE, shade

    people = tmp_path / f"people{NOT_UTF8}{STEERING}"
    for person in range(N_PEOPLE):
        (people / f"{NOT_UTF8}{person}").mkdir(parents=True)
        for number in range(3):
            photo = people / f"{NOT_UTF8}{person}" / f"{number}.png"
            photo.write_bytes(fake_photo([shade(person, number)]))
    fitted = facesim(own_index, "calibrate", "--people", people, "--method", "logistic")
    assert fitted.exit_code == 0, fitted.stderr
    some = people / f"{NOT_UTF8}0" / "0.png"
    exported = tmp_path / "c.json"
    for words in (
        ("calibrate", "list"),
        ("calibrate", "show", people.name),
        ("calibrate", "check", "--people", people),
        ("calibrate", "export", people.name, exported),
        ("calibrate", "import", exported, "--use"),
        ("status",),
        ("query", some),
        ("compare", some, some, "--calibration", exported),
        ("export", "matches", tmp_path / "m.csv", "--min-degree", "0.5"),
        ("evaluate", "--people", people, "--report", tmp_path / "report"),
        ("calibrate", "drop", people.name),
    ):
        result = facesim(own_index, *words)
        assert result.exit_code == 0, (words, result.stderr)
        assert_harmless(result.stdout)
        assert_harmless(result.stderr)
    assert json.loads(exported.read_text(encoding="utf-8"))["name"] == people.name
    assert_harmless((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))


def test_what_is_logged_is_harmless(index: Path) -> None:
    assert facesim(index, "status").exit_code == 0  # which sets up the log
    (handler,) = logging.getLogger("facesim_index").handlers
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "lost %s", (STEERING,), None)
    assert handler.format(record) == f"WARNING: lost {printable(STEERING)}"
    trace = logging.LogRecord("x", logging.DEBUG, "f", 1, "trace:\n%s", ("\x1b[2J",), None)
    assert handler.format(trace) == "DEBUG: trace:\n\\x1b[2J"


@pytest.mark.parametrize(
    "words",
    [
        *(("errors", "--format", "csv"), ("export", "faces", "-"), ("errors",), ("status",)),
        *(("export", "people", "-"), ("people", "show", FORMULA)),
        ("people", "show", FORMULA, "--format", "csv"),
    ],
)
def test_on_a_real_terminal(shared_people: Path, words: tuple[str, ...]) -> None:
    """CSV too: a terminal is no program that wants the very bytes."""
    command = [sys.executable, "-m", "facesim_index", "--index", str(shared_people), *words]
    leader, follower = os.openpty()
    with subprocess.Popen(command, stdout=follower, stderr=follower, stdin=follower) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 1 << 16)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(leader)
    assert process.returncode == 0
    text = re.sub("\x1b\\[[01]m", "", shown.decode("utf-8"))  # our own headings are bold
    text = text.replace("\r\n", "\n")
    assert printable(STEERING) in text.replace("\\\\", "\\")
    assert_harmless(text)
