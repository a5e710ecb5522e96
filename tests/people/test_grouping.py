import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from facesim_index.calibration.document import to_json
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.index import FaceIndex
from facesim_index.pairs.blocks import Faces
from facesim_index.pairs.links import nearest_links
from facesim_index.people.clustering import Known, cluster
from facesim_index.people.edits import (
    confirm_faces,
    ignore_person,
    keep_faces,
    merge_people,
    move_faces,
    name_person,
    set_people_apart,
    split_person,
    undo,
)
from facesim_index.people.evidence import person_degree, person_log10_lr
from facesim_index.people.grouping import PeopleOptions, PeopleSummary, cluster_people
from facesim_index.records import FaceId, Float32Array, Float64Array, Int64Array, PictureReading
from facesim_index.store.catalog import calibration_rows, people_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.upkeep.forgetting import forget
from tests.asking import doubtful_faces, list_people, person_faces, review_people
from tests.builders import FAKE, commit_pictures, new_store, picture, unit_vectors
from tests.property_tests import examples

CURVE = Calibration(
    "made up",
    FAKE_IDENTITY.key,
    "by hand",
    ((0.15, -4.0), (0.45, 4.0)),
    Evidence("made up", 2, 10, 10, "2026-01-01"),
)
PRIOR = 0.01
PLAIN = PeopleOptions(prior=PRIOR)
FULL = PeopleOptions(full=True, prior=PRIOR)


def person(number: int, n_faces: int, cosine: float = 0.6) -> Float32Array:
    """Return faces of a person, any two at about this cosine; other people are at about 0."""
    centre = unit_vectors(1, 1000 + number)
    noise = unit_vectors(n_faces, 2000 + number)
    noise -= (noise @ centre.T) * centre
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    faces = np.sqrt(cosine) * centre + np.sqrt(1 - cosine) * noise
    return np.asarray(faces.astype(np.float16), dtype=np.float32)


def commit(store: FolderStore, **photos: list[Float32Array]) -> None:
    pictures: dict[str, PictureReading] = {
        f"/p/{name}.jpg": picture(name, faces) for name, faces in photos.items()
    }
    commit_pictures(store, pictures)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    """Ann with four faces, Bo with three, one stranger: ids 1-4, 5-7, 8."""
    with new_store(tmp_path / "i") as opened:
        with opened.catalog.write() as transaction:
            calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
            calibration_rows.activate(transaction, CURVE.name)
        ann, bo = person(1, 4), person(2, 3)
        commit(opened, **{f"a{number}": [face] for number, face in enumerate(ann)})
        commit(opened, **{f"b{number}": [face] for number, face in enumerate(bo)})
        commit(opened, stranger=[person(3, 1)[0]])
        yield opened


def groups(store: FolderStore) -> dict[int, list[int]]:
    """Return the faces of each person."""
    with store.catalog.read() as transaction:
        found = people_rows.assignments(transaction)
    members: dict[int, list[int]] = {}
    for face, who in zip(found.face_ids.tolist(), found.person_ids.tolist(), strict=True):
        members.setdefault(who, []).append(face)
    return members


def whole_state(store: FolderStore) -> tuple[object, ...]:
    with store.catalog.read() as transaction:
        found = people_rows.assignments(transaction)
        rows = people_rows.persons(transaction)
        apart = people_rows.faces_apart(transaction)
    return found.face_ids.tolist(), found.person_ids.tolist(), found.confirmed.tolist(), rows, apart


def text_of(store: FolderStore) -> bytes:
    """Return every byte of the catalog's rows about people."""
    with store.catalog.read() as transaction:
        tables = ("person", "people_change", "people_change_person", "people_change_face")
        rows = [transaction.exec_driver_sql(f"SELECT * FROM {table}").all() for table in tables]
    return repr(rows).encode()


def test_faces_become_people_and_a_lone_face_is_nobodys(store: FolderStore) -> None:
    summary = cluster_people(store, PLAIN)
    assert groups(store) == {1: [1, 2, 3, 4], 2: [5, 6, 7]}
    assert summary == PeopleSummary(2, 2, 7, 0, 7, 1, 0, (), PRIOR)


