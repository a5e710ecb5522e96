import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from facesim_index.errors import PictureError, PipelineError, UsageError
from facesim_index.ingest.run import Ingest, IngestSummary
from facesim_index.ingest.scanning import scan
from facesim_index.ingest.targets import IngestOptions, resolve_targets
from facesim_index.pictures.files import content_hash, hash_file
from facesim_index.records import Failure, FailureCode, PictureReading
from facesim_index.store.catalog import face_rows, index_state, picture_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import FailedFile
from facesim_index.utils.progress import ProgressUpdate
from facesim_index.workers.pool import ItemFailed
from tests.asking import verify
from tests.builders import FunctionReader, ingest, new_store, read_here
from tests.example_pictures import fake_photo

RED, GREEN, BLUE, GOLD = (200, 20, 20), (20, 200, 20), (20, 20, 200), (200, 180, 20)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four pictures, one of them a copy, one without a face, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    (folder / "a.png").write_bytes(fake_photo([RED, GREEN]))
    (folder / "b" / "blue.png").write_bytes(fake_photo([BLUE]))
    (folder / "b" / "copy of a.png").write_bytes(fake_photo([RED, GREEN]))
    (folder / "b" / "nobody.png").write_bytes(fake_photo([(0, 0, 0)]))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    with new_store(tmp_path / "i.facesim") as opened:
        yield opened


def faces(store: FolderStore) -> list[tuple[str, float, float]]:
    """Return what identifies each face: its first path and where it is."""
    with store.catalog.read() as transaction:
        found = face_rows.faces(transaction, face_rows.face_ids(transaction))
    return [(Path(face.path).name, face.box.x, face.box.y) for face in found]


def errors(store: FolderStore) -> list[FailedFile]:
    with store.catalog.read() as transaction:
        return list(picture_rows.failed_files(transaction))


def numbers(summary: IngestSummary) -> dict[str, int]:
    return {
        name.removeprefix("files_").removeprefix("images_"): value
        for name in IngestSummary.__slots__
        if isinstance(value := getattr(summary, name), int) and value and name != "faces_total"
    }


def test_everything_is_found_and_a_copy_is_read_once(store: FolderStore, photos: Path) -> None:
    summary = ingest(store, photos)
    assert numbers(summary) == {
        "seen": 4,
        "new": 4,
        "duplicate": 1,
        "embedded": 2,
        "without_face": 1,
        "faces_added": 3,
    }
    assert summary.faces_total == 3
    assert faces(store) == [("a.png", 32.0, 32.0), ("a.png", 96.0, 32.0), ("blue.png", 32.0, 32.0)]
    assert not verify(store).problems


def test_a_second_run_reads_nothing(store: FolderStore, photos: Path) -> None:
    ingest(store, photos)
    assert numbers(ingest(store, photos)) == {"seen": 4, "unchanged": 4}


def test_touching_moving_copying_and_changing(store: FolderStore, photos: Path) -> None:
    ingest(store, photos)
    os.utime(photos / "a.png", (1, 1))
    (photos / "b" / "blue.png").rename(photos / "moved.png")
    (photos / "b" / "nobody.png").write_bytes(fake_photo([GOLD]))
    summary = ingest(store, photos)
    assert numbers(summary) == {
        "seen": 4,
        "new": 1,  # moved.png
        "changed": 2,  # a.png was touched, nobody.png has a face now
        "unchanged": 1,
        "duplicate": 2,  # moved.png and a.png
        "removed": 1,
        "embedded": 1,
        "faces_added": 1,
    }
    assert ("moved.png", 32.0, 32.0) in faces(store)
    assert numbers(ingest(store, photos)) == {"seen": 4, "unchanged": 4, "removed": 1}


def test_prune_drops_what_is_gone_but_not_what_was_moved(store: FolderStore, photos: Path) -> None:
    ingest(store, photos)
    (photos / "b" / "blue.png").rename(photos / "moved.png")
    (photos / "a.png").unlink()
    shutil.rmtree(photos / "b")
    summary = ingest(store, photos, prune=True)
    assert numbers(summary) == {"seen": 1, "new": 1, "duplicate": 1, "removed": 4}
    assert faces(store) == [("moved.png", 32.0, 32.0)]
    assert summary.faces_total == 1
    assert not verify(store).problems


def test_an_emptied_folder_is_not_pruned_by_mistake(store: FolderStore, photos: Path) -> None:
    ingest(store, photos)
    shutil.rmtree(photos)
    photos.mkdir()
    summary = ingest(store, photos, prune=True)
    assert summary.files_removed == 0
    assert summary.faces_total == 3
    assert "is a disk missing" in summary.warnings[0]


