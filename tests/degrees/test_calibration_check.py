from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.fitting.labelled_data import LabelledData
from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.degrees.calibration_check import CalibrationCheck, check_index, check_pairs
from facesim_index.degrees.impostors import (
    AcrossPairs,
    PairGroup,
    SameImagePairs,
    across_pairs,
    same_image_pairs,
)
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.metrics.grouped_rates import Groups, interval
from facesim_index.records import Float32Array
from facesim_index.store.folder.store import FolderStore
from tests.builders import commit_pictures, new_store, picture, unit_vectors

# Strangers' cosines are evenly spread over [0, 1]: the rate at cosine c is 1 - c, down to 1e-5.
RATES = (0.0, *(1.0 - 10.0**-power for power in np.arange(0.25, 5.01, 0.25)))
CURVE = Calibration(
    name="even",
    engine_key=FAKE_IDENTITY.key,
    method="by hand",
    knots=((0.0, -2.0), (1.0, 5.0)),
    false_matches=tuple((float(c), float(np.log10(1.0 - c))) for c in RATES),
    evidence=Evidence("made up", 2, 3, 4, "2026-11-24"),
)


NO_PHOTOS = SameImagePairs(np.empty(0), np.empty(0, dtype=np.int64), 0, ())
NOTHING_ACROSS = AcrossPairs(np.empty(0), np.empty((0, 2), dtype=np.int64), 0)


def in_photos(n_pairs: int, *, power: float = 1.0) -> SameImagePairs:
    """Return pairs of one photo as the curve says; with a `power` below 1 they score higher."""
    cosine = np.random.default_rng(7).random(n_pairs) ** power
    return SameImagePairs(cosine, np.arange(n_pairs), 0, ())


def across(n_people: int, *, power: float = 1.0) -> AcrossPairs:
    """Return a pair for each two people."""
    people = np.stack(np.triu_indices(n_people, 1), axis=1).astype(np.int64)
    return AcrossPairs(np.random.default_rng(8).random(len(people)) ** power, people, 0)


def checked(
    photos: SameImagePairs = NO_PHOTOS,
    other: AcrossPairs = NOTHING_ACROSS,
    labelled: LabelledData | None = None,
) -> CalibrationCheck:
    return check_pairs(CURVE, photos, other, labelled=labelled)


def test_pairs_that_score_as_the_calibration_says_fit() -> None:
    result = checked(in_photos(20_000), across(200))
    assert result.verdict == "fits"
    assert "'even' fits these pictures" in result.sentence
    assert result.sentence.endswith("down to false match rate 0.001.")
    for levels in (result.same_photo, result.across):
        assert [level.rate for level in levels] == [0.1, 0.01, 0.001, 0.0001]
        assert [level.says for level in levels][:3] == ["fits"] * 3
        assert levels[3].says == "too few pairs"
        assert levels[0].score == pytest.approx(0.9, abs=0.01)
        assert levels[0].observed == pytest.approx(0.1, abs=0.01)


def test_strangers_of_other_photos_that_score_too_high_are_told() -> None:
    result = checked(in_photos(20_000), across(200, power=0.2))
    assert result.verdict == "claims_too_much"
    assert "claims too much for these pictures" in result.sentence
    assert result.across[1].says == "too many"
    assert result.across[1].low > 0.02


def test_alike_people_in_one_photo_do_not_condemn_a_calibration_that_fits_strangers() -> None:
    result = checked(in_photos(20_000, power=0.2), across(200))
    assert result.same_photo[1].says == "too many"
    assert result.verdict == "fits"
    assert "together in one photo are more alike than strangers" in result.sentence


def test_alike_people_in_one_photo_alone_prove_nothing() -> None:
    result = checked(in_photos(20_000, power=0.2), across(4))
    assert result.verdict == "too_few_pairs"
    assert "together in one photo are more alike than strangers" in result.sentence


