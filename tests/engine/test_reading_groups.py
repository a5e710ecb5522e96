"""Pictures that are read in groups have the outcomes that they have alone."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from facesim_index.engine.base import SharedEngine
from facesim_index.engine.fake import FakeEngine, FakeEngineSettings
from facesim_index.engine.local_reader import LocalReader
from facesim_index.pictures.views import Pixels
from facesim_index.records import EmbeddedFace, PictureReading
from facesim_index.workers.pool import ItemFailed
from tests.example_pictures import fake_photo

GREEN, RED, DEADLY = (20, 200, 20), (200, 20, 20), (1, 2, 3)


class MortalEngine(FakeEngine):
    """The fake engine; it counts the pictures of a call, and one colour is its death."""

    def embed_pictures(self, pictures: Sequence[Pixels]) -> list[tuple[EmbeddedFace, ...]]:
        for picture in pictures:
            if (picture.view(1).rgb == DEADLY).all(axis=-1).any():
                os._exit(7)
        return super().embed_pictures(pictures)


@dataclass(frozen=True, slots=True)
class GroupSettings(FakeEngineSettings):
    """The mortal engine, whose workers are given three pictures at a time."""

    @contextlib.contextmanager
    def shared(self) -> Iterator[SharedEngine]:
        yield SharedEngine(self, pictures_a_task=3)

    def load(self) -> MortalEngine:
        return MortalEngine()


def write(folder: Path, *pictures: bytes) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, data in zip(paths, pictures, strict=True):
        path.write_bytes(data)
    return paths


def faces(outcome: object) -> int:
    assert isinstance(outcome, PictureReading)
    return len(outcome.faces)


def test_outcomes_come_in_order_whatever_the_groups(tmp_path: Path) -> None:
    paths = write(tmp_path, *(fake_photo([GREEN] * (n % 3)) for n in range(8)))
    with_gaps = [*paths[:2], None, *paths[2:3], None, None, *paths[3:]]
    outcomes = list(LocalReader(GroupSettings(), workers=2).read(with_gaps, lambda: False))
    assert [faces(one) for one in outcomes] == [n % 3 for n in range(8)]


def test_a_picture_that_fails_does_not_fail_its_group(tmp_path: Path) -> None:
    good = fake_photo([RED])
    paths = write(tmp_path, good, good[:-30], b"no picture", good)
    (tmp_path / "gone.png").write_bytes(good)
    (tmp_path / "gone.png").unlink()
    paths.insert(1, tmp_path / "gone.png")
    grouped = list(LocalReader(GroupSettings(), workers=1).read(paths, lambda: False))
    alone = list(LocalReader(FakeEngineSettings(), workers=1).read(paths, lambda: False))
    assert [str(one) for one in grouped] == [str(one) for one in alone]
    assert faces(grouped[0]) == faces(grouped[4]) == 1


def test_a_picture_that_kills_its_worker_is_the_only_one_that_fails(tmp_path: Path) -> None:
    paths = write(tmp_path, *(fake_photo([colour]) for colour in (GREEN, DEADLY, RED, GREEN)))
    outcomes = list(LocalReader(GroupSettings(), workers=1).read(paths, lambda: False))
    assert isinstance(outcomes[1], ItemFailed)
    assert outcomes[1].reason == "crash"
    assert [faces(one) for one in (outcomes[0], *outcomes[2:])] == [1, 1, 1]


def test_no_more_groups_are_begun_once_it_shall_stop(tmp_path: Path) -> None:
    paths = write(tmp_path, *(fake_photo([GREEN]) for _ in range(30)))
    read: list[object] = []
    for outcome in LocalReader(GroupSettings(), workers=1).read(paths, lambda: len(read) >= 3):
        read.append(outcome)
    assert 3 <= len(read) < len(paths)
    assert all(faces(one) == 1 for one in read)


def test_an_error_that_makes_reading_impossible_ends_it(tmp_path: Path) -> None:
    paths = write(tmp_path, fake_photo([GREEN]))

    def check() -> None:
        raise RuntimeError("the card is gone")

    class Broken(FakeEngineSettings):
        @contextlib.contextmanager
        def shared(self) -> Iterator[SharedEngine]:
            yield SharedEngine(FakeEngineSettings(), check=check)

    with pytest.raises(RuntimeError, match="the card is gone"):
        list(LocalReader(Broken(), workers=1).read(paths, lambda: False))
