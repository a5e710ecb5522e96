import functools
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index import FaceIndex, compare
from facesim_index.engine.loading import EngineSettings
from facesim_index.errors import IndexNotFoundError, UsageError
from facesim_index.export.matrix_options import MatrixOptions
from facesim_index.ingest.targets import IngestOptions
from tests.builders import FAKE
from tests.example_pictures import demo_picture, fake_photo

# Which pictures of the photo folder show whom; folders name people as well.
OBAMA = ("obama", "32bit")


@pytest.fixture(scope="module")
def photos_index(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceIndex]:
    """The real photos, read once by the real engine in real workers."""
    folder = tmp_path_factory.mktemp("index") / "photos.facesim"
    with FaceIndex.open(folder, create=True) as index:
        summary = index.ingest(test_data / "photos")
        assert (summary.files_seen, summary.files_new) == (37, 37)
        assert summary.images_embedded + summary.files_duplicate == 37
        yield index


def test_every_picture_of_a_person_has_a_face_and_copies_are_read_once(
    photos_index: FaceIndex, test_data: Path
) -> None:
    by_content = {path.read_bytes() for path in (test_data / "photos").rglob("*.*")}
    status = photos_index.status()
    assert status.counts["images"] == status.counts["images_ok"] == len(by_content) < 37
    assert status.counts["files"] == 37
    assert status.segments >= 1  # a slow machine commits more than once on the way
    assert status.calibration is not None
    again = photos_index.ingest(test_data / "photos")
    assert (again.files_unchanged, again.images_read) == (37, 0)
    assert not photos_index.verify().problems


def is_obama(path: str) -> bool:
    return any(word in Path(path).name for word in OBAMA) or "/obama/" in path


def test_every_other_obama_is_above_every_other_person(
    photos_index: FaceIndex, test_data: Path
) -> None:
    answer = photos_index.query(test_data / "photos/test/obama1.jpg", top=1000, prior=0.5)
    assert answer.prior == 0.5
    [face] = answer.faces
    degrees = [match.degree or 0.0 for match in face.matches]
    assert degrees == sorted(degrees, reverse=True)
    n_genuine = sum(degree > 0.5 for degree in degrees)
    assert min(degrees[:n_genuine]) > 0.9
    assert max(degrees[n_genuine:]) < 0.1
    above = [match.path for match in face.matches[:n_genuine]]
    shows_him = [path for path in above if is_obama(path)]
    # two_people.jpg shows Obama too, but its name does not say so.
    assert {Path(path).name for path in above} - {Path(path).name for path in shows_him} == {
        "two_people.jpg"
    }
    paths = {path for match in face.matches[:n_genuine] for path in match.paths}
    expected = {str(path) for path in (test_data / "photos").rglob("*.*") if is_obama(str(path))}
    assert expected <= paths


@pytest.mark.parametrize(
    ("query", "own"),
    [
        ("biden.jpg", ("biden",)),
        ("test/alex_lacamoire1.jpg", ("lacamoire",)),
        ("train/kit_harington/john1.jpeg", ("john", "kit_")),
        ("train/rose_leslie/img1.jpg", ("rose",)),
    ],
)
def test_own_pictures_are_above_all_strangers(
    photos_index: FaceIndex, test_data: Path, query: str, own: tuple[str, ...]
) -> None:
    path = test_data / "photos" / query
    matches = photos_index.query(path, top=1000, prior=0.5).faces[0].matches
    photos = (test_data / "photos").rglob("*.*")
    ours = {file for file in photos if any(word in str(file) for word in own)}
    near = [match for match in matches if (match.degree or 0.0) > 0.5]
    far = [match for match in matches if (match.degree or 0.0) <= 0.5]
    assert {Path(path) for match in near for path in match.paths} >= ours
    assert max(match.degree or 0.0 for match in far) < 0.3
    assert min(match.degree or 0.0 for match in near) > 0.9


def test_two_people_are_answered_one_after_the_other(
    photos_index: FaceIndex, test_data: Path
) -> None:
    answer = photos_index.query(test_data / "photos/two_people.jpg", top=1, exclude_same_image=True)
    assert [face.face for face in answer.faces] == [0, 1]
    assert is_obama(answer.faces[0].matches[0].path)
    assert "biden" in answer.faces[1].matches[0].path


def test_stored_cosines_equal_those_of_the_engine(photos_index: FaceIndex, test_data: Path) -> None:
    first, second = (test_data / "photos" / name for name in ("biden.jpg", "test/obama1.jpg"))
    direct = compare(first, second)
    answer = photos_index.query(first, top=1000)
    [stored] = [m for m in answer.faces[0].matches if m.path == str(second)]
    assert stored.cosine == pytest.approx(direct.cosine, abs=1e-3)
    ids = photos_index.face_ids(under=second)
    others = photos_index.face_ids(under=first)
    frame = photos_index.matrix([*ids, *others], MatrixOptions(value="cosine"))
    assert frame.loc[ids[0], others[0]] == pytest.approx(direct.cosine, abs=1e-3)


@pytest.mark.slow
def test_compare_finds_yao_ming_in_his_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EngineSettings, "load", functools.cache(EngineSettings.load))
    portrait, team = demo_picture("yaoming.jpg"), demo_picture("players.jpg")
    largest = compare(portrait, team)
    assert largest.n_faces_b > 5
    degrees = [compare(portrait, team, face_b=n).degree or 0.0 for n in range(largest.n_faces_b)]
    assert sum(degree > 0.9 for degree in degrees) == 1
    assert sorted(degrees)[-2] < 0.5