def test_a_file_that_comes_back_is_not_missing_any_more(store: FolderStore, photos: Path) -> None:
    ingest(store, photos)
    away = photos.parent / "away.png"
    (photos / "a.png").rename(away)
    ingest(store, photos)
    assert faces(store)[0][0] == "copy of a.png"
    away.rename(photos / "a.png")
    ingest(store, photos)
    assert faces(store)[0][0] == "a.png"


def test_bad_files_become_rows_with_reasons_and_the_run_goes_on(
    store: FolderStore, photos: Path
) -> None:
    whole = (photos / "a.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.jpg").touch()
    (photos / "text.jpg").write_text("hello" * 100)
    summary = ingest(store, photos)
    assert (summary.images_failed, summary.images_embedded) == (3, 2)
    assert {Path(error.path).name: error.code for error in errors(store)} == {
        "cut.png": FailureCode.TRUNCATED,
        "empty.jpg": FailureCode.EMPTY,
        "text.jpg": FailureCode.UNSUPPORTED,
    }
    assert numbers(ingest(store, photos)) == {"seen": 7, "unchanged": 7}
    assert ingest(store, photos, retry_errors=True).images_failed == 3


def test_an_unreadable_file_is_tried_again_by_every_run(
    store: FolderStore, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        if path.name == "blue.png":
            raise PictureError(FailureCode.UNREADABLE, "permission denied")
        return hash_file(path)

    monkeypatch.setattr("facesim_index.pictures.files.hash_file", refuse)
    assert ingest(store, photos).images_failed == 1
    assert [error.code for error in errors(store)] == [FailureCode.UNREADABLE]
    monkeypatch.undo()
    assert ingest(store, photos).images_embedded == 1
    assert errors(store) == []


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("crash", FailureCode.DECODER_CRASH),
        ("timeout", FailureCode.TIMEOUT),
        ("out_of_memory", FailureCode.OUT_OF_MEMORY),
        ("exception", FailureCode.INTERNAL),
    ],
)
def test_what_happens_to_a_worker_costs_one_picture(
    store: FolderStore, photos: Path, reason: str, code: FailureCode
) -> None:
    @FunctionReader
    def read_all(paths: Iterable[Path]) -> Iterator[PictureReading | Failure | ItemFailed]:
        for path in paths:
            if path.name == "blue.png":
                yield ItemFailed(reason, "it happened")  # type: ignore[arg-type]
            else:
                yield from read_here([path])

    summary = Ingest(store, resolve_targets([photos]), IngestOptions(), read_all).run()
    assert (summary.images_failed, summary.images_embedded) == (1, 1)
    assert [(error.code, error.message) for error in errors(store)] == [(code, "it happened")]
    assert ingest(store, photos, retry_errors=True).images_embedded == 1


def test_hash_and_faces_always_belong_together(store: FolderStore, photos: Path) -> None:
    """A file that changes between hashing and reading is taken as it was read."""

    @FunctionReader
    def read_all(paths: Iterable[Path]) -> Iterator[PictureReading | Failure | ItemFailed]:
        waiting = list(paths)  # everything is hashed by now, the copy was put aside
        if photos / "a.png" in waiting:
            (photos / "a.png").write_bytes(fake_photo([GOLD]))
        yield from read_here(waiting)

    Ingest(store, resolve_targets([photos]), IngestOptions(), read_all).run()
    with store.catalog.read() as transaction:
        for face in face_rows.faces(transaction, face_rows.face_ids(transaction)):
            [known] = picture_rows.content_hashes(transaction, [face.image_id]).values()
            for path in face.paths:
                assert content_hash(Path(path).read_bytes()) == known
    assert sorted(name for name, _, _ in faces(store)) == [
        "a.png",
        "blue.png",
        "copy of a.png",
        "copy of a.png",
    ]
    assert numbers(ingest(store, photos)) == {"seen": 4, "unchanged": 4}


def test_stopping_keeps_what_is_finished_and_the_next_run_goes_on(
    store: FolderStore, photos: Path
) -> None:
    stop = False

    @FunctionReader
    def read_all(paths: Iterable[Path]) -> Iterator[PictureReading | Failure | ItemFailed]:
        nonlocal stop
        for path in paths:
            yield from read_here([path])
            stop = True

    summary = Ingest(
        store, resolve_targets([photos]), IngestOptions(), read_all, should_stop=lambda: stop
    ).run()
    assert summary.interrupted
    assert (summary.images_embedded, summary.faces_total) == (1, 2)
    with store.catalog.read() as transaction:
        assert index_state.unfinished_runs(transaction) == 1
    again = ingest(store, photos)
    assert (again.images_embedded, again.files_unchanged) == (1, 1)
    assert again.faces_total == 3
    with store.catalog.read() as transaction:
        assert index_state.unfinished_runs(transaction) == 0


