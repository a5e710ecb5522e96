"""The engine that runs a detector and a recogniser; `facesim_index.engine.loading` loads them."""

import itertools
import math
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from facesim_index.engine.alignment import (
    CropTemplate,
    aligned_crop,
    pose_deg,
    sharpness,
    similarity_transform,
)
from facesim_index.engine.detection import Detection, Detector, find_faces, find_faces_together
from facesim_index.errors import ModelError
from facesim_index.pictures.views import Pixels, View, coarsest
from facesim_index.records import (
    EmbeddedFace,
    EngineIdentity,
    Float32Array,
    Float64Array,
    Quality,
    UInt8Array,
)

#: Before faces are searched in it, a picture is reduced to no less than this on its longer side.
#: Reducing it more would gain little: libjpeg spends most of its time before it scales, and a
#: picture that shows people at some distance must be decoded whole anyway to recognise them.
LEAST_VIEW_PX = 2400


class Recogniser(Protocol):
    """What embeds aligned crops of faces; `facesim_index.engine.arcface.ArcFace` does."""

    @property
    def crop_side_px(self) -> int:
        """Side of the crops that it is given."""
        ...

    @property
    def template(self) -> CropTemplate:
        """Where it wants to see a face in its crops."""
        ...

    def embed(self, crops: Sequence[UInt8Array]) -> Float32Array:
        """Return the embeddings of aligned crops.

        Parameters
        ----------
        crops : sequence of ndarray of shape (crop_side_px, crop_side_px, 3), uint8
            In RGB, C-contiguous; at least one.

        Returns
        -------
        embeddings : ndarray of shape (n_crops, dimension), float32
            Of any norm.
        """
        ...


class InsightFaceEngine:
    """A `FaceEngine` over a detector and a recogniser, such as insightface's SCRFD and ArcFace.

    Parameters
    ----------
    identity : EngineIdentity
        Which weights and settings the embeddings come from.
    provider : {"cpu", "cuda", "openvino"}
        What the recogniser runs on.
    detector : Detector
    recogniser : Recogniser
    min_detection : float
        Faces with a lower detection score are left out; in (0, 1].
    min_face_px : int
        Faces whose box has a shorter side, in pixels of the whole picture, are left out; at
        least 0.
    """

    def __init__(
        self,
        identity: EngineIdentity,
        provider: str,
        detector: Detector,
        recogniser: Recogniser,
        *,
        min_detection: float,
        min_face_px: int,
    ) -> None:
        self._identity = identity
        self._min_detection = min_detection
        self._min_face_px = min_face_px
        self._provider = provider
        self._detector = detector
        self._recogniser = recogniser

    @property
    def identity(self) -> EngineIdentity:
        """Which computation makes the embeddings."""
        return self._identity

    @property
    def provider(self) -> str:
        """What the recogniser really runs on: ``cpu``, ``cuda`` or ``openvino``."""
        return self._provider

    def embed_pictures(self, pictures: Sequence[Pixels]) -> list[tuple[EmbeddedFace, ...]]:
        """Find, align and embed the faces of pictures, decoding no more of them than needed.

        Parameters
        ----------
        pictures : sequence of Pixels
            Upright pictures; it may be empty.

        Returns
        -------
        list of tuple of EmbeddedFace
            One tuple for each picture, in the order given.  Its faces go from left to right: by
            ``box.x``, then by ``box.y``, in pixels of the whole picture.

        Raises
        ------
        PictureError
            A picture turned out to be damaged when it was decoded.
        ModelError
            The recogniser gave an embedding that is zero or not finite.
        MemoryError
            There is not enough memory for a picture.
        """
        # One by one: in a batch with the faces of other pictures, the last bits would differ.
        return [self._embed_picture(picture) for picture in pictures]

    def _embed_picture(self, pixels: Pixels) -> tuple[EmbeddedFace, ...]:
        try:
            view = pixels.view(coarsest(pixels, LEAST_VIEW_PX))
            found = find_faces(
                view,
                self._detector,
                min_score=self._min_detection,
                min_face_px=self._min_face_px,
            )
            crops = _crops(pixels, view, found, self._recogniser)
            embeddings = self._embed(crops)
        except Exception as error:
            if _is_out_of_memory(error):
                raise MemoryError(str(error)) from error
            raise
        return tuple(map(_embedded_face, found, crops, embeddings))

    def _embed(self, crops: list[UInt8Array]) -> Float32Array:
        if not crops:
            return np.empty((0, self._identity.dimension), dtype=np.float32)
        raw = self._features(crops)
        if self._identity.augment == "flip":
            # A crop and its mirror image are neighbours, hence in one batch.
            raw = raw.reshape(len(crops), 2, -1).sum(axis=1)
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise ModelError(
                f"{self.identity.name} gave an embedding that is zero or not finite; "
                "check the weights with: facesim models verify"
            )
        return np.asarray(raw / norms, dtype=np.float32)

    def _features(self, crops: list[UInt8Array]) -> Float64Array:
        """Return a row for each crop; with ``flip``, followed by that of its mirror image."""
        if self._identity.augment == "flip":
            crops = [side for crop in crops for side in (crop, np.ascontiguousarray(crop[:, ::-1]))]
        return self._recogniser.embed(crops).astype(np.float64)


