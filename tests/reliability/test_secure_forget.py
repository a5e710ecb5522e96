"""Promise 9: an index can truly forget."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index.errors import IndexDamagedError, StorageError
from facesim_index.people.edits import (
    confirm_faces,
    merge_people,
    move_faces,
    name_person,
    split_person,
    undo,
)
from facesim_index.records import FaceId, Float32Array
from facesim_index.store.catalog import audit_log, face_rows, index_state, people_rows, writing
from facesim_index.store.folder.snapshots import take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.segments.coarse import write_coarse
from facesim_index.upkeep.forgetting import forget
from facesim_index.upkeep.repairs import repair
from facesim_index.utils.permissions import open_to_others
from tests.asking import verify
from tests.builders import FunctionReader, commit_pictures, new_store
from tests.coloured_people import facesim
from tests.kept_folder import KeptFolder
from tests.reliability.traces import absent_forms, person, traces

ROOT = Path(__file__).resolve().parents[2]
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other rights than modes")
COARSE_MIN_ROWS = "facesim_index.store.segments.coarse.COARSE_MIN_ROWS"
FORGOTTEN = person(1, 2)
OTHERS = [person(seed, 3) for seed in range(2, 8)]


def remember(folder: Path) -> FolderStore:
    """Make an index with the person to forget and others, told about in every table."""
    store = new_store(folder)
    for who in (*OTHERS[:3], FORGOTTEN, *OTHERS[3:]):
        commit_pictures(store, {who.path: who.reading})
        with store.catalog.write() as transaction:
            writing.put_root(transaction, str(Path(who.path).parent))
    with store.catalog.write() as transaction:
        options = json.dumps({"exclude": [FORGOTTEN.path]}, ensure_ascii=False)
        run = writing.start_run(transaction, "1", options)
        summary = {"files_seen": 9, "warnings": [f"cannot enter {FORGOTTEN.path}"]}
        writing.finish_run(transaction, run, json.dumps(summary, ensure_ascii=False))
        estimate = index_state.PriorEstimate(1, "c", "0" * 64, 0.1, 0.05, 0.2, 20, 20, 190, "EM")
        writing.put_prior_estimate(transaction, estimate)
    store.compact()  # one segment for all, with coarse codes
    return store


@pytest.fixture(scope="module")
def kept_index(tmp_path_factory: pytest.TempPathFactory) -> KeptFolder:
    """`remember`, done once."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(COARSE_MIN_ROWS, 10)
            remember(folder / "i.facesim").close()

    return KeptFolder(tmp_path_factory.mktemp("kept"), make)


@pytest.fixture
def told(kept_index: KeptFolder, small_coarse: None) -> Iterator[FolderStore]:
    """`remember`, open for writing."""
    with FolderStore(kept_index.restored() / "i.facesim", writable=True) as store:
        yield store


def assert_only_the_others(index: Path) -> None:
    """Every trace of the forgotten is gone, and nobody else is harmed."""
    assert traces(index, {**FORGOTTEN.needles, **absent_forms(FORGOTTEN)}) == {}
    with FolderStore(index) as store, store.view() as view:
        assert not verify(store).problems
        ids = face_rows.face_ids(view.transaction)
        records = face_rows.faces(view.transaction, ids)
        assert sorted({record.path for record in records}) == sorted(who.path for who in OTHERS)
        assert len(ids) == 18
        for record, stored in zip(records, view.embeddings(ids), strict=True):
            [who] = [who for who in OTHERS if who.path == record.path]
            given: Float32Array = who.reading.faces[record.ordinal].embedding
            assert np.array_equal(stored, given.astype(np.float16).astype(np.float32))
    for who in OTHERS:
        assert len(traces(index, who.needles)) == len(who.needles)


