"""Many small things at once, and small things that are out of the ordinary."""

import os
import shutil
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.errors import PictureError
from facesim_index.ingest.run import Ingest
from facesim_index.ingest.scanning import scan
from facesim_index.ingest.targets import IngestOptions, resolve_targets
from facesim_index.pictures.files import hash_file
from facesim_index.pictures.folder_walk import FoundFolder, WalkOptions, walk
from facesim_index.records import Failure, FailureCode, FileStamp, PictureReading
from facesim_index.store.catalog import face_rows, index_state, writing
from facesim_index.store.folder.store import FolderStore
from facesim_index.workers.pool import ItemFailed
from tests.builders import FAKE, FunctionReader, ingest, new_store, read_here
from tests.example_pictures import fake_photo

RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)

needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    with new_store(tmp_path / "i.facesim") as opened:
        yield opened


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "red.png").write_bytes(fake_photo([RED]))
    (folder / "green.png").write_bytes(fake_photo([GREEN]))
    return folder.resolve()


def paths_of_faces(store: FolderStore) -> dict[tuple[str, ...], int]:
    """Return the files of each picture that has faces, with how many."""
    with store.catalog.read() as transaction:
        records = face_rows.faces(transaction, face_rows.face_ids(transaction))
    found: dict[tuple[str, ...], int] = {}
    for record in records:
        names = tuple(sorted(Path(path).name for path in record.paths))
        found[names] = found.get(names, 0) + 1
    return found


# Very many files, very deep folders


def test_a_crowded_folder_takes_little_memory_for_each_file(tmp_path: Path) -> None:
    """One entry a file and nothing else: 300,000 of them are less than 100 MB."""
    n_files = 20_000
    for number in range(n_files):
        (tmp_path / f"IMG_{number:06d}.jpg").touch()
    tracemalloc.start()
    try:
        (folder,) = walk(tmp_path, WalkOptions())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(folder, FoundFolder)
    assert [file.name for file in folder.files] == [f"IMG_{n:06d}.jpg" for n in range(n_files)]
    assert peak / n_files < 450


