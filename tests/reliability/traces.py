"""People whose every number is unmistakable, and what can be found of them in an index."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.records import Box, EmbeddedFace, FileStamp, PictureInfo, PictureReading, Quality
from tests.builders import unit_vectors


@dataclass(frozen=True)
class Person:
    """A picture of one person's faces, and every way in which an index could keep it."""

    path: str
    reading: PictureReading
    needles: Mapping[str, bytes]


def person(seed: int, n_faces: int) -> Person:
    """Return a picture whose every number is unmistakable."""
    rng = np.random.default_rng(10_000 + seed)
    needles: dict[str, bytes] = {}
    faces = []
    for n, embedding in enumerate(unit_vectors(n_faces, 500 + seed)):
        x, y, w, h, detection, sharpness = (float(value) for value in rng.uniform(0.1, 0.9, 6))
        landmarks = rng.uniform(1, 99, (5, 2)).astype(np.float32)
        box = Box(100 + x, 200 + y, 30 + w, 40 + h)
        quality = Quality(30 + w, 100 + sharpness, 1.5, -2.5)
        faces.append(EmbeddedFace(box, landmarks, detection, quality, embedding))
        needles[f"fp16 of face {n}"] = embedding.astype(np.float16).tobytes()
        needles[f"part of the fp16 of face {n}"] = embedding.astype(np.float16)[100:108].tobytes()
        needles[f"landmarks of face {n}"] = landmarks.astype("<f4").tobytes()
        for name, value in (("x", box.x), ("y", box.y), ("w", box.w), ("detection", detection)):
            needles[f"{name} of face {n}"] = struct.pack(">d", value)
    content = rng.bytes(32)
    name = f"Zoë and Ünal {seed}.jpg"
    folder = f"/home/nobody/private {seed}"
    needles["path"] = f"{folder}".encode()
    needles["name"] = name.encode()
    needles["content hash"] = content
    info = PictureInfo(640, 480, "JPEG", f"1999-07-04T12:30:{seed % 60:02d}")
    needles["time taken"] = info.taken_at.encode() if info.taken_at else b"?"
    stamp = FileStamp(1_234_567 + seed, 1_600_000_000_123_456_789 + seed)
    needles["mtime"] = struct.pack(">q", stamp.mtime_ns)
    reading_ = PictureReading(content, stamp, info, tuple(faces), None)
    return Person(f"{folder}/{name}", reading_, needles)


#: Never written anywhere, and looked for all the same.
def absent_forms(who: Person) -> dict[str, bytes]:
    vectors = [face.embedding for face in who.reading.faces]
    forms = {f"fp32 of face {n}": vector[:16].tobytes() for n, vector in enumerate(vectors)}
    forms |= {f"hash as hex, {n}": form for n, form in enumerate(_hex(who.reading.content_hash))}
    return forms


def _hex(content: bytes) -> tuple[bytes, bytes]:
    return content.hex().encode(), content.hex().upper().encode()


def traces(folder: Path, needles: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Return which needles are in which files of an index, whatever the files are."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for name, needle in needles.items():
            if needle in data or (name == "path" and needle in str(path).encode()):
                found.setdefault(name, []).append(path.name)
    return found
