"""What a notebook shows: faces where they can be read, and names as nothing but text."""

import base64
import dataclasses
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesim_index.display import file_crops, notebook
from facesim_index.display.markup import SIDE_PX
from facesim_index.index import FaceIndex
from facesim_index.ingest.run import IngestSummary
from facesim_index.people.edits import PersonFace, PersonFaces
from facesim_index.people.review import DoubtfulFace, LikelyMerge, Review, Side
from facesim_index.records import (
    Box,
    FaceId,
    FaceRecord,
    Float32Array,
    ImageId,
    Quality,
    UInt8Array,
)
from facesim_index.search.answers import Comparison, FaceAnswer, Match, QueryAnswer
from facesim_index.store.catalog.people_rows import PersonRow, PersonRows
from facesim_index.upkeep.status import IndexStatus
from facesim_index.utils.notebook_hook import Shown
from facesim_index.utils.text import printable
from tests.builders import FAKE, ingest, new_store
from tests.example_pictures import fake_photo

RED, DARK_RED, GREEN = (200, 20, 20), (203, 22, 25), (20, 200, 20)
LANDMARKS: Float32Array = np.array(
    [[40, 44], [56, 44], [48, 52], [42, 58], [54, 58]], dtype=np.float32
)
BOX = Box(32, 32, 32, 32)
HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' style='position:fixed",
    "&lt;b&gt;&amp;",
    "a\n\t\x07\x1b[31m\x1b]0;t\x07\x9b1m\u202egnp\u2028\x7fz",
    os.fsdecode(b"Z\xfcrich\xff"),
    "$\\alpha$ \\(x\\)",
]
TAGS = {"div", "span", "b", "img", "table", "thead", "tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """What is in some HTML; fails where it is not well-formed, or not of the kind we write."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.titles: list[str] = []
        self.pictures: list[str] = []
        self.styles: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= {
            *("style", "class", "title", "src", "alt", "width", "height"),
        }
        found = {name: value or "" for name, value in attrs}
        self.titles += [found["title"]] if "title" in found else []
        self.styles += [found["style"]] if "style" in found else []
        if tag == "img":
            self.pictures.append(found["src"])
        else:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All the text that a reader sees."""
        return " ".join(self.texts)


def page(record: Shown) -> Page:
    """Return what a notebook shows of a record."""
    drawn = record._repr_html_()
    assert drawn is not None
    assert drawn.isprintable()
    assert "tex2jax_ignore mathjax_ignore" in drawn
    return Page(drawn)


def pixels_of(source: str) -> UInt8Array:
    """Return the pixels of a picture that is in a page."""
    head, _, data = source.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture.convert("RGB"))


def match(path: str, degree: float | None = 0.97, **others: object) -> Match:
    values: dict[str, object] = {
        "rank": 1,
        "face_id": FaceId(7),
        "path": path,
        "paths": (path,),
        "box": BOX,
        "landmarks": LANDMARKS,
        "cosine": 0.61,
        "degree": degree,
        "log10_lr": 3.2,
        "same_image": False,
    }
    return Match(**{**values, **others})  # type: ignore[arg-type]


def answer(query: str, *matches: Match, **others: object) -> QueryAnswer:
    face = FaceAnswer(0, BOX, LANDMARKS, 0.9, matches)
    values: dict[str, object] = {
        "query": query,
        "engine": "e",
        "calibration": "c",
        "note": None,
        "prior": 0.01,
        "faces": (face,),
        "n_faces": 40,
    }
    return QueryAnswer(**{**values, **others})  # type: ignore[arg-type]


def comparison(a: str, b: str, **others: object) -> Comparison:
    values: dict[str, object] = {
        **{"path_a": a, "path_b": b, "face_a": 0, "face_b": 1, "n_faces_a": 1, "n_faces_b": 2},
        **{"box_a": BOX, "box_b": BOX, "cosine": 0.4, "degree": 0.75, "log10_lr": 0.5},
        **{"prior": 0.5, "engine": "e", "calibration": "c", "note": None},
        **{"landmarks_a": LANDMARKS, "landmarks_b": LANDMARKS},
    }
    return Comparison(**{**values, **others})  # type: ignore[arg-type]


def record(path: str) -> FaceRecord:
    quality = Quality(32.0, 1.0, 0.0, 0.0)
    return FaceRecord(FaceId(3), ImageId(1), 0, (path,), BOX, LANDMARKS, 0.9, quality)


def status(name: str) -> IndexStatus:
    counts = {"files": 3, "files_missing": 0, "images": 3, "images_ok": 2, "faces": 9}
    counts |= {"faces_of_people": 4, "people": 2, "people_named": 1}
    return IndexStatus(
        path=name,
        generation=2,
        created_at="2026-01-01",
        engine=name,
        model=name,
        calibration=name,
        roots=((name, "2026-01-02"),),
        counts=counts,
        segments=1,
        bytes_segments=1000,
        bytes_catalog=2000,
        interrupted=False,
        traces_left=False,
    )


def all_kinds(name: str) -> list[Shown]:
    """Return one record of each kind that is drawn, with a name wherever one can be."""
    person = PersonRow(4, name, False, 3, 2, 1)
    some = match(name, paths=(name, name), person_id=4, person=name, person_degree=0.5)
    side, lone = Side(4, name, None, "", 3, record(name)), Side(None, None, 3, name, 1)
    return [
        answer(name, some, calibration=name, note=name, person_id=4, person=name),
        some,
        comparison(name, name, calibration=name, note=name),
        status(name),
        IngestSummary(files_seen=3, faces_added=2, warnings=[name]),
        person,
        PersonRows([person, person]),
        PersonFaces([PersonFace(record(name), True)]),
        Review(
            (DoubtfulFace(4, name, 3, name, 0.2, LANDMARKS),), (LikelyMerge(side, lone, 0.8),), 0.1
        ),
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_nothing_but_text(name: str) -> None:
    for shown in all_kinds(name):
        found = page(shown)
        assert printable(name) in " ".join([found.text, *found.titles]), type(shown).__name__
        assert not any("fixed" in style for style in found.styles)


def test_every_kind_of_record_that_can_be_shown_is_drawn() -> None:
    drawn = {type(shown).__name__ for shown in all_kinds("x")}
    every = {kind.__name__ for kind in Shown.__subclasses__()}
    assert drawn == every

    class Unknown(Shown):
        """Of a class that nobody draws."""

    assert Unknown()._repr_html_() is None


def test_a_face_is_shown_where_its_file_can_be_read(tmp_path: Path) -> None:
    photo, gone = tmp_path / "red.png", tmp_path / "gone.png"
    photo.write_bytes(fake_photo([RED]))
    [picture] = page(match(str(photo))).pictures
    crop = pixels_of(picture)
    assert crop.shape == (2 * SIDE_PX, 2 * SIDE_PX, 3)
    assert np.abs(crop[SIDE_PX, SIDE_PX].astype(int) - RED).max() < 8
    nothing = page(match(str(gone)))
    assert nothing.pictures == []
    assert "no picture" in nothing.text
    assert "gone.png" in nothing.text
    photo.write_bytes(b"no picture any more")
    assert page(match(str(photo))).pictures == []


def test_the_first_copy_that_can_be_read_is_shown(tmp_path: Path) -> None:
    photo = tmp_path / "red.png"
    photo.write_bytes(fake_photo([RED]))
    gone = str(tmp_path / "gone.png")
    assert len(page(match(gone, paths=(gone, str(photo)))).pictures) == 1


def test_a_face_is_upright_though_its_picture_is_not(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 96, dtype=np.uint8)
    flat = np.full((96, 96), 90, dtype=np.uint8)
    upright = np.stack([np.tile(ramp, (96, 1)), np.tile(ramp[:, None], (1, 96)), flat], axis=2)
    Image.fromarray(upright).save(tmp_path / "upright.png")
    turned = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    [one] = page(match(str(tmp_path / "upright.png"))).pictures
    [other] = page(match(str(tmp_path / "turned.png"))).pictures
    assert one == other


def test_a_file_is_read_once_for_all_its_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(fake_photo([RED]))
    asked: list[str] = []
    real = file_crops._plain_pixels

    def read(path: str) -> UInt8Array | None:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(file_crops, "_plain_pixels", read)
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    shown = page(answer(paths[0], *(match(paths[n % 2]) for n in range(6))))
    assert len(shown.pictures) == 7
    assert asked == paths


def test_an_answer_tells_degrees_intervals_and_the_prior() -> None:
    sure = match("/p/a.jpg", 0.97, degree_low=0.9, degree_high=0.99, expected_strangers=0.002)
    doubtful = match("/p/b.jpg", 0.2, rank=2, person_id=5, same_image=True)
    whole = answer("/p/q.jpg", sure, doubtful, prior_low=0.005, prior_high=0.02)
    shown = page(whole)
    for words in (
        *("0.9700", "0.2000", "a.jpg", "q.jpg", "face 7, cosine 0.610", "person 5"),
        *("the query picture", "at prior 0.01", "0.005 to 0.02", "40 faces searched"),
        "at or above the first match: <0.01",
    ):
        assert words in shown.text, words
    assert shown.titles == ["/p/q.jpg", "/p/a.jpg", "/p/b.jpg"]
    widths = [found[1] for style in shown.styles if (found := re.search(r"width:([\d.]+)%", style))]
    assert widths == ["97.00", "9.00", "20.00"]
    lefts = [found[1] for style in shown.styles if (found := re.search(r"left:([\d.]+)%", style))]
    assert lefts == ["90.00"]


def test_without_a_calibration_there_is_no_bar_and_the_reason_is_told() -> None:
    bare = match("/p/a.jpg", None, log10_lr=None)
    shown = page(answer("/p/q.jpg", bare, calibration=None, note="no calibration for it"))
    assert "cosine 0.610" in shown.text.replace("  ", " ")
    assert "no calibration for it" in shown.text
    assert "prior" not in shown.text
    assert not any("%" in style for style in shown.styles)
    plain = page(comparison("a", "b", degree=None, log10_lr=None, calibration=None, note="none"))
    assert "degree" not in plain.text
    assert "cosine 0.400" in plain.text


def test_what_is_lacking_and_what_is_too_much_is_told() -> None:
    empty = page(answer("/p/q.jpg", n_left_out=3, damaged_segments=("000001.faiss",)))
    assert "no match" in empty.text
    assert "3 faces were left out" in empty.text
    many = page(answer("/p/q.jpg", *(match("/p/a.jpg") for _ in range(notebook.MOST_FACES + 4))))
    assert "and 4 more, not shown" in many.text
    assert page(Review((), (), 0.1)).text.count("No") == 2
    stopped = page(IngestSummary(interrupted=True))
    assert "run it again to go on" in stopped.text
    unfinished = dataclasses.replace(status("i"), interrupted=True, traces_left=True)
    assert "run it again to go on" in page(unfinished).text
    assert "compact finishes it" in page(unfinished).text


def test_of_very_many_faces_the_best_matches_of_each_are_shown() -> None:
    matches = tuple(match("/p/a.jpg", rank=number + 1) for number in range(20))
    face = FaceAnswer(0, BOX, LANDMARKS, 0.9, matches)
    shown = page(dataclasses.replace(answer("/p/q.jpg"), faces=(face,) * 30))
    assert shown.text.count("and 10 more, not shown") == 30
    assert shown.text.count("no picture") == 30 * 11


def test_a_comparison_shows_both_faces(tmp_path: Path) -> None:
    for name, colour in (("a.png", RED), ("b.png", GREEN)):
        (tmp_path / name).write_bytes(fake_photo([colour]))
    a, b = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    shown = page(comparison(a, b, degree_low=0.6, degree_high=0.8, fmr=0.01, at_bound=True))
    one, other = (pixels_of(source)[SIDE_PX, SIDE_PX] for source in shown.pictures)
    assert one[0] > one[1]
    assert other[1] > other[0]
    assert "0.7500 (95 %: 0.6000 to 0.8000)" in shown.text
    assert "weak support; as far as the evidence reaches" in shown.text
    assert comparison(a, b) == comparison(a, b), "landmarks are no part of what is compared"


def test_what_an_index_answers_is_shown(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "couple.png").write_bytes(fake_photo([RED, GREEN]))
    (photos / "red.png").write_bytes(fake_photo([DARK_RED]))
    with new_store(tmp_path / "i.facesim") as store:
        summary = ingest(store, photos)
    assert "2 with faces, 0 without" in page(summary).text
    with FaceIndex.open(tmp_path / "i.facesim", engine=FAKE) as index:
        assert index.calibration() is None
        found = index.query(photos / "red.png", top=2)
        assert len(page(found).pictures) == 3
        assert "3 (0 are somebody's)" in page(index.status()).text
        index.people.confirm({"Rosa <Red>": [1, 3], "Gil": [2]})
        assert "Rosa <Red>" in page(index.people.everyone()).text
        row, faces = index.people.show("Rosa <Red>")
        assert len(page(faces).pictures) == 2
        assert "Rosa <Red>" in page(row).text
        assert index.people.everyone() == [row, index.people.show("Gil")[0]]
