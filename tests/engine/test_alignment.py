"""Alignment against skimage and insightface, and the geometry of pose and sharpness."""

import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.engine.alignment import (
    ARCFACE_LANDMARKS,
    aligned_crop,
    pose_deg,
    sharpness,
    similarity_transform,
)
from facesim_index.errors import UsageError
from facesim_index.records import Float64Array, UInt8Array
from tests.example_pictures import demo_pixels

TEMPLATE = ARCFACE_LANDMARKS.astype(np.float64)
#: Of the face in astronaut.png, as the detector finds them.
ASTRONAUT = np.array([[208, 105], [243, 104], [229, 126], [211, 146], [240, 145]], dtype=float)


def moved(
    points: Float64Array, scale: float, angle_deg: float, dx: float, dy: float
) -> Float64Array:
    angle = np.radians(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(scale * points @ turn.T + np.array([dx, dy]), dtype=np.float64)


def skimage_matrix(landmarks: Float64Array, side_px: int) -> Float64Array:
    from skimage.transform import SimilarityTransform

    estimated = SimilarityTransform.from_estimate(landmarks, TEMPLATE * (side_px / 112))
    return np.asarray(estimated.params[:2])


def insightface_matrix(landmarks: Float64Array, side_px: int) -> Float64Array:
    from insightface.utils import face_align

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # It still calls skimage's old method.
        return np.asarray(face_align.estimate_norm(landmarks, side_px))


def insightface_crop(rgb: UInt8Array, landmarks: Float64Array) -> UInt8Array:
    from insightface.utils import face_align

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return np.asarray(face_align.norm_crop(rgb, landmarks))


@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(0.05, 40),
    angle_deg=st.floats(-180, 180),
    dx=st.floats(-5000, 5000),
    noise_px=st.floats(0, 15),
    mirrored=st.booleans(),
)
def test_matrix_is_that_of_skimage_and_insightface(
    seed: int, scale: float, angle_deg: float, dx: float, noise_px: float, mirrored: bool
) -> None:
    noise = np.random.default_rng(seed).normal(0, noise_px, (5, 2))
    face = (TEMPLATE + noise) * ([-1, 1] if mirrored else [1, 1])
    landmarks = moved(face, scale, angle_deg, dx, 2 * dx)
    for side_px in (112, 224):
        ours = similarity_transform(landmarks, side_px)
        np.testing.assert_allclose(ours, skimage_matrix(landmarks, side_px), atol=1e-6)
        # insightface averages its template in float32, which moves the crop by 2e-6 px.
        np.testing.assert_allclose(ours, insightface_matrix(landmarks, side_px), atol=1e-5)


@given(st.floats(0.05, 40), st.floats(-179, 179), st.floats(-500, 500))
def test_a_moved_template_is_brought_back_exactly(scale: float, angle: float, dx: float) -> None:
    landmarks = moved(TEMPLATE, scale, angle, dx, -dx)
    matrix = similarity_transform(landmarks)
    back = landmarks @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(back, TEMPLATE, atol=1e-6)


def test_the_template_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        ARCFACE_LANDMARKS[0, 0] = 1.0


@pytest.mark.parametrize(
    "landmarks",
    [
        np.zeros((4, 2)),
        np.zeros((5, 3)),
        np.full((5, 2), 7.0),
        np.full((5, 2), np.nan),
        np.where(TEMPLATE > 90, np.inf, TEMPLATE),
    ],
)
def test_landmarks_of_no_face_are_refused(landmarks: Float64Array) -> None:
    with pytest.raises(UsageError, match="landmarks"):
        similarity_transform(landmarks)


@pytest.mark.parametrize("scale", [0.51, 0.7, 1.0, 2.5, 6.0])
@pytest.mark.parametrize("angle_deg", [0, 33, -120])
def test_crop_is_that_of_insightface_where_bilinear_does_not_alias(
    scale: float, angle_deg: float
) -> None:
    rgb = demo_pixels("astronaut.png")
    landmarks = moved(TEMPLATE - 56, 1 / scale, angle_deg, 225, 125)
    crop = aligned_crop(rgb, landmarks).astype(int)
    theirs = insightface_crop(rgb, landmarks)
    # The matrices differ in the sixth digit, which turns the rounding of a few values.
    assert np.abs(crop - theirs).max() <= 1
    assert (crop != theirs).mean() < 2e-4


