"""Reading the bytes of a file, whatever happens to it meanwhile."""

import hashlib
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from facesim_index.errors import PictureError
from facesim_index.pictures import files as files_
from facesim_index.pictures.files import content_hash, hash_file, read_bytes
from facesim_index.records import FailureCode, FileStamp


def test_bytes_and_stamp(tmp_path: Path) -> None:
    path = tmp_path / "写\n真.jpg"
    path.write_bytes(b"some bytes")
    os.utime(path, ns=(1, 1_700_000_000_000_000_001))
    assert read_bytes(path) == (b"some bytes", FileStamp(10, 1_700_000_000_000_000_001))


def test_an_empty_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    data, stamp = read_bytes(tmp_path / "empty.jpg")
    assert (data, stamp.size_bytes) == (b"", 0)


@pytest.mark.skipif(os.name != "posix", reason="POSIX nodes and names")
@pytest.mark.parametrize("read", [read_bytes, hash_file])
def test_what_is_not_a_regular_file_is_unreadable(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("nothing")
    open_files = count_open_files()
    for name in ("pipe.jpg", "link.jpg", "missing.jpg", ".", "nul\0.jpg", "a" * 300):
        with pytest.raises(PictureError) as caught:
            read(tmp_path / name)
        assert caught.value.code == FailureCode.UNREADABLE
        assert str(tmp_path) not in caught.value.message
    assert count_open_files() == open_files


def count_open_files() -> int:
    listing = Path("/proc/self/fd")
    return sum(1 for _ in listing.iterdir()) if listing.exists() else 0


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as handle:
        handle.truncate(files_.MAX_FILE_BYTES + 1)  # a hole: takes no room
    with pytest.raises(PictureError) as caught:
        read_bytes(path)
    assert caught.value.code == FailureCode.TOO_LARGE
    monkeypatch.setattr(files_, "MAX_FILE_BYTES", 10)
    path.write_bytes(b"0123456789")
    assert read_bytes(path)[0] == b"0123456789"


class Meddler:
    """Changes a file between the two stats of `read_bytes`, a given number of times."""

    def __init__(self, path: Path, times: int) -> None:
        self.path, self.times, self.calls = path, times, 0
        self.stamp = files_._stamp

    def __call__(self, handle: io.BufferedReader) -> FileStamp:
        self.calls += 1
        if self.calls % 2 == 0 and self.calls // 2 <= self.times:
            self.path.write_bytes(b"version %d" % self.calls)
        return self.stamp(handle)


def test_a_file_that_changes_once_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"v 0")
    monkeypatch.setattr(files_, "_stamp", Meddler(path, times=1))
    data, stamp = read_bytes(path)
    assert data == b"version 2"
    status = path.stat()
    assert stamp == FileStamp(status.st_size, status.st_mtime_ns)


def test_a_file_that_keeps_changing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"v 0")
    monkeypatch.setattr(files_, "_READ_PAUSES_S", (0.0, 0.0, 0.0))
    counts = iter(range(1, 100))
    stamp = files_._stamp

    def growing(handle: io.BufferedReader) -> FileStamp:
        path.write_bytes(b"x" * next(counts))
        return stamp(handle)

    monkeypatch.setattr(files_, "_stamp", growing)
    with pytest.raises(PictureError) as caught:
        read_bytes(path)
    assert caught.value.code == FailureCode.CHANGING


def test_a_read_error_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")

    def failing(handle: io.BufferedReader) -> FileStamp:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files_, "_stamp", failing)
    with pytest.raises(PictureError, match="Input/output error") as caught:
        read_bytes(path)
    assert caught.value.code == FailureCode.UNREADABLE


def test_hashes_are_sha256(tmp_path: Path) -> None:
    data = random.Random(6).randbytes(300_000)
    (tmp_path / "a.jpg").write_bytes(data)
    assert content_hash(data) == hash_file(tmp_path / "a.jpg") == hashlib.sha256(data).digest()
