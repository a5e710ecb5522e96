"""Whatever ends a snapshot or a restore: an index is at the place, and nothing stays behind."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.errors import FacesimError, IndexNotFoundError, StorageError
from facesim_index.records import FaceId
from facesim_index.store.folder.replacement import WorkFolder, remove_left
from facesim_index.store.folder.snapshots import restore_snapshot, take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.opening import mend_to_open, open_or_create_store, open_store
from facesim_index.utils import files
from tests.asking import verify
from tests.builders import commit_pictures, new_store, picture, unit_vectors
from tests.coloured_people import facesim

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")


def test_every_kind_of_step_survives_a_kill_and_a_refusal() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.reliability.restores", "--seed", "1", "--no-calls"],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"(\d+) faults, 0 not survived", run.stdout)
    assert found, run.stdout
    assert int(found[1]) >= 150
    for outcome in ("killed, in between", "killed, new", "killed, old", "refused"):
        assert f"  {outcome}: " in run.stdout


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of five faces; the snapshot ``s`` beside it has six."""
    with new_store(tmp_path / "i") as store:
        for n in range(2):
            commit_pictures(store, {f"/p/{n}.jpg": picture(str(n), unit_vectors(3, n))})
    take_snapshot(tmp_path / "i", tmp_path / "s")
    with FolderStore(tmp_path / "i", writable=True) as store:
        store.remove([], face_ids=[FaceId(1)])
    return tmp_path / "i"


def n_faces(folder: Path) -> int:
    with FolderStore(folder) as store, store.view() as view:
        assert not verify(store).problems
        return len(view.living_faces())


def interrupt_between_steps(index: Path) -> Path:
    """Leave a restore as a kill between its two steps does; return the hidden folder."""
    take_snapshot(index.parent / "s", index.parent / "made", copy=True)
    work = WorkFolder.make(index)
    shutil.rmtree(work.new)
    (index.parent / "made").rename(work.new)
    (work.new / "SNAPSHOT").unlink()
    index.rename(work.old)
    work.leave()
    return work.path


def open_for_reading(index: Path) -> None:
    open_store(index).close()


def open_for_writing(index: Path) -> None:
    open_store(index, writable=True).close()


def open_or_create(index: Path) -> None:
    open_or_create_store(index, FAKE_IDENTITY, "fake").close()


