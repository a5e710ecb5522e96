"""Degraded copies of labelled pictures, embedded and kept: what `quality_covariates` looks at."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from facesim_index.engine.loading import EngineSettings
from facesim_index.engine.reading import make_reader
from facesim_index.models.resolution import resolve
from facesim_index.records import (
    EmbeddedFace,
    Float32Array,
    Float64Array,
    PictureReading,
    UInt8Array,
)
from facesim_index.workers.pool import PoolSettings, WorkerPool

QUALITY = ("size_px", "sharpness", "yaw_deg", "roll_deg", "detection")
Suffix = str


@dataclass(frozen=True)
class Faces:
    """One face of each picture in one condition; a picture without a face is left out.

    Attributes
    ----------
    names : ndarray of shape (n,), str
        ``NAME/NAME_0001.jpg``, ascending.
    embeddings : ndarray of shape (n, dimension), float32
    quality : ndarray of shape (n, len(QUALITY)), float64
    n_pictures : int
        With those without a face.
    """

    names: np.ndarray[tuple[int], np.dtype[np.str_]]
    embeddings: Float32Array
    quality: Float64Array
    n_pictures: int


def blurred(rgb: UInt8Array, seed: int) -> UInt8Array:
    """Return the picture out of focus: a Gaussian of 3 px, where a face is about 90 px wide."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 3.0), dtype=np.uint8)


def enlarged(rgb: UInt8Array, seed: int) -> UInt8Array:
    """Return the picture after it was a fifth as large: few details in many pixels."""
    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, (width // 5, height // 5), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, dtype=np.uint8)


def tiny(rgb: UInt8Array, seed: int) -> UInt8Array:
    """Return the picture three tenths as large."""
    size = (rgb.shape[1] * 3 // 10, rgb.shape[0] * 3 // 10)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def dark(rgb: UInt8Array, seed: int) -> UInt8Array:
    """Return the picture with an eighth of its light, and the noise of a camera in the dark."""
    noise = np.random.default_rng(seed).normal(0.0, 3.0, rgb.shape[:2])
    return np.clip(rgb / 8.0 + noise[..., None], 0, 255).round().astype(np.uint8)


def unchanged(rgb: UInt8Array, seed: int) -> UInt8Array:
    """Return the picture as it is."""
    return rgb


#: What is done to the pixels, the file's suffix, and how it is written.
CONDITIONS: dict[str, tuple[Callable[[UInt8Array, int], UInt8Array], Suffix, list[int]]] = {
    "clean": (unchanged, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]),
    "blur": (blurred, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]),
    "enlarged": (enlarged, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]),
    "tiny": (tiny, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]),
    "jpeg": (unchanged, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 10]),
    "dark": (dark, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]),
}


def load_or_embed(
    images: Path, names: Sequence[str], cache: Path, workers: int
) -> dict[str, Faces]:
    """Return the faces in every condition; what was embedded before is read from `cache`."""
    settings = EngineSettings(model=resolve(None))
    key = settings.identity.key
    cache.mkdir(parents=True, exist_ok=True)
    found = {}
    for condition in CONDITIONS:
        kept = cache / f"{condition}.npz"
        if not _is_of(kept, key, names):
            _embed(images, names, condition, settings, workers, kept)
        with np.load(kept) as there:
            faces = Faces(there["names"], there["embeddings"], there["quality"], len(names))
        print(f"{condition}: {faces.names.size} of {len(names)} pictures with a face", flush=True)
        found[condition] = faces
    return found


def _is_of(kept: Path, key: str, names: Sequence[str]) -> bool:
    if not kept.exists():
        return False
    with np.load(kept) as there:
        return str(there["engine_key"]) == key and there["asked"].tolist() == list(names)


def _embed(
    images: Path,
    names: Sequence[str],
    condition: str,
    settings: EngineSettings,
    workers: int,
    kept: Path,
) -> None:
    """Write the pictures of a condition to a folder that goes again, and embed them."""
    found: list[tuple[str, EmbeddedFace]] = []
    with (
        TemporaryDirectory(dir=kept.parent) as folder,
        WorkerPool(make_reader, settings, PoolSettings(workers)) as pool,
    ):
        paths = (_degraded(images, name, condition, Path(folder)) for name in names)
        for name, (path, reading) in zip(names, pool.map_ordered(paths), strict=True):
            if not isinstance(reading, PictureReading) or reading.failure:
                raise SystemExit(f"{path}: {reading}")
            face = central_face(reading)
            if face is not None:
                found.append((name, face))
            path.unlink()
    np.savez(
        kept,
        engine_key=np.array(settings.identity.key),
        asked=np.array(names),
        names=np.array([name for name, _ in found]),
        embeddings=np.stack([face.embedding for _, face in found]),
        quality=np.array([_quality(face) for _, face in found]),
    )


def _degraded(images: Path, name: str, condition: str, folder: Path) -> Path:
    degrade, suffix, options = CONDITIONS[condition]
    rgb = np.asarray(cv2.imread(str(images / name)), dtype=np.uint8)
    path = folder / (name.replace("/", "_").removesuffix(".jpg") + suffix)
    cv2.imwrite(str(path), degrade(rgb, zlib.crc32(name.encode())), options)
    return path


def central_face(reading: PictureReading) -> EmbeddedFace | None:
    """Return the face nearest the picture's centre: whom LFW's label means."""
    if reading.info is None or not reading.faces:
        return None
    centre = reading.info.width_px / 2, reading.info.height_px / 2
    return min(
        reading.faces,
        key=lambda face: np.hypot(
            face.box.x + face.box.w / 2 - centre[0], face.box.y + face.box.h / 2 - centre[1]
        ),
    )


def _quality(face: EmbeddedFace) -> list[float]:
    values = face.quality
    return [values.size_px, values.sharpness, values.yaw_deg, values.roll_deg, face.detection]
