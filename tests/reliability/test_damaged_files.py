"""Damaged segments, catalogs and logs: what is sound is answered from and goes on."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.errors import DamagedSegmentError, IndexDamagedError
from facesim_index.index import FaceIndex
from facesim_index.store.catalog import face_rows
from facesim_index.store.folder.mending import mend_log
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.segments.row_checksums import row_sums
from facesim_index.store.sqlite.wal import check_log
from facesim_index.upkeep.repairs import repair
from tests.asking import verify
from tests.builders import FAKE, commit_pictures, new_store, picture, read_here, unit_vectors
from tests.reliability.children import fork
from tests.reliability.spoiling import flip, spoil


def test_a_query_does_not_answer_from_changed_embeddings(store: FolderStore) -> None:
    """Once, a flipped byte of an embedding was searched like any other."""
    flip(store.folder / "segments" / "000002.faiss")
    with FolderStore(store.folder) as reader:
        with reader.view() as view, pytest.raises(DamagedSegmentError, match=r"000002\.faiss"):
            view.search(unit_vectors(1, 1), 3)
        with reader.view() as view, pytest.raises(DamagedSegmentError, match=r"000002\.faiss"):
            view.embeddings(np.array([5]))


def test_a_query_leaves_out_a_damaged_segment_and_says_so(store: FolderStore, photos: Path) -> None:
    flip(store.folder / "segments" / "000002.faiss")
    for output in ("json", "table"):
        result = CliRunner().invoke(
            main,
            [
                *("--quiet", "--index", str(store.folder)),
                *("query", str(photos / "0.png"), "--format", output),
            ],
            obj=State(engine=FAKE),
        )
        assert result.exit_code == 0
        warning = "Warning: the index is damaged: 4 faces were left out (000002.faiss)"
        assert warning in result.stderr
    with FaceIndex.open(store.folder, engine=FAKE) as index:
        answer = index.query(photos / "0.png", top=50)
    assert (answer.n_left_out, answer.n_faces) == (4, 8)
    assert sorted(match.face_id for match in answer.faces[0].matches) == [1, 2, 3, 4, 9, 10, 11, 12]
    shown = CliRunner().invoke(
        main,
        ["--index", str(store.folder), "query", str(photos / "0.png"), "--format", "json"],
        obj=State(engine=FAKE),
    )
    document = json.loads(shown.stdout)
    assert document["faces_left_out"] == 4
    assert document["damaged_segments"] == ["000002.faiss"]


def test_a_row_of_a_large_segment_is_checked_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesim_index.store.segments.coarse.COARSE_MIN_ROWS", 64)
    monkeypatch.setattr("facesim_index.store.segments.search._COARSE_MIN_DEPTH", 4)
    monkeypatch.setattr("facesim_index.store.segments.search._CANDIDATES_OF_A_MILLION", 0)
    vectors = unit_vectors(600, 4)
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", vectors)})
        store.segments.write_missing_coarse()
        [segment] = (tmp_path / "i" / "segments").glob("*.faiss")
    data = bytearray(segment.read_bytes())
    at = data.find(vectors[41].astype(np.float16).tobytes())
    data[at + 7] ^= 1
    segment.write_bytes(data)
    with FolderStore(tmp_path / "i") as reader, reader.view() as view:
        [found] = view.search(vectors[300:301], 1)
        assert found.face_ids.tolist() == [301], "other rows are not touched by it"
        with pytest.raises(DamagedSegmentError, match="other embeddings than were written"):
            view.search(vectors[41:42], 1)
        with pytest.raises(DamagedSegmentError):
            view.embeddings(np.array([42]))
    with (
        FolderStore(tmp_path / "i") as reader,
        reader.view() as view,
        pytest.raises(DamagedSegmentError, match="SHA-256"),
    ):
        view.search(vectors[300:301], 1, exact=True)


def test_sums_of_rows_see_every_bit() -> None:
    ids = np.arange(5, dtype=np.int64) + 7
    vectors = unit_vectors(5, 1).astype(np.float16)
    before = row_sums(ids, vectors)
    assert len(np.unique(before)) == 5
    for bit in range(0, 8 * vectors[0].nbytes, 61):
        changed = vectors.copy()
        changed[2:3].view(np.uint8)[0, bit // 8] ^= 1 << bit % 8
        assert (row_sums(ids, changed) != before).tolist() == [False, False, True, False, False]
    assert (row_sums(ids + 1, vectors) != before).all()
    np.testing.assert_array_equal(row_sums(ids[3:], vectors[3:]), before[3:])


def test_an_ingest_does_not_bury_an_index_whose_catalog_is_gone(
    store: FolderStore, photos: Path
) -> None:
    """Once, a new catalog was made in the folder, and the segments were removed as leftovers."""
    store.close()
    before = sorted(path.name for path in (store.folder / "segments").iterdir())
    (store.folder / "catalog.sqlite3").unlink()
    for open_it in (new_store, FolderStore):
        with pytest.raises(IndexDamagedError, match=r"catalog\.sqlite3 is missing"):
            open_it(store.folder)
    assert sorted(path.name for path in (store.folder / "segments").iterdir()) == before


def test_segments_are_not_removed_while_their_names_are_damaged(store: FolderStore) -> None:
    """Once, a changed letter in a segment's row made the next writer remove its file."""
    spoil(store, "UPDATE segment SET name = '000009.faiss' WHERE id = 2")
    FolderStore(store.folder).close()
    store.close()
    with FolderStore(store.folder, writable=True) as writer:
        assert (store.folder / "segments" / "000002.faiss").exists()
        done = repair(writer, verify(writer), read_here)
        assert (done.rows_mended, done.faces_lost) == (1, 0)
        assert not verify(writer).problems


