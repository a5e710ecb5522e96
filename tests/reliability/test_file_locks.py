"""SQLite's locks stay where they are, whatever else this process does with the index."""

import fcntl
import gc
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import facesim_index
from facesim_index import doctor
from facesim_index.errors import StorageError
from facesim_index.store.catalog import face_rows, index_state
from facesim_index.store.folder import mending
from facesim_index.store.folder.snapshots import take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.folder.view import FolderView
from facesim_index.store.sqlite import descriptors
from facesim_index.store.sqlite.wal import LogDamage, check_log, shared_path
from tests.builders import commit_pictures, new_store, picture, unit_vectors
from tests.reliability.children import done
from tests.reliability.mixed_load import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks for locks as Linux does")

LOCKS_OF_SHARED_MEMORY = range(120, 129)
LOCKS_OF_CATALOG = range(0x40000000, 0x40000200, 0xFF)


def commit_number(store: FolderStore, number: int) -> None:
    vectors = unit_vectors(2, number)
    commit_pictures(store, {f"/p/{number}.jpg": picture(str(number), vectors)})


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "i"
    with new_store(folder) as store:
        for number in range(6):
            commit_number(store, number)
    return folder


def held_locks(folder: Path) -> object:
    """Return the locks that this process holds on the catalog's files, as another one sees them."""

    def look() -> list[tuple[str, int, int]]:
        found = []
        for path, places in (
            (folder / "catalog.sqlite3", LOCKS_OF_CATALOG),
            (folder / "catalog.sqlite3-shm", LOCKS_OF_SHARED_MEMORY),
        ):
            with path.open("rb+") as handle:
                for place in places:
                    asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
                    answer = struct.unpack("hhqqi", fcntl.fcntl(handle, fcntl.F_GETLK, asked))
                    if answer[0] != fcntl.F_UNLCK:
                        found.append((path.name, place, answer[0]))
        return found

    return done(look)


def open_for_writing(folder: Path) -> None:
    with FolderStore(folder, writable=True) as store:
        commit_number(store, 99)


def examine(folder: Path) -> None:
    for check in (doctor.check_folder, doctor.check_privacy, doctor.check_engine):
        assert check(folder).status == "ok"


def verify_it(folder: Path) -> None:
    with FolderStore(folder) as store:
        assert not store.check().problems
        store.size()


def mend(folder: Path) -> None:
    assert mending.mend_log(folder) is None
    mending.mend_engine(folder)


@pytest.mark.parametrize(
    "do",
    [
        lambda folder: FolderStore(folder).close(),
        open_for_writing,
        examine,
        verify_it,
        mend,
        lambda folder: take_snapshot(folder, folder.parent / "snapshot"),
    ],
    ids=["open", "write", "doctor", "verify", "mend", "snapshot"],
)
def test_what_else_is_done_with_the_index_leaves_the_locks_of_a_view(
    index: Path, do: Callable[[Path], object]
) -> None:
    with FolderStore(index) as store, store.view():
        before = held_locks(index)
        assert isinstance(before, list)
        assert {name for name, _, _ in before} == {"catalog.sqlite3", "catalog.sqlite3-shm"}
        do(index)
        after = held_locks(index)
    assert isinstance(after, list)
    assert set(before) <= set(after)


BESIDE = """
import sys
from pathlib import Path
from facesim_index.records import FaceId
from facesim_index.store.catalog import face_rows
from facesim_index.store.folder.store import FolderStore
from tests.reliability.test_file_locks import commit_number

for line in sys.stdin:
    number = int(line)
    with FolderStore(Path(sys.argv[1]), writable=True) as store:
        with store.read() as rows:
            face_id = int(face_rows.face_ids(rows.transaction)[0])
        store.remove([], [FaceId(face_id)])
        commit_number(store, 100 + number)
        store.compact()
    print("done", flush=True)
"""


