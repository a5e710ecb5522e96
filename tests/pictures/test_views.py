"""Reduced views of a picture, next to the whole picture."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from facesim_index.engine.base import FaceEngine
from facesim_index.engine.face_engine import LEAST_VIEW_PX
from facesim_index.engine.loading import EngineSettings
from facesim_index.errors import PictureError
from facesim_index.models.resolution import resolve
from facesim_index.pictures import decoding
from facesim_index.pictures.decoding import JpegFile, decode, open_picture
from facesim_index.pictures.views import View, WholePicture, coarsest
from facesim_index.records import EmbeddedFace, FailureCode, UInt8Array
from tests.example_pictures import demo_pixels, embed_faces, pixels, png

# A size that no reduction divides: 5003 = 8 * 625 + 3, and so on.
WIDTH_PX, HEIGHT_PX = 5003, 3998


@pytest.fixture(scope="module")
def engine() -> FaceEngine:
    return EngineSettings(model=resolve(), provider="cpu").load()


def jpeg(rgb: UInt8Array, orientation: int = 1) -> bytes:
    """Return the bytes of a JPEG that is stored as it is and to be turned when shown."""
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(rgb).save(stream, "JPEG", quality=95, exif=exif)
    return stream.getvalue()


def camera_picture(photo: UInt8Array, left_px: int, top_px: int, height_px: int) -> UInt8Array:
    """Return a photo laid in a large grey frame."""
    frame = np.full((HEIGHT_PX, WIDTH_PX, 3), 90, dtype=np.uint8)
    width_px = round(photo.shape[1] * height_px / photo.shape[0])
    shown = cv2.resize(photo, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    frame[top_px : top_px + height_px, left_px : left_px + width_px] = shown
    return frame


def shapes(width_px: int, height_px: int) -> UInt8Array:
    """Return a picture whose pixels tell where they are, in steps that survive JPEG."""
    y, x = np.mgrid[:height_px, :width_px].astype(np.float32)
    channels = [x / width_px, y / height_px, (x + y) / (width_px + height_px)]
    return np.asarray(np.rint(np.stack(channels, axis=-1) * 255), dtype=np.uint8)


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_view_shows_the_same_places(orientation: int, reduction: int) -> None:
    data = jpeg(shapes(1003, 598), orientation)
    whole = decode(data)
    picture = open_picture(data)
    assert picture.info == whole.info
    assert picture.size_px == (whole.info.width_px, whole.info.height_px)
    view = picture.view(reduction)
    assert view.size_px == picture.size_px
    y, x = np.mgrid[9 : whole.info.height_px - 9 : 61, 9 : whole.info.width_px - 9 : 61]
    places = np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)
    there = view.points(places)
    # A place between pixels is read by interpolation; the picture is smooth.
    seen = cv2.remap(view.rgb, there[:, :1], there[:, 1:], cv2.INTER_LINEAR)[:, 0]
    expected = whole.rgb[y.ravel(), x.ravel()]
    assert np.abs(seen.astype(int) - expected.astype(int)).max() <= 3


def test_the_whole_view_is_the_decoded_picture() -> None:
    data = jpeg(shapes(300, 200), 6)
    view = open_picture(data).view(1)
    assert np.array_equal(view.rgb, decode(data).rgb)
    points = np.array([[3.0, 4.0]], dtype=np.float32)
    assert np.array_equal(view.points(points), points)


def test_only_jpeg_can_be_reduced() -> None:
    rgb = shapes(2000, 1000)
    assert open_picture(png(rgb)).reductions == (1,)
    assert np.array_equal(open_picture(png(rgb)).view(1).rgb, rgb)
    assert open_picture(jpeg(rgb)).reductions == (1, 2, 4, 8)


def test_a_narrow_picture_is_not_reduced_to_nothing() -> None:
    assert open_picture(jpeg(shapes(3000, 3))).reductions == (1,)
    assert open_picture(jpeg(shapes(3000, 100))).reductions == (1, 2)


@pytest.mark.parametrize(
    ("width_px", "reduction"),
    [(250, 1), (4000, 1), (4799, 1), (4800, 2), (9599, 2), (9600, 4), (20_000, 8)],
)
def test_detection_gets_no_less_than_it_looks_at(width_px: int, reduction: int) -> None:
    picture = JpegFile(b"", (width_px, width_px // 2), {})
    assert coarsest(picture, LEAST_VIEW_PX) == reduction


def test_a_grey_picture_can_be_reduced() -> None:
    stream = io.BytesIO()
    Image.fromarray(shapes(1600, 900)[..., 0]).save(stream, "JPEG")
    view = open_picture(stream.getvalue()).view(2)
    assert view.rgb.shape == (450, 800, 3)
    assert np.array_equal(view.rgb[..., 0], view.rgb[..., 2])


def test_a_cut_off_picture_is_found_out_when_it_is_viewed() -> None:
    data = jpeg(demo_pixels("players.jpg"))
    picture = open_picture(data[: len(data) * 2 // 3])
    for reduction in picture.reductions:
        with pytest.raises(PictureError) as caught:
            picture.view(reduction)
        assert caught.value.code is FailureCode.TRUNCATED


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
@pytest.mark.parametrize(
    "options",
    [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}],
    ids=str,
)
@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_the_quick_decoder_shows_pillows_pixels(
    options: dict[str, int], orientation: int, reduction: int
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stream = io.BytesIO()
    Image.fromarray(demo_pixels("players.jpg")).save(stream, "JPEG", exif=exif, **options)
    data = stream.getvalue()
    quick = open_picture(data).view(reduction).rgb
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_quickly_decoded", lambda *_: None)
        slow = open_picture(data).view(reduction).rgb
    assert quick.flags.c_contiguous
    assert np.array_equal(quick, slow)


@pytest.mark.parametrize("reduction", [1, 2])
def test_what_the_quick_decoder_refuses_is_pillows(reduction: int) -> None:
    """A few bytes too many between two scans are no reason to lose a picture."""
    data = jpeg(shapes(600, 400))
    end = data.rindex(b"\xff\xd9")
    odd = data[:end] + b"\0" * 7 + data[end:]
    assert decoding._quickly_decoded(odd, 600, 400) is None
    assert open_picture(odd).view(reduction).rgb.shape == (400 // reduction, 600 // reduction, 3)


def test_other_colours_are_pillows() -> None:
    stream = io.BytesIO()
    Image.fromarray(shapes(600, 400)).convert("CMYK").save(stream, "JPEG")
    picture = open_picture(stream.getvalue())
    assert np.array_equal(picture.view(1).rgb, decode(stream.getvalue()).rgb)


class Watched:
    """Pixels that note which views are taken."""

    def __init__(self, data: bytes) -> None:
        self._picture = open_picture(data)
        self.size_px = self._picture.size_px
        self.reductions = self._picture.reductions
        self.viewed: list[int] = []

    def view(self, reduction: int) -> View:
        self.viewed.append(reduction)
        return self._picture.view(reduction)


@pytest.mark.parametrize(("height_px", "viewed"), [(2600, [2]), (300, [2, 1])], ids=str)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_face_is_cut_out_of_no_less_than_it_needs(
    engine: FaceEngine, height_px: int, viewed: list[int], orientation: int
) -> None:
    """A crop of 112 px shows the more of the portrait, the smaller that is in the frame."""
    portrait = camera_picture(demo_pixels("yaoming.jpg"), 1700, 150, height_px)
    turns = {1: 0, 3: 2, 6: 1}
    watched = Watched(jpeg(np.rot90(portrait, turns[orientation]).copy(), orientation))
    ((ours,),) = engine.embed_pictures([watched])
    assert watched.viewed == viewed
    (theirs,) = embed_faces(engine, portrait)
    assert float(ours.embedding @ theirs.embedding) > 0.95
    assert overlap(ours, theirs) > 0.95
    np.testing.assert_allclose(ours.landmarks, theirs.landmarks, atol=0.02 * height_px)


def test_small_faces_are_measured_in_pixels_of_the_whole_picture() -> None:
    settings = EngineSettings(model=resolve(), provider="cpu", min_face_px=700)
    portrait = jpeg(camera_picture(demo_pixels("yaoming.jpg"), 900, 100, 2600))
    ((_,),) = settings.load().embed_pictures([open_picture(portrait)])
    smaller = jpeg(camera_picture(demo_pixels("yaoming.jpg"), 900, 100, 1300))
    assert settings.load().embed_pictures([open_picture(smaller)]) == [()]


def test_enlarged_photos_give_the_faces_of_their_full_decode(
    engine: FaceEngine, test_data: Path
) -> None:
    """As a camera of more than 17 megapixels would have taken them."""
    cosines = []
    for path in sorted((test_data / "photos").rglob("*.jp*g"))[::5]:
        photo = pixels(path)
        scale = 2 * LEAST_VIEW_PX / max(photo.shape[:2])
        enlarged = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        data = jpeg(np.asarray(enlarged, dtype=np.uint8))
        picture = open_picture(data)
        assert coarsest(picture, LEAST_VIEW_PX) == 2
        whole, reduced = engine.embed_pictures([WholePicture(decode(data).rgb), picture])
        assert len(whole) == len(reduced), path
        for mine, other in zip(reduced, whole, strict=True):
            assert overlap(mine, other) > 0.9
            cosines.append(float(mine.embedding @ other.embedding))
    assert len(cosines) >= 6
    assert np.mean(cosines) >= 0.995
    assert min(cosines) >= 0.95


def test_a_whole_picture_is_viewed_as_it_is() -> None:
    rgb = shapes(40, 30)
    whole = WholePicture(rgb)
    assert whole.view(1).rgb is rgb
    assert whole.size_px == (40, 30)


def overlap(a: EmbeddedFace, b: EmbeddedFace) -> float:
    """Return the intersection over union of two boxes."""
    width = min(a.box.x + a.box.w, b.box.x + b.box.w) - max(a.box.x, b.box.x)
    height = min(a.box.y + a.box.h, b.box.y + b.box.h) - max(a.box.y, b.box.y)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.box.w * a.box.h + b.box.w * b.box.h - shared)
