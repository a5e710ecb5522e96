import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facesim_index.engine.fake import FAKE_IDENTITY, fake_identity
from facesim_index.errors import (
    EngineMismatchError,
    IndexDamagedError,
    IndexLockedError,
    IndexNotFoundError,
)
from facesim_index.records import EngineIdentity, FaceId, Failure, FailureCode, ImageStatus
from facesim_index.store.catalog import face_rows, index_state, picture_rows
from facesim_index.store.folder.compaction import MERGE_FAN
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import Batch
from tests.asking import verify
from tests.builders import commit_pictures, failed, link, new_store, picture, unit_vectors

VECTORS = unit_vectors(200, 11)


def face_ids(store: FolderStore) -> list[int]:
    with store.catalog.read() as transaction:
        return [int(face_id) for face_id in face_rows.face_ids(transaction)]


def counts(store: FolderStore) -> dict[str, int]:
    with store.catalog.read() as transaction:
        return index_state.counts(transaction)


def segment_files(store: FolderStore) -> list[str]:
    return sorted(path.name for path in (store.folder / "segments").iterdir())


def named_segments(store: FolderStore) -> list[str]:
    with store.catalog.read() as transaction:
        return sorted(segment.name for segment in index_state.segment_infos(transaction))


def test_what_was_committed_is_found_by_another_handle(tmp_path: Path) -> None:
    with new_store(tmp_path / "i.facesim") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", VECTORS[:2]), "/p/b.jpg": picture("b")})
        with FolderStore(tmp_path / "i.facesim") as reader, reader.view() as view:
            [found] = view.search(VECTORS[1:2], 5)
            assert found.face_ids.tolist() == [2, 1]
            assert found.cosines[0] == pytest.approx(1.0, abs=1e-3)
            [record] = face_rows.faces(view.transaction, np.array([2]))
            assert (record.path, record.ordinal) == ("/p/a.jpg", 1)
            assert record.box.x == 50.0
            np.testing.assert_array_equal(
                view.embeddings(np.array([2]))[0], VECTORS[1].astype("f2")
            )
        assert counts(store)["images_without_face"] == 1


