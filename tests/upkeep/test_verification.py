import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index.errors import IndexDamagedError, UsageError
from facesim_index.records import FaceId
from facesim_index.store.catalog import face_rows, index_state
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.sqlite import row_checks
from facesim_index.upkeep.forgetting import forget
from facesim_index.upkeep.repairs import repair
from tests.asking import verify
from tests.builders import FunctionReader, Outcome, ingest, new_store, read_here
from tests.example_pictures import fake_photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(6):
        (folder / f"{n}.png").write_bytes(fake_photo([(30 * n + 8, 40, 8), (8, 40, 30 * n + 8)]))
    return folder


@pytest.fixture
def store(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderStore]:
    """Twelve faces in three segments."""
    monkeypatch.setattr("facesim_index.ingest.run.COMMIT_PICTURES", 2)
    with new_store(tmp_path / "i.facesim") as opened:
        ingest(opened, photos)
        yield opened


def content(store: FolderStore) -> dict[int, tuple[str, bytes]]:
    """Return everything there is: face id to path and embedding."""
    with store.view() as view:
        ids = face_rows.face_ids(view.transaction)
        vectors = view.embeddings(ids)
        records = face_rows.faces(view.transaction, ids)
    return {
        record.face_id: (record.path, vector.tobytes())
        for record, vector in zip(records, vectors, strict=True)
    }


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flip,
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "appended to": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "removed": os.unlink,
    "another segment's": lambda path: path.write_bytes(path.with_name("000003.faiss").read_bytes()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_mended_and_no_face_changes(store: FolderStore, damage: str) -> None:
    before = content(store)
    assert len(before) == 12
    assert not verify(store).problems
    DAMAGES[damage](store.folder / "segments" / "000002.faiss")

    verdict = verify(store)

    assert [info.name for info in verdict.damaged] == ["000002.faiss"]
    assert verdict.faces_without_embedding.tolist() == [5, 6, 7, 8]
    read: list[Path] = []

    @FunctionReader
    def read_pictures(paths: Iterable[Path]) -> Iterator[Outcome]:
        for path in paths:
            read.append(path)
            yield from read_here([path])

    done = repair(store, verdict, read_pictures)
    assert (done.faces_mended, done.faces_lost) == (4, 0)
    assert [path.name for path in read] == ["2.png", "3.png"]
    assert not verify(store).problems
    assert content(store) == before
    assert not (store.folder / "segments" / "000002.faiss").exists()


def test_what_cannot_be_read_again_is_listed_taken_out_and_comes_back(
    store: FolderStore, photos: Path
) -> None:
    before = content(store)
    flip(store.folder / "segments" / "000001.faiss")
    saved = (photos / "0.png").read_bytes()
    (photos / "0.png").unlink()
    (photos / "1.png").write_bytes(fake_photo([(1, 2, 3)]))

    done = repair(store, verify(store), read_here)

    assert (done.faces_mended, done.faces_lost) == (0, 4)
    assert [Path(path).name for path in done.lost_paths] == ["0.png", "1.png"]
    assert not verify(store).problems
    assert sorted(content(store)) == list(range(5, 13))
    (photos / "0.png").write_bytes(saved)
    ingest(store, photos)
    after = content(store)
    assert sorted(vector for _, vector in after.values() if _.endswith("0.png")) == sorted(
        vector for path, vector in before.values() if path.endswith("0.png")
    )
    assert min(set(after) - set(before)) == 13
    assert not verify(store).problems


def test_a_copy_serves_when_the_first_file_is_gone(store: FolderStore, photos: Path) -> None:
    before = {face_id: vector for face_id, (_, vector) in content(store).items()}
    (photos / "copy.png").write_bytes((photos / "0.png").read_bytes())
    ingest(store, photos)
    (photos / "0.png").unlink()
    flip(store.folder / "segments" / "000001.faiss")
    assert repair(store, verify(store), read_here).faces_lost == 0
    assert {face_id: vector for face_id, (_, vector) in content(store).items()} == before


def test_embeddings_without_a_face_are_found_and_buried(store: FolderStore) -> None:
    with store.catalog.write() as transaction:
        transaction.exec_driver_sql("DELETE FROM face WHERE id = 3")
    verdict = verify(store)
    assert verdict.stray_faces.tolist() == [3]
    repair(store, verdict, read_here)
    assert not verify(store).problems
    with store.view() as view:
        [found] = view.search(view.embeddings(np.array([4])), 12)
    assert 3 not in found.face_ids


def test_a_segment_row_that_is_lost_is_made_up_for(store: FolderStore) -> None:
    before = content(store)
    with store.catalog.write() as transaction:
        transaction.exec_driver_sql("DELETE FROM segment WHERE id = 2")
    verdict = verify(store)
    assert verdict.faces_without_embedding.tolist() == [5, 6, 7, 8]
    assert repair(store, verdict, read_here).faces_mended == 4
    assert content(store) == before
    assert not verify(store).problems


def test_a_damaged_catalog_is_told_and_not_guessed_at(store: FolderStore) -> None:
    with store.catalog.write() as transaction:
        transaction.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        transaction.exec_driver_sql("UPDATE file SET image_id = NULL WHERE id = 1")
    assert not verify(store).problems
    store.catalog.close()
    import sqlite3

    with sqlite3.connect(store.folder / "catalog.sqlite3") as connection:
        row_checks.register(connection)
        connection.execute("UPDATE face SET image_id = 999 WHERE id = 1")
    connection.close()
    verdict = verify(store)
    assert any("refers to nothing" in problem.message for problem in verdict.problems)
    with pytest.raises(IndexDamagedError, match=r"cannot be mended .*restore the index"):
        repair(store, verdict, read_here)


def test_forgetting_faces_pictures_and_folders(store: FolderStore, photos: Path) -> None:
    assert forget(store, [], [FaceId(1)]).faces == 1
    assert 1 not in content(store)
    ingest(store, photos)
    assert 1 not in content(store), "a forgotten face stays forgotten"
    done = forget(store, [photos / "1.png"], [])
    assert (done.files, done.faces) == (1, 2)
    assert sorted(content(store)) == [2, *range(5, 13)]
    ingest(store, photos)
    assert sorted(content(store)) == [2, *range(5, 15)], "a forgotten picture is found again"
    assert forget(store, [photos], []).faces == 11
    assert content(store) == {}
    with store.catalog.read() as transaction:
        assert index_state.roots(transaction) == []
    store.compact()
    assert not list((store.folder / "segments").iterdir())
    assert not verify(store).problems


def test_forgetting_needs_something_to_forget(store: FolderStore, photos: Path) -> None:
    before = content(store)
    with pytest.raises(UsageError, match="nothing of"):
        forget(store, [photos, photos / "other"], [])
    with pytest.raises(UsageError, match="no face 99"):
        forget(store, [photos], [FaceId(99)])
    assert content(store) == before


def test_a_picture_that_is_still_elsewhere_keeps_its_faces(
    store: FolderStore, photos: Path
) -> None:
    (photos / "copy.png").write_bytes((photos / "0.png").read_bytes())
    ingest(store, photos)
    done = forget(store, [photos / "0.png"], [])
    assert (done.files, done.faces) == (1, 0)
    assert content(store)[1][0].endswith("copy.png")
