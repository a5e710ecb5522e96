"""Promise 9: an index is for its owner alone."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesim_index.doctor import check_privacy
from facesim_index.index import FaceIndex
from facesim_index.records import FaceId
from facesim_index.store.folder.store import FolderStore
from tests.asking import verify
from tests.builders import commit_pictures, ingest, new_store
from tests.coloured_people import facesim
from tests.reliability.private_photos import make_photos
from tests.reliability.traces import person

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other rights than modes")


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of a folder and of everything in it."""
    found = [folder, *folder.rglob("*")]
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in found
        if not path.is_symlink()
    }


def assert_private(folder: Path) -> None:
    wrong = {
        name: oct(mode)
        for name, mode in modes(folder).items()
        if mode != (0o700 if (folder / name).is_dir() else 0o600)
    }
    assert wrong == {}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


@posix
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077, 0o777])
def test_every_file_is_private_whatever_the_umask(
    tmp_path: Path, photos: Path, mask: int, small_coarse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "deep" / "down" / "i.facesim"
    index.parent.mkdir(parents=True)
    temporary: list[int] = []
    replace = os.replace

    def look(source: str, target: Path) -> None:
        temporary.append(stat.S_IMODE(os.stat(source).st_mode))  # noqa: PTH116
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    with umask(mask), new_store(index) as store:
        ingest(store, photos)
        commit_pictures(store, {"/p/many.jpg": person(0, 12).reading})
        store.remove([], face_ids=[FaceId(1)])
        store.compact()
        with FolderStore(index) as reader, reader.view():
            names = modes(index)
            assert_private(index)
    assert {"catalog.sqlite3-wal", "catalog.sqlite3-shm", "LOCK", "LOCK.holder"} <= names.keys()
    assert any(name.endswith(".coarse") for name in names)
    assert temporary
    assert set(temporary) == {0o600}
    with umask(mask), FolderStore(index, writable=True):
        assert_private(index)
    assert_private(index)


@posix
def test_folders_above_the_index_are_made_as_usual(tmp_path: Path) -> None:
    with umask(0o022):
        new_store(tmp_path / "a" / "i.facesim").close()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    assert_private(tmp_path / "a" / "i.facesim")


@posix
def test_an_index_that_is_open_to_others_is_told_and_closed_by_the_next_writer(
    tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = tmp_path / "i.facesim"
    with new_store(index) as store:
        ingest(store, photos)
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    outside.chmod(0o644)
    (index / "link").symlink_to(outside)
    for path in (index, *index.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o664)
    FolderStore(index).close()
    assert modes(index)["catalog.sqlite3"] == 0o664, "a reader changes nothing"
    told = check_privacy(index)
    assert told.status == "warning"
    assert f"chmod -R go= {index}" in told.mend
    FolderStore(index, writable=True).close()
    assert_private(index)
    assert f"{index} could be read by others" in caplog.text
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644, "links are not followed"
    assert check_privacy(index).status == "ok"
    caplog.clear()
    FolderStore(index, writable=True).close()
    assert "could be read" not in caplog.text


@posix
def test_a_writer_who_may_not_close_the_index_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system without rights, or in a folder of somebody else."""
    new_store(tmp_path / "i").close()
    (tmp_path / "i" / "catalog.sqlite3").chmod(0o644)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refuse)
    FolderStore(tmp_path / "i", writable=True).close()
    assert "catalog.sqlite3 can be read by others" in caplog.text


@posix
def test_a_disk_that_knows_no_rights_can_hold_an_index(
    tmp_path: Path,
    photos: Path,
    small_coarse: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As FAT: every change of a mode is refused, and everything is open to all."""

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    chmod = os.chmod
    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    with new_store(tmp_path / "i") as store:
        ingest(store, photos)
        commit_pictures(store, {"/p/many.jpg": person(0, 12).reading})
    chmod(tmp_path / "i" / "catalog.sqlite3", 0o777)
    with FolderStore(tmp_path / "i", writable=True) as store:
        store.remove([], face_ids=[FaceId(1)])
        store.compact()
        assert not verify(store).problems
    assert "catalog.sqlite3 can be read by others, and the system does not let" in caplog.text


@posix
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_an_export_follows_the_umask(tmp_path: Path, photos: Path, mask: int, mode: int) -> None:
    index, out = tmp_path / "i", tmp_path / "faces.csv"
    assert facesim(index, "ingest", photos, "--workers", "1").exit_code == 0
    with umask(mask):
        assert facesim(index, "export", "faces", out).exit_code == 0
    assert stat.S_IMODE(out.stat().st_mode) == mode


@posix
def test_who_is_in_which_picture_is_for_the_owner_alone(tmp_path: Path, photos: Path) -> None:
    """Exports of people; beside a picture a sidecar is for those who may read the picture."""
    index, out = tmp_path / "i", tmp_path / "out"
    (photos / "red.png").chmod(0o640)
    (photos / "red copy.png").chmod(0o600)
    (photos / "couple.png").chmod(0o666)
    assert facesim(index, "ingest", photos, "--workers", "1").exit_code == 0
    with FaceIndex.open(index) as opened:
        opened.people.confirm({"Rosa": opened.face_ids().tolist()})
    out.mkdir(mode=0o755)
    with umask(0o022):
        assert facesim(index, "export", "people", out / "people.csv").exit_code == 0
        assert facesim(index, "export", "sidecars", out / "new" / "names").exit_code == 0
        assert facesim(index, "export", "sidecars", "--beside").exit_code == 0
        assert facesim(index, "people", "list").exit_code == 0
    assert stat.S_IMODE((out / "people.csv").stat().st_mode) == 0o600
    assert_private(out / "new")
    assert len(list((out / "new" / "names").glob("*.xmp"))) == 4
    assert stat.S_IMODE(out.stat().st_mode) == 0o755, "what was there stays as it was"
    beside = {name: mode for name, mode in modes(photos).items() if name.endswith(".xmp")}
    assert beside == {
        **{"red.png.xmp": 0o640, "red copy.png.xmp": 0o600},
        **{"couple.png.xmp": 0o644, "blue.png.xmp": 0o644},
    }
    with umask(0o077):
        assert facesim(index, "export", "sidecars", "--beside").exit_code == 0
    assert modes(photos)["couple.png.xmp"] == 0o600, "the umask counts, too"
