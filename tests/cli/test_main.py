import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from facesim_index import __version__
from facesim_index.cli.ingest import SUMMARY_FIELDS
from facesim_index.cli.interrupts import graceful_interrupt
from facesim_index.cli.main import main
from facesim_index.cli.output import degree_text, printable
from facesim_index.cli.state import State
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.errors import IndexDamagedError
from facesim_index.store.folder.store import FolderStore
from tests.builders import FAKE
from tests.example_pictures import demo_picture, fake_photo
from tests.kept_folder import KeptFolder

RED, DARK_RED, GREEN, BLUE = (200, 20, 20), (203, 22, 25), (20, 200, 20), (20, 20, 200)


def make_photos(folder: Path) -> Path:
    folder.mkdir()
    (folder / "couple.png").write_bytes(fake_photo([RED, GREEN]))
    (folder / "red.png").write_bytes(fake_photo([DARK_RED]))
    (folder / "nobody.png").write_bytes(fake_photo([(0, 0, 0)]))
    (folder / "broken.jpg").write_text("no picture at all")
    return folder


@pytest.fixture(scope="module")
def kept_index(tmp_path_factory: pytest.TempPathFactory) -> KeptFolder:
    """Photos and their index, made once."""

    def make(folder: Path) -> None:
        photos = make_photos(folder / "photos")
        assert facesim(folder / "i.facesim", "ingest", photos, "--workers", "1").exit_code == 0

    return KeptFolder(tmp_path_factory.mktemp("kept"), make)


@pytest.fixture
def photos(kept_index: KeptFolder) -> Path:
    return kept_index.restored() / "photos"


@pytest.fixture
def index(photos: Path) -> Path:
    return photos.parent / "i.facesim"


def facesim(index: Path, *words: object) -> Result:
    """Run the command line in this process, with the fake engine."""
    return CliRunner().invoke(
        main,
        ["--index", str(index), *(str(word) for word in words)],
        obj=State(engine=FAKE),
        catch_exceptions=False,
    )


def test_ingest_tells_its_summary_on_stdout(tmp_path: Path, photos: Path) -> None:
    result = facesim(tmp_path / "i", "ingest", photos)
    assert result.exit_code == 0
    assert "4 pictures seen: 4 new" in result.stdout
    assert "3 faces added, 3 in the index" in result.stdout
    assert "facesim errors" in result.stderr
    again = facesim(tmp_path / "i", "ingest", photos)
    assert "4 unchanged" in again.stdout


def test_ingest_json_has_exactly_the_promised_fields(tmp_path: Path, photos: Path) -> None:
    result = facesim(tmp_path / "i", "ingest", photos, "--json")
    summary = json.loads(result.stdout)
    assert tuple(summary) == SUMMARY_FIELDS
    assert summary["files_seen"] == summary["files_new"] == 4
    assert summary["images_embedded"] == 2
    assert (summary["images_without_face"], summary["images_failed"]) == (1, 1)
    assert summary["faces_added"] == summary["faces_total"] == 3


def test_an_index_remembers_its_augmentation(tmp_path: Path, photos: Path) -> None:
    """With the real engine: the settings of the fake one would say it at every call."""
    (photos / "astronaut.png").write_bytes(demo_picture("astronaut.png").read_bytes())

    def run(name: str, *words: object) -> Result:
        command = ["--index", str(tmp_path / name), *(str(word) for word in words)]
        return CliRunner().invoke(main, command, catch_exceptions=False)

    ingest = ("ingest", photos, "--workers", "1", "--provider", "cpu")
    assert run("flip", *ingest, "--augment", "flip", "--json").exit_code == 0
    assert "augment flip" in run("flip", "status").stdout
    answer = json.loads(run("flip", "query", photos / "astronaut.png", "--format", "json").stdout)
    assert "augment flip" in answer["engine"]
    assert answer["faces"][0]["matches"][0]["cosine"] == pytest.approx(1, abs=1e-3)
    assert "5 unchanged" in run("flip", *ingest).stdout
    refused = run("flip", *ingest, "--augment", "none")
    assert refused.exit_code == 1
    assert "use --augment flip, or ingest into a new index" in refused.stderr
    assert run("flip", "verify", "--repair").exit_code == 0