def test_new_faces_join_people_and_nobody_is_renumbered(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    commit(store, new=[person(2, 5)[4]], stranger2=[person(3, 2)[1]])
    summary = cluster_people(store, PLAIN)
    assert groups(store) == {1: [1, 2, 3, 4], 2: [5, 6, 7, 9], 3: [8, 10]}
    assert (summary.people, summary.people_new, summary.faces_joined) == (3, 1, 3)
    before = whole_state(store)
    assert cluster_people(store, PLAIN).faces_joined == 0
    assert whole_state(store) == before


def test_two_faces_of_one_photo_are_two_people(store: FolderStore) -> None:
    twins = person(5, 2, cosine=0.9)
    commit(store, twins=[twins[0], twins[1]])
    cluster_people(store, PLAIN)
    assert len(groups(store)) == 2, "each twin is like nobody else, and they are not one"
    move_faces(store, [9, 10], None)  # a mirror: a human says that they are
    assert sorted(groups(store).values())[-1] == [9, 10]
    cluster_people(store, FULL)
    assert [9, 10] in groups(store).values()


def test_a_small_or_doubtful_face_waits_outside_unless_a_human_placed_it(
    store: FolderStore,
) -> None:
    summary = cluster_people(store, dataclasses.replace(PLAIN, min_size_px=31))
    assert (summary.faces_waiting, groups(store)) == (8, {})
    summary = cluster_people(store, dataclasses.replace(PLAIN, min_detection=0.95))
    assert summary.faces_waiting == 8
    move_faces(store, [1], None)
    summary = cluster_people(store, dataclasses.replace(FULL, min_size_px=31))
    assert (summary.faces_waiting, list(groups(store).values())) == (7, [[1]])


def test_a_full_grouping_keeps_names_by_majority(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    name_person(store, 2, "Bo")
    with store.catalog.write() as transaction:  # the machine erred: a face of Bo went to Ann
        change = people_rows.Change(transaction, "test")
        change.assign(np.array([5]), np.array([1]), people_rows.MACHINE)
    summary = cluster_people(store, FULL)
    assert groups(store) == {1: [1, 2, 3, 4], 2: [5, 6, 7]}
    assert [row.name for row in list_people(store)] == [None, "Bo"]
    assert summary.names_lost == ()


def test_a_name_outlives_a_larger_group_without_one(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    split_person(store, 1, [4])
    undo(store)
    with store.catalog.write() as transaction:
        change = people_rows.Change(transaction, "test")
        other = change.new_person("Ann")
        change.assign(np.array([4]), np.array([other]), people_rows.MACHINE)
    cluster_people(store, FULL)
    [row] = [row for row in list_people(store) if row.name == "Ann"]
    assert groups(store)[row.person_id] == [1, 2, 3, 4]


def test_what_a_human_said_binds_every_grouping(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    move_faces(store, [4], 2)  # a human insists: this is Bo
    cluster_people(store, FULL)
    assert groups(store) == {1: [1, 2, 3], 2: [4, 5, 6, 7]}
    rows = {row.person_id: row.n_confirmed for row in list_people(store)}
    assert rows == {1: 3, 2: 4}, "whom it left and whom it joined are confirmed by that"
    split = split_person(store, 1, [3])
    cluster_people(store, FULL)
    assert groups(store)[split.person_id] == [3]
    assert groups(store)[1] == [1, 2]


def test_people_kept_apart_are_not_merged_again(store: FolderStore) -> None:
    with store.catalog.write() as transaction:
        change = people_rows.Change(transaction, "test")
        for faces in ([1, 2], [3, 4]):
            who = change.new_person()
            change.assign(np.array(faces), np.array([who, who]), people_rows.MACHINE)
    one, other = sorted(groups(store))
    [merge] = [m for m in review_people(store, prior=PRIOR).merges if m.b.person_id is not None]
    assert (merge.a.person_id, merge.b.person_id, merge.a.n_faces) == (one, other, 2)
    assert merge.degree > 0.9
    pair = set_people_apart(store, one, other)
    assert pair[0] in (1, 2)
    assert pair[1] in (3, 4)
    assert all(m.b.person_id is None for m in review_people(store, prior=PRIOR).merges)
    cluster_people(store, FULL)
    assert all(not set(pair) <= set(faces) for faces in groups(store).values())
    assert undo(store) == "cluster"
    merge_people(store, [one, other])  # the human thought better of it
    cluster_people(store, FULL)
    assert [1, 2, 3, 4] in groups(store).values()


def test_every_change_can_be_taken_back(store: FolderStore) -> None:
    states = [whole_state(store)]
    cluster_people(store, PLAIN)
    for change in (
        lambda: name_person(store, 1, "Ann"),
        lambda: name_person(store, 2, "Bo"),
        lambda: split_person(store, "Ann", [3, 4]),
        lambda: set_people_apart(store, "Ann", "Bo"),
        lambda: ignore_person(store, 3),
        lambda: merge_people(store, [3, "ann"]),
        lambda: move_faces(store, [1, 5], "Bo"),
        lambda: move_faces(store, [8], None),
        lambda: confirm_faces(store, {"Cleo": [8], "Bo": [7]}),
        lambda: cluster_people(store, FULL),
    ):
        states.append(whole_state(store))
        change()
    if whole_state(store) == states[-1]:
        states.pop()  # nothing was grouped otherwise, so there is nothing to take back
    while states:
        assert undo(store)
        assert whole_state(store) == states.pop()
    assert undo(store) is None
    assert store.catalog.check_integrity() == []


def test_a_merge_keeps_the_first_name_and_confirms(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    name_person(store, 2, "Bo")
    merged = merge_people(store, [1, "bo"])
    assert (merged.person_id, merged.name, merged.n_faces, merged.n_confirmed) == (1, "Bo", 7, 7)
    assert merged.n_pictures == 7
    _, faces = person_faces(store, "Bo")
    assert [face.face.face_id for face in faces] == list(range(1, 8))
    assert all(face.confirmed for face in faces)


def test_of_a_forgotten_face_nothing_stays(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    name_person(store, 2, "Secret Name")
    name_person(store, 2, "Other Name")
    split_person(store, 2, [6, 7])
    merge_people(store, ["Other Name", 3])
    assert b"Secret Name" in text_of(store)
    forget(store, [Path("/p/b0.jpg"), Path("/p/b1.jpg")], [])
    with store.catalog.read() as transaction:
        for table, column in (("face_person", "face_id"), ("people_change_face", "face_id")):
            query = f"SELECT count(*) FROM {table} WHERE {column} IN (5, 6)"
            assert transaction.exec_driver_sql(query).scalar() == 0
    assert b"Other Name" in text_of(store), "face 7 is still hers"
    forget(store, [], [FaceId(7)])
    assert b"Name" not in text_of(store)
    assert groups(store) == {1: [1, 2, 3, 4]}
    store.close()
    database = sqlite3.connect(store.folder / "catalog.sqlite3")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    assert b"Secret Name" not in (store.folder / "catalog.sqlite3").read_bytes()


def test_what_is_left_can_still_be_taken_back_after_forgetting(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    name_person(store, 1, "Ann")
    merge_people(store, ["Ann", 2])
    forget(store, [], [FaceId(5), FaceId(1)])
    assert undo(store) == "merge"
    assert groups(store) == {1: [2, 3, 4], 2: [6, 7]}
    forget(store, [], [FaceId(6), FaceId(7)])
    assert [row.name for row in list_people(store)] == ["Ann"]
    while undo(store):
        pass
    assert store.catalog.check_integrity() == []


def test_names_that_cannot_be_used_are_refused(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    assert name_person(store, 1, "  Ann   Lee ").name == "Ann Lee"
    for wrong, message in (("", "letter"), ("17", "number"), ("a\x1b", "control")):
        with pytest.raises(UsageError, match=message):
            name_person(store, 2, wrong)
    with pytest.raises(UsageError, match="merge 1 2"):
        name_person(store, 2, "ann LEE")
    assert name_person(store, 1, None).name is None
    before = whole_state(store)
    for change in (
        lambda: name_person(store, 99, "Nobody"),
        lambda: merge_people(store, [1]),
        lambda: merge_people(store, [1, 1]),
        lambda: split_person(store, 1, [5]),
        lambda: split_person(store, 1, [1, 2, 3, 4]),
        lambda: move_faces(store, [99], 1),
        lambda: set_people_apart(store, 1, 1),
        lambda: person_faces(store, "Nobody"),
        lambda: cluster_people(store, PeopleOptions(min_degree=1.0)),
    ):
        with pytest.raises(UsageError):
            change()
    assert whole_state(store) == before
    assert undo(store) == "name", "what was refused is not in the log"


def test_without_a_usable_calibration_nobody_is_told_apart(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as empty:
        commit(empty, a=[person(1, 1)[0]])
        with pytest.raises(CalibrationError, match="facesim calibrate"):
            cluster_people(empty)
        with pytest.raises(CalibrationError, match="facesim calibrate"):
            review_people(empty)


def test_an_ignored_person_is_in_no_list_and_still_gathers_faces(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    ignore_person(store, 2)
    assert [row.person_id for row in list_people(store)] == [1]
    assert [row.person_id for row in list_people(store, ignored=True)] == [1, 2]
    assert [row.person_id for row in list_people(store, ignored=True, min_faces=4)] == [1]
    commit(store, new=[person(2, 5)[4]])
    cluster_people(store, PLAIN)
    assert groups(store)[2] == [5, 6, 7, 9]


def test_the_most_doubtful_face_comes_first(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    with store.catalog.write() as transaction:
        change = people_rows.Change(transaction, "test")
        change.assign(np.array([8]), np.array([1]), people_rows.MACHINE)
    review = review_people(store, top=3, prior=PRIOR)
    assert review.doubtful[0].face_id == 8
    assert review.doubtful[0].degree < 0.01
    assert review.doubtful[0].path == "/p/stranger.jpg"
    assert len(review.doubtful) == 3
    assert [item.degree for item in review.doubtful] == sorted(d.degree for d in review.doubtful)
    move_faces(store, [8], 1)
    assert 8 not in [item.face_id for item in review_people(store, prior=PRIOR).doubtful]


def test_the_doubtful_faces_of_one_person_are_those_of_the_review(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    move_faces(store, [8], 1)  # the stranger; confirms the faces of Ann
    undo(store)
    reviewed = {item.face_id: item.degree for item in review_people(store, prior=PRIOR).doubtful}
    found = doubtful_faces(store, 1, prior=PRIOR)

    assert [face for face, _ in found] == sorted([1, 2, 3, 4], key=lambda face: reviewed[face])
    for face, degree in found:
        assert degree == pytest.approx(reviewed[face], rel=1e-5)
    keep_faces(store, [2])
    assert 2 not in [face for face, _ in doubtful_faces(store, 1, prior=PRIOR)]


def test_kept_faces_alone_are_confirmed_and_that_can_be_taken_back(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    keep_faces(store, [2, 5])
    assert confirmed(store) == {2, 5}
    assert undo(store) == "confirm"
    assert confirmed(store) == set()
    with pytest.raises(UsageError, match="face 8 is nobody's"):
        keep_faces(store, [2, 8])


def confirmed(store: FolderStore) -> set[int]:
    with store.catalog.read() as transaction:
        found = people_rows.assignments(transaction)
    return set(found.face_ids[found.confirmed].tolist())


def test_a_face_of_nobodys_is_asked_for_beside_whom_it_may_be(store: FolderStore) -> None:
    review = review_people(store, prior=PRIOR)
    assert review.doubtful == ()
    pairs = {(m.a.face_id, m.b.face_id) for m in review.merges}
    assert (1, 2) in pairs, "nobody is anybody yet"
    assert not any(8 in pair for pair in pairs)
    cluster_people(store, PLAIN)
    commit(store, maybe=[person(1, 5)[4]])
    [merge] = review_people(store, prior=PRIOR).merges
    assert (merge.a.person_id, merge.a.n_faces) == (1, 4)
    assert (merge.b.person_id, merge.b.face_id, merge.b.path) == (None, 9, "/p/maybe.jpg")
    assert review_people(store, top=1, prior=PRIOR).merges == (merge,)
    ignore_person(store, 1)
    assert review_people(store, prior=PRIOR).merges == ()


def test_a_query_tells_whose_a_match_is_and_the_degree_for_that_person(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    name_person(store, 1, "Ann")
    with FaceIndex.open(store.folder, engine=FAKE) as index:
        [answer] = index.query(face_id=1, prior=PRIOR, top=8).faces
        vectors = index.embeddings(np.arange(1, 9))
    matches = {int(match.face_id): match for match in answer.matches}
    assert (matches[2].person_id, matches[2].person) == (1, "Ann")
    mean = np.mean([float(vectors[0] @ vectors[other]) for other in (1, 2, 3)])
    expected = person_degree(np.array([mean]), np.array([3.0]), CURVE, prior=PRIOR)[0]
    assert matches[2].person_degree == pytest.approx(expected, rel=1e-6)
    assert matches[5].person_id == 2
    assert matches[5].person_degree == pytest.approx(0.0, abs=1e-4)
    assert (matches[8].person_id, matches[8].person, matches[8].person_degree) == (None, None, None)


def test_a_query_by_person_ranks_by_all_their_faces(store: FolderStore) -> None:
    cluster_people(store, PLAIN)
    name_person(store, 1, "Ann")
    commit(store, new=[person(1, 6)[5]])
    with FaceIndex.open(store.folder, engine=FAKE) as index:
        answer = index.query(person="ann", prior=PRIOR, top=20)
        vectors = index.embeddings(np.arange(1, 10)).astype(np.float64)
        [new] = index.query(person=1, prior=PRIOR, top=1, exclude_same_image=True).faces
        with pytest.raises(UsageError, match="either a picture"):
            index.query(person=1, face_id=1)
    [face] = answer.faces
    assert (answer.person_id, answer.person) == (1, "Ann")
    assert {match.face_id for match in face.matches[:5]} == {1, 2, 3, 4, 9}
    cosines = vectors @ vectors.T
    of_nine = next(match for match in face.matches if match.face_id == 9)
    assert of_nine.cosine == pytest.approx(cosines[8, :4].mean())
    assert of_nine.person_id is None
    of_one = next(match for match in face.matches if match.face_id == 1)
    assert of_one.cosine == pytest.approx(cosines[0, 1:4].mean()), "itself left out"
    assert [match.face_id for match in new.matches] == [9]


def test_the_evidence_of_a_person_is_discounted_and_of_one_face_the_plain_one() -> None:
    cosine = np.array([0.3, 0.4])
    once = person_log10_lr(cosine, np.ones(2), CURVE)
    np.testing.assert_allclose(once, [0.0, 8.0 / 3.0], atol=1e-12)
    hundred = person_log10_lr(cosine, np.full(2, 100.0), CURVE)
    np.testing.assert_allclose(hundred, once * 100**0.1)


def linear(means: Float64Array, n_pairs: Float64Array) -> Float64Array:
    return np.asarray(means, dtype=np.float64)


def free(n: int) -> Known:
    return Known(np.full(n, -1), {})


def same_partition(one: Int64Array, other: Int64Array) -> bool:
    return bool(np.array_equal(one[:, None] == one[None], other[:, None] == other[None]))


@examples(40)
@given(st.integers(2, 40), st.integers(0, 10_000), st.floats(0.05, 0.9))
def test_without_facts_it_is_average_linkage(n: int, seed: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, 4)).astype(np.float16)
    vectors /= np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True).astype(np.float16)
    faces = Faces(np.arange(n), vectors)
    links = nearest_links(faces, -2.0)
    assert len(links.a) == n * (n - 1) // 2
    ours = cluster(faces, links, free(n), linear, least)
    product = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    distance = 10.0 - product[np.triu_indices(n, 1)]
    tree = linkage(distance, "average")
    if np.min(np.abs(tree[:, 2] - (10.0 - least))) > 1e-4:
        assert same_partition(ours, fcluster(tree, 10.0 - least, "distance"))


@examples(40)
@given(st.integers(2, 30), st.integers(0, 10_000))
def test_facts_are_respected_whatever_the_scores(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, 3)).astype(np.float32)
    owner = np.where(rng.random(n) < 0.5, rng.integers(0, 4, n), -1)
    marks = {row: {int(rng.integers(0, 6))} for row in range(n) if rng.random() < 0.5}
    links = nearest_links(Faces(np.arange(n), vectors.astype(np.float16)), -1.0)
    labels = cluster(Faces(np.arange(n), vectors), links, Known(owner, marks), linear, -0.5)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        owners = set(owner[rows].tolist()) - {-1}
        assert len(owners) <= 1
        told = [mark for row in rows if owner[row] < 0 for mark in marks.get(int(row), ())]
        assert len(told) == len(set(told))
        if owners:
            assert set(np.flatnonzero(owner == owners.pop())) <= set(rows)
    np.testing.assert_array_equal(labels <= np.arange(n), True)


def test_of_many_alike_only_the_best_links_of_each_are_kept() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((60, 8)).astype(np.float16)
    vectors /= np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True).astype(np.float16)
    faces = Faces(np.arange(60), vectors)
    every, few = nearest_links(faces, -1.0), nearest_links(faces, -1.0, per_face=5)
    scores = np.full((60, 60), -2.0)
    scores[every.a, every.b] = scores[every.b, every.a] = every.scores
    best = np.argsort(-scores, axis=1)[:, :5]
    expected = {(min(a, int(b)), max(a, int(b))) for a in range(60) for b in best[a]}
    assert set(zip(few.a.tolist(), few.b.tolist(), strict=True)) == expected
    some = nearest_links(faces, -1.0, n_new=7, per_face=100)
    assert set(some.a.tolist()) == set(range(7))
    assert len(some.a) == 7 * 60 - 7 - 7 * 6 // 2