def test_strangers_that_score_lower_fit_with_room() -> None:
    result = checked(other=across(200, power=30.0))
    assert result.verdict == "fits"
    assert [level.says for level in result.across][:2] == ["fewer", "fewer"]


@pytest.mark.parametrize("n_pairs", [0, 1, 100])
def test_few_pairs_cannot_tell(n_pairs: int) -> None:
    result = checked(in_photos(n_pairs))
    assert result.verdict == "too_few_pairs"
    assert "too few different people" in result.sentence
    assert result.n_pairs == n_pairs


def test_few_people_cannot_tell_however_many_their_pairs() -> None:
    usual = across(4, power=0.2)
    often = AcrossPairs(usual.score.repeat(5000), usual.people.repeat(5000, axis=0), 0)
    assert checked(other=often).verdict == "too_few_pairs"


def test_one_collage_is_no_proof() -> None:
    """All the high cosines come from one photo: that photo is odd, not the rest."""
    usual = in_photos(2000)
    cosine = np.concatenate((usual.score, np.full(45, 0.99995)))
    image = np.concatenate((usual.image, np.full(45, 10_000)))
    together = checked(SameImagePairs(cosine, image, 0, ()))
    assert "too many" not in [level.says for level in together.same_photo]
    apart = checked(SameImagePairs(cosine, np.arange(cosine.size), 0, ()))
    assert "too many" in [level.says for level in apart.same_photo]


def test_a_curve_without_false_match_rates_is_held_to_its_likelihood_ratios() -> None:
    calibration = Calibration(CURVE.name, CURVE.engine_key, "by hand", CURVE.knots, CURVE.evidence)
    # Half as many strangers reach each likelihood ratio as may at most.
    power = np.maximum(-np.log10(2.0 * np.random.default_rng(7).random(19_900)), -2.0)
    pairs = AcrossPairs(np.minimum((power + 2.0) / 7.0, 1.0), across(200).people, 0)
    result = check_pairs(calibration, NO_PHOTOS, pairs)
    assert [level.expected for level in result.across] == [0.1, 0.01, 0.001, 0.0001]
    assert result.across[0].score == pytest.approx(3 / 7)
    assert result.verdict == "fits"
    assert check_pairs(calibration, NO_PHOTOS, across(200)).verdict == "claims_too_much"


