"""What people of very many faces, and very many people, ask of an index."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from facesim_index.calibration.document import to_json
from facesim_index.calibration.heads import Head
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.pairs import close
from facesim_index.pairs.blocks import Faces
from facesim_index.pairs.close import closest_pair
from facesim_index.people.edits import confirm_faces, set_people_apart
from facesim_index.records import Float32Array, Float64Array
from facesim_index.store.catalog import calibration_rows, face_rows
from facesim_index.store.folder.store import FolderStore
from tests.asking import folder_labels, list_people
from tests.builders import commit_pictures, new_store, picture, unit_vectors

CURVE = Calibration(
    "made up",
    FAKE_IDENTITY.key,
    "by hand",
    ((0.15, -4.0), (0.45, 4.0)),
    Evidence("made up", 2, 10, 10, "2026-01-01"),
)
Scores = Callable[[Head, Float64Array, Float64Array], Float64Array]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    """Forty folders of four pictures with a face each, and a picture that is in two of them."""
    with new_store(tmp_path / "i") as opened:
        with opened.catalog.write() as transaction:
            calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
            calibration_rows.activate(transaction, CURVE.name)
        faces = unit_vectors(161, 3).astype(np.float16).astype(np.float32)
        photos = {
            f"{tmp_path}/people/{name(number // 4)}/{number}.jpg": picture(str(number), [face])
            for number, face in enumerate(faces[:160])
        }
        for folder in ("P01", "P02"):
            photos[f"{tmp_path}/people/{folder}/both.jpg"] = picture("both", faces[160:])
        commit_pictures(opened, photos)
        yield opened


def name(number: int) -> str:
    return f"P{number:02d}"


@contextmanager
def statements() -> Iterator[list[str]]:
    """Give the statements that are executed meanwhile."""
    seen: list[str] = []

    def note(_: Connection, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_the_names_of_all_people_are_read_once_however_many_names_are_said(
    store: FolderStore,
) -> None:
    confirm_faces(store, {"Anna": [1], "Ötzi": [2]})
    with statements() as seen:
        said = {f"New {number}": [number + 10] for number in range(30)}
        confirm_faces(store, {**said, "ANNA": [3], "new 7": [4], "ötzi": [5]})
    reading = [text for text in seen if text.startswith("SELECT") and "person.name IS NOT" in text]
    assert len(reading) == 1
    people = {person.name: person.n_faces for person in list_people(store)}
    assert len(people) == 32
    assert (people["Anna"], people["Ötzi"], people["New 7"], people["New 8"]) == (2, 2, 2, 1)


def test_the_faces_of_all_folders_are_looked_for_once(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(41):  # the last one is empty
        (tmp_path / "people" / name(number)).mkdir(parents=True)
    asked: list[object] = []
    whole = face_rows.face_ids

    def counted(connection: Connection, *, under: Path | None = None) -> object:
        asked.append(under)
        return whole(connection, under=under)

    monkeypatch.setattr(face_rows, "face_ids", counted)
    labels = folder_labels(store, tmp_path / "people")
    assert asked == [(tmp_path / "people").resolve()]
    assert labels.faces == {
        name(number): tuple(range(4 * number + 1, 4 * number + 5)) for number in range(40)
    }
    assert labels.n_ambiguous == 1


def test_two_large_people_are_set_apart_in_blocks(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm_faces(store, {"One": range(1, 101), "Other": range(101, 161)})
    monkeypatch.setattr(close, "_CLOSEST_ROWS", 16, raising=False)
    monkeypatch.setattr(close, "_COLUMNS_AT_ONCE", 10)
    cells: list[int] = []
    whole: Scores = Head.pair_scores

    def watched(head: Head, left: Float64Array, right: Float64Array) -> Float64Array:
        cells.append(len(left) * len(right))
        return whole(head, left, right)

    monkeypatch.setattr(Head, "pair_scores", watched)
    pair = set_people_apart(store, "One", "Other")
    assert sum(cells) == 100 * 60
    assert max(cells) <= 160
    with store.view() as view:
        left, right = (view.embeddings(np.arange(*ends)) for ends in ((1, 101), (101, 161)))
    scores = left.astype(np.float64) @ right.astype(np.float64).T
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    assert pair == (int(row) + 1, int(column) + 101)


def test_of_pairs_that_are_equally_alike_the_first_is_the_closest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(close, "_CLOSEST_ROWS", 3)
    monkeypatch.setattr(close, "_COLUMNS_AT_ONCE", 4)
    vectors: Float32Array = unit_vectors(30, 5)
    left = np.concatenate([vectors[:8], vectors[20:22], vectors[20:22]]).astype(np.float16)
    right = np.concatenate([vectors[8:17], vectors[20:21], vectors[20:21]]).astype(np.float16)
    pair = closest_pair(Faces(np.arange(12), left), Faces(np.arange(11), right))
    assert pair == (8, 9)
