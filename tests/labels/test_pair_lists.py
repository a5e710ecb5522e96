from pathlib import Path

import numpy as np
import pytest

from facesim_index import FaceIndex
from facesim_index.errors import UsageError
from facesim_index.labels.embeddings import central_face, embeddings_of
from facesim_index.labels.pair_lists import people_folder, read_pairs
from facesim_index.records import Box, FaceId, FaceRecord, ImageId, Quality
from tests.builders import FAKE
from tests.example_pictures import fake_photo


@pytest.fixture
def people(tmp_path: Path) -> Path:
    folder = tmp_path / "people"
    for name, n in (("Ann_Lee", 2), ("Bo", 2), ("Éa", 1)):
        (folder / name).mkdir(parents=True)
        for k in range(1, n + 1):
            colour = (30 * len(name), 8, 2 * k)
            (folder / name / f"{name}_{k:04d}.png").write_bytes(fake_photo([colour]))
    return folder


def write(folder: Path, text: str) -> Path:
    file = folder / "pairs.txt"
    file.write_text(text, encoding="utf-8")
    return file


def test_lists_with_folds_are_divided_as_their_first_line_says(people: Path) -> None:
    lines = ["2\t1", "Ann_Lee\t1\t2", "Ann_Lee\t1\tBo\t2", "Bo\t1\t2", "Bo\t2\tÉa\t1"]
    listed = read_pairs(write(people.parent, "\n".join(lines)), people)
    assert listed.n_folds == 2
    assert [pair.fold for pair in listed.pairs] == [0, 0, 1, 1]
    assert [pair.same for pair in listed.pairs] == [True, False, True, False]
    assert listed.pairs[1].path_b == people / "Bo" / "Bo_0002.png"
    assert [path.parent.name for path in listed.paths] == ["Ann_Lee"] * 2 + ["Bo"] * 2 + ["Éa"]


def test_lists_without_folds(people: Path) -> None:
    listed = read_pairs(write(people.parent, "1\nBo 1 2\nBo 1 Ann_Lee 2\n"), people)
    assert listed.n_folds is None
    assert [pair.fold for pair in listed.pairs] == [None, None]


def test_csv_is_relative_to_the_pictures_or_to_itself(people: Path) -> None:
    text = (
        "same,path_a,path_b\nTRUE,Bo/Bo_0001.png,Bo/Bo_0002.png\n0,Bo/Bo_0001.png,Éa/Éa_0001.png\n"
    )
    by_images = read_pairs(write(people.parent, text), people)
    assert [pair.same for pair in by_images.pairs] == [True, False]
    assert read_pairs(write(people, text)) == by_images


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither"),
        ("hello\n", "neither"),
        ("1\n", "has no pairs"),
        ("1\nBo 1\n", "line 2"),
        ("1\nBo one two\n", "line 2"),
        ("10 300\nBo 1 2\n", "promises 6000"),
        ("1\nBo 1 9\n", r"1 pictures that are not there.*Bo_0009"),
        ("a,b\n1,2\n", "header path_a,path_b,same"),
        ("path_a,path_b,same\nx.png,y.png,maybe\n", "line 2"),
        ("path_a,path_b,same\nx.png,y.png,1\n", "not there"),
    ],
)
def test_bad_lists_are_refused_with_file_and_line(people: Path, text: str, message: str) -> None:
    file = write(people.parent, text)
    with pytest.raises(UsageError, match=rf"pairs\.txt.*{message}"):
        read_pairs(file, people)


def test_lists_of_names_need_the_folder(people: Path) -> None:
    with pytest.raises(UsageError, match="--images"):
        read_pairs(write(people.parent, "1\nBo 1 2\n"))
    with pytest.raises(UsageError, match="cannot read the pairs"):
        read_pairs(people / "none.txt")


def test_a_folder_of_people(people: Path) -> None:
    (people / "nobody.png").write_bytes(fake_photo([(8, 8, 8)]))
    (people / "Bo" / "party").mkdir()
    (people / "Bo" / "party" / "x.png").write_bytes(fake_photo([(9, 8, 8)]))
    found = people_folder(people)
    assert [path.name for path in found][:2] == ["Ann_Lee_0001.png", "Ann_Lee_0002.png"]
    assert found[people / "Bo" / "party" / "x.png"] == "Bo"
    assert people / "nobody.png" not in found
    assert len(found) == 6
    with pytest.raises(UsageError, match="no pictures in folders"):
        people_folder(people / "Bo" / "party")
    with pytest.raises(UsageError, match="is not a folder"):
        people_folder(people / "none")


def face(x: float, y: float, side: float) -> FaceRecord:
    landmarks = np.zeros((5, 2), dtype=np.float32)
    quality = Quality(side, 1.0, 0.0, 0.0)
    return FaceRecord(FaceId(1), ImageId(1), 0, (), Box(x, y, side, side), landmarks, 0.9, quality)


def test_the_central_face_is_near_the_middle_unless_another_is_much_larger() -> None:
    middle, corner = face(110, 110, 30), face(0, 0, 40)
    assert central_face([corner, middle], 250, 250) == 1
    assert central_face([face(0, 0, 240), middle], 250, 250) == 0
    assert central_face([middle], 250, 250) == 0


def test_embeddings_of_labelled_pictures_are_cached_in_the_index(
    people: Path, tmp_path: Path
) -> None:
    (people / "Bo" / "Bo_0003.png").write_bytes(fake_photo([(0, 0, 0)]))
    paths = list(people_folder(people))
    with FaceIndex.open(tmp_path / "cache", create=True, engine=FAKE) as index:
        first = embeddings_of(index, paths)
        generation = index.status().generation
        again = embeddings_of(index, paths)
        assert index.status().generation == generation
    assert first.has_face.tolist() == [True, True, True, True, False, True]
    np.testing.assert_array_equal(first.embeddings, again.embeddings)
    norms = np.linalg.norm(first.embeddings, axis=1)
    np.testing.assert_allclose(norms, first.has_face.astype(float), atol=1e-3)
    assert float(first.embeddings[0] @ first.embeddings[1]) > 0.9
    assert float(first.embeddings[0] @ first.embeddings[2]) < 0.3