class TogetherEngine(InsightFaceEngine):
    """An `InsightFaceEngine` whose networks are shown all pictures of a call at once.

    For networks that are quicker with many pictures, and wait for other processes' pictures too.
    """

    def embed_pictures(self, pictures: Sequence[Pixels]) -> list[tuple[EmbeddedFace, ...]]:
        """Find, align and embed the faces of pictures, all of which are held at the same time.

        Parameters
        ----------
        pictures : sequence of Pixels
            Upright pictures; it may be empty.

        Returns
        -------
        list of tuple of EmbeddedFace
            As for `InsightFaceEngine.embed_pictures`.

        Raises
        ------
        PictureError, ModelError, MemoryError
            As for `InsightFaceEngine.embed_pictures`.
        """
        try:
            views = [picture.view(coarsest(picture, LEAST_VIEW_PX)) for picture in pictures]
            found = find_faces_together(
                views,
                self._detector,
                min_score=self._min_detection,
                min_face_px=self._min_face_px,
            )
            crops = [
                _crops(picture, view, faces, self._recogniser)
                for picture, view, faces in zip(pictures, views, found, strict=True)
            ]
            embeddings = self._embed([crop for some in crops for crop in some])
        except Exception as error:
            if _is_out_of_memory(error):
                raise MemoryError(str(error)) from error
            raise
        rows = iter(embeddings)
        return [
            tuple(map(_embedded_face, faces, some, itertools.islice(rows, len(faces))))
            for faces, some in zip(found, crops, strict=True)
        ]


def _crops(
    pixels: Pixels, view: View, found: list[Detection], recogniser: Recogniser
) -> list[UInt8Array]:
    """Cut the faces out of the view, or out of a finer view where that shows more of them.

    That is so for a face that would have to be enlarged for its crop, although the picture has
    more pixels of it than the view.
    """
    finest = min(
        (_enough_reduction(pixels, face, recogniser) for face in found if view.reduction > 1),
        default=1,
    )
    finer = pixels.view(finest) if found and finest < view.reduction else view
    crops = []
    for face in found:
        enough = _enough_reduction(pixels, face, recogniser) >= view.reduction
        source = view if enough else finer
        crop = aligned_crop(
            source.rgb,
            source.points(face.landmarks),
            side_px=recogniser.crop_side_px,
            template=recogniser.template,
        )
        crops.append(crop)
    return crops


def _enough_reduction(pixels: Pixels, face: Detection, recogniser: Recogniser) -> int:
    """Return the largest reduction at which the crop of a face is not enlarged."""
    matrix = similarity_transform(face.landmarks, recogniser.crop_side_px, recogniser.template)
    crop_scale = math.hypot(matrix[0, 0], matrix[1, 0])
    return max(r for r in pixels.reductions if r == 1 or r * crop_scale <= 1.0)


def _embedded_face(face: Detection, crop: UInt8Array, embedding: Float32Array) -> EmbeddedFace:
    yaw_deg, roll_deg = pose_deg(face.landmarks)
    quality = Quality(
        size_px=min(face.box.w, face.box.h),
        sharpness=sharpness(crop),
        yaw_deg=yaw_deg,
        roll_deg=roll_deg,
    )
    return EmbeddedFace(face.box, face.landmarks, face.score, quality, embedding)


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether one of the two native libraries could not allocate memory."""
    if isinstance(error, cv2.error):
        return error.code == cv2.Error.StsNoMem
    # onnxruntime has no class or code of its own for it.
    return type(error).__module__.startswith("onnxruntime") and "alloc" in str(error)
