"""Which pictures are computed together, and when."""

import threading
import time

import numpy as np

from facesim_index.engine.card.batches import Batches, Item
from facesim_index.engine.card.shapes import Place

SMALL, LARGE = Place(128, 128, 4), Place(640, 640, 2)
CANVAS = np.zeros((32, 32, 3), dtype=np.uint8)


def item(place: Place, *, alone: bool = False) -> Item:
    return Item(place, CANVAS, lambda _: None, alone)


def make_batches(patience_s: float) -> Batches:
    return Batches(lambda place: place.batch, patience_s)


def test_a_full_batch_leaves_at_once_and_in_order() -> None:
    batches = make_batches(60.0)
    items = [item(SMALL) for _ in range(5)]
    for one in items:
        batches.put(one)
    assert batches.take() == items[:4]


def test_a_full_batch_goes_before_an_older_picture_that_waits_for_others() -> None:
    batches = make_batches(60.0)
    batches.put(item(SMALL))
    items = [item(LARGE) for _ in range(2)]
    for one in items:
        batches.put(one)
    assert batches.take() == items


def test_a_batch_that_is_not_full_leaves_when_its_time_has_come() -> None:
    batches = make_batches(0.05)
    one = item(SMALL)
    batches.put(one)
    started = time.monotonic()
    assert batches.take() == [one]
    assert 0.03 < time.monotonic() - started < 5.0


def test_a_suspect_is_computed_by_itself() -> None:
    batches = make_batches(0.0)
    suspect, other = item(SMALL, alone=True), item(SMALL)
    batches.put(other)
    batches.put(suspect)
    assert batches.take() == [suspect]
    assert batches.take() == [other]


def test_closing_ends_the_waiting() -> None:
    batches = make_batches(60.0)
    taken: list[list[Item] | None] = []
    thread = threading.Thread(target=lambda: taken.append(batches.take()))
    thread.start()
    batches.close()
    thread.join(5.0)
    assert taken == [None]
