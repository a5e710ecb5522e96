"""A repair takes embeddings only from the very bytes that a face was found in."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from facesim_index.engine.reading import make_reader
from facesim_index.records import PictureReading
from facesim_index.store.folder.store import FolderStore
from facesim_index.upkeep.repairs import repair
from tests.asking import verify
from tests.builders import FAKE, FunctionReader, Outcome, read_here
from tests.example_pictures import fake_photo
from tests.reliability.spoiling import flip, paths_and_vectors


def test_a_picture_that_is_replaced_while_it_is_read_again_mends_nothing(
    store: FolderStore, photos: Path
) -> None:
    """It is hashed, then read: another picture may come in between, with faces where they were."""
    flip(store.folder / "segments" / "000002.faiss")
    other = fake_photo([(250, 250, 90), (90, 250, 250)])

    @FunctionReader
    def read(paths: Iterable[Path]) -> Iterator[Outcome]:
        for path in paths:
            path.write_bytes(other)
            yield make_reader(FAKE)(path)

    damaged = verify(store).faces_without_embedding
    assert len(damaged) == 4
    done = repair(store, verify(store), read)
    assert (done.faces_mended, done.faces_lost) == (0, 4)
    assert [Path(path).name for path in done.lost_paths] == ["2.png", "3.png"]
    assert not verify(store).problems
    with store.view() as view:
        assert not np.isin(damaged, view.living_faces()).any()


def test_a_reading_of_other_content_is_not_believed(store: FolderStore) -> None:
    before = paths_and_vectors(store)
    flip(store.folder / "segments" / "000002.faiss")

    @FunctionReader
    def read(paths: Iterable[Path]) -> Iterator[Outcome]:
        for path in paths:
            reading = make_reader(FAKE)(path)
            assert isinstance(reading, PictureReading)
            yield replace(reading, content_hash=bytes(32))

    done = repair(store, verify(store), read)
    assert (done.faces_mended, done.faces_lost) == (0, 4)
    assert paths_and_vectors(store) < before


def test_the_same_content_mends_all(store: FolderStore) -> None:
    before = paths_and_vectors(store)
    flip(store.folder / "segments" / "000002.faiss")
    done = repair(store, verify(store), read_here)
    assert (done.faces_mended, done.faces_lost) == (4, 0)
    assert paths_and_vectors(store) == before
