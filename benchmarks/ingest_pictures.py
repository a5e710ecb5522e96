"""The folders of pictures that ingest is measured on, made from the test data once.

Everything is deterministic and kept below the folder for generated data, so that a second
run finds it.  Copies of a picture differ in a few bytes after its end, which decoders do not
read: to the index they are other pictures, to the networks the same ones.
"""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".jpg", ".jpeg", ".png")
CAMERA_LONG_PX, CAMERA_SHORT_PX = 4000, 3000
N_CAMERA_PICTURES = 8
_GRAIN = 3.0


def small_pictures(data: Path) -> list[Path]:
    """Return LFW's pictures of 250×250 px, in the order of their names."""
    return sorted((data / "lfw_dev" / "images").rglob("*.jpg"))


def ordinary_photos(data: Path) -> list[Path]:
    """Return the photos of 1 to 4.1 megapixels, each content once."""
    found: dict[bytes, Path] = {}
    for path in sorted((data / "photos").rglob("*")):
        if path.suffix.lower() in SUFFIXES and 1.0 <= megapixels(path) <= 4.1:
            found.setdefault(path.read_bytes(), path)
    return list(found.values())


def megapixels(path: Path) -> float:
    """Return the pixels of a picture, in millions, from its header."""
    with Image.open(path) as image:
        return image.width * image.height / 1e6


def camera_pictures(data: Path, work: Path, kind: str) -> list[Path]:
    """Return pictures of 12 megapixels as a camera makes them, made where they are missing.

    Every other one is a single photo enlarged, a face near the camera; the others show six
    photos side by side, so that faces are as small as in a picture of a group.  Grain is
    added, without which enlarged pictures would be too easy to decode.

    Parameters
    ----------
    data, work : Path
    kind : {"JPEG", "HEIF"}
    """
    suffix = ".jpg" if kind == "JPEG" else ".heic"
    folder = work / f"camera-{kind.lower()}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"camera-{number}{suffix}" for number in range(N_CAMERA_PICTURES)]
    if not all(path.exists() for path in paths):
        photos = [upright(path) for path in ordinary_photos(data)]
        for number, path in enumerate(paths):
            shown = photos[number % len(photos)]
            picture = enlarged(shown) if number % 2 == 0 else group(photos, number)
            path.write_bytes(encoded(grained(picture, number), kind))
    return paths


def upright(path: Path) -> Image.Image:
    """Return a picture's RGB pixels, turned as EXIF says."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def enlarged(photo: Image.Image) -> Image.Image:
    """Return a photo scaled to fill the camera's frame, the rest cut off."""
    wide = photo.width > photo.height
    size = (CAMERA_LONG_PX, CAMERA_SHORT_PX) if wide else (CAMERA_SHORT_PX, CAMERA_LONG_PX)
    return ImageOps.fit(photo, size, Image.Resampling.LANCZOS, centering=(0.5, 0.3))


def group(photos: Sequence[Image.Image], first: int) -> Image.Image:
    """Return six photos side by side in the camera's frame, each of its own shape."""
    frame = Image.new("RGB", (CAMERA_LONG_PX, CAMERA_SHORT_PX), (70, 90, 110))
    chosen = itertools.islice(itertools.cycle(photos), first, first + 6)
    for place, photo in enumerate(chosen):
        part = ImageOps.contain(photo, (1300, 1450), Image.Resampling.LANCZOS)
        frame.paste(part, (place % 3 * 1333 + 16, place // 3 * 1500 + 25))
    return frame


def grained(picture: Image.Image, seed: int) -> Image.Image:
    """Return a picture with the noise of a sensor."""
    grain = np.random.default_rng(seed).normal(0.0, _GRAIN, (picture.height, picture.width, 1))
    values = np.asarray(picture, dtype=np.float32) + grain.astype(np.float32)
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def encoded(picture: Image.Image, kind: str) -> bytes:
    """Return the bytes of a file as a camera writes it."""
    stream = io.BytesIO()
    if kind == "JPEG":
        picture.save(stream, "JPEG", quality=92, subsampling=2)
    else:
        import pillow_heif

        pillow_heif.from_pillow(picture).save(stream, quality=60)
    return stream.getvalue()


def folder_of(pictures: Sequence[Path], folder: Path, n: int) -> Path:
    """Return a folder with `n` files of these pictures' contents, no two the same bytes."""
    if folder.is_dir() and sum(1 for _ in folder.rglob("*.*")) == n:
        return folder
    for number in range(n):
        source = pictures[number % len(pictures)]
        part = folder / f"{number // 500:03d}"
        part.mkdir(parents=True, exist_ok=True)
        mark = b"" if number < len(pictures) else _mark(source, number)
        (part / f"{number:06d}{source.suffix}").write_bytes(source.read_bytes() + mark)
    return folder


def _mark(source: Path, number: int) -> bytes:
    text = f"copy {number:08d}".encode("ascii")
    if source.suffix == ".heic":  # a box of its own, which readers skip
        return (len(text) + 8).to_bytes(4, "big") + b"free" + text
    return text
