"""Walking: what is found, in which order, and what is left alone."""

import errno
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesim_index.errors import UsageError
from facesim_index.pictures import folder_walk
from facesim_index.pictures.folder_walk import (
    PICTURE_SUFFIXES,
    FoundFile,
    FoundFolder,
    UnreadableFolder,
    WalkOptions,
    found_file,
    walk,
)
from facesim_index.records import FileStamp

needs_posix = pytest.mark.skipif(os.name != "posix", reason="POSIX file names and nodes")


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))


def found(root: Path, *exclude: str, follow: bool = False) -> list[str]:
    """Files by their path below the root, in the order of the walk."""
    names = []
    for item in walk(root, WalkOptions(exclude, follow)):
        assert isinstance(item, FoundFolder)
        names += [file.path_in(item.path).relative_to(root).as_posix() for file in item.files]
    return names


def folders(root: Path, *, follow: bool = False) -> list[str]:
    items = walk(root, WalkOptions(follow_symlinks=follow))
    return [item.path.relative_to(root).as_posix() for item in items]


def test_a_folder_comes_before_its_subfolders_and_depth_first(tmp_path: Path) -> None:
    names = ["z.jpg", "B.jpg", "a.jpg", "b/2.jpg", "b/1.jpg", "b/c/3.jpg", "a/9.jpg", "é/1.jpg"]
    random.Random(1).shuffle(names)
    make(tmp_path, *names)
    assert found(tmp_path) == [
        *("B.jpg", "a.jpg", "z.jpg", "a/9.jpg", "b/1.jpg", "b/2.jpg", "b/c/3.jpg", "é/1.jpg")
    ]


def test_every_folder_is_named_once_even_an_empty_one(tmp_path: Path) -> None:
    make(tmp_path, "a/notes.txt", "b/c/1.jpg")
    (tmp_path / "empty").mkdir()
    assert folders(tmp_path) == [".", "a", "b", "b/c", "empty"]


def test_the_stamp_is_that_of_the_file(tmp_path: Path) -> None:
    make(tmp_path, "one.jpg")
    os.utime(tmp_path / "one.jpg", ns=(1, 1_600_000_000_123_456_789))
    (item,) = walk(tmp_path, WalkOptions())
    assert item == FoundFolder(
        tmp_path, (FoundFile("one.jpg", FileStamp(7, 1_600_000_000_123_456_789)),)
    )


def test_suffixes_count_in_any_case_and_nothing_else_does(tmp_path: Path) -> None:
    pictures = {f"p{suffix}" for suffix in PICTURE_SUFFIXES} | {"Q.JPG", "R.HeIc", "a.b.png"}
    make(tmp_path, *pictures, "notes.txt", "jpg", "x.jpg.part", "x.mp4", "x.", "Thumbs.db")
    assert set(found(tmp_path)) == pictures


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, ".hidden.jpg", "._a.jpg", ".thumbnails/1.jpg", "a.jpg")
    assert found(tmp_path) == ["a.jpg"]
    assert found(tmp_path / ".thumbnails") == ["1.jpg"]


def test_our_own_indexes_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "holiday.facesim/1.jpg")
    make(tmp_path, "other/catalog.sqlite3", "other/segments/1.jpg", "other/2.jpg")
    make(tmp_path, "only/segments/3.jpg", "file/catalog.sqlite3", "file/4.jpg")
    assert found(tmp_path) == ["file/4.jpg", "only/segments/3.jpg"]
    assert folders(tmp_path) == [".", "file", "only", "only/segments"]


@needs_posix
@pytest.mark.parametrize(
    "name",
    [
        "new\nline.jpg",
        " spaces  .jpg",
        "写真.jpg",
        "صورة.jpg",
        "😀.jpg",
        "quote'\".jpg",
        "*.jpg",
        os.fsdecode(b"latin-\xe9\xff.jpg"),
    ],
)
def test_names_in_any_script(tmp_path: Path, name: str) -> None:
    make(tmp_path, name, f"{name}.d/{name}")
    here, below = walk(tmp_path, WalkOptions())
    for item in (here, below):
        assert isinstance(item, FoundFolder)
        (file,) = item.files
        assert file.name == name
        assert file.path_in(item.path).read_bytes()
    assert below.path == tmp_path / f"{name}.d"


