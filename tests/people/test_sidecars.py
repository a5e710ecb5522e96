from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from facesim_index.errors import UsageError
from facesim_index.people.edits import confirm_faces, ignore_person, move_faces
from facesim_index.people.sidecars import sidecar, stored_region, write_sidecars
from facesim_index.people.table import COLUMNS
from facesim_index.records import Box
from facesim_index.store.catalog import people_rows
from facesim_index.store.folder.store import FolderStore
from tests.asking import folder_labels, list_people, rows
from tests.builders import ingest, new_store
from tests.example_pictures import fake_photo

RED, DARK_RED, GREEN, BLUE = (200, 20, 20), (203, 22, 25), (20, 200, 20), (20, 20, 200)
NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "area": "http://ns.adobe.com/xmp/sType/Area#",
    "dim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    with new_store(tmp_path / "i") as opened:
        yield opened


def faces_at(store: FolderStore, path: Path) -> list[int]:
    from facesim_index.store.catalog import face_rows

    with store.catalog.read() as transaction:
        found = face_rows.picture_faces(transaction, path)
    assert found is not None
    return [int(face.face_id) for face in found.faces]


def test_a_folder_names_the_face_that_its_other_pictures_show(
    store: FolderStore, tmp_path: Path
) -> None:
    people = tmp_path / "people"
    for name in ("Rosa", "Gil", "Empty"):
        (people / name).mkdir(parents=True)
    (people / "Rosa" / "1.png").write_bytes(fake_photo([RED]))
    (people / "Rosa" / "2.png").write_bytes(fake_photo([GREEN, DARK_RED]))
    (people / "Gil" / "deep").mkdir()
    (people / "Gil" / "deep" / "1.png").write_bytes(fake_photo([GREEN, GREEN, BLUE]))
    ingest(store, people)
    labels = folder_labels(store, people)
    assert (labels.n_ambiguous, labels.n_kept) == (0, 0)
    assert list(labels.faces) == ["Gil", "Rosa"]
    alone = faces_at(store, people / "Rosa" / "1.png")
    _, red = faces_at(store, people / "Rosa" / "2.png")
    assert labels.faces["Rosa"] == (alone[0], red)
    _, middle, _ = faces_at(store, people / "Gil" / "deep" / "1.png")
    assert labels.faces["Gil"] == (middle,), "no picture of Gil alone: the most central"
    confirm_faces(store, labels.faces)
    assert [(row.name, row.n_faces, row.n_confirmed) for row in list_people(store)] == [
        ("Rosa", 2, 2),
        ("Gil", 1, 1),
    ]
    move_faces(store, [red], "Gil")  # a human knows better
    again = folder_labels(store, people)
    assert again.faces["Rosa"] == (alone[0],)
    assert again.n_kept == 1


def test_a_face_in_two_folders_is_nobodys(store: FolderStore, tmp_path: Path) -> None:
    for name in ("A", "B"):
        (tmp_path / "people" / name).mkdir(parents=True)
        (tmp_path / "people" / name / "same.png").write_bytes(fake_photo([RED]))
    ingest(store, tmp_path / "people")
    labels = folder_labels(store, tmp_path / "people")
    assert (labels.faces, labels.n_ambiguous) == ({}, 1)
    confirm_faces(store, labels.faces)
    assert list_people(store) == []
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="has no folders"):
        folder_labels(store, tmp_path / "none")