def kill_writer(folder: Path, n_commits: int) -> None:
    """Make an index whose log holds all its commits: its writer dies."""
    pid = fork()
    if not pid:
        store = new_store(folder)
        for n in range(n_commits):
            commit_pictures(store, {f"/p/{n}.jpg": picture(str(n), unit_vectors(2, n))})
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("shared", [True, False])
def test_every_changed_byte_of_the_log_is_found(tmp_path: Path, shared: bool) -> None:
    kill_writer(tmp_path / "i", 3)
    catalog = tmp_path / "i" / "catalog.sqlite3"
    log = catalog.with_name(catalog.name + "-wal")
    if not shared:
        catalog.with_name(catalog.name + "-shm").unlink()
    data = log.read_bytes()
    assert check_log(catalog) is None
    for at in [*range(0, 60), *range(60, len(data), 997), len(data) - 1]:
        changed = bytearray(data)
        changed[at] ^= 0x20
        log.write_bytes(changed)
        assert check_log(catalog) is not None, at


def test_a_log_that_a_crash_cut_short_is_no_damage(tmp_path: Path) -> None:
    kill_writer(tmp_path / "i", 3)
    catalog = tmp_path / "i" / "catalog.sqlite3"
    log = catalog.with_name(catalog.name + "-wal")
    with log.open("ab") as out:  # the beginning of a commit that did not come to its end
        out.write(log.read_bytes()[32:56] + b"half a page")
    assert check_log(catalog) is None
    with FolderStore(tmp_path / "i", writable=True) as store:
        assert not verify(store).problems
        with store.catalog.read() as transaction:
            assert face_rows.n_faces(transaction) == 6


def test_a_damaged_log_is_refused_and_goes_on_from_the_last_whole_commit(tmp_path: Path) -> None:
    """Once, SQLite took what was before the damage for all, and nobody was told."""
    kill_writer(tmp_path / "i", 3)
    log = tmp_path / "i" / "catalog.sqlite3-wal"
    data = bytearray(log.read_bytes())
    data[-2000] ^= 1
    log.write_bytes(data)
    for writable in (False, True):
        with pytest.raises(IndexDamagedError, match=r"-wal is damaged at page .*verify --repair"):
            FolderStore(tmp_path / "i", writable=writable)
    assert log.read_bytes() == data, "the evidence is kept"
    result = CliRunner().invoke(
        main, ["--index", str(tmp_path / "i"), "verify", "--repair"], obj=State(engine=FAKE)
    )
    assert result.exit_code == 0, result.output
    assert "goes on from the last commit that is whole" in result.stdout
    with FolderStore(tmp_path / "i") as store:
        assert not verify(store).problems
        with store.catalog.read() as transaction:
            assert face_rows.n_faces(transaction) == 4
    assert mend_log(tmp_path / "i") is None
    assert (tmp_path / "i" / "catalog.sqlite3-wal.damaged").read_bytes() == data


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:3000]),
        lambda path: flip(path, 3),
        lambda path: path.unlink(),
    ],
)
def test_a_catalog_that_cannot_be_read_leads_to_the_last_snapshot(
    store: FolderStore, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    store.close()
    with FaceIndex.open(store.folder, engine=FAKE) as index:
        before = index.query(face_id=1, top=3).faces[0].matches[0].cosine
        for name in ("first", "second"):
            index.snapshot(tmp_path / name)
    damage(store.folder / "catalog.sqlite3")
    for arguments in (["verify"], ["query", "--face-id", "1"], ["status"], ["verify", "--repair"]):
        result = CliRunner().invoke(
            main, ["--index", str(store.folder), *arguments], obj=State(engine=FAKE)
        )
        assert result.exit_code == 1
        assert f"its newest snapshot is {tmp_path / 'second'}" in result.stderr
    words = result.stderr.split("`")[1].split()
    assert words[0] == "facesim"
    done = CliRunner().invoke(main, words[1:], obj=State(engine=FAKE))
    assert done.exit_code == 0, done.output
    with FaceIndex.open(store.folder, engine=FAKE) as index:
        assert not index.verify().problems
        assert index.query(face_id=1, top=3).faces[0].matches[0].cosine == before
