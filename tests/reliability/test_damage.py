"""Damage is found, named and mended; `tests.reliability.damage` runs longer campaigns."""

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from facesim_index.index import FaceIndex
from facesim_index.store.catalog import index_state
from facesim_index.store.folder.store import FolderStore
from tests.builders import FAKE
from tests.reliability.damage import (
    ASKED,
    Case,
    Grounds,
    flips,
    small_coarse_codes,
    whole_file_cases,
)

pytestmark = pytest.mark.slow  # each test damages two indexes of their own

N_FLIPS = 100


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    """A closed index and one whose writer was killed."""
    logging.getLogger("facesim_index").addHandler(logging.NullHandler())
    with small_coarse_codes():
        yield Grounds(tmp_path_factory.mktemp("grounds"))


def test_the_indexes_that_are_damaged_have_every_kind_of_file_and_row(grounds: Grounds) -> None:
    closed, killed = grounds.files("closed"), grounds.files("killed")
    assert {"catalog.sqlite3", "segments/000002.faiss", "segments/000001.coarse"} <= set(closed)
    assert {"catalog.sqlite3-wal", "catalog.sqlite3-shm", "LOCK", "LOCK.holder"} <= set(killed)
    for known in grounds.known.values():
        assert {table for table, rows in known.dump.items() if not rows} == set()
        assert all(len(answer) == 5 for answer in known.answers.values())


def test_every_file_damaged_in_every_way_is_found_or_harmless(grounds: Grounds) -> None:
    cases = whole_file_cases(grounds)
    outcomes = {case: grounds.run(case, mend=True) for case in cases}
    bad = {case: outcome for case, outcome in outcomes.items() if outcome and not outcome.is_good}
    assert not bad
    harmless = {
        case.file
        for case, outcome in outcomes.items()
        if outcome is not None and outcome.verified == "harmless"
    }
    # Nothing is read of these that a missing or shorter file would change.
    assert harmless <= {"LOCK", "LOCK.holder", "SNAPSHOTS", "catalog.sqlite3-shm"}
    found = [case for case, outcome in outcomes.items() if outcome and outcome.verified == "found"]
    assert {case.file for case in found} >= {
        name
        for name in {*grounds.files("closed"), *grounds.files("killed")}
        if name not in harmless
    }


def test_changed_bytes_are_found_or_harmless(grounds: Grounds) -> None:
    told = []
    n_found = 0
    for number, case in enumerate(flips(grounds, 20_260_704, N_FLIPS)):
        outcome = grounds.run(case, mend=number % 4 == 0)
        if outcome is not None:
            n_found += outcome.verified == "found"
            if not outcome.is_good:
                told.append((case, outcome))
    assert not told
    assert n_found > N_FLIPS // 3


def test_a_number_of_rows_that_asks_for_all_memory_is_damage(grounds: Grounds) -> None:
    """Once, that was a MemoryError."""
    outcome = grounds.run(Case("closed", "segments/000002.faiss", "flipped", 106, 3), mend=True)
    assert outcome is not None
    assert (outcome.verified, outcome.mended) == ("found", "as before")
    assert outcome.asked in ("partial", "refused")


def test_people_of_whom_an_index_of_the_catalog_lost_faces_are_not_told(grounds: Grounds) -> None:
    """Once, the degree for a person was made of the faces that were left."""
    catalog = grounds.known["closed"].folder / "catalog.sqlite3"
    with closing(sqlite3.connect(catalog)) as database:
        [page] = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_face_person_person_id'"
        ).fetchone()
    cells = (page - 1) * 4096 + 8  # of a leaf: where each entry begins, two bytes each
    outcomes = [
        grounds.run(Case("closed", "catalog.sqlite3", "zeroed", cells + 2 * first), mend=True)
        for first in (0, 8)
    ]
    assert [outcome.asked for outcome in outcomes if outcome] == ["refused"] * 2
    assert [outcome.mended for outcome in outcomes if outcome] == ["as before"] * 2


def places_of(data: bytes, wanted: bytes) -> list[int]:
    places, at = [], data.find(wanted)
    while at >= 0:
        places.append(at)
        at = data.find(wanted, at + 1)
    return places


@pytest.mark.parametrize(
    "value", ["path", "content hash", "landmark", "calibration", "segment", "person", "former name"]
)
def test_a_byte_inside_a_value_is_found_and_put_back(grounds: Grounds, value: str) -> None:
    known = grounds.known["closed"]
    wanted = {
        "path": b"07.png",
        "content hash": next(row[2] for row in known.dump["image"]),
        "landmark": next(row[8] for row in known.dump["face"]),
        "calibration": b"a test",
        "segment": b"000002.faiss",
        "person": b"Bertha Benz",
        "former name": b"Ada Lovelace",
    }[value]
    assert isinstance(wanted, bytes)
    places = places_of((known.folder / "catalog.sqlite3").read_bytes(), wanted)[:4]
    assert places
    outcomes = [
        grounds.run(Case("closed", "catalog.sqlite3", "flipped", at + 2, 0x10), mend=True)
        for at in places
    ]
    assert [outcome.verified for outcome in outcomes if outcome] == ["found"] * len(places)
    assert {outcome.mended for outcome in outcomes if outcome} == {"as before"}


def test_an_older_index_without_sums_of_rows_is_checked_whole(grounds: Grounds) -> None:
    assert set(ASKED) <= set(grounds.known["closed"].content)
    folder = grounds.folder / "without sums"
    shutil.copytree(grounds.known["closed"].folder, folder)
    with FolderStore(folder) as store, store.catalog.read() as transaction:
        first = index_state.segment_infos(transaction)[0]
    from facesim_index.store.segments.coarse import coarse_path, read_coarse

    path = folder / "segments" / first.name
    assert read_coarse(path, first.sha256).sums is not None
    _make_first_version(coarse_path(path), first.n_rows)
    assert read_coarse(path, first.sha256).sums is None
    with FaceIndex.open(folder, engine=FAKE) as index:
        assert not index.verify().problems
        assert [match.face_id for match in index.query(face_id=1, top=5).faces[0].matches] == [
            row[0] for row in grounds.known["closed"].answers[1]
        ]
        index.compact()
    with FolderStore(folder) as store, store.catalog.read() as transaction:
        first = index_state.segment_infos(transaction)[0]
    assert read_coarse(folder / "segments" / first.name, first.sha256).sums is not None


def _make_first_version(path: Path, n_rows: int) -> None:
    """Put a file of coarse codes back to how it was before it had sums."""
    import hashlib

    body = b"FSIXCRS1" + path.read_bytes()[8 : -32 - 8 * n_rows]
    path.write_bytes(body + hashlib.sha256(body).digest())