@given(st.integers(1, 8), st.integers(2, 30), st.integers(2, 30), st.integers(0, 10_000))
def test_a_region_is_where_the_stored_picture_has_the_face(
    orientation: int, width: int, height: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stored = Image.new("L", (width, height))
    column, row = int(rng.integers(width)), int(rng.integers(height))
    stored.putpixel((column, row), 255)
    stored.getexif()[274] = orientation
    upright = np.asarray(ImageOps.exif_transpose(stored))
    [[y, x]] = np.argwhere(upright == 255).tolist()
    region = stored_region(Box(x, y, 1, 1), "N", width, height, orientation)
    assert region.x * width == pytest.approx(column + 0.5)
    assert region.y * height == pytest.approx(row + 0.5)
    assert region.w * width == pytest.approx(1)
    assert region.h * height == pytest.approx(1)


def test_a_sidecar_is_well_formed_and_says_who_is_where() -> None:
    name = "Zoë <&\"'> 李"
    text = sidecar([(Box(-10, 20, 60, 40), name)], 100, 200, 1)
    root = ElementTree.fromstring(text)
    [region] = root.findall(".//rs:RegionList/rdf:Bag/rdf:li", NAMESPACES)
    assert region.findtext("rs:Name", namespaces=NAMESPACES) == name
    assert region.findtext("rs:Type", namespaces=NAMESPACES) == "Face"
    area = region.find("rs:Area", NAMESPACES)
    assert area is not None
    said = {child.tag.rpartition("}")[2]: child.text for child in area}
    expected = {"x": "0.250000", "y": "0.200000", "w": "0.500000", "h": "0.200000"}
    assert said == {**expected, "unit": "normalized"}, "cut at the edge of the picture"
    applied = root.find(".//rs:AppliedToDimensions", NAMESPACES)
    assert applied is not None
    assert [child.text for child in applied] == ["100", "200", "pixel"]


def test_sidecars_leave_pictures_and_other_programs_alone(
    store: FolderStore, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    red, couple, gone = photos / "red.png", photos / "deep" / "couple.png", photos / "gone.png"
    red.write_bytes(fake_photo([RED]))
    couple.write_bytes(fake_photo([GREEN, DARK_RED]))
    gone.write_bytes(fake_photo([(204, 25, 20)]))
    ingest(store, photos)
    ids = {path: faces_at(store, path) for path in (red, couple, gone)}
    confirm_faces(store, {"Rosa": [ids[red][0], ids[couple][1], ids[gone][0]]})
    confirm_faces(store, {"Statue": [ids[couple][0]]})
    ignore_person(store, "Statue")
    gone.unlink()
    before = {path: path.read_bytes() for path in (red, couple)}
    done = write_sidecars(store, tmp_path / "out")
    assert (done.written, done.regions, done.foreign, done.missing) == (2, 2, (), (str(gone),))
    written = sorted(
        path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.xmp")
    )
    assert written == [Path("deep/couple.png.xmp"), Path("red.png.xmp")]
    assert "Statue" not in (tmp_path / "out" / "deep" / "couple.png.xmp").read_text()
    foreign = photos / "red.png.xmp"
    foreign.write_text("<x/>")
    done = write_sidecars(store, None)
    assert (done.written, done.foreign) == (1, (str(foreign),))
    assert foreign.read_text() == "<x/>"
    assert write_sidecars(store, None).written == 1, "ours is written anew"
    assert {path: path.read_bytes() for path in before} == before


def test_the_table_has_a_row_for_each_face_of_somebody(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "couple.png").write_bytes(fake_photo([GREEN, DARK_RED]))
    ingest(store, tmp_path / "couple.png")
    first, second = faces_at(store, tmp_path / "couple.png")
    assert list(rows(store)) == []
    confirm_faces(store, {"Rosa": [second]})
    with store.catalog.write() as transaction:
        change = people_rows.Change(transaction, "test")
        change.assign(np.array([first]), np.array([change.new_person()]), people_rows.MACHINE)
    table = [dict(zip(COLUMNS, row, strict=True)) for row in rows(store)]
    assert [(row["name"], row["face_id"], row["confirmed"]) for row in table] == [
        ("Rosa", second, "true"),
        (None, first, "false"),
    ]
    assert (table[1]["x"], table[1]["w"], Path(str(table[1]["path"])).name) == (
        32,
        32,
        "couple.png",
    )
    ignore_person(store, "Rosa")
    assert len(list(rows(store))) == 1
    assert len(list(rows(store, ignored=True))) == 2
