import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.document import to_json
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.degrees.gallery import gallery_prior
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.engine.local_reader import OnePictureReader
from facesim_index.errors import (
    CalibrationError,
    EngineMismatchError,
    NoFaceError,
    PictureError,
    UsageError,
)
from facesim_index.records import EmbeddedFace, FaceId
from facesim_index.search.answers import QueryAnswer
from facesim_index.search.comparison import compare_pictures
from facesim_index.search.queries import QueryOptions
from facesim_index.store.catalog import calibration_rows
from facesim_index.store.folder.store import FolderStore
from tests.asking import query_face, query_picture
from tests.builders import FAKE, ingest, new_store
from tests.example_pictures import fake_photo

RED, DARK_RED, GREEN, BLUE = (200, 20, 20), (203, 22, 25), (20, 200, 20), (20, 20, 200)

# By hand: a cosine of 0.5 says nothing, each 0.1 more is ten times as likely genuine.
CURVE = Calibration(
    name="by hand",
    engine_key=FAKE_IDENTITY.key,
    method="by hand",
    knots=((0.2, -3.0), (0.8, 3.0)),
    evidence=Evidence(
        data="none",
        n_people=2,
        n_genuine=1,
        n_impostor=1,
        fitted_on="2021-01-01",
    ),
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "couple.png").write_bytes(fake_photo([RED, GREEN]))
    (folder / "red.png").write_bytes(fake_photo([DARK_RED]))
    (folder / "red copy.png").write_bytes(fake_photo([DARK_RED]))
    (folder / "blue.png").write_bytes(fake_photo([BLUE]))
    return folder


@pytest.fixture
def store(tmp_path: Path, photos: Path) -> Iterator[FolderStore]:
    with new_store(tmp_path / "i.facesim") as opened:
        ingest(opened, photos)
        yield opened


def calibrate(store: FolderStore, calibration: Calibration = CURVE) -> None:
    with store.catalog.write() as transaction:
        calibration_rows.put(
            transaction, calibration.name, calibration.engine_key, to_json(calibration)
        )
        calibration_rows.activate(transaction, calibration.name)


def ask(store: FolderStore, path: Path, **options: object) -> QueryAnswer:
    return query_picture(store, FAKE.load(), path, QueryOptions(**options))  # type: ignore[arg-type]


def found(answer: QueryAnswer, face: int = 0) -> list[str]:
    return [Path(match.path).name for match in answer.faces[face].matches]


def test_every_face_is_answered_left_to_right(store: FolderStore, photos: Path) -> None:
    answer = ask(store, photos / "couple.png", top=2)
    assert [face.face for face in answer.faces] == [0, 1]
    assert found(answer) == ["couple.png", "red copy.png"]
    assert found(answer, 1)[0] == "couple.png"
    first = answer.faces[0].matches
    assert [match.rank for match in first] == [1, 2]
    assert first[0].cosine == pytest.approx(1.0, abs=1e-3)
    assert [match.same_image for match in first] == [True, False]
    assert [Path(path).name for path in first[1].paths] == ["red copy.png", "red.png"]


def test_one_face_can_be_chosen(store: FolderStore, photos: Path) -> None:
    answer = ask(store, photos / "couple.png", face=1)
    assert [face.face for face in answer.faces] == [1]
    with pytest.raises(UsageError, match=r"no face 2; how many it has: 2"):
        ask(store, photos / "couple.png", face=2)


def test_the_query_picture_itself_can_be_left_out(store: FolderStore, photos: Path) -> None:
    answer = ask(store, photos / "couple.png", exclude_same_image=True)
    assert "couple.png" not in found(answer) + found(answer, 1)
    assert len(answer.faces[0].matches) == 2


def test_a_face_of_the_index_can_be_the_query(store: FolderStore) -> None:
    answer = query_face(store, FaceId(2), QueryOptions(top=10))
    assert len(answer.faces[0].matches) == 3, "the face itself is no match"
    assert answer.faces[0].matches[0].face_id == 4
    with pytest.raises(UsageError, match="no face 99"):
        query_face(store, FaceId(99))


def test_without_a_calibration_no_degree_is_made_up(store: FolderStore, photos: Path) -> None:
    answer = ask(store, photos / "red.png")
    match = answer.faces[0].matches[0]
    assert (match.degree, match.log10_lr, answer.calibration) == (None, None, None)
    assert answer.note is not None
    assert "no calibration" in answer.note
    with pytest.raises(CalibrationError, match="min_degree"):
        ask(store, photos / "red.png", min_degree=0.5)


def test_degrees_follow_bayes_rule_from_the_curve(store: FolderStore, photos: Path) -> None:
    calibrate(store)
    for prior in (0.5, 0.01):
        answer = ask(store, photos / "couple.png", prior=prior)
        assert (answer.calibration, answer.note, answer.prior) == ("by hand", None, prior)
        for match in answer.faces[0].matches:
            evidence = float(np.interp(match.cosine, [0.2, 0.8], [-3.0, 3.0]))
            odds = 10.0**evidence * prior / (1 - prior)
            assert match.log10_lr == pytest.approx(evidence, abs=1e-9)
            assert match.degree == pytest.approx(odds / (1 + odds), rel=1e-9)


