import csv
import io
import json
from pathlib import Path

import pytest

from facesim_index.store.folder.store import FolderStore
from tests.coloured_people import BLUE, DARK_GREEN, DARK_RED, GREEN, RED, facesim, put_curve
from tests.example_pictures import fake_photo
from tests.kept_folder import KeptFolder


def make_index(folder: Path) -> None:
    photos = folder / "photos"
    photos.mkdir()
    (photos / "couple.png").write_bytes(fake_photo([RED, GREEN]))
    (photos / "red.png").write_bytes(fake_photo([DARK_RED]))
    (photos / "green.png").write_bytes(fake_photo([DARK_GREEN]))
    (photos / "blue.png").write_bytes(fake_photo([BLUE]))
    index = folder / "i.facesim"
    assert facesim(index, "ingest", photos, "--workers", "1").exit_code == 0
    with FolderStore(index, writable=True) as store:
        put_curve(store)


@pytest.fixture(scope="module")
def kept_index(tmp_path_factory: pytest.TempPathFactory) -> KeptFolder:
    """Photos and their index, made once."""
    return KeptFolder(tmp_path_factory.mktemp("kept"), make_index)


@pytest.fixture
def index(kept_index: KeptFolder) -> Path:
    """An index of a red and a green person with two faces each, and a blue one with one."""
    return kept_index.restored() / "i.facesim"


@pytest.fixture
def grouped(index: Path) -> Path:
    result = facesim(index, "people", "cluster")
    assert result.exit_code == 0
    assert "2 people (2 new): 4 faces, 4 of them joined now" in result.stdout
    assert "1 faces are like nobody else's, 0 wait below" in result.stdout
    return index


def people_of(index: Path) -> list[dict[str, object]]:
    listed = json.loads(facesim(index, "people", "list", "--all", "--format", "json").stdout)
    assert isinstance(listed, list)
    return listed


