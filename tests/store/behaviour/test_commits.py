from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from facesim_index.records import FaceId, Failure, FailureCode
from facesim_index.store.catalog import audit_log, face_rows, index_state, picture_rows, writing
from facesim_index.store.opening import open_store
from facesim_index.store.protocols import IndexStore
from facesim_index.store.records import Batch
from tests.builders import commit_pictures, failed, link, picture, unit_vectors

VECTORS = unit_vectors(12, 3)


def living(store: IndexStore) -> list[int]:
    with store.view() as view:
        ids: list[int] = view.living_faces().tolist()
        assert ids == face_rows.face_ids(view.transaction).tolist()
    return ids


def file_ids(store: IndexStore, path: str) -> list[int]:
    with store.read() as rows:
        return picture_rows.files_under(rows.transaction, Path(path))


def test_a_commit_numbers_faces_in_their_order_and_counts_them(writer: IndexStore) -> None:
    first, second = picture("a", VECTORS[:2]), picture("b", VECTORS[2:5])
    links = [link("/p/a.jpg", first), link("/p/b.jpg", second)]
    assert writer.commit(Batch([first, second], links)) == 5
    assert writer.commit(Batch([], [])) == 0
    with writer.view() as view:
        records = face_rows.faces(view.transaction, np.arange(1, 6))
        assert [record.path for record in records] == ["/p/a.jpg"] * 2 + ["/p/b.jpg"] * 3
        assert [record.ordinal for record in records] == [0, 1, 0, 1, 2]


def test_a_batch_that_is_committed_again_changes_nothing(writer: IndexStore) -> None:
    reading = picture("a", VECTORS[:2])
    batch = Batch([reading], [link("/p/a.jpg", reading)])
    assert writer.commit(batch) == 2
    assert writer.commit(batch) == 0
    assert living(writer) == [1, 2]


def test_a_copy_shares_the_faces_of_its_picture(writer: IndexStore) -> None:
    reading = picture("a", VECTORS[:2])
    commit_pictures(writer, {"/p/a.jpg": reading, "/p/copy.jpg": reading})
    assert living(writer) == [1, 2]
    assert writer.remove(file_ids(writer, "/p/a.jpg")) == 0
    assert living(writer) == [1, 2]
    assert writer.remove(file_ids(writer, "/p/copy.jpg")) == 2
    assert living(writer) == []


def test_a_file_with_new_content_lets_its_old_faces_go(writer: IndexStore) -> None:
    commit_pictures(writer, {"/p/a.jpg": picture("old", VECTORS[:2])})
    commit_pictures(writer, {"/p/a.jpg": picture("new", VECTORS[2:3])})
    assert living(writer) == [3]


def test_a_file_that_comes_twice_in_a_batch_has_its_last_content(writer: IndexStore) -> None:
    old, new = picture("old", VECTORS[:2]), picture("new", VECTORS[2:3])
    writer.commit(Batch([old, new], [link("/p/a.jpg", old), link("/p/a.jpg", new)]))
    assert living(writer) == [3]


def test_a_picture_that_failed_may_be_read_later(writer: IndexStore) -> None:
    failure = Failure(FailureCode.CHANGING, "it changes")
    commit_pictures(writer, {"/p/a.jpg": failed("a", failure)})
    with writer.read() as rows:
        assert [entry.path for entry in picture_rows.failed_files(rows.transaction)] == ["/p/a.jpg"]
    commit_pictures(writer, {"/p/a.jpg": picture("a", VECTORS[:1])})
    assert living(writer) == [1]


def test_removed_faces_stay_away_and_their_ids_are_not_used_again(
    address: Path, writer: IndexStore
) -> None:
    commit_pictures(writer, {"/p/a.jpg": picture("a", VECTORS[:4])})
    assert writer.remove([], [FaceId(2), FaceId(4)]) == 2
    assert writer.remove([], [FaceId(2)]) == 0
    writer.compact()
    writer.close()
    with open_store(address, writable=True) as later:
        assert living(later) == [1, 3]
        commit_pictures(later, {"/p/b.jpg": picture("b", VECTORS[4:6])})
        assert living(later) == [1, 3, 5, 6]


def test_what_is_forgotten_is_put_on_record_where_that_is_wanted(writer: IndexStore) -> None:
    commit_pictures(writer, {f"/p/{n}.jpg": picture(str(n), VECTORS[n : n + 1]) for n in range(3)})
    with writer.write() as transaction:
        writing.put_root(transaction, "/p")
    writer.remove(file_ids(writer, "/p/0.jpg"))
    writer.remove(file_ids(writer, "/p/1.jpg"), audited=True)
    writer.remove(file_ids(writer, "/p/2.jpg"), roots=[Path("/p")], secure=True)
    with writer.read() as rows:
        lines = audit_log.lines(rows.transaction)
        assert [(line.files, line.faces, line.secure, line.finished) for line in lines] == [
            (1, 1, False, True),
            (1, 1, True, True),
        ]
        assert index_state.roots(rows.transaction) == []


def test_changes_of_rows_are_made_as_one_or_not_at_all(writer: IndexStore) -> None:
    def change_and_fail() -> None:
        with writer.write() as transaction:
            writing.put_root(transaction, "/p")
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        change_and_fail()
    with writer.read() as rows:
        assert index_state.roots(rows.transaction) == []


def test_a_sound_index_has_nothing_to_mend(writer: IndexStore) -> None:
    commit_pictures(writer, {"/p/a.jpg": picture("a", VECTORS[:3])})
    writer.remove([], [FaceId(2)])
    verdict = writer.check()
    assert (verdict.problems, verdict.damaged) == ((), ())
    assert verdict.faces_without_embedding.size == verdict.stray_faces.size == 0
    mended = writer.mend_catalog()
    assert (mended.n_mended, mended.taken_out, mended.lost_paths) == (0, (), ())
    writer.put_back(verdict, {}, [])
    assert living(writer) == [1, 3]
    assert not writer.check().problems


def test_compacting_changes_no_answer(writer: IndexStore) -> None:
    for n in range(12):
        commit_pictures(writer, {f"/p/{n}.jpg": picture(str(n), VECTORS[n : n + 1])})
    writer.remove([], [FaceId(1), FaceId(7)])
    with writer.view() as view:
        before = view.search(VECTORS, 12)
        embeddings = view.embeddings(view.living_faces())
    writer.compact()
    with writer.view() as view:
        after = view.search(VECTORS, 12)
        assert_array_equal(view.embeddings(view.living_faces()), embeddings)
    for one, other in zip(before, after, strict=True):
        assert_array_equal(one.face_ids, other.face_ids)
        assert_array_equal(one.cosines, other.cosines)
    assert not writer.check().problems