@pytest.fixture
def write_beside(index: Path) -> Iterator[Callable[[int], None]]:
    """Let another process forget, commit and compact once."""
    with subprocess.Popen(
        [sys.executable, "-c", BESIDE, str(index)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(facesim_index.__file__).parents[1],
    ) as process:
        assert process.stdin
        assert process.stdout
        sink, source = process.stdin, process.stdout

        def write(number: int) -> None:
            sink.write(f"{number}\n")
            sink.flush()
            assert source.readline() == "done\n"

        yield write
        sink.close()


def rows_of(view: FolderView) -> object:
    """Read the rows of a view from the files, not from what SQLite remembers of them."""
    view.transaction.exec_driver_sql("PRAGMA shrink_memory")
    ids = face_rows.face_ids(view.transaction)
    records = face_rows.faces(view.transaction, ids)
    return (
        index_state.state(view.transaction),
        index_state.counts(view.transaction),
        [(record.face_id, record.path, record.box) for record in records],
        view.embeddings(ids).tobytes(),
    )


def test_a_view_stays_of_one_moment_beside_a_second_store_and_another_writer(
    index: Path, write_beside: Callable[[int], None]
) -> None:
    """Once, the rows of the view were gone: its lock on the log had been dropped."""
    with FolderStore(index) as store, store.view() as view:
        before = rows_of(view)
        for number in range(3):
            FolderStore(index).close()
            write_beside(number)
            FolderStore(index).close()
            write_beside(10 + number)
            assert rows_of(view) == before


def test_threads_that_open_and_close_leave_each_other_alone(
    index: Path, write_beside: Callable[[int], None]
) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                with FolderStore(index) as store, store.view() as view:
                    before = rows_of(view)
                    FolderStore(index).close()
                    assert rows_of(view) == before
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(4):
        write_beside(number)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures


def open_descriptors(folder: Path) -> list[str]:
    """Return the files of an index that this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - a removed file has an odd name
        except OSError:
            continue
        if target.startswith(str(folder)):
            found.append(target)
    return found


def test_no_descriptor_outlives_the_last_connection(index: Path) -> None:
    gc.collect()
    assert open_descriptors(index) == []
    with FolderStore(index) as outer:
        for _ in range(5):
            FolderStore(index).close()
        names = open_descriptors(index)
        assert 0 < len(names) < 10, "each second store leaves a descriptor"
        with outer.view():
            outer.close()
            kept = open_descriptors(index)
            assert any(name.startswith(str(index / "catalog.sqlite3")) for name in kept)
    gc.collect()
    assert open_descriptors(index) == []


def test_shared_memory_that_is_made_anew_is_read_anew(index: Path, tmp_path: Path) -> None:
    catalog = index / "catalog.sqlite3"
    with FolderStore(index) as store, store.view():
        name = shared_path(catalog).name
        first = descriptors.read_file(catalog, name, 136)
        aside = tmp_path / "aside"
        shared_path(catalog).rename(aside)
        shared_path(catalog).write_bytes(b"another one")
        assert descriptors.read_file(catalog, name) == b"another one"
        shared_path(catalog).unlink()
        with pytest.raises(FileNotFoundError):
            descriptors.read_file(catalog, name)
        aside.rename(shared_path(catalog))
        assert descriptors.read_file(catalog, name, 136) == first


def test_a_forked_child_can_use_an_index_of_its_own(index: Path, tmp_path: Path) -> None:
    with FolderStore(index) as store, store.view():
        before = held_locks(index)

        def work() -> int:
            with new_store(tmp_path / "own") as own:
                commit_number(own, 1)
            with FolderStore(tmp_path / "own") as own, own.read() as rows:
                return face_rows.n_faces(rows.transaction)

        assert done(work) == 2
        assert held_locks(index) == before


def test_a_log_is_not_mended_under_a_reader(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage = LogDamage("is made up", 0)
    with FolderStore(index) as store, store.view() as view:
        before = rows_of(view)
        monkeypatch.setattr(mending, "check_log", lambda _: damage)
        with pytest.raises(StorageError, match="while it is read; end every other program"):
            mending.mend_log(index)
        told = done(lambda: _mended(index))
        assert "while it is read" in str(told)
        assert shared_path(index / "catalog.sqlite3").exists()
        assert rows_of(view) == before
    assert "is made up" in str(mending.mend_log(index))


def _mended(folder: Path) -> str:
    # A forked child knows of its parent's connections, which are none of its own.
    descriptors._users.clear()
    try:
        return str(mending.mend_log(folder))
    except StorageError as error:
        return str(error)


def test_every_connection_is_made_where_descriptors_are_counted() -> None:
    """Any other would lose its locks when the log is looked at."""
    package = Path(facesim_index.__file__).parent
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"sqlite3\.connect\(|sqlite3\.Connection\(", path.read_text(encoding="utf-8"))
    }
    assert found == {
        "store/sqlite/descriptors.py",
        "doctor.py",  # of a database in a scratch folder
    }


def test_a_server_that_edits_survives_readers_and_a_writer(tmp_path: Path) -> None:
    figures = run(tmp_path / "i", 6.0, 1)
    assert not figures.faults
    assert figures.rounds > 0
    assert figures.answers["GET /v1/status"] > 0
    assert sum(count for kind, count in figures.answers.items() if "PATCH" in kind) > 0


def test_the_log_is_looked_at_without_a_lock_being_lost_where_nothing_is_open(index: Path) -> None:
    assert check_log(index / "catalog.sqlite3") is None
    assert open_descriptors(index) == []