def test_the_prior_is_the_gallery_s_own_unless_one_is_given(
    store: FolderStore, photos: Path
) -> None:
    bare = ask(store, photos / "red.png")
    assert (bare.prior, bare.prior_source) == (0.5, "given"), "nothing to estimate it with"
    calibrate(store)
    answer = ask(store, photos / "couple.png")
    with store.view() as view:
        estimate = gallery_prior(view, CURVE)
    assert (answer.prior, answer.prior_source) == (estimate.share, "gallery")
    assert (answer.prior_low, answer.prior_high) == (estimate.low, estimate.high)
    given = ask(store, photos / "couple.png", prior=0.5)
    assert (given.prior_source, given.prior_low) == ("given", None)
    for one, other in zip(answer.faces[0].matches, given.faces[0].matches, strict=True):
        assert one.log10_lr == other.log10_lr, "evidence is free of any prior"
        assert one.degree != other.degree


def test_error_rates_and_intervals_come_with_the_curve(store: FolderStore, photos: Path) -> None:
    calibrate(store)
    for match in ask(store, photos / "red.png").faces[0].matches:
        assert (match.fmr, match.expected_strangers, match.degree_low) == (None, None, None)
    calibration = dataclasses.replace(
        CURVE,
        band=((-4.0, -2.0), (2.0, 4.0)),
        false_matches=((0.0, 0.0), (0.5, -2.0), (1.0, -4.0)),
    )
    calibrate(store, calibration)
    answer = ask(store, photos / "red.png", prior=0.5, exclude_same_image=True)
    assert answer.n_faces == 3
    best = answer.faces[0].matches[0]
    assert best.fmr == pytest.approx(10 ** (-4.0 * best.cosine), rel=1e-9)
    assert best.expected_strangers == pytest.approx(3 * 10 ** (-4.0 * best.cosine), rel=1e-9)
    assert best.at_bound, "the cosine lies beyond the last knot"
    assert best.degree_low == pytest.approx(100 / 101)
    assert best.degree_high == pytest.approx(10_000 / 10_001)
    inside = [match for match in answer.faces[0].matches if 0.2 < match.cosine < 0.8]
    assert not any(match.at_bound for match in inside)


def test_min_degree_leaves_out_what_is_below(store: FolderStore, photos: Path) -> None:
    calibrate(store)
    answer = ask(store, photos / "couple.png", min_degree=0.99, prior=0.5)
    assert found(answer) == ["couple.png", "red copy.png"]
    assert found(answer, 1) == ["couple.png"]


def test_pictures_that_cannot_be_asked_for(store: FolderStore, photos: Path) -> None:
    (photos / "nobody.png").write_bytes(fake_photo([(0, 0, 0)]))
    (photos / "bad.png").write_bytes(b"x" * 100)
    with pytest.raises(NoFaceError, match=r"no face found in .*nobody\.png"):
        ask(store, photos / "nobody.png")
    with pytest.raises(PictureError, match=r"bad\.png"):
        ask(store, photos / "bad.png")
    with pytest.raises(PictureError, match="gone"):
        ask(store, photos / "gone.png")
    with pytest.raises(UsageError, match="top"):
        ask(store, photos / "red.png", top=0)
    calibrate(store)
    with pytest.raises(CalibrationError, match="prior"):
        ask(store, photos / "red.png", prior=1.0)


def test_another_engine_may_not_ask(store: FolderStore, photos: Path) -> None:
    class OtherEngine:
        identity = FAKE_IDENTITY.__class__("other", "1" * 64, "2" * 64, 1, 512)
        provider = "cpu"

        def embed_pictures(self, pictures: object) -> list[tuple[EmbeddedFace, ...]]:
            return []

    with pytest.raises(EngineMismatchError):
        query_picture(store, OtherEngine(), photos / "red.png")


def test_comparing_two_pictures(photos: Path) -> None:
    reader = OnePictureReader(FAKE)
    same = compare_pictures(reader, photos / "couple.png", photos / "red.png", CURVE)
    other = compare_pictures(reader, photos / "couple.png", photos / "red.png", CURVE, face_a=1)
    assert same.cosine > 0.9 > 0.3 > other.cosine
    assert same.degree is not None
    assert other.degree is not None
    assert same.degree > 0.99 > 0.01 > other.degree
    assert (same.n_faces_a, same.face_a, other.face_a) == (2, 0, 1)
    bare = compare_pictures(reader, photos / "red.png", photos / "red copy.png", None)
    assert (bare.degree, bare.log10_lr) == (None, None)
    assert bare.cosine == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(UsageError, match="no face 5"):
        compare_pictures(reader, photos / "red.png", photos / "red.png", CURVE, face_b=5)


def test_the_largest_faces_are_compared(tmp_path: Path) -> None:
    from facesim_index.engine.reading import read_picture

    path = tmp_path / "p.png"
    path.write_bytes(fake_photo([RED, GREEN]))
    engine = FAKE.load()
    boxes = [face.box for face in read_picture(path, engine).faces]
    assert boxes[0].w == boxes[1].w
    assert compare_pictures(OnePictureReader(FAKE), path, path, None).face_a == 0
