"""Numbers, ids and files that make no sense are refused with a clear message, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from facesim_index import FaceIndex
from facesim_index.calibration.document import to_json
from facesim_index.cli.main import main
from facesim_index.cli.option_types import FiniteRange
from facesim_index.cli.state import State
from facesim_index.errors import UsageError
from facesim_index.models.pack import MANIFEST_NAME
from facesim_index.people.grouping import PeopleOptions
from facesim_index.search.queries import QueryOptions
from facesim_index.store.folder.store import FolderStore
from tests.builders import FAKE
from tests.coloured_people import CURVE, GREEN, RED, facesim, put_curve
from tests.example_pictures import fake_photo
from tests.kept_folder import KeptFolder

SOON_S = 120.0
TOO_LARGE = (2**63, 10**30, "9" * 5000)
NO_NUMBERS = ("nan", "-nan", "inf", "-inf", "1e400")

#: The files of labels, by name; the pictures of the last three have no face.
LISTS: dict[str, bytes] = {
    "nul.csv": b"path_a,path_b,same\na\0.png,b.png,1\n",
    "nul_header.csv": b"path_a,path_b,same\0\na.png,b.png,1\n",
    "nul_faces.csv": b"face_a,face_b,same\n1\0,2,1\n",
    "huge_field.csv": b"path_a,path_b,same\n" + b"a" * 200_000 + b",b.png,1\n",
    "huge_faces.csv": b'face_a,face_b,same\n"' + b"1" * 200_000 + b'",2,1\n',
    "huge_header.csv": b"a" * 5_000_000 + b",b\n",
    "long_name.csv": b"path_a,path_b,same\n" + b"a" * 5000 + b".png,b.png,1\n",
    "home_of_nobody.csv": b"path_a,path_b,same\n~nobody-at-all/a.png,b.png,1\n",
    "beyond_64_bits.csv": b"face_a,face_b,same\n9223372036854775808,2,1\n",
    "beyond_all.csv": b"face_a,face_b,same\n" + b"9" * 5000 + b",2,1\n",
    "not_utf8.csv": b"path_a,path_b,same\n\xff\xfe,b.png,1\n",
    "empty.csv": b"",
    "folds.txt": b"9" * 5000 + b"\nAnna 1 2\n",
    "number.txt": b"1\nAnna 1 " + b"9" * 5000 + b"\nAnna 1 Ben 1\n",
    "digit.txt": "1\nAnna \u00b2 \u00b2\nAnna 1 Ben 1\n".encode(),
}
NO_FACE_LIST = b"path_a,path_b,same\nAnna/0.png,Anna/1.png,1\nAnna/0.png,Ben/0.png,0\n"


def make_index(folder: Path) -> None:
    photos = folder / "photos"
    photos.mkdir()
    (photos / "couple.png").write_bytes(fake_photo([RED, GREEN]))
    (photos / "red.png").write_bytes(fake_photo([RED, (90, 90, 90)]))
    (photos / "green.png").write_bytes(fake_photo([GREEN]))
    for person in ("Anna", "Ben"):
        (folder / "people" / person).mkdir(parents=True)
        for number in range(2):
            picture = folder / "people" / person / f"{number}.png"
            picture.write_bytes(fake_photo([(0, 0, 0)]))
    (folder / "people" / "pairs.csv").write_bytes(NO_FACE_LIST)
    index = folder / "i.facesim"
    assert facesim(index, "ingest", photos, "--workers", "1").exit_code == 0
    with FolderStore(index, writable=True) as store:
        put_curve(store)
    assert facesim(index, "people", "cluster").exit_code == 0
    assert facesim(index, "people", "name", "1", "Anna").exit_code == 0


@pytest.fixture(scope="module")
def kept_index(tmp_path_factory: pytest.TempPathFactory) -> KeptFolder:
    """Photos and their index, made once."""
    return KeptFolder(tmp_path_factory.mktemp("kept"), make_index)


@pytest.fixture
def index(kept_index: KeptFolder) -> Path:
    return kept_index.restored() / "i.facesim"


def refuse(index: Path, *words: object, code: int = 2) -> str:
    """Run a command that must be refused, and return what it says."""
    result = facesim(index, *words)
    assert result.exit_code == code, result.output
    assert "Error: " in result.stderr
    assert len(result.stderr) < 25_000  # what was typed, not a megabyte of it
    return result.stderr


# Numbers


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(
    "words",
    [
        ("query", "PICTURE", "--min-degree"),
        ("query", "PICTURE", "--prior"),
        ("compare", "PICTURE", "PICTURE", "--prior"),
        ("export", "matrix", "-", "--layout", "long", "--min-degree"),
        ("export", "matrix", "-", "--prior"),
        ("export", "matches", "-", "--min-degree"),
        ("export", "matches", "-", "--min-degree", "0.5", "--prior"),
        ("forget", "--match", "PICTURE", "--dry-run", "--min-degree"),
        ("forget", "--match", "PICTURE", "--dry-run", "--min-degree", "0.9", "--prior"),
        ("people", "cluster", "--min-degree"),
        ("people", "cluster", "--min-detection"),
        ("people", "cluster", "--min-face-px"),
        ("people", "cluster", "--prior"),
        ("ingest", "PHOTOS", "--min-detection"),
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_what_is_no_number_is_refused(index: Path, words: tuple[str, ...], value: str) -> None:
    photos = index.parent / "photos"
    stands_for = {"PICTURE": photos / "red.png", "PHOTOS": photos}
    refuse(index, *(stands_for.get(word, word) for word in words), value)


def test_no_option_takes_a_number_of_another_type() -> None:
    def options(command: click.Command) -> list[click.Parameter]:
        below = command.commands.values() if isinstance(command, click.Group) else ()
        return [*command.params, *(param for child in below for param in options(child))]

    numbers = [
        param.type
        for param in options(main)
        if isinstance(param.type, click.types.FloatParamType | click.FloatRange)
    ]
    assert len(numbers) > 5
    assert {type(number) for number in numbers} == {FiniteRange}


def test_python_refuses_them_too(index: Path) -> None:
    nan = float("nan")
    with FaceIndex.open(index, engine=FAKE) as opened:
        red = index.parent / "photos" / "red.png"
        with pytest.raises(UsageError, match="min_degree must be from 0 to 1, not nan"):
            opened.query(red, min_degree=nan)
        for options in (
            PeopleOptions(min_degree=nan),
            PeopleOptions(min_detection=nan),
            PeopleOptions(min_size_px=float("inf")),
        ):
            with pytest.raises(UsageError, match=r"must be .*not (nan|inf)"):
                opened.people.cluster(options)
    with pytest.raises(UsageError, match="top must be at least 1"):
        QueryOptions(top=0).check()


# Ids


@pytest.mark.parametrize("number", TOO_LARGE, ids=lambda number: f"{str(number)[:3]}..")
@pytest.mark.parametrize(
    "words",
    [
        ("query", "--face-id", "ID"),
        ("query", "--person", "ID"),
        ("query", "PICTURE", "--face", "ID"),
        ("compare", "PICTURE", "PICTURE", "--face-a", "ID"),
        ("forget", "--face-id", "ID"),
        ("forget", "--match", "PICTURE", "--min-degree", "0.9", "--dry-run", "--face", "ID"),
        ("people", "show", "ID"),
        ("people", "name", "ID", "Bert"),
        ("people", "split", "Anna", "ID"),
        ("people", "split", "ID", "1"),
        ("people", "move", "ID", "--to", "new"),
        ("people", "move", "1", "--to", "ID"),
        ("people", "merge", "Anna", "ID"),
        ("people", "apart", "Anna", "ID"),
        ("people", "ignore", "ID"),
        ("ingest", "PHOTOS", "--min-face-px", "ID"),
        ("ingest", "PHOTOS", "--workers", "ID"),
        ("export", "faces", "-", "--face-ids", "LIST"),
        ("export", "matrix", "-", "--face-ids", "LIST"),
    ],
    ids=" ".join,
)
def test_a_number_that_no_row_can_have_is_refused(
    index: Path, words: tuple[str, ...], number: int | str
) -> None:
    photos, listed = index.parent / "photos", index.parent / "ids.txt"
    listed.write_text(f"{number}\n")
    stands_for = {"PICTURE": photos / "red.png", "PHOTOS": photos, "ID": number, "LIST": listed}
    refuse(index, *(stands_for.get(word, word) for word in words))


def test_the_largest_number_of_all_is_that_of_no_face(index: Path) -> None:
    assert f"there is no face {2**63 - 1}" in refuse(index, "query", "--face-id", 2**63 - 1)
    assert f"there is no person {2**63 - 1}" in refuse(index, "people", "show", 2**63 - 1)


@pytest.mark.parametrize("number", [2**63, -(2**70)])
def test_python_knows_no_face_of_such_a_number(index: Path, number: int) -> None:
    with FaceIndex.open(index, engine=FAKE) as opened:
        for ask in (
            lambda: opened.query(face_id=number),
            lambda: opened.people.split("Anna", [number]),
            lambda: opened.people.move([number], "Anna"),
            lambda: opened.people.keep([number]),
            lambda: opened.check_face_ids([1, number]),
        ):
            with pytest.raises(UsageError, match=f"no face {number}"):
                ask()
        with pytest.raises(UsageError, match=f"no person {number}"):
            opened.people.show(number)


# Files


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("words", [("calibrate", "--pairs"), ("calibrate", "check", "--pairs")])
def test_a_list_that_makes_no_sense_is_refused(
    index: Path, words: tuple[str, ...], name: str
) -> None:
    listed = index.parent / name
    listed.write_bytes(LISTS[name])
    images = () if "face" in name or "beyond" in name else ("--images", index.parent / "photos")
    assert name in refuse(index, *words, listed, *images)
    refuse(index, "evaluate", listed, *images)


@pytest.mark.parametrize("labels", [("--people", "people"), ("--pairs", "people/pairs.csv")])
def test_labels_of_pictures_without_any_face_are_told(index: Path, labels: tuple[str, str]) -> None:
    option, path = labels[0], index.parent / labels[1]
    for words in (("calibrate",), ("calibrate", "check")):
        message = refuse(index, *words, option, path, code=1)
        assert "no face was found in" in message
        assert f"{path.name}: " in message


def test_nested_json_is_refused(index: Path) -> None:
    folder = index.parent
    red = folder / "photos" / "red.png"
    pack = folder / "pack"
    pack.mkdir()
    for text in ("[" * 200_000, '{"a":' * 200_000, '{"format": ' + "9" * 5000 + "}"):
        (pack / MANIFEST_NAME).write_text(text)
        (folder / "calibration.json").write_text(text)
        assert MANIFEST_NAME in refuse(index, "models", "install", pack, code=1)
        verified = facesim(index, "models", "verify", pack)
        assert (verified.exit_code, MANIFEST_NAME in verified.stderr) == (1, True)
        for command in (
            ("ingest", folder / "photos", "--model", pack),
            ("compare", red, red, "--model", pack),
            ("evaluate", folder / "people" / "pairs.csv", "--model", pack),
        ):
            assert MANIFEST_NAME in refuse_without_engine(folder / "new", *command).stderr
        for words in (
            ("calibrate", "import", folder / "calibration.json"),
            ("compare", red, red, "--calibration", folder / "calibration.json"),
        ):
            assert "calibration.json" in refuse(index, *words, code=1)


def refuse_without_engine(index: Path, *words: object) -> Result:
    typed = ["--index", str(index), *(str(word) for word in words)]
    result = CliRunner().invoke(main, typed, obj=State(), catch_exceptions=False)
    assert result.exit_code == 1, result.output
    return result


def test_a_word_with_a_nul_is_refused(index: Path) -> None:
    for words in (("query", "a\0.png"), ("forget", "a\0"), ("people", "show", "a\0")):
        assert "NUL" in refuse(index, *words)


def test_a_name_that_is_too_long_is_refused(index: Path) -> None:
    long_name = "x" * 5000
    red = index.parent / "photos" / "red.png"
    for words in (("export", "faces", long_name), ("query", red, "--sheet", long_name)):
        assert "File name too long" in refuse(index, *words, code=1)
    assert "File name too long" in refuse(Path(long_name), "status", code=1)
    assert "File name too long" in refuse(index, "ingest", long_name)


# What waits for somebody to write


@pytest.mark.skipif(os.name != "posix", reason="needs FIFOs")
def test_no_command_waits_for_a_fifo_that_it_finds(index: Path) -> None:
    """In a process of its own, because nothing else ends one that waits."""
    photos = index.parent / "photos"
    os.mkfifo(photos / "red.png.xmp")
    pack = index.parent / "pack"
    pack.mkdir()
    os.mkfifo(pack / MANIFEST_NAME)
    nameless = index.parent / "nameless"
    nameless.mkdir()
    os.mkfifo(nameless / "weights.onnx")
    pairs = index.parent / "pairs.csv"
    os.mkfifo(pairs)

    code, out, err = run(index, "export", "sidecars", "--beside")
    assert (code, "wrote 1 sidecars" in out) == (0, True), err
    assert "red.png.xmp" in err
    assert MANIFEST_NAME in run(index, "models", "verify", pack)[2]
    assert "must hold exactly" in run(index, "models", "install", nameless)[2]
    assert "not a regular file" in run(index, "calibrate", "--pairs", pairs)[2]
    assert "not a regular file" in run(index, "query", pairs)[2]


def run(index: Path, *words: object) -> tuple[int, str, str]:
    code = "import sys; from tests.coloured_people import facesim; "
    code += "made = facesim(*sys.argv[1:]); sys.stdout.write(made.stdout); "
    code += "sys.stderr.write(made.stderr); sys.exit(made.exit_code)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(index), *(str(word) for word in words)],
        capture_output=True,
        text=True,
        timeout=SOON_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("size", ["large", "nested"])
def test_no_sidecar_of_another_program_is_replaced(index: Path, size: str) -> None:
    sidecar = index.parent / "photos" / "red.png.xmp"
    if size == "large":
        with sidecar.open("wb") as handle:
            handle.truncate(1 << 34)  # sparse
    else:
        sidecar.write_text("<a>" * 1_000_000 + "</a>" * 1_000_000)
    before = sidecar.stat()
    assert facesim(index, "export", "sidecars", "--beside").exit_code == 0
    assert sidecar.stat() == before


def test_a_calibration_of_this_engine_is_still_read(index: Path) -> None:
    kept = index.parent / "calibration.json"
    kept.write_text(to_json(CURVE))
    assert facesim(index, "calibrate", "import", kept, "--name", "again").exit_code == 0