def test_committing_a_batch_twice_changes_nothing(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        for _ in range(2):
            commit_pictures(store, {"/p/a.jpg": picture("a", VECTORS[:3])})
        assert face_ids(store) == [1, 2, 3]
        assert counts(store)["files"] == 1
        assert named_segments(store) == segment_files(store) == ["000001.faiss"]


def test_copies_share_one_image(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        one = picture("a", VECTORS[:1])
        store.commit(Batch([one, one], [link("/p/a.jpg", one), link("/q/b.jpg", one)]))
        with store.view() as view:
            [record] = face_rows.faces(view.transaction, np.array([1]))
        assert record.paths == ("/p/a.jpg", "/q/b.jpg")
        assert counts(store)["images"] == 1


def test_a_file_with_new_content_lets_its_old_faces_go(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("old", VECTORS[:2])})
        new = picture("new", VECTORS[2:3])
        assert store.commit(Batch([new], [link("/p/a.jpg", new)])) == 1
        assert face_ids(store) == [3]
        with store.view() as view:
            [found] = view.search(VECTORS[:1], 10)
        assert found.face_ids.tolist() == [3]
        assert counts(store)["faces_removed_not_compacted"] == 2


def test_a_failed_picture_is_replaced_when_it_can_be_read(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        bad = failed("a", Failure(FailureCode.TIMEOUT, "took too long"))
        commit_pictures(store, {"/p/a.jpg": bad})
        with store.catalog.read() as transaction:
            [known] = picture_rows.failed_files(transaction)
        assert (known.path, known.code) == ("/p/a.jpg", FailureCode.TIMEOUT)
        commit_pictures(store, {"/p/a.jpg": picture("a", VECTORS[:1])})
        with store.catalog.read() as transaction:
            assert not list(picture_rows.failed_files(transaction))
            known_image = picture_rows.image_by_hash(transaction, bad.content_hash)
        assert known_image is not None
        assert known_image.status is ImageStatus.OK
        assert face_ids(store) == [1]


def test_face_ids_are_never_reused(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", VECTORS[:2])})
        store.remove([], face_ids=[FaceId(1), FaceId(2)])
        store.compact()
        assert segment_files(store) == []
    with FolderStore(tmp_path / "i", writable=True) as store:
        commit_pictures(store, {"/p/b.jpg": picture("b", VECTORS[:1])})
        assert face_ids(store) == [3]


@pytest.mark.parametrize("compacted", [False, True])
def test_search_equals_brute_force_with_tombstones(tmp_path: Path, compacted: bool) -> None:
    with new_store(tmp_path / "i") as store:
        for start in range(0, 200, 20):
            commit_pictures(
                store,
                {
                    f"/p/{n}.jpg": picture(str(n), VECTORS[n : n + 1])
                    for n in range(start, start + 20)
                },
            )
        removed = [FaceId(n) for n in range(1, 201, 3)]
        store.remove([], face_ids=removed)
        if compacted:
            store.compact()
            assert counts(store)["faces_removed_not_compacted"] == 0
        living = np.setdiff1d(np.arange(1, 201), removed)
        stored = VECTORS[living - 1].astype(np.float16).astype(np.float64)
        queries = unit_vectors(5, 12)
        with store.view() as view:
            found = view.search(queries, 25)
        for query, neighbours in zip(queries, found, strict=True):
            cosines = stored @ query.astype(np.float64)
            order = np.lexsort((living, -cosines))[:25]
            assert neighbours.face_ids.tolist() == living[order].tolist()
            np.testing.assert_allclose(neighbours.cosines, cosines[order], atol=1e-12)
        assert not verify(store).problems


def test_segments_stay_few_while_an_index_grows(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        for n in range(MERGE_FAN * MERGE_FAN + 3):
            commit_pictures(store, {f"/p/{n}.jpg": picture(str(n), VECTORS[n : n + 1])})
            assert named_segments(store) == segment_files(store)
        assert len(segment_files(store)) < 2 * MERGE_FAN
        assert face_ids(store) == list(range(1, MERGE_FAN * MERGE_FAN + 4))
        assert not verify(store).problems
        store.compact()
        assert len(segment_files(store)) == 1
        assert not verify(store).problems


def test_a_reader_is_not_disturbed_by_merging_and_compacting(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store, FolderStore(tmp_path / "i") as reader:
        for n in range(5):
            commit_pictures(store, {f"/p/{n}.jpg": picture(str(n), VECTORS[n : n + 1])})
        with reader.view() as view:
            store.remove([], face_ids=[FaceId(1)])
            store.compact()
            [found] = view.search(VECTORS[:1], 10)
            assert sorted(found.face_ids.tolist()) == [1, 2, 3, 4, 5]
        with reader.view() as view:
            [found] = view.search(VECTORS[:1], 10)
            assert sorted(found.face_ids.tolist()) == [2, 3, 4, 5]


def test_leftovers_of_a_crash_are_removed_by_the_next_writer_only(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", VECTORS[:1])})
    orphan = tmp_path / "i" / "segments" / "000002.faiss"
    half = tmp_path / "i" / "segments" / ".000003.faiss.x8"
    for path in (orphan, half):
        path.write_bytes(b"half a segment")
    with FolderStore(tmp_path / "i"):
        assert orphan.exists()
    with FolderStore(tmp_path / "i", writable=True) as store:
        assert segment_files(store) == ["000001.faiss"]
        commit_pictures(store, {"/p/b.jpg": picture("b", VECTORS[1:2])})
        assert face_ids(store) == [1, 2]


def test_a_failing_commit_changes_nothing(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", VECTORS[:1])})
        good, unknown = picture("b", VECTORS[1:2]), picture("never committed")
        before = counts(store)
        with pytest.raises(Exception, match="No row was found"):
            store.commit(Batch([good], [link("/p/b.jpg", good), link("/p/c.jpg", unknown)]))
        assert counts(store) == before
        assert named_segments(store) == ["000001.faiss"]
        with pytest.raises(ValueError, match="unit norm"):
            commit_pictures(store, {"/p/d.jpg": picture("d", VECTORS[:1] * 2)})
        commit_pictures(store, {"/p/b.jpg": good})
        assert face_ids(store) == [1, 2]
        assert not verify(store).problems


def test_a_second_writer_is_refused_at_once_and_told_the_holder(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        code = (
            "import sys\n"
            "from pathlib import Path\n"
            "from facesim_index.errors import IndexLockedError\n"
            "from facesim_index.store.folder.store import FolderStore\n"
            "FolderStore(Path(sys.argv[1])).close()\n"
            "try:\n"
            "    FolderStore(Path(sys.argv[1]), writable=True)\n"
            "except IndexLockedError as error:\n"
            "    print(error)\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", code, str(store.folder)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert f"process {os.getpid()} on " in run.stdout
        with pytest.raises(IndexLockedError, match=f"process {os.getpid()}"):
            FolderStore(store.folder, writable=True)
    with FolderStore(tmp_path / "i", writable=True):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    new_store(tmp_path / "i").close()
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from facesim_index.store.folder.store import FolderStore\n"
        "store = FolderStore(Path(sys.argv[1]), writable=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "i")], timeout=60, check=False)
    assert run.returncode == -9
    assert json.loads((tmp_path / "i" / "LOCK.holder").read_text())["pid"] != os.getpid()
    with FolderStore(tmp_path / "i", writable=True) as store:
        assert face_ids(store) == []


def test_another_engine_is_refused_by_name(tmp_path: Path) -> None:
    new_store(tmp_path / "i").close()
    other = EngineIdentity("other", "1" * 64, "2" * 64, 1, 512)
    with pytest.raises(EngineMismatchError, match=r"was built with fake .* not with other"):
        FolderStore.open_or_create(tmp_path / "i", other, "other")
    renamed = EngineIdentity(
        "renamed", FAKE_IDENTITY.detector_sha256, FAKE_IDENTITY.recogniser_sha256, 1, 512
    )
    FolderStore.open_or_create(tmp_path / "i", renamed, "renamed").close()


def test_an_index_remembers_what_is_embedded_and_names_the_option(tmp_path: Path) -> None:
    flip = fake_identity("flip")
    FolderStore.open_or_create(tmp_path / "flip", flip, "fake").close()
    with FolderStore(tmp_path / "flip") as store:
        assert store.identity == flip
    with pytest.raises(
        EngineMismatchError,
        match=r"with fake .* augment flip\), not with fake .*1\); use --augment flip, or ingest",
    ):
        new_store(tmp_path / "flip")
    coarse = fake_identity(numerics="bf16")
    with pytest.raises(EngineMismatchError, match="use --augment flip --numerics fp32, or ingest"):
        FolderStore.open_or_create(tmp_path / "flip", coarse, "fake")
    FolderStore.open_or_create(tmp_path / "coarse", coarse, "fake").close()
    with FolderStore(tmp_path / "coarse") as store:
        assert store.identity == coarse
    with pytest.raises(EngineMismatchError, match=r"numerics bf16\), not .*; use --numerics bf16"):
        new_store(tmp_path / "coarse")
    new_store(tmp_path / "plain").close()
    with pytest.raises(EngineMismatchError, match="use --augment none, or ingest"):
        FolderStore.open_or_create(tmp_path / "plain", flip, "fake")
    other = EngineIdentity("other", "1" * 64, "2" * 64, 1, 512)
    with pytest.raises(EngineMismatchError, match="use --model fake --augment flip, or"):
        FolderStore.open_or_create(tmp_path / "flip", other, "other")


def test_what_is_no_index_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError, match="is not a facesim index"):
        FolderStore(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    holidays = tmp_path / "holidays"
    holidays.mkdir()
    (holidays / "beach.jpg").touch()
    with pytest.raises(IndexNotFoundError, match="exists and is not a facesim index"):
        new_store(holidays)
    assert [path.name for path in holidays.iterdir()] == ["beach.jpg"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(IndexNotFoundError):
        new_store(tmp_path / "file")


def test_a_missing_segment_is_damage_for_readers(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", VECTORS[:1])})
    (tmp_path / "i" / "segments" / "000001.faiss").unlink()
    with (
        FolderStore(tmp_path / "i") as store,
        pytest.raises(IndexDamagedError, match=r"000001\.faiss is missing"),
        store.view(),
    ):
        pass


def test_a_catalog_alone_can_be_read_from_a_read_only_medium(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", VECTORS[:1])})
    monkeypatch.setattr("facesim_index.store.sqlite.connection.os.access", lambda *_: False)
    before = sorted(path.name for path in (tmp_path / "i").iterdir())
    with FolderStore(tmp_path / "i") as store, store.view() as view:
        assert len(view.search(VECTORS[:1], 1)) == 1
        assert sorted(path.name for path in (tmp_path / "i").iterdir()) == before
