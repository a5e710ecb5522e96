"""A snapshot is the index of one moment, also while it is written, and restoring gives it back."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.errors import (
    IndexDamagedError,
    IndexLockedError,
    IndexNotFoundError,
    StorageError,
    UsageError,
)
from facesim_index.index import FaceIndex
from facesim_index.records import FaceId
from facesim_index.store.catalog import face_rows, index_state
from facesim_index.store.folder import replacement
from facesim_index.store.folder.snapshots import restore_snapshot, take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.snapshot_list import known_snapshots, newest_snapshot
from tests.asking import verify
from tests.builders import FAKE, commit_pictures, new_store, picture, unit_vectors

VECTORS = unit_vectors(60, 9)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Thirty faces in five segments, one of them removed."""
    with new_store(tmp_path / "i") as store:
        for n in range(5):
            commit_pictures(store, {f"/p/{n}.jpg": picture(str(n), VECTORS[6 * n : 6 * n + 6])})
        store.remove([], face_ids=[FaceId(8)])
    return tmp_path / "i"


def answers(folder: Path) -> list[object]:
    with FaceIndex.open(folder, engine=FAKE) as opened:
        return [
            [
                (match.face_id, match.paths, match.box, match.cosine)
                for match in opened.query(face_id=int(face_id), top=100).faces[0].matches
            ]
            for face_id in opened.face_ids()
        ]


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "segments").iterdir())


@pytest.mark.parametrize("copy", [False, True])
def test_restoring_gives_identical_answers(index: Path, tmp_path: Path, copy: bool) -> None:
    before = answers(index)
    taken = take_snapshot(index, tmp_path / "s", copy=copy)
    assert (taken.faces, taken.segments, taken.linked) == (29, 5, 0 if copy else 5)
    assert [path.samefile(index / "segments" / path.name) for path in segments(tmp_path / "s")] == [
        not copy
    ] * 5
    with FolderStore(index, writable=True) as store:
        store.remove([], face_ids=[FaceId(face_id) for face_id in range(1, 20)])
        store.compact()
        commit_pictures(store, {"/p/new.jpg": picture("new", VECTORS[40:44])})
    changed = answers(index)
    assert answers(tmp_path / "s") == before, "a snapshot can be asked itself"
    restore_snapshot(tmp_path / "s", tmp_path / "again", copy=copy)
    assert answers(tmp_path / "again") == before
    assert answers(index) == changed
    restore_snapshot(tmp_path / "s", index, force=True, copy=copy)
    assert answers(index) == before
    assert not list(tmp_path.glob(".*"))
    with FolderStore(index, writable=True) as store:
        commit_pictures(store, {"/p/more.jpg": picture("more", VECTORS[50:51])})
        store.compact()
        assert not verify(store).problems
    with FolderStore(tmp_path / "s") as store:
        assert not verify(store).problems
    assert len(segments(tmp_path / "s")) == 5


@pytest.mark.parametrize("copy", [False, True])
def test_a_snapshot_keeps_people_and_what_can_be_taken_back(
    index: Path, tmp_path: Path, copy: bool
) -> None:
    def who(folder: Path) -> list[tuple[object, ...]]:
        with FaceIndex.open(folder, engine=FAKE) as opened:
            return [*opened.people.table(ignored=True)]

    with FaceIndex.open(index, engine=FAKE) as opened:
        opened.people.confirm({"Ann": [1, 2], "Bo": [3, 4, 5]})
        opened.people.ignore("Bo")
    before = who(index)
    assert [row[1] for row in before] == ["Ann"] * 2 + ["Bo"] * 3
    take_snapshot(index, tmp_path / "s", copy=copy)
    with FaceIndex.open(index, engine=FAKE) as opened:
        opened.people.merge("Ann", "Bo")
        opened.forget(face_ids=[1])
    assert who(tmp_path / "s") == before
    restore_snapshot(tmp_path / "s", index, force=True, copy=copy)
    assert who(index) == before
    with FaceIndex.open(index, engine=FAKE) as opened:
        assert opened.people.undo() == "ignore"
        assert opened.people.undo() == "ingest --people"
        assert opened.people.everyone() == []
        assert not opened.verify().problems


WRITER = """
import sys
from pathlib import Path
from facesim_index.store.folder.store import FolderStore
from tests.builders import commit_pictures, picture, unit_vectors
store = FolderStore(Path(sys.argv[1]), writable=True)
print("writing", flush=True)
for n in range(10_000):
    commit_pictures(store, {f"/w/{n}.jpg": picture(f"w{n}", unit_vectors(2, n))})
    if n % 7 == 3:
        store.compact()
"""


@contextlib.contextmanager
def writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process commit, merge and compact without a pause."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_snapshots_taken_while_a_writer_runs_are_each_of_one_moment(
    index: Path, tmp_path: Path
) -> None:
    with writer(index) as process:
        taken = [take_snapshot(index, tmp_path / f"s{n}") for n in range(8)]
        assert process.poll() is None
    generations = [snapshot.generation for snapshot in taken]
    assert generations == sorted(generations)
    assert len(set(generations)) > 2, "the writer went on meanwhile"
    for number, snapshot in enumerate(taken):
        folder = tmp_path / f"s{number}"
        with FolderStore(folder) as store, store.view() as view:
            assert view.generation == snapshot.generation
            assert not verify(store).problems
            ids = face_rows.face_ids(view.transaction)
            assert (len(ids) - 29) % 2 == 0, "a commit is there whole or not at all"
            files = index_state.counts(view.transaction)["files"]
            assert len(ids) == 29 + 2 * (files - 5)
            for n in range(files - 5):
                [found] = view.search(unit_vectors(2, n)[:1], 1)
                assert found.cosines[0] == pytest.approx(1.0, abs=1e-3)
        before = answers(folder)
        restore_snapshot(folder, tmp_path / f"r{number}")
        assert answers(tmp_path / f"r{number}") == before


