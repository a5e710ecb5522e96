"""Groups of faces that seem to be people; scores are made of vectors as embeddings are."""

import numpy as np
import pytest

from facesim_index.degrees.apparent_people import apparent_people, relative_scores
from facesim_index.records import Float64Array, Int64Array
from tests.builders import unit_vectors

SAID_NOTHING = -1


def crowd(
    faces_of: list[int], *, likeness: float, alike: float = 0.0, seed: int = 3
) -> Float64Array:
    """Return the scores of people with so many faces each.

    Two faces of one person have a score of about `likeness`, and two people one of `alike`.
    """
    n_people, n_faces = len(faces_of), sum(faces_of)
    drawn = unit_vectors(n_people + n_faces + 1, seed=seed).astype(np.float64)
    common, people, noise = drawn[0], drawn[1 : n_people + 1], drawn[n_people + 1 :]
    who = np.repeat(np.arange(n_people), faces_of)
    faces = (
        np.sqrt(alike) * common
        + np.sqrt(likeness - alike) * people[who]
        + np.sqrt(1.0 - likeness) * noise
    )
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    return np.asarray(faces @ faces.T)


def grouped(scores: Float64Array, known: Int64Array | None = None) -> Int64Array:
    n = len(scores)
    nothing = np.full(n, SAID_NOTHING)
    found = apparent_people(scores, image=np.arange(n), known=nothing if known is None else known)
    return found.person


@pytest.mark.parametrize("alike", [0.0, 0.3])
def test_faces_of_one_person_stand_out_however_alike_all_people_are(alike: float) -> None:
    faces_of = [1] * 60 + [2] * 10 + [6] * 5
    person = grouped(crowd(faces_of, likeness=0.7, alike=alike))
    expected = np.repeat(np.arange(len(faces_of)), faces_of)
    assert np.array_equal(np.unique(person, return_index=True)[1].size, len(faces_of))
    assert np.array_equal(person[:, None] == person, expected[:, None] == expected)


def test_strangers_who_are_all_alike_do_not_become_one_person() -> None:
    person = grouped(crowd([1] * 200, likeness=0.5, alike=0.5))
    assert np.unique(person).size == 200


def test_a_face_that_is_hardly_like_the_person_joins_where_people_have_many_faces() -> None:
    scores = crowd([12] * 8, likeness=0.6)
    strangers = np.repeat(np.arange(8), 12) != 0
    # The first face has little in common with the others of its person, and none with others.
    scores[0, ~strangers] = scores[~strangers, 0] = 0.15
    assert np.unique(grouped(scores)).size == 8


def test_what_a_human_said_goes_before_what_it_looks_like() -> None:
    scores = crowd([1] * 30 + [2] * 5, likeness=0.7)
    known = np.full(40, SAID_NOTHING)
    known[[30, 31]] = 1, 2  # alike, and yet two people
    known[[0, 1]] = 3  # not alike, and yet one
    person = grouped(scores, known)
    assert person[30] != person[31]
    assert person[0] == person[1]
    assert person[32] == person[33]


def test_two_faces_of_one_photo_are_two_people() -> None:
    scores = crowd([1] * 30 + [2], likeness=0.9)
    image = np.arange(32)
    image[31] = image[30]
    found = apparent_people(scores, image=image, known=np.full(32, SAID_NOTHING))
    assert np.unique(found.person).size == 32


@pytest.mark.parametrize("n_faces", [0, 1, 2, 19])
def test_among_few_faces_everyone_is_somebody_else(n_faces: int) -> None:
    found = apparent_people(
        np.ones((n_faces, n_faces)),
        image=np.arange(n_faces),
        known=np.full(n_faces, SAID_NOTHING),
    )
    assert found.person.tolist() == list(range(n_faces))
    assert not found.doubtful.any()


def test_relative_scores_do_not_depend_on_the_scale() -> None:
    scores = crowd([1] * 40, likeness=0.7)
    assert relative_scores(0.2 + scores / 3.0) == pytest.approx(relative_scores(scores), abs=1e-3)
    assert np.isfinite(relative_scores(np.ones((30, 30)))).all()