def test_a_secure_forget_leaves_no_trace(told: FolderStore, tmp_path: Path) -> None:
    index = told.folder
    before = traces(index, FORGOTTEN.needles)
    assert set(before) == set(FORGOTTEN.needles), "all of it can be found before"
    [old] = [path.name for path in (index / "segments").glob("*.faiss")]
    assert old.replace("faiss", "coarse") in {path.name for path in (index / "segments").iterdir()}

    done = forget(told, [Path(FORGOTTEN.path)], [], secure=True)

    assert (done.files, done.faces) == (1, 2)
    assert traces(index, {**FORGOTTEN.needles, **absent_forms(FORGOTTEN)}) == {}, "while open"
    assert not (index / "segments" / old).exists()
    told.close()
    assert_only_the_others(index)
    with FolderStore(index) as store, store.catalog.read() as transaction:
        [line] = audit_log.lines(transaction)
        summaries = transaction.exec_driver_sql("SELECT options, summary FROM ingest_run").all()
    assert (line.files, line.faces, line.secure, line.finished) == (1, 2, True, True)
    assert summaries == [("{}", '{"files_seen": 9, "warnings": []}')]


NAMES = ("Xanthippe Unmistakable", "Xanthippe Before", "Xanthippe Ümläut", "Quetzal Someoneelse")


def remember_people(store: FolderStore) -> dict[str, bytes]:
    """Say who everybody is, in every table that can hold a name; return the names to search for.

    The faces 10 and 11 are those to forget.
    """
    confirm_faces(store, {NAMES[1]: [10, 11], "Ordinary Other": [1, 2, 3], "Third": [4, 12]})
    name_person(store, NAMES[1], NAMES[0])
    move_faces(store, [11], None)
    name_person(store, 4, NAMES[3])
    merge_people(store, [NAMES[0], NAMES[3]])
    name_person(store, NAMES[0], None)
    undo(store)
    name_person(store, NAMES[0], NAMES[2])
    split_person(store, NAMES[2], [11])
    with store.catalog.write() as transaction:
        change = people_rows.Change(transaction, "apart")
        change.set_apart(3, 10)
        change.set_apart(11, 12)
    return {name: name.encode() for name in NAMES}


@pytest.mark.parametrize("by", ["picture", "faces"])
def test_a_secure_forget_leaves_no_name_of_whom_nothing_is_left(told: FolderStore, by: str) -> None:
    index, names = told.folder, remember_people(told)
    assert set(traces(index, names)) == set(NAMES), "all of it can be found before"
    whole = {"other": b"Ordinary Other", "third": b"Third"}

    if by == "picture":
        forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    else:
        forget(told, [], [FaceId(10), FaceId(11)], secure=True)

    assert traces(index, names) == {}, "while open"
    told.close()
    assert traces(index, names) == {}
    assert set(traces(index, whole)) == set(whole), "the names of others stay"
    with contextlib.closing(sqlite3.connect(index / "catalog.sqlite3")) as database:
        assert database.execute("PRAGMA freelist_count").fetchone() == (0,)
        for table, columns in (
            *(("face_person", "face_id"), ("people_change_face", "face_id")),
            *(("faces_apart", "face_a, face_b"), ("people_change_apart", "face_a, face_b")),
        ):
            rows = database.execute(f"SELECT {columns} FROM {table}").fetchall()
            assert not {face for row in rows for face in row} & {10, 11}, table
        people_left = database.execute("SELECT name FROM person ORDER BY id").fetchall()
    assert people_left == [("Ordinary Other",), ("Third",)]
    with FolderStore(index, writable=True) as store:
        assert not verify(store).problems
        while undo(store):
            pass
        assert not verify(store).problems
    assert traces(index, names) == {}


def test_a_name_stays_as_long_as_a_face_of_the_person_does(told: FolderStore) -> None:
    names = remember_people(told)
    forget(told, [], [FaceId(11)], secure=True)
    left = traces(told.folder, names)
    assert NAMES[2] in left
    assert NAMES[3] not in left, "who had only that face"
    forget(told, [], [FaceId(10)], secure=True)
    assert traces(told.folder, names) == {}