def test_a_snapshot_never_takes_the_place_of_anything(index: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("empty", "file", "nowhere", "i"):
        with pytest.raises(UsageError, match="exists"):
            take_snapshot(index, tmp_path / name)
    with pytest.raises(StorageError, match="cannot write"):
        take_snapshot(index, tmp_path / "no" / "such" / "folder")
    assert known_snapshots(index) == []
    assert not list(tmp_path.glob(".*"))


def test_restoring_replaces_an_index_only_by_force_and_nothing_else_ever(
    index: Path, tmp_path: Path
) -> None:
    take_snapshot(index, tmp_path / "s")
    before = answers(index)
    with pytest.raises(UsageError, match="--force"):
        restore_snapshot(tmp_path / "s", index)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    (mine / "catalog.sqlite3").write_text("a catalog of mine")
    with pytest.raises(IndexNotFoundError, match=r"letter\.txt"):
        restore_snapshot(tmp_path / "s", mine, force=True)
    assert (mine / "letter.txt").read_text() == "dear"
    with pytest.raises(UsageError, match="not a snapshot"):
        restore_snapshot(index, tmp_path / "x")
    with pytest.raises(UsageError, match="into itself"):
        restore_snapshot(tmp_path / "s", tmp_path / "s", force=True)
    assert answers(index) == before
    (tmp_path / "there").mkdir()
    restore_snapshot(tmp_path / "s", tmp_path / "there")
    assert answers(tmp_path / "there") == before


def test_a_writer_is_not_pulled_the_index_from_under(index: Path, tmp_path: Path) -> None:
    take_snapshot(index, tmp_path / "s")
    with (
        FolderStore(index, writable=True),
        pytest.raises(IndexLockedError, match="is being written"),
    ):
        restore_snapshot(tmp_path / "s", index, force=True)
    assert len(answers(index)) == 29


def test_damage_gets_into_no_snapshot_and_out_of_none(index: Path, tmp_path: Path) -> None:
    take_snapshot(index, tmp_path / "s", copy=True)
    path = segments(index)[2]
    data = bytearray(path.read_bytes())
    data[700] ^= 4
    path.write_bytes(data)
    with pytest.raises(IndexDamagedError, match="nothing was made"):
        take_snapshot(index, tmp_path / "t")
    assert not (tmp_path / "t").exists()
    shutil.copyfile(path, tmp_path / "s" / "segments" / path.name)
    before = sorted(path.read_bytes() for path in segments(index))
    with pytest.raises(IndexDamagedError, match="nothing was made"):
        restore_snapshot(tmp_path / "s", index, force=True)
    assert sorted(path.read_bytes() for path in segments(index)) == before
    assert not list(tmp_path.glob(".*"))


def test_the_old_index_is_put_back_when_the_new_one_cannot_be(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_snapshot(index, tmp_path / "s")
    with FolderStore(index, writable=True) as store:
        store.remove([], face_ids=[FaceId(1)])
    before = answers(index)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(replacement, "exchange", refuse)
    with pytest.raises(StorageError, match="No space left"):
        restore_snapshot(tmp_path / "s", index, force=True)
    assert answers(index) == before
    assert not list(tmp_path.glob(".*"))


def test_files_are_copied_where_they_cannot_be_linked(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    taken = take_snapshot(index, tmp_path / "s")
    assert taken.linked == 0
    assert [path.read_bytes() for path in segments(tmp_path / "s")] == [
        path.read_bytes() for path in segments(index)
    ]


def test_snapshots_that_are_gone_are_not_advised(index: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        take_snapshot(index, tmp_path / name)
    with (index / "SNAPSHOTS").open("ab") as out:
        out.write(b'{"path": 3}\n\xff not JSON\n')
    newest = newest_snapshot(index)
    assert newest is not None
    assert newest.path == str(tmp_path / "b")
    shutil.rmtree(tmp_path / "b")
    newest = newest_snapshot(index)
    assert newest is not None
    assert newest.path == str(tmp_path / "a")


def test_the_commands_say_what_they_did(index: Path, tmp_path: Path) -> None:
    run = CliRunner()
    state = State(engine=FAKE)
    made = run.invoke(main, ["--index", str(index), "snapshot", str(tmp_path / "s")], obj=state)
    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout.startswith(f"{tmp_path / 's'}: 29 faces, 5 segments (hard links), ")
    manifest = json.loads((tmp_path / "s" / "SNAPSHOT").read_text())
    assert manifest["faces"] == 29
    assert manifest["index"] == str(index)
    again = run.invoke(main, ["--index", str(index), "snapshot", str(tmp_path / "s")], obj=state)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "exists" in again.stderr
    back = run.invoke(main, ["--index", str(index), "restore", str(tmp_path / "s")], obj=state)
    assert (back.exit_code, back.stdout) == (2, "")
    forced = run.invoke(
        main, ["--index", str(index), "restore", str(tmp_path / "s"), "--force"], obj=state
    )
    assert (forced.exit_code, forced.stderr) == (0, "")
    assert forced.stdout == f"{index}: 29 faces, 5 segments, generation {manifest['generation']}\n"
    with FaceIndex.open(index, engine=FAKE) as opened:
        taken = opened.snapshot(tmp_path / "t")
        assert np.array_equal(opened.face_ids(), FaceIndex.open(taken.path).face_ids())
    restored = FaceIndex.restore(tmp_path / "t", tmp_path / "u")
    assert restored.faces == 29
