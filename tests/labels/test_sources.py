from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.fitting import labelled_data
from facesim_index.calibration.fitting.labelled_data import every_pair
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.labels.face_pairs import names_faces, read_face_pairs
from facesim_index.labels.sources import face_pairs_data, people_data, picture_pairs_data
from facesim_index.metrics.linking import linked_people
from facesim_index.records import (
    FaceId,
    FaceRecord,
    Float32Array,
    ImageId,
    Int64Array,
    PictureFaces,
)
from facesim_index.store.folder.store import FolderStore
from tests.builders import commit_pictures, face, new_store, picture, unit_vectors

VECTORS = unit_vectors(40, seed=6)


class Embedded:
    """Pictures by path, each with the face of a number, or with none."""

    def __init__(self, pictures: dict[Path, int | None]) -> None:
        self.pictures = pictures
        self.ingested: list[Path] = []

    def ingest(self, paths: Sequence[Path]) -> object:
        self.ingested += paths
        return None

    def picture_faces(self, paths: Sequence[Path]) -> list[PictureFaces | None]:
        return [self._faces(path) for path in paths]

    def embeddings(self, face_ids: Int64Array) -> Float32Array:
        return VECTORS[face_ids]

    def _faces(self, path: Path) -> PictureFaces | None:
        number = self.pictures.get(path)
        if number is None:
            return PictureFaces(640, 480, ())
        one = face(VECTORS[number])
        record = FaceRecord(
            FaceId(number), ImageId(1), 0, (str(path),), one.box, one.landmarks, 0.9, one.quality
        )
        return PictureFaces(640, 480, (record,))


def folder_of(root: Path, people: dict[str, int]) -> list[Path]:
    """Make an empty file for each picture of each person."""
    paths = []
    for name, n_pictures in people.items():
        (root / name).mkdir(parents=True)
        for number in range(n_pictures):
            path = root / name / f"{name}_{number + 1:04d}.jpg"
            path.touch()
            paths.append(path)
    return paths


def test_every_pair_is_there_once_with_its_people() -> None:
    person = np.array([4, 7, 4, 9, 7, 4])
    scores, notes = every_pair(VECTORS[:6], person)
    assert notes == ()
    expected = {(a, b): VECTORS[a] @ VECTORS[b] for a in range(6) for b in range(a + 1, 6)}
    same = {pair for pair in expected if person[pair[0]] == person[pair[1]]}
    assert scores.genuine.size == len(same) == 4
    assert sorted(scores.genuine_person) == [4, 4, 4, 7]
    assert np.sort(scores.genuine) == pytest.approx(sorted(expected[p] for p in same), abs=1e-6)
    found = sorted(zip(scores.impostor, map(tuple, np.sort(scores.impostor_people)), strict=True))
    wanted = sorted(
        (float(expected[a, b]), tuple(sorted((int(person[a]), int(person[b])))))
        for a, b in expected.keys() - same
    )
    assert [people for _, people in found] == [people for _, people in wanted]
    assert [c for c, _ in found] == pytest.approx([c for c, _ in wanted], abs=1e-6)


def test_other_names_of_the_people_change_nothing() -> None:
    person = np.arange(40) // 4
    scores, _ = every_pair(VECTORS, person)
    renamed, _ = every_pair(VECTORS, 1000 - 7 * person)
    assert np.array_equal(np.sort(scores.genuine), np.sort(renamed.genuine))
    assert np.array_equal(scores.impostor, renamed.impostor)
    assert np.array_equal(1000 - 7 * scores.impostor_people, renamed.impostor_people)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    person = np.arange(40) // 3
    whole, _ = every_pair(VECTORS, person)
    monkeypatch.setattr(labelled_data, "_BLOCK_ROWS", 7)
    parts, _ = every_pair(VECTORS, person)
    assert parts.impostor == pytest.approx(whole.impostor, abs=1e-6)
    assert np.array_equal(parts.impostor_people, whole.impostor_people)