def run_a_command(index: Path) -> None:
    result = facesim(index, "status")
    assert result.exit_code == 0, result.stderr
    assert "finished the restore" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        *(open_for_reading, open_for_writing, open_or_create, mend_to_open, run_a_command),
        lambda index: take_snapshot(index, index.parent / "t"),
        lambda index: restore_snapshot(index.parent / "s", index, force=True),
    ],
)
@pytest.mark.parametrize("by_link", [False, True])
def test_any_command_finishes_a_restore_that_was_interrupted_between_its_two_steps(
    index: Path,
    command: Callable[[Path], object],
    by_link: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    interrupt_between_steps(index)
    assert not index.exists()
    address = index
    if by_link:
        address = index.parent / "link"
        address.symlink_to(index)
    command(address)
    if command is not run_a_command:
        assert f"finished the restore of {index} that was interrupted" in caplog.text
    assert n_faces(index) == 6
    assert not list(index.parent.glob(".*"))


def test_a_restore_that_cannot_be_finished_says_where_both_are(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = interrupt_between_steps(index)

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        with pytest.raises(StorageError, match="Input/output error") as told:
            FolderStore(index)
    assert str(work / "new") in str(told.value)
    assert str(work / "old") in str(told.value)
    assert n_faces(index) == 6


def test_one_that_is_at_work_is_not_disturbed(index: Path, tmp_path: Path) -> None:
    work = WorkFolder.make(tmp_path / "t")
    (work.new / "half").write_text("half")
    context = multiprocessing.get_context("fork")
    other = context.Process(target=take_snapshot, args=(index, tmp_path / "t"))
    other.start()
    other.join()
    assert other.exitcode == 0
    assert (work.new / "half").exists()
    assert (tmp_path / "t" / "SNAPSHOT").exists()
    (work.new / "half").unlink()
    work.remove()
    assert not work.path.exists()


def test_what_was_left_is_named_where_the_index_is_missing(index: Path, tmp_path: Path) -> None:
    work = WorkFolder.make(tmp_path / "t")
    work.leave()
    with pytest.raises(IndexNotFoundError, match=re.escape(str(work.path))):
        FolderStore(tmp_path / "t")
    with pytest.raises(IndexNotFoundError) as told:
        FolderStore(tmp_path / "u")
    assert ".facesim-" not in str(told.value)
    interrupted = interrupt_between_steps(index)
    shutil.rmtree(interrupted / "new")
    with pytest.raises(IndexNotFoundError, match=re.escape(str(interrupted / "old"))):
        FolderStore(index)


def test_what_was_left_at_another_place_stays(tmp_path: Path) -> None:
    """Names are cut to leave room, so that those of two places may begin alike."""
    places = [tmp_path / ("n" * 150 + end) for end in "ab"]
    works = [WorkFolder.make(place) for place in places]
    for work in works:
        work.leave()
    remove_left(places[0])
    assert [work.path.exists() for work in works] == [False, True]


@pytest.mark.parametrize("letter", ["n", "é", "😀"])
def test_the_longest_names_have_room_for_a_work_folder(
    index: Path, tmp_path: Path, letter: str
) -> None:
    name = letter * (255 // len(letter.encode()))
    take_snapshot(index, tmp_path / name)
    restore_snapshot(tmp_path / "s", tmp_path / name[1:], force=False)
    restore_snapshot(tmp_path / "s", tmp_path / name[1:], force=True)
    assert n_faces(tmp_path / name) == 5
    assert n_faces(tmp_path / name[1:]) == 6
    assert not list(tmp_path.glob(".*"))


def test_an_index_that_was_moved_out_of_its_place_is_not_removed_when_another_came(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = interrupt_between_steps(index)
    shutil.copytree(tmp_path / "s", index)  # by somebody who did not know
    (index / "SNAPSHOT").unlink()
    restore_snapshot(tmp_path / "s", index, force=True)
    assert n_faces(index) == 6
    assert n_faces(work / "old") == 5
    assert f"{work / 'old'} holds an index" in caplog.text


def test_a_snapshot_beside_its_index_that_cannot_be_listed_is_whole_all_the_same(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (index / "SNAPSHOTS").unlink()

    def refuse(*_: object) -> None:
        raise StorageError("cannot write SNAPSHOTS: Read-only file system")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("facesim_index.store.folder.snapshots.remember_snapshot", refuse)
        take_snapshot(index, tmp_path / "t")
    assert f"{tmp_path / 't'} is whole" in caplog.text
    assert n_faces(tmp_path / "t") == 5


@pytest.mark.parametrize("name", ["link", "circle"])
def test_addresses_that_lead_nowhere_are_told(index: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.symlink_to(path if name == "circle" else tmp_path / "nowhere" / "at" / "all")
    for attempt in (
        lambda: FolderStore(path),
        lambda: FolderStore(path, writable=True),
        lambda: restore_snapshot(path, tmp_path / "x"),
        lambda: restore_snapshot(tmp_path / "s", path, force=True),
        lambda: take_snapshot(path, tmp_path / "x"),
        lambda: take_snapshot(index, path),
    ):
        with pytest.raises(FacesimError):
            attempt()


def test_an_index_is_made_where_a_link_leads_but_not_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    open_or_create(tmp_path / "link")
    assert (tmp_path / "empty" / "catalog.sqlite3").is_file()
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o700
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(StorageError, match="links"):
        open_or_create(tmp_path / "circle")


def test_nothing_is_replaced_where_the_system_cannot_say_so_in_one_step(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_renameat2", lambda: None)
    take_snapshot(index, tmp_path / "t")
    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    with pytest.raises(FileExistsError):
        files.rename_to_free(tmp_path / "new", tmp_path / "old")
    restore_snapshot(tmp_path / "s", index, force=True)
    assert n_faces(index) == 6
    assert not list(tmp_path.glob(".*"))
