"""Reading where this process may not write, alone and beside somebody who does."""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import facesim_index
from facesim_index.errors import IndexDamagedError, StorageError
from facesim_index.index import FaceIndex
from facesim_index.store.catalog import face_rows, index_state
from facesim_index.store.folder.snapshots import restore_snapshot, take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.sqlite.wal import log_path, shared_path
from tests.builders import FAKE, commit_pictures, new_store, picture, unit_vectors

ROOT = Path(facesim_index.__file__).parents[1]


def commit_number(store: FolderStore, number: int) -> None:
    vectors = unit_vectors(2, number)
    commit_pictures(store, {f"/p/{number}.jpg": picture(str(number), vectors)})


def n_faces(store: FolderStore) -> int:
    with store.read() as rows:
        faces = face_rows.n_faces(rows.transaction)
        assert index_state.counts(rows.transaction)["faces"] == faces
        return faces


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "i"
    with new_store(folder) as store:
        commit_number(store, 1)
    return folder


@pytest.fixture
def sealed(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process think that it may not write there, as a user without rights does."""
    real = os.access

    def may(path: Path, mode: int) -> bool:
        return not (mode & os.W_OK and Path(path).is_relative_to(index)) and real(path, mode)

    monkeypatch.setattr("facesim_index.store.sqlite.connection.os.access", may)


class Beside:
    """Another process, which writes to an index when it is told to."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BESIDE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def do(self, *words: object) -> None:
        """Let it do something, and wait until it is done."""
        self.begin(*words)
        assert self._process.stdout
        assert self._process.stdout.readline() == "done\n"

    def begin(self, *words: object) -> None:
        """Let it do something."""
        assert self._process.stdin
        self._process.stdin.write(f"{' '.join(map(str, words))}\n")
        self._process.stdin.flush()

    def is_done(self) -> bool:
        """Tell whether what was begun is done."""
        assert self._process.stdout
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def end(self) -> None:
        self._process.communicate()


_BESIDE = """
import sys
from pathlib import Path
from facesim_index.store.folder.store import FolderStore
from tests.reliability.test_read_only import commit_number

store = None
for line in sys.stdin:
    what, *rest = line.split()
    if what == "open":
        store = FolderStore(Path(sys.argv[1]), writable=True)
    elif what == "commit":
        commit_number(store, int(rest[0]))
    elif what == "checkpoint":
        store.catalog.empty_log()
    elif what == "compact":
        store.compact()
    elif what == "close":
        store.close()
    elif what == "churn":
        for number in range(2, int(rest[0]) + 2):
            with FolderStore(Path(sys.argv[1]), writable=True) as store:
                commit_number(store, number)
                if number % 3 == 0:
                    store.catalog.empty_log()
    print("done", flush=True)
"""


@pytest.fixture
def beside(index: Path) -> Iterator[Beside]:
    process = Beside(index)
    yield process
    process.end()


@pytest.mark.usefixtures("sealed")
def test_every_commit_of_a_writer_elsewhere_is_seen(index: Path, beside: Beside) -> None:
    """Once, the catalog was taken for one that nobody changes, and answers were of the past."""
    with FolderStore(index) as store:
        assert n_faces(store) == 2
        beside.do("open")
        for number in range(2, 6):
            beside.do("commit", number)
            assert n_faces(store) == 2 * number
            if number % 2:
                beside.do("checkpoint")
                assert n_faces(store) == 2 * number
        beside.do("compact")
        assert n_faces(store) == 10
        beside.do("commit", 6)
        beside.do("close")
        assert n_faces(store) == 12
        beside.do("open")
        beside.do("commit", 7)
        with FolderStore(index) as another:
            assert n_faces(another) == n_faces(store) == 14


@pytest.mark.usefixtures("sealed")
def test_a_change_during_a_transaction_without_locks_is_told(index: Path, beside: Beside) -> None:
    with FolderStore(index) as store:

        def look() -> None:
            with store.view() as view:
                face_rows.n_faces(view.transaction)
                beside.do("open")
                beside.do("commit", 2)
                assert face_rows.n_faces(view.transaction) == 2, "it is still of one moment"
                beside.do("checkpoint")

        with pytest.raises(StorageError, match=r"was changed while it was read.*facesim snapshot"):
            look()
        assert n_faces(store) == 4, "the next transaction finds how it is now"


@pytest.mark.usefixtures("sealed")
def test_what_looks_like_damage_because_of_a_writer_is_not_told_as_damage(
    index: Path, beside: Beside
) -> None:
    with FolderStore(index) as store:

        def look() -> None:
            with store.view():
                beside.do("open")
                beside.do("commit", 2)
                beside.do("checkpoint")
                raise IndexDamagedError("so it looks")

        with pytest.raises(StorageError, match="was changed while it was read"):
            look()
        with pytest.raises(IndexDamagedError, match="so it is"), store.view():
            raise IndexDamagedError("so it is")


def test_a_catalog_that_took_the_place_of_another_is_told(
    index: Path, sealed: None, tmp_path: Path
) -> None:
    with FolderStore(index) as store:
        assert n_faces(store) == 2
        path = index / "catalog.sqlite3"
        shutil.copyfile(path, tmp_path / "new")
        (tmp_path / "new").replace(path)
        with pytest.raises(StorageError, match="was replaced; open the index again"):
            n_faces(store)


@pytest.mark.usefixtures("sealed")
def test_nothing_is_made_in_the_folder(index: Path) -> None:
    before = sorted(path.name for path in index.iterdir())
    log_path(index / "catalog.sqlite3").touch()  # as an interrupted copy may leave it
    with FaceIndex.open(index, engine=FAKE) as opened:
        assert len(opened.query(face_id=1, top=1).faces[0].matches) == 1
        assert opened.verify().problems == ()
    log_path(index / "catalog.sqlite3").unlink()
    assert sorted(path.name for path in index.iterdir()) == before


_MOUNTED = """
import subprocess, sys
from pathlib import Path
from tests.reliability import test_read_only

index, mounted = Path(sys.argv[2]), Path(sys.argv[3])
subprocess.run(["mount", "--bind", index.parent, mounted], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
getattr(test_read_only, sys.argv[1])(index, mounted / index.name)
print("read")
"""


def read_beside_a_writer(index: Path, mounted: Path) -> None:
    """Read by a mount that is read-only, beside a process that writes by another."""
    beside = Beside(index)
    with FolderStore(mounted) as store:
        for number in range(2, 26):
            if number % 4 == 2:
                beside.do("open")
            beside.do("commit", number)
            if number % 3 == 0:
                beside.do("checkpoint")
            with FolderStore(mounted) as second:
                assert n_faces(store) == n_faces(second) == 2 * number
            if number % 4 == 1:
                beside.do("close")
                assert n_faces(store) == 2 * number
    beside.end()
    with FolderStore(mounted) as store:
        assert n_faces(store) == 2 * 25
        assert not store.check().problems


def read_beside_a_writer_without_pause(index: Path, mounted: Path) -> None:
    """Read all the time while another process opens, commits, checkpoints and closes."""
    beside = Beside(index)
    beside.begin("churn", 60)
    wrong: list[str] = []
    told: set[str] = set()
    seen = 0
    while not beside.is_done():
        try:
            with FolderStore(mounted) as store:
                for _ in range(5):
                    found = n_faces(store)
                    if found < seen:
                        wrong.append(f"{found} faces after {seen}")
                    seen = found
        except StorageError as error:
            told.add(str(error))
    beside.end()
    assert not wrong
    assert all("was changed while" in message for message in told), told
    with FolderStore(mounted) as store:
        assert n_faces(store) == 2 * 61


def refuse_a_log_without_shared_memory(index: Path, mounted: Path) -> None:
    """Refuse a log that SQLite could only use by making a file beside it."""
    beside = Beside(index)
    beside.do("open")
    beside.do("commit", 2)
    copy = index.parent / "copy"
    shutil.copytree(index, copy)
    beside.end()
    with FolderStore(mounted.parent / "copy") as store:
        assert n_faces(store) == 4
    shared_path(copy / "catalog.sqlite3").unlink()
    with pytest.raises(StorageError, match=r"cannot read .*is read-only here.*-shm.*snapshot"):
        FolderStore(mounted.parent / "copy")


def restore_from_a_snapshot(index: Path, mounted: Path) -> None:
    """Restore a snapshot that lies on a read-only medium."""
    take_snapshot(index, index.parent / "snapshot")
    restored = mounted.parents[1] / "restored"
    restore_snapshot(mounted.parent / "snapshot", restored)
    with FolderStore(restored) as store:
        assert n_faces(store) == 2
        assert not store.check().problems


@pytest.mark.parametrize(
    "work",
    [
        restore_from_a_snapshot,
        read_beside_a_writer,
        read_beside_a_writer_without_pause,
        refuse_a_log_without_shared_memory,
    ],
)
def test_a_read_only_mount(index: Path, tmp_path: Path, work: Callable[[Path, Path], None]) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("may not mount here")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("may not mount here")
    for name in ("mounted", "source"):
        (tmp_path / name).mkdir()
    index.rename(tmp_path / "source" / "i")
    places = [str(tmp_path / "source" / "i"), str(tmp_path / "mounted")]
    ended = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", _MOUNTED, work.__name__, *places],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert ended.stdout == "read\n", ended.stderr
