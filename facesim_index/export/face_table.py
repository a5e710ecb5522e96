"""The table of faces: one row a face, as ``export faces`` and `FaceIndex.faces` give it."""

import json

from facesim_index.records import FaceRecord

LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
COLUMNS = (
    *("face_id", "image_id", "path", "x", "y", "w", "h", "detection", "copies"),
    *(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy"),
    *("size_px", "sharpness", "yaw_deg", "roll_deg"),
)

Cell = int | float | str


def row(face: FaceRecord) -> tuple[Cell, ...]:
    """Return a face as the cells of `COLUMNS`.

    ``copies`` is a JSON list of the other files with the same picture; lengths and positions
    are in pixels, rounded to a hundredth.
    """
    box = face.box
    return (
        face.face_id,
        face.image_id,
        face.path,
        *(round(value, 2) for value in (box.x, box.y, box.w, box.h)),
        round(face.detection, 4),
        json.dumps(face.paths[1:], ensure_ascii=False),
        *(round(float(value), 2) for value in face.landmarks.ravel()),
        round(face.quality.size_px, 2),
        round(face.quality.sharpness, 2),
        round(face.quality.yaw_deg, 1),
        round(face.quality.roll_deg, 1),
    )