def test_very_many_pairs_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled_data, "MAX_IMPOSTOR_PAIRS", 45)
    monkeypatch.setattr(labelled_data, "MAX_GENUINE_PAIRS", 14)
    person = np.concatenate((np.zeros(30, dtype=np.int64), np.arange(1, 6).repeat(2)))
    scores, notes = every_pair(VECTORS, person)
    assert scores.impostor.size <= 45
    # Who has few pictures keeps them all.
    assert set(scores.genuine_person) == set(range(6))
    assert scores.genuine.size <= 14
    assert len(notes) == 2
    again, _ = every_pair(VECTORS, person)
    assert np.array_equal(again.impostor, scores.impostor)


def test_a_folder_of_people(tmp_path: Path) -> None:
    paths = folder_of(tmp_path / "party", {"ann": 3, "bob": 2, "cyd": 1})
    index = Embedded(dict(zip(paths, (0, 1, 2, 3, None, 5), strict=True)))
    data = people_data(index, tmp_path / "party")
    assert (data.name, data.n_pictures, data.n_without_face) == ("party", 6, 1)
    assert (data.scores.genuine.size, data.scores.impostor.size) == (3, 7)
    assert data.notes == ()


def test_copies_count_once_and_disputed_pictures_not_at_all(tmp_path: Path) -> None:
    paths = folder_of(tmp_path / "party", {"ann": 3, "bob": 2, "cyd": 2})
    # Ann's first two are one picture; Bob's second is Cyd's first.
    index = Embedded(dict(zip(paths, (0, 0, 2, 3, 5, 5, 6), strict=True)))
    data = people_data(index, tmp_path / "party")
    assert (data.scores.genuine.size, data.scores.impostor.size) == (1, 5)
    assert data.notes == (
        "1 pictures are under the names of two people: left out",
        "1 pictures are exact copies of others: counted once",
    )


def test_a_list_that_agrees_with_the_folders_gives_every_pair(tmp_path: Path) -> None:
    paths = folder_of(tmp_path / "images", {"ann": 3, "bob": 2})
    index = Embedded({path: number for number, path in enumerate(paths)})
    (tmp_path / "pairs.txt").write_text("1\nann\t1\t2\nann\t3\tbob\t1\n")
    data = picture_pairs_data(index, tmp_path / "pairs.txt", tmp_path / "images")
    assert (data.name, data.n_pictures) == ("pairs.txt", 4)
    # The other one of Bob is not listed.
    assert (data.scores.genuine.size, data.scores.impostor.size) == (3, 3)


def csv_pairs(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "pairs.csv").write_text("\n".join(("path_a,path_b,same", *lines)))
    return tmp_path / "pairs.csv"


def flat(tmp_path: Path) -> Embedded:
    """Six pictures in one folder: a.jpg to f.jpg."""
    paths = [(tmp_path / f"{letter}.jpg").resolve() for letter in "abcdef"]
    for path in paths:
        path.touch()
    return Embedded({path: number for number, path in enumerate(paths)})


def test_a_list_of_pictures_in_one_folder_gives_its_own_pairs(tmp_path: Path) -> None:
    index = flat(tmp_path)
    lines = "a.jpg,b.jpg,1", "b.jpg,c.jpg,true", "c.jpg,d.jpg,0", "b.jpg,a.jpg,1", "e.jpg,d.jpg,no"
    data = picture_pairs_data(index, csv_pairs(tmp_path, *lines), None)
    assert data.scores.genuine.size == 2
    # Ann is on a, b and c, over two links.
    assert len(set(data.scores.genuine_person)) == 1
    assert data.scores.impostor.size == 2
    ann = data.scores.genuine_person[0]
    assert (data.scores.impostor_people == ann).any(axis=1).sum() == 1