@pytest.fixture
def small(tmp_path: Path) -> Iterator[FaceIndex]:
    (tmp_path / "photos").mkdir()
    for n in range(5):
        (tmp_path / "photos" / f"{n}.png").write_bytes(fake_photo([(40 * n + 8, 8, 8)]))
    with FaceIndex.open(tmp_path / "i", create=True, engine=FAKE) as index:
        index.ingest(str(tmp_path / "photos"), workers=2)
        yield index


def test_frames_and_blocks_agree(small: FaceIndex) -> None:
    options = MatrixOptions(value="cosine")
    frame = small.matrix(options=options)
    assert [int(name) for name in frame.index] == [int(name) for name in frame.columns]
    assert [int(name) for name in frame.columns] == [1, 2, 3, 4, 5]
    blocks = list(small.matrix_blocks(options=options))
    np.testing.assert_allclose(np.vstack([block.values for block in blocks]), frame.to_numpy())
    embeddings = small.embeddings(small.face_ids())
    np.testing.assert_allclose(frame.to_numpy(), embeddings @ embeddings.T, atol=1e-3)
    faces = small.faces()
    assert faces["face_id"].tolist() == [1, 2, 3, 4, 5]
    assert faces["path"].str.endswith(".png").all()
    with pytest.raises(UsageError, match="no face 9"):
        small.matrix([1, 9])


def test_an_index_is_made_only_when_asked_to(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError):
        FaceIndex.open(tmp_path / "typo")
    with FaceIndex.open(tmp_path / "new", create=True) as index, pytest.raises(IndexNotFoundError):
        index.status()
    assert list(tmp_path.iterdir()) == []


def test_wrong_questions(small: FaceIndex) -> None:
    with pytest.raises(UsageError, match="either"):
        small.query()
    with pytest.raises(UsageError, match="either"):
        small.query("a.jpg", face_id=1)
    with pytest.raises(UsageError, match="face_id is one face"):
        small.query(face_id=1, face=0)


def test_forgetting_and_compacting(small: FaceIndex, tmp_path: Path) -> None:
    assert small.forget([tmp_path / "photos" / "0.png"], face_ids=[3]).faces == 2
    assert small.face_ids().tolist() == [2, 4, 5]
    small.compact()
    assert small.status().counts["faces_removed_not_compacted"] == 0
    assert sorted(match.face_id for match in small.query(face_id=2).faces[0].matches) == [4, 5]
    assert not small.verify().problems


SCRIPT = """\
import sys
from pathlib import Path
import facesim_index.ingest.run
from facesim_index import FaceIndex
from facesim_index.engine.fake import FakeEngineSettings
facesim_index.ingest.run.COMMIT_PICTURES = 3
folder, photos = map(Path, sys.argv[1:])
with FaceIndex.open(folder, create=True, engine=FakeEngineSettings()) as index:
    index.ingest(photos, workers=2)
"""


def content(folder: Path) -> list[tuple[str, float, bytes]]:
    with FaceIndex.open(folder, engine=FAKE) as index:
        assert not index.verify().problems
        ids = index.face_ids()
        assert len(set(ids.tolist())) == len(ids)
        records = index.face_records(ids)
        return [
            (record.path, record.box.x, vector.tobytes())
            for record, vector in zip(records, index.embeddings(ids), strict=True)
        ]


@pytest.mark.slow
def test_an_ingest_that_is_killed_again_and_again_ends_like_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(150):
        colours = [(n, 255 - n, 16 * k + 8) for k in range(n % 4)]
        (photos / f"{n:03d}.png").write_bytes(fake_photo(colours))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script)]
    subprocess.run([*command, str(tmp_path / "whole"), str(photos)], check=True, timeout=120)

    killed, generator = tmp_path / "killed", random.Random(5)
    n_kills = 0
    while n_kills < 5:
        before = _segments(killed)
        process = subprocess.Popen([*command, str(killed), str(photos)])
        while process.poll() is None and _segments(killed) <= before:
            time.sleep(0.005)
        time.sleep(generator.uniform(0, 0.05))
        process.kill()
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL
        n_kills += 1
        content(killed)  # opens without repair, and verifies
    assert n_kills >= 3, "the run ended before it could be killed"
    subprocess.run([*command, str(killed), str(photos)], check=True, timeout=120)

    assert content(killed) == content(tmp_path / "whole")
    assert not _orphans(killed)


def _segments(index: Path) -> set[Path]:
    return set((index / "segments").glob("0*.faiss"))


def _orphans(index: Path) -> set[str]:
    with FaceIndex.open(index, engine=FAKE) as opened:
        n_segments = opened.status().segments
    names = {path.name for path in (index / "segments").iterdir()}
    return set() if len(names) == n_segments else names


def test_excluded_pictures_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(fake_photo([(8, 8, 8)]))
    (tmp_path / "b.png").write_bytes(fake_photo([(80, 8, 8)]))
    with FaceIndex.open(tmp_path / "i.facesim", create=True, engine=FAKE) as index:
        summary = index.ingest(tmp_path, IngestOptions(exclude=("b*",)), workers=1)
    assert summary.files_seen == 1
