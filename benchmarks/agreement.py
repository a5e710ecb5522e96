"""Faces found by ingest, next to those of every pixel and of fixed scales.

    python -m benchmarks.agreement DATA WORK

The reference decodes every picture whole, brings it to 640 px on a square canvas (enlarged where
it is smaller) and to 128 px, and merges what the detector finds there.  For LFW, for ordinary
photos and for pictures of 12 megapixels (see `benchmarks.ingest_pictures`): how many of its faces
are lost, how many others are found, and how similar the embeddings of the rest are.  Each
lost face is named with its score and its size.

Only pictures of more than 17 megapixels are looked at in a reduced decode.  For the last kind
enlarged to 27, the reference is ingest's own way on the whole decode.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from PIL import Image

from benchmarks.ingest_pictures import camera_pictures, ordinary_photos, small_pictures
from facesim_index.engine import face_engine
from facesim_index.engine.detection import Detection, Detector, non_maximum_suppression
from facesim_index.engine.face_engine import InsightFaceEngine
from facesim_index.engine.loading import EngineSettings
from facesim_index.models.resolution import resolve
from facesim_index.pictures.decoding import decode, open_picture
from facesim_index.pictures.views import View, WholePicture
from facesim_index.records import Box, EmbeddedFace

Reference = Callable[[bytes, InsightFaceEngine], tuple[EmbeddedFace, ...]]

SAME_FACE_IOU = 0.5
SCALES_PX = (640, 128)


def main() -> None:
    """Print one line for each kind of pictures."""
    data, work = Path(sys.argv[1]), Path(sys.argv[2])
    engine = EngineSettings(model=resolve(), provider="cpu").load()
    assert isinstance(engine, InsightFaceEngine)
    compare("LFW", small_pictures(data), by_fixed_scales, engine)
    compare("photos", ordinary_photos(data), by_fixed_scales, engine)
    camera = camera_pictures(data, work, "JPEG")
    compare("12 MP", camera, by_fixed_scales, engine)
    compare("27 MP", enlarged(camera, work / "camera-27"), by_whole_decode, engine)


def compare(
    name: str, paths: Sequence[Path], reference_of: Reference, engine: InsightFaceEngine
) -> None:
    """Compare ingest's way on some pictures with another."""
    cosines: list[float] = []
    lost = added = 0
    for path in paths:
        content = path.read_bytes()
        reference = reference_of(content, engine)
        (found,) = engine.embed_pictures([open_picture(content)])
        same = [float(a.embedding @ b.embedding) for a in reference for b in found if is_same(a, b)]
        cosines += same
        added += len(found) - len(same)
        for face in reference:
            if not any(is_same(face, other) for other in found):
                lost += 1
                print(f"  lost: {path.name}, score {face.detection:.2f}, {size(face)}")
    print(
        f"{name}: {len(paths)} pictures, {len(cosines)} faces, {lost} lost, {added} added; "
        f"cosine to the reference: mean {np.mean(cosines):.4f}, least {min(cosines):.4f}"
    )


def enlarged(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Return the pictures at one and a half times their width and height, made where missing."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / path.name for path in paths]
    for path, target in zip(paths, made, strict=True):
        if not target.exists():
            with Image.open(path) as image:
                image.resize((image.width * 3 // 2, image.height * 3 // 2)).save(target, quality=92)
    return made


def by_whole_decode(content: bytes, engine: InsightFaceEngine) -> tuple[EmbeddedFace, ...]:
    """Return the faces of a picture that is decoded whole."""
    (faces,) = engine.embed_pictures([WholePicture(decode(content).rgb)])
    return faces


def by_fixed_scales(content: bytes, engine: InsightFaceEngine) -> tuple[EmbeddedFace, ...]:
    """Return the faces of a picture that is decoded whole and looked at by fixed scales."""
    with patch.object(face_engine, "find_faces", find_by_fixed_scales):
        return by_whole_decode(content, engine)


def find_by_fixed_scales(
    view: View, detector: Detector, *, min_score: float, min_face_px: float
) -> list[Detection]:
    """Find faces as `engine.detection.find_faces` does, but always at the same scales."""
    height_px, width_px = view.rgb.shape[:2]
    boxes, points = [], []
    for side_px in SCALES_PX:
        scale = side_px / max(height_px, width_px)
        size_px = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas = np.zeros((side_px, side_px, 3), dtype=np.uint8)
        canvas[: size_px[1], : size_px[0]] = cv2.resize(view.rgb, size_px, interpolation=how)
        (seen,) = detector.detect([canvas], min_score=min_score)
        pixel_px = np.array([width_px / size_px[0], height_px / size_px[1]], dtype=np.float32)
        corners = (seen.boxes.reshape(-1, 2, 2) + 0.5) * pixel_px - 0.5
        boxes.append(np.hstack([corners.reshape(-1, 4), seen.scores.reshape(-1, 1)]))
        points.append((seen.landmarks + 0.5) * pixel_px - 0.5)
    rows, landmarks = np.vstack(boxes).astype(np.float32), np.vstack(points).astype(np.float32)
    found = []
    for row in non_maximum_suppression(rows):
        x0, y0 = np.maximum(rows[row, :2], 0)
        x1, y1 = np.minimum(rows[row, 2:4], (width_px, height_px))
        if min(x1 - x0, y1 - y0) >= max(min_face_px, 1.0):
            box = Box(float(x0), float(y0), float(x1 - x0), float(y1 - y0))
            found.append(Detection(box, landmarks[row], float(rows[row, 4])))
    return sorted(found, key=lambda face: (face.box.x, face.box.y))


def is_same(a: EmbeddedFace, b: EmbeddedFace) -> bool:
    """Tell whether two boxes are of one face."""
    width = min(a.box.x + a.box.w, b.box.x + b.box.w) - max(a.box.x, b.box.x)
    height = min(a.box.y + a.box.h, b.box.y + b.box.h) - max(a.box.y, b.box.y)
    shared = max(0.0, width) * max(0.0, height)
    return shared > SAME_FACE_IOU * (a.box.w * a.box.h + b.box.w * b.box.h - shared)


def size(face: EmbeddedFace) -> str:
    """Return the box of a face as text."""
    box = face.box
    return f"{box.w:.0f}×{box.h:.0f} px at ({box.x:.0f}, {box.y:.0f})"


if __name__ == "__main__":
    main()
