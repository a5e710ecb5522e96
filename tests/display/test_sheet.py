import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facesim_index.display import sheet as sheets
from facesim_index.display.drawing import Pen
from facesim_index.display.file_crops import crop_from_file
from facesim_index.display.sheet import MOST_MATCHES, draw_sheet, save_sheet
from facesim_index.engine.alignment import ARCFACE_LANDMARKS
from facesim_index.engine.local_reader import plain_content
from facesim_index.errors import StorageError, UsageError
from facesim_index.records import Box, FaceId, FileStamp, Float32Array, UInt8Array
from facesim_index.search.answers import FaceAnswer, Match, QueryAnswer
from tests.example_pictures import png

SIDE_PX = 160
BOX = Box(10.0, 20.0, 60.0, 80.0)
LANDMARKS = ARCFACE_LANDMARKS + 50
QUERY_COLOUR = (200, 30, 120)


def match_of(rank: int, degree: float | None = 0.97, name: str | None = None) -> Match:
    path = f"/nowhere/{name or f'picture{rank}.jpg'}"
    return Match(
        rank, FaceId(100 + rank), path, (path,), BOX, LANDMARKS, 0.5, degree, None, same_image=False
    )


def face_of(number: int, matches: Sequence[Match]) -> FaceAnswer:
    return FaceAnswer(number, BOX, LANDMARKS, 0.9, tuple(matches))


def answer_of(*faces: Sequence[Match]) -> QueryAnswer:
    answers = tuple(face_of(number, matches) for number, matches in enumerate(faces))
    return QueryAnswer("/pictures/someone.jpg", "engine", "a curve", None, 0.25, answers)


def colour_of(path: str) -> tuple[int, int, int]:
    """One strong colour for each `picture<rank>.jpg`."""
    if "someone" in path:
        return QUERY_COLOUR
    rank = int("".join(filter(str.isdigit, path)))
    return (3 * rank, 255 - 3 * rank, 60)


def flat_crops(path: str, landmarks: Float32Array) -> UInt8Array:
    assert landmarks.shape == (5, 2)
    return np.full((SIDE_PX, SIDE_PX, 3), colour_of(path), dtype=np.uint8)


def no_crops(path: str, landmarks: Float32Array) -> None:
    return None


