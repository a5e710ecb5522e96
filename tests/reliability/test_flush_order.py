"""A snapshot and a restore are on the disk before they get their name, for the case of a power cut.

A kill does not show it: what the system has taken is kept.  So the calls themselves are recorded.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facesim_index.errors import StorageError
from facesim_index.records import FaceId
from facesim_index.store.folder.snapshots import restore_snapshot, take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.utils import files
from tests.asking import verify
from tests.builders import commit_pictures, new_store, picture, unit_vectors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of two segments, and a snapshot ``s`` of it before its last change."""
    with new_store(tmp_path / "i") as store:
        for n in range(2):
            commit_pictures(store, {f"/p/{n}.jpg": picture(str(n), unit_vectors(3, n))})
    take_snapshot(tmp_path / "i", tmp_path / "s", copy=True)
    with FolderStore(tmp_path / "i", writable=True) as store:
        store.remove([], face_ids=[FaceId(1)])
    return tmp_path / "i"


class Recorder:
    """Writes down what is flushed, renamed and removed below a folder, in this order."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str]] = []
        self._root = root
        fsync, renamed = os.fsync, files._renamed

        def record_fsync(descriptor: int) -> None:
            self._add("fsync", Path(f"/proc/self/fd/{descriptor}").readlink())
            fsync(descriptor)

        def record_renamed(source: Path, target: Path, flags: int) -> bool:
            done = renamed(source, target, flags)
            if done:
                self._add("exchange" if flags == files._EXCHANGE else "rename", target)
            return done

        monkeypatch.setattr(os, "fsync", record_fsync)
        monkeypatch.setattr(files, "_renamed", record_renamed)
        for name in ("rename", "replace"):
            monkeypatch.setattr(os, name, self._recorded(getattr(os, name), "rename", 1))
        for name in ("unlink", "link"):
            monkeypatch.setattr(os, name, self._recorded(getattr(os, name), name, -1))

    def _recorded(self, real: Callable[..., Any], verb: str, which: int) -> Callable[..., Any]:
        def wrapper(*paths: Any, **named: Any) -> Any:
            self._add(verb, Path(paths[which]))
            return real(*paths, **named)

        return wrapper

    def _add(self, verb: str, path: Path) -> None:
        if path.is_relative_to(self._root):
            parts = path.relative_to(self._root).parts
            words = ["WORK" if ".facesim-" in part else part for part in parts] or ["."]
            self.calls.append((verb, "/".join(words)))

    def require_before(self, name: tuple[str, str], *earlier: tuple[str, str]) -> None:
        """Require that each of some calls was made, and the last time before another."""
        at = self.calls.index(name)
        for call in earlier:
            assert call in self.calls[:at], f"{call} is not made before {name}: {self.calls}"

    def require_after(self, name: tuple[str, str], *later: tuple[str, str]) -> None:
        at = self.calls.index(name)
        for call in later:
            assert call in self.calls[at:], f"{call} is not made after {name}: {self.calls}"


CONTENT = (
    ("fsync", "WORK/new/catalog.sqlite3"),
    ("fsync", "WORK/new/segments"),
    ("fsync", "WORK/new"),
)


@pytest.mark.parametrize("copy", [False, True])
def test_a_snapshot_is_flushed_before_it_gets_its_name(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: bool
) -> None:
    recorder = Recorder(tmp_path, monkeypatch)
    take_snapshot(index, tmp_path / "t", copy=copy)
    named = ("rename", "t")
    recorder.require_before(named, *CONTENT)
    recorder.require_before(
        ("rename", "WORK/new/SNAPSHOT"),
        *(call for call in recorder.calls if call[1].startswith("WORK/new/.SNAPSHOT.")),
    )
    assert [call for call in recorder.calls if call[1].startswith("WORK/new/.SNAPSHOT.")]
    last = recorder.calls.index(("fsync", "WORK/new"), recorder.calls.index(named) - 1)
    assert last == recorder.calls.index(named) - 1, "the folder is flushed last, as it then is"
    recorder.require_after(named, ("fsync", "."))
    taken = [call for verb, call in recorder.calls if "/segments/" in call and verb == "link"]
    flushed = [
        call for verb, call in recorder.calls if "WORK/new/segments/." in call and verb == "fsync"
    ]
    assert (len(taken), len(flushed)) == ((0, 2) if copy else (2, 0))


@pytest.mark.parametrize("two_steps", [False, True])
def test_a_restored_index_is_flushed_before_it_takes_the_place_of_another(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_steps: bool
) -> None:
    if two_steps:
        monkeypatch.setattr(files, "_renameat2", lambda: None)
    elif files._renameat2() is None:
        pytest.skip("this system has no renameat2")
    recorder = Recorder(tmp_path, monkeypatch)
    restore_snapshot(tmp_path / "s", index, force=True)
    taken = ("rename" if two_steps else "exchange", "i")
    before = ("rename", "WORK/old") if two_steps else taken
    recorder.require_before(before, *CONTENT)
    assert recorder.calls[recorder.calls.index(before) - 1] == ("fsync", "WORK/new")
    if two_steps:
        between = recorder.calls[recorder.calls.index(before) : recorder.calls.index(taken)]
        assert {("fsync", "."), ("fsync", "WORK")} <= set(between)
    removed = next(
        n
        for n, (verb, path) in enumerate(recorder.calls)
        if verb == "unlink" and path.startswith("WORK/") and n > recorder.calls.index(taken)
    )
    between = recorder.calls[recorder.calls.index(taken) : removed]
    assert {("fsync", "."), ("fsync", "WORK")} <= set(between), "or both may be gone"


def test_a_restored_index_is_flushed_before_it_gets_its_name(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, monkeypatch)
    restore_snapshot(tmp_path / "s", tmp_path / "new")
    recorder.require_before(("rename", "new"), *CONTENT)
    recorder.require_after(("rename", "new"), ("fsync", "."))


@pytest.mark.parametrize("place", ["i", "new"])
def test_a_disk_that_does_not_flush_the_new_name_is_told_and_nothing_is_removed(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The rename may not outlast a power cut, so the index that was there is not removed."""
    fsync, renamed = os.fsync, files._renamed
    refusing: list[bool] = []

    def refuse(descriptor: int) -> None:
        if refusing:
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    def then_refuse(source: Path, target: Path, flags: int) -> bool:
        done = renamed(source, target, flags)
        refusing.append(True)
        return done

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        patched.setattr(files, "_renamed", then_refuse)
        with pytest.raises(StorageError, match="Input/output error"):
            restore_snapshot(tmp_path / "s", tmp_path / place, force=True)
    for folder in (index, tmp_path / place, *tmp_path.glob(".*/new")):
        with FolderStore(folder) as store:
            assert not verify(store).problems
    assert len(list(tmp_path.glob(".*/new"))) == (place == "i")
    restore_snapshot(tmp_path / "s", tmp_path / place, force=True)
    assert not list(tmp_path.glob(".*"))