@needs_posix
def test_the_order_is_that_of_the_bytes(tmp_path: Path) -> None:
    names = [b"\xff.jpg", "\U0001f600.jpg".encode(), "\ufb01.jpg".encode(), b"a.jpg"]
    make(tmp_path, *map(os.fsdecode, names))
    (item,) = walk(tmp_path, WalkOptions())
    assert isinstance(item, FoundFolder)
    assert [os.fsencode(file.name) for file in item.files] == sorted(names)


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["*.png"], ["a.jpg", "in/a.jpg", "in/deep/b.jpg"]),
        (["a.*"], ["in/deep/b.jpg"]),
        (["A.*"], ["a.jpg", "a.png", "in/a.jpg", "in/deep/b.jpg"]),
        (["in"], ["a.jpg", "a.png"]),
        (["in/"], ["a.jpg", "a.png"]),
        (["a.jpg/"], ["a.jpg", "a.png", "in/a.jpg", "in/deep/b.jpg"]),
        (["in/a.jpg"], ["a.jpg", "a.png", "in/deep/b.jpg"]),
        (["in/*"], ["a.jpg", "a.png"]),
        (["in/deep"], ["a.jpg", "a.png", "in/a.jpg"]),
        (["deep/", "*.png"], ["a.jpg", "in/a.jpg"]),
        (["[ab].jpg"], ["a.png"]),
        (["/"], ["a.jpg", "a.png", "in/a.jpg", "in/deep/b.jpg"]),
    ],
)
def test_exclude(tmp_path: Path, patterns: list[str], left: list[str]) -> None:
    make(tmp_path, "a.jpg", "a.png", "in/a.jpg", "in/deep/b.jpg")
    assert found(tmp_path, *patterns) == left


def test_an_excluded_folder_is_not_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "private/1.jpg")
    refuse(monkeypatch, tmp_path / "private", PermissionError(errno.EACCES, "denied"))
    assert found(tmp_path, "private") == []


def refuse(monkeypatch: pytest.MonkeyPatch, path: Path, error: OSError) -> None:
    """Make one folder unlistable, for a root user too."""
    scandir = os.scandir

    def refusing(folder: str) -> Iterator[os.DirEntry[str]]:
        if folder == os.fspath(path):
            raise error
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)


def test_a_folder_that_cannot_be_listed_is_an_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/1.jpg", "b/2.jpg", "b/c/3.jpg", "d/4.jpg")
    refuse(monkeypatch, tmp_path / "b", PermissionError(errno.EACCES, "Permission denied"))
    items = list(walk(tmp_path, WalkOptions()))
    assert [item.path.name for item in items] == [tmp_path.name, "a", "b", "d"]
    assert items[2] == UnreadableFolder(tmp_path / "b", "Permission denied")


def test_a_folder_that_vanishes_is_an_item(tmp_path: Path) -> None:
    make(tmp_path, "a/1.jpg", "b/2.jpg")
    items = walk(tmp_path, WalkOptions())
    next(items)
    (tmp_path / "a" / "1.jpg").unlink()
    (tmp_path / "a").rmdir()
    gone, there = items
    assert isinstance(gone, UnreadableFolder)
    assert gone.path == tmp_path / "a"
    assert isinstance(there, FoundFolder)


@pytest.mark.parametrize("name", ["missing", "file.jpg"])
def test_a_root_that_is_not_a_folder_is_unreadable(tmp_path: Path, name: str) -> None:
    make(tmp_path, "file.jpg")
    (item,) = walk(tmp_path / name, WalkOptions())
    assert isinstance(item, UnreadableFolder)
    assert item.message


class Entry:
    """A directory entry whose stat fails."""

    def __init__(self, entry: os.DirEntry[str], error: OSError) -> None:
        self.name, self.path, self._error = entry.name, entry.path, error
        self.is_dir, self.is_file, self.is_symlink = entry.is_dir, entry.is_file, entry.is_symlink

    def stat(self) -> os.stat_result:
        raise self._error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (FileNotFoundError(errno.ENOENT, "gone"), "found"),
        (PermissionError(errno.EACCES, "denied"), "unreadable"),
    ],
)
def test_a_file_without_stat_is_left_out_only_if_it_vanished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, outcome: str
) -> None:
    make(tmp_path, "1.jpg", "2.jpg")
    look_at = folder_walk._look_at

    def failing(entry: os.DirEntry[str]) -> FoundFile | None:
        broken = Entry(entry, error) if entry.name == "1.jpg" else entry
        return look_at(broken)  # type: ignore[arg-type]

    monkeypatch.setattr(folder_walk, "_look_at", failing)
    (item,) = walk(tmp_path, WalkOptions())
    if outcome == "found":
        assert isinstance(item, FoundFolder)
        assert [file.name for file in item.files] == ["2.jpg"]
    else:
        assert item == UnreadableFolder(tmp_path, "denied")


