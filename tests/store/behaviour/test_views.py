import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.errors import IndexDamagedError
from facesim_index.records import FaceId, Float32Array, Float64Array
from facesim_index.store.catalog import face_rows
from facesim_index.store.opening import open_or_create_store, open_store
from facesim_index.store.protocols import IndexStore, IndexView
from tests.builders import commit_pictures, picture, unit_vectors
from tests.property_tests import examples
from tests.store.behaviour.implementations import IMPLEMENTATIONS

VECTORS = unit_vectors(40, 5)


def add(store: IndexStore, name: str, vectors: Float32Array) -> None:
    commit_pictures(store, {f"/p/{name}.jpg": picture(name, vectors)})


def stored(vectors: Float32Array) -> Float64Array:
    """What a store keeps of embeddings, in double precision."""
    return vectors.astype(np.float16).astype(np.float64)


def cosines_of(vectors: Float32Array, query: Float32Array) -> Float64Array:
    cosines: Float64Array = np.einsum("ij,j->i", stored(vectors), query.astype(np.float64))
    return np.clip(cosines, -1.0, 1.0)


def test_an_empty_index_answers_with_nothing(writer: IndexStore) -> None:
    with writer.view() as view:
        assert view.living_faces().size == 0
        assert list(view.blocks(10)) == []
        assert [len(found.face_ids) for found in view.search(VECTORS[:2], 3)] == [0, 0]
        assert (view.left_out, view.n_left_out()) == ((), 0)


def test_a_view_is_one_moment(address: Path, writer: IndexStore) -> None:
    add(writer, "a", VECTORS[:3])
    with open_store(address) as reader, reader.view() as view:
        before = view.search(VECTORS[:1], 10)
        add(writer, "b", VECTORS[3:6])
        writer.remove([], [FaceId(1)])
        writer.compact()
        assert view.living_faces().tolist() == [1, 2, 3]
        assert face_rows.face_ids(view.transaction).tolist() == [1, 2, 3]
        assert_array_equal(view.embeddings(np.array([1])), stored(VECTORS[:1]))
        [after] = view.search(VECTORS[:1], 10)
        assert_array_equal(after.face_ids, before[0].face_ids)
        assert_array_equal(after.cosines, before[0].cosines)
        with reader.view() as later:
            assert later.living_faces().tolist() == [2, 3, 4, 5, 6]
            assert later.generation > view.generation


def test_a_generation_is_one_state(address: Path, writer: IndexStore) -> None:
    def generation(store: IndexStore) -> int:
        with store.view() as view:
            return view.generation

    seen = [generation(writer)]
    add(writer, "a", VECTORS[:2])
    seen.append(generation(writer))
    writer.remove([], [FaceId(1)])
    seen.append(generation(writer))
    assert seen == sorted(set(seen))
    with open_store(address) as reader:
        assert generation(reader) == generation(writer) == seen[-1]


def test_embeddings_are_given_in_the_order_asked_and_cosines_are_exact(
    writer: IndexStore,
) -> None:
    add(writer, "a", VECTORS[:10])
    add(writer, "b", VECTORS[10:20])
    ids = np.array([15, 1, 20, 1, 7])
    with writer.view() as view:
        found = view.embeddings(ids)
        assert found.dtype == np.float32
        assert_array_equal(found, stored(VECTORS[ids - 1]))
        assert_array_equal(
            view.cosines(ids, VECTORS[30]), cosines_of(VECTORS[ids - 1], VECTORS[30])
        )
        with pytest.raises(IndexDamagedError, match="face 21"):
            view.embeddings(np.array([3, 21]))


def test_blocks_hold_every_living_face_once(writer: IndexStore) -> None:
    add(writer, "a", VECTORS[:10])
    add(writer, "b", VECTORS[10:25])
    writer.remove([], [FaceId(4), *map(FaceId, range(11, 15))])
    with writer.view() as view:
        blocks = list(view.blocks(4))
        ids = np.concatenate([block[0] for block in blocks])
        assert_array_equal(ids, view.living_faces())
        assert max(len(block[0]) for block in blocks) <= 4
        assert_array_equal(np.vstack([block[1] for block in blocks]), view.embeddings(ids))


def test_ties_go_by_face_id(writer: IndexStore) -> None:
    for n in range(3):
        add(writer, str(n), np.repeat(VECTORS[:1], 3, axis=0))
    with writer.view() as view:
        [found] = view.search(VECTORS[:1], 5)
    assert found.face_ids.tolist() == [1, 2, 3, 4, 5]


def check_search(view: IndexView, vectors: dict[int, Float32Array], excluded: list[int]) -> None:
    """Compare searches with what comparing every face gives."""
    ids = np.array(sorted(set(vectors) - set(excluded)), dtype=np.int64)
    queries = VECTORS[[0, 17, 39]]
    for exact in (False, True):
        hidden = np.array(sorted(excluded), dtype=np.int64)
        found = view.search(queries, 6, excluded=hidden, exact=exact)
        for query, neighbours in zip(queries, found, strict=True):
            held = np.array([vectors[face_id] for face_id in ids.tolist()]).reshape(-1, 512)
            cosines = cosines_of(held, query)
            best = np.lexsort((ids, -cosines))[:6]
            assert_array_equal(neighbours.face_ids, ids[best])
            assert_array_equal(neighbours.cosines, cosines[best])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 4)),
        st.tuples(st.just("remove"), st.integers(0, 100)),
        st.tuples(st.just("compact"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=12,
)


@pytest.mark.parametrize("implementation", sorted(IMPLEMENTATIONS))
@examples(15)
@given(steps=STEPS, data=st.data())
def test_whatever_was_done_a_search_finds_what_comparing_every_face_finds(
    implementation: str, steps: list[tuple[str, int]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        address = IMPLEMENTATIONS[implementation](Path(folder))
        store = open_or_create_store(address, FAKE_IDENTITY, "fake")
        vectors: dict[int, Float32Array] = {}
        next_id = 1
        for number, (step, value) in enumerate(steps):
            if step == "add":
                new = VECTORS[[(next_id + n) % len(VECTORS) for n in range(value)]]
                add(store, str(number), new)
                vectors.update(zip(range(next_id, next_id + value), new, strict=True))
                next_id += value
            elif step == "remove" and vectors:
                gone = sorted(vectors)[value % len(vectors)]
                assert store.remove([], [FaceId(gone)]) == 1
                del vectors[gone]
            elif step == "compact":
                store.compact()
            elif step == "reopen":
                store.close()
                store = open_store(address, writable=True)
        some = st.lists(st.sampled_from(sorted(vectors) or [0]), unique=True, max_size=3)
        excluded = data.draw(some)
        with store.view() as view:
            assert view.living_faces().tolist() == sorted(vectors)
            check_search(view, vectors, excluded)
        assert not store.check().problems
        store.close()