def test_a_secure_forget_removes_a_kept_log_and_names_the_snapshots(
    told: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    take_snapshot(told.folder, tmp_path / "before")
    aside = told.folder / "catalog.sqlite3-wal.damaged"
    aside.write_bytes(FORGOTTEN.path.encode())
    forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    assert not aside.exists()
    assert f"the snapshot {tmp_path / 'before'} still holds" in caplog.text
    assert "is no part of the index" not in caplog.text
    assert traces(told.folder, FORGOTTEN.needles) == {}
    assert open_to_others(told.folder) == []


def test_coarse_codes_are_those_of_the_others_alone(told: FolderStore, tmp_path: Path) -> None:
    """Codes of one face are spread over a block, so they are compared as a whole."""
    forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    with told.view() as view:
        [segment] = view.segments
        [info] = index_state.segment_infos(view.transaction)
        again = write_coarse(
            tmp_path / info.name, info.sha256, segment.face_ids, segment.vectors.copy()
        )
    kept = told.folder / "segments" / again.name
    assert kept.read_bytes() == again.read_bytes()


def test_a_plain_forget_hides_at_once_and_compact_erases_the_embeddings(told: FolderStore) -> None:
    vectors = {name: needle for name, needle in FORGOTTEN.needles.items() if "fp16" in name}
    forget(told, [Path(FORGOTTEN.path)], [])
    assert set(traces(told.folder, vectors)) == set(vectors), "a plain forget is quick"
    told.compact()
    told.close()
    assert traces(told.folder, vectors) == {}
    with FolderStore(told.folder) as store, store.catalog.read() as transaction:
        [line] = audit_log.lines(transaction)
    assert (line.secure, line.finished) == (False, True)


def test_a_securely_forgotten_face_leaves_its_picture(told: FolderStore) -> None:
    """The picture stays known, or the next ingest would find the face again."""
    forget(told, [], [FaceId(10)], secure=True)
    told.close()
    left = traces(told.folder, FORGOTTEN.needles)
    assert {name for name in left if "of face 0" in name} == set()
    assert {"path", "name", "content hash", "x of face 1", "fp16 of face 1"} <= set(left)


def test_what_was_forgotten_plainly_before_is_erased_too(told: FolderStore) -> None:
    forget(told, [Path(FORGOTTEN.path)], [])
    forget(told, [Path(OTHERS[0].path)], [], secure=True)
    told.close()
    assert traces(told.folder, FORGOTTEN.needles) == {}
    assert traces(told.folder, OTHERS[0].needles) == {}


def test_a_copy_keeps_the_picture_but_not_the_forgotten_path(told: FolderStore) -> None:
    copy = "/elsewhere/copy.jpg"
    commit_pictures(told, {copy: FORGOTTEN.reading})
    done = forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    told.close()
    assert (done.files, done.faces) == (1, 0)
    left = traces(told.folder, FORGOTTEN.needles)
    assert "path" not in left
    assert "name" not in left
    assert "fp16 of face 0" in left


def test_pages_are_written_anew(told: FolderStore) -> None:
    """What was deleted by something that did not overwrite it, as SQLite does by itself."""
    needle = {"deleted": b"deleted long ago by somebody else"}
    other = sqlite3.connect(told.folder / "catalog.sqlite3", isolation_level=None)
    other.execute("PRAGMA secure_delete=OFF")
    other.execute("CREATE TABLE t (x)")
    other.execute("INSERT INTO t VALUES (?)", [needle["deleted"] * 500])
    other.execute("DROP TABLE t")
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    assert traces(told.folder, needle)
    forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    assert traces(told.folder, needle) == {}


def test_faces_and_files_are_forgotten_in_one_commit(
    told: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> int:
        raise StorageError("the disk is full")

    monkeypatch.setattr(writing, "remove_files", fail)
    with pytest.raises(StorageError, match="full"):
        forget(told, [Path(FORGOTTEN.path)], [FaceId(1)])
    with told.catalog.read() as transaction:
        assert 1 in face_rows.face_ids(transaction)
        assert audit_log.lines(transaction) == ()


def test_foreign_files_in_the_index_are_named(
    told: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    (told.folder / "old copy.sqlite3").write_bytes(b"who knows")
    forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    assert "old copy.sqlite3 is no part of the index" in caplog.text


SEGMENT_FOLDER = "facesim_index.store.folder.segment_folder.SegmentFolder"
CRASHES: dict[str, str] = {
    "after the rows are gone": "facesim_index.store.catalog.audit_log.clear_histories",
    "before a new segment": "facesim_index.store.segments.writer.write_segment",
    "before old files go": f"{SEGMENT_FOLDER}.drop_files",
    "before the vacuum": "facesim_index.store.sqlite.connection.Catalog.shrink",
    "before the new coarse codes": f"{SEGMENT_FOLDER}._write_coarse",
    "before the log is cut": "facesim_index.store.sqlite.connection.Catalog.empty_log",
    "before it is on record": "facesim_index.store.catalog.audit_log.finish",
}
KILLED = """
import os, pkgutil, signal, sys
from pathlib import Path
from facesim_index.store.folder import segment_folder
from facesim_index.store.segments import coarse
coarse.COARSE_MIN_ROWS = 10
index, path, target = sys.argv[1:]
def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
owner, name = target.rsplit(".", 1)
setattr(pkgutil.resolve_name(owner), name, die)
if hasattr(segment_folder, name):
    setattr(segment_folder, name, die)
from facesim_index.upkeep.forgetting import forget
from facesim_index.store.opening import open_store
forget(open_store(Path(index), writable=True), [Path(path)], [], secure=True)
"""


@posix
@pytest.mark.parametrize("moment", CRASHES)
def test_the_next_writer_finishes_a_secure_forget_that_was_killed(
    tmp_path: Path, small_coarse: None, moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    index = tmp_path / "i.facesim"
    remember(index).close()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(index), FORGOTTEN.path, CRASHES[moment]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    told = facesim(index, "status")
    assert "facesim compact` finishes it" in told.stderr
    [line] = json.loads(facesim(index, "audit", "--format", "json").stdout)
    assert (line["secure"], line["finished"]) == (True, False)

    FolderStore(index, writable=True).close()

    assert "erased what an interrupted `facesim forget --secure` had left" in caplog.text
    assert_only_the_others(index)
    [line] = json.loads(facesim(index, "audit", "--format", "json").stdout)
    assert (line["faces"], line["finished"]) == (2, True)


def test_a_reader_that_needs_the_old_state_delays_it(
    tmp_path: Path, small_coarse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesim_index.store.sqlite.connection.BUSY_TIMEOUT_MS", 50)
    index = tmp_path / "i.facesim"
    remember(index).close()
    with FolderStore(index) as reader, reader.view() as view:
        with (
            FolderStore(index, writable=True) as writer,
            pytest.raises(StorageError, match=r"a reader still uses .* run `facesim compact`"),
        ):
            forget(writer, [Path(FORGOTTEN.path)], [], secure=True)
        query = FORGOTTEN.reading.faces[0].embedding[None]
        [found] = view.search(query, 1)
        assert found.face_ids.tolist() == [10], "the reader keeps its moment"
        with reader.catalog.read() as later:
            assert 10 not in face_rows.face_ids(later)
            assert audit_log.unfinished(later) == 1
    assert facesim(index, "compact").exit_code == 0
    assert_only_the_others(index)


def test_a_reader_that_only_has_files_open_delays_nothing(told: FolderStore) -> None:
    with FolderStore(told.folder) as reader:
        with reader.view() as view:
            assert len(view.segments) == 1
        forget(told, [Path(FORGOTTEN.path)], [], secure=True)
        assert traces(told.folder, FORGOTTEN.needles) == {}
        with reader.view() as view:
            [found] = view.search(FORGOTTEN.reading.faces[0].embedding[None], 1)
            assert found.cosines[0] < 0.9


def test_an_old_segment_that_cannot_be_removed_is_told(
    told: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, while a reader has it mapped."""
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".faiss":
            raise PermissionError(13, "it is in use", str(path))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(StorageError, match=r"cannot remove .*\.faiss: it is in use"):
            forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    with told.catalog.read() as transaction:
        assert audit_log.unfinished(transaction) == 1
    told.close()
    FolderStore(told.folder, writable=True).close()
    assert_only_the_others(told.folder)


def test_a_damaged_segment_is_told_and_repair_is_not_in_the_way(told: FolderStore) -> None:
    index = told.folder
    [segment] = (index / "segments").glob("*.faiss")
    told.close()
    segment.write_bytes(segment.read_bytes()[:-5000])
    with (
        FolderStore(index, writable=True) as store,
        pytest.raises(IndexDamagedError, match="verify --repair"),
    ):
        forget(store, [Path(FORGOTTEN.path)], [], secure=True)
    with FolderStore(index, writable=True) as store:  # cannot finish, but opens
        repair(store, verify(store), FunctionReader(lambda paths: iter(())))
    FolderStore(index, writable=True).close()
    assert traces(index, FORGOTTEN.needles) == {}
    [line] = json.loads(facesim(index, "audit", "--format", "json").stdout)
    assert line["finished"]
