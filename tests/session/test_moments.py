"""Whatever is forgotten and compacted meanwhile, the answer to a question is of one moment."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facesim_index import FaceIndex
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.degrees import in_force
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.errors import UsageError
from facesim_index.export import matches
from facesim_index.store.catalog import face_rows
from tests.builders import FAKE
from tests.example_pictures import fake_photo

COLOURS = [(20, 40, 200), (200, 20, 20), (20, 200, 20), (200, 200, 20)]


CALIBRATION = Calibration(
    "test",
    FAKE_IDENTITY.key,
    "made up",
    ((-1.0, -6.0), (0.2, -2.0), (0.6, 2.0), (1.0, 6.0)),
    Evidence("made up", 10, 10, 10, "2026-01-01"),
)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaceIndex]:
    """Four pictures of one face each."""
    monkeypatch.setattr(in_force, "shipped_calibration", lambda _: CALIBRATION)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, colour in enumerate(COLOURS):
        (photos / f"{number}.png").write_bytes(fake_photo([colour]))
    with FaceIndex.open(tmp_path / "i.facesim", create=True, engine=FAKE) as index:
        index.ingest([photos])
        yield index


def forget_first_picture(index: FaceIndex) -> None:
    """Let another program forget a picture, and rewrite the index without it."""
    with FaceIndex.open(index.path, engine=FAKE) as other:
        other.forget([index.path.parent / "photos" / "0.png"])
        other.compact()


def after_first_call(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, then: Callable[[], None]
) -> None:
    """Let something happen right after a function was called for the first time."""
    function = getattr(owner, name)
    done: list[bool] = []

    def called(*args: object, **options: object) -> object:
        answer = function(*args, **options)
        if not done:
            done.append(True)
            then()
        return answer

    monkeypatch.setattr(owner, name, called)


def test_a_matrix_is_of_one_moment_though_a_face_is_forgotten_between_its_steps(
    index: FaceIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = index.matrix()
    after_first_call(monkeypatch, face_rows, "face_ids", lambda: forget_first_picture(index))
    assert index.matrix().equals(before)
    assert list(index.matrix().index) == [2, 3, 4]


def test_a_matrix_as_csv_is_of_one_moment(
    index: FaceIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = io.BytesIO()
    index.write_matrix(before)
    after_first_call(monkeypatch, face_rows, "face_ids", lambda: forget_first_picture(index))
    written = io.BytesIO()
    index.write_matrix(written)
    assert written.getvalue() == before.getvalue()


def test_matches_are_of_one_moment_though_a_face_is_forgotten_while_they_are_written(
    index: FaceIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = io.BytesIO()
    assert index.write_matches(before, min_degree=0.0) == 6
    after_first_call(monkeypatch, matches, "load", lambda: forget_first_picture(index))
    written = io.BytesIO()
    assert index.write_matches(written, min_degree=0.0) == 6
    assert written.getvalue() == before.getvalue()
    assert index.write_matches(io.BytesIO(), min_degree=0.0) == 3


def test_the_table_of_faces_is_of_one_moment(
    index: FaceIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = index.faces()
    after_first_call(monkeypatch, face_rows, "face_ids", lambda: forget_first_picture(index))
    assert index.faces().equals(before)


def test_a_moment_holds_for_several_questions(index: FaceIndex) -> None:
    with index.moment() as now:
        ids = now.face_ids()
        before = now.matrix()
        forget_first_picture(index)
        assert now.matrix(ids).equals(before)
        assert now.embeddings(ids).shape == (4, 512)
        assert [record.face_id for record in now.face_records(ids)] == [1, 2, 3, 4]
        with pytest.raises(UsageError, match="there is no face 1"):
            index.matrix(ids)
    assert index.face_ids().tolist() == [2, 3, 4]


def test_a_moment_of_rows_alone_needs_no_embeddings(index: FaceIndex) -> None:
    [segment] = (index.path / "segments").glob("*.faiss")
    segment.unlink()
    with (
        FaceIndex.open(index.path, engine=FAKE) as damaged,
        damaged.moment(embeddings=False) as now,
    ):
        assert [record.face_id for record in now.face_records()] == [1, 2, 3, 4]
