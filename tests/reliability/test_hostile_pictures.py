"""Whatever the bytes, a run completes, each file has its row, and the good ones are indexed."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.engine.base import FaceEngine
from facesim_index.engine.loading import EngineSettings
from facesim_index.errors import PictureError
from facesim_index.ingest.run import Ingest
from facesim_index.ingest.targets import IngestOptions, resolve_targets
from facesim_index.models.resolution import resolve
from facesim_index.pictures.decoding import open_picture
from facesim_index.pictures.files import MAX_FILE_BYTES, hash_file
from facesim_index.pictures.formats import is_cut_off
from facesim_index.records import Failure, FailureCode, PictureReading
from facesim_index.store.catalog import picture_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.workers.pool import ItemFailed
from tests.builders import FAKE, FunctionReader, ingest, new_store, read_here
from tests.example_pictures import fake_photo
from tests.reliability import campaign, hostile_files
from tests.reliability.campaign import Outcomes, ingest_all, make_mortal_reader
from tests.reliability.mutations import mutated, seed_pictures, with_right_checksums

RED = (200, 20, 20)
PICTURES = seed_pictures()

needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    with new_store(tmp_path / "i.facesim") as opened:
        yield opened


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "sound.png").write_bytes(fake_photo([RED]))
    return folder.resolve()


def outcomes_of(inputs: dict[str, bytes], **limits: float) -> dict[str, str]:
    """Ingest pictures through worker processes and return what came of each, by name."""
    seen: dict[str, str] = {}

    class Named(Outcomes):
        def add(self, name: str, outcome: str, message: str) -> None:
            assert bool(message) == (outcome not in ("ok", "no_face"))
            assert message.isprintable()
            seen[name] = outcome

    ingest_all(inputs, Named(), **limits)  # type: ignore[arg-type]
    return seen


# A fixed sample of the campaign


def test_damaged_pictures_have_a_face_none_or_a_reason() -> None:
    """The first inputs of ``python -m tests.reliability.fuzz --seed 1``."""
    outcomes = campaign.run(range(750), lambda number: mutated(1, number, PICTURES))
    assert outcomes.alarming == []
    assert sum(outcomes.total.values()) == 750
    assert sorted(outcomes.by_format) == sorted({Path(name).suffix[1:] for name in PICTURES})
    # The damage is neither so slight nor so gross that it would show nothing.
    assert {"ok", "no_face", "corrupt", "truncated", "unsupported", "too_large"} <= set(
        outcomes.total
    )


def test_every_seed_picture_is_sound() -> None:
    outcomes = outcomes_of({f"{n}-{name}": data for n, (name, data) in enumerate(PICTURES.items())})
    assert set(outcomes.values()) <= {"ok", "no_face"}


def test_an_input_can_be_made_again_from_its_numbers() -> None:
    script = (
        "import hashlib; from tests.reliability.mutations import mutated, seed_pictures\n"
        "p = seed_pictures()\n"
        "print(hashlib.sha256(b''.join(mutated(7, n, p)[1] for n in range(50))).hexdigest())"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout
        for _ in range(2)
    )
    assert first == second != b""
    assert mutated(7, 1, PICTURES) != mutated(8, 1, PICTURES)


def test_what_kills_its_worker_costs_only_itself_and_alarms() -> None:
    outcomes = Outcomes()
    inputs = {f"deadly{n}.jpg": PICTURES["plain.jpg"] + b"%d" % n for n in range(4)}
    inputs["fine.jpg"] = PICTURES["plain.jpg"]
    ingest_all(inputs, outcomes, make_reader=make_mortal_reader)
    assert dict(outcomes.total) == {"decoder_crash": 4, "no_face": 1}
    assert sorted(name for name, _, _ in outcomes.alarming) == sorted(set(inputs) - {"fine.jpg"})
    assert {code for _, code, _ in outcomes.alarming} == {FailureCode.DECODER_CRASH}
    assert {message for _, _, message in outcomes.alarming} == {"the worker exited with code 70"}


# Made to do harm


def test_bombs_are_refused_by_their_headers() -> None:
    bombs = hostile_files.bombs()
    assert outcomes_of(bombs, memory_bytes=64 << 20) == dict.fromkeys(bombs, "too_large")


def test_hidden_bombs_do_not_go_off() -> None:
    hidden = hostile_files.hidden_bombs()
    assert outcomes_of(hidden, memory_bytes=256 << 20) == dict.fromkeys(hidden, "corrupt")


def test_odd_pictures_are_read() -> None:
    odd = hostile_files.oddities()
    assert len(odd) > 30
    outcomes = outcomes_of(odd)
    assert {name for name, outcome in outcomes.items() if outcome not in ("ok", "no_face")} == set()


def test_other_things_named_like_pictures_are_unsupported() -> None:
    impostors = hostile_files.impostors()
    assert outcomes_of(impostors) == dict.fromkeys(impostors, "unsupported")


def test_what_needs_too_much_memory_costs_only_itself() -> None:
    greedy = hostile_files.black_png(17_000, 17_000)
    inputs = {"greedy.png": greedy, "fine.jpg": PICTURES["plain.jpg"]}
    assert outcomes_of(inputs, memory_bytes=256 << 20) == {
        "greedy.png": "out_of_memory",
        "fine.jpg": "no_face",
    }


def test_what_takes_too_long_costs_only_itself() -> None:
    slow = {"a-slow.jpg": hostile_files.slow_jpeg(4000), "fine.jpg": PICTURES["plain.jpg"]}
    assert outcomes_of(slow, timeout_s=2.0, workers=1) == {
        "a-slow.jpg": "timeout",
        "fine.jpg": "no_face",
    }


@pytest.fixture(scope="module")
def engine() -> FaceEngine:
    return EngineSettings(resolve(None), provider="cpu").load()


@pytest.mark.parametrize("size", [(1, 1), (60_000, 20), (20, 60_000), (1, 60_000), (2, 2)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_networks_take_pictures_of_any_shape(
    engine: FaceEngine, size: tuple[int, int], kind: str
) -> None:
    data = hostile_files.encoded(Image.new("RGB", size, (90, 80, 70)), kind)
    assert engine.embed_pictures([open_picture(data)]) == [()]


def test_offsets_beyond_any_number_are_a_cut_off_file() -> None:
    """Found by the campaign: offsets of 64 bits made an OverflowError, hence ``internal``."""
    data = bytearray(PICTURES["big.tif"])
    data[8:16] = b"\xff" * 8
    assert is_cut_off("TIFF", bytes(data))
    assert outcomes_of({"far.tif": bytes(data)}) == {"far.tif": "truncated"}


def test_checksums_are_mended_so_that_decoders_look_inside() -> None:
    data = bytearray(PICTURES["plain.png"])
    data[18] ^= 1  # a width of other pixels than the data has
    with pytest.raises(PictureError, match="damaged"):
        open_picture(bytes(data))
    assert with_right_checksums(PICTURES["plain.png"]) == PICTURES["plain.png"]
    assert with_right_checksums(bytes(data)) != bytes(data)


# Not pictures at all


@pytest.fixture
def opened_paths() -> Iterator[list[str]]:
    """What this process opens while the test runs."""
    _opened.append([])
    yield _opened[-1]
    _opened.pop()


_opened: list[list[str]] = []


def _note_opens(event: str, arguments: tuple[object, ...]) -> None:
    if _opened and event == "open" and isinstance(arguments[0], str | bytes):
        _opened[-1].append(os.fsdecode(arguments[0]))


sys.addaudithook(_note_opens)


@needs_posix
def test_fifos_sockets_and_devices_are_never_opened(
    store: FolderStore, photos: Path, opened_paths: list[str]
) -> None:
    os.mkfifo(photos / "fifo.jpg")
    (photos / "endless.jpg").symlink_to("/dev/zero")
    (photos / "terminal.jpg").symlink_to("/dev/tty")
    with contextlib.suppress(PermissionError):
        os.mknod(photos / "device.jpg", 0o600 | 0o020000, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(photos / "socket.jpg"))
        for follow in (False, True):
            summary = ingest(store, photos, follow_symlinks=follow)
            assert summary.files_seen == 1
    assert summary.files_unchanged == 1
    assert str(photos / "sound.png") in opened_paths
    assert [p for p in opened_paths if p.endswith(".jpg") or p.startswith("/dev")] == []


@needs_posix
@pytest.mark.parametrize("words", [("ingest",), ("query",)])
def test_a_fifo_that_is_named_is_refused_without_waiting(
    photos: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    runner, state = CliRunner(), State(engine=FAKE)
    index = ["--index", str(tmp_path / "i")]
    assert runner.invoke(main, [*index, "ingest", str(photos)], obj=state).exit_code == 0
    os.mkfifo(photos / "fifo.jpg")
    result = runner.invoke(main, [*index, *words, str(photos / "fifo.jpg")], obj=state)
    assert result.exit_code in (1, 2)
    assert "not a regular file" in result.stderr


def test_a_file_that_grows_all_the_time_is_given_up(store: FolderStore, photos: Path) -> None:
    (photos / "log.png").write_bytes(bytes(30_000_000))
    stop = threading.Event()

    def grow() -> None:
        with (photos / "log.png").open("ab", buffering=0) as handle:
            while not stop.is_set():
                handle.write(b"x")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        summary = ingest(store, photos)
    finally:
        stop.set()
        writer.join()
    assert (summary.images_embedded, summary.images_failed) == (1, 1)
    assert codes(store) == {"log.png": FailureCode.CHANGING}
    ingest(store, photos)
    assert codes(store) == {"log.png": FailureCode.UNSUPPORTED}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("shrinks", FailureCode.TRUNCATED),
        ("empties", FailureCode.EMPTY),
        ("vanishes", FailureCode.UNREADABLE),
        ("becomes a folder", FailureCode.UNREADABLE),
        ("becomes a fifo", FailureCode.UNREADABLE),
    ],
)
def test_a_file_that_changes_before_it_is_read(
    store: FolderStore, photos: Path, change: str, code: FailureCode
) -> None:
    file = photos / "a.png"
    file.write_bytes(fake_photo([(20, 200, 20)]))

    @FunctionReader
    def read_all(paths: Iterable[Path]) -> Iterator[PictureReading | Failure | ItemFailed]:
        waiting = list(paths)
        if change == "shrinks":
            os.truncate(file, 100)
        elif change == "empties":
            os.truncate(file, 0)
        else:
            file.unlink()
            if change == "becomes a folder":
                file.mkdir()
            elif change == "becomes a fifo":
                if not hasattr(os, "mkfifo"):
                    pytest.skip("needs FIFOs")
                os.mkfifo(file)
        yield from read_here(waiting)

    summary = Ingest(store, resolve_targets([photos]), IngestOptions(), read_all).run()
    assert (summary.images_embedded, summary.images_failed) == (1, 1)
    assert codes(store) == {"a.png": code}


def test_a_sparse_file_of_a_terabyte_is_not_read(store: FolderStore, photos: Path) -> None:
    with (photos / "sparse.jpg").open("wb") as handle:
        try:
            handle.truncate(1 << 40)
        except OSError:
            pytest.skip("this file system has no files of that size")
    started = time.process_time()
    summary = ingest(store, photos)
    assert time.process_time() - started < 60  # it would take many minutes to hash
    assert (summary.images_embedded, summary.images_failed) == (1, 1)
    assert codes(store) == {"sparse.jpg": FailureCode.TOO_LARGE}
    assert ingest(store, photos).files_unchanged == 2


def test_a_file_that_outgrows_the_limit_while_it_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(bytes(3 << 20))
    monkeypatch.setattr("facesim_index.pictures.files._check_size", lambda size: sizes.append(size))
    monkeypatch.setattr("facesim_index.pictures.files.MAX_FILE_BYTES", 1 << 20)
    sizes: list[int] = []
    hash_file(file)
    assert sizes == [3 << 20, 2 << 20, 3 << 20]
    assert MAX_FILE_BYTES > 1 << 20


def codes(store: FolderStore) -> dict[str, FailureCode]:
    with store.catalog.read() as transaction:
        return {Path(f.path).name: f.code for f in picture_rows.failed_files(transaction)}