def test_compare_says_what_it_embedded(photos: Path, tmp_path: Path) -> None:
    words = ("compare", photos / "red.png", photos / "couple.png", "--format", "json")
    plain = json.loads(facesim(tmp_path / "i", *words).stdout)
    flip = json.loads(facesim(tmp_path / "i", *words, "--augment", "flip").stdout)
    assert "augment" not in plain["engine"]
    assert flip["engine"].endswith("augment flip)")
    coarse = json.loads(facesim(tmp_path / "i", *words, "--numerics", "bf16").stdout)
    assert coarse["engine"].endswith("numerics bf16)")


def test_dry_run_makes_nothing(tmp_path: Path, photos: Path) -> None:
    result = facesim(tmp_path / "i", "ingest", photos, "--dry-run", "--json")
    assert json.loads(result.stdout)["files_to_read"] == 4
    assert not (tmp_path / "i").exists()


def test_a_missing_path_is_wrong_usage(tmp_path: Path) -> None:
    result = facesim(tmp_path / "i", "ingest", tmp_path / "gone")
    assert result.exit_code == 2
    assert "gone" in result.stderr
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["errors"],
        ["query", "--face-id", "1"],
        ["export", "matrix", "-"],
        ["compact"],
        ["verify"],
        ["forget", "--face-id", "1"],
    ],
)
def test_a_command_on_no_index_is_refused_and_makes_nothing(
    tmp_path: Path, words: list[str]
) -> None:
    result = facesim(tmp_path / "i", *words)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "is not a facesim index" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_query_json(index: Path, photos: Path) -> None:
    result = facesim(index, "query", photos / "couple.png", "--format", "json", "--top", "2")
    answer = json.loads(result.stdout)
    assert list(answer)[:3] == ["engine", "calibration", "prior"]
    assert [face["face"] for face in answer["faces"]] == [0, 1]
    first = answer["faces"][0]
    assert list(first) == ["face", "box", "detection", "matches"]
    assert list(first["matches"][0]) == [
        *("rank", "face_id", "path", "paths", "box"),
        *("cosine", "degree", "log10_lr", "same_image"),
        *("degree_low", "degree_high", "fmr", "expected_strangers", "at_bound"),
        *("person_id", "person", "person_degree", "caution"),
    ]
    assert [Path(match["path"]).name for match in first["matches"]] == ["couple.png", "red.png"]
    assert [match["same_image"] for match in first["matches"]] == [True, False]
    assert first["matches"][0]["degree"] is None
    assert "no calibration" in answer["note"]
    assert "no calibration" in result.stderr


def test_query_csv_and_table(index: Path, photos: Path) -> None:
    rows = list(
        csv.DictReader(
            io.StringIO(facesim(index, "query", photos / "red.png", "--format", "csv").stdout)
        )
    )
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert Path(rows[0]["path"]).name == "red.png"
    table = facesim(index, "query", photos / "red.png").stdout.splitlines()
    assert table[0].startswith("face 0 of ")
    assert table[1].split() == [
        *("rank", "degree", "log10", "LR", "strangers", "cosine", "face", "support", "picture"),
    ]
    assert table[2].split()[:2] == ["1", "-"]
    assert table[2].endswith("red.png  (the query picture)")


def test_query_by_face_id_and_its_errors(index: Path, photos: Path) -> None:
    answer = json.loads(facesim(index, "query", "--face-id", 1, "--format", "json").stdout)
    assert len(answer["faces"]) == 1
    assert [match["face_id"] for match in answer["faces"][0]["matches"]] == [3, 2]
    assert facesim(index, "query").exit_code == 2
    assert facesim(index, "query", photos / "red.png", "--face-id", 1).exit_code == 2
    assert facesim(index, "query", "--face-id", 99).exit_code == 2
    for wrong in ("1", "0", "nan", "often"):
        result = facesim(index, "query", photos / "red.png", "--prior", wrong)
        assert (result.exit_code, "between 0 and 1 nor gallery" in result.stderr) == (2, True)
    for name, message in (("nobody.png", "no face found"), ("broken.jpg", "broken.jpg")):
        result = facesim(index, "query", photos / name)
        assert (result.exit_code, result.stdout) == (1, "")
        assert message in result.stderr