def test_a_crowded_folder_of_one_content(store: FolderStore, photos: Path) -> None:
    """More files than a commit holds; the picture is embedded once."""
    data = fake_photo([BLUE])
    for number in range(5000):
        (photos / f"copy{number}.png").write_bytes(data)
    summary = ingest(store, photos)
    assert (summary.files_new, summary.images_embedded, summary.faces_total) == (5002, 3, 3)
    assert ingest(store, photos).files_unchanged == 5002


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A root with 1,000 folders in each other, whose paths soon are too long for the system."""
    root = tmp_path / "deep"
    root.mkdir()
    here = Path.cwd()
    depth = 0
    os.chdir(root)
    try:
        for level in range(1000):
            if level in (0, 10, 999):
                Path(f"level{level}.png").write_bytes(fake_photo([(20 + 16 * (level % 7), 99, 99)]))
            Path("long-name").mkdir()
            os.chdir("long-name")
            depth += 1
        bottom = os.open(".", os.O_RDONLY)
        os.chdir(here)
        yield root.resolve()
        os.fchdir(bottom)
        os.close(bottom)
    finally:
        for _ in range(depth):
            os.chdir("..")
            Path("long-name").rmdir()
            for picture in Path().glob("level*.png"):
                picture.unlink()
        os.chdir(here)


@needs_posix
def test_what_lies_too_deep_is_told_and_the_rest_is_indexed(store: FolderStore, deep: Path) -> None:
    for _ in range(2):
        summary = ingest(store, deep, prune=True)
        assert summary.faces_total == 2
        assert len(summary.warnings) == 1
        assert summary.warnings[0].startswith(f"cannot look into {deep}/long-name/")
        assert summary.warnings[0].endswith("File name too long")
        assert summary.files_removed == 0
    assert paths_of_faces(store) == {("level0.png",): 1, ("level10.png",): 1}


@needs_posix
def test_a_root_in_the_depth_can_be_reached_by_a_shorter_name(
    store: FolderStore, deep: Path, tmp_path: Path
) -> None:
    """The advice of the manual: mount or move it; a part that fits is a root like any other."""
    part = deep
    for _ in range(5):
        part = part / "long-name"
    assert ingest(store, part).faces_total == 1


@needs_posix
def test_a_root_whose_path_is_too_long_is_wrong_usage(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["--index", str(tmp_path / "i"), "ingest", str(tmp_path / ("x/" * 3000))]
    )
    assert result.exit_code == 2
    assert "Traceback" not in result.output


# One root by two names


def test_a_root_by_every_name_it_has(
    store: FolderStore, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    (photos.parent / "link").symlink_to(photos)
    (photos.parent / "chain").symlink_to("link")
    names = ["photos", "photos/", "./photos", "photos/../photos", "link", "link/", "chain"]
    names.append(str(photos))
    targets = resolve_targets(names)
    assert targets.folders == (photos,)
    summary = ingest(store, *(Path(name) for name in names))
    assert (summary.files_seen, summary.faces_total) == (2, 2)
    for name in names:
        again = ingest(store, Path(name))
        assert (again.files_seen, again.files_unchanged) == (2, 2)
    with store.catalog.read() as transaction:
        assert [path for path, _ in index_state.roots(transaction)] == [str(photos)]


def in_namespace(script: str, *arguments: Path) -> str:
    """Run Python in a mount namespace of its own, where anyone may mount; return what it says."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    isolated = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("this system gives no mount namespace")
    done = subprocess.run(
        [*isolated, sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PRELUDE = """
import os, subprocess, sys
from pathlib import Path
from tests.builders import FunctionReader, ingest, new_store
index, photos, other = map(Path, sys.argv[1:])
def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)
"""


@needs_posix
def test_a_root_that_is_mounted_twice_is_one_root(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "other").mkdir()
    said = in_namespace(
        PRELUDE
        + """
mount("--bind", photos, other)
with new_store(index) as store:
    both = ingest(store, other, photos)
    print(both.files_seen, both.images_embedded, both.faces_total, len(both.warnings))
    alone = ingest(store, photos)
    print(alone.files_seen, alone.files_duplicate, alone.images_embedded, alone.faces_total)
""",
        *(tmp_path / "i", photos, tmp_path / "other"),
    )
    # By its other name, in a later run, every file is a copy of a picture that is known.
    assert said.splitlines() == ["2 2 2 0", "2 2 0 2"]


@needs_posix
def test_a_root_on_a_read_only_mount_is_read_and_never_written_to(
    tmp_path: Path, photos: Path
) -> None:
    (photos / "broken.jpg").write_bytes(b"x")
    before = snapshot(photos)
    said = in_namespace(
        PRELUDE
        + """
mount("--bind", photos, photos)
mount("-o", "remount,bind,ro", photos)
try:
    (photos / "x").touch()
except OSError as error:
    print(error.strerror)
with new_store(index) as store:
    for options in ({}, {"checksum": True}, {"prune": True, "retry_errors": True}):
        done = ingest(store, photos, **options)
        print(done.files_seen, done.images_embedded, done.images_failed, done.faces_total)
try:
    new_store(photos / "i.facesim")
except Exception as error:
    print(type(error).__name__, str(photos) in str(error))
""",
        *(tmp_path / "i", photos, tmp_path),
    )
    assert said.splitlines() == [
        "Read-only file system",
        "3 2 1 2",
        "3 0 0 2",
        "3 0 1 2",
        "StorageError True",
    ]
    assert snapshot(photos) == before


def test_an_ingest_leaves_the_photos_as_they_are(store: FolderStore, photos: Path) -> None:
    """Not even a time changes, where the system lets a reader choose."""
    (photos / "deeper").mkdir()
    (photos / "deeper" / "broken.jpg").write_bytes(b"x")
    before = snapshot(photos)
    ingest(store, photos)
    ingest(store, photos, checksum=True, prune=True, retry_errors=True)
    assert snapshot(photos) == before


def snapshot(root: Path) -> list[tuple[str, int, int, int, int]]:
    """Return everything at and below a folder, with what writing to it would change."""
    paths = [root, *sorted(root.rglob("*"))]
    found = [(path, path.stat()) for path in paths]
    return [(str(path), s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in found]


# Clocks

#: 1901, before 1970, 1970, 2038, the year 2262 (the last in 64 bits of nanoseconds), 2446.
TIMES_S = (-2_147_483_648, -1, 0, 2_147_483_648, 9_223_372_036, 9_223_372_037, 15_032_385_535)


@pytest.mark.parametrize("time_s", TIMES_S)
def test_files_of_any_time(store: FolderStore, photos: Path, time_s: int) -> None:
    """Found on the way: a time beyond 2262 was no integer of SQLite's, and ended the run."""
    file = photos / "red.png"
    os.utime(file, ns=(0, 0))
    try:
        os.utime(file, (time_s, time_s))
    except (OSError, OverflowError):
        pytest.skip("the system cannot say that time")
    if time_s and file.stat().st_mtime_ns == 0:
        pytest.skip("this file system has no such time")
    summary = ingest(store, photos)
    assert (summary.images_embedded, summary.faces_total) == (2, 2)
    assert ingest(store, photos).files_unchanged == 2
    for other_s in (1_000_000_000, 500_000_000):  # older counts as changed just as newer does
        os.utime(file, (other_s, other_s))
        again = ingest(store, photos)
        assert (again.files_changed, again.files_duplicate, again.faces_total) == (1, 1, 2)


def test_stamps_fit_into_the_catalog_and_stay_different() -> None:
    def stamp(mtime_ns: int) -> FileStamp:
        fields = Path(__file__).stat()
        changed = os.stat_result(tuple(fields), {"st_mtime_ns": mtime_ns})
        return FileStamp.of(changed)

    assert stamp(5).mtime_ns == 5
    assert stamp(-5).mtime_ns == -5
    far = [stamp(2**63 + n) for n in (-1, 0, 1)] + [stamp(-(2**63) - 1), stamp(25 * 10**19)]
    assert all(-(2**63) <= one.mtime_ns < 2**63 for one in far)
    assert len({one.mtime_ns for one in far[:3]}) == 3


def test_a_system_clock_that_goes_back(
    store: FolderStore, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for year in (2031, 2001, 1971):
        monkeypatch.setattr(writing, "now", lambda year=year: f"{year}-01-01T00:00:00+00:00")
        (photos / f"{year}.png").write_bytes(fake_photo([(year % 200, 77, 77)]))
        summary = ingest(store, photos)
        assert summary.images_embedded == (3 if year == 2031 else 1)
        with store.catalog.read() as transaction:
            assert index_state.unfinished_runs(transaction) == 0
            ((_, when),) = index_state.roots(transaction)
        assert when.startswith(str(year))
    (photos / "1971.png").unlink()
    assert ingest(store, photos).files_removed == 1
    assert ingest(store, photos, prune=True).faces_total == 4


def test_an_interrupted_run_is_known_though_the_clock_goes_back(
    store: FolderStore, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @FunctionReader
    def broken(paths: Iterable[Path]) -> Iterator[PictureReading | Failure | ItemFailed]:
        yield from read_here([next(iter(paths))])
        raise KeyboardInterrupt

    ingest(store, photos)
    (photos / "blue.png").write_bytes(fake_photo([BLUE]))
    monkeypatch.setattr(writing, "now", lambda: "1999-01-01T00:00:00+00:00")
    with pytest.raises(KeyboardInterrupt):
        Ingest(store, resolve_targets([photos]), IngestOptions(), broken).run()
    with store.catalog.read() as transaction:
        assert index_state.unfinished_runs(transaction) == 1
    assert ingest(store, photos).images_embedded == 1


# Contents that change behind an unchanged size and time


def replace_unnoticed(file: Path, data: bytes) -> None:
    """Give a file another content and leave its size and time as they were."""
    before = file.stat()
    assert len(data) == before.st_size
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def same_size(*contents: bytes) -> list[bytes]:
    """Pad pictures to one size; what follows the end of a PNG does not count."""
    longest = max(map(len, contents))
    return [data.ljust(longest, b"\0") for data in contents]


def test_a_replaced_file_is_found_by_checksum_alone(store: FolderStore, photos: Path) -> None:
    first, second = same_size(fake_photo([RED]), fake_photo([BLUE, GREEN]))
    (photos / "red.png").write_bytes(first)
    ingest(store, photos)
    replace_unnoticed(photos / "red.png", second)
    unnoticed = ingest(store, photos)
    assert (unnoticed.files_unchanged, unnoticed.images_read) == (2, 0)
    assert paths_of_faces(store)[("red.png",)] == 1

    found = ingest(store, photos, checksum=True)
    assert (found.files_seen, found.files_unchanged, found.files_changed) == (2, 1, 1)
    assert (found.images_embedded, found.faces_added, found.faces_total) == (1, 2, 3)
    assert paths_of_faces(store) == {("red.png",): 2, ("green.png",): 1}
    assert found.warnings == [
        f"{photos / 'red.png'} has other content than before, though its size and time are the same"
    ]
    settled = ingest(store, photos, checksum=True)
    assert (settled.files_unchanged, settled.images_read, settled.warnings) == (2, 0, [])


def test_a_file_replaced_by_a_copy_or_by_damage(store: FolderStore, photos: Path) -> None:
    red, green = same_size(fake_photo([RED]), fake_photo([GREEN]))
    (photos / "red.png").write_bytes(red)
    (photos / "green.png").write_bytes(green)
    ingest(store, photos)
    replace_unnoticed(photos / "red.png", green)
    copied = ingest(store, photos, checksum=True)
    assert (copied.files_duplicate, copied.images_read, copied.faces_total) == (1, 0, 1)
    assert paths_of_faces(store) == {("green.png", "red.png"): 1}
    replace_unnoticed(photos / "red.png", bytes(len(red)))
    rotten = ingest(store, photos, checksum=True)
    assert (rotten.files_changed, rotten.images_failed, rotten.faces_total) == (1, 1, 1)
    # What failed is compared like the rest, and not tried again.
    assert ingest(store, photos, checksum=True).images_failed == 0
    assert ingest(store, photos, checksum=True, retry_errors=True).images_failed == 1


def test_a_file_that_cannot_be_compared_keeps_what_is_known_of_it(
    store: FolderStore, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        if path.name == "red.png":
            raise PictureError(FailureCode.UNREADABLE, "the file cannot be read: I/O error")
        return hash_file(path)

    ingest(store, photos)
    monkeypatch.setattr("facesim_index.pictures.files.hash_file", refuse)
    summary = ingest(store, photos, checksum=True)
    assert (summary.files_unchanged, summary.images_failed, summary.faces_total) == (2, 0, 2)
    assert summary.warnings == [
        f"cannot compare {photos / 'red.png'}: the file cannot be read: I/O error"
    ]


def test_a_file_that_was_away_is_back_after_its_comparison(
    store: FolderStore, photos: Path
) -> None:
    ingest(store, photos)
    (photos / "red.png").rename(photos.parent / "red.png")
    assert ingest(store, photos).files_removed == 1
    (photos.parent / "red.png").rename(photos / "red.png")
    assert ingest(store, photos, checksum=True).images_read == 0
    with store.catalog.read() as transaction:
        assert index_state.counts(transaction)["files_missing"] == 0


def test_a_dry_run_counts_what_would_be_compared(store: FolderStore, photos: Path) -> None:
    ingest(store, photos)
    targets = resolve_targets([photos])
    assert scan(store, targets, IngestOptions()).to_read == 0
    assert scan(store, targets, IngestOptions(checksum=True)).to_read == 2
    (photos / "new.png").write_bytes(fake_photo([BLUE]))
    assert scan(store, targets, IngestOptions(checksum=True)).to_read == 3


def test_checksum_on_the_command_line(tmp_path: Path, photos: Path) -> None:
    first, second = same_size(fake_photo([RED]), fake_photo([BLUE]))
    (photos / "red.png").write_bytes(first)
    words = ["--index", str(tmp_path / "i"), "ingest", str(photos), "--workers", "1"]
    runner, state = CliRunner(), State(engine=FAKE)
    assert runner.invoke(main, words, obj=state).exit_code == 0
    replace_unnoticed(photos / "red.png", second)
    result = runner.invoke(main, [*words, "--checksum"], obj=state)
    assert result.exit_code == 0
    assert "1 changed, 1 unchanged" in result.stdout
    assert "red.png has other content than before" in result.stderr
