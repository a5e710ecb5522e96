"""No answer is wrong in silence, whichever value of whichever row has changed.

`tests.reliability.row_sweep` runs longer campaigns, of more values, rows and bytes.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.reliability.row_damage import Damage, columns_of, n_rows
from tests.reliability.row_sweep import Found, Sweep

pytestmark = pytest.mark.slow  # each test asks or changes many copies of an index

LINKS = (
    ("file", "image_id"),
    ("file", "folder_id"),
    ("face", "image_id"),
    ("face_person", "person_id"),
    ("people_change_face", "person_id"),
    ("tombstone", "face_id"),
    ("index_state", "generation"),
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """A whole index of every kind of row, and what it answers."""
    logger = logging.getLogger("facesim_index")
    handlers, level = list(logger.handlers), logger.level  # the command line sets its own
    yield Sweep(tmp_path_factory.mktemp("sweep"))
    logger.handlers[:] = handlers
    logger.setLevel(level)


def bad(found: list[Found] | None) -> list[Found]:
    assert found, "nothing was changed, or nothing was asked"
    return [one for one in found if not one.is_good]


def test_the_index_has_rows_in_every_table(sweep: Sweep) -> None:
    tables = columns_of(sweep.catalog)
    assert len(tables) >= 23
    assert [table for table in tables if not n_rows(sweep.catalog, table)] == []


def test_no_answer_is_wrong_in_silence_whichever_column_has_changed(sweep: Sweep) -> None:
    told = {}
    wrong = []
    for damage in sweep.one_of_each():
        found = sweep.ask(damage, routes=False)
        wrong += [(damage, one) for one in bad(found)]
        told[damage] = sum(one.outcome == "told" for one in found or ())
    assert wrong == []
    assert sum(count > 0 for count in told.values()) > len(told) // 2, "nearly all is asked for"


def test_the_server_tells_of_damage_too(sweep: Sweep) -> None:
    for table, column in LINKS:
        assert bad(sweep.ask(Damage(table, column, 0, "edit"), routes=True)) == []


@pytest.mark.parametrize(("table", "column"), LINKS)
def test_no_change_goes_by_a_row_that_is_not_found(sweep: Sweep, table: str, column: str) -> None:
    assert bad(sweep.change(Damage(table, column, 0, "edit"))) == []


def test_a_byte_of_a_row_and_an_edit_of_it_are_damage_of_two_kinds(sweep: Sweep) -> None:
    """An index of the catalog follows the edit: then the row is not even found."""
    damage = Damage("file", "image_id", 3, "edit")
    assert bad(sweep.ask(damage)) == []
    assert bad(sweep.ask(replace(damage, kind="byte"))) == []