def test_a_broken_pool_stops_the_run_but_loses_nothing(store: FolderStore, photos: Path) -> None:
    @FunctionReader
    def read_all(paths: Iterable[Path]) -> Iterator[PictureReading | Failure | ItemFailed]:
        yield from read_here([next(iter(paths))])
        raise PipelineError("no worker can start")

    with pytest.raises(PipelineError):
        Ingest(store, resolve_targets([photos]), IngestOptions(), read_all).run()
    assert [name for name, _, _ in faces(store)] == ["a.png", "a.png"]


def test_single_files_overlapping_folders_and_links(store: FolderStore, photos: Path) -> None:
    by_another_name = photos.parent / "link"
    by_another_name.symlink_to(photos)
    targets = resolve_targets([photos, photos / "b", by_another_name, photos / "a.png"])
    assert (targets.folders, targets.files) == ((photos.resolve(),), ())
    summary = ingest(store, photos / "a.png", photos / "notes.txt")
    assert (summary.files_seen, summary.images_embedded, summary.images_failed) == (2, 1, 1)
    assert ingest(store, photos).files_unchanged == 1
    assert ingest(store, by_another_name, photos / "b").files_seen == 4


def test_a_single_file_says_nothing_of_its_neighbours(store: FolderStore, photos: Path) -> None:
    ingest(store, photos)
    assert ingest(store, photos / "a.png", prune=True).files_removed == 0
    with pytest.raises(UsageError, match=r"gone\.png"):
        ingest(store, photos / "gone.png")
    with pytest.raises(UsageError, match="at least one"):
        ingest(store)


def test_excluded_files_are_left_out_but_not_dropped(store: FolderStore, photos: Path) -> None:
    ingest(store, photos)
    summary = ingest(store, photos, exclude=("b/",), prune=True)
    assert (summary.files_seen, summary.files_removed, summary.faces_total) == (1, 0, 3)


def test_an_unreadable_folder_is_told_and_nothing_of_it_is_dropped(
    store: FolderStore, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(store, photos)
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr("facesim_index.pictures.folder_walk.os.scandir", refuse)
    summary = ingest(store, photos, prune=True)
    assert (summary.files_seen, summary.files_removed, summary.faces_total) == (1, 0, 3)
    assert "cannot look into" in summary.warnings[0]


def test_a_scan_counts_and_writes_nothing(store: FolderStore, photos: Path) -> None:
    found = scan(None, resolve_targets([photos]), IngestOptions())
    assert (found.files_seen, found.files_new, found.to_read) == (4, 4, 4)
    ingest(store, photos)
    (photos / "a.png").unlink()
    with store.catalog.read() as transaction:
        before = index_state.state(transaction)
    found = scan(store, resolve_targets([photos]), IngestOptions())
    assert (found.files_unchanged, found.to_read, len(found.gone)) == (3, 0, 1)
    with store.catalog.read() as transaction:
        assert index_state.state(transaction) == before


def test_progress_ends_at_its_total(store: FolderStore, photos: Path) -> None:
    updates: list[ProgressUpdate] = []
    Ingest(
        store, resolve_targets([photos]), IngestOptions(), read_here, progress=updates.append
    ).run()
    done = [update.done for update in updates if update.stage == "reading pictures"]
    assert done == sorted(done)
    assert (updates[-1].done, updates[-1].total, updates[-1].faces) == (4, 4, 3)


def test_batches_do_not_change_the_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(40):
        colours = [(8 * (n % 20) + 8, 100, 16 * k + 8) for k in range(n % 3)]
        (folder / f"{n:02d}.png").write_bytes(fake_photo(colours))
    results = []
    for pictures in (1, 7, 1000):
        monkeypatch.setattr("facesim_index.ingest.run.COMMIT_PICTURES", pictures)
        with new_store(tmp_path / f"{pictures}.facesim") as store:
            ingest(store, folder)
            assert not verify(store).problems
            with store.view() as view:
                ids = face_rows.face_ids(view.transaction)
                results.append((faces(store), ids.tolist(), view.embeddings(ids).tobytes()))
    assert results[0] == results[1] == results[2]
