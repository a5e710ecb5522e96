"""Promise 2: when the disk refuses, the command ends cleanly and the index is whole."""

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesim_index.errors import StorageError
from facesim_index.store.folder.store import FolderStore
from tests.asking import verify
from tests.builders import commit_pictures, new_store, picture, unit_vectors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and mounts")


@pytest.mark.slow
def test_every_step_survives_a_refusal() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.reliability.io_errors", "--seed", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"(\d+) errors: (\d+) ended .* 0 were not survived", run.stdout)
    assert found, run.stdout
    assert int(found[1]) >= 100
    assert int(found[2]) >= 80


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def commit_number(store: FolderStore, number: int) -> None:
    vectors = unit_vectors(40, number)
    commit_pictures(store, {f"/p/{number}.jpg": picture(f"{number}", vectors)})


def n_files(folder: Path) -> int:
    with FolderStore(folder) as store:
        assert verify(store).problems == ()
        return store_files(store)


def store_files(store: FolderStore) -> int:
    with store.catalog.read() as transaction:
        return int(transaction.exec_driver_sql("SELECT count(*) FROM file").scalar_one())


def test_a_full_disk_keeps_what_was_committed(small_disk: Path) -> None:
    folder, done = small_disk / "i", 0
    with new_store(folder) as store, pytest.raises(StorageError, match=str(folder)):  # noqa: PT012
        while done < 100:  # how many fit is not ours to say
            commit_number(store, done)
            done += 1
    assert 1 <= done < 100
    assert n_files(folder) in (done, done + 1)  # a merge after the commit may be what failed
    remount(small_disk, "size=64m")
    with FolderStore(folder, writable=True) as store:
        commit_number(store, done)
        commit_number(store, done + 1)
    assert n_files(folder) == done + 2


def test_a_disk_that_becomes_read_only_is_named(small_disk: Path) -> None:
    folder = small_disk / "i"
    with new_store(folder) as store:
        commit_number(store, 1)
    remount(small_disk, "ro")
    with pytest.raises(StorageError, match=str(folder)):
        FolderStore(folder, writable=True)
    assert n_files(folder) == 1
    remount(small_disk, "rw")
    with FolderStore(folder, writable=True) as store:
        commit_number(store, 2)
    assert n_files(folder) == 2


def test_a_folder_that_vanishes_in_mid_run_is_named(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_number(store, 1)
        shutil.move(tmp_path / "i" / "segments", tmp_path / "away")
        with pytest.raises(StorageError, match="segments"):
            commit_number(store, 2)
        shutil.move(tmp_path / "away", tmp_path / "i" / "segments")
        commit_number(store, 2)
    assert n_files(tmp_path / "i") == 2


def test_an_error_of_the_disk_does_not_make_an_index_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_store(tmp_path / "i").close()

    class Refusing(sqlite3.Cursor):
        def execute(self, *_: Any) -> Any:
            raise sqlite3.OperationalError("disk I/O error")

    class Connection(sqlite3.Connection):
        def cursor(self, *_: object, **__: object) -> sqlite3.Cursor:  # type: ignore[override]
            return super().cursor(Refusing)

    real = sqlite3.connect
    monkeypatch.setattr(
        "facesim_index.store.sqlite.descriptors.sqlite3.connect",
        lambda *rest, **named: real(*rest, **{**named, "factory": Connection}),
    )
    with pytest.raises(StorageError, match=r"catalog\.sqlite3: disk I/O error"):
        FolderStore(tmp_path / "i")
