"""Promise 9: a person is forgotten wherever they appear, and the audit does not say who."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from facesim_index.calibration.document import to_json
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.errors import CalibrationError, UsageError
from facesim_index.records import Box, EmbeddedFace, FaceId, FileStamp, PictureReading, Quality
from facesim_index.store.catalog import calibration_rows, face_rows
from facesim_index.store.folder.store import FolderStore
from tests.asking import find_person
from tests.builders import FAKE, commit_pictures, ingest, new_store, unit_vectors
from tests.coloured_people import RED, facesim
from tests.example_pictures import embed_faces, fake_photo, pixels
from tests.reliability.private_photos import make_photos
from tests.reliability.traces import person, traces


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


CURVE = Calibration(
    name="by hand",
    engine_key=FAKE_IDENTITY.key,
    method="by hand",
    knots=((0.2, -3.0), (0.8, 3.0)),
    evidence=Evidence(data="none", n_people=2, n_genuine=1, n_impostor=1, fitted_on="2021-01-01"),
)


@pytest.fixture
def index(tmp_path: Path, photos: Path) -> Path:
    """Red twice, one of them in two files; green beside red; blue."""
    folder = tmp_path / "i.facesim"
    with new_store(folder) as store:
        with store.catalog.write() as transaction:
            calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
            calibration_rows.activate(transaction, CURVE.name)
        ingest(store, photos)
    return folder


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    """Red again, not in the index."""
    path = tmp_path / "portrait.png"
    path.write_bytes(fake_photo([(201, 23, 22)]))
    return path


def living(index: Path) -> dict[int, str]:
    with FolderStore(index) as store, store.catalog.read() as transaction:
        ids = face_rows.face_ids(transaction)
        return {face.face_id: Path(face.path).name for face in face_rows.faces(transaction, ids)}


MATCH = ("forget", "--prior", "0.5", "--min-degree", "0.9", "--match")


def test_a_person_is_shown_and_forgotten_wherever_they_appear(index: Path, portrait: Path) -> None:
    before = living(index)
    shown = facesim(index, *MATCH, portrait, "--dry-run")
    assert shown.exit_code == 0
    assert "2 of 4 faces reach the degree 0.9, at prior 0.5" in shown.stdout
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["degree", "cosine", "face", "picture"]
    assert {line.split()[3].rpartition("/")[2] for line in lines[1:3]} == {"couple.png", "red"}
    assert "(+1 copies)" in shown.stdout
    assert "Nothing was forgotten" in shown.stderr
    assert living(index) == before

    done = facesim(index, *MATCH, portrait, "--yes")

    assert "forgot 0 files and 2 faces" in done.stdout
    assert sorted(living(index).values()) == ["blue.png", "couple.png"]
    again = facesim(index, *MATCH, portrait, "--yes")
    assert again.exit_code == 0
    assert again.stdout == "none of 2 faces reaches the degree 0.9\n"


def test_a_person_can_be_forgotten_with_the_pictures_and_every_trace(
    index: Path, portrait: Path, photos: Path
) -> None:
    done = facesim(index, *MATCH, portrait, "--yes", "--pictures", "--secure")
    assert "forgot 3 files and 3 faces" in done.stdout
    assert living(index) == {1: "blue.png"}
    assert traces(index, {"name": b"red copy.png", "couple": b"couple.png"}) == {}


def test_without_a_terminal_nobody_is_asked_and_nothing_forgotten(
    index: Path, portrait: Path
) -> None:
    before = living(index)
    refused = facesim(index, *MATCH, portrait)
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert living(index) == before


@pytest.mark.parametrize(("answer", "n_left"), [("n\n", 4), ("\n", 4), ("y\n", 2)])
def test_on_a_terminal_the_user_is_asked(
    index: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch, answer: str, n_left: int
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    class Sys:
        stdin = Terminal()

        @staticmethod
        def exit(code: int) -> None:
            sys.exit(code)

    monkeypatch.setattr("facesim_index.cli.forget.sys", Sys)
    words = ["--index", str(index), *MATCH, str(portrait), "--secure"]
    result = CliRunner().invoke(
        main, words, input=answer, obj=State(engine=FAKE), catch_exceptions=False
    )
    assert "Forget these 2 faces, leaving no trace? [y/N]" in result.stderr
    assert len(living(index)) == n_left
    assert result.exit_code == (0 if n_left == 2 else 1)
    assert ("Nothing was forgotten" in result.stderr) == (n_left == 4)


def test_of_several_faces_one_must_be_named(index: Path, photos: Path) -> None:
    refused = facesim(index, *MATCH, photos / "couple.png", "--dry-run")
    assert refused.exit_code == 2
    assert "shows 2 faces; say which with --face, from 0 to 1, left to right" in refused.stderr
    green = facesim(index, *MATCH, photos / "couple.png", "--face", "1", "--dry-run")
    assert "1 of 4 faces reach" in green.stdout
    assert "couple.png" in green.stdout
    assert facesim(index, *MATCH, photos / "couple.png", "--face", "2", "--yes").exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--match", "{portrait}", "--yes"),
        ("--match", "{portrait}", "--min-degree", "0", "--yes"),
        ("--match", "{portrait}", "--min-degree", "1.5", "--yes"),
        ("--match", "{portrait}", "--min-degree", "0.9", "--face-id", "1", "--yes"),
        ("{portrait}", "--match", "{portrait}", "--min-degree", "0.9", "--yes"),
        ("{portrait}", "--dry-run"),
        ("{portrait}", "--pictures"),
        ("--face-id", "1", "--min-degree", "0.9"),
        ("--face-id", "1", "--face", "0"),
        (),
    ],
)
def test_what_does_not_fit_together_is_wrong_usage(
    index: Path, portrait: Path, words: tuple[str, ...]
) -> None:
    before = living(index)
    given = [word.format(portrait=portrait) for word in words]
    assert facesim(index, "forget", *given).exit_code == 2
    assert living(index) == before


def test_every_appearance_is_found_not_only_the_first_few(tmp_path: Path) -> None:
    """Against a plain comparison with every face, over several segments and removed faces."""
    rng = np.random.default_rng(5)
    path = tmp_path / "red.png"
    path.write_bytes(fake_photo([RED]))
    engine = FAKE.load()
    [shown] = embed_faces(engine, pixels(path))
    near = unit_vectors(900, 6) * rng.uniform(0.2, 4.0, (900, 1)).astype(np.float32)
    near += shown.embedding
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    with new_store(tmp_path / "i") as store:
        with store.catalog.write() as transaction:
            calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
            calibration_rows.activate(transaction, CURVE.name)
        for n in range(0, 900, 300):
            who = person(n, 1)
            faces = tuple(
                EmbeddedFace(Box(1, 2, 3, 4), who.reading.faces[0].landmarks, 0.9, _QUALITY, row)
                for row in near[n : n + 300]
            )
            reading_ = PictureReading(
                who.reading.content_hash, FileStamp(1, 1), who.reading.info, faces, None
            )
            commit_pictures(store, {who.path: reading_})
        store.remove([], face_ids=[FaceId(n) for n in range(1, 50)])
        found = find_person(store, engine, path, min_degree=0.5, prior=0.5)
    stored = near.astype(np.float16).astype(np.float64)
    cosines = stored @ shown.embedding.astype(np.float64)
    expected = {n + 1 for n in np.flatnonzero(cosines >= 0.5) if n + 1 >= 50}
    assert 100 < len(expected) < 800
    assert {match.face_id for match in found.matches} == expected
    ordered = [match.cosine for match in found.matches]
    assert ordered == sorted(ordered, reverse=True)
    assert found.n_faces == 851
    assert min(match.degree or 0.0 for match in found.matches) >= 0.5


_QUALITY = Quality(30.0, 100.0, 1.5, -2.5)


def test_finding_a_person_needs_a_calibration_and_a_sensible_degree(
    tmp_path: Path, photos: Path
) -> None:
    engine = FAKE.load()
    with new_store(tmp_path / "none") as store:
        ingest(store, photos)
        with pytest.raises(CalibrationError, match="nobody can be found by degree"):
            find_person(store, engine, photos / "red.png", min_degree=0.9)
        with pytest.raises(UsageError, match="above 0"):
            find_person(store, engine, photos / "red.png", min_degree=0.0)


# On record


def test_the_audit_says_when_and_how_many_but_not_who(index: Path, photos: Path) -> None:
    assert "Nothing was ever forgotten" in facesim(index, "audit").stderr
    facesim(index, "forget", photos / "red.png")
    facesim(index, "forget", "--face-id", 1, "--secure")
    listed = json.loads(facesim(index, "audit", "--format", "json").stdout)
    assert [(line["files"], line["faces"], line["secure"]) for line in listed] == [
        (1, 0, False),
        (0, 1, True),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", x["at"]) for x in listed)
    assert all(set(line) == {"at", "files", "faces", "secure", "finished"} for line in listed)
    table = facesim(index, "audit").stdout.splitlines()
    assert table[0].split() == ["at", "files", "faces", "secure", "finished"]
    assert table[2].split()[1:] == ["0", "1", "yes", "yes"]
    csv = facesim(index, "audit", "--format", "csv").stdout.splitlines()
    assert csv[0] == "at,files,faces,secure,finished"
    assert traces(index, {"name": b"red.png"}) == {}


def test_nothing_is_on_record_when_nothing_was_forgotten(index: Path, photos: Path) -> None:
    attempts: list[Callable[[], Result]] = [
        lambda: facesim(index, "forget", photos / "nobody.png", "--secure"),
        lambda: facesim(index, "forget", "--face-id", 99, "--secure"),
    ]
    assert [attempt().exit_code for attempt in attempts] == [2, 2]
    assert json.loads(facesim(index, "audit", "--format", "json").stdout) == []
