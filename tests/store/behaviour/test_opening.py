from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from facesim_index.engine.fake import FAKE_IDENTITY, fake_identity
from facesim_index.errors import EngineMismatchError, IndexLockedError, IndexNotFoundError
from facesim_index.store.opening import index_stamp, open_or_create_store, open_store
from facesim_index.store.protocols import IndexStore
from tests.builders import commit_pictures, picture, unit_vectors


def test_what_is_not_there_is_not_opened(address: Path) -> None:
    assert index_stamp(address) is None
    for writable in (False, True):
        with pytest.raises(IndexNotFoundError, match="is not a facesim index"):
            open_store(address, writable=writable)


def test_a_new_index_says_by_which_engine_and_where(address: Path, writer: IndexStore) -> None:
    for store in (writer, open_store(address)):
        assert store.identity == FAKE_IDENTITY
        assert store.model == "fake"
        assert str(address) in store.location
        with store.view() as view:
            assert (view.identity, view.model) == (store.identity, store.model)
            assert view.location == store.location
        assert store.newer_schema() is None
        assert store.size().catalog_bytes > 0
    assert index_stamp(address) == index_stamp(address) is not None


def test_another_engine_is_refused(address: Path, writer: IndexStore) -> None:
    other = fake_identity("flip")
    with pytest.raises(EngineMismatchError, match="--augment none"):
        writer.check_engine(other)
    writer.check_engine(replace(FAKE_IDENTITY, name="the same by another name"))
    writer.close()
    with pytest.raises(EngineMismatchError):
        open_or_create_store(address, other, "fake")
    with open_or_create_store(address, FAKE_IDENTITY, "fake"):
        pass  # the refused writer has let go of its lease


def test_one_writes_and_any_number_read(address: Path, writer: IndexStore) -> None:
    with open_store(address) as reader:
        assert reader.is_being_written()
        with pytest.raises(IndexLockedError, match="is being written by"):
            open_store(address, writable=True)
        commit_pictures(writer, {"/p/a.jpg": picture("a", unit_vectors(2, 1))})
        with reader.view() as view:
            assert view.living_faces().tolist() == [1, 2]
        writer.close()
        assert not reader.is_being_written()
    with open_store(address, writable=True) as later, later.view() as view:
        assert view.living_faces().tolist() == [1, 2]


def test_many_threads_ask_one_store(writer: IndexStore) -> None:
    vectors = unit_vectors(50, 2)
    commit_pictures(writer, {f"/p/{n}.jpg": picture(str(n), vectors[n : n + 1]) for n in range(50)})

    def nearest(number: int) -> int:
        with writer.view() as view:
            [found] = view.search(vectors[number : number + 1], 1)
        return int(found.face_ids[0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(nearest, range(50))) == list(range(1, 51))


def test_what_was_computed_is_remembered_while_the_store_is_open(
    address: Path, writer: IndexStore
) -> None:
    def recall(store: IndexStore, value: str) -> str:
        with store.view() as view:
            return view.memory.recall(str, lambda known: True, lambda: value)

    assert recall(writer, "first") == "first"
    assert recall(writer, "second") == "first"
    with open_store(address) as other:
        assert recall(other, "third") == "third"
