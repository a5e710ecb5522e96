"""Equal generations of an index have equal answers: whatever changes one advances it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from facesim_index.calibration.document import to_json
from facesim_index.degrees.gallery import gallery_prior, refresh_gallery_prior
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.people import edits
from facesim_index.store.catalog import calibration_rows, index_state, picture_rows, writing
from facesim_index.store.protocols import IndexStore
from tests.builders import commit_pictures, picture, unit_vectors
from tests.coloured_people import CURVE

PATH = Path("/p/a.jpg")
VECTORS = unit_vectors(9, 11)


def put_curve(store: IndexStore, name: str, *, use: bool) -> None:
    with store.write() as transaction:
        document = to_json(replace(CURVE, name=name, engine_key=store.identity.key))
        calibration_rows.put(transaction, name, store.identity.key, document)
        if use:
            calibration_rows.activate(transaction, name)


def lose(store: IndexStore) -> None:
    with store.write() as transaction:
        writing.mark_missing(transaction, picture_rows.files_under(transaction, PATH))


def find(store: IndexStore) -> None:
    with store.write() as transaction:
        writing.mark_found(transaction, picture_rows.files_under(transaction, PATH))


@pytest.fixture
def store(writer: IndexStore) -> IndexStore:
    """Nine faces, two people, a calibration, and the prior that goes with it."""
    commit_pictures(writer, {str(PATH): picture("a", VECTORS)})
    put_curve(writer, "mine", use=True)
    edits.confirm_faces(writer, {"Ann": [1, 2, 3], "Bo": [4, 5]})
    refresh_gallery_prior(writer)
    return writer


def generation(store: IndexStore) -> int:
    with store.view() as view:
        return view.generation


CHANGES: dict[str, Callable[[IndexStore], object]] = {
    "name": lambda store: edits.name_person(store, "Ann", "Anna"),
    "ignore": lambda store: edits.ignore_person(store, "Ann"),
    "merge": lambda store: edits.merge_people(store, ["Ann", "Bo"]),
    "move": lambda store: edits.move_faces(store, [3], "Bo"),
    "keep": lambda store: edits.keep_faces(store, [1]),
    "apart": lambda store: edits.set_people_apart(store, "Ann", "Bo"),
    "undo": edits.undo,
    "put a calibration": lambda store: put_curve(store, "other", use=False),
    "missing": lose,
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_changes_an_answer_advances_the_generation(store: IndexStore, name: str) -> None:
    before = generation(store)
    CHANGES[name](store)
    assert generation(store) > before


@pytest.mark.parametrize("name", CHANGES)
def test_the_prior_stays_stored_while_the_faces_are_the_same(
    store: IndexStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Estimating it anew takes a second, and it does not depend on what people are called."""
    with store.view() as view:
        calibration = calibration_in_force(view)
        assert calibration is not None
        before = gallery_prior(view, calibration)
    CHANGES[name](store)

    def refuse(*_: object) -> None:
        raise AssertionError("the prior was estimated anew")

    monkeypatch.setattr("facesim_index.degrees.gallery.estimate_gallery_prior", refuse)
    with store.view() as view:
        assert gallery_prior(view, calibration) == before


def test_what_changes_no_answer_does_not_advance_it(store: IndexStore) -> None:
    find(store)  # nothing was missing
    lose(store)
    before = generation(store)
    lose(store)
    with store.write() as transaction:
        run = writing.start_run(transaction, "1.0", "{}")
        writing.finish_run(transaction, run, "{}")
    refresh_gallery_prior(store)
    assert generation(store) == before


def test_a_new_face_makes_the_prior_another_one(store: IndexStore) -> None:
    with store.read() as rows:
        before = index_state.prior_estimate(rows.transaction)
    commit_pictures(store, {"/p/b.jpg": picture("b", unit_vectors(2, 12))})
    with store.read() as rows:
        assert before == index_state.prior_estimate(rows.transaction)
        assert before is not None
        assert before.generation < index_state.state(rows.transaction).generation