def places(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Left, top and number of the pixels of a colour."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(axis=2))
    return (int(columns.min()), int(rows.min()), len(rows)) if len(rows) else (-1, -1, 0)


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every line that is written on a sheet, in order."""
    written: list[str] = []
    write = Pen.text

    def noted(
        pen: Pen,
        strip: Image.Image,
        x: int,
        y: int,
        text: str,
        size: float,
        ink: tuple[int, int, int],
    ) -> None:
        assert x >= 0
        assert x + pen.length(text, size) <= strip.width, f"{text!r} runs off the sheet"
        assert pen.px(size) / 2 <= y <= strip.height - pen.px(size) / 2, f"{text!r} is cut off"
        written.append(text)
        write(pen, strip, x, y, text, size, ink)

    monkeypatch.setattr(Pen, "text", noted)
    return written


# Where faces stand


def test_matches_wrap_into_a_grid_in_the_order_of_ranks() -> None:
    sheet = draw_sheet(answer_of([match_of(rank) for rank in range(1, 13)]), flat_crops)
    found = [places(sheet, colour_of(f"picture{rank}")) for rank in range(1, 13)]
    assert [(y, x) for x, y, _ in found] == sorted((y, x) for x, y, _ in found)
    assert [len(list(row)) for _, row in itertools.groupby(found, lambda place: place[1])] == [
        5,
        5,
        2,
    ]
    query = places(sheet, QUERY_COLOUR)
    assert query[0] < min(x for x, _, _ in found)
    assert all(size > 0.9 * SIDE_PX**2 for _, _, size in [query, *found])


def test_each_query_face_has_its_rows_below_the_other() -> None:
    sheet = draw_sheet(answer_of([match_of(1)], [match_of(2)], [match_of(3)]), flat_crops)
    tops = [places(sheet, colour_of(f"picture{rank}"))[1] for rank in (1, 2, 3)]
    assert tops[1] - tops[0] == tops[2] - tops[1] > SIDE_PX
    assert places(sheet, QUERY_COLOUR)[2] > 3 * 0.9 * SIDE_PX**2


@pytest.mark.parametrize("side_px", [64, 111, 320])
def test_everything_is_in_proportion(side_px: int) -> None:
    answer = answer_of([match_of(rank) for rank in range(1, 8)], [])
    usual = draw_sheet(answer, flat_crops)
    other = draw_sheet(answer, flat_crops, side_px=side_px)
    assert other.width == pytest.approx(usual.width * side_px / SIDE_PX, rel=0.02)
    assert other.height == pytest.approx(usual.height * side_px / SIDE_PX, rel=0.05)
    assert places(other, QUERY_COLOUR)[2] > 2 * 0.85 * side_px**2


@pytest.mark.parametrize("side_px", [0, 63, 1025])
def test_a_side_out_of_range_is_refused(side_px: int) -> None:
    with pytest.raises(UsageError, match="64 to 1024"):
        draw_sheet(answer_of([]), flat_crops, side_px=side_px)


def test_more_matches_than_anybody_looks_at_are_counted(texts: list[str]) -> None:
    matches = [match_of(rank) for rank in range(1, MOST_MATCHES + 16)]
    sheet = draw_sheet(answer_of(matches), flat_crops)
    assert "and 15 more, not shown" in texts
    assert places(sheet, colour_of(f"picture{MOST_MATCHES}"))[2] > 0
    assert places(sheet, colour_of(f"picture{MOST_MATCHES + 1}"))[2] == 0


# What stands below a face


@pytest.mark.parametrize(
    ("degree", "colour"), [(0.95, (0, 104, 171)), (0.7, (226, 148, 16)), (0.25, (160, 167, 176))]
)
def test_the_bar_is_as_long_as_the_degree(degree: float, colour: tuple[int, int, int]) -> None:
    sheet = draw_sheet(answer_of([match_of(1, degree)]), flat_crops)
    _, columns = np.nonzero((np.asarray(sheet) == colour).all(axis=2))
    assert columns.max() - columns.min() + 1 == pytest.approx(degree * SIDE_PX, abs=3)


def test_a_match_says_degree_rank_file_and_id(texts: list[str]) -> None:
    same = dataclasses.replace(match_of(2, 0.4321), same_image=True)
    draw_sheet(answer_of([match_of(1, 0.9551), same]), flat_crops)
    assert texts[texts.index("1") :][:4] == ["1", "95.5 %", "picture1.jpg", "face id 101"]
    assert texts[texts.index("2") :][:4] == [
        "2",
        "43.2 %",
        "picture2.jpg",
        "face id 102  ·  same picture",
    ]
    assert "face 0 in the picture" in texts


@given(degree=st.floats(0.0, 1.0, exclude_min=True, exclude_max=True))
def test_no_degree_looks_certain(degree: float) -> None:
    text = sheets._degree_text(match_of(1, degree))
    assert text not in ("100.0 %", "0.0 %")
    if not text.startswith((">", "<")):
        assert float(text.removesuffix(" %")) == pytest.approx(100 * degree, abs=0.0501)


def test_without_calibration_there_are_cosines_and_the_reason(texts: list[str]) -> None:
    reason = "there is no calibration for the engine, " * 6 + "so cosines are given"
    answer = dataclasses.replace(answer_of([match_of(1, None)]), calibration=None, note=reason)
    draw_sheet(answer, flat_crops)
    assert "cos 0.50" in texts
    assert not any("%" in text or "prior" in text for text in texts)
    assert reason[1:] in " ".join(texts)


def test_the_header_names_query_prior_and_calibration(texts: list[str]) -> None:
    draw_sheet(answer_of([match_of(1)], []), flat_crops)
    assert texts[:2] == [
        "Faces similar to someone.jpg",
        "2 faces · 1 match · prior 0.25 · calibration a curve",
    ]


def test_no_match_and_no_face_say_so(texts: list[str]) -> None:
    draw_sheet(answer_of([]), flat_crops)
    assert "No match" in texts
    texts.clear()
    draw_sheet(answer_of(), flat_crops)
    assert any(text.startswith("0 faces") for text in texts)


# Names


NAMES = [
    "a" * 250 + ".jpg",
    "the beginning of a long name matters and so does its end 0001.jpg",
    "tab\tnewline\nbell\a.jpg",
    "not utf-8 \udcff\udc80.jpg",
    "奥巴马.jpg",
    "صورة.jpg",
    "family 👨‍👩‍👧.jpg",
    "\u202egpj.exe",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn(name: str, texts: list[str]) -> None:
    answer = dataclasses.replace(answer_of([match_of(1, name=name)]), query=f"/x/{name}")
    draw_sheet(answer, no_crops)
    assert all(text.isprintable() for text in texts)


def test_a_long_name_keeps_beginning_and_end(texts: list[str]) -> None:
    draw_sheet(answer_of([match_of(1, name=NAMES[1])]), no_crops)
    (shown,) = (text for text in texts if text.startswith("the beg"))
    assert "…" in shown
    assert shown.endswith("0001.jpg")


def test_letters_that_the_font_lacks(texts: list[str]) -> None:
    draw_sheet(answer_of([match_of(1, name="Zoë Ångström 奥.jpg")]), no_crops)
    assert "Zoe Angstrom ?.jpg" in texts


# Crops


def test_the_first_file_that_still_can_be_read_is_shown() -> None:
    match = dataclasses.replace(match_of(1), paths=("/nowhere/gone.jpg", "/nowhere/picture7.jpg"))

    def crops(path: str, landmarks: Float32Array) -> UInt8Array | None:
        return None if "gone" in path else flat_crops(path, landmarks)

    sheet = draw_sheet(answer_of([match]), crops)
    assert places(sheet, colour_of("picture7"))[2] > 0.9 * SIDE_PX**2


def test_a_missing_crop_says_why(tmp_path: Path, texts: list[str]) -> None:
    spoilt = tmp_path / "spoilt.jpg"
    spoilt.write_bytes(b"no picture")
    answer = answer_of([match_of(1), dataclasses.replace(match_of(2), path=str(spoilt))])
    draw_sheet(answer, no_crops)
    assert texts.count("file is gone") == 2  # the query's, and the first match's
    assert texts.count("cannot be read") == 1


def marked_picture() -> UInt8Array:
    """A grey picture with a blob on each landmark of `LANDMARKS`, the nose's in red."""
    rgb = np.full((240, 240, 3), 128, dtype=np.uint8)
    for number, (x, y) in enumerate(LANDMARKS.round().astype(int)):
        rgb[y - 2 : y + 3, x - 2 : x + 3] = (255, 0, 0) if number == 2 else (0, 0, 255)
    return rgb


def test_a_crop_is_upright_and_leaves_room_around_the_face(tmp_path: Path) -> None:
    turned = np.ascontiguousarray(np.rot90(marked_picture()))
    path = tmp_path / "turned.png"
    path.write_bytes(png(turned))
    # np.rot90 carries (x, y) to (y, width - 1 - x).
    landmarks = np.stack([LANDMARKS[:, 1], 239 - LANDMARKS[:, 0]], axis=1).astype(np.float32)
    crop = crop_from_file(str(path), landmarks, 200)
    assert crop is not None
    assert crop.shape == (200, 200, 3)
    red = np.argwhere((crop[..., 0] > 180) & (crop[..., 1] < 100)).mean(axis=0)
    blue = np.argwhere((crop[..., 2] > 180) & (crop[..., 1] < 100))
    assert red == pytest.approx([100, 100], abs=25)
    assert blue[:, 0].min() < red[0] - 10
    assert blue[:, 0].max() > red[0] + 10
    assert 0.18 * 200 < np.ptp(blue[:, 1]) < 0.30 * 200  # 0.32 in the recogniser's own crop


def test_what_cannot_be_read_has_no_crop(tmp_path: Path) -> None:
    assert crop_from_file(str(tmp_path / "missing.png"), LANDMARKS, 64) is None
    (tmp_path / "text.png").write_text("no picture")
    assert crop_from_file(str(tmp_path / "text.png"), LANDMARKS, 64) is None
    (tmp_path / "good.png").write_bytes(png(marked_picture()))
    assert crop_from_file(str(tmp_path / "good.png"), np.zeros_like(LANDMARKS), 64) is None


# Files


def test_saved_from_the_picture_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "query.png"
    picture.write_bytes(png(marked_picture()))
    read: list[Path] = []

    def noted(path: Path) -> tuple[bytes, FileStamp] | None:
        read.append(path)
        return plain_content(path)

    monkeypatch.setattr("facesim_index.display.file_crops.plain_content", noted)
    gone = match_of(1)
    there = dataclasses.replace(match_of(2), path=str(picture), paths=(str(picture),))
    answer = dataclasses.replace(answer_of([gone], [there], []), query=str(picture))
    out = tmp_path / "sheet.png"
    out.write_bytes(b"what was there before")
    save_sheet(answer, out)
    with Image.open(out) as sheet:
        assert (sheet.format, sheet.mode) == ("PNG", "RGB")
        assert places(sheet, (128, 128, 128))[2] > 4 * 0.6 * SIDE_PX**2
    assert read == [picture, Path("/nowhere/picture1.jpg")]  # the picture is still at hand


def test_a_sheet_that_cannot_be_drawn_leaves_the_old_file(tmp_path: Path) -> None:
    def failing(path: str, landmarks: Float32Array) -> UInt8Array:
        raise KeyboardInterrupt

    out = tmp_path / "sheet.png"
    out.write_bytes(b"what was there before")
    with pytest.raises(KeyboardInterrupt):
        save_sheet(answer_of([match_of(1)]), out, failing)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"what was there before"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"sheet\.png"):
        save_sheet(answer_of([]), tmp_path / "missing" / "sheet.png", no_crops)