def test_before_any_grouping_there_is_nobody(index: Path) -> None:
    result = facesim(index, "people", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "facesim people cluster" in result.stderr
    assert facesim(index, "people", "list", "--format", "csv").stdout == (
        "person,name,faces,pictures,confirmed,ignored\n"
    )


def test_cluster_tells_its_summary_as_json(index: Path) -> None:
    summary = json.loads(facesim(index, "people", "cluster", "--json").stdout)
    assert (summary["people"], summary["faces_placed"], summary["faces_alone"]) == (2, 4, 1)


def test_people_are_listed_named_and_shown(grouped: Path) -> None:
    rows = facesim(grouped, "people", "list").stdout.splitlines()
    assert rows[0].split() == ["person", "name", "faces", "pictures", "confirmed"]
    assert [row.split() for row in rows[1:]] == [
        ["1", "-", "2", "2", "0"],
        ["2", "-", "2", "2", "0"],
    ]
    named = facesim(grouped, "people", "name", "1", "Rosa Red")
    assert named.stdout == "person 1, Rosa Red: 2 faces in 2 pictures\n"
    shown = facesim(grouped, "people", "show", "rosa red").stdout
    assert "person 1, Rosa Red: 2 faces in 2 pictures" in shown
    document = json.loads(facesim(grouped, "people", "show", "1", "--format", "json").stdout)
    assert (document["name"], document["faces"]) == ("Rosa Red", 2)
    assert [Path(face["path"]).name for face in document["list"]] == ["couple.png", "red.png"]
    table = list(
        csv.reader(io.StringIO(facesim(grouped, "people", "show", 1, "--format", "csv").stdout))
    )
    assert table[0] == ["face_id", "confirmed", "path", "x", "y", "w", "h"]
    assert [row[1] for row in table[1:]] == ["false", "false"]
    assert facesim(grouped, "people", "name", "1", "--remove").stdout.startswith(
        "person 1: 2 faces"
    )


def test_changes_are_made_and_taken_back(grouped: Path) -> None:
    before = people_of(grouped)
    assert facesim(grouped, "people", "merge", 1, 2).stdout == "person 1: 4 faces in 3 pictures\n"
    assert facesim(grouped, "people", "undo").stdout == "took back: merge\n"
    assert people_of(grouped) == before
    face = json.loads(facesim(grouped, "people", "show", 1, "--format", "json").stdout)["list"][0]
    split = facesim(grouped, "people", "split", 1, face["face_id"])
    assert split.stdout == "person 3: 1 faces in 1 pictures\n"
    moved = facesim(grouped, "people", "move", face["face_id"], "--to", 1)
    assert moved.stdout == "person 1: 2 faces in 2 pictures\n"
    assert facesim(grouped, "people", "ignore", 2).stdout.endswith("ignored\n")
    assert [row["person_id"] for row in people_of(grouped) if row["ignored"]] == [2]
    assert "ignored" not in facesim(grouped, "people", "ignore", 2, "--not").stdout
    assert facesim(grouped, "people", "apart", 1, 2).stdout == "1 and 2 are two people\n"
    for action in ("apart", "ignore", "ignore", "move", "split"):
        assert facesim(grouped, "people", "undo").stdout == f"took back: {action}\n"
    assert people_of(grouped) == before
    assert facesim(grouped, "people", "undo").stdout == "took back: cluster\n"
    nothing = facesim(grouped, "people", "undo")
    assert (nothing.exit_code, people_of(grouped)) == (1, [])
    assert "nothing to undo" in nothing.stderr


def test_wrong_usage_exits_2(grouped: Path) -> None:
    for words in (
        ("people", "show", "Nobody"),
        ("people", "name", 1),
        ("people", "merge", 1, 1),
        ("people", "split", 1, 99),
        ("query", "--person", 1, "--face-id", 1),
        ("query", "--person", 1, "--face", 0),
    ):
        result = facesim(grouped, *words)
        assert (result.exit_code, result.stdout) == (2, ""), words


def test_review_asks_the_doubtful_first(grouped: Path) -> None:
    table = facesim(grouped, "people", "review", "--prior", "0.01").stdout
    assert "Is this face that person's?" in table
    assert "Are these one person?" in table
    document = json.loads(facesim(grouped, "people", "review", "--format", "json").stdout)
    kinds = [row["question"] for row in document["questions"]]
    assert kinds == ["face"] * 4, "the red and the green are in one photo: they are not one"
    rows = facesim(grouped, "people", "review", "--format", "csv").stdout.splitlines()
    assert rows[0] == "question,degree,person,name,face_id,other_person,other_name,other_face_id"
    assert len(rows) == 5


def test_query_tells_the_person(grouped: Path, tmp_path: Path) -> None:
    facesim(grouped, "people", "name", "1", "Rosa")
    new = tmp_path / "new.png"
    new.write_bytes(fake_photo([RED]))
    table = facesim(grouped, "query", new, "--top", 5).stdout
    assert "degree for it" in table
    assert "Rosa" in table
    document = json.loads(facesim(grouped, "query", new, "--top", 5, "--format", "json").stdout)
    match = document["faces"][0]["matches"][0]
    assert (match["person_id"], match["person"]) == (1, "Rosa")
    assert match["person_degree"] > 0.9
    row = next(
        csv.DictReader(io.StringIO(facesim(grouped, "query", new, "--format", "csv").stdout))
    )
    assert (row["person_id"], row["person"]) == ("1", "Rosa")


def test_query_by_person(grouped: Path) -> None:
    facesim(grouped, "people", "name", "1", "Rosa")
    table = facesim(grouped, "query", "--person", "rosa").stdout
    assert table.startswith("Rosa, for instance face 0 of ")
    assert "the mean over the person's faces" in table
    document = json.loads(facesim(grouped, "query", "--person", 1, "--format", "json").stdout)
    assert (document["person_id"], document["person"]) == (1, "Rosa")
    best = [Path(match["path"]).name for match in document["faces"][0]["matches"][:2]]
    assert sorted(best) == ["couple.png", "red.png"]


def test_ingest_people_labels_by_folder(tmp_path: Path) -> None:
    index, people = tmp_path / "i.facesim", tmp_path / "people"
    for name, colour in (("Rosa", RED), ("Gil", GREEN)):
        (people / name).mkdir(parents=True)
        (people / name / "1.png").write_bytes(fake_photo([colour]))
    result = facesim(index, "ingest", "--people", people, "--workers", 1)
    assert (result.exit_code, "2 pictures seen" in result.stdout) == (0, True)
    assert "2 faces are those of 2 people, by their folders" in result.stderr
    assert [(row["name"], row["confirmed"]) for row in people_of(index)] == [
        ("Gil", 1),
        ("Rosa", 1),
    ]
    nothing = facesim(index, "ingest")
    assert (nothing.exit_code, "name folders" in nothing.stderr) == (2, True)


def test_status_counts_people_and_their_faces(index: Path) -> None:
    def line() -> str:
        rows = facesim(index, "status").stdout.splitlines()
        [found] = [row for row in rows if row.startswith("people")]
        return " ".join(found.split())

    assert line() == "people 0"
    facesim(index, "people", "cluster")
    assert line() == "people 2: 4 faces; 1 are nobody's"
    facesim(index, "people", "name", "1", "Rosa")
    facesim(index, "people", "ignore", "2")
    assert line() == "people 2 (1 named, 1 ignored): 4 faces; 1 are nobody's"
    counts = json.loads(facesim(index, "status", "--json").stdout)["counts"]
    names = ("people", "people_named", "people_ignored", "faces_of_people", "faces_of_nobody")
    assert [counts[name] for name in names] == [2, 1, 1, 4, 1]


def test_export_people_and_sidecars(grouped: Path, tmp_path: Path) -> None:
    facesim(grouped, "people", "name", "1", "Rosa")
    out = tmp_path / "people.csv"
    assert "4 faces" in facesim(grouped, "export", "people", out).stderr
    table = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert [row["name"] for row in table] == ["Rosa", "Rosa", "", ""]
    facesim(grouped, "people", "name", "1", "=Rosa")
    safe = facesim(grouped, "export", "people", "-", "--spreadsheet-safe").stdout
    assert next(row["name"] for row in csv.DictReader(safe.splitlines())) == "\\x3dRosa"
    facesim(grouped, "people", "name", "1", "Rosa")
    result = facesim(grouped, "export", "sidecars", tmp_path / "names")
    assert result.stdout == "wrote 2 sidecars with 2 names\n"
    assert len(list((tmp_path / "names").glob("*.xmp"))) == 2
    assert facesim(grouped, "export", "sidecars").exit_code == 2
    assert facesim(grouped, "export", "sidecars", "--beside").stdout == result.stdout
