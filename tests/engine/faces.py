"""Questions about the faces of one picture."""

import numpy as np

from facesim_index.records import EmbeddedFace, Float32Array


def embeddings(faces: tuple[EmbeddedFace, ...]) -> Float32Array:
    return np.stack([face.embedding for face in faces])


def largest(faces: tuple[EmbeddedFace, ...]) -> EmbeddedFace:
    return max(faces, key=lambda face: face.quality.size_px)


def overlap(a: EmbeddedFace, b: EmbeddedFace) -> float:
    """Return the area that two boxes share, over the area that they cover."""
    w = min(a.box.x + a.box.w, b.box.x + b.box.w) - max(a.box.x, b.box.x)
    h = min(a.box.y + a.box.h, b.box.y + b.box.h) - max(a.box.y, b.box.y)
    shared = max(w, 0.0) * max(h, 0.0)
    return shared / (a.box.w * a.box.h + b.box.w * b.box.h - shared)
