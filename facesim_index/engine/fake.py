"""A face engine without weights, for tests: tiles of one colour are its faces."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facesim_index.engine.alignment import ARCFACE_LANDMARKS, ARCFACE_SIDE_PX
from facesim_index.engine.base import EngineSource, Provider
from facesim_index.pictures.views import Pixels
from facesim_index.records import (
    Augment,
    Box,
    EmbeddedFace,
    EngineIdentity,
    Float32Array,
    Float64Array,
    Numerics,
    Quality,
    UInt8Array,
)

TILE_PX = 32

FAKE_IDENTITY = EngineIdentity(
    name="fake",
    # SHA-256 of "facesim fake detector" and of "facesim fake recogniser".
    detector_sha256="191d18f2f7e0ddf9170b7bbd15ca486d657345b98cb2b2bece9da0f89f9bb03e",
    recogniser_sha256="da20d877c4f0611f2acdc4391039086f83d95eef8c634428f968a50d093316c4",
    preprocessing=1,
    dimension=512,
)

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
#: Colours of one person differ by less than this in each channel's bucket.
_BUCKET = 16
_NOISE = 0.25


def fake_identity(augment: Augment = "none", numerics: Numerics = "fp32") -> EngineIdentity:
    """Return the identity of the fake engine with an augmentation and numerics.

    Parameters
    ----------
    augment : {"none", "flip"}, default="none"
    numerics : {"fp32", "bf16"}, default="fp32"

    Returns
    -------
    EngineIdentity

    Examples
    --------
    >>> fake_identity() == FAKE_IDENTITY
    True
    """
    return dataclasses.replace(FAKE_IDENTITY, augment=augment, numerics=numerics)


@dataclass(frozen=True, slots=True)
class FakeEngineSettings(EngineSource):
    """How to load the fake engine; can be sent to worker processes as well as the real settings.

    Attributes
    ----------
    provider, min_detection, min_face_px, threads, augment, numerics
        As for `facesim_index.engine.base.EngineSource`; given by name.

    Examples
    --------
    >>> FakeEngineSettings(augment="flip").load().identity.augment
    'flip'
    """

    @property
    def identity(self) -> EngineIdentity:
        """The identity that the loaded engine will have."""
        return fake_identity(self.augment, self.numerics)

    @property
    def weights_name(self) -> str:
        """There are no weights; an index remembers this name instead."""
        return "fake"

    def running_provider(self) -> Provider:
        """Return what the engine runs on, which is always the CPU.

        Returns
        -------
        provider : {"cpu"}
        """
        return "cpu"

    def load(self) -> "FakeEngine":
        """Return the engine.

        Returns
        -------
        FakeEngine
        """
        return FakeEngine(self.min_face_px, self.augment, self.numerics)


class FakeEngine:
    """A deterministic `FaceEngine` that takes tiles of one colour for faces.

    The picture is cut into tiles of 32×32 px from its top left corner.  A tile whose pixels
    all have one colour, neither black nor white, is a face; the box is the tile.  Colours
    with equal ``colour // 16`` show one person, at cosines near 0.94; other colours are
    strangers, at cosines near 0.

    Parameters
    ----------
    min_face_px : int, default=20
        Above 32, the side of a tile, no face is found.
    augment : {"none", "flip"}, default="none"
        A tile is its own mirror image, so only the identity differs.
    numerics : {"fp32", "bf16"}, default="fp32"
        Only the identity differs.
    """

    def __init__(
        self, min_face_px: int = 20, augment: Augment = "none", numerics: Numerics = "fp32"
    ) -> None:
        self._min_face_px = min_face_px
        self._identity = fake_identity(augment, numerics)

    @property
    def identity(self) -> EngineIdentity:
        """Which computation made the embeddings."""
        return self._identity

    @property
    def provider(self) -> str:
        """Where the computation runs: always ``cpu``."""
        return "cpu"

    def embed_pictures(self, pictures: Sequence[Pixels]) -> list[tuple[EmbeddedFace, ...]]:
        """Return the faces of pictures, whose every pixel is looked at.

        Parameters
        ----------
        pictures : sequence of Pixels

        Returns
        -------
        list of tuple of EmbeddedFace
            One tuple for each picture; its faces go from left to right.
        """
        return [self._faces(picture.view(1).rgb) for picture in pictures]

    def _faces(self, rgb: UInt8Array) -> tuple[EmbeddedFace, ...]:
        if self._min_face_px > TILE_PX:
            return ()
        faces = [_face(x, y, colour) for x, y, colour in _flat_tiles(rgb)]
        return tuple(sorted(faces, key=lambda face: (face.box.x, face.box.y)))


def _flat_tiles(rgb: UInt8Array) -> Iterator[tuple[int, int, tuple[int, int, int]]]:
    height_px, width_px = rgb.shape[:2]
    for y in range(0, height_px - TILE_PX + 1, TILE_PX):
        for x in range(0, width_px - TILE_PX + 1, TILE_PX):
            tile = rgb[y : y + TILE_PX, x : x + TILE_PX]
            red, green, blue = (int(value) for value in tile[0, 0])
            colour = (red, green, blue)
            if colour not in (_BLACK, _WHITE) and bool((tile == tile[0, 0]).all()):
                yield x, y, colour


def _face(x: int, y: int, colour: tuple[int, int, int]) -> EmbeddedFace:
    corner = np.array([x, y], dtype=np.float32)
    landmarks = ARCFACE_LANDMARKS * (TILE_PX / ARCFACE_SIDE_PX) + corner
    return EmbeddedFace(
        box=Box(float(x), float(y), float(TILE_PX), float(TILE_PX)),
        landmarks=landmarks.astype(np.float32),
        detection=1.0,
        quality=Quality(size_px=float(TILE_PX), sharpness=0.0, yaw_deg=0.0, roll_deg=0.0),
        embedding=fake_embedding(colour),
    )


def fake_embedding(colour: tuple[int, int, int]) -> Float32Array:
    """Return the embedding that the fake engine gives to a colour.

    Parameters
    ----------
    colour : tuple of int
        Red, green and blue, each in [0, 255].

    Returns
    -------
    embedding : ndarray of shape (512,), float32
        Unit norm.

    Examples
    --------
    >>> red, also_red, blue = map(fake_embedding, [(200, 16, 16), (201, 17, 18), (16, 16, 200)])
    >>> bool(red @ also_red > 0.9), bool(red @ blue > 0.2)
    (True, False)
    """
    person = _direction(1, *(channel // _BUCKET for channel in colour))
    mixed = person + _NOISE * _direction(2, *colour)
    return (mixed / np.linalg.norm(mixed)).astype(np.float32)


def _direction(*seed: int) -> Float64Array:
    direction = np.random.default_rng(seed).standard_normal(FAKE_IDENTITY.dimension)
    return np.asarray(direction / np.linalg.norm(direction), dtype=np.float64)
