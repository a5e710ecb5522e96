"""What a kill or a power cut leaves of the log is opened; what only damage leaves is told."""

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from facesim_index.store.catalog import face_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.sqlite import descriptors
from facesim_index.store.sqlite.wal import check_log, log_path, shared_path
from tests.asking import verify
from tests.builders import commit_pictures, new_store, picture, unit_vectors
from tests.reliability.children import in_child
from tests.reliability.log_states import campaign
from tests.reliability.system_calls import can_compile


def commit_number(store: FolderStore, number: int) -> None:
    vectors = unit_vectors(2, number)
    commit_pictures(store, {f"/p/{number}.jpg": picture(str(number), vectors)})


def test_every_state_that_a_crash_can_leave_is_opened_and_damage_is_told() -> None:
    figures = campaign(1, 150)
    assert not figures.failures
    assert figures.opened["before"] > 50
    assert figures.opened["after"] > 5
    assert figures.told["told"] > 50
    kinds = {kind.partition(",")[0] for kind in figures.sorts}
    assert kinds == {"into a new log", "behind other commits", "over an older log"}
    assert any(kind.endswith("in pieces") for kind in figures.sorts)


@pytest.mark.skipif(not can_compile(), reason="needs Linux and a C compiler")
def test_kills_in_system_calls_of_sqlite_and_of_its_recovery_are_survived() -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "tests.reliability.kills"),
            *("--in-calls", "--seed", "1", "--kills", "40"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"(\d+) kills .*, (\d+) more in the recovery .*, 0 not survived", run.stdout)
    assert found, run.stdout
    assert int(found[1]) == 40
    assert int(found[2]) > 5


def test_a_frame_without_its_page_over_an_older_log_is_no_damage(tmp_path: Path) -> None:
    """Once, such an index was refused: the frame has its full length, by the older one's page."""
    folder = tmp_path / "i"
    catalog = folder / "catalog.sqlite3"
    reader_may_come = in_child(lambda: _make_log_over_another(folder))
    assert not reader_may_come.trace, reader_may_come.trace
    log = bytearray(log_path(catalog).read_bytes())
    # The last whole frame: what follows is what a kill may leave of the next transaction.
    frame = 24 + 4096
    salts = bytes(log[16:24])
    n_ours = 0
    while log[32 + n_ours * frame + 8 : 32 + n_ours * frame + 16] == salts:
        n_ours += 1
    start = 32 + n_ours * frame
    assert len(log) >= start + frame, "there is no older frame behind"
    log[start : start + 24] = struct.pack(">2I8s2I", 2, 9, salts, 1, 2)
    log_path(catalog).write_bytes(log)
    assert check_log(catalog) is None
    with FolderStore(folder, writable=True) as store:
        assert not verify(store).problems
        with store.read() as rows:
            assert face_rows.n_faces(rows.transaction) == 2 * 9


def _make_log_over_another(folder: Path) -> None:
    store = new_store(folder)
    for number in range(8):
        commit_number(store, number)
    with store.catalog._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(FULL)").all()
    commit_number(store, 8)
    # The child ends without closing anything, as by a kill.


def test_what_a_killed_writer_left_reaches_the_disk_before_the_next_one_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power cut might take the older transaction and leave pieces of the newer one."""
    ended = in_child(lambda: _make_log_over_another(tmp_path / "i"))
    assert not ended.trace, ended.trace
    flushed = _watch_flushes(monkeypatch)
    FolderStore(tmp_path / "i").close()
    assert flushed == []
    ended = in_child(lambda: _make_log_over_another(tmp_path / "j"))
    assert not ended.trace, ended.trace
    with FolderStore(tmp_path / "j", writable=True):
        assert flushed == ["catalog.sqlite3-wal"]


def test_what_is_counted_reaches_the_disk_before_a_log_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power cut might leave an empty log beside an older count, which is told as damage."""
    with new_store(tmp_path / "i") as store:
        catalog = store.catalog.path
        for number in range(3):
            commit_number(store, number)
        flushed: list[tuple[bool, bool]] = []
        real = descriptors.flush_file

        def flush(path: Path, name: str) -> None:
            assert name == shared_path(catalog).name
            counted = descriptors.read_file(path, name, 100)
            [n_frames], [n_written_back] = (
                struct.unpack_from("=I", counted, at) for at in (16, 96)
            )
            flushed.append((n_frames == n_written_back, bool(log_path(catalog).stat().st_size)))
            real(path, name)

        monkeypatch.setattr(descriptors, "flush_file", flush)
        assert store.catalog.empty_log()
        assert flushed == [(True, True), (True, False)]
        flushed.clear()
        store.compact()
        assert flushed == [(True, True), (True, False)]


def _watch_flushes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    flushed: list[str] = []
    real = descriptors.flush_file

    def flush(path: Path, name: str) -> None:
        real(path, name)
        flushed.append(name)

    monkeypatch.setattr(descriptors, "flush_file", flush)
    return flushed
