"""Faces found in reduced views of JPEGs, next to those of every pixel.

    python -m benchmarks.decode_agreement DATA WORK

For the photos that can be reduced and for pictures of 12 megapixels (see
`benchmarks.ingest_pictures`): how many faces are lost or found in addition, and how similar
the embeddings of the others are.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.ingest_pictures import camera_pictures, ordinary_photos
from facesim_index.engine import EngineSettings, FaceEngine, load_engine
from facesim_index.images import decode, open_picture
from facesim_index.models import resolve
from facesim_index.records import EmbeddedFace

SAME_FACE_IOU = 0.5


def main() -> None:
    """Print one line for each kind of pictures."""
    data, work = Path(sys.argv[1]), Path(sys.argv[2])
    engine = load_engine(EngineSettings(model=resolve(), provider="cpu"))
    compare("photos", ordinary_photos(data), engine)
    compare("12 MP", camera_pictures(data, work, "JPEG"), engine)


def compare(name: str, paths: Sequence[Path], engine: FaceEngine) -> None:
    """Compare the two ways on some pictures."""
    cosines: list[float] = []
    pictures = lost = added = 0
    for path in paths:
        content = path.read_bytes()
        picture = open_picture(content)
        if picture.reductions == (1,):
            continue
        whole, reduced = engine.embed_faces(decode(content).rgb), engine.embed_picture(picture)
        same = [float(a.embedding @ b.embedding) for a in whole for b in reduced if is_same(a, b)]
        pictures += 1
        lost += len(whole) - len(same)
        added += len(reduced) - len(same)
        cosines += same
    print(
        f"{name}: {pictures} pictures, {len(cosines)} faces, {lost} lost, {added} added; "
        f"cosine to the full decode: mean {np.mean(cosines):.4f}, least {min(cosines):.4f}"
    )


def is_same(a: EmbeddedFace, b: EmbeddedFace) -> bool:
    """Tell whether two boxes are of one face."""
    width = min(a.box.x + a.box.w, b.box.x + b.box.w) - max(a.box.x, b.box.x)
    height = min(a.box.y + a.box.h, b.box.y + b.box.h) - max(a.box.y, b.box.y)
    shared = max(0.0, width) * max(0.0, height)
    return shared > SAME_FACE_IOU * (a.box.w * a.box.h + b.box.w * b.box.h - shared)


if __name__ == "__main__":
    main()
