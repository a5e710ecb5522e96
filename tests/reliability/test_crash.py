"""Promise 1: a kill loses at most the batch that was not committed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from facesim_index.errors import IndexLockedError
from facesim_index.store.folder.compaction import MERGE_FAN
from facesim_index.store.folder.segment_folder import SegmentFolder
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.segments import coarse
from tests.asking import verify
from tests.builders import commit_pictures, new_store, picture, unit_vectors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")


@pytest.mark.slow
def test_every_step_and_random_moments_survive_a_kill() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.reliability.kills", "--seed", "1", "--kills", "220"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"(\d+) kills, 0 not survived; (\d+) of (\d+) steps", run.stdout)
    assert found, run.stdout
    assert int(found[1]) >= 220
    assert found[2] == found[3]


def test_merged_segments_have_their_codes_when_the_commit_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coarse, "COARSE_MIN_ROWS", 16)
    vectors = unit_vectors(2 * MERGE_FAN, 3)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SegmentFolder, "drop_files", die)  # what comes first after a merge's commit
    with new_store(tmp_path / "i") as store:
        for n in range(MERGE_FAN - 1):
            commit_pictures(store, {f"/p/{n}": picture(f"{n}", vectors[2 * n : 2 * n + 2])})
        with pytest.raises(KeyboardInterrupt):
            commit_pictures(store, {"/p/last": picture("last", vectors[-2:])})
    with FolderStore(tmp_path / "i") as store:
        assert verify(store).problems == ()


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
def test_a_kill_while_the_catalog_is_made_leaves_a_folder_that_can_be_used(
    tmp_path: Path, suffix: str
) -> None:
    folder = tmp_path / "i"
    folder.mkdir()
    (folder / f"catalog.sqlite3.new{suffix}").write_bytes(b"half of it")
    with new_store(folder) as store:
        assert verify(store).problems == ()
    assert not list(folder.glob("*.new*"))


def test_a_holder_that_died_is_not_named_though_its_process_id_is_used_again(
    tmp_path: Path,
) -> None:
    with new_store(tmp_path / "i") as store:
        holder = tmp_path / "i" / "LOCK.holder"
        told = json.loads(holder.read_text())
        with pytest.raises(IndexLockedError, match=f"process {os.getpid()} on .* since "):
            FolderStore(store.folder, writable=True)
        # As it is between a new writer's taking of the lock and its writing of its name.
        holder.write_text(json.dumps({**told, "started": "1"}))
        with pytest.raises(IndexLockedError, match="written by another process"):
            FolderStore(store.folder, writable=True)


def test_the_file_of_a_dead_holder_keeps_nobody_out(tmp_path: Path) -> None:
    new_store(tmp_path / "i").close()
    left = {"pid": os.getpid(), "host": "here", "started": "1", "command": "x", "since": "then"}
    (tmp_path / "i" / "LOCK.holder").write_text(json.dumps(left))
    with FolderStore(tmp_path / "i", writable=True):
        assert json.loads((tmp_path / "i" / "LOCK.holder").read_text())["started"] != "1"