def test_compare_needs_no_index(tmp_path: Path, photos: Path) -> None:
    result = facesim(
        tmp_path / "none", "compare", photos / "red.png", photos / "couple.png", "--format", "json"
    )
    comparison = json.loads(result.stdout)
    assert comparison["cosine"] > 0.9
    assert comparison["degree"] is None
    assert comparison["b"]["faces"] == 2
    text = facesim(tmp_path / "none", "compare", photos / "red.png", photos / "red.png").stdout
    assert re.search(r"cosine +1\.000", text)
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in photos.parent.iterdir()) == ["i.facesim", "photos"]


def test_export_matrix(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "sim.csv"
    result = facesim(index, "export", "matrix", out, "--value", "cosine", "--decimals", 3)
    assert (result.exit_code, result.stdout) == (0, "")
    lines = out.read_text().splitlines()
    assert lines[0] == "face_id,1,2,3"
    assert lines[1].startswith("1,1.000,")
    assert len(lines) == 4
    long = facesim(
        index, "export", "matrix", "-", "--value", "cosine", "--layout", "long"
    ).stdout.splitlines()
    assert long[0] == "face_a,face_b,value"
    assert [line.rsplit(",", 1)[0] for line in long[1:]] == ["1,3", "1,2", "2,3"]
    refused = facesim(index, "export", "matrix", tmp_path / "no.csv")
    assert refused.exit_code == 1
    assert "--value cosine" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sim.csv"]
    assert sorted(path.name for path in index.parent.iterdir()) == ["i.facesim", "photos"]


def test_export_matches_needs_a_calibration(index: Path, tmp_path: Path) -> None:
    refused = facesim(index, "export", "matches", tmp_path / "m.csv", "--min-degree", "0.5")
    assert refused.exit_code == 1
    assert "facesim calibrate" in refused.stderr
    assert facesim(index, "export", "matches", tmp_path / "m.csv").exit_code == 2
    assert not (tmp_path / "m.csv").exists()


def test_exact_query_is_the_same_here(index: Path, photos: Path) -> None:
    usual = facesim(index, "query", photos / "red.png", "--format", "json").stdout
    exact = facesim(index, "query", photos / "red.png", "--format", "json", "--exact").stdout
    assert json.loads(exact)["faces"][0]["matches"]
    assert exact == usual


def test_export_chooses_faces(index: Path, photos: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("face_id\n3\n1\n")
    matrix = ("export", "matrix", "-", "--value", "cosine")
    assert facesim(index, *matrix, "--face-ids", ids).stdout.startswith("face_id,1,3\n")
    under = facesim(index, *matrix, "--under", photos / "couple.png")
    assert under.stdout.startswith("face_id,1,2\n")
    ids.write_text("1\nx\n")
    wrong = facesim(index, *matrix, "--face-ids", ids)
    assert (wrong.exit_code, "line 2" in wrong.stderr) == (2, True)
    ids.write_text("77\n")
    assert "no face 77" in facesim(index, *matrix, "--face-ids", ids).stderr
    assert facesim(index, *matrix, "--under", tmp_path / "other").exit_code == 2


def test_export_faces(index: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(facesim(index, "export", "faces", "-").stdout)))
    assert list(rows[0])[:8] == [
        *("face_id", "image_id", "path", "x", "y", "w", "h", "detection"),
    ]
    assert [(row["face_id"], Path(row["path"]).name) for row in rows] == [
        ("1", "couple.png"),
        ("2", "couple.png"),
        ("3", "red.png"),
    ]
    assert float(rows[0]["w"]) == 32.0
    assert json.loads(rows[0]["copies"]) == []


def test_status_errors_and_upkeep(index: Path, photos: Path) -> None:
    status = json.loads(facesim(index, "status", "--json").stdout)
    assert status["counts"]["faces"] == 3
    assert status["roots"][0]["path"] == str(photos)
    assert status["calibration"] is None
    assert re.search(r"^faces +3$", facesim(index, "status").stdout, re.MULTILINE)
    [error] = json.loads(facesim(index, "errors", "--format", "json").stdout)
    assert (Path(error["path"]).name, error["code"]) == ("broken.jpg", "unsupported")
    assert "unsupported" in facesim(index, "errors").stdout
    assert facesim(index, "verify").stdout == "every segment and row is whole\n"
    assert "forgot 0 files and 1 faces" in facesim(index, "forget", "--face-id", 1).stdout
    assert facesim(index, "forget").exit_code == 2
    assert facesim(index, "forget", "--face-id", 2, "x").exit_code == 2
    assert facesim(index, "forget", "--face-id", 2, 99).exit_code == 2
    assert facesim(index, "forget", photos / "other").exit_code == 2
    assert facesim(index, "compact").exit_code == 0
    assert json.loads(facesim(index, "status", "--json").stdout)["counts"]["faces"] == 2


def test_verify_exits_1_with_a_list_and_repairs(index: Path) -> None:
    (index / "segments" / "000001.faiss").unlink()
    broken = facesim(index, "verify")
    assert broken.exit_code == 1
    assert "000001.faiss: is missing" in broken.stdout
    assert facesim(index, "query", "--face-id", 1).exit_code == 1
    mended = facesim(index, "verify", "--repair")
    assert (mended.exit_code, "3 faces mended, 0 lost" in mended.stdout) == (0, True)
    assert facesim(index, "verify").exit_code == 0


def test_a_second_writer_is_told_who_the_first_is(index: Path, photos: Path) -> None:
    with FolderStore(index, writable=True):
        result = facesim(index, "ingest", photos)
    assert result.exit_code == 1
    assert f"process {os.getpid()}" in result.stderr


def test_an_index_of_other_weights_is_refused(index: Path, photos: Path) -> None:
    result = CliRunner().invoke(
        main, ["--index", str(index), "ingest", "--model", "mbf-500m", str(photos)]
    )
    assert result.exit_code == 1
    assert f"was built with {FAKE_IDENTITY.name}" in result.stderr


def test_hostile_names_cannot_steer_the_terminal(tmp_path: Path, photos: Path) -> None:
    name = "a\nb\x1b[31m\u202egnp.png"
    (photos / name).write_bytes(fake_photo([BLUE]))
    index = tmp_path / "i"
    facesim(index, "ingest", photos)
    table = facesim(index, "query", photos / name).stdout
    assert "\x1b" not in table
    assert "\u202e" not in table
    assert r"a\nb\x1b[31m\u202egnp.png" in table
    answer = json.loads(facesim(index, "query", photos / name, "--format", "json").stdout)
    assert answer["faces"][0]["matches"][0]["path"] == str(photos / name)
    rows = facesim(index, "export", "faces", "-").stdout_bytes
    assert any(Path(row["path"]).name == name for row in csv.DictReader(io.StringIO(rows.decode())))
    (photos / os.fsdecode(b"\xe9t\xe9.png")).write_bytes(fake_photo([GREEN, BLUE]))
    facesim(index, "ingest", photos)
    assert b"\xe9t\xe9.png" in facesim(index, "export", "faces", "-").stdout_bytes
    found = facesim(index, "query", photos / os.fsdecode(b"\xe9t\xe9.png"), "--format", "json")
    paths = [match["path"] for match in json.loads(found.stdout)["faces"][0]["matches"]]
    assert str(photos / os.fsdecode(b"\xe9t\xe9.png")) in paths


def test_paths_below_the_working_folder_are_shown_short(
    index: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    assert (
        "photos/red.png  (the query picture)" in facesim(index, "query", photos / "red.png").stdout
    )
    assert str(photos) not in facesim(index, "errors").stdout
    answer = json.loads(facesim(index, "query", "photos/red.png", "--format", "json").stdout)
    assert answer["faces"][0]["matches"][0]["path"] == str(photos / "red.png")


def test_degrees_never_claim_certainty() -> None:
    assert degree_text(None) == "-"
    assert degree_text(0.99996) == ">0.9999"
    assert degree_text(0.99994) == "0.9999"
    assert degree_text(0.00001) == "<0.0001"
    assert printable("naïve 東京") == "naïve 東京"


def run(*words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "facesim_index", *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_help_and_version_are_quick_to_load() -> None:
    assert run("--version").stdout == f"facesim, version {__version__}\n"
    heavy = "faiss|onnxruntime|insightface|cv2|pandas|matplotlib|jinja2|PIL|sqlalchemy|numpy|rich"
    heavy += "|fastapi|starlette|uvicorn|pydantic"
    code = (
        "import sys\n"
        "from facesim_index.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(name for name in sys.modules if '.' not in name), file=sys.stderr)\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "Usage:" in loaded.stdout
    assert not re.findall(rf"'({heavy})'", loaded.stderr)


def all_commands() -> list[list[str]]:
    found = [[]]  # type: list[list[str]]
    for name, command in main.commands.items():
        found.append([name])
        found += [[name, below] for below in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(words: list[str]) -> None:
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0
    assert "Example: facesim" in result.stdout


def test_the_reference_in_the_docs_is_fresh() -> None:
    from tools.make_cli_docs import TARGET

    # In a process of its own: click remembers the help option of a command as the first caller
    # had it, and another test may have asked a command without its parents.
    code = "from tools.make_cli_docs import document; print(document(), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert TARGET.read_text(encoding="utf-8") == done.stdout, "run `make docs`"


@pytest.fixture(scope="module")
def much_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many pictures as half a minute of work for the real engine."""
    folder = tmp_path_factory.mktemp("work") / "photos"
    folder.mkdir()
    data = demo_picture("players.jpg").read_bytes()
    for n in range(200):
        (folder / f"{n:03d}.jpg").write_bytes(data + b" " * n)  # other bytes, same picture
    return folder


def start_ingest(index: Path, photos: Path) -> "subprocess.Popen[str]":
    """Start the real program, and wait until it has committed something."""
    words = [sys.executable, "-m", "facesim_index", "--index", str(index), "ingest", str(photos)]
    process = subprocess.Popen(
        [*words, "--workers", "2", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list((index / "segments").glob("0*.faiss")) and time.monotonic() < deadline:
        time.sleep(0.1)
    return process


@pytest.mark.slow
def test_interrupted_once_it_commits_what_is_finished(tmp_path: Path, much_work: Path) -> None:
    process = start_ingest(tmp_path / "i", much_work)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    summary = json.loads(stdout)
    assert 0 < summary["images_embedded"] < 200
    assert "run the same command to go on" in stderr
    status = json.loads(run("--index", str(tmp_path / "i"), "status", "--json").stdout)
    assert status["counts"]["images"] == summary["images_embedded"]
    assert status["interrupted"]
    assert run("--index", str(tmp_path / "i"), "verify").returncode == 0


def test_an_error_that_the_second_interrupt_made_is_an_interrupt() -> None:
    """Inside a function of SQLite's an interrupt comes out as damage of the catalog."""

    def damaged_by(interrupts: int) -> None:
        with graceful_interrupt("finishing"):
            for _ in range(interrupts):
                with contextlib.suppress(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)
            raise IndexDamagedError("user-defined function raised exception")

    with pytest.raises(IndexDamagedError):
        damaged_by(1)
    with pytest.raises(KeyboardInterrupt):
        damaged_by(2)


@pytest.mark.slow
def test_interrupted_twice_it_stops_at_once(tmp_path: Path, much_work: Path) -> None:
    process = start_ingest(tmp_path / "i", much_work)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "Ctrl-C again" not in (line := process.stderr.readline()):
        assert line, "it ended without a word"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=10)
    # The second may come too late to matter, when everything in hand was finished already.
    assert process.returncode == 130
    assert "Stopped at once" in stderr or json.loads(stdout)["images_embedded"] > 0
    assert run("--index", str(tmp_path / "i"), "verify").returncode == 0
