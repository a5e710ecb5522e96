"""One writer is one process at one folder: forks, moved folders, and disks that cannot lock."""

import errno
import fcntl
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from facesim_index.errors import IndexLockedError, StorageError, UsageError
from facesim_index.records import FaceId
from facesim_index.store.folder import lock
from facesim_index.store.folder.lock import SystemLock, WriterLock
from facesim_index.store.folder.snapshots import restore_snapshot, take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.segments import writer
from facesim_index.store.snapshot_list import known_snapshots, newest_snapshot
from tests.asking import verify
from tests.builders import commit_pictures, new_store, picture, unit_vectors
from tests.reliability.children import done, in_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and locks of POSIX")

SEGMENT_FOLDER = "facesim_index.store.folder.segment_folder"
OPEN_ANEW = """
import sys
from pathlib import Path
from facesim_index.errors import IndexLockedError
from facesim_index.store.folder.store import FolderStore
try:
    FolderStore(Path(sys.argv[1]), writable=True).close()
except IndexLockedError as error:
    print(error)
"""


def commit_number(store: FolderStore, number: int) -> None:
    vectors = unit_vectors(3, number)
    commit_pictures(store, {f"/p/{number}.jpg": picture(f"{number}", vectors)})


def second_writer(folder: Path) -> str:
    """Let another process open an index for writing; return how it was refused."""
    command = [sys.executable, "-c", OPEN_ANEW, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def require_faces(folder: Path, n: int) -> None:
    with FolderStore(folder) as store, store.view() as view:
        assert not verify(store).problems
        assert len(view.living_faces()) == n


def ends(store: FolderStore) -> None:
    """Let a child end like any program: it closes what it has."""
    store.close()


def collects(store: FolderStore) -> None:
    del store
    gc.collect()


def leaves(store: FolderStore) -> None:
    with store:
        pass


@pytest.mark.parametrize("end", [ends, collects, leaves])
def test_the_end_of_a_forked_child_is_nothing_to_its_parent(
    tmp_path: Path, end: Callable[[FolderStore], None]
) -> None:
    with new_store(tmp_path / "i") as store:
        for number in range(20):
            commit_number(store, number)
            if number % 5 == 0:
                done(lambda: end(store))
                assert f"process {os.getpid()} on" in second_writer(tmp_path / "i")
    assert second_writer(tmp_path / "i") == ""
    require_faces(tmp_path / "i", 60)


def test_a_forked_child_may_not_use_the_store_of_its_parent(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_number(store, 0)
        verdict = store.check()
        for use in (
            lambda: commit_number(store, 1),
            lambda: store.remove([], face_ids=[FaceId(1)]),
            store.compact,
            store.check,
            store.mend_catalog,
            lambda: store.put_back(verdict, {}, []),
            lambda: store.view().__enter__(),
            lambda: store.read().__enter__(),
            lambda: store.write().__enter__(),
        ):
            ended = in_child(use)
            assert isinstance(ended.result, UsageError), ended.trace
            assert str(tmp_path / "i") in str(ended.result)
            assert "open the index anew" in str(ended.result)
        commit_number(store, 1)
    require_faces(tmp_path / "i", 6)


def test_a_forked_child_does_not_hold_the_lock_of_its_parent(tmp_path: Path) -> None:
    new_store(tmp_path / "i").close()
    source, sink = os.pipe()
    store = FolderStore(tmp_path / "i", writable=True)
    pid = os.fork()
    if pid == 0:
        os.close(sink)
        os.read(source, 1)  # lives until the parent lets go
        os._exit(0)
    os.close(source)
    commit_number(store, 0)
    store.close()
    try:
        assert second_writer(tmp_path / "i") == ""
    finally:
        os.close(sink)
        os.waitpid(pid, 0)
    require_faces(tmp_path / "i", 3)


def test_a_forked_child_may_open_the_index_itself(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_number(store, 0)

        def read() -> int:
            with FolderStore(tmp_path / "i") as opened, opened.view() as view:
                return len(view.living_faces())

        assert done(read) == 3
        ended = in_child(lambda: FolderStore(tmp_path / "i", writable=True))
        assert isinstance(ended.result, IndexLockedError), ended.trace
    done(lambda: commit_number(FolderStore(tmp_path / "i", writable=True), 1))
    require_faces(tmp_path / "i", 6)


def test_a_folder_that_is_moved_under_a_writer_loses_nothing(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_number(store, 0)
        commit_number(store, 1)
        (tmp_path / "i").rename(tmp_path / "j")
        for write in (
            lambda: commit_number(store, 2),
            store.compact,
            lambda: store.remove([], face_ids=[FaceId(1)]),
        ):
            with pytest.raises(StorageError, match=f"{tmp_path / 'i'}.* was moved or replaced"):
                write()
    require_faces(tmp_path / "j", 6)
    assert not (tmp_path / "i").exists()


def test_another_index_that_comes_to_the_path_is_left_alone(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        for number in range(3):
            commit_number(store, number)
        (tmp_path / "i").rename(tmp_path / "j")
        with new_store(tmp_path / "i") as other:
            for number in range(4):
                commit_number(other, 10 + number)
            for write in (
                lambda: commit_number(store, 3),
                store.compact,
                lambda: store.remove([], face_ids=[FaceId(1)]),
            ):
                with pytest.raises(StorageError, match="was moved or replaced"):
                    write()
            store.close()
            assert (tmp_path / "i" / "LOCK.holder").exists(), "it is the other writer's"
            assert f"process {os.getpid()} on" in second_writer(tmp_path / "i")
            commit_number(other, 20)
    require_faces(tmp_path / "i", 15)
    require_faces(tmp_path / "j", 9)
    assert second_writer(tmp_path / "j") == ""


def test_a_folder_that_is_moved_while_a_segment_is_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = writer.write_segment

    def move_and_write(*rest: object, **named: object) -> object:
        (tmp_path / "i").rename(tmp_path / "j")
        shutil.copytree(tmp_path / "j", tmp_path / "i")
        return real(*rest, **named)  # type: ignore[arg-type]

    with new_store(tmp_path / "i") as store:
        commit_number(store, 0)
        with monkeypatch.context() as patched:
            patched.setattr(f"{SEGMENT_FOLDER}.write_segment", move_and_write)
            with pytest.raises(StorageError, match="was moved or replaced"):
                commit_number(store, 1)
    require_faces(tmp_path / "j", 3)
    require_faces(tmp_path / "i", 3)


def test_a_lock_of_a_folder_that_was_replaced_is_not_taken_for_that_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer opens LOCK, a restore replaces the folder, and only then the writer locks."""
    with new_store(tmp_path / "i") as store:
        commit_number(store, 0)
    take_snapshot(tmp_path / "i", tmp_path / "s")
    real, between = lock._lock, [True]

    def restore_first(descriptor: int, path: Path) -> None:
        if path == tmp_path / "i" / "LOCK" and between:
            between.clear()
            restore_snapshot(tmp_path / "s", tmp_path / "i", force=True)
        real(descriptor, path)

    monkeypatch.setattr(lock, "_lock", restore_first)
    with FolderStore(tmp_path / "i", writable=True) as store:
        assert not between
        assert f"process {os.getpid()} on" in second_writer(tmp_path / "i")
        commit_number(store, 1)
    require_faces(tmp_path / "i", 6)


@pytest.mark.parametrize(
    "reason", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO]
)
def test_a_disk_that_cannot_lock_is_not_taken_for_another_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    with new_store(tmp_path / "i") as store:
        commit_number(store, 0)

    def refuse(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match="cannot lock files") as told:
        WriterLock(tmp_path / "i")
    assert str(tmp_path / "i") in str(told.value)
    assert os.strerror(reason) in str(told.value)
    with pytest.raises(StorageError, match="cannot lock files"):
        FolderStore(tmp_path / "i", writable=True)
    require_faces(tmp_path / "i", 3)
    taken = take_snapshot(tmp_path / "i", tmp_path / "s")
    assert taken.faces == 3, "a snapshot needs no lock"
    restore_snapshot(tmp_path / "s", tmp_path / "j")
    require_faces(tmp_path / "j", 3)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_lock_is_a_plain_file(tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    path = tmp_path / "LOCK"
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OSError, match="instead of a file"):
        SystemLock(path)
    assert outside.read_bytes() == b"mine"


def test_the_newest_snapshot_is_the_one_that_was_taken_last_whatever_the_clock_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facesim_index.store.folder import snapshots

    with new_store(tmp_path / "i") as store:
        commit_number(store, 0)
    for name, clock in {"a": "2026-03-01", "b": "2031-01-01", "c": "2026-03-02"}.items():
        monkeypatch.setattr(snapshots, "now", lambda clock=clock: f"{clock}T00:00:00+00:00")
        take_snapshot(tmp_path / "i", tmp_path / name)
    known = known_snapshots(tmp_path / "i")
    assert [Path(snapshot.path).name for snapshot in known] == ["a", "b", "c"]
    newest = newest_snapshot(tmp_path / "i")
    assert newest is not None
    assert newest.path == str(tmp_path / "c")
    (tmp_path / "i" / "catalog.sqlite3").write_bytes(b"damaged beyond recognition")
    with pytest.raises(Exception, match=rf"its newest snapshot is {tmp_path / 'c'} of 2026-03-02"):
        FolderStore(tmp_path / "i")