def test_pairs_without_a_face_are_counted_not_used(tmp_path: Path) -> None:
    index = flat(tmp_path)
    index.pictures[(tmp_path / "b.jpg").resolve()] = None
    data = picture_pairs_data(
        index, csv_pairs(tmp_path, "a.jpg,b.jpg,1", "c.jpg,d.jpg,1", "a.jpg,c.jpg,0"), None
    )
    assert (data.n_pictures, data.n_without_face) == (4, 1)
    assert (data.scores.genuine.size, data.scores.impostor.size) == (1, 1)


def test_contradicting_pictures_are_refused(tmp_path: Path) -> None:
    index = flat(tmp_path)
    file = csv_pairs(tmp_path, "a.jpg,b.jpg,1", "b.jpg,c.jpg,1", "a.jpg,c.jpg,0")
    with pytest.raises(CalibrationError, match=r"a\.jpg and .*c\.jpg are said to be two people"):
        picture_pairs_data(index, file, None)


def test_linked_people() -> None:
    links = np.array([[0, 3], [3, 5], [1, 2]])
    person = linked_people(links, 6)
    assert person[0] == person[3] == person[5]
    assert person[1] == person[2]
    assert len({*person.tolist()}) == 3
    assert len({*linked_people(links[:0], 4).tolist()}) == 4


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """Faces 1 to 6, alone on their pictures."""
    with new_store(tmp_path / "i") as store:
        commit_pictures(
            store, {f"/p/{n}.jpg": picture(f"{n}", VECTORS[n : n + 1]) for n in range(6)}
        )
    return FolderStore(tmp_path / "i")


def faces_file(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "faces.csv").write_text("\n".join(("face_a,face_b,same", *lines)) + "\n")
    return tmp_path / "faces.csv"


def test_pairs_of_faces_of_the_index(store: FolderStore, tmp_path: Path) -> None:
    file = faces_file(tmp_path, "1,2,1", "2, 3, yes", "", "3,4,0", "4,3,0", "5,6,False")
    assert names_faces(file)
    with store, store.view() as view:
        data = face_pairs_data(view, file)
    assert (data.name, data.n_pictures) == ("faces.csv", 6)
    expected = [VECTORS[0] @ VECTORS[1], VECTORS[1] @ VECTORS[2]]
    assert np.sort(data.scores.genuine) == pytest.approx(np.sort(expected), abs=1e-3)
    assert len(set(data.scores.genuine_person)) == 1
    assert data.scores.impostor.size == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2", "line 3: a line is face_a,face_b,same"),
        ("1,2,perhaps", "same is 1 or 0"),
        ("1,two,1", "line 3: a face id is a whole number"),
        ("2,2,1", "paired with itself"),
        ("1,99,1", "there is no face 99"),
    ],
)
def test_lines_that_make_no_sense_are_refused(
    store: FolderStore, tmp_path: Path, line: str, message: str
) -> None:
    file = faces_file(tmp_path, "1,2,1", line)
    with store, store.view() as view, pytest.raises(UsageError, match=message):
        face_pairs_data(view, file)


def test_contradicting_faces_are_refused(store: FolderStore, tmp_path: Path) -> None:
    file = faces_file(tmp_path, "1,2,1", "2,3,1", "1,3,0")
    with store, store.view() as view, pytest.raises(CalibrationError, match="faces 1 and 3 are"):
        face_pairs_data(view, file)


def test_a_removed_face_is_unknown(store: FolderStore, tmp_path: Path) -> None:
    store.close()
    with FolderStore(tmp_path / "i", writable=True) as writer:
        writer.remove([], face_ids=[FaceId(2)])
    file = faces_file(tmp_path, "1,2,1")
    with (
        FolderStore(tmp_path / "i") as reader,
        reader.view() as view,
        pytest.raises(UsageError, match="no face 2"),
    ):
        face_pairs_data(view, file)


def test_a_list_of_pictures_does_not_name_faces(tmp_path: Path) -> None:
    assert not names_faces(csv_pairs(tmp_path))
    with pytest.raises(UsageError, match="cannot read"):
        names_faces(tmp_path / "gone.csv")
    with pytest.raises(UsageError, match="cannot read"):
        read_face_pairs(tmp_path / "gone.csv")