@needs_posix
def test_only_regular_files_are_found(tmp_path: Path) -> None:
    make(tmp_path, "real.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        try:
            server.bind("socket.jpg")
        finally:
            os.chdir(here)
        assert found(tmp_path) == ["real.jpg"]


@needs_posix
def test_links_are_passed_over_unless_asked_for(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    make(outside, "1.jpg", "sub/2.jpg")
    make(root, "own.jpg", "x/3.jpg")
    (root / "link.jpg").symlink_to(outside / "1.jpg")
    (root / "a").symlink_to(outside, target_is_directory=True)
    (root / "dangling.jpg").symlink_to(outside / "nothing.jpg")
    (root / "self.jpg").symlink_to(root / "self.jpg")
    (root / "nowhere").symlink_to(outside / "nowhere")
    assert found(root) == ["own.jpg", "x/3.jpg"]
    assert found(root, follow=True) == [
        *("link.jpg", "own.jpg", "x/3.jpg", "a/1.jpg", "a/sub/2.jpg")
    ]
    assert found(root, "a/sub/", follow=True) == ["link.jpg", "own.jpg", "x/3.jpg", "a/1.jpg"]
    (item, *_) = walk(root, WalkOptions(follow_symlinks=True))
    assert isinstance(item, FoundFolder)
    assert item.files[0].stamp.size_bytes == len("1.jpg")


@needs_posix
def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    make(tmp_path, "real/1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (item,) = walk(tmp_path / "link", WalkOptions())
    assert isinstance(item, FoundFolder)
    assert item.path == tmp_path / "link"
    assert [file.name for file in item.files] == ["1.jpg"]


@needs_posix
def test_loops_end_and_a_folder_keeps_its_own_name(tmp_path: Path) -> None:
    make(tmp_path, "m/1.jpg", "m/n/2.jpg", "z/3.jpg")
    (tmp_path / "m" / "n" / "up").symlink_to(tmp_path)
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "z" / "loop").symlink_to(tmp_path / "z")
    assert found(tmp_path, follow=True) == ["m/1.jpg", "m/n/2.jpg", "z/3.jpg"]
    assert folders(tmp_path, follow=True) == [".", "m", "m/n", "z"]


@pytest.fixture
def deep_root(tmp_path: Path) -> Iterator[Path]:
    """A folder with 1,000 folders in each other, made and removed step by step."""
    here = Path.cwd()
    depth = 0
    os.chdir(tmp_path)
    try:
        for _ in range(1000):
            Path("d").mkdir()
            os.chdir("d")
            depth += 1
        Path("last.jpg").write_bytes(b"x")
        yield tmp_path
    finally:
        Path("last.jpg").unlink(missing_ok=True)
        for _ in range(depth):
            os.chdir("..")
            Path("d").rmdir()
        os.chdir(here)


@needs_posix
def test_a_thousand_levels(deep_root: Path) -> None:
    items = list(walk(deep_root, WalkOptions()))
    assert len(items) == 1001
    last = items[-1]
    assert isinstance(last, FoundFolder)
    assert [file.name for file in last.files] == ["last.jpg"]
    assert last.files[0].path_in(last.path).read_bytes() == b"x"


def test_a_path_too_long_for_the_system_is_an_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "long/1.jpg", "z/2.jpg")
    refuse(monkeypatch, tmp_path / "long", OSError(errno.ENAMETOOLONG, "File name too long"))
    items = list(walk(tmp_path, WalkOptions()))
    assert items[1] == UnreadableFolder(tmp_path / "long", "File name too long")
    assert len(items) == 3


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "in/1.jpg")
    monkeypatch.chdir(tmp_path)
    assert [item.path for item in walk(Path("in"), WalkOptions())] == [tmp_path / "in"]
    resolved = (tmp_path / "in").resolve()
    assert [item.path for item in walk(Path("in/../in"), WalkOptions())] == [resolved]
    assert found_file(Path("in/1.jpg")).path == tmp_path / "in"


def test_one_named_file_of_any_suffix(tmp_path: Path) -> None:
    make(tmp_path, "scan.data")
    os.utime(tmp_path / "scan.data", ns=(5, 5))
    assert found_file(tmp_path / "scan.data") == FoundFolder(
        tmp_path, (FoundFile("scan.data", FileStamp(9, 5)),)
    )


@needs_posix
def test_one_named_link_keeps_its_name(tmp_path: Path) -> None:
    make(tmp_path, "real.jpg")
    (tmp_path / "link.jpg").symlink_to("real.jpg")
    (file,) = found_file(tmp_path / "link.jpg").files
    assert (file.name, file.stamp.size_bytes) == ("link.jpg", 8)


@needs_posix
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.jpg", "No such file"),
        ("folder", "is a folder"),
        ("pipe.jpg", "not a regular file"),
        (os.fsdecode(b"\xff.jpg"), r"\\xff.jpg: No such file"),
        ("a\0b.jpg", "null"),
    ],
)
def test_a_name_that_is_no_file_is_wrong_usage(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UsageError, match=says) as caught:
        found_file(tmp_path / name)
    str(caught.value).encode("utf-8")  # can be printed