def test_a_much_larger_face_is_averaged_not_skipped() -> None:
    """One-pixel stripes turn grey; a plain bilinear warp makes a pattern of them."""
    stripes = np.zeros((1200, 1200, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    landmarks = moved(TEMPLATE, 9.3, 5, 40, 40)
    plain = cv2.warpAffine(stripes, similarity_transform(landmarks), (112, 112))
    crop = aligned_crop(stripes, landmarks)
    assert plain[20:90, 20:90].std() > 40
    assert crop[20:90, 20:90].std() < 12
    assert abs(crop[20:90, 20:90].mean() - 127.5) < 3


@pytest.mark.parametrize("factor", [2.5, 4, 7.3])
def test_a_large_face_is_cut_out_at_the_same_place(factor: float) -> None:
    """Crops of a smooth picture do not depend on its size, so no offset creeps in."""
    y, x = np.mgrid[0:112, 0:112] / 112
    smooth = np.stack([x, y, 0.5 + 0.4 * np.sin(7 * x) * np.cos(5 * y)], axis=-1)
    small = np.round(255 * smooth).astype(np.uint8)
    side_px = round(112 * factor)
    enlarging = cv2.resize(small, (side_px, side_px), interpolation=cv2.INTER_LINEAR)
    large = np.asarray(enlarging, dtype=np.uint8)
    enlarged = (TEMPLATE + 0.5) * (side_px / 112) - 0.5
    crop = aligned_crop(large, enlarged)
    inner = (slice(4, -4), slice(4, -4))
    difference = crop[inner].astype(int) - aligned_crop(small, TEMPLATE)[inner].astype(int)
    assert np.abs(difference).max() <= 2
    assert abs(difference.mean()) < 0.3


def test_outside_the_picture_is_black() -> None:
    white = np.full((900, 900, 3), 255, dtype=np.uint8)
    assert aligned_crop(white, moved(TEMPLATE, 6, 0, -5000, 0)).max() == 0
    half = aligned_crop(white, moved(TEMPLATE - 56, 6, 0, 900, 450))
    assert half[:, :50].min() == 255
    assert half[:, 62:].max() == 0


def test_a_panorama_wider_than_the_warp_can_address() -> None:
    astronaut = demo_pixels("astronaut.png")
    panorama = np.zeros((512, 40_000, 3), dtype=np.uint8)
    panorama[:, -512:] = astronaut
    crop = aligned_crop(panorama, moved(ASTRONAUT, 1, 0, 40_000 - 512, 0))
    difference = crop.astype(int) - aligned_crop(astronaut, ASTRONAUT).astype(int)
    assert np.abs(difference).max() <= 1


def test_landmarks_absurdly_far_apart_cost_no_memory() -> None:
    rgb = np.full((60, 60, 3), 9, dtype=np.uint8)
    assert aligned_crop(rgb, moved(TEMPLATE, 1e7, 0, 0, 0)).shape == (112, 112, 3)


def test_a_read_only_picture_and_another_side() -> None:
    rgb = demo_pixels("astronaut.png")
    rgb.setflags(write=False)
    crop = aligned_crop(rgb, ASTRONAUT, side_px=224)
    assert crop.shape == (224, 224, 3)
    assert crop.dtype == np.uint8


def test_pose_of_the_template_is_frontal() -> None:
    yaw_deg, roll_deg = pose_deg(TEMPLATE)
    assert abs(yaw_deg) < 1
    assert abs(roll_deg) < 1


@given(st.floats(-15, 15), st.floats(-170, 170), st.floats(0.2, 30))
def test_yaw_flips_in_the_mirror_and_roll_follows_a_turn(
    nose_px: float, angle_deg: float, scale: float
) -> None:
    face = TEMPLATE.copy()
    face[2, 0] += nose_px
    yaw_deg, roll_deg = pose_deg(face)
    # In the mirror the left eye is the one that was right.
    mirrored = (face * [-1, 1])[[1, 0, 2, 4, 3]]
    assert pose_deg(mirrored) == pytest.approx((-yaw_deg, -roll_deg))
    turned = moved(face, scale, angle_deg, 100, 50)  # y runs down: clockwise is positive.
    assert pose_deg(turned) == pytest.approx((yaw_deg, roll_deg + angle_deg), abs=1e-6)


def test_the_nose_to_the_right_is_a_positive_yaw() -> None:
    face = TEMPLATE.copy()
    face[2, 0] += 9
    quarter = pose_deg(face)[0]
    face[2, 0] += 9
    half = pose_deg(face)[0]
    assert 15 < quarter < half < 60


def test_pose_of_a_head_turned_in_space() -> None:
    """A weak-perspective head with the assumed nose depth gives its own yaw back."""
    head = np.array([[-32, -30, 0], [32, -30, 0], [0, 3, 32], [-25, 36, 0], [25, 36, 0]])
    for yaw_deg in (-60, -30, -10, 0, 20, 45, 75):
        yaw = np.radians(yaw_deg)
        x = head[:, 0] * np.cos(yaw) + head[:, 2] * np.sin(yaw)
        landmarks = np.column_stack([x, head[:, 1]])
        assert pose_deg(landmarks) == pytest.approx((yaw_deg, 0.0), abs=1e-6)


def test_pose_where_the_eyes_coincide() -> None:
    face = TEMPLATE.copy()
    face[1] = face[0]
    assert pose_deg(face) == (0.0, 0.0)


def test_blur_lowers_the_sharpness() -> None:
    crop = aligned_crop(demo_pixels("astronaut.png"), ASTRONAUT)
    values = [sharpness(crop)]
    for radius in (3, 7, 15):
        values.append(sharpness(np.asarray(cv2.GaussianBlur(crop, (radius, radius), 0))))
    assert values == sorted(values, reverse=True)
    assert values[0] > 4 * values[2]
    assert sharpness(np.full_like(crop, 90)) == 0.0