def test_many_found_are_no_proof_where_they_may_be_of_one_person() -> None:
    usual = across(200)
    score = np.where(np.arange(usual.score.size) % 70, usual.score, 0.9999)
    assert checked(other=AcrossPairs(score, usual.people, 0)).across[2].says == "too many"
    perhaps = AcrossPairs(score, usual.people, 0, n_missed=usual.score.size // 70)
    result = checked(other=perhaps)
    assert result.across[2].says == "unclear"
    assert result.across[2].low < 0.001 < result.across[2].observed
    assert result.verdict == "fits"  # as far as 0.01


def test_where_pairs_look_like_one_person_it_cannot_tell() -> None:
    """Two people have filled an album, and nothing stands out among so few faces."""
    usual = across(15)
    same = (usual.people % 2).sum(axis=1) != 1
    likeness = np.minimum(np.random.default_rng(4).uniform(0.9, 1.1, same.size), 1.0)
    album = AcrossPairs(np.where(same, likeness, usual.score), usual.people, 0)
    result = checked(other=album)
    assert result.verdict == "too_few_pairs"
    assert "It is not clear whether calibration 'even' fits" in result.sentence
    assert "'even'" in checked(other=across(15)).sentence


def test_a_group_of_faces_that_it_does_not_fit_is_told_of() -> None:
    usual = across(200)
    inside = np.asarray((usual.people < 60).all(axis=1))
    score = np.where(inside, usual.score**0.2, usual.score)
    small = PairGroup("faces under 48 px", 60, inside, 0)
    few = PairGroup("faces hardly found", 20, inside, 0)
    result = checked(other=AcrossPairs(score, usual.people, 0, groups=(small, few)))
    assert result.verdict == "fits"
    assert "Between faces under 48 px it claims too much" in result.sentence
    assert [(group.name, group.n_faces) for group in result.groups] == [("faces under 48 px", 60)]
    assert result.groups[0].levels[1].observed == pytest.approx(1 - 0.99**5, rel=0.3)


def labelled_pairs(genuine_cosine: float) -> LabelledData:
    person = np.repeat(np.arange(150), 3)
    strangers = across(150)
    scores = LabelledScores(np.full(450, genuine_cosine), person, strangers.score, strangers.people)
    return LabelledData("named", scores, 300)


def test_labels_are_compared_too() -> None:
    result = checked(labelled=labelled_pairs(0.9))
    assert result.verdict == "fits"
    assert result.labels is not None
    assert result.labels.figures.n_genuine == 450
    assert [level.says for level in result.labels.strangers[:3]] == ["fits"] * 3
    assert [level.n_found for level in result.labels.mates] == [0]


def test_mates_that_are_called_strangers_are_told() -> None:
    result = checked(labelled=labelled_pairs(0.05))
    assert result.verdict == "claims_too_much"
    assert "one person are said to be two" in result.sentence


def apart(n_pairs: int) -> Groups:
    return Groups.of(np.arange(n_pairs)[:, None])


def test_the_interval_is_clopper_and_pearsons_for_independent_pairs() -> None:
    found = np.zeros(100, dtype=np.bool_)
    found[:10] = True
    # From the tables: 10 of 100.
    low, high = interval(np.random.default_rng(0).permutation(found), apart(100))
    assert (low, high) == pytest.approx((0.0490, 0.1762), abs=2e-3)
    assert interval(found[10:], apart(90)) == pytest.approx((0.0, 0.0402), abs=1e-3)
    assert interval(found[:10], apart(10))[1] == 1.0


def test_the_interval_is_wider_when_pairs_hang_together() -> None:
    found = np.repeat(np.arange(100) < 10, 20)
    groups = np.repeat(np.arange(100), 20)[:, None]
    alone = interval(found, apart(2000))
    together = interval(found, Groups.of(groups))
    # Twenty equal pairs are one.
    assert together == pytest.approx((0.049, 0.1762), abs=3e-3)
    assert alone[1] - alone[0] < (together[1] - together[0]) / 3


def test_the_interval_covers_the_rate_when_people_differ() -> None:
    rng = np.random.default_rng(11)
    pairs = np.stack(np.triu_indices(60, 1), axis=1)
    covered = 0
    for _ in range(200):
        liking = rng.normal(0.0, 0.7, 60)
        height = liking[pairs].sum(axis=1) + rng.normal(size=len(pairs))
        low, high = interval(height > 1.5, Groups.of(pairs))
        truth = 0.1443  # P(N(0, 0.98 + 1) > 1.5)
        covered += low <= truth <= high
    assert covered >= 180


def commit_crowd(store: FolderStore, **photos: Float32Array) -> None:
    commit_pictures(store, {f"/p/{name}.jpg": picture(name, rows) for name, rows in photos.items()})


def blend(a: Float32Array, b: Float32Array, cosine: float) -> Float32Array:
    """Return a vector with this cosine to `a`."""
    b = b - (a @ b) * a
    mixed = cosine * a + np.sqrt(1.0 - cosine**2) * b / np.linalg.norm(b)
    return np.asarray(mixed / np.linalg.norm(mixed), dtype=np.float32)


def test_pairs_of_one_picture_and_no_others(tmp_path: Path) -> None:
    v = unit_vectors(6, seed=2)
    with new_store(tmp_path / "i") as store:
        commit_crowd(store, three=v[:3], two=np.stack((v[3], blend(v[3], v[4], 0.6))), one=v[5:])
        with store.view() as view:
            found = same_image_pairs(view)
    assert found.score.size == 4
    assert found.n_doubtful == 0
    assert sorted(np.unique(found.image, return_counts=True)[1]) == [1, 3]
    first = found.highest[0]
    assert first.cosine == pytest.approx(0.6, abs=1e-3)
    assert (first.face_a, first.face_b, first.path) == (4, 5, "/p/two.jpg")
    expected = np.sort([v[0] @ v[1], v[0] @ v[2], v[1] @ v[2], 0.6])
    assert np.sort(found.score) == pytest.approx(expected, abs=1e-3)


def test_what_may_be_one_face_twice_is_left_out(tmp_path: Path) -> None:
    v = unit_vectors(3, seed=3)
    with new_store(tmp_path / "i") as store:
        commit_crowd(store, mirror=np.stack((v[0], blend(v[0], v[1], 0.9), v[2])))
        with store.view() as view:
            found = same_image_pairs(view)
    assert found.n_doubtful == 1
    assert found.score.size == 2
    assert found.score.max() < 0.5


def test_overlapping_boxes_are_left_out(tmp_path: Path) -> None:
    import dataclasses

    from facesim_index.records import Box

    reading = picture("crowd", unit_vectors(3, seed=4))
    boxes = (Box(0, 0, 100, 100), Box(50, 0, 100, 100), Box(145, 0, 100, 100))
    faces = tuple(
        dataclasses.replace(face, box=box) for face, box in zip(reading.faces, boxes, strict=True)
    )
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": dataclasses.replace(reading, faces=faces)})
        with store.view() as view:
            found = same_image_pairs(view)
    assert (found.score.size, found.n_doubtful) == (2, 1)


def test_pairs_of_different_pictures(tmp_path: Path) -> None:
    v = unit_vectors(8, seed=5)
    twin = blend(v[0], v[6], 0.95)
    cousin = blend(v[1], v[7], 0.5)
    with new_store(tmp_path / "i") as store:
        commit_crowd(store, a=v[:2], b=np.stack((twin, v[2])), c=cousin[None], d=v[3:4])
        with store.view() as view:
            found = across_pairs(view)
    # Six faces have 15 pairs: two of one picture; among so few faces none stands out.
    assert (found.score.size, found.n_left_out) == (13, 0)
    assert len(np.unique(found.people)) == 6


def test_faces_that_stand_out_together_are_no_pair(tmp_path: Path) -> None:
    v = unit_vectors(50, seed=5)
    twin = blend(v[0], v[48], 0.95)
    cousin = blend(v[1], v[49], 0.3)
    with new_store(tmp_path / "i") as store:
        commit_crowd(store, **{f"p{n}": v[n : n + 1] for n in range(46)})
        commit_crowd(store, twins=np.stack((twin, v[46])), cousins=np.stack((cousin, v[47])))
        with store.view() as view:
            found = across_pairs(view)
            few = across_pairs(view, n_faces=30)
    # Fifty faces have 1,225 pairs: two of one picture, and two that stand out.
    assert (found.score.size, found.n_left_out, found.n_missed) == (1221, 2, 2)
    assert found.score.max() < 0.25
    assert len(np.unique(found.people)) == 48
    assert [group.n_faces for group in found.groups if "under" in group.name] == []
    assert few.score.size + few.n_left_out <= 30 * 29 // 2


def test_an_index_is_checked(tmp_path: Path) -> None:
    v = unit_vectors(300, seed=9)
    with new_store(tmp_path / "i") as store:
        commit_crowd(store, **{f"p{n}": v[3 * n : 3 * n + 3] for n in range(100)})
        with store.view() as view:
            result = check_index(view, CURVE)
    assert (result.n_pairs, result.n_images) == (300, 100)
    assert result.n_across == 300 * 299 // 2 - 300
    # Random vectors are far from 0.9: fewer than the made up curve says.
    assert result.across[0].says == "fewer"
    assert result.verdict == "fits"


def test_an_empty_index_has_no_pairs(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as store, store.view() as view:
        found = same_image_pairs(view)
        result = check_index(view, CURVE)
    assert (found.score.size, found.highest) == (0, ())
    assert result.verdict == "too_few_pairs"
