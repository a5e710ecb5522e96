"""A picture that somebody asks about costs no more than one of an ingest may, whatever is in it."""

import gc
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from facesim_index import FaceIndex, compare
from facesim_index.display.file_crops import FileCrops
from facesim_index.engine import local_reader
from facesim_index.engine.local_reader import OnePictureReader
from facesim_index.errors import PictureError
from facesim_index.pictures.formats import is_plain
from facesim_index.records import FailureCode
from facesim_index.store.folder.store import FolderStore
from tests.builders import FAKE
from tests.coloured_people import CURVE, GREEN, RED, facesim, put_curve
from tests.example_pictures import fake_photo
from tests.reliability.hostile_files import encoded, slow_jpeg
from tests.workers.pools import wait_until_gone


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "red.png").write_bytes(fake_photo([RED]))
    (folder / "couple.png").write_bytes(fake_photo([RED, GREEN]))
    return folder


@pytest.fixture
def index(photos: Path) -> Path:
    folder = photos.parent / "i.facesim"
    assert facesim(folder, "ingest", photos, "--workers", "1").exit_code == 0
    with FolderStore(folder, writable=True) as store:
        put_curve(store)
    return folder


def no_pool(*_: object) -> None:
    raise AssertionError("a process was started")


QUESTIONS = [
    ("query", "COSTLY"),
    ("compare", "PHOTO", "COSTLY"),
    ("compare", "COSTLY", "PHOTO"),
    ("forget", "--match", "COSTLY", "--min-degree", "0.9", "--dry-run"),
]


