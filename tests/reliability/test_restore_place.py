"""Restoring over an index removes what is the index's, and nothing else that lies there."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from facesim_index.errors import FacesimError, IndexNotFoundError
from facesim_index.records import FaceId
from facesim_index.store.folder import snapshots
from facesim_index.store.folder.replacement import WorkFolder
from facesim_index.store.folder.snapshots import restore_snapshot, take_snapshot
from facesim_index.store.folder.store import FolderStore
from tests.asking import verify
from tests.builders import commit_pictures, new_store, picture, unit_vectors


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Two segments; the snapshot ``s`` beside it has one face more."""
    with new_store(tmp_path / "i") as store:
        for n in range(2):
            commit_pictures(store, {f"/p/{n}.jpg": picture(str(n), unit_vectors(3, n))})
    take_snapshot(tmp_path / "i", tmp_path / "s")
    with FolderStore(tmp_path / "i", writable=True) as store:
        store.remove([], face_ids=[FaceId(1)])
    return tmp_path / "i"


def n_faces(folder: Path) -> int:
    with FolderStore(folder) as store, store.view() as view:
        return len(view.living_faces())


def everything(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.name.endswith(("-shm", "-wal"))
    }


@pytest.mark.parametrize(
    "name",
    [
        *("SNAPSHOTS of our holiday", "SNAPSHOT.txt", "LOCKsmith", "LOCK.holder.bak"),
        *("catalog.sqlite3.bak", "catalog.sqlite3-walrus", "segments.zip", "segments-old/1.txt"),
        *("segments/notes.txt", "segments/000001.faiss.bak", "segments/1.faiss"),
        *("segments/000099.faiss", "segments/000099.coarse", "segments/.000099.faiss.abcd1234"),
        *("segments/000098/a.txt", ".SNAPSHOTS", ".SNAPSHOTS.txt", "segments/catalog.sqlite3"),
    ],
)
def test_what_is_not_the_indexs_is_not_removed_with_it(index: Path, name: str) -> None:
    mine = index / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_bytes(b"my letters")
    before = everything(index)
    refused = mine if mine.parent.name != "000098" else mine.parent
    refused = refused if mine.parent.name != "segments-old" else mine.parent
    with pytest.raises(IndexNotFoundError) as told:
        restore_snapshot(index.parent / "s", index, force=True)
    assert str(refused) in str(told.value)
    assert "move it elsewhere" in str(told.value)
    assert everything(index) == before
    assert not list(index.parent.glob(".*"))


def test_a_link_among_our_names_is_not_taken_for_ours(index: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "000001.faiss").write_bytes(b"mine")
    shutil.move(index / "segments", tmp_path / "away")
    (index / "segments").symlink_to(outside)
    with pytest.raises(FacesimError, match="segments is a symbolic link"):
        restore_snapshot(tmp_path / "s", index, force=True)
    assert (outside / "000001.faiss").read_bytes() == b"mine"
    assert (index / "segments").is_symlink()


def test_a_segment_that_no_catalog_names_is_not_removed_in_silence(
    index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy2(index / "segments" / "000002.faiss", index / "segments" / "000077.faiss")
    restore_snapshot(index.parent / "s", index, force=True)
    assert n_faces(index) == 6
    assert "000077.faiss" in caplog.text
    caplog.clear()
    restore_snapshot(index.parent / "s", index, force=True)
    assert caplog.text == ""


def test_what_an_interrupted_writer_left_is_no_hindrance(index: Path, tmp_path: Path) -> None:
    for name, content in {
        ".SNAPSHOTS.abcd1234": b"{",
        "catalog.sqlite3-journal": b"",
        "catalog.sqlite3-wal.damaged": b"a log",
        "catalog.sqlite3.new": b"half",
        "catalog.sqlite3.new-journal": b"half",
        "segments/.000003.faiss.abcd1234": b"IxM2 and half of the rest",
        "segments/.000003.coarse.abcd_234": b"FS",
        "segments/000003.faiss": b"",
    }.items():
        (index / name).write_bytes(content)
    restore_snapshot(tmp_path / "s", index, force=True)
    assert n_faces(index) == 6
    assert not list(tmp_path.glob(".*"))


def test_an_index_whose_catalog_is_lost_can_be_restored_over(index: Path, tmp_path: Path) -> None:
    (index / "catalog.sqlite3").write_bytes(b"not a catalog any more")
    restore_snapshot(tmp_path / "s", index, force=True)
    assert n_faces(index) == 6
    (index / "catalog.sqlite3").unlink()
    restore_snapshot(tmp_path / "s", index, force=True)
    with FolderStore(index) as store:
        assert not verify(store).problems
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_segment_that_the_catalog_names_is_ours(index: Path, tmp_path: Path) -> None:
    for path in (index / "segments").iterdir():
        path.unlink()
        path.write_bytes(b"nothing like it was")
    restore_snapshot(tmp_path / "s", index, force=True)
    assert n_faces(index) == 6


def test_a_file_that_comes_while_an_index_is_replaced_is_kept_and_named(
    index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = snapshots._verified

    def late(folder: Path, linked: int, source: Path) -> object:
        (index / "letter.txt").write_text("dear")
        (index / "segments" / "letter.txt").write_text("dear")
        return real(folder, linked, source)

    monkeypatch.setattr(snapshots, "_verified", late)
    with pytest.raises(IndexNotFoundError, match=r"letter\.txt"):
        restore_snapshot(tmp_path / "s", index, force=True)
    assert n_faces(index) == 5
    assert (index / "letter.txt").read_text() == "dear"
    for path in (index / "letter.txt", index / "segments" / "letter.txt"):
        path.unlink()
    monkeypatch.setattr(snapshots, "_verified", real)
    renames = WorkFolder.replace

    def later(work: WorkFolder, target: Path) -> None:
        (index / "letter.txt").write_text("dear")
        (index / "segments" / "letter.txt").write_text("dear")
        renames(work, target)

    monkeypatch.setattr(WorkFolder, "replace", later)
    restore_snapshot(tmp_path / "s", index, force=True)
    assert n_faces(index) == 6
    kept = [path for path in tmp_path.rglob("letter.txt") if path.read_text() == "dear"]
    assert len(kept) == 2
    assert all(str(path) in caplog.text for path in kept)
    left = {path.name for path in kept[0].parents[0].rglob("*") if path.is_file()}
    assert left <= {"letter.txt"}


def test_a_catalog_that_never_ends_does_not_hang_a_restore(index: Path, tmp_path: Path) -> None:
    os.unlink(index / "catalog.sqlite3")  # noqa: PTH108
    for name in ("-wal", "-shm"):
        (index / f"catalog.sqlite3{name}").unlink(missing_ok=True)
    made = sqlite3.connect(index / "catalog.sqlite3")
    made.execute(
        "CREATE VIEW segment AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) "
        "SELECT id, 'x' AS name FROM n"
    )
    made.close()
    restore_snapshot(tmp_path / "s", index, force=True)
    assert n_faces(index) == 6
