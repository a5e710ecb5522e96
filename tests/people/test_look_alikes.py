import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.document import to_json
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.index import FaceIndex
from facesim_index.people import look_alikes as module
from facesim_index.people.edits import confirm_faces, ignore_person, set_people_apart
from facesim_index.people.look_alikes import LookAlike, look_alikes
from facesim_index.records import Float32Array
from facesim_index.store.catalog import calibration_rows
from facesim_index.store.folder.store import FolderStore
from tests.builders import FAKE, commit_pictures, new_store, picture, unit_vectors
from tests.coloured_people import CURVE, facesim

N_ANN, N_BEA = 10, 4


def sisters(n_faces: int, other_n_faces: int, *, likeness: float) -> list[Float32Array]:
    """Return the faces of two people whose centres have this cosine."""
    first, second = unit_vectors(2, 5)
    second = second - (second @ first) * first
    second = likeness * first + np.sqrt(1 - likeness**2) * second / np.linalg.norm(second)
    found = []
    for number, (centre, size) in enumerate(((first, n_faces), (second, other_n_faces))):
        noise = unit_vectors(size, 6 + number)
        noise -= (noise @ centre)[:, None] * centre
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        faces = np.sqrt(0.6) * centre + np.sqrt(0.4) * noise
        found.append(np.asarray(faces.astype(np.float16), dtype=np.float32))
    return found


def fill(store: FolderStore, ann: Float32Array, bea: Float32Array) -> None:
    """Commit Ann, Bea and three faces of Carl: one to a picture, labelled, by a curve."""
    with store.catalog.write() as transaction:
        calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
        calibration_rows.activate(transaction, CURVE.name)
    faces = [*ann, *bea, *unit_vectors(3, 99)]
    commit_pictures(
        store,
        {f"/p/{number}.jpg": picture(str(number), [face]) for number, face in enumerate(faces)},
    )
    ids = list(range(1, len(faces) + 1))
    last = len(ann) + len(bea)
    people = {"Ann": ids[: len(ann)], "Bea": ids[len(ann) : last], "Carl": ids[last:]}
    confirm_faces(store, people)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    with new_store(tmp_path / "i") as opened:
        fill(opened, *sisters(N_ANN, N_BEA, likeness=0.5))
        yield opened


def asked(store: FolderStore, person_id: int, top: int = 5) -> tuple[LookAlike, ...]:
    with store.view() as view:
        return look_alikes(view, person_id, top=top)


def test_a_person_looks_like_whom_half_of_the_faces_are_like_on_average(store: FolderStore) -> None:
    ann, bea = sisters(N_ANN, N_BEA, likeness=0.5)
    by_hand = (ann.astype(np.float64) @ bea.T.astype(np.float64)).mean(axis=1) > 0.3
    assert 5 <= by_hand.sum() < N_ANN  # evidence is 0 at 0.3, and none is at the very edge
    assert asked(store, 1) == (LookAlike(2, "Bea", int(by_hand.sum()), N_ANN, False),)
    back = (ann.astype(np.float64) @ bea.T.astype(np.float64)).mean(axis=0) > 0.3
    assert asked(store, 2) == (LookAlike(1, "Ann", int(back.sum()), N_BEA, False),)
    assert asked(store, 3) == ()


@pytest.mark.parametrize(("n_faces", "likeness"), [(10, 0.3), (2, 0.9)])
def test_few_faces_or_little_likeness_are_no_look_alike(
    tmp_path: Path, n_faces: int, likeness: float
) -> None:
    with new_store(tmp_path / "i") as opened:
        fill(opened, *sisters(n_faces, 4, likeness=likeness))
        assert asked(opened, 1) == ()


def test_somebody_with_one_face_is_no_look_alike(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as opened:
        fill(opened, *sisters(6, 1, likeness=0.9))
        assert asked(opened, 1) == ()


def test_where_there_is_nobody_else_nobody_looks_alike(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as opened:
        fill(opened, *sisters(6, 3, likeness=0.5))
        confirm_faces(opened, {"Ann": list(range(1, 13))})
        assert asked(opened, 1) == ()


def test_people_kept_apart_are_known_to_be_two(store: FolderStore) -> None:
    assert not asked(store, 1)[0].apart
    set_people_apart(store, "Ann", "Bea")
    assert asked(store, 1)[0].apart
    assert asked(store, 2)[0].apart


def test_people_on_one_photo_are_known_to_be_two(store: FolderStore) -> None:
    ann, bea = sisters(N_ANN + 1, N_BEA + 1, likeness=0.5)
    commit_pictures(store, {"/p/both.jpg": picture("both", [ann[-1], bea[-1]])})
    confirm_faces(store, {"Ann": [18], "Bea": [19]})
    assert [(other.name, other.apart) for other in asked(store, 1)] == [("Bea", True)]


def test_people_who_are_ignored_are_left_out(store: FolderStore) -> None:
    ignore_person(store, "Bea")
    assert asked(store, 1) == ()


def test_a_person_of_very_many_faces_is_looked_at_by_some_of_them(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FACES_OF_ONE", 4)
    [found] = asked(store, 1)
    assert found.n_faces == 4
    ann, bea = sisters(N_ANN, N_BEA, likeness=0.5)
    some = ann[[0, 2, 5, 7]].astype(np.float64)  # early and late ones
    assert found.n_alike == ((some @ bea.T.astype(np.float64)).mean(axis=1) > 0.3).sum()


def test_without_a_calibration_nothing_can_be_told(store: FolderStore, tmp_path: Path) -> None:
    with store.catalog.write() as transaction:
        calibration_rows.drop(transaction, CURVE.name)
    with pytest.raises(CalibrationError, match="need a calibration"):
        asked(store, 1)
    store.close()
    shown = facesim(tmp_path / "i", "people", "show", "Ann")
    assert (shown.exit_code, "looks like" in shown.stdout) == (0, False)
    document = json.loads(facesim(tmp_path / "i", "people", "show", 1, "--format", "json").stdout)
    assert (document["looks_like"], len(document["list"])) == (None, N_ANN)


def test_a_person_is_named_to_the_index(store: FolderStore, tmp_path: Path) -> None:
    store.close()
    with FaceIndex.open(tmp_path / "i", engine=FAKE) as index:
        assert [other.name for other in index.people.look_alikes("ann")] == ["Bea"]
        assert index.people.look_alikes("ann", top=1) == index.people.look_alikes(1)
        with pytest.raises(UsageError, match="no person"):
            index.people.look_alikes("Nobody")


def test_the_command_says_who_looks_alike_and_what_keeps_them_apart(
    store: FolderStore, tmp_path: Path
) -> None:
    [found] = asked(store, 1)
    store.close()
    index = tmp_path / "i"
    head, told, *_ = facesim(index, "people", "show", "Ann").stdout.splitlines()
    sentence = f"looks like person 2, Bea, too: {found.n_alike} of 10 faces"
    assert head == "person 1, Ann: 10 faces in 10 pictures"
    assert told == f"{sentence}; if they are two people: facesim people apart 1 2"
    assert facesim(index, "people", "apart", 1, 2).exit_code == 0
    assert f"{sentence}; they are two people\n" in facesim(index, "people", "show", "Ann").stdout
    document = json.loads(facesim(index, "people", "show", "Ann", "--format", "json").stdout)
    [other] = document["looks_like"]
    assert other == {
        **{"person_id": 2, "name": "Bea"},
        **{"faces_alike": found.n_alike, "faces": 10, "apart": True},
    }
    assert "looks" not in facesim(index, "people", "show", "Ann", "--format", "csv").stdout