@pytest.mark.parametrize("words", QUESTIONS, ids=" ".join)
def test_a_picture_that_takes_too_long_is_given_up(
    index: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(local_reader, "PICTURE_TIMEOUT_S", 2.0)
    costly = index.parent / "costly.jpg"
    costly.write_bytes(slow_jpeg(4000))
    stands_for = {"COSTLY": costly, "PHOTO": photos / "red.png"}
    began = time.monotonic()
    result = facesim(index, *(stands_for.get(word, word) for word in words))
    assert time.monotonic() - began < 60.0
    assert result.exit_code == 1
    told = "Error: the picture was given up: no result within 2 s"
    assert told.replace("the picture", f"{costly}: the picture") in result.stderr


def test_a_picture_that_takes_too_much_memory_is_given_up(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_reader, "WORKER_MEMORY_BYTES", 256 << 20)
    costly = index.parent / "costly.gif"
    costly.write_bytes(encoded(Image.new("P", (17_000, 17_000)), "GIF"))
    result = facesim(index, "query", costly)
    assert result.exit_code == 1
    assert f"Error: {costly}: " in result.stderr
    assert "memory" in result.stderr


def test_a_picture_that_ends_its_decoder_ends_nothing_else(
    index: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_reader, "make_reader", make_dying_reader)
    moving = index.parent / "moving.gif"
    moving.write_bytes(encoded(Image.new("P", (64, 64)), "GIF"))
    with FaceIndex.open(index, engine=FAKE) as opened:
        with pytest.raises(PictureError, match=r"moving\.gif: the picture was given up") as caught:
            opened.query(moving)
        assert caught.value.code == FailureCode.DECODER_CRASH
        assert opened.query(photos / "red.png").faces


def make_dying_reader(_: object) -> Callable[[Path], None]:
    def die(_: Path) -> None:
        import os

        os.abort()

    return die


def test_a_usual_picture_is_read_without_any_other_process(
    index: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_reader, "WorkerPool", no_pool)
    with FaceIndex.open(index, engine=FAKE) as opened:
        assert len(opened.query(photos / "couple.png").faces) == 2
    assert compare(photos / "red.png", photos / "couple.png", engine=FAKE).n_faces_b == 2


def test_both_ways_give_the_same(index: Path, photos: Path) -> None:
    with Image.open(photos / "couple.png") as picture:
        files = {kind: encoded(picture, kind) for kind in ("PNG", "BMP", "TIFF")}
    assert [is_plain(data) for data in files.values()] == [True, False, False]
    found = []
    with FaceIndex.open(index, engine=FAKE) as opened:
        for kind, data in files.items():
            path = index.parent / f"couple.{kind}"
            path.write_bytes(data)
            found.append(
                [
                    (face.box, [(match.face_id, match.cosine) for match in face.matches])
                    for face in opened.query(path).faces
                ]
            )
    assert len(found[0]) == 2
    assert found[0] == found[1] == found[2]
    first = compare(photos / "red.png", index.parent / "couple.PNG", engine=FAKE, calibration=CURVE)
    again = compare(photos / "red.png", index.parent / "couple.BMP", engine=FAKE, calibration=CURVE)
    assert (first.cosine, first.degree) == (again.cosine, again.degree)


def test_the_process_stays_for_the_next_picture_until_it_is_let_go(
    index: Path, photos: Path
) -> None:
    other = index.parent / "red.bmp"
    with Image.open(photos / "red.png") as picture:
        other.write_bytes(encoded(picture, "BMP"))
    reader = OnePictureReader(FAKE)
    pids = {read_aside(reader, other) for _ in range(3)}
    assert len(pids) == 1
    reader.close()
    wait_until_gone(pids.pop())
    again = read_aside(reader, other)
    del reader
    gc.collect()
    wait_until_gone(again)


def read_aside(reader: OnePictureReader, path: Path) -> int:
    """Read a picture that is not plain, and return the process that read it."""
    assert len(reader.read(path).faces) == 1
    assert reader._pool is not None
    [pid] = reader._pool.worker_pids
    return pid


def test_an_index_that_is_closed_lets_it_go(index: Path, photos: Path) -> None:
    other = index.parent / "red.bmp"
    with Image.open(photos / "red.png") as picture:
        other.write_bytes(encoded(picture, "BMP"))
    with FaceIndex.open(index, engine=FAKE) as opened:
        opened.query(other)
        pool = opened._pictures._pool
        assert pool is not None
        [pid] = pool.worker_pids
    wait_until_gone(pid)


def test_a_file_whose_bytes_do_not_come_is_given_up(
    index: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_: object) -> None:
        time.sleep(3600)

    monkeypatch.setattr(local_reader, "PICTURE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(local_reader, "read_small", hang)
    result = facesim(index, "query", photos / "red.png")
    assert result.exit_code == 1
    assert "red.png: its bytes could not be read: no result within 0.5 s" in result.stderr


def test_a_sheet_spends_no_more_on_a_picture_than_an_ingest(
    index: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of an index may have changed since they were ingested."""
    monkeypatch.setattr(local_reader, "PICTURE_TIMEOUT_S", 2.0)
    (photos / "couple.png").write_bytes(slow_jpeg(4000))
    sheet = index.parent / "sheet.png"
    began = time.monotonic()
    assert facesim(index, "query", photos / "red.png", "--sheet", sheet).exit_code == 0
    assert time.monotonic() - began < 60.0  # twice the limit would be as bad for each further face
    assert sheet.exists()


def test_a_crop_is_the_same_from_either_process(photos: Path) -> None:
    with Image.open(photos / "couple.png") as picture:
        (photos / "couple.bmp").write_bytes(encoded(picture, "BMP"))
    reading = OnePictureReader(FAKE).read(photos / "couple.png")
    crops = FileCrops(64)
    for face in reading.faces:
        here = crops(str(photos / "couple.png"), face.landmarks)
        assert here is not None
        aside = crops(str(photos / "couple.bmp"), face.landmarks)
        assert aside is not None
        assert (here == aside).all()
    assert crops._pool is not None
    [pid] = crops._pool.worker_pids
    del crops
    gc.collect()
    wait_until_gone(pid)
